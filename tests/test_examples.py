"""Every example runs from the command line, with a few draws."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_example_runs(script, tmp_path):
    environment = os.environ | {"MPLBACKEND": "Agg"}
    command = [sys.executable, script, "--smoke", "--output", tmp_path]
    subprocess.run(command, check=True, env=environment)
    assert list(tmp_path.glob("*.png"))
