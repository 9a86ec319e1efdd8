"""Test configuration: types are checked and shapes are strict while numerical code runs."""

from collections.abc import Iterator

import jax
import pytest
from jaxtyping import install_import_hook

from tests import typechecking

CHECKED = ("pymc_dynsys.linalg", "pymc_dynsys.discretization", "pymc_dynsys.likelihoods")

with install_import_hook(CHECKED, f"{typechecking.__name__}.check_functions"):
    import pymc_dynsys  # noqa: F401


@pytest.fixture(autouse=True)
def strict_shapes() -> Iterator[None]:
    """Arrays of different rank are never broadcast in silence, whoever traces them."""
    with jax.numpy_rank_promotion("raise"):
        yield
