"""Our likelihoods on the CPU and on the accelerator of one machine, in both precisions.

    python benchmarks/devices.py --json devices.json

The platforms, each in a process of its own, compute the same value and gradient, compared with
the CPU's in double precision, and are then timed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

import data
import jax
import numpy as np
from cases import Case, device_cases
from competitors import ours
from race import BATCH_S
from report import aligned, duration, machine
from run import wanted
from worker import chained, seconds_of

ROUNDS = 5
SETTINGS = (("cpu", "float64"), ("gpu", "float64"), ("gpu", "float32"))
HEAD = ("case", "on", "precision", "a call", "times faster", "first call", "off by", "gradient")
LEGEND = """\
A call: value and gradient of the joint log-density, one after another within a compiled program; a
median. For vectorized chains, one such call moves all of them. Off by: relative difference from the
CPU in double precision; the gradient in the norm of all parameters. The CPU is one JAX device."""


def main() -> None:
    options = parse()
    if options.here:
        for case in chosen(options.only):
            print(json.dumps(measure(replace(case, dtype=options.here))), flush=True)
        return
    jax.config.update("jax_platforms", "cpu")  # a process that sees a GPU keeps most of its memory
    results: dict[str, dict[tuple[str, str], dict]] = {}
    for platform, dtype in SETTINGS:
        if platform != "cpu" and not available(platform):
            print(f"JAX has no {platform} here", file=sys.stderr)
            continue
        for answer in in_process(platform, dtype, options.only):
            results.setdefault(answer["case"], {})[platform, dtype] = answer
            print(f"{platform} {dtype} {answer['case']}", file=sys.stderr, flush=True)
            if options.json:
                content = [list(of_case.values()) for of_case in results.values()]
                options.json.write_text(json.dumps({"machine": machine(), "results": content}))
    print(f"{machine()['cpu']}, {machine()['cores']} cores; jax {jax.__version__}\n")
    print(aligned([HEAD, *(row for of_case in results.values() for row in rows(of_case))]))
    print(f"\n{LEGEND}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="PATTERN")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results there")
    parser.add_argument("--here", metavar="DTYPE", help=argparse.SUPPRESS)
    return parser.parse_args()


def chosen(patterns: list[str]) -> list[Case]:
    return [case for case in device_cases() if wanted(case, patterns)]


def available(platform: str) -> bool:
    """Whether JAX has such devices here, asked by a process of its own."""
    command = [sys.executable, "-c", f"import jax; jax.devices({platform!r})"]
    return not subprocess.run(command, capture_output=True).returncode


def in_process(platform: str, dtype: str, patterns: list[str]) -> Iterator[dict]:
    """Results that a process on one platform reports for each case."""
    command = [sys.executable, __file__, "--here", dtype]
    if patterns:
        command += ["--only", *patterns]
    names = {"cpu": "cpu", "gpu": "cuda"}
    environment = os.environ | {"JAX_PLATFORMS": names[platform]}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            yield json.loads(line) | {"platform": platform}
    if process.returncode:
        raise SystemExit(f"{platform}, {dtype}: ended with status {process.returncode}")


def measure(case: Case) -> dict:
    """Value, gradient and times of one case on JAX's default device."""
    arrays, point = data.make(case)
    function = jax.jit(in_step(ours.build(case, arrays), case.chains))
    point = jax.tree.map(partial(spread, case.chains), point)
    begun = perf_counter()
    value, gradient = jax.block_until_ready(function(point))
    first = perf_counter() - begun
    chain = jax.jit(partial(chained, function))
    seconds_of(chain, point, 1)
    calls = max(1, round(BATCH_S / seconds_of(chain, point, 1)))
    times = [seconds_of(chain, point, calls) / calls for _ in range(ROUNDS)]
    return {
        "case": case.name,
        "dtype": case.dtype,
        "device": str(jax.devices()[0].device_kind),
        "value": float(value),
        "gradient": np.concatenate([np.ravel(gradient[key]) for key in sorted(gradient)]).tolist(),
        "first_call_s": first,
        "call_s": statistics.median(times),
    }


def in_step(function: Callable, chains: int) -> Callable:
    """Sum of the values, and the gradients, of as many chains."""
    if chains == 1:
        return function

    def of_all(points: dict) -> tuple:
        values, gradients = jax.vmap(function)(points)
        return values.sum(), gradients

    return of_all


def spread(chains: int, value: np.ndarray) -> jax.Array:
    """A distinct point for each chain."""
    if chains == 1:
        return jax.numpy.asarray(value)
    steps = 1e-3 * np.arange(chains).reshape(-1, *[1] * np.ndim(value))
    return jax.numpy.asarray(value + steps)


def rows(of_case: dict[tuple[str, str], dict]) -> list[list[str]]:
    """A line for each platform and precision."""
    base = of_case["cpu", "float64"]
    exact = np.array(base["gradient"])
    lines = []
    for (platform, dtype), got in of_case.items():
        off = abs(got["value"] / base["value"] - 1)
        gradient = np.linalg.norm(got["gradient"] - exact) / np.linalg.norm(exact)
        faster = base["call_s"] / got["call_s"]
        times = [duration(got["call_s"]), f"{faster:.2g}", f"{got['first_call_s']:.2f} s"]
        lines.append([got["case"], platform, dtype, *times, f"{off:.0e}", f"{gradient:.0e}"])
    return lines


if __name__ == "__main__":
    main()
