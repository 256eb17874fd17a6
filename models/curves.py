"""The picture of an evaluation: ROC, precision and recall, the two kinds of scores, and the windows counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models import colours, extras

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from numpy.typing import NDArray

    from models.evaluation import Confusion, Evaluation

_POINTS = 2_000  # of a curve: more are not seen, and make the file large
_BINS = 60
_NARROW = 0.5  # decades; scores that are nearer together are drawn in the middle of more
_FEW = 2.5  # decades of an axis with three numbers in each


def require() -> None:
    """Look whether what draws pictures is installed.

    Raises:
        TrainingError: if it is not.
    """
    extras.require("a picture", ["matplotlib"])


def write(path: Path, found: Evaluation, score: NDArray[np.float64], label: NDArray[np.bool_], title: str) -> None:
    """Write the picture as PNG.

    Args:
        path: the file.
        found: the evaluation of these scores.
        score: `(n,)` scores of windows.
        label: `(n,)` whether a label touches each.
        title: what was evaluated.

    Raises:
        OSError: if the file cannot be written.
    """
    from matplotlib.figure import Figure  # without pyplot: no window system is looked for

    figure = Figure(figsize=(12, 9), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(2, 2)
    _roc(axes[0, 0], found)
    _precision(axes[0, 1], found)
    distribution(axes[1, 0], score, label, {"best F1": found.best, "chosen": found.chosen})
    _counted(axes[1, 1], found)
    figure.savefig(path, dpi=120, format="png")


def distribution(
    axes: Axes, score: NDArray[np.float64], label: NDArray[np.bool_], lines: dict[str, float] | None = None
) -> None:
    """Draw the scores of labelled and other windows, each as shares of its own, on a logarithmic axis."""
    shown = np.log10(np.maximum(score, max(float(score[score > 0].min(initial=np.inf)), 1e-12)))
    shown = np.where(np.isfinite(shown), shown, -12.0)
    margin = 1e-9 if np.ptp(shown) > _NARROW else _NARROW  # bars of equal scores have a width, too
    edges = np.linspace(shown.min() - margin, shown.max() + margin, _BINS + 1)
    for which, name, colour in ((~label, "normal", colours.NORMAL), (label, "labelled", colours.LABELLED)):
        count = int(np.count_nonzero(which))
        if count:
            shares = np.histogram(shown[which], edges)[0] / count
            axes.stairs(
                shares, 10**edges, fill=True, color=colour, alpha=0.55, label=f"{name}: {count:,} window{_s(count)}"
            )
    for (name, line), dashes in zip((lines or {}).items(), ("-", "--"), strict=False):
        if line > 0:
            axes.axvline(line, color="black", linestyle=dashes, linewidth=1.2, label=f"{name}: {line:.4g}")
    axes.set(title="Scores", xlabel="score", ylabel="share of the windows of its colour", xscale="log")
    logarithmic(axes.xaxis)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.4)  # the legend covers no bar
    axes.legend(loc="upper right", fontsize="small")


def logarithmic(axis: Axis) -> None:
    """Write plain numbers beside a logarithmic axis: as many in a decade as there is room for."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    within = (1.0, 2.0, 5.0) if decades < _FEW else (1.0,)
    axis.set_major_locator(LogLocator(subs=within, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _roc(axes: Axes, found: Evaluation) -> None:
    """Draw the false alarm rate against the recall."""
    curves = found.curves
    at = _thinned(len(curves.threshold))
    across, up = np.append(0, curves.false_alarm_rate[at]), np.append(0, curves.recall[at])
    axes.plot(across, up, color=colours.LINE, label=f"area {found.auc_roc:.4f}")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="chance")
    for name, marker in (("best", "o"), ("chosen", "s")):
        counted = found.at[name]
        rate = counted.false_alarms / found.normal
        axes.plot([rate], [counted.recall], marker, color="black", label=f"{_called(name)}: {_at(rate, counted)}")
    axes.set(title="ROC", xlabel="false alarm rate", ylabel="recall", xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    axes.legend(loc="lower right", fontsize="small")


def _precision(axes: Axes, found: Evaluation) -> None:
    """Draw the recall against the precision."""
    curves = found.curves
    at = _thinned(len(curves.threshold))
    axes.step(curves.recall[at], curves.precision[at], where="pre", color=colours.LINE, label=f"AP {found.auc_pr:.4f}")
    share = found.labelled / (found.labelled + found.normal)
    axes.axhline(share, color="grey", linestyle=":", label=f"chance: {share:.3f}")
    for name, marker in (("best", "o"), ("chosen", "s")):
        counted = found.at[name]
        if counted.hits + counted.false_alarms:
            text = f"{_called(name)}: F1 {counted.f1:.3f}"
            axes.plot([counted.recall], [counted.precision], marker, color="black", label=text)
    axes.set(title="Precision and recall", xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    axes.legend(loc="lower left", fontsize="small")


def _counted(axes: Axes, found: Evaluation) -> None:
    """Draw the confusion matrices of the two lines beside each other, coloured by the share of their row."""
    axes.set_title("Windows counted")
    axes.set_axis_off()
    axes.set(xlim=(-1.3, 4.6), ylim=(2.9, -1.0))
    for left, name in ((0.0, "best"), (2.4, "chosen")):
        counted = found.at[name]
        axes.text(left + 1, -0.75, f"line {_called(name)}", ha="center", weight="bold")
        rows = (("labelled", counted.hits, counted.misses), ("normal", counted.false_alarms, counted.quiet))
        for row, (kind, over, under) in enumerate(rows):
            for column, count in enumerate((over, under)):
                share = count / max(over + under, 1)
                right = (row == 0) == (column == 0)
                colour = colours.RIGHT if right else colours.LABELLED
                axes.fill_between([left + column, left + column + 0.96], row, row + 0.96, color=colour, alpha=share)
                text = f"{count:,}\n{share:.1%}"
                axes.text(left + column + 0.48, row + 0.48, text, ha="center", va="center")
            if left == 0:
                axes.text(-0.1, row + 0.48, kind, ha="right", va="center")
        for column, kind in enumerate(("above", "below")):
            axes.text(left + column + 0.48, -0.2, kind, ha="center", va="center", color="dimgrey")
        shares = f"precision {counted.precision:.3f}   recall {counted.recall:.3f}"
        more = f"F1 {counted.f1:.3f}   accuracy {counted.accuracy:.3f}"
        axes.text(left + 1, 2.35, f"{shares}\n{more}", ha="center", va="center", fontsize="small")


def _called(name: str) -> str:
    return {"best": "of the best F1", "chosen": "as chosen"}[name]


def _at(rate: float, counted: Confusion) -> str:
    return f"{rate:.2%} false, {counted.recall:.1%} found"


def _thinned(count: int) -> NDArray[np.int64]:
    """Return positions of at most `_POINTS` of `count` entries, first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _POINTS)).round().astype(np.int64))


def _s(count: int) -> str:
    return "" if count == 1 else "s"
