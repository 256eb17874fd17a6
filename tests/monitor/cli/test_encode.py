"""`tidegauge encode` and `tidegauge decode`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.bundle import Bundle
from tests.monitor.cli.conftest import Run
from tests.recordings import INCIDENTS, ROWS, START


@pytest.fixture
def codes(run: Run, bundle: Bundle, recording: Path, tmp_path: Path) -> Path:
    """The codes of the recording."""
    out = tmp_path / "codes.parquet"
    assert run("encode", bundle.path, recording, "--out", out).status == 0
    return out


def test_codes_stand_for_windows_that_cover_the_recording(
    run: Run, bundle: Bundle, recording: Path, codes: Path
) -> None:
    """Another model could not tell of which stream and time a code is, or would miss some."""
    table = pq.read_table(codes)
    assert table.column_names == ["stream", "start", "end", "row", "label", *(f"code_{place}" for place in range(4))]
    assert len(table) == 3 * ROWS // 12
    own = table.filter(pa.compute.equal(table["stream"], "pump-1"))
    starts = own["start"].cast(pa.int64()).to_numpy()
    assert starts.tolist() == [START + 60_000 * row for row in range(0, ROWS, 12)]
    assert (own["end"].cast(pa.int64()).to_numpy() - starts == 11 * 60_000).all()
    first, last = INCIDENTS["pump-1"]
    touched = [row < last and row + 12 > first for row in range(0, ROWS, 12)]
    assert own["label"].to_pylist() == touched
    _, out, _ = run("encode", bundle.path, recording, "--out", codes, "--every-window", "--json")
    told = json.loads(out)
    assert told["windows"] == len(pq.read_table(codes)) == 3 * (ROWS - 11)
    assert told["ratio"] == pytest.approx(3 * ROWS * 2 / (told["windows"] * 4))


def test_a_recording_comes_back_in_its_own_units(run: Run, bundle: Bundle, recording: Path, codes: Path) -> None:
    """Lossy compression would lose more than it says, or give back scaled numbers."""
    out = codes.parent / "back.csv"
    status, text, err = run("decode", bundle.path, codes, "--out", out, "--original", recording, "--json")
    assert status == 0, err
    anew = json.loads(text)
    assert anew["rows"] == 3 * ROWS
    assert anew["ratio"] == pytest.approx(12 * 2 / 4)
    kept = json.loads(pq.read_schema(codes).metadata[b"tidegauge"])
    assert anew["error"] == pytest.approx(kept["error"], rel=1e-3)
    assert anew["error"] < anew["baseline_error"]
    lines = out.read_text().splitlines()
    assert lines[0] == "time,stream,pressure,flow"
    flows = np.array([float(line.rsplit(",", 1)[1]) for line in lines[1:]])
    assert 900 < flows.mean() < 1100
    said = run("decode", bundle.path, codes, "--out", out).said
    assert said[0] == "ratio     6 : 1 (1,800 values, 300 numbers in codes)"
    assert said[1].startswith(f"error     {kept['error']:.4g} mean squared in scaled units")
    assert said[-1] == f"recording {out}: 900 rows"


def test_codes_of_something_else_are_refused(run: Run, bundle: Bundle, recording: Path, codes: Path) -> None:
    """Numbers of one model would be decoded by another, into a recording that looks real."""
    other = codes.parent / "other.csv"
    other.write_text("".join(recording.read_text().splitlines(keepends=True)[:200]))
    out = codes.parent / "back.csv"
    status, _, said = run("decode", bundle.path, codes, "--out", out, "--original", other)
    assert (status, said.count("\n")) == (1, 1)
    assert "not the codes of that recording" in said
    table = pq.read_table(codes)
    cases = {
        "another bundle": table.replace_schema_metadata(
            {b"tidegauge": table.schema.metadata[b"tidegauge"].replace(bundle.sha256.encode(), b"0" * 64)}
        ),
        "no column 'code_3'": table.drop_columns(["code_3"]),
        "more than 4 numbers": table.append_column("code_4", table["code_3"]),
        "missing or infinite": table.set_column(8, "code_3", pa.array(np.full(len(table), np.inf, np.float32))),
        "begin at the same row": pa.concat_tables([table, table]),
        "its columns are not": table.set_column(3, "row", pa.array(["x"] * len(table))),
    }
    for wanted, case in cases.items():
        pq.write_table(case, codes)
        status, _, said = run("decode", bundle.path, codes, "--out", out)
        assert (status, said.count("\n")) == (1, 1), said
        assert wanted in said
    assert not out.exists()


def test_codes_that_another_program_wrote_are_decoded(run: Run, bundle: Bundle, codes: Path) -> None:
    """Codes that somebody moved about in the latent space could not be looked at."""
    pq.write_table(pq.read_table(codes).replace_schema_metadata(None), codes)
    out = codes.parent / "back.jsonl"
    status, _, said = run("decode", bundle.path, codes, "--out", out)
    assert status == 0
    assert "error     not known" in said
    assert set(json.loads(out.read_text().splitlines()[0])) == {"stream", "time", "values"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{recording}", "--out", "codes.csv"), "its name must end in .parquet"),
        (("missing.csv", "--out", "codes.parquet"), "missing.csv: cannot be read"),
        (("{recording}", "--out", "codes.parquet", "--set", "window.length=5"), "was trained with 12"),
        (("{recording}", "--out", "codes.parquet", "--set", "record.select.include=[none]"), "make no window"),
    ],
)
def test_what_cannot_be_encoded_is_said_in_a_line(
    run: Run, bundle: Bundle, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], said: str,
) -> None:  # fmt: skip
    """The user would read a traceback."""
    monkeypatch.chdir(tmp_path)
    status, _, err = run("encode", bundle.path, *(one.format(recording=recording) for one in arguments))
    assert status in {1, 78}
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err


def test_decode_without_tensorflow_says_what_to_install(
    run: Run, bundle: Bundle, codes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a serving machine the user would read a traceback."""
    monkeypatch.setattr("models.extras.find_spec", lambda name: None if name == "tensorflow" else sys)
    status, _, said = run("decode", bundle.path, codes, "--out", codes.parent / "back.csv")
    assert (status, said.count("\n")) == (1, 1)
    assert "decode needs what is not installed here (tensorflow): pip install 'tidegauge[train]'" in said
