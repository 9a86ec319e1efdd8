"""One competitor on one case, in a process of its own; JSON lines in and out.

    worker.py COMPETITOR CASE DATA [SEED]

It reads the arrays of DATA (.npz), builds, makes the first call and reports. Then it answers each
{"seconds": s} with two times of a call, each taken over about s seconds, until its input ends: one
after another within a compiled program, as a sampler makes them, and alone from Python. For a case
that samples it draws with SEED instead, writes the draws next to DATA, and reports.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from cases import COMPETITORS, Case  # noqa: E402


def main() -> None:
    out = protocol_only()
    name, case, path = sys.argv[1], Case(**json.loads(sys.argv[2])), Path(sys.argv[3])
    competitor = COMPETITORS[name]
    module = import_module(f"competitors.{competitor.module}")
    arrays = dict(np.load(path))
    data = {key[5:]: arrays[key] for key in arrays if key.startswith("data:")}
    point = {key[6:]: arrays[key] for key in arrays if key.startswith("point:")}
    versions = {package: version(package) for package in (competitor.package, "jax", "numpy")}
    start = peak_mb()
    if case.draws:
        begun = time.perf_counter()
        draws = module.sample(case, data, int(sys.argv[4]))
        report = {"seconds": time.perf_counter() - begun}
        np.savez(path.with_name(f"draws-{name}.npz"), **draws)
        send(out, report | {"versions": versions, **memory(start)})
        return
    begun = time.perf_counter()
    function = jax.jit(module.build(case, data))
    point = jax.tree.map(jax.numpy.asarray, point)
    built = time.perf_counter()
    value, gradient = jax.block_until_ready(function(point))
    first = time.perf_counter()
    report = {"build_s": built - begun, "first_call_s": first - built, "value": float(value)}
    report["gradient"] = {key: np.asarray(gradient[key]).tolist() for key in gradient}
    send(out, report | {"versions": versions, **memory(start)})
    chain = jax.jit(partial(chained, function, stride=case.stride))
    in_chain = seconds_of(chain, point, 1)
    lone = seconds_of(function, point)
    for line in sys.stdin:
        seconds = json.loads(line)["seconds"]
        calls = max(1, round(seconds / in_chain))
        in_chain = seconds_of(chain, point, calls) / calls
        calls = max(1, round(seconds / lone))
        lone = sum(seconds_of(function, point) for _ in range(calls)) / calls
        send(out, {"in_chain": in_chain, "lone": lone})


def chained(function: Callable, point: dict, calls: int, stride: float = 0.0) -> tuple[dict, Any]:
    """Take so many small steps along the gradient, each from the end of the previous one.

    The values are added up, for they are as needed as the gradients. With a stride, every other
    call is so far to one side of these points in each parameter, the rest to the other.
    """

    def step(call: int, carry: tuple[dict, Any]) -> tuple[dict, Any]:
        point, total = carry
        aside = stride * (1.0 - 2.0 * (call % 2)) if stride else 0.0
        value, gradient = function(jax.tree.map(lambda x: x + aside, point))
        moved = jax.tree.map(lambda x, slope: x + 1e-12 * slope, point, gradient)
        return moved, total + value

    return jax.lax.fori_loop(0, calls, step, (point, jax.numpy.zeros(())))


def seconds_of(function: Callable, *arguments: Any) -> float:
    """How long a call takes."""
    begun = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - begun


def protocol_only() -> TextIO:
    """The standard output for reports alone; what libraries print goes to the standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


def send(out: TextIO, message: dict[str, Any]) -> None:
    print(json.dumps(message), file=out, flush=True)


def memory(start: float) -> dict[str, float]:
    """Peak memory, and how far it lies above that after the imports."""
    peak = peak_mb()
    return {"peak_mb": peak, "growth_mb": peak - start}


def peak_mb() -> float:
    """Largest resident set so far."""
    status = Path("/proc/self/status")
    if status.exists():
        # Here getrusage would begin with the size of the process that started this one.
        lines = status.read_text().splitlines()
        return next(int(x.split()[1]) for x in lines if x.startswith("VmHWM")) * 1024 / 1e6
    # macOS counts in bytes, others in kB.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    main()
