"""Steady states of nonlinear ODEs by Newton's method, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.discretization.steady_state import Repeated
from pymc_dynsys.likelihoods.steady_state import Cycle, nonlinear_periodic_state
from pymc_dynsys.systems.bind import bind_system
from pymc_dynsys.systems.held import Held

KM, INTERVAL = 25.0, 12.0


def saturable():
    system = pds.ODE(
        states=("A",),
        drift=lambda A, vmax, km: -vmax * A / (km + A),
        initial=(0.0,),
        observation=lambda A: dist.Normal(A, 1.0),
    )
    return bind_system(system, {"vmax": (), "km": ()}, {})


@pytest.fixture(scope="module")
def steady():
    """Amount before a dose of 60, and its slope, by the capacity."""
    # A comparison to 1e-7 needs a solver that is well below it.
    system, solver = saturable(), pds.ODESolve(rtol=1e-10, atol=1e-10)

    def amount(vmax):
        dose = jnp.array([60.0])
        given = Repeated(dose, jnp.asarray(INTERVAL), None)
        cycle = Cycle(system, solver, Held({"vmax": vmax, "km": jnp.asarray(KM)}), given, dose)
        return nonlinear_periodic_state(cycle, jnp.zeros(1))[0]

    return jax.jit(jax.value_and_grad(amount))


@pytest.mark.parametrize("load", [0.45, 0.83, 0.98])
def test_saturable_elimination_near_its_capacity(steady, load):
    """Just before a dose D the amount is D / (exp((vmax II - D) / km) - 1)."""
    vmax = 60.0 / (load * INTERVAL)
    expected, slope = jax.value_and_grad(
        lambda vmax: 60.0 / jnp.expm1((vmax * INTERVAL - 60.0) / KM)
    )(vmax)
    found = steady(vmax)
    np.testing.assert_allclose(found[0], expected, rtol=1e-7)
    np.testing.assert_allclose(found[1], slope, rtol=1e-6)


@pytest.mark.parametrize("load", [1.001, 1.1, 3.0])
def test_doses_above_capacity_have_no_steady_state(steady, load):
    assert np.isnan(steady(60.0 / (load * INTERVAL))[0])
