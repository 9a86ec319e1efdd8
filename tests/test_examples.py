"""Every example, and every page of the gallery, runs with a few draws."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
GALLERY = sorted((ROOT / "docs" / "gallery").glob("[!i]*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_example_runs(script, tmp_path):
    environment = os.environ | {"MPLBACKEND": "Agg"}
    command = [sys.executable, script, "--smoke", "--output", tmp_path]
    subprocess.run(command, check=True, env=environment)
    assert list(tmp_path.glob("*.png"))


@pytest.mark.slow
@pytest.mark.parametrize("page", GALLERY, ids=lambda page: page.stem)
def test_page_runs(page):
    command = [sys.executable, ROOT / "docs" / "run_pages.py", f"gallery/{page.stem}"]
    subprocess.run(command, check=True)
