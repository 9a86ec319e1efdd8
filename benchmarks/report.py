"""Results as tables and as a file."""

import json
import os
import platform
from datetime import UTC, datetime
from math import nan
from pathlib import Path

from cases import OURS, Case
from race import Result

TIMED = (
    *("case", "competitor", "a call", "to ours", "lone call", "to ours"),
    *("first call", "build", "memory", "value off by"),
)
SAMPLED = ("case", "competitor", "wall", "to ours", "ESS", "ESS/s", "memory", "E mu_global")
LEGEND = """\
A call: value and gradient of the joint log-density, one after another within a compiled program
as a sampler makes them; lone call: the same, called from Python; medians over rounds. First call:
traced, compiled and run; build: the model and its graph, before that. Wall: a whole run of NUTS
with building and compiling. Memory: peak above that after the imports (and the whole peak). ESS:
smallest bulk effective sample size. Off by: compared with an exact reference, in nats."""


def tables(cases: list[Case], results: list[Result]) -> str:
    """One table for each family of cases."""
    titles: dict[str, list[list[str]]] = {}
    for case in cases:
        of_case = [result for result in results if result.case == case.name]
        ours = next((r.figures for r in of_case if r.competitor == OURS), {})
        title = case.name.split("/")[0]
        titles.setdefault(title, [])
        titles[title] += [row(case, result, ours) for result in of_case]
    parts = [
        f"{title}\n{aligned([SAMPLED if title == 'sample' else TIMED, *rows])}"
        for title, rows in titles.items()
    ]
    return "\n\n".join([*parts, LEGEND])


def row(case: Case, result: Result, ours: dict[str, float]) -> list[str]:
    """Cells of one line; for a competitor that failed, the case, its name and the reason."""
    f = result.figures
    if result.trouble:
        return [case.name, result.competitor, result.trouble]
    took = "seconds" if case.draws else "call_s"
    ratio = f"{f[took] / ours[took]:.3g}" if took in ours else "-"
    memory = f"{f['growth_mb']:.0f} ({f['peak_mb']:.0f}) MB"
    if case.draws:
        mean = f"{f['mean']:.3f}"
        speed = [f"{f['ess']:.0f}", f"{f['ess_per_s']:.3g}"]
        return [case.name, result.competitor, duration(f[took]), ratio, *speed, memory, mean]
    first, build = f"{f['first_call_s']:.2f} s", f"{f['build_s']:.2f} s"
    off = f"{f['value_difference']:.1e}"
    lone = [duration(f["lone_call_s"]), f"{f['lone_call_s'] / ours.get('lone_call_s', nan):.3g}"]
    called = [duration(f[took]), ratio, *lone]
    return [case.name, result.competitor, *called, first, build, memory, off]


def aligned(rows: list) -> str:
    """Align columns; the last cell of a row may have any length."""
    full = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(len(row[i]) for row in full) for i in range(len(rows[0]))]
    for i in (0, 1):
        widths[i] = max(len(row[i]) for row in rows)
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < 2 or len(row) < len(widths) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Three digits in the unit that suits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def machine() -> dict[str, str | int]:
    """The machine that ran the benchmark."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        model = next((x.split(": ")[1] for x in lines if x.startswith("model name")), model)
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 0
    return {"cpu": model, "cores": cores, "system": platform.system()}


def versions(results: list[Result]) -> dict[str, dict[str, str]]:
    """Versions of every competitor that started."""
    return {result.competitor: result.versions for result in results if result.versions}


def write(path: Path, cases: list[Case], results: list[Result]) -> None:
    """Everything that was measured."""
    ran = {case.name: vars(case) for case in cases}
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(results),
        "results": [
            {
                "competitor": result.competitor,
                "case": ran[result.case],
                "trouble": result.trouble,
                "figures": result.figures,
            }
            for result in results
        ],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
