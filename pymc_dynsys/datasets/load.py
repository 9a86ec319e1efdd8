"""``load_data``: tables that examples use, with where they come from."""

from importlib.resources import files
from typing import Any

import pandas as pd

FILES = files("pymc_dynsys.datasets") / "files"

KINDS: dict[str, dict[str, Any]] = {
    "epil": {},
    "lynx_hare": {},
    "nile": {"dtype": {"flow": float}},
    "oil": {"parse_dates": ["date"]},
    "ovary": {},
    "phenobarb": {},
    "quinidine": {},
    "sleepstudy": {},
    "theoph": {},
}
"""How each table is read, by name."""


def load_data(name: str) -> pd.DataFrame:
    """Read one of the tables that come with the package.

    Parameters
    ----------
    name : str
        ``"epil"``: seizures of 59 people in four periods, counts of a trial. ``"lynx_hare"``: pelts
        of two species, 1900 to 1920. ``"nile"``: annual flow of the Nile, 1871 to 1970. ``"oil"``:
        daily price of crude oil, 2014 to 2016. ``"ovary"``: follicles of 11 mares over a cycle.
        ``"phenobarb"``: doses and concentrations of phenobarbital in 59 infants. ``"quinidine"``:
        doses and concentrations of quinidine in 136 patients, steady states and covariates that
        vary in time among them. ``"sleepstudy"``: reaction times of 18 people without sleep.
        ``"theoph"``: concentrations of theophylline in 12 subjects.

    Returns
    -------
    DataFrame
        The table, tidy: one row a measurement (or dose). ``attrs["about"]`` says what its columns
        are, in which units, who published the data and on what terms this copy is distributed.

    Raises
    ------
    ValueError
        For a name that is not known.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> nile = pds.load_data("nile")
    >>> nile.shape, float(nile["flow"].mean())
    ((100, 2), 919.35)
    """
    if name not in KINDS:
        raise ValueError(f"load_data: no table {name!r}; there are {', '.join(map(repr, KINDS))}")
    with (FILES / f"{name}.csv").open() as file:
        table: pd.DataFrame = pd.read_csv(file, **KINDS[name])
    table.attrs["about"] = about(name)
    return table


def about(name: str) -> str:
    """What is said of a table."""
    text = (FILES / "README.md").read_text(encoding="utf-8")
    section = next(part for part in text.split("\n## ") if part.startswith(f"{name}.csv"))
    return section.partition("\n")[2].strip()
