"""Whether doses and inputs are there where they are needed."""

import numpy as np

from pymc_dynsys.discretization import Design, Operands, prepare_grid
from pymc_dynsys.discretization.grid import with_rows
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.gaps import require_inputs


def check_schedule(
    design: Design, operands: Operands, frame: Frame, midway: bool = False
) -> np.ndarray:
    """Raise for events before ``t0`` and inputs unknown where needed; returns the gaps.

    Starting `midway`, infusions may have begun before.
    """
    system, doses, t0 = design.system, operands.doses, np.asarray(operands.t0)
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
    require_inputs(system, design.inputs, operands.inputs, grid, frame)
    return np.asarray(grid.gaps)
