"""Code on pages that Sphinx does not execute: what is marked as ours runs as it stands there."""

import re
import warnings
from pathlib import Path

import numpy as np
import pymc as pm
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "coming-from").glob("*.md"))

FENCE = re.compile(
    r"^(?P<run><!-- run -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S
)
DRAWS = re.compile(r"^draws = 1000$", re.MULTILINE)


def ours(page: Path) -> list[str]:
    """Blocks of a page that are marked to run, in order; they share their names."""
    return [found["code"] for found in FENCE.finditer(page.read_text()) if found["run"]]


WITH_CODE = [page for page in PAGES if ours(page)]


def test_the_pages_are_found():
    assert {page.stem for page in WITH_CODE} == {
        "dynestyx",
        "dynamax",
        "pymc_extras",
        "ctsem",
        "nlmixr2",
    }


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_ours_runs_and_has_the_results_that_the_page_names(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    code = "\n".join(ours(page))
    assert len(DRAWS.findall(code)) == 1, "one line says how many draws"
    sample = pm.sample

    def few(draws, **options):
        options |= {"chains": 1, "random_seed": 1, "compute_convergence_checks": False}
        return sample(draws, **options)

    monkeypatch.setattr(pm, "sample", few)
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        # Of too few draws.
        warnings.simplefilter("ignore")
        exec(compile(DRAWS.sub("draws = 2", code), str(page), "exec"), names)
    idata = names["idata"]
    assert idata["posterior"].sizes["draw"] == 2
    for dataset in (idata["posterior"].dataset, *results(names)):
        assert dataset.data_vars
        assert all(np.isfinite(values).all() for values in dataset.data_vars.values())


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
