"""Likelihoods to compare with."""

import numpy as np
import pytest

from tests.bad_inputs.models import HIGH, Y, build, terms


@pytest.fixture(scope="session")
def reference() -> dict[str, np.ndarray]:
    """Likelihoods of the plain model, computed once a process."""
    return {
        "terms": terms(build()),
        "missing": terms(build(observed=np.where(HIGH, np.nan, Y))),
    }
