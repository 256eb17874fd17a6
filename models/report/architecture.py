"""Layers, parameters and sizes of a bundle, and how far it compresses a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models import colours
from models.report.page import Picture, Section, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from models.report.subject import Subject


def section(subject: Subject) -> Section:
    """Return the section."""
    manifest = subject.manifest
    files = [(name, file.size) for name, file in sorted(manifest.files.items())]
    sizes = Table(("file", "bytes"), files)
    if not subject.single:
        return Section("Members", [_members_text(subject)], [_members(subject), sizes])
    member, hyper = manifest.members[0], manifest.members[0].hyperparameters
    cells = subject.length * len(manifest.features)
    rows = _layers(subject)
    text = (
        f"A window of {subject.length} rows × {len(manifest.features)} features is {cells:,} numbers; its code has"
        f" {hyper.code_size}: {_ratio(cells, hyper.code_size)}. {member.parameters:,} trained parameters,"
        f" {_bytes(manifest.files[member.onnx].size)} as the graph that is served."
    )
    settings = [(name, _setting(value)) for name, value in hyper.model_dump(mode="json").items()]
    tables = [
        Table(("part", "layer", "type", "output", "numbers out", "parameters"), rows),
        Table(("hyper-parameter", "value"), settings),
        sizes,
    ]
    caption = "How many numbers each layer hands on, from the window to the code and back."
    return Section(
        "Architecture", [text], tables, [Picture("architecture", "From layer to layer", caption, _hourglass(rows))]
    )


def _layers(subject: Subject) -> list[tuple[str, str, str, str, int, int]]:
    """Return a row a layer: part, name, type, shape of the output, numbers in it, parameters."""
    rows = []
    for part in ("encoder", "decoder"):
        network = getattr(subject.networks, part)
        for layer in network.layers:
            shape = _shape(layer)
            text = " × ".join(map(str, shape)) or "–"
            kind = type(layer).__name__
            rows.append((part, layer.name, kind, text, int(np.prod(shape)) if shape else 0, layer.count_params()))
    return rows


def _shape(layer: Any) -> tuple[int, ...]:  # noqa: ANN401 - a Keras layer
    """Return the shape of what a layer hands on for one window; of several outputs the first one's."""
    output = layer.output[0] if isinstance(layer.output, list | tuple) else layer.output
    return tuple(0 if size is None else int(size) for size in output.shape[1:])


def _hourglass(rows: Sequence[tuple[str, str, str, str, int, int]]) -> Figure:
    """Draw the widths of the layers as bars around a middle line."""
    from matplotlib.figure import Figure

    shown = [row for row in rows if row[4] > 0]
    figure = Figure(figsize=(9, 0.28 * len(shown) + 0.7), layout="constrained")
    axes = figure.add_subplot()
    widths = np.sqrt([row[4] for row in shown])  # of their square roots, so that narrow layers are seen
    places = np.arange(len(shown))
    fills = [colours.NORMAL if row[0] == "encoder" else colours.EXPECTED for row in shown]
    axes.barh(places, widths, left=-widths / 2, color=fills, height=0.75)
    for place, row in enumerate(shown):
        more = f", {row[5]:,} parameters" if row[5] else ""
        axes.text(widths.max() / 2 * 1.04, place, f"{_out(row[3], row[4])}{more}", va="center", fontsize="small")
    axes.set_yticks(places, [f"{row[0]}: {row[1]}" for row in shown], fontsize="small")
    axes.invert_yaxis()
    axes.set_xlim(-widths.max() / 2 * 1.02, widths.max() / 2 * 2.1)
    axes.xaxis.set_visible(False)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    return figure


def _out(shape: str, numbers: int) -> str:
    """Return how much a layer hands on."""
    return f"{numbers:,}" if shape == str(numbers) else f"{shape} = {numbers:,}"


def _members_text(subject: Subject) -> str:
    """Return what a detector is."""
    count = len(subject.manifest.detector.parts) if subject.manifest.detector is not None else 0
    return (
        f"This bundle is a detector (members: {count}). A member sees a window in its own way, and their errors are"
        " made one score with each stream's own past. What follows shows that score. Layers,"
        " reconstructions and codes are shown of bundles of one autoencoder (train.preset plain)."
    )


def _members(subject: Subject) -> Table:
    """Return the members of a detector."""
    detector = subject.manifest.detector
    known = {member.name: member for member in subject.manifest.members}
    rows: list[tuple[str, str, str, str, str, str]] = []
    for part in detector.parts if detector is not None else ():
        member = known.get(part.name)
        cells = part.view.rows * len(subject.manifest.features)
        code = None if member is None else member.hyperparameters.code_size
        rows.append(
            (
                part.name,
                part.kind,
                f"{part.view.rows} rows of {part.view.step}, {part.view.form}",
                "–" if code is None else f"{cells:,} → {code:,}",
                "–" if member is None else f"{member.parameters:,}",
                ", ".join(voice.form for voice in detector.voices if voice.part == part.name) if detector else "",
            )
        )
    return Table(("member", "kind", "view", "code", "parameters", "voices"), rows)


def _ratio(cells: int, code: int) -> str:
    """Return the compression ratio in words."""
    if code < cells:
        return f"compressed {cells / code:.1f} : 1"
    return f"not compressed ({cells / code:.2f} : 1): it is held back by other means"


def _setting(value: object) -> str:
    if isinstance(value, list | dict):
        given = value if isinstance(value, list) else [f"{name}: {one}" for name, one in value.items()]
        return ", ".join(map(str, given)) or "–"
    return str(value)


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1_000_000 else f"{size / 1e3:.1f} kB"  # noqa: PLR2004 - a MB
