"""Units of columns, carried by what they become in a panel."""

from collections.abc import Mapping

import xarray as xr

from pymc_dynsys.panels.columns import Table
from pymc_dynsys.panels.roles import Roles, require_column


def check_units(table: Table, units: Mapping[str, str] | None) -> None:
    """Refuse units of columns that are not there, and what is no text."""
    if units is None:
        return
    if not isinstance(units, Mapping):
        raise TypeError(
            f"units: expected a mapping from columns to their units, such as {{'conc': 'mg/L'}}, "
            f"got {units!r}"
        )
    for column, unit in units.items():
        require_column(table, "units", column)
        if not isinstance(unit, str) or not unit:
            raise TypeError(f"units: {column!r} has {unit!r}, expected text such as 'mg/L'")


def with_units(panel: xr.Dataset, roles: Roles, units: Mapping[str, str]) -> xr.Dataset:
    """The panel with the attribute ``unit`` on what has one.

    It is not called ``units``, since xarray reads numbers with units of "hours" back from a file
    as durations.
    """
    if roles.time in units:
        if "origin" in panel["time"].attrs:
            raise ValueError(
                f"units: column {roles.time!r} holds dates or durations, whose unit is "
                f"unit={panel['time'].attrs['unit']!r}; leave it out of units"
            )
        for name in ("time", "event_time", "event_recorded", "record_time"):
            if name in panel.variables:
                panel[name].attrs["unit"] = units[roles.time]
    for column, unit in units.items():
        if column in (*roles.inputs, *roles.covariates):
            panel[column].attrs["unit"] = unit
    of_data = [units.get(column) for column in roles.observed]
    known = list(dict.fromkeys(unit for unit in of_data if unit))
    if known and None not in of_data:
        data = "observed" if roles.several else roles.observed[0]
        panel[data].attrs["unit"] = ", ".join(known)
    for part, column in roles.events.items():
        if column in units and f"event_{part}" in panel.variables:
            panel[f"event_{part}"].attrs["unit"] = units[column]
    return panel
