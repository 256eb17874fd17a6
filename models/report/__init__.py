"""What is in a bundle, and what it makes of a recording, as one page and pictures.

* `subject`: a bundle with the scored windows of a recording
* `page`: sections of text, tables and pictures → one file of HTML that needs no network
* `architecture`: layers, parameters, sizes, compression
* `learning`: how the training went
* `scores`: how scores are spread
* `windows`: what the model makes of single windows
* `space`: where windows lie in the space of codes
* `decoding`: what the decoder makes of that space
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models import extras, latent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from models.report.subject import Subject

PAGE = "index.html"
_NEEDED = ("tensorflow", "keras", "matplotlib")


def require(methods: Sequence[str]) -> None:
    """Look whether what a report needs is installed, without loading it.

    Raises:
        TrainingError: if it is not.
    """
    extras.require("inspect", _NEEDED)
    latent.require(methods)


def write(out: Path, subject: Subject, methods: Sequence[str], step: Callable[[str], None] = lambda _: None) -> Path:
    """Write the pictures and then the page into the folder `out`, which is there; return the page.

    Args:
        out: the folder; files of the same names are replaced.
        subject: what is looked at; it has a window at least.
        methods: of `models.latent`, for codes of more than two numbers.
        step: called at the beginning of each step with what it does.

    Raises:
        BundleError: if the bundle's networks are not as its manifest says.
        OSError: if a file cannot be written.
    """
    from models.report import architecture, decoding, learning, page, scores, space, windows

    sections: list[page.Section | None] = [page.head(subject)]
    for name, section in (
        ("layers", architecture.section),
        ("training", learning.section),
        ("scores", scores.section),
        ("windows", windows.section),
        ("latent space", lambda one: space.section(one, methods)),
        ("decoding", decoding.section),
    ):
        step(name)
        sections.append(section(subject))
    return page.write(out, PAGE, f"Bundle {subject.name}", [one for one in sections if one is not None])
