"""A tidy table becomes a labelled panel."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from pymc_dynsys.panels.clock import clock_of, read_times, refuse_two_in_a_period
from pymc_dynsys.panels.complete import completed
from pymc_dynsys.panels.endpoints import as_endpoint, codes_of, refuse_mixed, split_endpoints
from pymc_dynsys.panels.events import read_events
from pymc_dynsys.panels.limits import at_visits, in_use, read_bounds
from pymc_dynsys.panels.parts import event_columns
from pymc_dynsys.panels.records import as_record
from pymc_dynsys.panels.roles import Roles, as_names, check_roles, open_table
from pymc_dynsys.panels.rows import Rows, pad
from pymc_dynsys.panels.subjects import covariate, finite, group, members
from pymc_dynsys.panels.units import check_units, with_units
from pymc_dynsys.panels.visits import Ties, find_visits


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
    endpoint: str | Mapping[str, Mapping[Any, str]] | None = None,
    ties: Ties = None,
    censored: str | None = None,
    limit: str | None = None,
    units: Mapping[str, str] | None = None,
    complete: bool = False,
) -> xr.Dataset:
    r"""A tidy table, one row per subject and time, as a labelled panel.

    The dims are ``("subject", "visit")`` with a time :math:`t_{ik}` for each subject :math:`i`
    and visit :math:`k`, or ``("subject", "time")`` where all subjects have the same times. The
    order of the rows does not matter, unless `ties` or inputs tell apart rows of one time.

    Parameters
    ----------
    frame : DataFrame
        A pandas, polars or pyarrow table; anything eager that narwhals reads.
    subject : str
        Column that says whose row it is: text, categories or integers. The labels, in their
        categories' order or ascending, are the coordinate ``subject``.
    time : str
        Column of times: numbers in a unit of your own, dates, durations or pandas' periods. Dates
        become numbers of `unit` since the earliest in the table, by way of UTC if they have a time
        zone; periods, and dates whose unit counts periods, become numbers of periods.
    observed : str or sequence of str
        What was measured. One column keeps its name; several become the variable ``observed``
        with a last dim ``component``. A row without any value is still a visit.
    inputs : str or sequence of str, optional
        Columns that vary in time; each becomes a variable with the dims of the observed. Where
        some rows are no visits of their own (doses, say), its dims are ``("subject", "record")``
        with the times of all rows as the coordinate ``record_time``. In a
        :class:`~pymc_dynsys.Trajectory` a value holds from its row to the next; see
        :class:`~pymc_dynsys.Input` for columns that say what happened since the last row, and
        for columns with missing values.
    covariates : str or sequence of str, optional
        Columns that are constant in a subject, numbers or text; each becomes a variable over
        ``subject``. Rows that lack the value take it from the subject's other rows.
    groups : str or sequence of str, optional
        Columns that say what a subject belongs to. A column ``clinic`` becomes the dim and
        coordinate ``clinic`` of its distinct labels, the variable ``clinic_index`` (position of
        each subject's label) and the coordinate ``clinic_of_subject`` (the label itself). In a
        model write ``mu_clinic[panel["clinic_index"].values]``, or give
        ``panel["clinic_of_subject"]`` to ``effects.varying(within=...)``.
    unit : {"W", "D", "h", "m", "s", "ms"} or a frequency, optional
        Unit into which dates and durations are converted. Numbers are never rescaled. For discrete
        time the frequency of the periods that dates stand for, ``"M"`` (months), ``"Q"``,
        ``"Q-MAR"``, ``"Y"`` or ``"B"`` (business days), one step each; periods have their own.
    events : mapping or "nonmem", optional
        Columns that describe events, see Notes; ``"nonmem"`` means those of NONMEM's names
        (given there in brackets) which the table has.
    endpoint : str or mapping, optional
        Column whose codes tell apart several endpoints in one column of data, such as ``"DVID"``:
        they become the variable ``observed`` with a component for each code. ``{"DVID": {1:
        "conc", 2: "effect"}}`` names the codes, and its order is that of the components. Rows of
        one subject and time with different endpoints are one visit.
    ties : {"data", "record"}, optional
        What comes first at one time. ``"data"``: a datum comes before a dose, so it is the
        trough. ``"record"``: the order of the table's rows counts; repeats of a dose
        (``additional``) come before all rows of their time; replicates are visits of their own.
        Default: as ``"data"``, with a warning where the table has a datum after a dose.
    censored : str, optional
        Column that says which data are limits, as CENS of NONMEM and Monolix: 1 where the value
        lies below the one in the column, -1 where it lies above, else 0. They become bounds
        ``<y>_lower`` and ``<y>_upper`` with the dims of the data ``<y>``, infinite where a datum
        is none, for :func:`~pymc_dynsys.censored`.
    limit : str, optional
        Column with the far end of the interval of a censored value, as LIMIT: it becomes
        ``<y>_limit``. Missing: open. In rows that are not censored it says nothing.
    units : mapping of str to str, optional
        Units of columns of numbers, ``{"hour": "h", "conc": "mg/L"}``. Nothing is rescaled: they
        become the attribute ``unit`` of what a column becomes, go with a
        :class:`~pymc_dynsys.Trajectory` into its results, and label the axes of plots.
    complete : bool, optional
        Give every subject a visit at every time at which any has one, without a datum where it
        has no row: after dropout all share the dim ``time``, as
        :class:`~pymc_dynsys.LeaveFutureOut` needs. The likelihood stays as it is, but for
        subjects that enter later: theirs begins at the first time, which a warning says.

    Returns
    -------
    xarray.Dataset
        All numbers are float64, NaN where missing and after a subject's last visit. It can be
        written to netCDF and zarr. Where the times were dates, the coordinate ``time`` has the
        attributes ``unit``, ``origin`` (ISO 8601, in UTC if there was a zone) and ``time_zone``,
        so ``pd.Timestamp(origin) + pd.to_timedelta(times, unit=unit)`` are a subject's dates. Of
        periods `unit` is the frequency and `origin` the first day of the first, so number k is
        ``pd.Period(origin, freq=unit) + k``.

    Raises
    ------
    TypeError
        For a column that holds something other than its role needs: text among numbers, say.
    ValueError
        For absent columns, columns in two roles, two rows of one subject at one time, two dates of
        one subject in one period, missing
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
    and ``steady_state`` (SS). Only the amount is needed. A row is an event if its kind is 1, 3 or
    4 or, without such a column, if its amount is neither missing nor 0. An event row is no visit,
    unless there is no kind column and it also has a datum. Rows of kind 2 are visits without a
    datum, and so are those marked missing. A 0 observed in a row of another kind than 0 is a
    placeholder; another value there is an error. An event is an infusion if it has a positive rate
    or duration, else a bolus. It is repeated ``additional`` times, ``interval`` apart.

    Kind 3 resets the state to the initial distribution, kind 4 then gives its dose. Steady state 1
    forgets all before, and puts the state that doses like its own have led to, ``interval`` apart
    since ever, just before its own dose; steady state 2 adds that state to the one there is. An
    amount of 0 with a rate and without an interval is the steady state of an infusion that ends
    here. Resets and steady state 1 also end what runs, and cancel the repeats to come of earlier
    rows. Where a table has any, the order of its rows counts among events of one time. A rate
    of -1 or -2 stands for the rate or the duration that the system says, ``Dose(rate=)`` or
    ``Dose(duration=)``. What a row says of a dose that it does not give is refused.
    Data of one column whose rows have several states, or several codes in a column
    DVID, are refused unless `endpoint` tells them apart.

    The panel then has ``event_time``, ``event_amount``, ``event_rate`` and ``event_duration``
    (those that the table tells; 0 otherwise), ``event_state`` if there is a column for it, and
    ``event_order`` where ``ties="record"`` puts a dose before a datum (how many visits of its time
    come before it), ``event_reset``, ``event_steady_state`` and ``event_interval`` where there are
    resets or steady states, ``event_recorded`` where there are inputs and repeats (the time of the
    row that says so), all over ``("subject", "event")``, in order of time, NaN (or empty text)
    after a subject's last event. Durations and intervals are in the unit of the times. A subject
    with events only has one visit without a time.

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
    seen, told = as_names("observed", observed), as_names("inputs", inputs)
    constant, belonging = as_names("covariates", covariates), as_names("groups", groups)
    used = {subject, time, *seen, *told, *constant, *belonging}
    of_endpoint = as_endpoint(endpoint)
    roles = Roles(
        subject,
        time,
        seen,
        told,
        constant,
        belonging,
        event_columns(table, events, used),
        None if of_endpoint is None else of_endpoint.column,
        censored,
        limit,
    )
    check_roles(table, roles)
    check_units(table, units)
    subjects, position = members(table, "subject", subject)
    times, attrs = read_times(table, time, unit)
    rows = Rows(subjects, position, times)
    refuse_two_in_a_period(table, time, rows, attrs)
    y = np.column_stack([finite(table, "observed", column, rows) for column in roles.observed])
    happenings = read_events(table, roles.events, rows, y, attrs.get("unit", unit))
    is_event = np.isin(np.arange(len(y)), happenings.row)
    bounds = read_bounds(table, roles, y[:, 0], is_event, rows)
    y, components = happenings.y, list(roles.observed)
    if of_endpoint is not None:
        y, components = split_endpoints(table, of_endpoint, y, rows)
    refuse_mixed(table, codes_of(table, roles), y, components, rows)
    visits = find_visits(rows, happenings, y, components, ties)
    if complete:
        visits = completed(rows, visits)

    def over_visits(values: np.ndarray) -> np.ndarray:
        return pad(values, visits.subject, len(subjects))

    dims, coordinates = clock_of(over_visits(visits.times), attrs)
    coordinates = {"subject": subjects, **coordinates}
    variables: dict[str, Any] = {}
    for column in roles.inputs:
        values = finite(table, "inputs", column, rows)
        variables[column] = as_record(values, rows, visits, dims, coordinates, attrs)
    for column in roles.covariates:
        variables[column] = ("subject", covariate(table, column, rows))
    if roles.several:
        variables["observed"] = ((*dims, "component"), over_visits(visits.y))
        coordinates["component"] = components
    else:
        variables[roles.observed[0]] = (dims, over_visits(visits.y[:, 0]))
    of_data = "observed" if roles.several else roles.observed[0]
    dims_of_data = variables[of_data][0]
    for end, values in at_visits(bounds, y, visits).items():
        part = values if roles.several else values[:, 0]
        variables[f"{of_data}_{end}"] = (dims_of_data, over_visits(part))
    if in_use(bounds):
        variables[of_data] = (*variables[of_data], {"censored": in_use(bounds)})
    for column in roles.groups:
        found, index = group(table, column, rows)
        variables[f"{column}_index"] = ("subject", index)
        coordinates[column] = found
        coordinates[f"{column}_of_subject"] = ("subject", found[index])
    of_events = dict(happenings.values)
    if visits.before_event is not None:
        of_events["event_order"] = visits.before_event
    if roles.inputs and happenings.repeated.any():
        of_events["event_recorded"] = rows.times[happenings.row]
    for name, each in of_events.items():
        about = attrs if name in ("event_time", "event_recorded") else {}
        padded = pad(each, rows.subject[happenings.row], len(subjects))
        variables[name] = (("subject", "event"), padded, about)
    return with_units(xr.Dataset(variables, coordinates), roles, units or {})
