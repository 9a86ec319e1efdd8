"""Doses of which times or amounts are data of the model, changed by ``pm.set_data``."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pymc as pm
import xarray as xr
from pytensor.graph.basic import Constant, Variable

from pymc_dynsys.bridge.data import current_value, is_variable
from pymc_dynsys.bridge.dims import named_dims, require_in_model
from pymc_dynsys.bridge.inputs import ordered
from pymc_dynsys.discretization import Doses
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.labels import aligned

CHANGING = ("event_time", "event_amount")
"""Parts of a table that may be data of the model."""

DERIVED = ("event_rate", "event_reset", "event_steady_state", "event_order")
"""Parts from which more than one array is made, so that the others may not change by themselves."""


class Events(NamedTuple):
    """A table with its current values, and those parts that are data, with names of their axes."""

    table: object
    data: dict[str, tuple[Variable, tuple[str, ...]]]


def find_events(events: object, model: pm.Model | None) -> Events:
    """The table of a mapping whose parts may be data of the model; anything else is left alone."""
    if not isinstance(events, Mapping) or isinstance(events, xr.Dataset):
        return Events(events, {})
    labels = {} if model is None else model.coords
    table: dict[str, tuple[tuple[str, ...], np.ndarray | None]] = {}
    data = {}
    for name, value in events.items():
        if isinstance(value, Variable) and not isinstance(value, Constant):
            tensor, dims = _data(name, value, model)
            data[name] = tensor, dims
            table[name] = (dims, current_value(tensor))
        elif isinstance(value, xr.DataArray):
            array = aligned(f"events: {name!r}", value, labels).reset_coords(drop=True)
            table[name] = (tuple(map(str, array.dims)), array.values)
        else:
            raise TypeError(
                f"events: {name!r} is {type(value).__name__}; expected a DataArray, or pm.Data "
                "with dims"
            )
    others = sorted(set(DERIVED) & set(table))
    if data and others:
        raise ValueError(
            f"events: {next(iter(data))!r} is data of the model, which may change, and "
            f"{others[0]!r} says what depends on it; give numbers, as in pds.panel's Dataset, or "
            "(of infusions) event_duration in place of event_rate"
        )
    return Events(xr.Dataset(table), data)


def _data(name: str, value: Variable, model: pm.Model | None) -> tuple[Variable, tuple[str, ...]]:
    """A data variable and its dims; random variables and parts that cannot change are refused."""
    if name not in CHANGING:
        raise ValueError(
            f"events: {name!r} is a PyMC variable; only {' and '.join(CHANGING)} may be, the rest "
            "is numbers"
        )
    if is_variable(value):
        raise ValueError(
            f"events: {name!r} depends on random variables; it has to be data (pm.Data). What is "
            "not known of an amount is a bioavailability, and of a time a lag: "
            "pds.Dose(bioavailability=..., lag=...)"
        )
    if model is not None:
        require_in_model(f"events: {name!r}", value, model)
    tensor, dims = named_dims(name, value, model, "events: ")
    if None in dims or not dims:
        raise ValueError(f"events: {name!r} has no dims; write pm.Data({name!r}, ..., dims=...)")
    return tensor, tuple(map(str, dims))


def with_data(
    doses: Doses | None, events: Events, frame: Frame, model: pm.Model | None
) -> Doses | None:
    """The doses, with PyTensor variables ``(*batch, event)`` where these are data of the model."""
    if doses is None or not events.data:
        return doses
    found: dict[str, Variable] = {}
    for name, (tensor, dims) in events.data.items():
        (event,) = [dim for dim in dims if dim not in frame.batch_dims]
        along = (*frame.batch_dims, event)
        found[name] = ordered(tensor, dims, along, model)
    times, amounts = found.get("event_time"), found.get("event_amount")
    return doses._replace(
        times=doses.times if times is None else times,
        amounts=doses.amounts if amounts is None else amounts,
    )
