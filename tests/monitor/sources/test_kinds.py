"""Discovery of the kinds, and which of them a recording is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from monitor.sources import for_recording, kinds
from monitor.sources.base import SourceError, SourceSettings


def test_kinds_are_the_files() -> None:
    """`type:` in the configuration is the name of a file: a kind that is not found cannot be used."""
    assert {"jsonl", "csv", "parquet"} <= set(kinds())
    for name, settings in kinds().items():
        assert issubclass(settings, SourceSettings)
        assert get_args(settings.model_fields["type"].annotation) == (name,)
        assert settings.__module__ == f"monitor.sources.{name}"


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["-"], "jsonl"),
        (["a.jsonl"], "jsonl"),
        (["dir.csv/a.ndjson"], "jsonl"),
        (["a.json.gz", "b.JSONL.zst", "-"], "jsonl"),
        (["a.csv"], "csv"),
        (["a.TSV.GZ"], "csv"),
        (["a.parquet"], "parquet"),
        (["a.parquet.zst"], "parquet"),
    ],
)
def test_the_end_of_a_name_is_its_kind(names: list[str], kind: str) -> None:
    """An analyst names files and nothing else; the wrong reader would refuse every record of them."""
    settings = for_recording(names)
    assert settings.type == kind
    assert settings == kinds()[kind].model_validate({"type": kind, "path": names})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no recording"),
        (["a.txt"], r"a\.txt: no known kind of recording: a file is known by one of .*\.csv.*\.jsonl"),
        (["data-"], "data-: no known kind"),
        (["a.gz"], r"a\.gz: no known kind"),
        (["ftp://a.csv"], "ftp://a.csv: no known kind of recording: a URL"),
        (
            ["a.jsonl", "b.csv", "c.jsonl"],
            r"different kinds cannot be one input: a\.jsonl \(jsonl\) and b\.csv \(csv\)",
        ),
    ],
)
def test_names_without_a_kind_are_one_line(names: list[str], message: str) -> None:
    """What cannot be read must be said before anything is read, with what could be."""
    with pytest.raises(SourceError, match=message) as caught:
        for_recording(names)
    assert "\n" not in str(caught.value)


def test_importing_the_kinds_imports_no_heavy_library() -> None:
    """`tidegauge run` must be ready in two seconds, and runs where there is no pyarrow."""
    code = (
        "import sys, monitor.sources as s; assert 'kafka' not in sys.modules, 'kafka';"
        "s.kinds(); assert 'pyarrow' not in sys.modules, 'pyarrow'"
    )
    root = str(Path(__file__).parents[3])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
