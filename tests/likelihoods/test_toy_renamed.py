"""A new likelihood is a file and a line of the registry: a Kalman filter under another name."""

from dataclasses import dataclass

import numpy as np
import pytest

import pymc_dynsys as pds
from pymc_dynsys.discretization import Discretization, Exact
from pymc_dynsys.likelihoods import registry
from pymc_dynsys.likelihoods.gaussian import GaussianFilter
from tests.likelihoods import everywhere


@dataclass(frozen=True, repr=False)
class Renamed(GaussianFilter):
    """The Kalman filter, with a seed that nothing depends on."""

    discretization: Discretization | None = None
    seed: int = 0

    default_discretization = Exact()

    def linear_model(self, system, problem):
        return pds.Kalman(self.discretization).linear_model(system, problem)


@pytest.fixture(scope="module")
def model():
    return everywhere.build(Renamed())


def test_all_results_are_those_of_the_kalman_filter(results, kalman_results):
    everywhere.same(results, kalman_results)
    assert results.check.attrs["seeds"] == 3
    assert (results.check["seed_sd"] == 0).all()
    assert "the seed moves a trajectory's log-likelihood by up to 0 nats" in str(
        results.check.attrs["advice"]
    )


def test_it_is_sampled(model):
    idata = everywhere.sample(model)
    assert np.isfinite(idata.posterior["mu"]).all()
    assert idata.posterior["mu"].std() > 0


def test_gradient_and_blocks(model, results, monkeypatch):
    everywhere.assert_gradient_is_that_of_differences(model)
    everywhere.assert_blocks_change_nothing(model, results, monkeypatch)


def test_error_texts_know_it_once_it_is_registered(monkeypatch):
    monkeypatch.setattr(registry, "LIKELIHOODS", (*registry.LIKELIHOODS, Renamed))
    with pytest.raises(TypeError, match=r"ParticleFilter\(\) or Renamed\(\), got 'kalman'"):
        everywhere.build("kalman")
