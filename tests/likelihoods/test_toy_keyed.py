"""A likelihood whose noise is a key, and that has no gradient: asking for one raises everywhere."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from pymc.sampling.jax import get_jaxified_logp

from pymc_dynsys.discretization import Discretization, Exact
from pymc_dynsys.likelihoods.base import Likelihood
from tests.likelihoods import everywhere
from tests.likelihoods.test_toy_total import TotalRun

SD = 0.3


class KeyedRun(TotalRun):
    """The total with an error drawn from the key of the trajectory."""

    def terms(self):
        error = SD * jax.random.normal(self.problem.noise[0])
        return super().terms() + error


@dataclass(frozen=True, repr=False)
class Keyed(Likelihood):
    discretization: Discretization | None = None
    seed: int = 0

    default_discretization = Exact()
    gradient = False

    def draw_noise(self, system, batch, grid):
        n = int(np.prod(batch, dtype=int))
        keys = jax.random.split(jax.random.PRNGKey(self.seed), n)
        return keys.reshape(1, *batch, 2)

    def run(self, system, problem):
        return KeyedRun(self, system, problem)


@pytest.fixture(scope="module")
def model():
    return everywhere.build(Keyed())


def test_seeds_change_the_value_and_the_check_says_how_much(results, kalman_results):
    noise = [Keyed(seed=seed).draw_noise(None, (3,), None)[0] for seed in range(3)]
    errors = SD * jax.vmap(jax.vmap(jax.random.normal))(jnp.stack(noise))
    expected = np.broadcast_to(errors.std(0, ddof=1), results.check["seed_sd"].shape)
    np.testing.assert_allclose(results.check["seed_sd"], expected, rtol=1e-9)
    assert results.check.attrs["seeds"] == 3
    np.testing.assert_allclose(results.moments, kalman_results.moments, rtol=1e-9)
    np.testing.assert_allclose(results.states, kalman_results.states, rtol=1e-9)
    np.testing.assert_allclose(results.innovations, kalman_results.innovations, rtol=1e-9)


def test_blocks_change_nothing(model, results, monkeypatch):
    everywhere.assert_blocks_change_nothing(model, results, monkeypatch)


def test_a_gradient_raises_in_pytensor(model):
    with pytest.raises(TypeError, match=r"Keyed\(.*\) has no gradient; sample with steps"):
        model.compile_dlogp()


def test_a_gradient_raises_in_jax(model):
    logp = get_jaxified_logp(model, negative_logp=False)
    point = [np.zeros(3)]
    assert np.isfinite(logp(point))
    with pytest.raises(TypeError, match=r"Keyed\(.*\) has no gradient; sample with steps"):
        jax.grad(logp)(point)


def test_it_is_sampled_without_a_gradient(model):
    with model:
        idata = pm.sample(
            20,
            tune=20,
            chains=1,
            step=pm.Metropolis(),
            progressbar=False,
            random_seed=1,
            compute_convergence_checks=False,
        )
    assert np.isfinite(idata.posterior["mu"]).all()
