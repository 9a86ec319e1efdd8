"""Reading of the reference cases; see ``data/README.md`` for what each one is."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

DATA = Path(__file__).parent / "data"


def load(case: str) -> SimpleNamespace:
    """Arrays of a case by name: inputs as they are, expected values under ``.out``."""
    with np.load(DATA / f"{case}.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    inputs = {name[3:]: value for name, value in arrays.items() if name.startswith("in_")}
    expected = {name[4:]: value for name, value in arrays.items() if name.startswith("out_")}
    return SimpleNamespace(**inputs, out=SimpleNamespace(**expected))


def to_panel(subject: np.ndarray, *columns: np.ndarray) -> list[np.ndarray]:
    """Long columns as ``(subject, visit)`` arrays, NaN where a subject has fewer visits."""
    _, row, counts = np.unique(subject, return_inverse=True, return_counts=True)
    place = np.concatenate([np.arange(n) for n in counts])
    order = np.argsort(row, kind="stable")
    panels = []
    for column in columns:
        panel = np.full((len(counts), counts.max()), np.nan)
        panel[row[order], place] = column[order]
        panels.append(panel)
    return panels
