"""What is constant in a subject: its label, its covariates, the groups that it belongs to."""

import numpy as np

from pymc_dynsys.panels.columns import (
    Table,
    is_missing,
    is_text,
    labels,
    numbers,
    refuse_missing,
    refuse_unused_levels,
)
from pymc_dynsys.panels.rows import Rows, one_per_subject, refuse_infinite


def members(table: Table, role: str, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a complete column, each with a row, and each row's position among them."""
    refuse_missing(role, column, is_missing(table[column]))
    members, position = labels(table, role, column)
    refuse_unused_levels(table, role, column, members)
    return members, position


def finite(table: Table, role: str, column: str, rows: Rows) -> np.ndarray:
    """Numbers of a column, none of them infinite."""
    values = numbers(table, role, column)
    refuse_infinite(role, column, values, rows)
    return values


def covariate(table: Table, column: str, rows: Rows) -> np.ndarray:
    """One number a subject, NaN where missing, or one text."""
    if not is_text(table[column]):
        values = finite(table, "covariates", column, rows)
        source, has = one_per_subject("covariates", column, values, np.isnan(values), rows)
        return np.where(has, values[source], np.nan)
    texts, position = labels(table, "covariates", column)
    return texts[_one_label("covariates", column, texts, position, rows)]


def group(table: Table, column: str, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Distinct labels of a group column, and each subject's position among them."""
    distinct, position = labels(table, "groups", column)
    refuse_unused_levels(table, "groups", column, distinct)
    return distinct, _one_label("groups", column, distinct, position, rows)


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
