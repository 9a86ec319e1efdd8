"""Several endpoints in one column of data, told apart by the codes of another column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_dynsys.panels.columns import Table, labels
from pymc_dynsys.panels.roles import Roles
from pymc_dynsys.panels.rows import Rows

CODES = "DVID"
"""Name that tables of the field give to the column of codes."""


@dataclass(frozen=True)
class Endpoint:
    """The column whose codes say which endpoint a datum is of, and the names of the codes.

    Without ``names`` endpoints are called by their codes.
    """

    column: str
    names: Mapping[Any, str] | None = None


def as_endpoint(endpoint: object) -> Endpoint | None:
    """What the user said of endpoints."""
    if endpoint is None:
        return None
    if isinstance(endpoint, str):
        return Endpoint(endpoint)
    shape = "expected the name of a column, or {column: {code: name, ...}}"
    if not isinstance(endpoint, Mapping) or len(endpoint) != 1:
        raise TypeError(f"endpoint: {shape}, got {endpoint!r}")
    ((column, names),) = endpoint.items()
    if not isinstance(column, str) or not isinstance(names, Mapping) or not names:
        raise TypeError(f"endpoint: {shape}, got {endpoint!r}")
    if len(set(names.values())) < len(names):
        raise ValueError(f"endpoint: two codes of {column!r} have one name, {dict(names)!r}")
    return Endpoint(column, dict(names))


def split_endpoints(
    table: Table, endpoint: Endpoint, y: np.ndarray, rows: Rows
) -> tuple[np.ndarray, list[Any]]:
    """Data ``(row, component)`` with a component for each endpoint, and the names of these."""
    role, has = "endpoint", ~np.isnan(y[:, 0])
    codes, position = labels(table, role, endpoint.column)
    lacking = np.flatnonzero(has & (position < 0))
    if len(lacking):
        raise ValueError(
            f"{role}: column {endpoint.column!r} has no code at {rows.place(lacking[0])}, which "
            "has a datum; fill it in"
        )
    found = codes[np.unique(position[has])].tolist()
    wanted = found if endpoint.names is None else list(endpoint.names)
    strange = [code for code in found if code not in wanted]
    if strange:
        row = np.flatnonzero(has & (position == codes.tolist().index(strange[0])))[0]
        raise ValueError(
            f"{role}: column {endpoint.column!r} holds {strange[0]!r} at {rows.place(row)}, which "
            f"is not among {', '.join(map(repr, wanted))}; name it, or drop these rows"
        )
    if not wanted:
        raise ValueError(f"{role}: no row has a datum, so {endpoint.column!r} names no endpoint")
    component = np.full(len(codes), -1)
    for i, code in enumerate(codes.tolist()):
        component[i] = wanted.index(code) if code in wanted else -1
    split = np.full((len(y), len(wanted)), np.nan)
    split[has, component[position[has]]] = y[has, 0]
    return split, wanted if endpoint.names is None else list(endpoint.names.values())


def refuse_mixed(
    table: Table, codes: Mapping[str, str], y: np.ndarray, components: Sequence[Any], rows: Rows
) -> None:
    """Raise where data of one component have several codes; `codes` are columns by their role."""
    for role, column in codes.items():
        distinct, position = labels(table, role, column)
        for component, name in enumerate(components):
            has = np.flatnonzero(~np.isnan(y[:, component]) & (position >= 0))
            other = has[position[has] != position[has[:1]]]
            if len(other):
                first, second = has[0], other[0]
                one, two = (distinct[position[row]].item() for row in (first, second))
                raise ValueError(
                    f"{role}: column {column!r} holds {one!r} at {rows.place(first)}, and {two!r} "
                    f"at {rows.place(second)}, which both have a datum of {name!r}; they are "
                    f"different endpoints: pass endpoint={column!r}, or endpoint={{{column!r}: "
                    f"{{{one!r}: 'a', {two!r}: 'b'}}}}, to make each a component, or drop the rows "
                    "of all but one"
                )


def codes_of(table: Table, roles: Roles) -> dict[str, str]:
    """Columns whose codes may tell endpoints apart, but for the one that does; by their role."""
    codes = {}
    taken = {column for _, column in roles.pairs()}
    if "state" in roles.events:
        codes["events['state']"] = roles.events["state"]
    if CODES in table.columns and CODES not in taken:
        codes["endpoint"] = CODES
    return {role: column for role, column in codes.items() if column != roles.endpoint}
