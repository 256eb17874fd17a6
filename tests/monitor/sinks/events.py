"""Events as the codec makes them."""

from __future__ import annotations

import json
from typing import Any

from monitor.message import Message


def event(stream: str = "pump-17", revision: int = 0, **data: Any) -> Message:
    """Return a firing event (revision 0) or a resolved one, with other values in its data where given."""
    body = {
        "specversion": "1.0",
        "type": "tidegauge.alert.v1",
        "id": f"0123456789abcdef0123456789abcdef-{revision}",
        "source": "/tidegauge/gauge",
        "subject": stream,
        "time": "2024-05-01T10:00:00.000Z",
        "data": {
            "status": "resolved" if revision else "firing",
            "alert_id": "0123456789abcdef0123456789abcdef",
            "revision": revision,
            "reason": "recovered" if revision else None,
            "fingerprint": "3a7ea8065da87d0b",
            "labels": {"alertname": "tidegauge", "stream": stream, "kind": "anomaly"},
            "annotations": {"summary": f"{stream} is unusual"},
            "startsAt": "2024-05-01T10:00:00.000Z",
            "endsAt": "2024-05-01T11:00:00.000Z" if revision else None,
            "anomaly_score": 1.83,
            "score": 0.212,
            "threshold": 0.116,
            "severity": "warning",
            "attribution": [{"feature": "pressure", "share": 0.81}, {"feature": "flow", "share": 0.19}],
            **data,
        },
    }
    return Message("alerts", stream.encode(), json.dumps(body, separators=(",", ":")).encode())
