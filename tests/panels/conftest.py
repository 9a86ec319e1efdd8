"""Every table is read as pandas and as polars."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import polars as pl
import pytest


@pytest.fixture(params=["pandas", "polars"])
def table(request: pytest.FixtureRequest) -> Callable[[Mapping[str, Any]], Any]:
    """Make a data frame of one kind or the other."""
    if request.param == "pandas":
        return lambda columns: pd.DataFrame(dict(columns))
    return lambda columns: pl.DataFrame(dict(columns), strict=False)
