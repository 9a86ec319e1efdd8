"""What can be told of a value that a user gives as parameter: its shape, and itself if known.

Both functions take arrays, numbers and DataArrays. Other kinds of values are taught to them with
``register``, so that this package need not know them: ``bridge/variables.py`` does it for the
variables of PyTensor.
"""

from functools import singledispatch
from typing import Any

import numpy as np


@singledispatch
def shape_of(value: Any) -> tuple[int, ...]:
    """Shape of a value, with every length known."""
    return np.shape(getattr(value, "values", value))


@singledispatch
def known_value(value: Any) -> np.ndarray | None:
    """The value as an array of numbers; None if it is known only when the model runs."""
    return np.asarray(getattr(value, "values", value), float)
