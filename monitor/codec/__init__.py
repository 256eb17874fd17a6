"""Bytes ↔ columns: raw records in, events and dead letters out."""

from monitor.codec.decoder import Decoded, Decoder, Reject
from monitor.codec.event import AlertData, AlertEvent, EventEncoder
from monitor.codec.features import features_of
from monitor.codec.ids import StreamIds

__all__ = ["AlertData", "AlertEvent", "Decoded", "Decoder", "EventEncoder", "Reject", "StreamIds", "features_of"]
