"""The detector: what lies between a bundle's models and a line, where a bundle has more than one plain score."""

from monitor.detector.detector import Detector

__all__ = ["Detector"]
