"""The largest resident memory of a process."""

from __future__ import annotations

from pathlib import Path


def peak_mb(process: int | str = "self") -> float:
    """Return the most MB that a process has had resident since its exec; 0 once it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) * 1_024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)
