"""What the toys are compared with."""

import pytest

import pymc_dynsys as pds
from tests.likelihoods import everywhere


@pytest.fixture(scope="session")
def kalman_results():
    """All results of the Kalman filter on the common model."""
    return everywhere.go_through(everywhere.build(pds.Kalman()))


@pytest.fixture(scope="module")
def results(model):
    """All results of the model of the module."""
    return everywhere.go_through(model)
