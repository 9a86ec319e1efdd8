"""Whether doses and inputs are there where they are needed."""

import numpy as np

from pymc_dynsys.discretization import Design, Doses, Operands, prepare_grid
from pymc_dynsys.discretization.grid import with_rows
from pymc_dynsys.discretization.layout import Marks
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.gaps import require_inputs
from pymc_dynsys.reading.regimens import refuse_event


def check_schedule(
    design: Design,
    operands: Operands,
    frame: Frame,
    midway: bool = False,
    drawn: bool = False,
) -> np.ndarray:
    """Raise for events before ``t0`` and inputs unknown where needed; returns the gaps.

    Starting `midway`, infusions may have begun before. What only data see may be missing where they
    are, and anywhere if they are `drawn`: there they are missing then.
    """
    system, doses, t0 = design.system, operands.doses, np.asarray(operands.t0)
    if doses is not None:
        _require_doses(doses, frame)
    if doses is not None and not midway:
        early = np.argwhere(doses.times < t0[..., None])
        if len(early):
            here = tuple(early[0])
            start = np.broadcast_to(t0, doses.times.shape[:-1])[here[:-1]]
            raise ValueError(
                f"events: {frame.who(here[:-1])} has an event at "
                f"{doses.times[here]:g}, before t0 = {start:g}"
            )
    design = design.nominal
    grid = with_rows(prepare_grid(design, operands), operands, design)
    if grid.marks is None:
        return np.asarray(grid.gaps)
    seen = None
    if drawn:
        seen = np.zeros(np.shape(grid.gaps), bool)
    elif operands.y is not None:
        seen = _seen(np.asarray(operands.y), grid.marks, frame.rank)
    require_inputs(system, design.inputs, operands.inputs, grid, frame, seen)
    return np.asarray(grid.gaps)


def _seen(y: np.ndarray, marks: Marks, rank: int) -> np.ndarray:
    """Rows ``(*batch, row)`` with a datum, one component of it at least."""
    there = ~np.isnan(y)
    there = there.any(-1) if y.ndim > rank + 1 else there
    visits = np.asarray(marks.visit_of_row)
    visits = np.broadcast_to(visits, (*there.shape[:-1], visits.shape[-1]))
    return np.take_along_axis(there, visits, axis=-1)


def _require_doses(doses: Doses, frame: Frame) -> None:
    """Raise for doses, ``(*batch, event)``, that do not fit each other or are no numbers."""
    times, amounts = np.asarray(doses.times), np.asarray(doses.amounts)
    parts = {"event_time": times, "event_amount": amounts, "event_state": doses.targets}
    if doses.durations is not None:
        parts["event_duration"] = doses.durations
    counts = {name: np.shape(part)[-1] for name, part in parts.items()}
    if len(set(counts.values())) > 1:
        words = ", ".join(f"{n} in {name}" for name, n in counts.items())
        raise ValueError(
            f"events: their number differs, {words}; change times and amounts together and keep "
            "their number, padded with times of NaN, or build the model anew"
        )
    times, amounts = np.broadcast_arrays(times, amounts)
    expected = "a number"
    refuse_event("time", times, np.isinf(times), expected, times, frame)
    if doses.laws is None:
        there = np.isfinite(times)
        refuse_event("amount", amounts, there & ~np.isfinite(amounts), expected, times, frame)
