"""One case: all competitors checked against the reference, then timed in turns."""

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import data
import numpy as np
import reference
from cases import OURS, Case
from judge import fault
from process import Failed, Process, absent

BATCH_S = 0.05
ROUNDS, FEWER_ROUNDS, LONG_CALL_S = 9, 3, 1.0

Say = Callable[[str], None]


@dataclass
class Result:
    """Result of a competitor; `trouble` says why there are no times."""

    case: str
    competitor: str
    trouble: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def race(case: Case, competitors: list[str], say: Say) -> list[Result]:
    """Results of all competitors on a case, ours first."""
    free = free_memory_gb()
    if case.memory_gb > free:
        why = f"not run: needs about {case.memory_gb:.0f} GB, {free:.0f} GB are free"
        return [Result(case.name, name, why) for name in competitors]
    arrays, point = data.make(case)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.npz"
        named = {f"data:{name}": value for name, value in arrays.items()}
        np.savez(path, **named, **{f"point:{name}": value for name, value in point.items()})
        if case.draws:
            return sampled(case, competitors, path, say)
        return timed(case, competitors, path, (arrays, point), say)


def timed(
    case: Case, competitors: list[str], path: Path, arrays: tuple[dict, dict], say: Say
) -> list[Result]:
    """First calls, checks, and the time of a call."""
    say("reference")
    expected = reference.check_points(case, *arrays)
    results, live = [], {}
    try:
        for name in competitors:
            say(f"{name}: first call")
            result = Result(case.name, name, absent(name))
            results.append(result)
            if result.trouble:
                continue
            process = Process(name, case, path)
            try:
                report = process.answer()
            except Failed as failure:
                result.trouble = f"FAILED: {failure}"
                process.close()
                continue
            gradient = {key: np.asarray(part) for key, part in report.pop("gradient").items()}
            result.versions = report.pop("versions")
            result.figures = report | {"value_difference": report["value"] - expected[0]}
            wrong = fault(case, arrays[1], report["value"], gradient, expected)
            if wrong:
                result.trouble = f"WRONG: {wrong}"
                process.close()
                continue
            live[name] = process, result
        say("timing " + ", ".join(live))
        in_turns(live)
    finally:
        for process, _ in live.values():
            process.close()
    return results


def in_turns(live: dict[str, tuple[Process, Result]]) -> None:
    """Median times of a call; in every round each process has one turn while the others wait."""
    times: dict[str, list[dict[str, float]]] = {name: [] for name in live}
    for number in range(1 + ROUNDS):
        for name, (process, result) in live.items():
            long = bool(times[name]) and times[name][-1]["in_chain"] > LONG_CALL_S
            if result.trouble or (long and number > FEWER_ROUNDS):
                continue
            try:
                times[name].append(process.ask({"seconds": BATCH_S}))
            except Failed as failure:
                result.trouble = f"FAILED: {failure}"
    for name, (_, result) in live.items():
        if not result.trouble:
            # The first turn only warms up.
            turns = times[name][1:]
            result.figures["call_s"] = statistics.median(turn["in_chain"] for turn in turns)
            result.figures["fastest_call_s"] = min(turn["in_chain"] for turn in turns)
            result.figures["lone_call_s"] = statistics.median(turn["lone"] for turn in turns)


def sampled(case: Case, competitors: list[str], path: Path, say: Say) -> list[Result]:
    """Medians over fresh processes, one competitor after the other in every repetition."""
    results = {name: Result(case.name, name) for name in competitors}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in competitors}
    for seed in range(case.repetitions):
        for name, result in results.items():
            if result.trouble:
                continue
            say(f"{name}: run {seed + 1} of {case.repetitions}")
            process = Process(name, case, path, seed)
            try:
                report = process.answer()
                result.versions = report.pop("versions")
                runs[name].append(report | effective_sizes(path.with_name(f"draws-{name}.npz")))
            except Failed as failure:
                result.trouble = f"FAILED: {failure}"
            finally:
                process.close()
    for name, result in results.items():
        if not result.trouble:
            for key in runs[name][0]:
                result.figures[key] = statistics.median(run[key] for run in runs[name])
            per_second = [run["ess"] / run["seconds"] for run in runs[name]]
            result.figures["ess_per_s"] = statistics.median(per_second)
    disagreements(results)
    return list(results.values())


def effective_sizes(path: Path) -> dict[str, float]:
    """Smallest bulk effective sample size, and the posterior mean of the population."""
    import arviz as az

    draws = dict(np.load(path))
    idata = az.from_dict({"posterior": {name: value[None] for name, value in draws.items()}})
    sizes = az.ess(idata, method="bulk")
    smallest = min(float(sizes[name].min()) for name in draws)
    return {
        "ess": smallest,
        "mean": float(draws["mu_global"].mean()),
        "sd": float(draws["mu_global"].std()),
    }


def disagreements(results: dict[str, Result]) -> None:
    """Say so where a peer's posterior mean lies more than four standard errors from ours."""
    ours = results.get(OURS)
    for name, result in results.items():
        if ours is None or ours.trouble or result.trouble or name == OURS:
            continue
        errors = [r.figures["sd"] / np.sqrt(r.figures["ess"]) for r in (ours, result)]
        gap = abs(ours.figures["mean"] - result.figures["mean"])
        if not gap <= 4 * np.hypot(*errors):
            result.trouble = f"WRONG: posterior mean of mu_global {gap:.2g} from ours"


def free_memory_gb() -> float:
    """Memory that a new process can have, where the system says so."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return kilobytes["MemAvailable"] * 1024 / 1e9
