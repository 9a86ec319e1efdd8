"""What has no likelihood at the initial point is said with its cause; what is missing is not."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist
from scipy.integrate import solve_ivp

import pymc_dynsys as pds

NAN = np.nan
TIMES = np.arange(3.0)
RATE = 1.35


def grows(a, k):
    return 1 - k * a


def build(observation, y, likelihood=None, drift=grows):
    """Subject p misses its first datum, q has what is given."""
    options = {"drift": drift, "initial": 0.0, "observation": observation, "states": ("a",)}
    ode = likelihood is None
    system = pds.ODE(**options) if ode else pds.SDE(diffusion=lambda a: 0.01 * a, **options)
    with pm.Model(coords={"subject": ["p", "q"], "time": TIMES}) as model:
        pds.Trajectory(
            "y",
            system,
            params={"k": pm.LogNormal("k", 0.0, 1.0)},
            observed=np.stack([[NAN, 1.0, 0.9], y]),
            dims=("subject", "time"),
            likelihood=likelihood,
        )
    return model


def test_a_datum_that_cannot_be_is_named_with_its_cause():
    cause = r"at time 0 the datum 0 is predicted as 0 with a standard deviation of 0"
    with pytest.warns(UserWarning, match=rf"y: the likelihood of subject='q' is zero .*{cause}"):
        build(lambda a: dist.Normal(a, 0.2 * a), [0.0, 1.0, 0.9])


def test_a_datum_that_no_parameters_admit_is_an_error():
    with pytest.raises(ValueError, match=r"value 0 \(subject='q', time=0\).*LogNormal"):
        build(lambda a: dist.LogNormal(a, 0.2), [0.0, 1.0, 0.9])


def test_a_solver_out_of_steps_names_the_option():
    def stiff(a, k):
        return -1e5 * k * (a - jnp.cos(a))

    with pytest.warns(UserWarning, match=r"subject='p'.*up to time 2: .*max_steps cures and stiff"):
        build(lambda a: dist.Normal(a, 0.2), [0.0, 1.0, 0.9], drift=stiff)


def log(a):
    return dist.Normal(jnp.log(a), 0.3)


@pytest.mark.parametrize("likelihood", [None, pds.EKF(), pds.UKF(), pds.EnKF(20)], ids=repr)
def test_a_logarithm_of_zero_under_a_missing_datum_does_no_harm(likelihood):
    """Warnings are errors in tests: nothing is said of what is not there either."""
    model = build(log, [NAN, 0.8, 1.0], likelihood)
    logp, gradient = model.compile_logp(), model.compile_dlogp()
    at, h = np.log(RATE), 1e-5
    slope = (logp({"k_log__": at + h}) - logp({"k_log__": at - h})) / (2 * h)
    np.testing.assert_allclose(gradient({"k_log__": at}), [slope], rtol=1e-5)
    if likelihood is None:
        a = solve_ivp(lambda t, a: 1 - RATE * a, (0, 2), [0.0], t_eval=TIMES, rtol=1e-11).y[0]
        v = (np.array([[1.0, 0.9], [0.8, 1.0]]) - np.log(a[1:])) / 0.3
        expected = (-0.5 * v**2 - np.log(0.3) - 0.5 * np.log(2 * np.pi)).sum()
        prior = -0.5 * at**2 - 0.5 * np.log(2 * np.pi)
        assert logp({"k_log__": at}) == pytest.approx(expected + prior, rel=1e-7)


def test_a_logarithm_of_zero_under_a_datum_is_said():
    with pytest.warns(UserWarning) as caught:
        build(log, [0.5, 0.8, 1.0])
    assert any("mean of observation() is -inf" in str(w.message) for w in caught)
