"""Pages use the standard word of the field wherever it has one."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

CODE = re.compile(r"^```.*?^```$|`[^`\n]*`|\]\([^)\n]*\)|\$\$.*?\$\$|\$[^$\n]+\$", re.M | re.S)
"""Blocks and names of code, addresses of links, mathematics."""

INSTEAD = {
    r"(pseudo-)?datum": "observation",
    r"non-linear\w*": "nonlinear",
    r"laws?": "distribution",
    r"beside": "compared with, next to, together with",
    r"pictures?": "plot",
    r"newcomers?": "new subjects",
    r"foretells?|foretold": "predict",
    r"(standard|normal|linear|optim)is(e|es|ed|ing|ation)": "-ize",
}
"""Words that pages avoid, and what they say in their place."""


def prose(page: Path) -> str:
    """A page without code, addresses and mathematics; lines stay where they are."""
    text = page.read_text(encoding="utf-8")
    return CODE.sub(lambda found: "\n" * found[0].count("\n"), text)


def found_in(text: str, word: str) -> list[int]:
    """Numbers of the lines that have a word."""
    pattern = re.compile(rf"\b(?:{word})\b", re.I)
    return [number for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]


@pytest.mark.parametrize("word", INSTEAD)
def test_pages_use_the_standard_word(word):
    pages = [page for page in PAGES if "_build" not in page.parts and "generated" not in page.parts]
    places = [
        f"{page.relative_to(ROOT)}:{line}" for page in pages for line in found_in(prose(page), word)
    ]
    assert not places, f"say {INSTEAD[word]!r}"


def test_what_is_searched():
    text = "A `datum`, $datum$ and\n```python\ndatum = 1\n```\na [datum](datum.md)"
    page = CODE.sub(lambda found: "\n" * found[0].count("\n"), text)
    assert found_in(page, "datum") == [5]
