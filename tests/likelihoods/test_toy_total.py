"""A likelihood that has a total and no factor for each visit: the rest is found by prefix runs."""

from dataclasses import dataclass

import numpy as np
import pytest

import pymc_dynsys as pds
from pymc_dynsys.discretization import Discretization, Exact
from pymc_dynsys.likelihoods.base import Likelihood, Run
from tests.likelihoods import everywhere


class TotalRun(Run):
    """Knows the sum of the filter's terms, and its states."""

    @property
    def filter(self):
        return pds.Kalman(self.likelihood.discretization).run(self.system, self.problem)

    def terms(self):
        return self.filter.terms().sum()[None]

    def moments(self, given):
        return self.filter.moments(given)

    def draw(self, given, key):
        return self.filter.draw(given, key)


@dataclass(frozen=True, repr=False)
class Total(Likelihood):
    discretization: Discretization | None = None

    default_discretization = Exact()

    def run(self, system, problem):
        return TotalRun(self, system, problem)


@pytest.fixture(scope="module")
def model():
    return everywhere.build(Total())


def test_all_results_are_those_of_the_kalman_filter(model, results, kalman_results, monkeypatch):
    everywhere.same(results, kalman_results, 1e-8)
    assert "no step, seed or alternative" in results.check.attrs["advice"][0]
    everywhere.assert_gradient_is_that_of_differences(model)
    everywhere.assert_blocks_change_nothing(model, results, monkeypatch)


@pytest.mark.slow
def test_it_is_sampled(model):
    idata = everywhere.sample(model)
    assert np.isfinite(idata.posterior["mu"]).all()
    assert idata.posterior["mu"].std() > 0
