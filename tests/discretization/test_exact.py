"""The exact transition against Van Loan's matrix exponential, closed forms and limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist
from scipy.linalg import expm, solve_continuous_lyapunov

import pymc_dynsys as pds
from pymc_dynsys.discretization.exact import (
    DOUBLINGS,
    exact_ramp,
    exact_transition,
    noiseless_transition,
    relative_expm1,
    relative_ramp,
)
from pymc_dynsys.systems import bind_system
from tests.dense import van_loan


def random_matrix(n: int, shift: float) -> np.ndarray:
    rng = np.random.default_rng(n)
    return rng.normal(size=(n, n)) + shift * np.eye(n)


def singular_matrix(n: int) -> np.ndarray:
    A = random_matrix(n, -1.0)
    A[-1] = A[0]
    return A


def loading(n: int, noises: int) -> np.ndarray:
    return np.random.default_rng(10 * n + noises).normal(size=(n, noises))


MATRICES = {
    "one": np.array([[-0.7]]),
    "one, zero": np.array([[0.0]]),
    "one, growing": np.array([[0.4]]),
    "stable": random_matrix(3, -3.0),
    "unstable": random_matrix(3, 0.5),
    "singular": singular_matrix(3),
    "nilpotent": np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]),
    "double root": np.array([[0.0, 1.0], [-1.44, -2.4]]),
    "oscillator": np.array([[0.0, 1.0], [-39.0, -0.5]]),
    "zero": np.zeros((2, 2)),
}
GAPS = np.array([0.0, 1e-9, 1e-3, 0.2, 1.0, 2.5])
STABLE = ("one", "stable", "double root", "oscillator")

transitions = jax.jit(jax.vmap(exact_transition, in_axes=(None, None, 0)))


flows = jax.jit(jax.vmap(noiseless_transition, in_axes=(None, 0)))


@pytest.mark.parametrize("name", ["one", "unstable", "double root"])
def test_without_noise_mean_and_slopes_are_the_same(name):
    """Of the same sums, so equal but for the order in which a compiler takes them."""
    A, gaps = jnp.asarray(MATRICES[name]), jnp.asarray(GAPS)
    S, w = jnp.eye(len(A)), jnp.asarray(random_matrix(len(A), 0.0))

    def weighed(of):
        return lambda A: sum((w[None] * M).sum() for M in of(A)[:2])

    def noisy(A):
        return transitions(A, S, gaps)

    def quiet(A):
        return flows(A, gaps)

    for found, expected in zip(quiet(A)[:2], noisy(A)[:2], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)
    assert not quiet(A).Q.any()
    # A gap beyond the longest: as good as infinite if all decays, else not a number.
    longest = jnp.full(len(GAPS), 1e12)
    for found, expected in zip(flows(A, longest)[:2], transitions(A, S, longest)[:2], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    slope, expected = (jax.grad(weighed(of))(A) for of in (quiet, noisy))
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(slope, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MATRICES)
def test_agrees_with_van_loan(name):
    A = MATRICES[name]
    L = loading(len(A), 1)
    F, G, Q = transitions(jnp.asarray(A), jnp.asarray(L @ L.T), jnp.asarray(GAPS))
    for k, h in enumerate(GAPS):
        for got, expected in zip((F[k], G[k], Q[k]), van_loan(A, L @ L.T, h), strict=True):
            np.testing.assert_allclose(
                got, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max()
            )


ramps = jax.jit(jax.vmap(exact_ramp, in_axes=(None, 0)))


@pytest.mark.parametrize("name", MATRICES)
def test_a_ramp_is_one_more_column_of_the_exponential(name):
    """Drift s - h/2, s after the beginning: input -h/2 and slope 1 in further states."""
    A, n = MATRICES[name], len(MATRICES[name])
    K = ramps(jnp.asarray(A), jnp.asarray(GAPS))
    for k, h in enumerate(GAPS):
        M = np.zeros((3 * n, 3 * n))
        M[:n, :n], M[:n, n : 2 * n], M[n : 2 * n, 2 * n :] = A, np.eye(n), np.eye(n)
        E = expm(M * h)
        expected = E[:n, 2 * n :] - h / 2 * E[:n, n : 2 * n]
        # Entries far below the largest one carry its rounding, here and in the referee.
        scale = h * np.abs(E[:n, n : 2 * n]).max()
        np.testing.assert_allclose(K[k], expected, rtol=0, atol=1e-12 * scale)


def test_a_ramp_over_a_gap_in_which_all_else_has_decayed():
    """Far out the state follows the line with a lag: -A^-1 (c + b s) - A^-2 b."""
    A = np.array([[-2.0, 0.5], [0.0, -3.0]])
    h = 1e9
    expected = -0.5 * h * np.linalg.inv(A) - np.linalg.inv(A @ A)
    np.testing.assert_allclose(exact_ramp(jnp.asarray(A), h), expected, rtol=1e-14)


@pytest.mark.parametrize("a", [-40.0, -0.51, -0.49, -1e-8, 0.0, 1e-3, 0.5, 3.0])
def test_the_ramp_of_one_state_and_its_slope(a):
    """Quadrature of (1/2 - r) exp(a r) over [0, 1], and of its derivative in a."""
    r, w = np.polynomial.legendre.leggauss(60)
    r, w = 0.5 + r / 2, w / 2
    value, slope = jax.value_and_grad(relative_ramp)(a)
    assert value == pytest.approx((w * (0.5 - r) * np.exp(a * r)).sum(), rel=1e-11, abs=1e-16)
    assert slope == pytest.approx((w * r * (0.5 - r) * np.exp(a * r)).sum(), rel=1e-9)


def test_the_ramp_of_euler_steps_is_that_of_a_loop():
    A, h, n = MATRICES["stable"], 0.3, 4
    x = np.zeros((3, 3))
    for i in range(n):
        x = x + h * (A @ x + np.eye(3) * ((i + 0.5) * h - n * h / 2))
    found = pds.EulerMaruyama(dt=h).ramp(jnp.asarray(A), n * h, n, 6)
    # Entries that are zero in exact arithmetic are sums of rounded terms of size one.
    np.testing.assert_allclose(found, x, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", MATRICES)
def test_no_gap_changes_nothing(name):
    A = jnp.asarray(MATRICES[name])
    F, G, Q = transitions(A, jnp.eye(len(A)), jnp.zeros(1))
    np.testing.assert_array_equal(F[0], np.eye(len(A)))
    np.testing.assert_array_equal(G[0], 0.0)
    np.testing.assert_array_equal(Q[0], 0.0)


@pytest.mark.parametrize("name", MATRICES)
def test_semigroup(name):
    A = jnp.asarray(MATRICES[name])
    S = jnp.eye(len(A))
    F, G, Q = transitions(A, S, jnp.array([0.3, 1.1, 1.4]))
    for got, expected in (
        (F[2], F[1] @ F[0]),
        (G[2], F[1] @ G[0] + G[1]),
        (Q[2], F[1] @ Q[0] @ F[1].T + Q[1]),
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("name", STABLE)
@pytest.mark.parametrize("gap", [1e4, 1e6, 1e12])
def test_huge_gaps_reach_the_stationary_law(name, gap):
    A = MATRICES[name]
    L = loading(len(A), 1)
    F, G, Q = transitions(jnp.asarray(A), jnp.asarray(L @ L.T), jnp.array([gap]))
    stationary = solve_continuous_lyapunov(A, -L @ L.T)
    np.testing.assert_allclose(F[0], 0.0, atol=1e-12)
    np.testing.assert_allclose(G[0], -np.linalg.inv(A), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(Q[0], stationary, rtol=1e-9, atol=1e-10 * np.abs(stationary).max())


@pytest.mark.parametrize("h", [1e-8, 1e-2, 1.0, 1e3, 1e6])
def test_integrated_brownian_motion_in_closed_form(h):
    A = jnp.array([[0.0, 1.0], [0.0, 0.0]])
    F, _, Q = exact_transition(A, jnp.diag(jnp.array([0.0, 0.5])), h)
    np.testing.assert_allclose(F, [[1.0, h], [0.0, 1.0]], rtol=1e-10)
    np.testing.assert_allclose(Q, 0.5 * np.array([[h**3 / 3, h**2 / 2], [h**2 / 2, h]]), rtol=1e-10)


@pytest.mark.parametrize("h", [0.3, 10.0, 1e3])
def test_rotation_in_closed_form(h):
    F, G, Q = exact_transition(
        jnp.array([[0.0, 1.0], [-1.0, 0.0]]), jnp.diag(jnp.array([0.0, 1.0])), h
    )
    s, c = np.sin(h), np.cos(h)
    np.testing.assert_allclose(F, [[c, s], [-s, c]], atol=1e-10)
    np.testing.assert_allclose(G, [[s, 1 - c], [c - 1, s]], atol=1e-10)
    expected = np.array([[h - s * c, s**2], [s**2, h + s * c]]) / 2
    np.testing.assert_allclose(Q, expected, rtol=1e-10, atol=1e-10)


def test_rates_nine_orders_apart():
    rates = np.array([1e-5, 1e4])
    F, G, Q = exact_transition(jnp.diag(jnp.asarray(-rates)), jnp.ones((2, 2)), 100.0)
    np.testing.assert_allclose(np.diag(F), np.exp(-100 * rates), rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(np.diag(G), -np.expm1(-100 * rates) / rates, rtol=1e-10)
    sums = rates[:, None] + rates[None, :]
    np.testing.assert_allclose(Q, -np.expm1(-100 * sums) / sums, rtol=1e-10)


def test_noise_covariance_is_semi_definite_over_tiny_and_huge_gaps():
    A, L = random_matrix(3, -3.0), loading(3, 1)
    gaps = np.logspace(-8, 6, 29)
    _, _, Q = transitions(jnp.asarray(A), jnp.asarray(L @ L.T), jnp.asarray(gaps))
    smallest = np.linalg.eigvalsh(Q)[:, 0]
    assert np.all(smallest >= -1e-15 * np.abs(Q).max((1, 2)))


def test_gaps_too_long_for_undecayed_dynamics_are_not_a_number():
    A = jnp.array([[0.0, 1.0], [0.0, 0.0]])
    longest = 2.0 ** (DOUBLINGS - 1)
    assert np.isfinite(exact_transition(A, jnp.eye(2), longest).Q).all()
    assert np.isnan(exact_transition(A, jnp.eye(2), 4 * longest).Q).all()


@jax.jit
def score(A, S, h, weights):
    F, G, Q = exact_transition(A, S, h)
    return (F * weights[0] + G * weights[1] + Q * weights[2]).sum()


slopes = jax.jit(jax.grad(score, argnums=(0, 1, 2)))


@pytest.mark.parametrize(
    "name", ["one", "one, zero", "stable", "unstable", "singular", "nilpotent", "double root"]
)
def test_gradients_agree_with_differences(name):
    A = MATRICES[name]
    n = len(A)
    rng = np.random.default_rng(1)
    weights = jnp.asarray(rng.normal(size=(3, n, n)))
    along_A, along_S = rng.normal(size=(2, n, n))
    along_S = (along_S + along_S.T) / 2  # covariances stay symmetric
    S = np.eye(n) + 0.3
    for h in (1e-3, 0.7, 2.0):
        of_A, of_S, of_h = slopes(jnp.asarray(A), jnp.asarray(S), h, weights)
        slope = (of_A * along_A).sum() + (of_S * along_S).sum() + of_h * h
        e = 1e-3
        below_2, below, above, above_2 = (
            score(A + k * e * along_A, S + k * e * along_S, h * (1 + k * e), weights)
            for k in (-2, -1, 1, 2)
        )
        difference = (8 * (above - below) - (above_2 - below_2)) / (12 * e)
        np.testing.assert_allclose(slope, difference, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", STABLE)
@pytest.mark.parametrize("h", [0.0, 1e6, 1e12])
def test_gradients_are_right_at_the_ends(name, h):
    """No gap: dF/dA = 0, dQ/dS = 0. A huge one: nothing depends on the gap, G = -inv(A)."""
    A = jnp.asarray(MATRICES[name])
    n = len(A)
    weights = jnp.asarray(np.random.default_rng(2).normal(size=(3, n, n)))
    of_A, of_S, of_h = slopes(A, jnp.eye(n), h, weights)
    assert np.isfinite(of_A).all() and np.isfinite(of_S).all()
    if h == 0.0:
        np.testing.assert_array_equal(of_A, 0.0)
        np.testing.assert_array_equal(of_S, 0.0)
        expected = (np.asarray(A) * weights[0] + np.eye(n) * (weights[1] + weights[2])).sum()
        np.testing.assert_allclose(of_h, expected, rtol=1e-10)
    else:
        np.testing.assert_allclose(of_h, 0.0, atol=1e-10)
        inverse = np.linalg.inv(A)
        adjoint = solve_continuous_lyapunov(np.asarray(A).T, -(weights[2] + weights[2].T) / 2)
        symmetric = (of_S + of_S.T) / 2
        np.testing.assert_allclose(symmetric, adjoint, rtol=1e-8, atol=1e-9)
        Q = solve_continuous_lyapunov(np.asarray(A), -np.eye(n))
        expected = inverse.T @ weights[1] @ inverse.T + 2 * adjoint @ Q
        np.testing.assert_allclose(of_A, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())


def test_relative_expm1_is_smooth_through_zero():
    z = np.concatenate([-np.logspace(-12, 1, 30), [0.0], np.logspace(-12, 1, 30), [1e-2, -1e-2]])
    nonzero = np.where(z == 0, 1.0, z)
    expected = np.where(z == 0, 1.0, np.expm1(nonzero) / nonzero)
    np.testing.assert_allclose(relative_expm1(jnp.asarray(z)), expected, rtol=1e-13)
    slope = jax.vmap(jax.grad(relative_expm1))(jnp.asarray(z))
    far = np.abs(z) > 0.5
    np.testing.assert_allclose(slope[far], ((z - 1) * np.exp(z) + 1)[far] / z[far] ** 2, rtol=1e-12)
    near = np.abs(z) < 1e-3
    np.testing.assert_allclose(
        slope[near], (1 / 2 + z / 3 + z**2 / 8 + z**3 / 30)[near], rtol=1e-12
    )


def nonlinear(**changes):
    functions = {
        "drift": lambda v: -v,
        "diffusion": 0.1,
        "initial": dist.Normal(0.0, 1.0),
        "observation": lambda v: dist.Normal(v, 1.0),
    }
    return bind_system(pds.SDE(states="v", **{**functions, **changes}), {})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"drift": lambda v: -(v**3)}, "drift is not affine"),
        ({"drift": lambda v, t: -v * t}, "drift depends on time"),
        ({"diffusion": lambda v: 0.1 * v}, "diffusion depends on the state"),
        ({"diffusion": lambda t: 0.1 * t}, "diffusion depends on the state or on time"),
    ],
)
def test_refuses_dynamics_without_an_exact_transition(changes, reason):
    with pytest.raises(ValueError, match=reason):
        pds.Exact().check(nonlinear(**changes))


def test_accepts_linear_dynamics_seen_nonlinearly():
    pds.Exact().check(nonlinear(observation=lambda v: dist.Normal(v**2, 1.0)))
    assert pds.Exact() == pds.Exact()
