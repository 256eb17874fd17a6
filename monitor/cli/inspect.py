"""`tidegauge inspect`: what is in a bundle, and what it makes of a recording, as a page and pictures."""

from __future__ import annotations

from pathlib import Path

import click

from models import bundle as bundles
from models import latent, report
from models.evaluation import EvaluationError
from models.report.subject import Subject
from monitor import evaluation
from monitor.cli import _lines, _quiet
from monitor.cli._options import config_option, set_option
from monitor.cli._progress import Steps
from monitor.config import load
from monitor.dataset import read_ranges
from monitor.sources import for_recording


@click.command(name="inspect")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING…")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder of the page.")
@click.option("--labels", metavar="FILE", help="CSV stream,start,end; instead of the recording's column label.")
@click.option(
    "--projection",
    metavar="A,B,…",
    help="How codes come to a plane: pca, tsne, umap; left out: all that are installed.",
)
@config_option()
@set_option
def command(
    bundle: Path,
    recordings: tuple[str, ...],
    out: Path,
    labels: str | None,
    projection: str | None,
    config_path: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Write a page about a bundle and what it makes of a recording: DIR/index.html, and its pictures beside it.

    Layers and sizes, the curves of the training, scores of normal and labelled windows, the best, typical and worst
    reconstructions, the space of codes, and what the decoder makes of it. The page holds its pictures and needs no
    network. Windows are scored as production scores them.
    """
    config = load(config_path, overrides)
    _quiet.configure(config)
    methods = latent.available() if projection is None else tuple(name.strip() for name in projection.split(","))
    report.require(methods)
    _refuse_other(out)
    ranges = None if labels is None else read_ranges(labels, config.record)
    checked = bundles.read(bundle)
    from models.serving import Model  # after the checks above: it loads the engine that runs networks

    model = Model(checked)
    with Steps() as steps:
        steps.step("scoring")
        source = for_recording(recordings, config.source).build(config.record, checked.manifest.features)
        scored = evaluation.read(config, checked, model, source, ranges, steps.records)
        if len(scored.windows) == 0:
            rows = scored.window.length
            message = f"{recordings[0]}: no window of {rows} rows could be scored: record more, or look at its gaps"
            raise EvaluationError(message)
        names = ", ".join(dict.fromkeys(Path(name).name for name in recordings))
        found = scored.dataset
        subject = Subject(
            checked,
            model,
            names,
            found.cells,
            found.streams,
            scored.windows,
            scored.score,
            scored.first_line,
            labels=scored.labels,
        )
        try:
            out.mkdir(parents=True, exist_ok=True)
            page = report.write(out, subject, methods, steps.step)
        except OSError as error:
            message = f"{error.filename or out} cannot be written: {error.strerror}"
            raise EvaluationError(message) from None
    _lines.tell(found)
    click.echo(str(page))


def _refuse_other(out: Path) -> None:
    """Refuse a folder that holds something else than an earlier page.

    Raises:
        EvaluationError: if it does.
    """
    if out.is_dir() and ((out / report.PAGE).is_file() or not any(out.iterdir())):
        return
    if out.exists() or out.is_symlink():
        message = f"{out} exists and holds no page: name another folder, or remove it"
        raise EvaluationError(message)
