"""The page about a bundle."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import bundle as bundles
from models import comparison, report
from models.bundle import Bundle
from models.cells import TrainingError, scorable
from models.report import decoding, learning, windows
from models.report.page import Section, Table, write
from models.report.subject import Subject
from models.serving import Model
from models.training import train
from tests.models.waves import FEATURES, WINDOW, settings, waves


def subject(bundle: Bundle) -> Subject:
    """Return the bundle with waves of which some rows are labelled and far off."""
    cells = waves(seed=3)
    label = np.zeros(len(cells.label), np.bool_)
    label[60:66] = True
    values = cells.values.copy()
    values[label] += 20
    cells = replace(cells, values=values, label=label)
    places = np.flatnonzero(scorable(cells, WINDOW, len(FEATURES))).astype(np.int64)
    model = Model(bundle)
    score = comparison.scores(model, cells, places).astype(np.float64)
    streams = ("pump-0", "<script>alert(1)</script>", "pump-2")
    return Subject(bundle, model, "waves.csv", cells, streams, places, score, 0.5, labels=True)


def titles(page: str) -> list[str]:
    """Return the headings of a page's sections."""
    return re.findall(r"<h2>(.*?)</h2>", page)


@pytest.mark.slow
def test_a_page_holds_all_that_it_shows(bundle: Bundle, tmp_path: Path) -> None:
    """A page that is sent to a colleague would show nothing, or a stream's name would run in the browser."""
    steps: list[str] = []
    page = report.write(tmp_path, subject(bundle), ("pca",), steps.append).read_text()
    assert titles(page) == [
        "What this is", "Architecture", "Training", "Scores", "Reconstructions", "Latent space", "Decoded",
    ]  # fmt: skip
    assert len(steps) == len(titles(page)) - 1
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert page.count('src="data:image/png;base64,') == len(pictures) == page.count("<img ")
    assert {"architecture.png", "training.png", "scores.png", "latent-pca.png", "decoded-grid.png"} <= set(pictures)
    assert {"windows-best.png", "windows-typical.png", "windows-worst.png"} <= set(pictures)
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert f"{bundle.manifest.members[0].parameters:,} trained parameters" in page
    assert "compressed 6.0 : 1" in page


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "code"), [("vae", 2), ("pca", 3)])
def test_other_kinds_have_a_page(kind: str, code: int, tmp_path: Path) -> None:
    """The page would be for one kind alone: a VAE's plane and prior, or a kind that is solved and not trained."""
    made = train(waves(), WINDOW, FEATURES, settings(kind, code_size=code, nodes=None, epochs=2), tmp_path / "bundle")
    page = report.write(tmp_path, subject(made), ("pca",)).read_text()
    assert (tmp_path / "latent-code.png").exists() == (kind == "vae")
    assert (tmp_path / "samples.png").exists() == (kind == "vae")
    assert ("no curve to draw" in page) == (kind == "pca")


def test_a_bundle_without_training_json_says_so(bundle: Bundle) -> None:
    """A bundle from which somebody took the file, or of the preset quality, would have no page."""
    found = subject(bundle)
    assert learning.section(found).pictures
    files = {name: file for name, file in bundle.manifest.files.items() if name != learning.FILE}
    stripped = replace(found, bundle=replace(bundle, manifest=bundle.manifest.model_copy(update={"files": files})))
    section = learning.section(stripped)
    assert "has no training.json" in section.text[0]
    assert not section.pictures
    assert section.tables


def test_a_training_json_of_another_form_says_so(bundle: Bundle, tmp_path: Path) -> None:
    """A file that another program wrote would end in a traceback."""
    for content in ('{"history": 3}', "[]", '{"history": []}', "{", '{"history": [{"epoch": 1}]}'):
        (tmp_path / learning.FILE).write_text(content)
        files = {**bundle.manifest.files, **bundles.describe(tmp_path)}
        other = Bundle(tmp_path, bundle.manifest.model_copy(update={"files": files}), bundle.sha256)
        section = learning.section(replace(subject(bundle), bundle=other))
        assert "curves are not drawn" in section.text[0]


def test_windows_to_look_at_are_what_they_are_called() -> None:
    """A page would show three times the same minute, or a bad window as a good one."""
    score = np.array([5.0, 1.0, 1.1, 9.0, 8.0, 3.0, 3.1, 7.0])
    label = np.array([False, False, False, False, False, False, False, True])
    start = np.array([0, 10, 11, 30, 31, 50, 70, 90])
    assert windows.chosen(score, label, start, 10) == {
        "best": [1, 5],
        "typical": [6, 5],
        "worst": [3, 0],
        "labelled, highest scores": [7],
        "labelled, lowest scores": [7],
    }


def test_a_grid_of_a_vae_has_the_quantiles_of_its_prior() -> None:
    """The picture of the plane would show corners that the prior never reaches, or be upside down."""
    codes = np.random.default_rng(0).normal(size=(50, 2)) + 3
    grid, _ = decoding.grid(codes, prior=True)
    assert grid.shape == (decoding.GRID**2, 2)
    assert np.abs(grid).max() < 2
    assert grid[0, 0] < 0 < grid[0, 1]
    assert grid[-1, 0] > 0 > grid[-1, 1]
    plain, _ = decoding.grid(codes, prior=False)
    assert np.abs(plain.mean(axis=0) - codes.mean(axis=0)).max() < 1e-5


def test_names_in_tables_are_text(tmp_path: Path) -> None:
    """A feature called like a tag would break the page, and numbers could not be compared."""
    page = write(tmp_path, "x.html", "<a&b>", [Section("<t>", ["<p>"], [Table(("<c>", "n"), [("<v>", 12_345)])])])
    text = page.read_text()
    assert "&lt;a&amp;b&gt;" in text
    assert "<td>&lt;v&gt;</td><td class=n>12,345</td>" in text


def test_without_the_extra_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that only serves, a traceback would come instead of what to install."""
    monkeypatch.setattr("models.extras.find_spec", lambda name: None if name == "keras" else object())
    with pytest.raises(TrainingError, match=r"inspect needs .*\(keras\): pip install 'tidegauge\[train\]'"):
        report.require(("pca",))
