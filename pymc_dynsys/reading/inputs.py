"""Inputs of users as arrays of the trajectories: values and times, both by label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
import xarray as xr

from pymc_dynsys.discretization import InputKind, Signal
from pymc_dynsys.discretization.operands import Interpolation
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.gaps import Gaps, filled
from pymc_dynsys.reading.labels import aligned, keys, labelled
from pymc_dynsys.reading.lookups import looked_up
from pymc_dynsys.reading.times import as_numbers
from pymc_dynsys.reading.values import as_float


@dataclass(frozen=True, eq=False)
class Input:
    """A time-varying input with times of its own or another interpolation than the default.

    Parameters
    ----------
    values : DataArray or array
        Values, with dims as for ``Trajectory(inputs=...)``.
    interpolation : {"previous", "next", "linear"}
        ``"previous"`` (the default of plain arrays) holds a value until the next one;
        ``"next"`` takes the coming one; ``"linear"`` draws straight lines, which linear systems,
        ``ODESolve`` and ``MomentODE`` follow exactly; what steps through a gap otherwise takes
        their mean over each step, and says so. Two values at one time are a jump.
    gaps : {"previous", "linear"}, optional
        How missing values (NaN) are filled: by the last one known, or along a straight line
        between those on both sides. What comes before the first value stays missing. Default: a
        missing value is an error where it is used.
    by : DataArray, optional
        Labels by which values that do not vary in time are looked up, such as the occasion of
        each row, ``panel["occasion"]``, for values over ``("subject", "occasion")``: variables of
        the model or a DataArray. The dim of the values in which they are looked up is the only
        one that is no batch dim, else the one with the name of `by`. A label holds from its row
        to the next one; a missing label is a missing value, for ``gaps="previous"`` to fill.

    Raises
    ------
    ValueError
        For another interpolation or another word for gaps, and for lines between labels.

    Examples
    --------
    >>> import xarray as xr
    >>> import pymc_dynsys as pds
    >>> temperature = xr.DataArray([20.0, 25.0], dims="time", coords={"time": [0.0, 12.0]})
    >>> pds.Input(temperature, interpolation="linear").interpolation
    'linear'

    A clearance for each occasion of each subject, which the rows of a panel tell:

    >>> import numpy as np, pymc as pm
    >>> from numpyro import distributions as dist
    >>> ode = pds.ODE(
    ...     states=("amount",),
    ...     drift=lambda amount, rate: -rate * amount,
    ...     initial=10.0,
    ...     observation=lambda amount: dist.Normal(amount, 0.5),
    ... )
    >>> y = xr.DataArray(
    ...     [[9.0, 7.0, 3.0], [8.0, 6.0, 5.0]],
    ...     dims=("subject", "time"),
    ...     coords={"subject": ["a", "b"], "time": [0.0, 1.0, 2.0]},
    ... )
    >>> occasion = y.copy(data=np.array([[1, 1, 2], [1, 2, 2]]))
    >>> with pm.Model(coords={"subject": ["a", "b"], "occasion": [1, 2]}) as model:
    ...     rate = pm.LogNormal("rate", -1.0, 0.3, dims=("subject", "occasion"))
    ...     inputs = {"rate": pds.Input(rate, by=occasion)}
    ...     rv = pds.Trajectory("y", ode, inputs=inputs, observed=y)
    >>> rv.eval().shape
    (2, 3)
    """

    values: Any
    interpolation: Interpolation = "previous"
    gaps: Gaps = None
    by: Any = None

    def __post_init__(self) -> None:
        if self.gaps not in (None, "previous", "linear"):
            raise ValueError(f"Input: gaps must be 'previous', 'linear' or None, got {self.gaps!r}")
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(
                f"Input: interpolation must be one of {get_args(Interpolation)}, got "
                f"{self.interpolation!r}"
            )
        if self.by is not None and "linear" in (self.interpolation, self.gaps):
            raise ValueError("Input: there are no lines between labels; say 'previous' or 'next'")


def lines_of(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the inputs that are straight lines between their values."""
    return tuple(
        name
        for name, value in inputs.items()
        if isinstance(value, Input) and value.interpolation == "linear"
    )


def input_core_shape(
    value: Any, batch_dims: Sequence[str], time_dim: str | None
) -> tuple[int, ...]:
    """Shape of one value of an input: its dims that are neither batch nor time."""
    value = _known(value, batch_dims)
    if not isinstance(value, xr.DataArray):
        return ()
    varies, _ = _time_axis(value, batch_dims, time_dim, None)
    others = {varies, time_dim, *batch_dims}
    return tuple(n for dim, n in value.sizes.items() if dim not in others)


def own_part(value: Any, batch_dims: Sequence[str], time_dim: str | None) -> Any:
    """An input without the dim along which it varies in time, whose labels are its own."""
    value = _known(value, batch_dims)
    if not isinstance(value, xr.DataArray):
        return None
    varies, _ = _time_axis(value, batch_dims, time_dim, None)
    return value.isel({d: 0 for d in (varies, time_dim) if value.sizes.get(d)}, drop=True)


def _known(value: Any, batch_dims: Sequence[str], name: str = "") -> Any:
    """Values of an input at their own times, those looked up by a label if they are known."""
    if not isinstance(value, Input):
        return value
    if value.by is None or not isinstance(value.values, xr.DataArray):
        return value.values
    return looked_up(name, value.values, value.by, batch_dims)


def read_input(name: str, value: Any, frame: Frame, times: np.ndarray) -> tuple[InputKind, Signal]:
    """One input with batch axes first, then its knots, then its own axes.

    `times` are those of the visits, ``(*batch, visit)``.
    """
    interpolation: Interpolation = "previous"
    gaps: Gaps = None
    if isinstance(value, Input):
        interpolation, gaps = value.interpolation, value.gaps
        if value.by is not None and not isinstance(value.values, xr.DataArray):
            raise TypeError(
                f"inputs: {name!r} is looked up by a label, so its values need labels: a variable "
                f"of the model with dims or an xr.DataArray, not {type(value.values).__name__}"
            )
    value = _known(value, frame.batch_dims, name)
    role = f"inputs[{name!r}]"
    value = _named(name, value, frame, times)
    knot_dim, coord = _time_axis(
        value, frame.batch_dims, frame.time_dim, frame.labels.get(frame.time_dim)
    )
    if knot_dim is None:
        raise ValueError(
            f"inputs: {name!r} has dims {tuple(value.dims)}; it needs the time dim "
            f"{frame.time_dim!r}, or a 'time' coordinate of its own; {constant_hint(name, frame)}"
        )
    own_labels = {dim: known for dim, known in frame.labels.items() if dim != knot_dim}
    value = aligned(role, value, own_labels)
    knots = None
    if coord is not None:
        knots = _knots(name, value[coord].reset_coords(drop=True), knot_dim, frame, times)
    elif knot_dim in frame.labels:
        value = _at_visits(role, value, frame)
    own = [dim for dim in map(str, value.dims) if dim not in (*frame.batch_dims, knot_dim)]
    frame.require_lengths(role, value.sizes)
    values = as_float(role, frame.batch_first(value, (knot_dim, *own)))
    n_knots = values.shape[frame.rank]
    if knots is None and n_knots != times.shape[-1]:
        hint = f"; {constant_hint(name, frame)}" if n_knots in frame.batch else ""
        raise ValueError(
            f"inputs: {name!r} has {n_knots} values along {knot_dim!r}, but there are "
            f"{times.shape[-1]} times{hint}"
        )
    values = filled(values, times if knots is None else knots, frame.rank, gaps)
    return InputKind(name, interpolation, knots is not None), Signal(values, knots)


def constant_hint(name: str, frame: Frame) -> str:
    """Where a value goes that does not change with time."""
    dims = frame.batch_dims[-1] if len(frame.batch_dims) == 1 else frame.batch_dims
    given = f"xr.DataArray(..., dims={dims!r})" if dims else "..."
    return f"what is constant in time goes into params={{{name!r}: {given}}}"


def _named(name: str, value: Any, frame: Frame, times: np.ndarray) -> xr.DataArray:
    """An input with names for its axes: those of the data, from the last one, where it has none."""
    role, dims = f"inputs[{name!r}]", (*frame.batch_dims, frame.time_dim)
    if isinstance(value, xr.DataArray):
        return value
    if isinstance(value, pd.Series | pd.DataFrame) and value.ndim in (1, len(dims)):
        value = labelled(role, value, dims[-value.ndim :], frame.labels)
        known = {**dict.fromkeys(dims), **frame.labels}
        return aligned(role, value, known).drop_vars(value.indexes)  # an index is no times
    array = as_float(role, value)
    if array.ndim == 0:  # the same at all times
        array = np.broadcast_to(array, times.shape[-1:])
    if array.ndim not in (1, len(dims)):
        raise ValueError(
            f"inputs: {name!r} has shape {array.shape}; give a number, (time,), one axis for "
            f"each of {dims}, or an xr.DataArray with named dims"
        )
    return xr.DataArray(array, dims=dims[-array.ndim :])


def _time_axis(
    value: xr.DataArray, batch_dims: Sequence[str], time_dim: str | None, labels: Any
) -> tuple[str | None, str | None]:
    """Dim along which an input varies in time, and its coordinate of times if it has some.

    That is the coordinate ``time``, else ``<dim>_time``. Labels along the time dim of the
    trajectory are no times, even if it is called so, where they are those of the trajectory.
    """
    own = [dim for dim in map(str, value.dims) if dim not in batch_dims]
    for coord in ("time", *(f"{dim}_time" for dim in own)):
        if coord not in value.coords:
            continue
        along = [str(dim) for dim in value.coords[coord].dims if dim in own]
        if coord == time_dim and coord in value.indexes and labels is not None:
            if set(keys(value.indexes[coord])) == set(keys(labels)):
                return time_dim, None
        if along:
            return along[0], coord
    return (time_dim if time_dim in own else None), None


def _at_visits(role: str, value: xr.DataArray, frame: Frame) -> xr.DataArray:
    """An input whose labels along the time dim are put in the order of the visits."""
    try:
        return aligned(role, value, {frame.time_dim: frame.labels[frame.time_dim]})
    except ValueError as error:
        raise ValueError(
            f"{error}. Labels of the time dim are no times: what has times of its own needs them "
            "as a coordinate 'time', along a dim of another name"
        ) from None


def _knots(
    name: str, coord: xr.DataArray, dim: str, frame: Frame, visits: np.ndarray
) -> np.ndarray | None:
    """Times of an input, ``(*batch, knot)``, unless they are those of the visits."""
    role = f"inputs[{name!r}] times"
    strange = [d for d in map(str, coord.dims) if d not in (dim, *frame.batch_dims)]
    if strange:
        raise ValueError(f"{role}: they vary along {strange[0]!r}, which is no batch dim")
    numbers, _ = as_numbers(role, coord.values, frame.unit, frame.origin)
    times = frame.batch_first(coord.copy(data=numbers), (dim,))
    if dim == frame.time_dim and _equal(times, visits):
        return None
    ends = np.where(np.isnan(times), np.inf, times)
    late = np.argwhere(ends[..., 1:] < ends[..., :-1])
    if len(late):
        of = f" for {frame.who(late[0][:-1])}" if times.size > times.shape[-1] else ""
        raise ValueError(f"inputs: the times of {name!r} are not ascending{of}; sort them")
    return times


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of times agree where both vary."""
    if a.shape[-1] != b.shape[-1]:
        return False
    both = np.broadcast_arrays(a, b)
    return np.array_equal(both[0], both[1], equal_nan=True)
