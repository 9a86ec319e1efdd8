"""A look at the system at the model's initial point, before anything is compiled."""

from typing import Any


def probe(name: str, built: Any, model: Any) -> None:
    """Placeholder."""
