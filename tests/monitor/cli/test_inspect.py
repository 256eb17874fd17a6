"""`tidegauge inspect`, as a model builder types it."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.bundle import Bundle
from tests.monitor.cli.conftest import Run


@pytest.mark.slow
def test_a_page_is_written(run: Run, bundle: Bundle, recording: Path, tmp_path: Path) -> None:
    """If it failed, nobody could look at what a bundle has learned."""
    out = tmp_path / "deep" / "page"
    done = run("inspect", bundle.path, recording, "--out", out, "--projection", "pca")
    assert done.status == 0, done.err
    assert done.out == f"{out / 'index.html'}\n"
    text = (out / "index.html").read_text()
    assert "Bundle bundle" in text
    assert "AUC-ROC" in text
    assert (out / "windows-labelled-highest-scores.png").exists()


def test_what_cannot_be_inspected_is_one_line(run: Run, bundle: Bundle, recording: Path, tmp_path: Path) -> None:
    """If it failed, a slip would end in a traceback, or overwrite something of somebody's."""
    full, short = tmp_path / "full", tmp_path / "short.csv"
    full.mkdir()
    (full / "thesis.txt").write_text("of years")
    short.write_text("time,stream,pressure,flow\n1,a,50,1000\n")
    new = tmp_path / "new"
    for arguments, status, said in (
        ((bundle.path, recording, "--out", full), 1, "exists and holds no page"),
        ((bundle.path, recording, "--out", recording), 1, "exists and holds no page"),
        ((bundle.path, recording, "--out", recording / "x"), 1, "cannot be written"),
        ((tmp_path / "none", recording, "--out", new), 78, "there is no such directory"),
        ((bundle.path, short, "--out", new), 1, "no window of 12 rows could be scored"),
        ((bundle.path, recording, "--out", new, "--projection", "tsme"), 1, "there is no projection 'tsme'"),
        ((bundle.path, recording), 2, "--out"),
    ):
        done = run("inspect", *arguments)
        assert done.status == status, done.err
        assert said in done.said[-1]
        assert (done.out, "Traceback" in done.err) == ("", False)
    assert [path.name for path in full.iterdir()] == ["thesis.txt"]
    assert not new.exists()
