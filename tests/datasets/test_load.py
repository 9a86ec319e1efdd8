"""Tables in the package: what they hold, and that each says where it comes from."""

import numpy as np
import pytest

import pymc_dynsys as pds
from pymc_dynsys.datasets.load import FILES, KINDS

SIZES = {
    "epil": (236, 6),
    "lynx_hare": (21, 3),
    "nile": (100, 2),
    "oil": (756, 2),
    "ovary": (308, 3),
    "phenobarb": (744, 7),
    "quinidine": (1471, 14),
    "sleepstudy": (180, 3),
    "theoph": (132, 5),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_table(name):
    table = pds.load_data(name)
    assert table.shape == SIZES[name]
    about = " ".join(table.attrs["about"].split())
    assert "|---|---|---|" in about
    for column in table.columns:
        assert f"`{column}`" in about
    assert "GPL" in about or "public domain" in about


def test_figures_that_were_published():
    """Thall and Vail: 28 people with placebo, 31 with progabide; Cobb: the flow falls in 1899."""
    people = pds.load_data("epil").drop_duplicates("subject").groupby("trt").size()
    assert people.to_dict() == {"placebo": 28, "progabide": 31}
    flow = pds.load_data("nile").set_index("year")["flow"]
    assert flow.loc[:1898].mean() > 1.25 * flow.loc[1899:].mean()
    price = pds.load_data("oil").set_index("date")["price"]
    assert price.min() == price["2016-02-11"] == 26.19
    assert np.isfinite(price).all()
    quinidine = pds.load_data("quinidine")
    counts = quinidine[["Subject", "conc", "dose", "interval"]].count().tolist()
    assert counts == [1471, 361, 1028, 249] and quinidine["Subject"].nunique() == 136
    assert sorted(quinidine["Ethanol"].unique()) == ["current", "former", "none"]


def test_every_file_is_read():
    names = {file.name.removesuffix(".csv") for file in FILES.iterdir() if file.name != "README.md"}
    assert names == set(KINDS)


def test_another_name():
    with pytest.raises(ValueError, match="no table 'nil'; there are 'epil'"):
        pds.load_data("nil")
