"""What the page on bad inputs says comes of each row does."""

import re
from pathlib import Path

import numpy as np
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "bad-inputs.md").read_text()
ROWS = re.findall(r"^\| `([^\n]+?)` \| ([^`\n]+?)(?::)? `([^\n]+)` \|$", PAGE, flags=re.MULTILINE)
ERRORS = {"ValueError": ValueError, "TypeError": TypeError}


@pytest.fixture(scope="module")
def names():
    """What the code at the top of the page defines."""
    names: dict = {}
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(code, names)
    return names


def log_likelihood(model):
    point = model.initial_point()
    return model.compile_logp(vars=[model["y"]], mode="FAST_COMPILE")(point)


def test_rows_are_read():
    executed = PAGE[: PAGE.index("## Runs that break off")]
    assert len(ROWS) == sum(line.startswith("| `") for line in executed.splitlines()) > 40


@pytest.mark.parametrize(("written", "what", "said"), ROWS)
def test_row(names, written, what, said):
    if what in ERRORS:
        with pytest.raises(ERRORS[what]) as caught:
            eval(written, names)
        assert said in str(caught.value)
    elif what == "a warning":
        with pytest.warns(UserWarning, match=re.escape(said)):
            eval(written, names)
    else:
        assert what == "the same as"
        found, expected = (log_likelihood(eval(code, names)) for code in (written, said))
        # A gap of 1e-12 brings noise of variance 1e-13, and of 1e3 what is left of 1e-217.
        np.testing.assert_allclose(found, expected, rtol=1e-10)
