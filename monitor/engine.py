"""The engine: raw batches in, events and dead letters out.

It puts codec, pipeline and event encoder together for one configuration and one bundle, and knows nothing of where
batches come from or where events go. The daemon and the backtest both drive this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from models import serving
from models.bundle import Bundle
from monitor.agreement import effective_window, own_alerts, prior_of
from monitor.alert import Alert
from monitor.codec import Decoded, Decoder, EventEncoder, Reject
from monitor.config import Config, ConfigError
from monitor.detector import Detector
from monitor.identity import ALL
from monitor.ignore import Ignore
from monitor.letters import DeadLetter, Letters
from monitor.message import Message
from monitor.pipeline import Output, Partition, Pipeline
from monitor.quality import Quality
from monitor.record import Records
from monitor.score import Model
from monitor.sources.base import Batch, Key, Rows
from monitor.sources.batches import bounds, without
from monitor.state import ModelMark
from monitor.stopwatch import Stopwatch

RESIDUAL_QUANTILE = 0.99


@dataclass(slots=True)
class Work:
    """What a poll became.

    Attributes:
        alerts: events that are to go out, in order.
        events: the same, encoded.
        dead_letters: records that could not be used.
        positions: next offset of each partition.
        urgent: whether it must be committed before the next poll: something goes out, or was decided that a restart
            would not do again from the input.
        output: what the pipeline says of it.
        consumed: records by topic.
        classes: records by class; what is pending is in none yet.
        reasons: dead letters by reason, also where they go nowhere.
        unknown: values of unknown features.
        times: event times of the decoded records, ms, an array for each partition.
        scoring_seconds: time in the model.
        seconds: time of each of `monitor.stopwatch.PARTS`.
    """

    positions: dict[Key, int]
    output: Output
    alerts: list[Alert] = field(default_factory=list)
    events: list[Message] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    urgent: bool = False
    consumed: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    times: list[NDArray[np.int64]] = field(default_factory=list)
    scoring_seconds: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)


class Engine:
    """Runs the pipeline over raw batches.

    Attributes:
        config: the configuration.
        window: the window settings as used: the bundle's, and what the configuration adds.
        features: names of the features, in order.
        pipeline: the pipeline.
        model: the bundle's model, as the state names it.
        partitions: what is known of each partition.
    """

    def __init__(
        self, config: Config, bundle: Bundle, model: Model, *, keep_scores: bool = False, others: Sequence[str] = ()
    ) -> None:
        """Set up for a bundle.

        Args:
            config: the configuration.
            bundle: the model's bundle.
            model: what scores.
            keep_scores: whether `Work.output` has a row a window.
            others: features that only other fleets have: rules about them are not for this one.

        Raises:
            ConfigError: if the configuration contradicts the bundle, or itself.
        """
        manifest = bundle.manifest
        self.config = config
        self.window = effective_window(config, bundle)
        self.features = tuple(manifest.features)
        prior = prior_of(bundle, self.window.stride)
        try:
            alert = own_alerts(config.alert, self.features, others)
            ignore = Ignore(alert.ignore, self.features) if alert.ignore else None
            wanted = alert.quality
            quality = None if wanted is None else Quality(wanted, self.features)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self.pipeline = Pipeline(
            config.record,
            self.window,
            config.threshold,
            config.alert,
            self._scorer(bundle, model),
            prior,
            len(self.features),
            ignore=ignore,
            quality=quality,
            keep_scores=keep_scores,
        )
        try:
            stamped = wanted is not None and wanted.clock_skew is not None
            self._decoder = Decoder(config.record, self.features, stamped=stamped)
        except ValueError as error:
            message = f"record: {error}"
            raise ConfigError(message) from None
        self.model = ModelMark(kind=manifest.members[0].kind, sha256=bundle.sha256, length=self.window.length)
        self._residuals = np.array(manifest.residual(RESIDUAL_QUANTILE))
        self._group = getattr(config.source, "group_id", None)
        self._encoder = EventEncoder(
            self.features,
            self._residuals,
            self.window.length,
            self._group,
            {"kind": self.model.kind, "sha256": self.model.sha256},
            config.sha256(self.window),
        )
        late = config.dead_letter is not None and config.dead_letter.late
        self._letters = Letters(self.features, config.record.max_streams, self._waiting if late else None)
        self.partitions: dict[Key, Partition] = {}

    @property
    def fleets(self) -> Mapping[str, Engine]:
        """The engine of each fleet by its pattern: this one has all streams."""
        return {ALL: self}

    def _scorer(self, bundle: Bundle, model: Model) -> Model | Detector:
        """Return what scores windows: the model, or the bundle's detector with the model's members."""
        settings = bundle.manifest.detector
        if settings is None or not isinstance(model, serving.Model):
            self._watch = Stopwatch({"": model})
            return self._watch.models[""]
        self._watch = Stopwatch(model.members)
        return Detector(settings, bundle.manifest.scaling, self._watch.models, model.arrays, self.window.stride)

    def process(self, batches: Sequence[Batch | Rows], due: Callable[[], None] | None = None) -> Work:
        """Take what one poll returned: at most one batch a partition.

        Args:
            batches: the records.
            due: called when windows are due, before they are scored: what they make will be committed at once.
        """
        self._watch.start()
        inputs: list[tuple[Partition, Records]] = []
        decoded: dict[Key, Decoded] = {}
        letters: list[DeadLetter] = []
        positions: dict[Key, int] = {}
        consumed: Counter[str] = Counter()
        for batch in batches:
            if len(batch) == 0:
                continue
            key = (batch.topic, batch.partition)
            partition = self.partition(key)
            found = self._decode(batch, partition, letters)
            inputs.append((partition, found.records))
            decoded[key] = found
            positions[key] = end_of(batch)
            consumed[batch.topic] += len(batch)
        before = self._counts(inputs)
        self._watch.next()
        output = self.pipeline.process(inputs, due)
        self._watch.next()
        for key, found in decoded.items():
            self.partitions[key].counts["filtered"] += found.filtered
        for letter in letters:
            self.partitions[letter.topic, letter.partition].counts["dead_lettered"] += 1
        work = Work(positions, output, alerts=output.alerts, consumed=consumed)
        work.classes = self._counts(inputs) - before
        work.times = [records.time for _, records in inputs]
        work.scoring_seconds = self._watch.scoring
        work.unknown = sum(found.unknown for found in decoded.values())
        letters += self._letters.of(batches, output)
        letters.sort(key=lambda letter: (letter.topic, letter.partition, letter.offset))
        work.reasons.update(letter.reason for letter in letters)
        work.dead_letters = letters
        work.events = [self._encoder.encode(alert) for alert in output.alerts]
        decided = any(self.partitions[key].changes.decided_anything for key in positions)
        work.urgent = bool(work.events or letters or decided)
        work.seconds = self._watch.stop()
        return work

    def again(self, batch: Batch | Rows, partition: Partition) -> Records:
        """Return the records of a batch that was processed before; for a restore, which brings windows up to date."""
        if not partition.barred:
            return self._decode(batch, partition, []).records
        found = [self._decode(piece, partition, []).records for piece in without(batch, partition.barred)]
        return found[0] if len(found) == 1 else Records.joined(found, len(self.features))

    def bar(self, batch: Batch | Rows, detail: str) -> Work:
        """Return the one record of a batch as a dead letter, undecoded: the process has died of it, again and again."""
        partition = self.partition((batch.topic, batch.partition))
        letter = self._letters.crash(batch, detail)
        partition.barred.append(letter.offset)
        partition.counts["dead_lettered"] += 1
        return Work(
            {partition.key: letter.offset + 1},
            Output(),
            dead_letters=[letter],
            urgent=True,
            consumed=Counter({batch.topic: 1}),
            classes=Counter(dead_lettered=1),
            reasons=Counter(crash=1),
        )

    def resolved(self, alerts: list[Alert], positions: dict[Key, int], model: ModelMark, *, figures: bool) -> Work:
        """Return events that another model made, and this one resolves.

        Args:
            alerts: the events.
            positions: where their partitions stand.
            model: the other model.
            figures: whether the events have figures of features; another model's features may be others.
        """
        features = self.features if figures else ()
        shape = {"kind": model.kind, "sha256": model.sha256}
        encoder = EventEncoder(
            features,
            self._residuals[: len(features)],
            model.length,
            self._group,
            shape,
            self.config.sha256(self.window),
        )
        none = np.zeros(0, np.float32)
        shown = alerts if figures else [replace(alert, shares=none, actual=none, expected=none) for alert in alerts]
        events = [encoder.encode(alert) for alert in shown]
        return Work(positions, Output(alerts=alerts), alerts=alerts, events=events, urgent=True)

    def drop(self, keys: Iterable[Key]) -> None:
        """Forget partitions: they are another member's now, or are read from elsewhere."""
        for key in keys:
            self.partitions.pop(key, None)
            self._letters.drop(key)

    def pending(self) -> int:
        """Return how many records wait."""
        return sum(self.pipeline.pending(partition) for partition in self.partitions.values())

    def streams(self) -> int:
        """Return how many streams are live."""
        return sum(partition.table.live_count for partition in self.partitions.values())

    def firing(self) -> int:
        """Return how many alerts are firing."""
        every = [(alerter, p.table) for alerter in self.pipeline.alerters for p in self.partitions.values()]
        return sum(int(np.count_nonzero(alerter.firing(table))) for alerter, table in every)

    def warming(self) -> int:
        """Return how many live streams have no scored window yet."""
        return sum(int(np.count_nonzero(p.table["live"] & (p.table["scored"] == 0))) for p in self.partitions.values())

    def streams_in_two_partitions(self) -> int:
        """Return how many stream ids are live in more than one partition of a topic."""
        seen: dict[str, Counter[bytes]] = {}
        for (topic, _), partition in self.partitions.items():
            seen.setdefault(topic, Counter()).update(partition.table.slots.keys())
        return sum(1 for counter in seen.values() for count in counter.values() if count > 1)

    def partition(self, key: Key) -> Partition:
        """Return what is known of a partition, which may be nothing yet."""
        partition = self.partitions.get(key)
        if partition is None:
            partition = self.partitions[key] = self.pipeline.partition(*key)
        return partition

    def _decode(self, batch: Batch | Rows, partition: Partition, letters: list[DeadLetter]) -> Decoded:
        """Make records of a batch; what cannot be used is added to `letters`."""
        if isinstance(batch, Batch):
            found = self._decoder.decode(batch, partition.table)
            letters.extend(_letter(batch, reject) for reject in found.rejects)
            return found
        slots = self._decoder.place(batch.streams, batch.stream, partition.table)
        records = Records(slots, batch.time, batch.values, batch.offset)
        letters.extend(
            DeadLetter(batch.topic, batch.partition, row.offset, None, row.value, row.reason, row.detail)
            for row in batch.refused
        )
        kept = np.flatnonzero(slots >= 0)
        whole = len(kept) == len(slots)
        return Decoded(records if whole else records.take(kept), filtered=len(slots) - len(kept))

    def _waiting(self, key: Key) -> set[int]:
        """Return the offsets of the records of a partition that wait."""
        return self.pipeline.waiting(self.partitions[key])

    @staticmethod
    def _counts(inputs: Sequence[tuple[Partition, Records]]) -> Counter[str]:
        """Return the records of these partitions by class."""
        return sum((partition.counts for partition, _ in inputs), Counter())


def _letter(batch: Batch, reject: Reject) -> DeadLetter:
    i = reject.index
    return DeadLetter(
        batch.topic, batch.partition, batch.offsets[i], batch.keys[i], batch.values[i], reject.reason, reject.detail
    )


def end_of(batch: Batch | Rows) -> int:
    """Return the offset behind a batch that is not empty."""
    return bounds(batch)[1] + 1
