"""The model of a case, with its labels, dims and data in a random order."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import pymc as pm
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.random_cases.cases import Numbers, fixed
from tests.random_cases.shapes import KINDS, Shape

FREE = ("mu", "rate", "gain", "sd")


@dataclass(frozen=True)
class Presentation:
    """How a case is written down.

    Attributes
    ----------
    order : dict of str to list of int
        The model's order of the labels of each batch dim.
    shuffle : Random
        Draws an order for each labelled object.
    mutation : str
        What is done to the model or the draws before it answers.
    times_by : {"argument", "coordinate"}
        Where ragged times stand.
    """

    order: dict[str, list[int]]
    shuffle: Any
    mutation: str
    times_by: str


@lru_cache
def system_of(shape: Shape) -> Any:
    """One system a class, so that programs are found again."""
    M = fixed(shape)
    A, H = jnp.asarray(M.A), jnp.asarray(M.H)
    driven = shape.inputs != "none"

    def drive(x: Any, mu: Any, rate: Any, u: Any) -> Any:
        return rate * (A @ x) + M.c + M.to_state * mu + M.g * u

    def see(x: Any, off: Any, sd: Any, u: Any) -> Any:
        mean = H @ x + off + M.b * u
        if shape.n_components == 1:
            return dist.Normal(mean[0], sd)
        return dist.Normal(mean, sd).to_event(1)

    observation = see if driven else lambda x, off, sd: see(x, off, sd, 0.0)
    drift = drive if driven else lambda x, mu, rate: drive(x, mu, rate, 0.0)
    start = pds.Gaussian(M.m0, M.P0)
    if shape.discrete:
        S = M.L @ M.L.T
        if driven:

            def transition(x: Any, mu: Any, rate: Any, gain: Any, u: Any) -> Any:
                return pds.Gaussian(drive(x, mu, rate, u), gain**2 * S)
        else:

            def transition(x: Any, mu: Any, rate: Any, gain: Any) -> Any:
                return pds.Gaussian(drive(x, mu, rate, 0.0), gain**2 * S)

        return pds.DiscreteTime(transition, observation, start)
    events = pds.Dose() if shape.doses else None
    if not shape.noisy:
        return pds.ODE(drift, observation, lambda mu: M.m0 + mu, events=events)
    return pds.SDE(drift, lambda gain: gain * jnp.asarray(M.L), observation, start, events=events)


class Writer:
    """Writes arrays of canonical order as the model's, or as labelled ones in any order."""

    def __init__(self, shape: Shape, values: Numbers, how: Presentation) -> None:
        self.shape, self.values, self.how = shape, values, how
        self.coords = {
            dim: [values.labels[dim][i] for i in how.order[dim]] for dim in shape.batch_dims
        }

    def ordered(self, array: np.ndarray) -> np.ndarray:
        """In the model's order of labels."""
        for axis, dim in enumerate(self.shape.batch_dims):
            array = np.take(array, self.how.order[dim], axis=axis)
        return array

    def labelled(self, array: np.ndarray, *tail: str, **coords: Any) -> xr.DataArray:
        """With labels and dims in an order of its own."""
        dims = (*self.shape.batch_dims, *tail)
        out = xr.DataArray(array, dims=dims, coords={**self.values.labels, **coords})
        for dim in self.shape.batch_dims:
            index = list(range(out.sizes[dim]))
            self.how.shuffle.shuffle(index)
            out = out.isel({dim: index})
        front = list(dims)
        self.how.shuffle.shuffle(front)
        return out.transpose(*front)


def param_dims(shape: Shape, name: str) -> tuple[str, ...]:
    """Dims of a parameter, in the trajectory's order."""
    return shape.batch_dims if name == "mu" or shape.varied else ()


def point_of(shape: Shape, values: Numbers) -> dict[str, np.ndarray]:
    """Canonical values of the free parameters, without axes where they are shared."""
    point = {name: getattr(values, name) for name in FREE}
    if not shape.noisy:
        del point["gain"]
    return {
        name: value if param_dims(shape, name) else np.asarray(value.flat[0])
        for name, value in point.items()
    }


def written(shape: Shape, values: Numbers, how: Presentation, dims: dict[str, Any]) -> dict:
    """Values of the free variables ``(dims, array)``, in the model's order of labels and dims."""
    write, point = Writer(shape, values, how), point_of(shape, values)
    found = {}
    for name, own in dims.items():
        array = write.ordered(point[name]) if own else point[name]
        found[name] = (own, array if own == param_dims(shape, name) else array.T)
    return found


def model_of(shape: Shape, values: Numbers, how: Presentation) -> tuple[pm.Model, dict[str, Any]]:
    """The model, and the dims of its free variables."""
    write = Writer(shape, values, how)
    time_dim = "visit" if shape.ragged else "time"
    tail = (time_dim,) if shape.n_components == 1 else (time_dim, "component")
    y = values.y[..., 0] if shape.n_components == 1 else values.y
    coords: dict[str, Any] = dict(write.coords)
    coords[time_dim] = range(y.shape[shape.levels]) if shape.ragged else first(values.times)
    if shape.n_components > 1:
        coords["component"] = ["p", "q", "r"][: shape.n_components]
    free: dict[str, Any] = {}
    with pm.Model(coords=coords) as model:
        params = {}
        for name in point_of(shape, values):
            free[name] = param_dims(shape, name)
            if len(free[name]) == 2 and how.shuffle.random() < 0.5:
                free[name] = free[name][::-1]
            params[name] = pm.Normal(name, 1.0, 0.1, dims=free[name] or None)
        params["off"] = write.labelled(values.off) if shape.levels else float(values.off)
        options: dict[str, Any] = {"t0": t0_of(shape, values, write)}
        if shape.ragged:
            times = write.labelled(values.times, "visit")
            if how.times_by == "argument":
                options["times"] = times
        if shape.inputs != "none":
            options["inputs"] = {"u": input_of(shape, values, write, time_dim)}
        if shape.doses:
            options["events"] = events_of(shape, values, write)
        observed = write.labelled(y, *tail)
        if shape.ragged and how.times_by == "coordinate":
            observed = observed.assign_coords(time=times)
        dims = (*shape.batch_dims, *tail)
        if how.mutation in ("set_data", "observe"):
            observed, options["times"] = None, times if shape.ragged else None
        if how.mutation == "set_data":
            other = np.where(np.isfinite(write.ordered(y)), 5.0, np.nan)
            observed = pds.data("y_data", other, dims=dims)
        pds.Trajectory(
            "y", system_of(shape), params=params, observed=observed, dims=dims,
            likelihood=KINDS[shape.kind], **options,
        )  # fmt: skip
    if how.mutation == "set_data":
        pm.set_data({"y_data": write.ordered(y)}, model=model)
    if how.mutation == "observe":
        model = pm.observe(model, {"y": write.ordered(y)})
    if how.mutation in ("do", "do_shared"):
        (_, array) = written(shape, values, how, free)["sd"]
        model = pm.do(model, {"sd": array}, make_interventions_shared=how.mutation == "do_shared")
        del free["sd"]
    return model, free


def first(times: np.ndarray) -> np.ndarray:
    """Times that all share."""
    return times.reshape(-1, times.shape[-1])[0]


def t0_of(shape: Shape, values: Numbers, write: Writer) -> Any:
    """Starts, labelled."""
    return write.labelled(values.t0) if shape.levels else float(values.t0)


def input_of(shape: Shape, values: Numbers, write: Writer, time_dim: str) -> Any:
    """The input at visits, or at times of its own."""
    if shape.inputs == "visits":
        return write.labelled(values.u, time_dim)
    knots = write.labelled(values.knots, "knot")
    u = write.labelled(values.u, "knot").assign_coords(time=knots)
    return pds.Input(u, interpolation="linear") if shape.inputs == "line" else u


def events_of(shape: Shape, values: Numbers, write: Writer) -> xr.Dataset:
    """The table of doses; each of its columns has an order of its own."""
    columns = {
        "event_time": values.dose_times,
        "event_amount": values.amounts,
        "event_duration": values.durations,
        "event_state": values.dose_states + 1.0,
    }
    there = np.isfinite(values.dose_times)
    arrays = {
        name: write.labelled(np.where(there, array, np.nan), "event")
        for name, array in columns.items()
    }
    return xr.Dataset(arrays)
