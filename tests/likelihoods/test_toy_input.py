"""An input that is a PyMC variable: looked up in the program, with a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest

import pymc_dynsys as pds
from pymc_dynsys.discretization import Design, InputKind, Operands, Signal
from pymc_dynsys.likelihoods.gradient import log_likelihood
from pymc_dynsys.likelihoods.program import Program
from pymc_dynsys.systems import bind_system
from tests.likelihoods import everywhere


def random_input():
    return pm.Normal("u", 0.0, 0.5, dims="time")


@pytest.fixture(scope="module")
def model():
    return everywhere.build(pds.Kalman(), random_input)


@pytest.mark.parametrize(
    "likelihood",
    [
        pds.Kalman(),
        pytest.param(pds.EKF(), marks=pytest.mark.slow),
        pds.EnKF(6, seed=1),
        pds.ODESolve(),
    ],
    ids=repr,
)
def test_gradients_reach_it(likelihood):
    model = everywhere.build(likelihood, random_input)
    everywhere.assert_gradient_is_that_of_differences(model)


def test_results_are_those_of_the_same_numbers_as_data(model):
    idata = everywhere.draws(model, 2)
    u = idata.posterior["u"].isel(chain=0)
    moments = pds.sample_states(idata, model=model, moments=True)
    for k in range(2):
        fixed = everywhere.build(pds.Kalman(), u.isel(draw=k).drop_vars(["chain", "draw"]))
        one = idata.isel(draw=[k])
        expected = pds.sample_states(one, model=fixed, moments=True).posterior
        found = moments.posterior.isel(draw=[k])
        np.testing.assert_allclose(found["mean"], expected["mean"], rtol=1e-10)


def test_it_goes_everywhere(model, results, monkeypatch):
    assert np.isfinite(results.forecast).all()
    everywhere.assert_blocks_change_nothing(model, results, monkeypatch)


def test_it_is_sampled(model):
    idata = everywhere.sample(model)
    assert idata.posterior["u"].sizes["time"] == 4
    assert idata.posterior["u"].std() > 0


def test_data_have_no_gradient_and_say_so():
    """Neither inputs nor times nor doses are silently taken for constants."""
    bound = bind_system(everywhere.NOISY, {"mu": ()}, {"u": ()})
    y = np.array([0.1, 0.2, 0.4])
    operands = Operands(
        y,
        np.arange(3.0),
        np.asarray(np.nan),
        None,
        {"u": Signal(np.ones(3))},
        {"mu": np.asarray(0.1)},
    )
    program = Program(Design(bound, (InputKind("u"),)), pds.Kalman(pds.Exact()))

    def of_input(u):
        return log_likelihood(program, operands._replace(inputs={"u": Signal(u)}))

    def of_times(times):
        return log_likelihood(program, operands._replace(times=times))

    with pytest.raises(TypeError, match="inputs: 'u': the log-likelihood has no gradient"):
        jax.grad(of_input)(jnp.ones(3))
    with pytest.raises(TypeError, match="times: the log-likelihood has no gradient"):
        jax.grad(of_times)(jnp.arange(3.0))
