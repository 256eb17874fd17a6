"""Alert → CloudEvents 1.0, structured JSON: what consumers of the alerts topic read.

The models describe the event; its JSON Schema is made from them. The encoder writes the same fields directly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from monitor.alert import RULE, Alert
from monitor.message import Message
from monitor.quality import PARTITION_SILENCE, SAMPLING_RATE
from monitor.times import to_iso

CONTENT_TYPE = b"application/cloudevents+json; charset=utf-8"
_PATH = "/!$&'()*+,;=:@"  # what a URI's path may have as it is: `source` is a URI reference
_TIME = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$"
Time = Annotated[str, Field(pattern=_TIME, description="UTC, ms")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)  # within v1 there are additions


class Attribution(_Part):
    """What one feature has to do with it; the shares of all features sum to 1, the largest comes first."""

    feature: str
    share: Annotated[float, Field(ge=0, le=1)]
    actual: float | None = Field(description="the value at the feature's worst row; null where none is present")
    expected: float = Field(description="what the model expected there")
    expected_lower: float = Field(description="expected minus the 0.99 quantile of the feature's normal residual")
    expected_upper: float = Field(description="expected plus that quantile")


class MemberScore(_Part):
    """What one member of a detector made of the window; above 1.0 it alone would have been over the line."""

    name: str = Field(
        description="a member of the bundle, or profile (the hour of the day), or extreme (values never seen)"
    )
    anomaly_score: Annotated[float, Field(ge=0)] = Field(description="what it said ÷ threshold")


class Window(_Part):
    """The window that the figures are of."""

    start: Time
    end: Time
    length: int


class Position(_Part):
    """Where the window's records lie in the input."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int


class ModelName(_Part):
    """Which model scored it."""

    kind: str
    sha256: str


class AlertData(_Part):
    """The alert: Alertmanager's nouns, the figures, and where they come from. 1.0 is the line, for every model."""

    status: Literal["firing", "resolved"]
    alert_id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] = Field(description="the same for all events of an alert")
    revision: Annotated[int, Field(ge=0)] = Field(description="0 for firing, one more for each later event")
    reason: Literal["recovered", "expired", "model_changed"] | None = Field(description="why it resolved")
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{16}$")] = Field(
        description="Alertmanager's hash of the labels"
    )
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: Time = Field(description="end of the first window over the line")  # noqa: N815 - Alertmanager's name
    endsAt: Time | None = Field(description="end of the window that resolved it")  # noqa: N815 - Alertmanager's name
    anomaly_score: float = Field(description="score ÷ threshold; above 1.0 is anomalous")
    score: float
    threshold: float
    severity: Literal["info", "warning", "critical"] = Field(description="by anomaly_score when the alert opened")
    confidence: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None,
        description="how much of the line was the stream's own: n ÷ (n + prior weight) after n windows, the rest is the"
        " bundle's; null where nothing is learned of a stream",
    )
    members: list[MemberScore] = Field(
        [],
        description="with a bundle of several members what each said, the loudest first; not without a window",
    )
    attribution: list[Attribution]
    window: Window
    position: Position
    model: ModelName
    config_sha256: str


class AlertEvent(_Part):
    """One event of an alert as a CloudEvent; consumers may drop events whose `id` they have seen."""

    specversion: Literal["1.0"]
    type: Literal["tidegauge.alert.v1"]
    id: str
    source: str
    subject: str
    time: Time
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: Literal["urn:tidegauge:alert-data:v1"]
    partitionkey: str
    data: AlertData


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return Alertmanager's hash of a label set: FNV-1a, 64 bit, over sorted names and values, each ended by 0xFF."""
    value = 0xCBF29CE484222325
    for name in sorted(labels):
        for byte in (*name.encode(), 0xFF, *labels[name].encode(), 0xFF):
            value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


_LARGEST = float(np.finfo(np.float32).max)


def _short(numbers: NDArray[np.float64]) -> list[float]:
    """Return the numbers `(n,)` whose shortest decimals are those of `numbers` as float32.

    JSON has no infinity (the encoder would write null, which only `actual` may be): what lies beyond float32, such as
    a score ÷ a line of nearly nothing, is the largest float32 of its sign.
    """
    bounded = np.where(np.isnan(numbers), _LARGEST, numbers).clip(-_LARGEST, _LARGEST)
    return [float(text) for text in bounded.astype(np.float32).astype(np.str_).tolist()]


class EventEncoder:
    """Writes events for one model and one configuration."""

    def __init__(
        self,
        features: Sequence[str],
        residuals: NDArray[np.float64],
        length: int,
        group: str | None,
        model: Mapping[str, str],
        config_sha256: str,
    ) -> None:
        """Set what all events share.

        Args:
            features: names, in order.
            residuals: `(F,)` the bundle's 0.99 quantile of |actual − expected| of each feature, raw units.
            length: rows of a window.
            group: the consumer group, None without one.
            model: kind and sha256.
            config_sha256: hash of the settings that decide what is an alert.
        """
        self._features = tuple(features)
        self._residuals = residuals
        self._length = length
        self._source = "/tidegauge/" + quote(group or "local", safe=_PATH)
        self._model = dict(model)
        self._config = config_sha256
        self._encode = msgspec.json.Encoder().encode

    def encode(self, alert: Alert, topic: str = "") -> Message:
        """Return the event as a message to `topic`, with the stream as its key."""
        value = self._encode(self._event(alert))
        return Message(topic, alert.stream.encode(), value, [("content-type", CONTENT_TYPE)])

    def _event(self, alert: Alert) -> dict[str, Any]:
        labels = {"alertname": "tidegauge", "stream": alert.stream, "kind": alert.kind}
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = np.float64(alert.score) / np.float64(alert.threshold)
        known = alert.confidence is not None
        figures = [ratio, alert.score, alert.threshold, alert.confidence if known else 0.0]
        anomaly_score, score, threshold, confidence = _short(np.array(figures, np.float64))
        attribution = self._attribution(alert)
        end = None if alert.ends_at is None else to_iso(alert.ends_at)
        members = _members(alert) if alert.kind == RULE else []
        data = {
            "status": alert.status,
            "alert_id": alert.alert_id,
            "revision": alert.revision,
            "reason": alert.reason,
            "fingerprint": fingerprint(labels),
            "labels": labels,
            "annotations": {"summary": _summary(alert, anomaly_score, attribution, members)},
            "startsAt": to_iso(alert.starts_at),
            "endsAt": end,
            "anomaly_score": anomaly_score,
            "score": score,
            "threshold": threshold,
            "severity": alert.severity,
            "confidence": confidence if known else None,
            **({"members": members} if members else {}),
            "attribution": attribution,
            "window": {
                "start": to_iso(alert.window_start),
                "end": to_iso(alert.window_end),
                "length": self._length,
            },
            "position": {
                "topic": alert.topic,
                "partition": alert.partition,
                "first_offset": alert.first_offset,
                "last_offset": alert.last_offset,
            },
            "model": self._model,
            "config_sha256": self._config,
        }
        return {
            "specversion": "1.0",
            "type": "tidegauge.alert.v1",
            "id": f"{alert.alert_id}-{alert.revision}",
            "source": self._source,
            "subject": alert.stream,
            "time": to_iso(alert.time),
            "datacontenttype": "application/json",
            "dataschema": "urn:tidegauge:alert-data:v1",
            "partitionkey": alert.stream,
            "data": data,
        }

    def _attribution(self, alert: Alert) -> list[dict[str, Any]]:
        """Return one entry a feature, the largest share first."""
        order = np.argsort(-alert.shares, kind="stable")
        expected = alert.expected.astype(np.float64)
        residuals = self._residuals[: len(expected)]  # an event of another model has no figures
        if alert.kind != RULE:
            residuals = np.zeros_like(residuals)  # what is expected is a bound, or what was there last
        with np.errstate(invalid="ignore"):
            lower, upper = expected - residuals, expected + residuals
        columns = np.stack([alert.shares, alert.actual, expected, lower, upper], axis=1, dtype=np.float64)[order]
        short = np.array(_short(columns.ravel()), object).reshape(columns.shape)
        short[np.isnan(columns[:, 1]), 1] = None
        names = ("feature", "share", "actual", "expected", "expected_lower", "expected_upper")
        rows = zip(order.tolist(), short.tolist(), strict=True)
        return [dict(zip(names, (self._features[f], *row), strict=True)) for f, row in rows]


def _members(alert: Alert) -> list[dict[str, Any]]:
    """Return what each member said as a multiple of the line, the loudest first."""
    if not alert.members:
        return []
    said = np.array([score for _, score in alert.members])
    order = np.argsort(-said, kind="stable")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = _short(said[order] / np.float64(alert.threshold))
    return [{"name": alert.members[i][0], "anomaly_score": ratio} for i, ratio in zip(order, ratios, strict=True)]


def _spoke(members: Sequence[Mapping[str, Any]]) -> str:
    """Say which members were over the line; the loudest, if it took all of them together."""
    over = [str(member["name"]) for member in members if member["anomaly_score"] > 1]
    over = over or [str(member["name"]) for member in members[:1]]
    return f", said by {' and '.join(over)}" if over else ""


_FAULTS = {
    "flat_line": "has stayed the same for {:.6g} s",
    "missing_feature": "has been missing for {:.6g} s",
    "out_of_range": "is out of its range",
    SAMPLING_RATE: "sends {:.3g} times {} than it did",
    "clock_skew": "has a clock that is {:.6g} s from Kafka's",
    "silence": "has sent nothing for {:.6g} s",
    "partition_silence": "{:.0%} of the live streams send nothing",
}


def _fault(alert: Alert, anomaly_score: float, attribution: Sequence[Mapping[str, Any]]) -> str:
    """Say in one sentence what is wrong with the data."""
    if alert.status == "firing":
        way = max(alert.members, key=lambda member: member[1])[0] if alert.members else ""
        said = _FAULTS[alert.kind].format(alert.score, way)
        about = f"{alert.stream}:" if alert.kind == PARTITION_SILENCE else alert.stream
        about = f"{alert.stream}: {attribution[0]['feature']}" if attribution else about
        return f"{about} {said} ({anomaly_score:.3g} times the limit)"
    what = alert.kind.replace("_", " ")
    if alert.reason == "recovered":
        return f"{alert.stream}: {what} is over, or usual by now"
    why = "its stream sends nothing" if alert.reason == "expired" else "the model changed"
    return f"{alert.stream}: the alert for {what} ended because {why}"


def _summary(
    alert: Alert,
    anomaly_score: float,
    attribution: Sequence[Mapping[str, Any]],
    members: Sequence[Mapping[str, Any]],
) -> str:
    """Say in one sentence what happened."""
    if alert.kind != RULE:
        return _fault(alert, anomaly_score, attribution)
    if alert.status == "firing":
        worst = attribution[0]
        led = f"led by {worst['feature']} ({worst['share']:.0%})"
        return f"{alert.stream} is anomalous: score {anomaly_score:.3g} times its line, {led}{_spoke(members)}"
    if alert.reason == "recovered":
        return f"{alert.stream} is normal again: score {anomaly_score:.3g} times its line"
    why = "its stream sends nothing" if alert.reason == "expired" else "the model changed"
    return f"{alert.stream}: the alert ended because {why}; last score {anomaly_score:.3g} times its line"
