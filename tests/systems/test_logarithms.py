"""``log(exp(a))`` is ``a``, wherever a law writes it, and all derivatives stay what they were."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

from pymc_dynsys.systems.densities import log_density
from pymc_dynsys.systems.logarithms import log_of_exp


def poisson(x, u=1.0):
    return log_density(dist.Poisson(u * jnp.exp(0.3 + x)), jnp.asarray(3.0))


FUNCTIONS = {
    "as it is": lambda x, u: jnp.log(jnp.exp(x)) * u,
    "a count": poisson,
    "another shape": lambda x, u: jnp.log(jnp.exp(x)[None, None].T).sum() + u,
    "product": lambda x, u: jnp.log(2.0 * u * jnp.exp(x) * jnp.exp(u * x)),
    "quotients": lambda x, u: jnp.log(u / jnp.exp(x)) + jnp.log(jnp.exp(x**2) / u),
    "powers": lambda x, u: jnp.log(jnp.exp(x) ** 3) + jnp.log(jnp.sqrt(jnp.square(jnp.exp(x)))),
    "choice": lambda x, u: jnp.log(jnp.where(u > 0, jnp.exp(u * x), 1.0)),
    "choice of another": lambda x, u: jnp.log(jnp.where(u > 0, jnp.exp(u * x), u)),
    "in a function": lambda x, u: jnp.log(jax.jit(lambda a: jnp.exp(a) * u)(x)),
    "beside others": lambda x, u: jnp.sin(jnp.exp(x)) * jnp.log(1.0 + jnp.exp(x)) - jnp.log(u),
    "a number of one precision": lambda x, u: jnp.log(jnp.exp(x).astype(float)),
    "derivatives of its own": lambda x, u: jnp.log(jnp.exp(x)) * jnp.logaddexp(x, u),
    "no exponential": lambda x, u: jnp.log(u + x**2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_derivatives_stay(name):
    function, simpler = FUNCTIONS[name], log_of_exp(FUNCTIONS[name])
    for _ in range(3):
        np.testing.assert_allclose(simpler(0.4, 1.7), function(0.4, 1.7), rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(
            jax.grad(simpler, 1)(0.4, 1.7), jax.grad(function, 1)(0.4, 1.7), rtol=1e-12, atol=1e-13
        )
        function, simpler = jax.grad(function), jax.grad(simpler)


@pytest.mark.parametrize("name", ["as it is", "a count", "another shape", "product", "choice"])
def test_no_logarithm_of_the_state_is_left(name):
    slope = jax.make_jaxpr(jax.grad(log_of_exp(FUNCTIONS[name])))(0.4, 1.7)
    assert "div" not in {eqn.primitive.name for eqn in slope.jaxpr.eqns}


def test_what_is_below_the_smallest_number_has_its_logarithm():
    assert float(log_of_exp(poisson)(-1000.0)) == pytest.approx(-2999.1 - np.log(6.0), abs=1e-10)
    assert float(jax.grad(log_of_exp(poisson))(-1000.0)) == 3.0
    assert float(poisson(-1000.0)) == -np.inf


def test_integers_are_not_reals():
    def rounded(x):
        return jnp.log(jnp.exp(x).astype(int).astype(float))

    assert float(log_of_exp(rounded)(1.0)) == pytest.approx(np.log(2.0))


def test_a_count_of_zero_at_a_rate_of_zero():
    def density(rate):
        return log_density(dist.Poisson(rate), jnp.zeros(()))

    assert float(density(0.0)) == 0.0
    assert float(jax.grad(density)(0.0)) == -1.0


def test_maps_and_derivatives_go_through():
    xs = jnp.linspace(-1.0, 1.0, 3)
    found = jax.vmap(jax.grad(log_of_exp(poisson)))(xs)
    np.testing.assert_allclose(found, 3.0 - jnp.exp(0.3 + xs), rtol=1e-13)
