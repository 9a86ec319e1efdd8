"""Which of the annotations are executed in tests."""

from collections.abc import Callable
from typing import Any

from beartype import beartype


def check_functions(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check functions, but not the making of options: these tell the user themselves."""
    return function if function.__name__ == "__init__" else beartype(function)
