"""The reference of the site is complete, and all that it lists has an example."""

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

API = Path(__file__).parents[2] / "docs" / "api"
PAGES = sorted(set(API.glob("*.rst")) - {API / "index.rst"})

LISTING = re.compile(
    r"^\.\. currentmodule:: (?P<module>\S+)$"
    r"\n\n\.\. autosummary::\n   :toctree: generated\n\n"
    r"(?P<names>(?:   \w+\n)+)",
    re.MULTILINE,
)

PUBLIC = {
    (module, name)
    for module in ("pymc_dynsys", "pymc_dynsys.effects")
    for name in import_module(module).__all__
    if not isinstance(getattr(import_module(module), name), ModuleType)
}


def listed(page: Path) -> set[tuple[str, str]]:
    """What one page of the reference lists, as pairs of module and name."""
    return {
        (found["module"], name)
        for found in LISTING.finditer(page.read_text())
        for name in found["names"].split()
    }


LISTED = set().union(*map(listed, PAGES))


def value(module: str, name: str) -> object:
    return getattr(import_module(module), name)


@pytest.mark.parametrize(("module", "name"), sorted(PUBLIC))
def test_public_names_are_in_the_reference(module, name):
    """Under one of the modules that they can be imported from."""
    pages = [entry for entry in LISTED if value(*entry) is value(module, name)]
    assert pages, f"{module}.{name} is on no page of docs/api"


@pytest.mark.parametrize(("module", "name"), sorted(LISTED))
def test_the_reference_lists_public_names_only(module, name):
    assert (module, name) in PUBLIC


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_are_in_the_contents(page):
    assert listed(page)
    assert f"\n   {page.stem}\n" in (API / "index.rst").read_text()


@pytest.mark.parametrize(("module", "name"), sorted(PUBLIC))
def test_public_names_have_an_example(module, name):
    """Which ``--doctest-modules`` runs."""
    _, _, example = value(module, name).__doc__.partition("    Examples\n    --------\n")
    assert ">>> " in example, f"the docstring of {module}.{name} has no example"
