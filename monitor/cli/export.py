"""`tidegauge export`: a bundle's model for other places."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.codes import fewest
from models.litert import MOST, Exported, make
from monitor.cli import _cut, _lines, _rounded
from monitor.cli._options import config_option, json_option, set_option
from monitor.config import Config
from monitor.dataset.recording import replacing, writable

_KEPT = {"onnx": "model.onnx", "keras": "autoencoder.keras"}
"""The files of a bundle that are given out as they are."""

_BULK = {"standard": (-1.0, 1.0), "minmax": (0.2, 0.8), "none": (math.inf, -math.inf)}
"""Where most training values lie in scaled units, by the method of scaling; without scaling nothing is known."""


@click.command(name="export")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["litert", *_KEPT]),
    default="litert",
    show_default=True,
    help="litert: phones and microcontrollers; onnx, keras: the bundle's own file.",
)
@click.option(
    "--int8",
    is_flag=True,
    help="litert: whole numbers of 8 bits throughout, input and output included; onnx: a bundle to serve, with such"
    " weights.",
)
@click.option(
    "--calibrate",
    metavar="RECORDING",
    help="litert: normal windows whose ranges the 8 bits cover; left out: the bundle's calibration windows.",
)
@click.option(
    "--recording",
    "recordings",
    multiple=True,
    metavar="RECORDING",
    help="onnx with --int8: what is replayed to see that alerts are the same; can be given several times.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where it goes; a directory for onnx with --int8.",
)
@config_option()
@set_option
@json_option
def command(  # noqa: PLR0913 - each is an option
    bundle: Path,
    form: str,
    calibrate: str | None,
    recordings: tuple[str, ...],
    out: Path,
    config_path: Path | None,
    overrides: tuple[str, ...],
    *,
    int8: bool,
    as_json: bool,
) -> None:
    """Write a bundle's autoencoder as a LiteRT (TensorFlow Lite) file; needs the extra train.

    The file rebuilds one window of scaled values. Scaling and score are the device's part: what it needs for them is
    printed, with size, operators, memory, and how far the scores are from the bundle's. --int8 is for
    microcontrollers; operators that their interpreter lacks are named.

    With --format onnx --int8 --recording RECORDING it writes a bundle for the daemon whose weights have 8 bits: about a
    third of the graph's size, as fast, and scores do not depend on the chunk. Both bundles are replayed over the
    recording; unless 99.9 % of its windows have the same status and events, nothing is written.
    """
    _agree(form, calibrate, recordings, int8=int8)
    if form == "onnx" and int8:
        told = _rounded.make(bundle, out, recordings, config_path, overrides)
        click.echo(
            json.dumps({"directory": str(out), **told}, indent=2) if as_json else "\n".join(_rounded.table(out, told))
        )
        return
    found, config = _cut.begin(bundle, config_path, overrides, "export")
    writable(out)
    if form in _KEPT:
        content = found.content(_KEPT[form])
        _write(out, content)
        _lines.say("file", f"{out}: {len(content):,} bytes, {_KEPT[form]} of the bundle")
        if as_json:
            click.echo(json.dumps({"file": str(out), "bundle": found.sha256, "size": len(content)}))
        return
    windows = None if calibrate is None else _windows(found, config, calibrate)
    made = make(found, windows, int8=int8)
    _write(out, made.content)
    describe(out, found, made, int8=int8)
    if as_json:
        click.echo(json.dumps(_fields(out, found, made), indent=2))


def _agree(form: str, calibrate: str | None, recordings: tuple[str, ...], *, int8: bool) -> None:
    """Refuse options that are for another format.

    Raises:
        UsageError: with what to leave out, or to name.
    """
    message = ""
    if form != "litert" and calibrate is not None:
        message = "--calibrate is for --format litert"
    elif form == "keras" and int8:
        message = f"--int8 is for --format litert and onnx: {_KEPT[form]} is given out as it is"
    elif recordings and not (form == "onnx" and int8):
        message = "--recording is for --format onnx with --int8"
    elif form == "onnx" and int8 and not recordings:
        message = (
            "--format onnx --int8 needs --recording RECORDING: the alerts on it are compared before anything is written"
        )
    if message:
        raise click.UsageError(message)


def _windows(bundle: Bundle, config: Config, recording: str) -> NDArray[np.float32]:
    """Return windows of a recording without labelled rows, evenly spread."""
    cut = _cut.cut(bundle, config, [recording])
    cells, length = cut.found.cells, cut.window.length
    normal = cut.windows[~cells.touched(cells.label, length)[cut.windows]]
    if len(normal) > MOST:
        few = normal[fewest(cells.starts[normal], length)]
        normal = few if len(few) >= MOST else normal
    chosen = np.unique(np.linspace(0, max(len(normal) - 1, 0), min(len(normal), MOST)).round().astype(np.int64))
    return cells.gather(normal[chosen], length)


def _write(out: Path, content: bytes) -> None:
    with replacing(out) as made:
        made.write_bytes(content)


def describe(out: Path, bundle: Bundle, made: Exported, *, int8: bool) -> None:
    """Say on standard error what came out."""
    needs, kind = made.needs, bundle.manifest.members[0].kind
    used = ", ".join(f"{name} {count}" for name, count in needs.operators.items())
    _lines.say("operators", used)
    if needs.lacking:
        _lines.say(
            "warning",
            f"the micro interpreter lacks {', '.join(needs.lacking)}: this {kind} runs on phones and computers only;"
            " for a microcontroller train it with activation relu or tanh, or a simpler kind, such as dense",
        )
    elif not int8:
        _lines.say("warning", "numbers of 32 bits: for a microcontroller say --int8")
    _lines.say("arena", f"about {needs.arena:,} bytes, of which tensors {needs.tensors:,}; an estimate: try it out")
    if made.input is not None and made.output is not None:
        for name, end in (("input", made.input), ("output", made.output)):
            span = f"from {end.low:.3g} to {end.high:.3g} in scaled units"
            _lines.say(name, f"int8, real = {end.scale:.8g} × (number - {end.zero}): {span}")
        least, most = _BULK[bundle.manifest.scaling.method]
        if made.input.low > least or made.input.high < most:
            _lines.say(
                "warning",
                f"these windows are narrower than what the model was trained on ({least:g} to {most:g} is its bulk):"
                " normal values outside will be cut off; name a recording that has all that is normal (--calibrate)",
            )
    score = bundle.manifest.members[0].hyperparameters.options.get("score", "error")
    if score != "error":
        _lines.say(
            "warning", f"the bundle's own score is the {score}; a device computes the error, as is compared here"
        )
    _lines.say(
        "scores",
        f"of {made.windows} normal windows differ from the float model's by {made.middle:.2%} in the middle,"
        f" {made.largest:.2%} at most; quantile 0.99: {made.own_line:.4g}, float {made.line:.4g}",
    )
    _lines.say("file", f"{out}: {len(made.content):,} bytes, {kind}, {'8-bit integers' if int8 else 'float32'}")


def _fields(out: Path, bundle: Bundle, made: Exported) -> dict[str, Any]:
    """Return what a program, or whoever writes the firmware, wants to know."""
    manifest = bundle.manifest
    return {
        "file": str(out),
        "bundle": bundle.sha256,
        "kind": manifest.members[0].kind,
        "size": len(made.content),
        "window": manifest.window.model_dump(mode="json"),
        "features": list(manifest.features),
        "scaling": {name: list(getattr(manifest.scaling, name)) for name in ("offset", "scale", "mean")},
        "input": None if made.input is None else asdict(made.input),
        "output": None if made.output is None else asdict(made.output),
        "operators": made.needs.operators,
        "lacking": list(made.needs.lacking),
        "arena": made.needs.arena,
        "arena_tensors": made.needs.tensors,
        "scores": {
            "windows": made.windows,
            "median_difference": made.middle,
            "largest_difference": made.largest,
            "quantile_099": made.own_line,
            "quantile_099_float": made.line,
        },
    }
