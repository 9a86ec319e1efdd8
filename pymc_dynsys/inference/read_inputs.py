"""Inputs as a likelihood sees them, at the visits and over the gaps between them."""

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import prepare_grid
from pymc_dynsys.discretization.grid import with_rows
from pymc_dynsys.inference.labels import with_times


def read_inputs(study: Study) -> xr.Dataset:
    """Values ``(*batch, visit, *own)`` of each input at the visits and over the gaps before.

    They are taken from the rows that a filter crosses.
    """
    frame, design = study.frame, study.design.nominal
    data = xr.Dataset(coords={dim: frame.labels[dim] for dim in frame.batch_dims})
    if not design.inputs:
        return data.assign_attrs(about(study))
    n_visits = study.operands.times.shape[-1]
    known = dict(study.operands.inputs)
    for kind in design.inputs:
        if known[kind.name].values is None:  # they depend on random variables
            own = study.system.input_shapes[kind.name]
            times = known[kind.name].times
            n_knots = n_visits if times is None else times.shape[-1]
            nothing = np.full((*(1,) * frame.rank, n_knots, *own), np.nan)
            known[kind.name] = known[kind.name]._replace(values=nothing)
    operands = study.operands._replace(inputs=known)
    grid = with_rows(prepare_grid(design, operands), operands, design)
    assert grid.rows is not None and grid.marks is not None
    row_of_visit = whole(study, grid.marks.row_of_visit, 1)
    gaps = whole(study, grid.gaps, 1)
    front = (*frame.batch_dims, frame.time_dim)
    for kind in design.inputs:
        name, n_own = kind.name, len(study.system.input_shapes[kind.name])
        at_row = whole(study, grid.rows.row_inputs[name], 1 + n_own)
        over_gap = whole(study, grid.rows.gap_inputs[name], 1 + n_own)
        driven, seen = study.system.drives(name), study.system.is_observed_through(name)
        uses = ["dynamics"] * driven + ["observation"] * seen
        attrs = {"used": " and ".join(uses), "interpolation": str(kind.interpolation)}
        if kind.variable and np.isnan(known[name].values).all():
            attrs["note"] = "depends on random variables of the model"
        dims = (*front, *(f"{name}_axis_{i}" for i in range(n_own)))
        written = f"{name}_input" if name in (*front, "time", "visit") else name
        there, since = _at_visits(at_row, over_gap, gaps, row_of_visit)
        data[written] = (dims, there, attrs)
        data[f"{written}_since_last"] = (dims, since, attrs)
    return with_times(data.assign_attrs(about(study)), study, study.operands.times, frame.time_dim)


def _at_visits(
    at_row: np.ndarray, over_gap: np.ndarray, gaps: np.ndarray, row_of_visit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values ``(*batch, visit, *own)`` at the visits, and means over the time since the last one.

    `at_row` and `over_gap` are ``(*batch, row, *own)``, `gaps` are ``(*batch, row)``. Where no time
    has passed, and where there is no visit, it is NaN.
    """
    batch, n_visits = row_of_visit.shape[:-1], row_of_visit.shape[-1]
    own = at_row.shape[gaps.ndim :]
    there, since = (np.full((*batch, n_visits, *own), np.nan) for _ in range(2))
    for index in np.ndindex(batch):
        before = -1
        for visit, row in enumerate(row_of_visit[index]):
            if row < 0:
                continue
            there[(*index, visit)] = at_row[(*index, row)]
            crossed = slice(before + 1, row + 1)
            weights, before = gaps[(*index, crossed)], row
            if weights.sum() > 0:
                positive = over_gap[(*index, crossed)][weights > 0]
                share = weights[weights > 0] / weights.sum()
                since[(*index, visit)] = np.tensordot(share, positive, axes=1)
    return there, since


def whole(study: Study, array: ArrayLike, n_own: int = 0) -> np.ndarray:
    """An array with its batch axes written out."""
    array = np.asarray(array)
    own = array.shape[array.ndim - n_own :]
    return np.broadcast_to(array, (*study.frame.batch, *own))


def about(study: Study) -> dict[str, str]:
    """Name of the trajectory, unit and origin of its times."""
    frame = study.frame
    attrs = {"trajectory": study.name, "system": repr(study.system.source)}
    if frame.unit is not None:
        attrs["unit"] = frame.unit
    if frame.origin is not None:
        attrs["origin"] = str(frame.origin)
    return attrs
