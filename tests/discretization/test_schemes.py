"""Euler-Maruyama, local linearization and moment equations: one step, and orders of convergence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist
from scipy.integrate import solve_ivp

import pymc_dynsys as pds
from pymc_dynsys.discretization.exact import exact_transition
from pymc_dynsys.systems import bind_system
from pymc_dynsys.systems.held import Held
from tests.helpers import as_arrays

A = np.array([[-0.4, 1.0], [-1.3, -0.6]])
LOADING = np.array([[0.3, 0.0, 0.1], [0.2, 0.5, 0.0]])
OFFSET = np.array([0.2, -0.1])
PARAMS = as_arrays({"mu": 1.3})
HELD = Held(PARAMS)


def bound(drift, diffusion, params=PARAMS, n=2):
    system = pds.SDE(
        drift=drift,
        diffusion=diffusion,
        initial=dist.Normal(jnp.zeros(n), 1.0).to_event(1),
        observation=lambda x: dist.Normal(x[0], 1.0),
    )
    return bind_system(system, {name: value.shape for name, value in params.items()})


@pytest.fixture(scope="module")
def linear():
    return bound(lambda x: jnp.asarray(A) @ x + OFFSET, LOADING, params={})


@pytest.fixture(scope="module")
def van_der_pol():
    return bound(
        lambda x, mu, t: (x[1], mu * (1 - x[0] ** 2) * x[1] - x[0] + jnp.sin(t)),
        lambda x: (0.2, 0.1 * x[0]),
    )


def van_der_pol_moments(x, t, h, mu=1.3):
    """Moment equations of the linearized system, integrated by scipy."""

    def rates(s, z):
        m, F, Q = z[:2], z[2:6].reshape(2, 2), z[6:].reshape(2, 2)
        f = [m[1], mu * (1 - m[0] ** 2) * m[1] - m[0] + np.sin(s)]
        J = np.array([[0.0, 1.0], [-2 * mu * m[0] * m[1] - 1, mu * (1 - m[0] ** 2)]])
        S = np.diag([0.2**2, (0.1 * m[0]) ** 2])
        return np.concatenate([f, (J @ F).ravel(), (J @ Q + Q @ J.T + S).ravel()])

    start = np.concatenate([x, np.eye(2).ravel(), np.zeros(4)])
    z = solve_ivp(rates, (t, t + h), start, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    return z[:2], z[2:6].reshape(2, 2), z[6:].reshape(2, 2)


def compose(scheme, system, x, t, h, steps, held=HELD):
    """Mean, Jacobian and noise after several steps of a scheme."""

    def one(carry, k):
        m, F, Q = carry
        step = scheme.step(system, m, t + k * h / steps, h / steps, held)
        return (step.mean, step.F @ F, step.F @ Q @ step.F.T + step.Q), None

    start = (jnp.asarray(x), jnp.eye(2), jnp.zeros((2, 2)))
    return jax.jit(lambda: jax.lax.scan(one, start, jnp.arange(steps))[0])()


X, T = np.array([1.1, -0.4]), 0.3


def test_euler_step_is_the_textbook_formula(van_der_pol):
    mean, F, Q = pds.EulerMaruyama().step(van_der_pol, jnp.asarray(X), T, 0.1, HELD)
    f = np.array([X[1], 1.3 * (1 - X[0] ** 2) * X[1] - X[0] + np.sin(T)])
    J = np.array([[0.0, 1.0], [-2.6 * X[0] * X[1] - 1, 1.3 * (1 - X[0] ** 2)]])
    np.testing.assert_allclose(mean, X + 0.1 * f, rtol=1e-12)
    np.testing.assert_allclose(F, np.eye(2) + 0.1 * J, rtol=1e-12)
    np.testing.assert_allclose(Q, 0.1 * np.diag([0.04, (0.1 * X[0]) ** 2]), rtol=1e-12)


def test_euler_propagates_with_the_loading_itself(linear):
    scheme, noise = pds.EulerMaruyama(), np.array([0.5, -1.0, 2.0])
    assert scheme.noise_size(linear) == 3
    x = scheme.propagate(linear, jnp.asarray(X), T, 0.04, Held({}), jnp.asarray(noise))
    expected = X + 0.04 * (A @ X + OFFSET) + 0.2 * LOADING @ noise
    np.testing.assert_allclose(x, expected, rtol=1e-12)


def test_diagonal_noise_has_one_normal_a_state(van_der_pol):
    scheme, noise = pds.EulerMaruyama(), np.array([0.5, -1.0])
    assert scheme.noise_size(van_der_pol) == 2
    x = scheme.propagate(van_der_pol, jnp.asarray(X), T, 0.04, HELD, jnp.asarray(noise))
    mean = scheme.step(van_der_pol, jnp.asarray(X), T, 0.04, HELD).mean
    np.testing.assert_allclose(x - mean, 0.2 * np.array([0.2, 0.1 * X[0]]) * noise, rtol=1e-10)


@pytest.mark.parametrize("scheme", [pds.EulerMaruyama(), pds.LocalLinearization(), pds.Exact()])
def test_the_linear_step_is_the_step_of_a_linear_system(linear, scheme):
    F, G, Q = scheme.linear_step(jnp.asarray(A), jnp.asarray(LOADING @ LOADING.T), 0.3)
    step = scheme.step(linear, jnp.asarray(X), T, 0.3, Held({}))
    np.testing.assert_allclose(step.mean, F @ X + G @ OFFSET, rtol=1e-12)
    np.testing.assert_allclose(step.F, F, rtol=1e-12)
    np.testing.assert_allclose(step.Q, Q, rtol=1e-12)


def test_moment_equations_of_a_linear_system_give_its_exact_transition(linear):
    F, G, Q = exact_transition(jnp.asarray(A), jnp.asarray(LOADING @ LOADING.T), 1.7)
    step = pds.MomentODE(rtol=1e-12, atol=1e-13).step(linear, jnp.asarray(X), T, 1.7, Held({}))
    np.testing.assert_allclose(step.mean, F @ X + G @ OFFSET, rtol=1e-10)
    np.testing.assert_allclose(step.F, F, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(step.Q, Q, rtol=1e-10)


@pytest.mark.parametrize("scheme", [pds.EulerMaruyama(), pds.LocalLinearization(), pds.MomentODE()])
def test_no_gap_changes_nothing(van_der_pol, scheme):
    step = scheme.step(van_der_pol, jnp.asarray(X), T, 0.0, HELD)
    np.testing.assert_array_equal(step.mean, X)
    np.testing.assert_array_equal(step.F, np.eye(2))
    np.testing.assert_array_equal(step.Q, np.zeros((2, 2)))


def test_moment_equations_agree_with_scipy(van_der_pol):
    step = pds.MomentODE(rtol=1e-10, atol=1e-12).step(van_der_pol, jnp.asarray(X), T, 1.5, HELD)
    for got, expected in zip(step, van_der_pol_moments(X, T, 1.5), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-9)


def test_moment_equations_that_need_too_many_steps_are_not_a_number(van_der_pol):
    step = pds.MomentODE(rtol=1e-10, max_steps=3).step(van_der_pol, jnp.asarray(X), T, 5.0, HELD)
    assert all(np.isnan(part).all() for part in step)


@pytest.mark.parametrize(
    ("scheme", "order_of_mean", "order_of_noise"),
    [(pds.EulerMaruyama(), 1, 1), (pds.LocalLinearization(), 2, 1)],
)
def test_orders_of_convergence_to_the_moment_equations(
    van_der_pol, scheme, order_of_mean, order_of_noise
):
    """The noise of a diffusion that depends on the state is taken at the beginning of a step."""
    mean, _, Q = van_der_pol_moments(X, T, 1.0)
    errors = []
    for steps in (32, 64, 128):
        got_mean, _, got_Q = compose(scheme, van_der_pol, X, T, 1.0, steps)
        errors.append((np.abs(got_mean - mean).max(), np.abs(got_Q - Q).max()))
    orders = np.log2(np.array(errors)[:-1] / np.array(errors)[1:])
    np.testing.assert_allclose(orders[:, 0], order_of_mean, atol=0.15)
    np.testing.assert_allclose(orders[:, 1], order_of_noise, atol=0.15)


def test_gradients_of_a_step_of_no_length_are_finite(van_der_pol):
    def end(h):
        return (
            pds.EulerMaruyama()
            .propagate(van_der_pol, jnp.asarray(X), T, h, HELD, jnp.ones(2))
            .sum()
        )

    assert np.isfinite(jax.grad(end)(0.0))


def test_propagate_of_the_gaussian_schemes_adds_noise_of_the_right_covariance(linear):
    scheme = pds.LocalLinearization()
    assert scheme.noise_size(linear) == 2
    step = scheme.step(linear, jnp.asarray(X), T, 0.5, Held({}))
    moved = jax.vmap(lambda z: scheme.propagate(linear, jnp.asarray(X), T, 0.5, Held({}), z))(
        jnp.eye(2)
    )
    factor = (moved - step.mean[None, :]).T
    np.testing.assert_allclose(factor @ factor.T, step.Q, rtol=1e-10)


@pytest.mark.parametrize("name", ["rtol", "atol", "max_steps"])
def test_moment_equations_refuse_tolerances_that_are_not_positive(name):
    with pytest.raises(ValueError, match=f"{name}: expected a positive number"):
        pds.MomentODE(**{name: -1 if name == "max_steps" else -1.0})
