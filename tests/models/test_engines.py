"""What runs a graph."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models import engines
from models.bundle import Bundle, BundleError
from models.chunk import Scores
from models.graph import Graph
from models.serving import Model, calibration_windows

ENGINES: tuple[engines.EngineName, ...] = ("onnxruntime", "openvino")


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> engines.EngineName:
    """The name of an engine."""
    return request.param  # type: ignore[no-any-return]  # pytest does not know what a parameter is


def load(bundle: Bundle, engine: engines.EngineName, threads: int = 1) -> Graph:
    """Return the bundle's graph under an engine."""
    return Graph(bundle.content("model.onnx"), 12, 2, calibration_windows(bundle), threads, engine)


def test_a_window_has_the_same_bits_in_every_call(bundle: Bundle, engine: engines.EngineName) -> None:
    """Alerts would depend on how records come in polls."""
    random = np.random.default_rng(2)
    windows = random.normal(size=(150, 12, 2)).astype(np.float32)
    windows[random.random(windows.shape) < 0.05] = np.nan
    one, three = load(bundle, engine), load(bundle, engine, 3)
    assert three.threads == 3
    wanted = one.score(windows)
    for start, stop in ((0, 150), (0, 1), (1, 14), (14, 149), (3, 80)):
        part = Scores(wanted.score[start:stop], wanted.errors[start:stop], wanted.reconstruction[start:stop])
        assert three.score(windows[start:stop]).same(part).all()


@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 1e30, 1e-45])
def test_no_finite_value_gives_nan(bundle: Bundle, engine: engines.EngineName, value: float) -> None:
    """One absurd reading would poison a stream's line for ever."""
    windows = np.zeros((9, 12, 2), np.float32)
    windows[:, 3, 0] = value
    windows[7] = value
    windows[8, :, 1] = np.nan
    scores = load(bundle, engine).score(windows)
    for figures in (scores.score, scores.errors, scores.reconstruction):
        assert np.isfinite(figures).all()


def test_the_engines_agree(bundle: Bundle) -> None:
    """A bundle would say something else under another engine."""
    windows = calibration_windows(bundle)
    first, second = (load(bundle, engine).score(windows) for engine in ENGINES)
    np.testing.assert_allclose(first.score, second.score, rtol=1e-4)
    np.testing.assert_allclose(first.reconstruction, second.reconstruction, rtol=1e-4, atol=1e-4)


def test_an_engine_reports_to_nobody(bundle: Bundle, engine: engines.EngineName, tmp_path: Path) -> None:
    """Whoever made it would be told of the machines that it runs on."""
    script = (
        "import sys; from pathlib import Path; from models.bundle import read; from models.serving import Model;"
        "Model(read(Path(sys.argv[1])), 1, sys.argv[2]); import os; assert os.environ['ORT_TELEMETRY_DISABLED'] == '1'"
    )
    kept = {name: value for name, value in os.environ.items() if name != "ORT_TELEMETRY_DISABLED"}
    run = [sys.executable, "-c", script, str(bundle.path), engine]
    subprocess.run(run, check=True, timeout=120, env={**kept, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)})
    assert not (tmp_path / "intel").exists()


def test_a_graph_of_another_form_is_refused(bundle: Bundle, engine: engines.EngineName) -> None:
    """A bundle put together from two would be served until the first window came."""
    content = bundle.content("model.onnx")
    with pytest.raises(ValueError, match=r"windows of \[24, 2\] are needed"):
        engines.load(engine, content, 24, 2)
    with pytest.raises(ValueError, match="cannot load the graph"):
        engines.load(engine, b"no graph", 12, 2)


def test_an_engine_that_is_not_installed_is_one_line(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names it would see an ImportError."""
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    with pytest.raises(BundleError, match=r"pip install 'tidegauge\[openvino\]'"):
        Model(bundle, engine="openvino")
