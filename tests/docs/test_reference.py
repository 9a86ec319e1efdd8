"""The reference of the site is complete, and all that it lists has an example."""

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

from pymc_dynsys.likelihoods.registry import LIKELIHOODS

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


def test_public_names_are_in_the_reference():
    """Under one of the modules that they can be imported from."""
    there = [value(*entry) for entry in LISTED]
    missing = {entry for entry in PUBLIC if not any(value(*entry) is found for found in there)}
    assert not missing, "on no page of docs/api"


def test_the_reference_lists_public_names_only():
    assert not LISTED - PUBLIC


def test_pages_are_in_the_contents():
    contents = (API / "index.rst").read_text()
    assert all(listed(page) for page in PAGES)
    assert not [page.stem for page in PAGES if f"\n   {page.stem}\n" not in contents]


def test_public_names_have_an_example():
    """Which ``--doctest-modules`` runs."""
    texts = {
        entry: value(*entry).__doc__.partition("    Examples\n    --------\n")[2]
        for entry in PUBLIC
    }
    assert not {entry for entry, text in texts.items() if ">>> " not in text}


def test_every_registered_likelihood_is_on_its_page():
    names = {name for _, name in listed(API / "likelihoods.rst")}
    assert not {kind.__name__ for kind in LIKELIHOODS} - names
