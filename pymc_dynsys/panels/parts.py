"""Which columns of a table describe events, and what each says of them."""

from collections.abc import Collection, Mapping

from pymc_dynsys.panels.columns import Table

NONMEM = {
    "amount": "AMT",
    "rate": "RATE",
    "duration": "DUR",
    "kind": "EVID",
    "state": "CMT",
    "additional": "ADDL",
    "interval": "II",
    "missing": "MDV",
    "steady_state": "SS",
}
"""What a column may say of events, and what NONMEM calls it."""


def event_columns(
    table: Table, events: Mapping[str, str] | str | None, others: Collection[str] = ()
) -> dict[str, str]:
    """Columns by what they say of events; empty if there are no events.

    `others` are the columns that have a role already.
    """
    if events is None:
        return {}
    if isinstance(events, str):
        if events != "nonmem":
            raise ValueError(
                f"events: {events!r} is not known; pass 'nonmem' or a mapping such as "
                "{'amount': 'dose'}"
            )
        columns = {part: name for part, name in NONMEM.items() if name in table.columns}
        _refuse_other_case(table, others)
        columns["amount"] = NONMEM["amount"]
    elif isinstance(events, Mapping):
        columns = dict(events)
    else:
        raise TypeError(f"events: expected 'nonmem' or a mapping, got {events!r}")
    for part in columns:
        if part not in NONMEM:
            raise ValueError(f"events: {part!r} is not one of {', '.join(map(repr, NONMEM))}")
    if "amount" not in columns:
        raise ValueError("events: no column for 'amount'; pass {'amount': name_of_the_column}")
    return columns


def _refuse_other_case(table: Table, others: Collection[str]) -> None:
    """Raise for a column that has a name of NONMEM's in other letters, and no other role."""
    for column in table.columns:
        upper = str(column).upper()
        part = next((part for part, name in NONMEM.items() if name == upper), "amount")
        if column in others or upper in table.columns or part == "amount":
            continue
        raise ValueError(
            f"events: the frame has no column {upper!r}, but {column!r}, which 'nonmem' would "
            f"leave unread; rename it to {upper!r}, or give a mapping with {{{part!r}: "
            f"{column!r}}}, or drop it"
        )
