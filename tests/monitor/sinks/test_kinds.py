"""How kinds of sink are found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from monitor.sinks import kinds


def test_each_kind_is_the_name_of_its_file() -> None:
    """`type:` in the configuration is the file's name: who looks for the code of a sink must find it."""
    folder = Path(__file__).parents[3] / "monitor" / "sinks"
    assert {"alertmanager", "jsonl"} <= kinds().keys()
    for kind, settings in kinds().items():
        assert (folder / f"{kind}.py").is_file()
        assert settings.model_fields["type"].default == kind


@pytest.mark.slow
def test_importing_the_kinds_imports_no_heavy_library() -> None:
    """`tidegauge run` must be ready in two seconds, whatever sinks there are."""
    code = "import sys, monitor.sinks as s; s.kinds(); assert not {'pyarrow', 'river'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
