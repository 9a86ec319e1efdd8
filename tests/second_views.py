"""Tests that a run of minutes leaves out, mostly since a faster one asserts the same.

``tests/second_views.toml`` lists them with the reasons. They are ``slow``, and run with
``pytest -m slow``.
"""

import tomllib
from pathlib import Path

import pytest

VIEWS = tomllib.loads((Path(__file__).parent / "second_views.toml").read_text())["view"]
REASONS = {test: view["why"] for view in VIEWS for test in view["tests"]}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is listed; a name that its file no longer has is an error."""
    found, files = set(), set()
    for item in items:
        file, _, name = item.nodeid.partition("::")
        files.add(file)
        for test in (item.nodeid, f"{file}::{name.partition('[')[0]}"):
            if test in REASONS:
                found.add(test)
                item.add_marker(pytest.mark.slow)
    # Where single tests were asked for, the others of their files are not there.
    if any("::" in argument for argument in config.args):
        return
    asked = {test for test in REASONS if test.partition("::")[0] in files}
    gone = sorted(asked - found)
    if gone:
        raise pytest.UsageError(f"tests/second_views.toml names tests that are gone: {gone}")
