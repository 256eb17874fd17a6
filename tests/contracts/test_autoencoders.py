"""What every kind of autoencoder must do; kinds are discovered, so a new file is tested by being there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from models import backend, export, rounding
from models.base import Autoencoder, Shape, find, kinds
from models.bundle import read
from models.cells import Cells, TrainingError
from models.checkpoint import Epoch
from models.chunk import Scores
from models.feeding import Feed
from models.fitting import Fitter
from models.graph import Graph
from models.serving import Model, calibration_windows
from models.split import split
from models.training import train
from tests.models import waves
from tests.models.waves import WINDOW, settings

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from models.bundle import Bundle

FEATURES = ("pressure", "flow", "valve")
STUCK = 7.0
SHAPE = Shape(12, len(FEATURES))


def recording(streams: int = 3, rows: int = 120, *, holes: float = 0.02, seed: int = 0) -> Cells:
    """Return waves of two sensors, and a valve that never moves."""
    cells = waves.waves(streams, rows, holes=holes, seed=seed)
    stuck = np.full((len(cells.values), 1), STUCK, np.float32)
    return replace(cells, values=np.concatenate([cells.values, stuck], axis=1))


@pytest.fixture(scope="module", params=kinds())
def kind(request: pytest.FixtureRequest) -> str:
    """The name of a kind."""
    return str(request.param)


@pytest.fixture(scope="module")
def epochs() -> dict[str, list[Epoch]]:
    """The epochs of each kind's training."""
    return {name: [] for name in kinds()}


@pytest.fixture(scope="module")
def trained(kind: str, epochs: dict[str, list[Epoch]], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of the kind."""
    out = tmp_path_factory.mktemp(kind) / "bundle"
    return train(recording(), WINDOW, FEATURES, settings(kind), out, epochs[kind].append)


@pytest.fixture(scope="module")
def windows() -> NDArray[np.float32]:
    """512 windows that no training saw, some with holes."""
    return recording(5, 114, seed=9, holes=0.05).gather(np.arange(512), 12)


def test_it_beats_the_mean_on_windows_it_has_not_seen(trained: Bundle, windows: NDArray[np.float32]) -> None:
    """Nothing would have been learned."""
    scaling, summary = trained.manifest.scaling, trained.manifest.training
    scaled = scaling.apply(windows)
    rebuilt = scaling.apply(Model(trained).score(windows).reconstruction)
    assert np.nanmean((scaled - rebuilt) ** 2) < 0.5 * np.nanmean((scaled - scaling.missing()) ** 2)
    assert summary.validation_error < 0.5 * summary.baseline_error


def test_openvino_gives_the_same_scores_whatever_the_chunk(trained: Bundle, windows: NDArray[np.float32]) -> None:
    """With that engine a kind would give other alerts, or some that depend on the poll."""
    found, wanted = Model(trained, 2, "openvino"), Model(trained, 1)
    scores, reference = found.score(windows), wanted.score(windows)
    assert_allclose(scores.score, reference.score, rtol=1e-4, atol=1e-5)
    assert_allclose(scores.errors, reference.errors, rtol=1e-3, atol=1e-5)
    for start, stop in ((0, 1), (1, 18), (18, 512)):
        assert found.score(windows[start:stop]).score.tobytes() == scores.score[start:stop].tobytes()
    assert_allclose(found.encode(windows[:5]), wanted.encode(windows[:5]))


def test_weights_of_8_bits_rebuild_nearly_the_same_whatever_the_chunk(
    trained: Bundle, windows: NDArray[np.float32]
) -> None:
    """A bundle of a third of the size would give other alerts, or some that depend on the poll, under either engine."""
    content, probes = rounding.rounded(trained.content("model.onnx")), calibration_windows(trained)
    assert content is not None
    graph, before = Graph(content, 12, 3, probes, 2), Model(trained, 2)
    assert graph.chunk == before.chunk
    scores, scaling = graph.score(windows), trained.manifest.scaling
    moved = scaling.apply(scores.reconstruction) - scaling.apply(before.score(windows).reconstruction)
    assert 0 < np.sqrt(np.mean(moved**2)) < 0.01  # deviations
    for start, stop in ((0, 1), (1, 8), (8, 41), (41, 512)):
        part = Scores(scores.score[start:stop], scores.errors[start:stop], scores.reconstruction[start:stop])
        assert graph.score(windows[start:stop]).same(part).all()
    other = Graph(content, 12, 3, probes, 1, "openvino").score(windows)
    assert_allclose(other.score, scores.score, rtol=1e-4, atol=1e-5)


def test_every_epoch_is_reported_and_the_best_is_kept(
    kind: str, trained: Bundle, epochs: dict[str, list[Epoch]]
) -> None:
    """The last epoch's weights would be served, though an earlier one was better."""
    best = min(epochs[kind], key=lambda epoch: epoch.validation_loss)
    summary = trained.manifest.training
    assert [epoch.epoch for epoch in epochs[kind]] == list(range(1, summary.epochs + 1))
    assert (summary.best_epoch, summary.validation_loss) == (best.epoch, best.validation_loss)


def test_the_same_seed_gives_the_same_weights_and_the_same_file(trained: Bundle) -> None:
    """A training could not be repeated; or one compiled network would carry what it learned into the next training."""
    member, scaling = trained.manifest.members[0], trained.manifest.scaling
    kind, hyper, cells = find(member.kind), member.hyperparameters, recording()
    parts = split(cells, WINDOW, hyper.validation_split, hyper.calibration_split, hyper.seed)
    feeds = Feed(cells, parts.training, 12, scaling, hyper.batch_size), Feed(cells, parts.validation, 12, scaling, 256)
    fitter = Fitter(kind, SHAPE, hyper)
    other = fitter.fit(*feeds, seed=1).best.validation_loss
    again = fitter.fit(*feeds).best.validation_loss
    assert again == trained.manifest.training.validation_loss
    solved = kind.solve.__func__ is not Autoencoder.solve.__func__  # type: ignore[attr-defined]  # a classmethod
    assert (other == again) == solved
    saved: list[NDArray[Any]] = export.restore(trained).autoencoder.get_weights()
    for one, two in zip(fitter.networks.autoencoder.get_weights(), saved, strict=True):
        assert one.tobytes() == two.tobytes()
    core = export.core(kind, fitter.networks, SHAPE, hyper)
    assert export.convert(core, SHAPE, scaling) == trained.content("model.onnx")


def test_what_is_saved_is_what_is_served_in_every_batch(trained: Bundle, windows: NDArray[np.float32]) -> None:
    """The saved networks would not be those that were exported; or the graph would depend on how many windows come."""
    import keras
    import onnxruntime

    member, scaling = trained.manifest.members[0], trained.manifest.scaling
    networks, graph = export.restore(trained), Model(read(trained.path))._graph
    core = export.core(find(member.kind), networks, SHAPE, member.hyperparameters)
    assert export.difference(core, graph, windows, scaling) <= export.TOLERANCE
    scaled = scaling.apply(windows)
    present = ~np.isnan(scaled)
    scaled = np.where(present, scaled, scaling.missing())
    errors = np.asarray(core(scaled)[0], np.float64)
    wanted = (errors * present).sum(axis=(1, 2)) / present.sum(axis=(1, 2))
    session = onnxruntime.InferenceSession(trained.content("model.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 3, 64, 512):
        assert_allclose(session.run(["score"], {"windows": windows[:count]})[0], wanted[:count], rtol=1e-4, atol=1e-6)
    loaded = {
        name: keras.saving.load_model(trained.path / f"{name}.keras", compile=False)
        for name in ("autoencoder", "encoder", "decoder")
    }
    few = scaled[:8]
    codes, whole = np.asarray(loaded["encoder"](few)), np.asarray(networks.autoencoder(few))
    assert codes.shape == (8, member.hyperparameters.code_size)
    assert whole.shape == few.shape
    for rebuilt in (loaded["autoencoder"](few), loaded["decoder"](codes)):
        assert_allclose(np.asarray(rebuilt), whole, rtol=1e-5, atol=1e-6)
    assert member.parameters == networks.autoencoder.count_params() > 0


def test_scores_are_the_same_bits_in_every_batch(trained: Bundle, windows: NDArray[np.float32]) -> None:
    """A replay would differ from the daemon."""
    model = Model(trained)
    whole = model.score(windows)
    for count in (1, 2, 7, 31, 32, 33, 100, 511, 512):
        few = model.score(windows[-count:])
        assert few.score.tobytes() == whole.score[-count:].tobytes()
        assert few.errors.tobytes() == whole.errors[-count:].tobytes()
        assert few.reconstruction.tobytes() == whole.reconstruction[-count:].tobytes()


def test_missing_and_absurd_values_give_finite_figures(trained: Bundle, windows: NDArray[np.float32]) -> None:
    """One sensor's fault would make a stream's scores useless."""
    far = windows[:6].copy()
    far[0], far[1, :, 0], far[2, 3], far[3, :, 1], far[4] = np.nan, np.nan, 3e38, -3e38, 0
    scores = Model(trained).score(far)
    for figures in (scores.score, scores.errors, scores.reconstruction, Model(trained).encode(far)):
        assert np.isfinite(figures).all()
    assert scores.score[0] == 0
    assert_allclose(scores.errors[1, 0], 0)


def test_a_constant_feature_is_told_of_and_stands_out_when_it_moves(
    trained: Bundle, windows: NDArray[np.float32]
) -> None:
    """A recording in which a valve never moved could not be used, or the valve's move would not be seen."""
    assert "feature 'valve' is constant (7) in training" in trained.manifest.training.warnings[0]
    moved = windows[:4].copy()
    moved[:, :, 2] = STUCK + 1
    found, usual = Model(trained).score(moved).errors, Model(trained).score(windows[:4]).errors
    assert (found[:, 2] > 3 * usual[:, 2]).all()
    assert (found.argmax(axis=1) == 2).all()


def test_wrong_shapes_are_one_line(kind: str, trained: Bundle, tmp_path: Path) -> None:
    """Windows of another shape would end in the depths of a library, or be scored as something else."""
    with pytest.raises(ValueError, match=r"windows have the shape \(4, 12, 2\), \(n, 12, 3\) is needed"):
        Model(trained).score(np.zeros((4, 12, 2), np.float32))
    with pytest.raises(TrainingError, match="one column a feature"):
        train(recording(), WINDOW, FEATURES[:2], settings(kind), tmp_path / "bundle")


def test_values_that_are_no_numbers_are_one_line(kind: str, tmp_path: Path) -> None:
    """A sensor without a single value, or with infinite ones, would make every weight NaN."""
    cells = recording()
    for value, message in ((np.nan, "'flow' has no value in the training rows"), (np.inf, "'flow' has infinite")):
        values = cells.values.copy()
        values[:, 1] = value
        with pytest.raises(TrainingError, match=message):
            train(replace(cells, values=values), WINDOW, FEATURES, settings(kind), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_too_few_windows_are_one_line(kind: str, tmp_path: Path) -> None:
    """A recording that is too short would end in a traceback."""
    with pytest.raises(TrainingError, match="too few"):
        train(recording(1, 20), WINDOW, FEATURES, settings(kind), tmp_path / "bundle")


@pytest.mark.parametrize("shape", [Shape(1, 1), Shape(141, 2)])
def test_defaults_fit_every_shape(kind: str, shape: Shape) -> None:
    """Windows of one row, of one feature, or of a length that strides do not divide could not be trained."""
    backend.load()
    hyper = settings(kind, code_size=None, nodes=None).resolve(shape)
    find(kind).check(shape, hyper)
    networks = find(kind).build(shape, hyper)
    assert networks.encoder.output_shape == (None, hyper.code_size)
    assert networks.autoencoder.output_shape == (None, shape.length, shape.features)
