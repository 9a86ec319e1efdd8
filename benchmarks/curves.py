"""Plots of how the time of a call grows with the size of a case, one figure per axis."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from cases import COMPETITORS, Case
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator
from race import Result

AXES = {
    "subjects": "subjects N",
    "times": "times T of each subject",
    "members": "members M of the ensemble",
    "states": "states d",
}
# Where the other axes stay while one varies; filters without an ensemble have no members.
USUAL = {"subjects": (10,), "times": (100,), "members": (0, 30)}
COLOURS = dict(zip(COMPETITORS, ("black", "C0", "C9", "C1", "C2", "C3"), strict=True))

Points = dict[str, list[tuple[int, float]]]


def draw_curves(folder: Path, cases: list[Case], results: list[Result]) -> None:
    """Write one PNG for each axis along which more than one size was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    by_name = {case.name: case for case in cases}
    measured = [(by_name[r.case], r) for r in results if "call_s" in r.figures and not r.trouble]
    for axis, label in AXES.items():
        panels = {title: points for title, points in along(axis, measured).items() if long(points)}
        if panels:
            draw(folder / f"{axis}.png", label, panels)


def along(axis: str, measured: list[tuple[Case, Result]]) -> dict[str, Points]:
    """Points by panel and competitor; the cases of a panel differ only along this axis."""
    panels: dict[str, Points] = {}
    for case, result in measured:
        fixed = (getattr(case, other) in usual for other, usual in USUAL.items() if other != axis)
        if case.family not in ("ou", "nonlinear") or not all(fixed):
            continue
        members = f", M = {case.members}" if case.members and axis != "members" else ""
        known = " (means only)" if case.variant == "mu" else " (all parameters)"
        system = "OU" if case.family == "ou" else "oscillators"
        title = f"{system}, {case.likelihood}{members}{known}"
        curves = panels.setdefault(title, {})
        point = (getattr(case, axis), result.figures["call_s"])
        curves.setdefault(result.competitor, []).append(point)
    return panels


def long(points: Points) -> bool:
    """Whether some curve has more than one size."""
    return any(len({size for size, _ in curve}) > 1 for curve in points.values())


def draw(path: Path, label: str, panels: dict[str, Points]) -> None:
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(5 * columns, 3.6 * rows), squeeze=False, sharey=True
    )
    for panel, (title, curves) in zip(axes.ravel(), panels.items(), strict=False):
        draw_panel(panel, title, curves)
        panel.set_xlabel(label)
    # Room for the legends; the panels share their scale.
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(low, high * 30)
    for panel in axes[:, 0]:
        panel.set_ylabel("value and gradient, ms")
    for panel in axes.ravel()[len(panels) :]:
        panel.set_axis_off()
    figure.suptitle("Time of a call")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_panel(panel: Axes, title: str, curves: Points) -> None:
    """One curve for each competitor."""
    for competitor, points in curves.items():
        sizes, seconds = zip(*sorted(points), strict=True)
        panel.loglog(
            sizes,
            [1e3 * s for s in seconds],
            marker="o",
            color=COLOURS[competitor],
            linewidth=2.2 if competitor == next(iter(COMPETITORS)) else 1.2,
            label=competitor,
        )
    ticks = sorted({size for curve in curves.values() for size, _ in curve})
    panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    panel.minorticks_off()
    panel.yaxis.set_major_locator(LogLocator(numticks=20))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.set_title(title, fontsize=10)
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8, loc="upper left")
