"""Windows of event time: records of one stream → overlapping windows of equal length.

`clock` judges each record as it arrives (used, late, repeated, held, the clock set back), `grid` puts the used ones in
order and into cells where the configuration asks for it, `ring` keeps each stream's latest rows and cuts the windows.
"""

from monitor.window.settings import WindowSettings
from monitor.window.windower import Windowed, Windower
from monitor.window.windows import Windows

__all__ = ["WindowSettings", "Windowed", "Windower", "Windows"]
