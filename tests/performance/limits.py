"""What the figures must be: by case and figure, the limit on the machine class that the figures belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.performance import job


class Limit(NamedTuple):
    """A figure must be at least (`>=`) or at most (`<=`) a number."""

    sign: str
    value: float

    def met(self, figure: float) -> bool:
        """Return whether a figure is within the limit; NaN is not."""
        return figure >= self.value if self.sign == ">=" else figure <= self.value

    def __str__(self) -> str:
        """Return it as it is printed."""
        return f"{self.sign} {self.value:g}"


def least(value: float) -> Limit:
    """At least `value`."""
    return Limit(">=", value)


def most(value: float) -> Limit:
    """At most `value`."""
    return Limit("<=", value)


MUST: dict[str, dict[str, Limit]] = {
    "codec": {"us_per_record": most(1.2)},
    "core": {"us_per_record": most(1.5)},
    "logic": {
        "plain_us_per_window": most(2),
        "quality_us_per_window": most(12),
        "plain_bytes_per_stream": most(1_000),
        "quality_bytes_per_stream": most(4_000),
    },
    "memory": {"bytes_per_stream_beyond_windows": most(1_200), "peak_over_resident": most(1.3)},
    "model": {"to_default_session": least(1.3)},
    "growth": {"many_to_few": most(1.5)},
    "training": {"ours_to_plain": least(1)},
    "throughput": {"without_model_to_raw": least(0.45), "total_beyond_1_4_model_us": most(4)},
    "peers": {
        "to_quix_exactly_once": least(3.5),
        "to_quix_in_memory": least(1.6),
        "to_bytewax": least(2.2),
        "to_faust": least(6),
        "to_tutorial": least(2.2),
    },
    "latency": {"p50_above_the_floor_ms": most(20), "p99_above_the_floor_ms": most(120)},
    "ready": {"exec_to_ready_seconds": most(1.5)},
    "replay": {"rows_to_kafka": least(1), "peak_mb": most(1_000)},
    "scaling": {"two_to_one": least(1.3)},
    "idle": {"cpu_percent": most(2)},
    "state": {"loss_percent": most(20)},
    "restore": {"exec_to_restored_seconds": most(15)},
}
"""With the client that is the default."""

SECOND_CLIENT: dict[str, dict[str, Limit]] = {
    "peers": {"to_quix_exactly_once": least(5), "to_quix_in_memory": least(2.3)},
}
"""With the second client, where they are others."""


def judged(found: Mapping[str, Mapping[str, Any]], client: str = job.CLIENT) -> Iterator[tuple[str, str, Limit, bool]]:
    """Yield case, figure, limit and whether it is met, for each figure that was measured and has a limit."""
    for case, figures in found.items():
        limits = MUST.get(case, {})
        if client != job.CLIENT:
            limits = {**limits, **SECOND_CLIENT.get(case, {})}
        for figure, limit in limits.items():
            if isinstance(figures.get(figure), int | float):
                yield case, figure, limit, limit.met(figures[figure])
