"""Columns that say which data are limits, and in which direction: CENS and LIMIT."""

import numpy as np

from pymc_dynsys.panels.columns import Table
from pymc_dynsys.panels.roles import Roles
from pymc_dynsys.panels.rows import Rows
from pymc_dynsys.panels.subjects import finite
from pymc_dynsys.panels.visits import Visits

CENSORED, LIMIT = "CENS", "LIMIT"
"""Names that tables of the field give to these columns."""

NOWHERE = {"lower": -np.inf, "upper": np.inf, "limit": np.inf}
"""Bounds of a datum that is not censored."""


def read_bounds(
    table: Table, roles: Roles, y: np.ndarray, is_event: np.ndarray, rows: Rows
) -> dict[str, np.ndarray]:
    """Bounds of the datum of each row, ``(row,)``, by name; empty where no column tells.

    `y` are the values of the observed column, ``(row,)``, as they are in the table; `is_event`
    says which rows are events, whose values are no data.
    """
    if roles.censored is None:
        if roles.limit is not None:
            raise ValueError(
                f"limit: column {roles.limit!r} ends the intervals of censored data; say which "
                f"are, with censored={CENSORED!r}"
            )
        _refuse_unread(table, roles, rows)
        return {}
    code = finite(table, "censored", roles.censored, rows)
    code = np.where(np.isnan(code) | is_event, 0, code)
    _refuse(
        rows, roles.censored, code, ~np.isin(code, (-1, 0, 1)), "expected 1 (the value is an upper "
        "limit: it lies below), -1 (a lower limit: it lies above) or 0",
    )  # fmt: skip
    _refuse(
        rows, roles.censored, code, (code != 0) & np.isnan(y), "there is no datum to be the limit; "
        "put the limit of quantification there, or write 0",
    )  # fmt: skip
    bounds = {
        "lower": np.where(code == 1, y, -np.inf),
        "upper": np.where(code == -1, y, np.inf),
    }
    if roles.limit is None:
        return bounds
    end = finite(table, "limit", roles.limit, rows)
    closed = (code != 0) & ~np.isnan(end)
    wrong = closed & np.where(code == 1, end >= y, end <= y)
    _refuse(
        rows, roles.limit, end, wrong, "it is the far end of the interval, so it lies below the "
        "datum where this is an upper limit (1), and above it where it is a lower one (-1)",
        "limit",
    )  # fmt: skip
    open_end = np.where(code == 1, -np.inf, np.inf)
    return {**bounds, "limit": np.where(closed, end, open_end)}


def at_visits(
    bounds: dict[str, np.ndarray], y: np.ndarray, visits: Visits
) -> dict[str, np.ndarray]:
    """Bounds of the data of visits, ``(visit, component)``, from those of the rows.

    `y` are the data ``(row, component)``.
    """
    row, component = np.nonzero(~np.isnan(y) & (visits.of_row >= 0)[:, None])
    found = {}
    for name, values in bounds.items():
        found[name] = np.full(visits.y.shape, NOWHERE[name])
        found[name][visits.of_row[row], component] = values[row]
    return found


def in_use(bounds: dict[str, np.ndarray]) -> str:
    """Names of the bounds that are anywhere, with commas; empty if no datum is censored."""
    return ", ".join(name for name, values in bounds.items() if np.isfinite(values).any())


def _refuse_unread(table: Table, roles: Roles, rows: Rows) -> None:
    """Raise for a column of censoring in a table of events that nothing reads."""
    taken = {column for _, column in roles.pairs()}
    if not roles.events or CENSORED not in table.columns or CENSORED in taken:
        return
    code = finite(table, "censored", CENSORED, rows)
    _refuse(
        rows, CENSORED, code, np.nan_to_num(code) != 0, "the datum is a limit and would be read "
        f"as a value: pass censored={CENSORED!r}, drop such rows, or drop the column",
    )  # fmt: skip


def _refuse(
    rows: Rows,
    column: str,
    values: np.ndarray,
    wrong: np.ndarray,
    because: str,
    role: str = "censored",
) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{role}: column {column!r} holds {values[row]:g} at {rows.place(row)}; {because}"
        )
