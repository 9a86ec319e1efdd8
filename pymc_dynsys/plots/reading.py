"""What ``check_data`` found, as lines and points to be drawn in panels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from pymc_dynsys.plots import panels

PANEL = "panel"

DOSES = (0.08, 0.32)
CROSSES = -0.1
MARGIN = 0.18
"""Where doses and crosses are, above and below the data, and the edge: in units of their range."""


@dataclass(frozen=True, eq=False)
class WhatWasRead:
    """Data, doses and inputs of the trajectories that are drawn; all times are numbers.

    Attributes
    ----------
    batch : mapping of str to array
        Labels of the trajectories along their dims.
    y : dict of str to array
        Data ``(*batch, visit)`` by component.
    times, start : array
        Times of the visits ``(*batch, visit)`` and of the initial distribution ``(*batch,)``.
    inputs : dict of str to pair of array
        Values ``(*batch, visit)`` over the gaps before the visits and at them; NaN where nothing
        asks for them.
    events : dict of str to array, or None
        Doses ``(*batch, event)``: ``time``, ``amount``, ``duration`` and ``into``.
    x_label : str
        What is on the horizontal axis.
    dates : bool
        Whether the times are days since 1970.
    """

    batch: Mapping[str, Any]
    y: dict[str, np.ndarray]
    times: np.ndarray
    start: np.ndarray
    inputs: dict[str, tuple[np.ndarray, np.ndarray]]
    events: dict[str, np.ndarray] | None
    x_label: str
    dates: bool

    @classmethod
    def of(cls, dt: xr.DataTree, coords: Mapping[str, Any] | None) -> "WhatWasRead":
        """From the result of ``check_data``, at the labels to draw."""
        visits = panels.variable(dt, "subjects", "visits")
        about = dt["subjects"].dataset.attrs
        name = str(about.get("trajectory"))
        y = panels.select(panels.variable(dt, "observed_data", name), coords)
        dim = str(y.attrs["time_dim"])
        batch = [str(d) for d in visits.dims if d in y.dims]
        own = [str(d) for d in y.dims if d not in (*batch, dim)]
        one = y.isel({d: 0 for d in own}, drop=True)

        def values(array: xr.DataArray, *rest: str) -> np.ndarray:
            array = array.sel({d: v for d, v in (coords or {}).items() if d in array.dims})
            array = array.isel({d: 0 for d in ("trajectory",) if d in array.dims})
            return panels.as_numbers(array.transpose(*batch, *rest).values)

        def components() -> Iterator[tuple[str, np.ndarray]]:
            for label in y[own[0]].values if own else [name]:
                part = y.sel({own[0]: label}) if own else y
                yield str(label), values(part, dim)

        def inputs() -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
            data = dt["inputs"].dataset
            for key in (str(k) for k in data.data_vars if f"{k}_since_last" in data):
                used = data[key].attrs["used"]
                pair = (data[f"{key}_since_last"], data[key])
                entries = [str(d) for d in pair[0].dims if str(d).startswith(f"{key}_axis_")]
                for index in np.ndindex(*(pair[0].sizes[d] for d in entries)):
                    at = dict(zip(entries, index, strict=True))
                    over, there = (values(part.isel(at), dim) for part in pair)
                    over = over if "dynamics" in used else np.full_like(over, np.nan)
                    there = there if used != "dynamics" else np.full_like(there, np.nan)
                    if np.isfinite([over, there]).any():
                        yield key + "".join(f"[{i}]" for i in index), (over, there)

        events = None
        if "events" in dt.children:
            of = dt["events"].dataset
            names = {"time": "event_time", "amount": "amount", "duration": "duration"}
            events = {part: values(of[name], "event") for part, name in names.items()}
            events["into"] = values(of["into"], "event")
            if "origin" in about:
                events["duration"] = events["duration"] * panels.days(about["unit"])
        times = panels.times_of(y, dim)
        return cls(
            batch={d: y[d].values for d in batch},
            y=dict(components()),
            times=values(times.broadcast_like(one), dim),
            start=values(dt["subjects"].dataset["start"]),
            inputs=dict(inputs()),
            events=events,
            x_label=panels.label_of(times, "time"),
            dates="origin" in about,
        )

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest number of each panel."""
        inputs = {name: np.stack(pair) for name, pair in self.inputs.items()}
        return {label: _range(values) for label, values in (self.y | inputs).items()}

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Range of the vertical axis of each panel."""
        found = {}
        for label, (low, high) in self.ranges.items():
            above = DOSES[1] + 0.05 if label in self.y and self.events is not None else MARGIN
            found[label] = (low - MARGIN * (high - low), high + above * (high - low))
        return found

    def panels(self) -> xr.DataArray:
        """A zero for each panel, dims ``(*batch, panel)``."""
        labels = [*self.y, *self.inputs]
        shape = (*self.start.shape, len(labels))
        return xr.DataArray(np.zeros(shape), {**self.batch, PANEL: labels}, [*self.batch, PANEL])

    def observed(self) -> xr.DataArray:
        """The data."""
        return self._drawn({label: (self.times, values) for label, values in self.y.items()})

    def missing(self) -> xr.DataArray:
        """Visits without a datum, below the data."""
        found = {}
        for label, values in self.y.items():
            absent = np.isnan(values) & np.isfinite(self.times)
            found[label] = self.times, np.where(absent, self._at(label, CROSSES), np.nan)
        return self._drawn(found)

    def doses(self) -> dict[str, xr.DataArray]:
        """By state, boxes above the data, as long as an infusion and as high as the amount."""
        if self.events is None:
            return {}
        begin, amount = self.events["time"], np.abs(self.events["amount"])
        end = begin + self.events["duration"]
        largest = np.max(amount, initial=0.0, where=np.isfinite(amount)) or 1.0
        share = 0.25 + 0.75 * amount / largest
        found = {}
        for state in np.unique(self.events["into"]):
            mine = (self.events["into"] == state) & np.isfinite(begin)
            if not mine.any():
                continue
            x = _chained(mine, begin, begin, end, end)
            boxes = {}
            for label in self.y:
                low = np.full_like(begin, self._at(label, 1.0 + DOSES[0]))
                top = low + share * (self._at(label, 1.0 + DOSES[1]) - low)
                boxes[label] = x, _chained(mine, low, top, top, low)
            found[str(state)] = self._drawn(boxes)
        return found

    def over_gaps(self, name: str) -> xr.DataArray:
        """A line for what the dynamics see of an input over each gap."""
        held = self.inputs[name][0]
        begin = np.concatenate([self.start[..., None], self.times[..., :-1]], -1)
        there = np.isfinite(held)
        x, y = _chained(there, begin, self.times), _chained(there, held, held)
        return self._drawn({name: (x, y)})

    def at_visits(self, name: str) -> xr.DataArray:
        """Points for what the observation sees of an input."""
        return self._drawn({name: (self.times, self.inputs[name][1])})

    def _at(self, label: str, share: float) -> float:
        """Height in a panel: 0 is that of the lowest, 1 that of the highest datum."""
        low, high = self.ranges[label]
        return low + share * (high - low)

    def _drawn(self, lines: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> xr.DataArray:
        """Lines or points ``(*batch, at)`` by panel, as ``(*batch, panel, plot_axis, at)``.

        In panels that have none all is NaN, which is not drawn.
        """
        labels = [*self.y, *self.inputs]
        drawn = [np.stack([np.where(np.isnan(y), y, x), y], -2) for x, y in lines.values()]
        nothing = np.full_like(drawn[0], np.nan)
        found = dict(zip(lines, drawn, strict=True))
        values = np.stack([found.get(label, nothing) for label in labels], axis=-3)
        coords = {**self.batch, PANEL: labels, "plot_axis": ["x", "y"]}
        return xr.DataArray(values, coords, [*self.batch, PANEL, "plot_axis", "at"])


def _range(values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest number, one apart where there is one only, or none."""
    there = values[np.isfinite(values)]
    low, high = (there.min(), there.max()) if there.size else (0.0, 1.0)
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def _chained(there: np.ndarray, *corners: np.ndarray) -> np.ndarray:
    """Corners ``(*batch, n)`` of n pieces of a line, ``(*batch, at)``, with a break after each."""
    pieces = np.stack([*corners, np.full_like(corners[0], np.nan)], axis=-1)
    pieces = np.where(there[..., None], pieces, np.nan)
    return pieces.reshape(*pieces.shape[:-2], -1)
