"""Ignore rules: what they take away, and that they take nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.bundle import Bundle
from models.serving import Model
from monitor.alert import AlertSettings
from monitor.config import ConfigError, load
from monitor.engine import Engine
from monitor.ignore import Ignore, IgnoreRule
from monitor.pipeline import REASONS, STATUS, Pipeline
from monitor.record import RecordSettings
from monitor.score import Scored
from monitor.table import StreamTable
from monitor.threshold import Static, ThresholdSettings, Tracked
from monitor.window import Windows, WindowSettings
from tests.monitor.batches import Feed, live, windows
from tests.properties.models import PRIOR, LevelModel

NAN = float("nan")
F32 = np.float32


def ignores(actual: float, expected: float, **rule: Any) -> bool:
    """Return whether a rule ignores one deviation."""
    found = IgnoreRule.model_validate(rule).ignores(np.array([[actual]], F32), np.array([[expected]], F32))
    return bool(found[0, 0])


@pytest.mark.parametrize(
    ("rule", "actual", "wanted"),
    [
        ({"detection_direction": "above"}, 9, True),
        ({"detection_direction": "above"}, 11, False),
        ({"detection_direction": "below"}, 9, False),
        ({"detection_direction": "below"}, 11, True),
        ({"detection_direction": "above"}, NAN, False),
        ({"min_dev_from_expected": 2}, 11.5, True),
        ({"min_dev_from_expected": 2}, 12, False),  # the bound itself counts
        ({"min_dev_from_expected": 2}, 8, False),
        ({"min_dev_from_expected": 2}, NAN, False),
        ({"min_rel_dev_from_expected": 0.25}, 12, True),
        ({"min_rel_dev_from_expected": 0.25}, 12.5, False),
        ({"min_rel_dev_from_expected": 0.25}, 7.5, False),
        ({"detection_direction": "above", "min_dev_from_expected": 2}, 11, True),  # both must let it count
        ({"detection_direction": "above", "min_dev_from_expected": 2}, 7, True),
        ({"detection_direction": "above", "min_dev_from_expected": 2}, 13, False),
        ({"detection_direction": "above", "data_range": (9.1, None)}, 9.1, True),  # the bound, as written, is inside
        ({"detection_direction": "above", "data_range": (9.1, None)}, 9, False),
        ({"min_dev_from_expected": 5, "data_range": (None, 12)}, 12, True),
        ({"min_dev_from_expected": 5, "data_range": (None, 12)}, 12.5, False),
    ],
)
def test_which_deviations_from_ten_do_not_count(rule: dict[str, Any], actual: float, wanted: bool) -> None:
    """If it failed, an operator would miss what he wants to see, or see what he does not."""
    assert ignores(actual, 10, **rule) is wanted


def test_a_share_of_a_negative_value_is_a_share() -> None:
    """If it failed, a rule for temperatures would turn around below zero."""
    assert ignores(-11, -10, min_rel_dev_from_expected=0.25)
    assert not ignores(-13, -10, min_rel_dev_from_expected=0.25)
    assert not ignores(0.1, 0, min_rel_dev_from_expected=0.25)


def judged(errors: list[tuple[float, float]], score: list[float]) -> tuple[StreamTable, Windows, Scored]:
    """Return windows of the streams `s0`, `s1`, …, one each, whose two features deviate by +1 and −1 from zero."""
    count = len(score)
    part = windows(list(range(count)), [100] * count)
    part.values[:] = np.array([1.0, -1.0], F32)
    parts: NDArray[np.float32] = np.array(errors, F32)
    return (
        live(StreamTable(()), count),
        part,
        Scored(np.ones(count, np.bool_), np.array(score), parts, np.zeros_like(part.values)),
    )


def lost(rules: list[dict[str, Any]], errors: list[tuple[float, float]], score: list[float]) -> list[int]:
    """Return which of these windows do not count, with a line at 1; one by one they are the same."""
    table, part, scored = judged(errors, score)
    ignore = Ignore([IgnoreRule.model_validate(rule) for rule in rules], ["up", "down"])
    line = np.ones(len(score))
    at = np.arange(len(score))
    found: list[int] = ignore.of(table, part, scored, line, at).tolist()
    assert found == [i for i in at.tolist() if len(ignore.of(table, part, scored, line, at[i : i + 1]))]
    return found


def test_what_is_left_must_be_over_the_line() -> None:
    """If it failed, one ignored feature would hide what happens in the others, or its noise would still alarm."""
    rules = [{"features": ["down"], "detection_direction": "above"}]
    # What the other feature has of the score: 1.5, 1, 0.5, all, nothing.
    errors = [(1.0, 1.0), (1.0, 2.0), (1.0, 3.0), (1.0, 0.0), (0.0, 1.0)]
    assert lost(rules, errors, [3.0, 3.0, 2.0, 1.1, 99.0]) == [1, 2, 4]


def test_rules_are_for_their_streams_and_features() -> None:
    """If it failed, a rule for one pump would silence a whole plant."""
    both = [(1.0, 1.0)] * 3
    assert lost([{"streams": "s[02]", "min_dev_from_expected": 5}], both, [9.0] * 3) == [0, 2]
    assert lost([{"streams": "S*", "min_dev_from_expected": 5}], both, [9.0] * 3) == []
    assert lost([{"features": ["up"], "detection_direction": "above"}], both, [9.0] * 3) == []
    together: list[dict[str, Any]] = [
        {"features": ["down"], "detection_direction": "above"},
        {"streams": "s1", "detection_direction": "below"},
    ]
    assert lost(together, both, [9.0] * 3) == [1]  # all that it has is ignored, by one rule or the other


def pipeline(*rules: dict[str, Any], threshold: ThresholdSettings | None = None) -> Pipeline:
    """Return a pipeline with windows of one row, zero expected and a line at 4."""
    alert = AlertSettings.model_validate({"open_after": 1, "resolve_after": 1, "rest": 0, "ignore": rules})
    return Pipeline(
        RecordSettings.model_validate({"max_step": "1h"}),
        WindowSettings.model_validate({"length": 1, "stride": 1}),
        threshold or Static.Settings(value=4.0),
        alert,
        LevelModel(),
        PRIOR,
        1,
        ignore=Ignore(alert.ignore, ["level"]) if rules else None,
        keep_scores=True,
    )


def test_an_ignored_window_makes_no_alert_and_says_so() -> None:
    """If it failed, nobody could tell a quiet stream from one that a rule keeps quiet, or an alert would never end."""
    make = pipeline({"detection_direction": "above"})
    samples = [("s", 1, -9.0), ("s", 2, 1.0), ("s", 3, 9.0), ("s", 4, -9.0), ("s", 5, float("nan"))]
    whole, single = Feed(make), Feed(make)
    output = whole.send(*samples)
    facts = [(alert.status, alert.time) for alert in output.alerts]
    assert facts == [("firing", 3), ("resolved", 4)]
    assert [(a.status, a.time) for sample in samples for a in single.send(sample).alerts] == facts
    (rows,) = output.scores["t", 0]
    assert [(STATUS[i], REASONS[j]) for i, j in zip(rows.status, rows.reason, strict=True)] == [
        ("normal", "ignored"),
        ("normal", ""),
        ("anomalous", ""),
        ("normal", "ignored"),
        ("unscored", "missing"),
    ]
    assert rows.score[0] == 81.0
    assert (output.ignored, output.scored, output.windows) == (2, 4, 5)


def test_lines_learn_what_is_ignored() -> None:
    """If it failed, taking a rule away would bring alerts from a line that has never seen its own stream."""
    rng = np.random.default_rng(5)
    samples = [("s", i, float(value)) for i, value in enumerate(rng.normal(0, 2, 300))]
    samples += [("s", 300, 60.0), ("s", 301, 60.0)]
    found = [
        Feed(pipeline(*rules, threshold=Tracked.Settings())).send(*samples)
        for rules in ((), ({"min_dev_from_expected": 1e6},))
    ]
    lines = [output.scores["t", 0][0].threshold for output in found]
    assert lines[0].tobytes() == lines[1].tobytes()
    assert len(found[0].alerts) > 0
    assert found[1].alerts == []


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{}", "alert.ignore.0: this rule ignores nothing: set detection_direction"),
        ("{data_range: [0, 1]}", "alert.ignore.0: this rule ignores nothing"),
        ("{min_dev_from_expected: 1, data_range: [3, 2]}", "alert.ignore.0: data_range: found [3, 2], expected the"),
        ("{detection_direction: up}", "alert.ignore.0.detection_direction: found 'up', expected above, below or both"),
        ("{min_dev_from_expected: -1}", "alert.ignore.0.min_dev_from_expected: found -1, expected more than 0"),
        ("{stream: a}", "alert.ignore.0.stream: unknown key"),
    ],
)
def test_a_wrong_rule_is_named(rule: str, said: str, tmp_path: Path) -> None:
    """If it failed, an operator would not know which of his rules is wrong, or a rule would do nothing, silently."""
    path = tmp_path / "config.yaml"
    path.write_text(f"alert: {{ignore: [{rule}]}}\n")
    with pytest.raises(ConfigError, match=re.escape(said)):
        load(path)


def test_a_feature_that_the_model_does_not_have(bundle: Bundle) -> None:
    """If it failed, a misspelt feature would be a rule that never ignores anything."""
    config = load(None, ["alert.ignore=[{features: [presure], detection_direction: above}]"])
    with pytest.raises(ConfigError, match=r"alert\.ignore\.0\.features: 'presure' is no feature of the model: it has "):
        Engine(config, bundle, Model(bundle))


def test_rules_are_in_the_hash_of_the_configuration() -> None:
    """If it failed, two configurations that make different alerts would have one name; without rules it stays."""
    plain, ruled, other = (
        load(None, [] if rules is None else [f"alert.ignore={rules}"])
        for rules in (None, "[{detection_direction: above}]", "[{detection_direction: below}]")
    )
    window = WindowSettings.model_validate({"length": 8})
    hashes = {config.sha256(window) for config in (plain, ruled, other)}
    assert len(hashes) == 3
    assert load(None, ["alert.ignore=[]"]).sha256(window) == plain.sha256(window)
    parts = {"record": plain.record, "window": window, "threshold": plain.threshold, "alert": plain.alert}
    dumped = {name: part.model_dump(mode="json") for name, part in parts.items()}
    assert dumped["alert"].pop("ignore") == []
    assert dumped["alert"].pop("quality") is None  # came later, too
    text = json.dumps(dumped, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert plain.sha256(window) == hashlib.sha256(text.encode()).hexdigest()
