"""Small forms of all works: our values and gradients, against those kept and a reference.

A kernel that computes something else fails here, whatever it costs.
"""

import json
import time
from pathlib import Path

import data
import jax
import numpy as np
import reference
from judge import fault
from works import small_works

jax.config.update("jax_enable_x64", True)

from contenders import ours  # noqa: E402

EXPECTED = Path(__file__).parent / "expected.json"
RTOL = 1e-9


def smoke(write: bool) -> list[str]:
    """What changed or is wrong; with `write`, what is computed now becomes what is expected."""
    begun = time.perf_counter()
    kept = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    found, faults = {}, []
    for work in small_works():
        arrays, point = data.make(work)
        value, gradient = jax.jit(ours.build(work, arrays))(point)
        now = {"value": np.asarray(value)} | {k: np.asarray(gradient[k]) for k in sorted(gradient)}
        name = f"{work.name} (N = {work.subjects}, T = {work.times})"
        found[name] = {key: part.tolist() for key, part in now.items()}
        if not work.members:
            expected = reference.check_points(work, arrays, point)
            wrong = fault(work, point, float(value), gradient, expected)
            faults += [f"{name}: beside the reference, {wrong}"] if wrong else []
        if not write:
            faults += changes(name, now, kept.get(name))
    gone = [] if write else sorted(set(kept) - set(found))
    faults += [f"{name}: expected, but there is no such work" for name in gone]
    if write and not faults:
        EXPECTED.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{len(found)} small works in {time.perf_counter() - begun:.0f} s")
    return faults


def changes(name: str, now: dict[str, np.ndarray], kept: dict | None) -> list[str]:
    """Numbers that are not those kept, beyond rounding."""
    if kept is None or set(kept) != set(now):
        return [f"{name}: nothing kept to compare with; run --smoke --write"]
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
