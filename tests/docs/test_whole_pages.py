"""Code of a gallery page is whole: copied, it runs where the package alone is installed."""

import ast
import builtins
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "docs" / "gallery"
PAGES = sorted(page for page in GALLERY.glob("*.md") if page.stem != "index")

NEED_MORE = {
    "hierarchical_ou": {"ORACLES", "hierarchical_ou"},
    "lgssm_hmc": {"ORACLES", "lgssm_hmc"},
    "macro_panel": {"statsmodels"},
    "phenobarbital": {"phenobarbital"},
    "quinidine": {"quinidine"},
    "radon": {"DATA", "ORACLES"},
    "radon_vi": {"DATA", "pymc_extras"},
}
"""What code takes from a clone of the repository, or from a package that is not required."""

CELL = re.compile(
    r"^```\{code-cell\}[^\n]*\n(?P<options>(?::[^\n]*\n)*)(?P<code>.*?)^```$", re.M | re.S
)


def installed() -> set[str]:
    """Modules that come with the package, and Python's own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[^\w-]", each)[0].replace("-", "_") for each in project["dependencies"]}
    return names | set(sys.stdlib_module_names) | {"pymc_dynsys", "IPython"}


def visible(page: str) -> str:
    """Code that a reader sees of a page, with the draws that the site shows."""
    cells = [cell for cell in CELL.finditer(page) if "remove-cell" not in cell["options"]]
    code = "\n".join(cell["code"] for cell in cells)
    return re.sub(r"\beffort\(([^,()]+), [^,()]+\)", r"\1", code)


def missing(code: str, modules: set[str]) -> set[str]:
    """Names that code uses and does not define, and modules that are not there."""
    used, defined, absent = set(), set(dir(builtins)), set()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                defined.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                defined.add(name)
            case ast.Import(names=names):
                defined |= {each.asname or each.name.partition(".")[0] for each in names}
                absent |= {each.name.partition(".")[0] for each in names} - modules
            case ast.ImportFrom(module=str(module), names=names):
                defined |= {each.asname or each.name for each in names}
                absent |= {module.partition(".")[0]} - modules
    return (used - defined) | absent


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_that_is_seen_is_whole(page):
    assert missing(visible(page.read_text()), installed()) == NEED_MORE.get(page.stem, set())


def test_what_is_missing():
    page = (
        "```{code-cell} ipython3\n:tags: [remove-cell]\n\n"
        "from pages import effort\nhidden = 1\n```\n"
        "```{code-cell} ipython3\nimport numpy as np, story\n\n"
        "def f(x, *rest):\n    return x + rest[0]\n\nnp.sum(f(effort(100, 1), hidden))\n```\n"
    )
    assert missing(visible(page), installed()) == {"story", "hidden"}
