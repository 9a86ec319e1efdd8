"""Every example, and every page that CI does not run by itself, runs with a few draws."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
DOCS = ROOT / "docs"
PAGES = [
    page
    for folder in ("how-to", "gallery")
    for page in sorted((DOCS / folder).glob("[!i]*.md"))
    if f"{folder}/{page.stem}" not in (ROOT / ".ci" / "run").read_text().split()
]


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_example_runs(script, tmp_path):
    environment = os.environ | {"MPLBACKEND": "Agg"}
    command = [sys.executable, script, "--smoke", "--output", tmp_path]
    subprocess.run(command, check=True, env=environment)
    assert list(tmp_path.glob("*.png"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_runs(page):
    command = [sys.executable, DOCS / "run_pages.py", page.relative_to(DOCS).with_suffix("")]
    subprocess.run(command, check=True)
