"""Compare our values and gradients of small cases with stored numbers and with a reference.

A kernel whose numbers changed fails here, regardless of its speed.
"""

import json
import time
from pathlib import Path

import data
import jax
import numpy as np
import reference
from cases import small_cases
from judge import fault

jax.config.update("jax_enable_x64", True)

from competitors import ours  # noqa: E402

EXPECTED = Path(__file__).parent / "expected.json"
RTOL = 1e-9


def smoke(write: bool) -> list[str]:
    """List changed or wrong numbers; with `write`, today's numbers become the expected ones."""
    begun = time.perf_counter()
    kept = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    found, faults = {}, []
    for case in small_cases():
        arrays, point = data.make(case)
        value, gradient = jax.jit(ours.build(case, arrays))(point)
        now = {"value": np.asarray(value)} | {k: np.asarray(gradient[k]) for k in sorted(gradient)}
        name = f"{case.name} (N = {case.subjects}, T = {case.times})"
        found[name] = {key: part.tolist() for key, part in now.items()}
        if not case.members:
            expected = reference.check_points(case, arrays, point)
            wrong = fault(case, point, float(value), gradient, expected)
            faults += [f"{name}: compared with the reference, {wrong}"] if wrong else []
        if not write:
            faults += changes(name, now, kept.get(name))
    gone = [] if write else sorted(set(kept) - set(found))
    faults += [f"{name}: expected, but there is no such case" for name in gone]
    if write and not faults:
        EXPECTED.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{len(found)} small cases in {time.perf_counter() - begun:.0f} s")
    return faults


def changes(name: str, now: dict[str, np.ndarray], kept: dict | None) -> list[str]:
    """Numbers that differ from the stored ones by more than rounding."""
    if kept is None or set(kept) != set(now):
        return [f"{name}: no stored numbers to compare with; run --smoke --write"]
    faults = []
    size = max(np.abs(part).max() for key, part in now.items() if key != "value")
    for key, part in now.items():
        expected = np.asarray(kept[key])
        scale = np.abs(expected) if key == "value" else size
        if part.shape != expected.shape:
            faults.append(f"{name}: {key} has shape {part.shape}, expected {expected.shape}")
            continue
        off = np.abs(part - expected) / scale
        if not np.all(off <= RTOL):
            worst = np.unravel_index(np.argmax(off), off.shape)
            place = "".join(f"[{i}]" for i in worst)
            what = key if key == "value" else f"gradient in {key}{place}"
            faults.append(
                f"{name}: {what} is {part[worst]:.15g}, expected {expected[worst]:.15g} "
                f"within {RTOL:g} of the {'value' if key == 'value' else 'largest gradient'}"
            )
    return faults
