"""A tidy table becomes a labelled panel: ``panel``, and its coords for a model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from pymc_dynsys.panels.clock import read_times
from pymc_dynsys.panels.columns import (
    Table,
    is_missing,
    is_text,
    labels,
    numbers,
    refuse_missing,
    refuse_unused_levels,
)
from pymc_dynsys.panels.events import event_columns, read_events
from pymc_dynsys.panels.roles import Roles, as_names, check_roles, open_table
from pymc_dynsys.panels.rows import Rows, one_per_subject, pad, refuse_infinite


def panel(
    frame: Any,
    *,
    subject: str,
    time: str,
    observed: str | Sequence[str],
    inputs: str | Sequence[str] = (),
    covariates: str | Sequence[str] = (),
    groups: str | Sequence[str] = (),
    unit: str | None = None,
    events: Mapping[str, str] | str | None = None,
) -> xr.Dataset:
    r"""A tidy table, one row per subject and time, as a labelled panel.

    The dims are ``("subject", "visit")`` with a time :math:`t_{ik}` for each subject :math:`i`
    and visit :math:`k`, or ``("subject", "time")`` where all subjects have the same times. The
    order of the rows does not matter.

    Parameters
    ----------
    frame : DataFrame
        A pandas, polars or pyarrow table; anything eager that narwhals reads.
    subject : str
        Column that says whose row it is: text, categories or integers. The labels, in their
        categories' order or ascending, are the coordinate ``subject``.
    time : str
        Column of times: numbers in a unit of your own, dates or durations. Dates become numbers
        of `unit` since the earliest in the table, by way of UTC if they have a time zone.
    observed : str or sequence of str
        What was measured. One column keeps its name; several become the variable ``observed``
        with a last dim ``component``. A row without any value is still a visit.
    inputs : str or sequence of str, optional
        Columns that vary in time; each becomes a variable with the dims of the observed. In a
        :class:`~pymc_dynsys.Trajectory` a value holds from its row to the next; see
        :class:`~pymc_dynsys.Input` for columns that say what happened since the last row.
    covariates : str or sequence of str, optional
        Columns that are constant in a subject, numbers or text; each becomes a variable over
        ``subject``. Rows that lack the value take it from the subject's other rows.
    groups : str or sequence of str, optional
        Columns that say what a subject belongs to. A column ``clinic`` becomes the dim and
        coordinate ``clinic`` of its distinct labels, the variable ``clinic_index`` (position of
        each subject's label) and the coordinate ``clinic_of_subject`` (the label itself). In a
        model write ``mu_clinic[panel["clinic_index"].values]``, or give
        ``panel["clinic_of_subject"]`` to ``effects.varying(within=...)``.
    unit : {"W", "D", "h", "m", "s", "ms"}, optional
        Unit into which dates and durations are converted. Numbers are never rescaled.
    events : mapping or "nonmem", optional
        Columns that describe events, see Notes; ``"nonmem"`` means those of NONMEM's names
        (given there in brackets) which the table has.

    Returns
    -------
    xarray.Dataset
        All numbers are float64, NaN where missing and after a subject's last visit. It can be
        written to netCDF and zarr. Where the times were dates, the coordinate ``time`` has the
        attributes ``unit``, ``origin`` (ISO 8601, in UTC if there was a zone) and ``time_zone``,
        so ``pd.Timestamp(origin) + pd.to_timedelta(times, unit=unit)`` are a subject's dates.

    Raises
    ------
    TypeError
        For a column that holds something other than its role needs: text among numbers, say.
    ValueError
        For absent columns, columns in two roles, two rows of one subject at one time, missing
        subjects or times, infinite values, categories without a row, covariates and groups that
        vary within a subject, and events that make no sense.

    See Also
    --------
    coords : what ``pm.Model(coords=)`` takes.

    Notes
    -----
    Booleans are read as 0 and 1.

    What a column may say of events is ``amount`` (AMT), ``rate`` (RATE), ``duration`` (DUR),
    ``kind`` (EVID), ``state`` (CMT), ``additional`` (ADDL), ``interval`` (II), ``missing`` (MDV)
    and ``steady_state`` (SS). Only the amount is needed. A row is an event if its kind is 1 or,
    without such a column, if its amount is neither missing nor 0. An event row is no visit, unless
    there is no kind column and it also has a datum. Rows of kind 2 are visits without a datum, and
    so are those marked missing. A 0 observed in a row of kind 1 or 2 is a placeholder; another
    value there is an error. An event is an infusion if it has a positive rate or duration, else a
    bolus. It is repeated ``additional`` times, ``interval`` apart. Resets, steady state and rates
    that are themselves parameters are refused.

    The panel then has ``event_time``, ``event_amount``, ``event_rate`` and ``event_duration`` (0
    for a bolus), and ``event_state`` if there is a column for it, all over ``("subject",
    "event")``, in order of time, NaN (or empty text) after a subject's last event. Durations
    and intervals are in the unit of the times. A subject with events only has one visit without
    a time.

    Examples
    --------
    >>> import pandas as pd
    >>> import pymc_dynsys as pds
    >>> frame = pd.DataFrame(
    ...     {
    ...         "id": ["ann", "ann", "bob", "bob", "bob"],
    ...         "hour": [0.0, 2.0, 0.0, 1.0, 4.0],
    ...         "conc": [9.1, 4.2, 8.0, None, 1.1],
    ...         "weight": [61.0, 61.0, 75.0, 75.0, 75.0],
    ...         "clinic": ["north", "north", "south", "south", "south"],
    ...     }
    ... )
    >>> panel = pds.panel(
    ...     frame,
    ...     subject="id",
    ...     time="hour",
    ...     observed="conc",
    ...     covariates="weight",
    ...     groups="clinic",
    ... )
    >>> panel["conc"].dims, panel["conc"].shape
    (('subject', 'visit'), (2, 3))
    >>> panel["time"].sel(subject="ann").values
    array([ 0.,  2., nan])
    >>> panel["clinic_index"].values
    array([0, 1])
    """
    table = open_table(frame)
    roles = Roles(
        subject,
        time,
        as_names("observed", observed),
        as_names("inputs", inputs),
        as_names("covariates", covariates),
        as_names("groups", groups),
        event_columns(table, events),
    )
    check_roles(table, roles)
    subjects, position = _members(table, "subject", subject)
    times, attrs = read_times(table, time, unit)
    rows = Rows(subjects, position, times)
    y = np.column_stack([_finite(table, "observed", column, rows) for column in roles.observed])
    happenings, is_visit, y = read_events(table, roles.events, rows, y, unit)
    order = rows.visits(is_visit)

    def over_visits(values: np.ndarray) -> np.ndarray:
        return pad(values[order], position[order], len(subjects))

    dims, visit_coords = _layout(over_visits(times), attrs)
    variables: dict[str, Any] = {}
    for column in roles.inputs:
        variables[column] = (dims, over_visits(_finite(table, "inputs", column, rows)))
    for column in roles.covariates:
        variables[column] = ("subject", _covariate(table, column, rows))
    coordinates: dict[str, Any] = {"subject": subjects, **visit_coords}
    if len(roles.observed) == 1:
        variables[roles.observed[0]] = (dims, over_visits(y[:, 0]))
    else:
        variables["observed"] = ((*dims, "component"), over_visits(y))
        coordinates["component"] = list(roles.observed)
    for column in roles.groups:
        members, index = _group(table, column, rows)
        variables[f"{column}_index"] = ("subject", index)
        coordinates[column] = members
        coordinates[f"{column}_of_subject"] = ("subject", members[index])
    for name, values in happenings.items():
        about = attrs if name == "event_time" else {}
        variables[name] = (("subject", "event"), values, about)
    return xr.Dataset(variables, coordinates)


def coords(panel: xr.Dataset) -> dict[str, list[Any]]:
    """Labels of a panel's dims, as ``pm.Model(coords=)`` takes them.

    Parameters
    ----------
    panel : xarray.Dataset
        What :func:`panel` returned.

    Returns
    -------
    dict of str to list
        ``subject``, ``visit`` or ``time``, ``component`` if several columns were observed, and
        each group. Events are no dim of a model and are left out.

    Raises
    ------
    TypeError, ValueError
        If it is no panel.

    Examples
    --------
    >>> import pandas as pd
    >>> import pymc_dynsys as pds
    >>> frame = pd.DataFrame({"id": ["a", "a", "b"], "day": [0, 1, 3], "y": [0.1, 0.3, 0.2]})
    >>> pds.coords(pds.panel(frame, subject="id", time="day", observed="y"))
    {'subject': ['a', 'b'], 'visit': [0, 1]}
    """
    if not isinstance(panel, xr.Dataset):
        raise TypeError(
            f"panel: expected the Dataset that pymc_dynsys.panel returns, got "
            f"{type(panel).__qualname__}"
        )
    if "subject" not in panel.indexes:
        raise ValueError(
            f"panel: expected labels along a dim 'subject', got dims {tuple(panel.dims)}; make it "
            "with pymc_dynsys.panel"
        )
    names = [str(dim) for dim in panel.dims if dim in panel.indexes]
    names.sort(key=lambda name: (name != "subject", name not in ("visit", "time")))
    return {name: panel[name].values.tolist() for name in names}


def _members(table: Table, role: str, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a complete column, each with a row, and each row's position among them."""
    refuse_missing(role, column, is_missing(table[column]))
    members, position = labels(table, role, column)
    refuse_unused_levels(table, role, column, members)
    return members, position


def _finite(table: Table, role: str, column: str, rows: Rows) -> np.ndarray:
    values = numbers(table, role, column)
    refuse_infinite(role, column, values, rows)
    return values


def _layout(times: np.ndarray, attrs: dict[str, str]) -> tuple[tuple[str, str], dict[str, Any]]:
    """Dims and coordinates of what varies in time: one clock for all, or one a subject."""
    if (times == times[0]).all():
        return ("subject", "time"), {"time": ("time", times[0], attrs)}
    clocks = (("subject", "visit"), times, attrs)
    return ("subject", "visit"), {"visit": np.arange(times.shape[1]), "time": clocks}


def _covariate(table: Table, column: str, rows: Rows) -> np.ndarray:
    """One number a subject, NaN where missing, or one text."""
    if not is_text(table[column]):
        values = _finite(table, "covariates", column, rows)
        source, has = one_per_subject("covariates", column, values, np.isnan(values), rows)
        return np.where(has, values[source], np.nan)
    texts, position = labels(table, "covariates", column)
    return texts[_one_label("covariates", column, texts, position, rows)]


def _group(table: Table, column: str, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Distinct labels of a group column, and each subject's position among them."""
    members, position = labels(table, "groups", column)
    refuse_unused_levels(table, "groups", column, members)
    return members, _one_label("groups", column, members, position, rows)


def _one_label(
    role: str, column: str, distinct: np.ndarray, position: np.ndarray, rows: Rows
) -> np.ndarray:
    """Position of each subject's label; a subject without one is an error."""
    missing = position < 0
    if not missing.all():
        source, has = one_per_subject(role, column, distinct[position], missing, rows)
        if has.all():
            return position[source]
        missing = ~has[rows.subject]
    row = int(np.argmax(missing))
    raise ValueError(
        f"{role}: column {column!r} has no label at {rows.place(row)}, nor elsewhere for this "
        "subject; fill it in, with 'unknown' if need be"
    )
