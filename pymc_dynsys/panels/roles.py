"""Which column of the table plays which part."""

import difflib
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import narwhals as nw

from pymc_dynsys.panels.columns import Table


@dataclass(frozen=True)
class Roles:
    """Columns by role; each column has one.

    Attributes
    ----------
    subject, time : str
        Who and when.
    observed, inputs, covariates, groups : tuple of str
        What was measured, what varies in time, what does not, and what subjects belong to.
    events : dict of str to str
        Columns that describe events, by what they say of them.
    endpoint : str or None
        Column whose codes tell endpoints apart; it may say the state of events, too.
    censored, limit : str or None
        Columns that say which data are limits, and the far end of their intervals.
    """

    subject: str
    time: str
    observed: tuple[str, ...]
    inputs: tuple[str, ...]
    covariates: tuple[str, ...]
    groups: tuple[str, ...]
    events: dict[str, str]
    endpoint: str | None = None
    censored: str | None = None
    limit: str | None = None

    @property
    def several(self) -> bool:
        """Whether a datum has components."""
        return len(self.observed) > 1 or self.endpoint is not None

    def pairs(self) -> Iterable[tuple[str, str]]:
        """Role and column, for every column in use."""
        yield "subject", self.subject
        yield "time", self.time
        for role in ("observed", "inputs", "covariates", "groups"):
            for column in getattr(self, role):
                yield role, column
        for part, column in self.events.items():
            yield f"events[{part!r}]", column
        if self.endpoint is not None and self.endpoint != self.events.get("state"):
            yield "endpoint", self.endpoint
        for role, own in (("censored", self.censored), ("limit", self.limit)):
            if own is not None:
                yield role, own


def open_table(frame: Any) -> Table:
    """The user's data frame behind the interface that all kinds share."""
    try:
        table = nw.from_native(frame, eager_only=True)
    except TypeError as error:
        raise TypeError(
            f"frame: expected a pandas or polars DataFrame, got {type(frame).__qualname__}; "
            "collect a lazy one first"
        ) from error
    if len(table) == 0:
        raise ValueError(
            f"frame: it has no rows (columns {', '.join(map(repr, table.columns))}); a panel "
            "needs at least one visit"
        )
    return table


def as_names(role: str, value: Any) -> tuple[str, ...]:
    """One or several column names as a tuple."""
    if not isinstance(value, Iterable) or isinstance(value, Set):
        raise TypeError(f"{role}: expected a name or names of columns in order, got {value!r}")
    names = (value,) if isinstance(value, str) else tuple(value)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{role}: expected names of columns, got {name!r}")
    return names


def check_roles(table: Table, roles: Roles) -> None:
    """Refuse columns that are absent, used twice, or would make one name mean two things."""
    if not roles.observed:
        raise ValueError("observed: name at least one column")
    if roles.censored is not None and len(roles.observed) > 1:
        raise ValueError(
            f"censored: column {roles.censored!r} tells of one column of data, but observed names "
            f"{len(roles.observed)}; put them into one column, told apart by endpoint="
        )
    if roles.endpoint is not None and len(roles.observed) > 1:
        raise ValueError(
            f"endpoint: column {roles.endpoint!r} tells apart what is in one column of data, but "
            f"observed names {len(roles.observed)}; leave one of the two out"
        )
    taken: dict[str, str] = {}
    for role, column in roles.pairs():
        require_column(table, role, column)
        if column in taken:
            raise ValueError(
                f"{role}: column {column!r} is already given as {taken[column]}; a column has one "
                "role, so give it in one place or copy it under another name"
            )
        taken[column] = role
    _check_names(roles)


def require_column(table: Table, role: str, column: str) -> None:
    """Raise if the table has no such column, with the likely one."""
    if not isinstance(column, str):
        raise TypeError(f"{role}: expected the name of a column, got {column!r}")
    if column in table.columns:
        return
    by_lower = {str(name).lower(): name for name in table.columns}
    close = difflib.get_close_matches(column.lower(), list(by_lower), n=3)
    index = nw.maybe_get_index(table)
    if index is not None and column in index.names:
        remedy = "; it is the frame's index, so pass frame.reset_index()"
    elif close:
        remedy = "; did you mean " + " or ".join(repr(by_lower[name]) for name in close) + "?"
    else:
        remedy = f"; its columns are {', '.join(map(repr, table.columns))}"
    raise ValueError(f"{role}: the frame has no column {column!r}{remedy}")


def _check_names(roles: Roles) -> None:
    """Raise where a name in the panel would mean two things.

    Names that the panel uses itself come first, then those that columns make, in order of roles.
    """
    meaning: Mapping[str, str] = {
        "subject": "the dim of the subjects",
        "visit": "the dim of the visits",
        "time": "the times",
        "component": "the dim of several observed columns",
        "event": "the dim of the events",
        "record": "the dim of all rows",
        "record_time": "the times of all rows",
        **{
            f"event_{part}": "the events"
            for part in ("time", "amount", "rate", "duration", "state", "order", "recorded")
        },
    }
    used = dict(meaning)
    if roles.several:
        used["observed"] = "the observed columns together"
    if roles.censored is not None:
        of_data = "observed" if roles.several else roles.observed[0]
        used |= {f"{of_data}_{end}": "a bound" for end in ("lower", "upper", "limit")}
    made = [("observed", column, "") for column in roles.observed if not roles.several]
    made += [(role, c, "") for role in ("inputs", "covariates") for c in getattr(roles, role)]
    made += [("groups", c, end) for c in roles.groups for end in ("", "_index", "_of_subject")]
    for role, column, ending in made:
        name = column + ending
        if name in used:
            raise ValueError(
                f"{role}: column {column!r} would be {name!r} in the panel, which is the name of "
                f"{used[name]}; rename the column"
            )
        used[name] = f"what column {column!r} makes as {role}"
