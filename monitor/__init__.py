"""tidegauge: a streaming anomaly monitor for Kafka. The modules, in the order of the data.

* `sources/`: where records come from: kafka, jsonl, csv, parquet; one file each
* `codec/`: raw bytes → columns; alerts → CloudEvents
* `routing`: which fleet a record belongs to
* `engine`: raw batches in, events and dead letters out: codec and pipeline put together; `fleets`: one for each fleet
* `agreement`: what a configuration and a bundle come to together
* `letters`: dead letters
* `stopwatch`: where the time of a poll's work goes
* `pipeline`: the pure core, one step after another; what follows belongs to it
* `record`: records as columns, and the classes they end in
* `table`: stream id ↔ slot, and each stage's state as columns; `ragged` for what varies in length
* `liveness`: which streams are live, by `partition_time`
* `window/`: records → windows of event time: clock, grid, ring
* `score`: windows → scores and attribution, by a model of `models`
* `strangeness`: how strange an error is for its stream, whatever its units
* `detector/`: several members and each stream's own past → one calibrated score, where a bundle asks for it
* `threshold/`: the line that each stream's scores are held against
* `ignore`: which windows over the line do not count, by an operator's rules
* `quality/`: what is wrong with the data themselves, by kind
* `alert/`: scores over the line → firing and resolved
* `changes`: what the state's log must write
* `state/`: what is known of the streams, as rows of a log; `keeper` restores it, and writes it with each commit;
  `shares`: what each fleet has of it
* `checkpoint/`: the same in a local directory, with positions and the lengths of outputs, for files
* `breaker`: counts deaths with the same records in hand, so that one of them stops nothing for ever
* `delivery`: events, dead letters and positions out, in the one order that loses nothing; `relay` for other sinks
* `sinks/`: where alerts go: kafka, jsonl, alertmanager; one file each
* `kafka/`: everything that touches the Kafka client
* `upkeep/`: what an operator does with the state of a group that stands still
* `service`: the daemon: poll → process → publish and commit
* `replay/`: the same engine over a recording
* `evaluation`: the same engine over a recording, window by window, for figures and pictures
* `parity`: two bundles over one recording, and whether they raise the same alerts
* `dataset/`: recordings → what models are trained on
* `demo/`: all of it on a real recorded stream
* `config/`: one YAML, a section a step; `strict_yaml`, `duration`, `times`, `identity`, `message` serve it all
* `metrics http logs notifier`: what an operator sees
* `cli/`: one verb, one file
"""

__version__ = "0.1.0"
