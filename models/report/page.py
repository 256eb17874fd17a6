"""Sections of text, tables and pictures → one file of HTML, with the pictures in it, that needs no network."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from models.report.subject import moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from models.report.subject import Subject

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Whatever a stream may be called: the page loads nothing and runs nothing."""

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff; margin: 0 auto; padding: 1.5rem;
       max-width: 72rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem;
     border-top: 1px solid #d5dae0; padding-top: 1rem; }
p { max-width: 48rem; margin: .4rem 0; } nav a { margin-right: 1rem; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; } figcaption { color: #555d66; font-size: .9rem;
         max-width: 48rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 -.5rem; }
.tables { display: flex; flex-wrap: wrap; gap: 0 3rem; align-items: flex-start; }
.scroll { overflow-x: auto; max-width: 100%; } table { border-collapse: collapse; margin: .75rem 0; font-size: .9rem; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #e6e9ed; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture: its file's name without the end, a heading, what it shows in a sentence or two, and itself."""

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class Table:
    """A table: names of the columns, and rows of numbers or text."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[str | int | float]]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        title: its heading.
        text: paragraphs.
        tables: tables, after the text.
        pictures: pictures, after the tables.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = field(default_factory=tuple)


def head(subject: Subject) -> Section:
    """Return what the page is about."""
    manifest, label = subject.manifest, subject.label
    window = manifest.window
    cell = "a record a row" if window.interval is None else f"a row every {window.interval / 1000:g} s"
    labelled = f"{int(label.sum()):,} of them labelled" if subject.labels else "without labels"
    of = "1 stream" if len(subject.streams) == 1 else f"{len(subject.streams):,} streams"
    rows: list[tuple[str, str]] = [
        ("bundle", f"{subject.name}, of the kind {subject.kind}"),
        ("SHA-256", subject.bundle.sha256),
        ("features", _listed(manifest.features)),
        ("windows", f"{window.length} rows × {len(manifest.features)} features, {cell}, one every {window.stride}"),
        ("recording", f"{subject.recording}: {len(subject.windows):,} scored windows of {of}, {labelled}"),
        ("time", f"{moment(int(subject.end.min()))} to {moment(int(subject.end.max()))} (UTC)"),
        ("made with", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())),
    ]
    return Section("What this is", tables=[Table(("", ""), rows)])


def write(out: Path, name: str, title: str, sections: Sequence[Section]) -> Path:
    """Write each picture as PNG into `out`, then the page; return the page.

    Raises:
        OSError: if a file cannot be written.
    """
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1><nav>",
        *(f'<a href="#s{number}">{escape(section.title)}</a>' for number, section in enumerate(sections)),
        "</nav>",
    ]
    for number, section in enumerate(sections):
        parts.append(f'<section id="s{number}"><h2>{escape(section.title)}</h2>')
        parts += [f"<p>{escape(paragraph)}</p>" for paragraph in section.text]
        parts += ['<div class="tables">', *(_table(table) for table in section.tables), "</div>"]
        parts += [_picture(out, picture) for picture in section.pictures]
        parts.append("</section>")
    parts.append("</body></html>")
    page = out / name
    page.write_text("\n".join(parts) + "\n", encoding="utf-8")
    return page


def _picture(out: Path, picture: Picture) -> str:
    """Write a picture's file and return its part of the page."""
    content = io.BytesIO()
    picture.figure.savefig(content, dpi=100, format="png")
    (out / f"{picture.name}.png").write_bytes(content.getvalue())
    source = f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
    title, caption = escape(picture.title), escape(picture.caption)
    shown = f'<img alt="{title}: {caption}" src="{source}">'
    return f"<h3>{title}</h3><figure>{shown}<figcaption>{caption}</figcaption></figure>"


def _table(table: Table) -> str:
    """Return a table's part of the page."""
    numeric = [all(not isinstance(row[at], str) for row in table.rows) for at in range(len(table.columns))]
    head = zip(table.columns, numeric, strict=True)
    lines = ['<div class="scroll"><table>']
    if any(table.columns):
        lines.append(f"<tr>{''.join(_cell('th', name, number) for name, number in head)}</tr>")
    for row in table.rows:
        cells = (_cell("td", _shown(value), number) for value, number in zip(row, numeric, strict=True))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "".join([*lines, "</table></div>"])


def _cell(tag: str, text: str, numeric: bool) -> str:  # noqa: FBT001 - a column's kind
    return f"<{tag}{' class=n' if numeric else ''}>{escape(text)}</{tag}>"


def _shown(value: str | float) -> str:
    """Return a value of a table as text."""
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _listed(names: Sequence[str]) -> str:
    """Return names with commas, the first 20 of them."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""  # noqa: PLR2004 - a line's worth
    return ", ".join(names[:20]) + more
