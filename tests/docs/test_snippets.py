"""Code on pages that Sphinx does not execute: what is marked as ours runs as it stands there."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pymc as pm
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "coming-from").glob("*.md"))

FENCE = re.compile(
    r"^(?P<run><!-- run -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S
)


def ours(page: Path) -> list[str]:
    """Blocks of a page that are marked to run, in order; they share their names."""
    return [found["code"] for found in FENCE.finditer(page.read_text()) if found["run"]]


WITH_CODE = [page for page in PAGES if ours(page)]


# The page that runs in the fast tests: discrete time. CI runs a page of the site with doses.
QUICK = ("pymc_extras",)


def test_the_pages_are_found():
    assert {page.stem for page in WITH_CODE} == {
        "dynestyx",
        "dynamax",
        "pymc_extras",
        "statsmodels",
        "ctsem",
        "nlmixr2",
        "lme4_brms",
    }


@pytest.fixture
def run(monkeypatch):
    """Execute code with two draws of one chain; return its names."""
    sample = pm.sample

    def few(*_, **options):
        shallow = {"nuts": {"max_tree_depth": 2}, "compute_convergence_checks": False}
        options |= {"tune": 2, "chains": 1, "random_seed": 1, "progressbar": False, **shallow}
        return sample(2, **options)

    monkeypatch.setattr(pm, "sample", few)

    def execute(code, name):
        names: dict[str, object] = {}
        with warnings.catch_warnings():
            # Of too few draws.
            warnings.simplefilter("ignore")
            exec(compile(code, name, "exec"), names)
        return names

    return execute


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if page.stem in QUICK else pytest.mark.slow)
        for page in WITH_CODE
    ],
    ids=lambda page: page.stem,
)
def test_ours_runs_and_has_the_results_that_the_page_names(page, monkeypatch, run):
    monkeypatch.chdir(ROOT)
    names = run("\n".join(ours(page)), str(page))
    for dataset in (names["idata"]["posterior"].dataset, *results(names)):
        assert dataset.data_vars
        assert all(np.isfinite(values).all() for values in dataset.data_vars.values())


OWN_TABLE = ROOT / "docs" / "how-to" / "your-own-table.md"


def test_a_page_goes_from_a_table_of_ones_own_to_a_forecast(tmp_path, monkeypatch, run):
    """Rows of a table of one's own, in no order, with days that differ and a score missing."""
    rng = np.random.default_rng(1)
    days = {"Ada": [0.5, 1.0, 4.0], "Ben": [2.0, 0.0], "Cleo": [0.0, 1.0, 3.5, 9.0]}
    rows = [(person, day, rng.normal(50.0, 5.0)) for person, own in days.items() for day in own]
    table = pd.DataFrame(rows, columns=["person", "day", "score"])
    table.loc[1, "score"] = np.nan
    table["age"] = table["person"].map({"Ada": 31, "Ben": 44, "Cleo": 28})
    table["arm"] = table["person"].map({"Ada": "control", "Ben": "drug", "Cleo": "drug"})
    table.sample(frac=1.0, random_state=1).to_csv(tmp_path / "scores.csv", index=False)
    monkeypatch.chdir(tmp_path)
    names = run("\n".join(ours(OWN_TABLE)), OWN_TABLE.name)
    assert {path.name for path in tmp_path.glob("*.png")} == {"states.png", "forecast.png"}
    np.testing.assert_array_equal(names["ahead"].isel(ahead=0), [4.0, 2.0, 9.0])
    assert {v.name for v in names["model"].free_RVs} == {
        "arm_mean",
        "slope",
        "between",
        "mean_offset",
    }
    # States behind visits that a subject has not are NaN, what comes after everybody's last is not.
    for dataset in results({"future": names["future"]}):
        assert all(np.isfinite(values).all() for values in dataset.data_vars.values())


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_what_people_paste_first_runs(page, run):
    """The first example, and what comes after it."""
    blocks = [
        found["code"]
        for found in FENCE.finditer((ROOT / page).read_text())
        if found["language"] == "python"
    ]
    after = [code for code in blocks if code.startswith("states = pds.sample_states")]
    assert len(after) == 1
    names = run("\n".join([blocks[0], *after]), page)
    assert names["idata"]["posterior"]["mu"].sizes["subject"] == 3
    assert len(results(names)) == 2


def results(names: dict[str, object]) -> list:
    """What came after sampling: groups that hold draws of states and data."""
    trees = [names[name] for name in ("states", "moments", "paths", "future") if name in names]
    assert trees
    groups = [tree[group].dataset for tree in trees for group in tree.children]
    return [group for group in groups if "draw" in group.dims]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_their_python_is_python(page):
    for found in FENCE.finditer(page.read_text()):
        if found["language"] == "python":
            compile(found["code"], str(page), "exec")
