"""Two states that feed each other: the closed form against series in 80 digits, and its slopes."""

from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pymc_dynsys.discretization.exact import noiseless_transition
from pymc_dynsys.discretization.two_way import is_two_way, two_way_transition

BOTH = ((1,), (0,))

CASES = {
    "compartments": [[-0.9, 0.3], [0.5, -0.3]],
    "nothing leaves": [[-0.5, 0.3], [0.5, -0.3]],
    "stiff": [[-40.0, 1e-5], [39.0, -1e-5]],
    "stiff the other way": [[-1e-5, 30.0], [1e-6, -40.0]],
    "oscillating": [[-0.1, 1.0], [-1.0, -0.1]],
    "not damped": [[0.0, 1.0], [-4.0, 0.0]],
    "eigenvalues coincide": [[-1.0, 1.0], [-0.25, -2.0]],
    "nearly, and real": [[-1.0, 1.0], [-0.25 + 1e-9, -2.0]],
    "nearly, and complex": [[-1.0, 1.0], [-0.25 - 1e-9, -2.0]],
    "growing": [[0.5, 0.2], [0.3, -0.1]],
    "slopes of other signs": [[-3.0, -1.0], [0.5, -0.2]],
    "only one way": [[0.0, 1.0], [0.0, 0.0]],
    "at rest": [[0.0, 0.0], [0.0, 0.0]],
}
# Of the cases, either side of each boundary between forms is on these.
GAPS = np.array([0.0, 1e-6, 0.2, 0.6, 1.4, 3.7, 20.0])


def series(A, along, h):
    """F and G and how they change with A and h, by blocks of a series in 80 digits, doubled."""
    with localcontext() as context:
        context.prec = 80
        exact = np.vectorize(lambda x: Decimal(float(x)), otypes=[object])
        identity, zero = exact(np.eye(4)), exact(np.zeros((2, 2)))
        A, along, h = exact(A), exact(along), Decimal(float(h))
        B, change = A * h, along * h + A
        M = np.block([[B, change], [zero, B]]) / 2**16
        power, F, phi = identity, 0 * identity, 0 * identity
        for k in range(1, 40):
            F, phi, power = F + power, phi + power / k, power @ M / k
        for _ in range(16):
            F, phi = F @ F, (phi + F @ phi) / 2
        parts = F[:2, :2], h * phi[:2, :2], F[:2, 2:], h * phi[:2, 2:] + phi[:2, :2]
        return [part.astype(float) for part in parts]


@jax.jit
def found(A, along, h):
    def transition(A, h):
        return two_way_transition(A, h)[:2]

    values, slopes = jax.jvp(transition, (A, h), (along, jnp.ones(())))
    return [*values, *slopes]


@pytest.mark.parametrize("name", CASES)
def test_transitions_and_their_gradients(name):
    A = np.array(CASES[name])
    along = np.random.default_rng(3).normal(size=(2, 2))
    for h in GAPS:
        # A slope of size a has a rounding of its own, of 1e-16 a h. Twice what was reached.
        size = 1 + np.abs(A).max() * h
        pairs = zip(found(A, along, h), series(A, along, h), (4, 4, 8, 8), strict=True)
        for got, expected, digits in pairs:
            atol = digits * 1e-16 * size * np.abs(expected).max()
            np.testing.assert_allclose(got, expected, rtol=0, atol=atol)


def test_no_entry_of_compartments_loses_digits():
    """Amounts that hardly pass are as accurate as others, since nothing is subtracted."""
    for name in ("compartments", "nothing leaves", "stiff", "stiff the other way"):
        A = np.array(CASES[name])
        for h in GAPS[1:]:
            size = 1 + np.abs(A).max() * h
            values, expected = found(A, 0 * A, h)[:2], series(A, 0 * A, h)[:2]
            np.testing.assert_allclose(values, expected, rtol=4e-16 * size)


@pytest.mark.slow
def test_the_way_back_is_the_way_forward_and_curvatures_are_finite():
    weights = jnp.asarray(np.random.default_rng(5).normal(size=(2, 2, 2)))

    def score(A):
        F, G, _ = jax.vmap(lambda h: noiseless_transition(A, h, BOTH))(jnp.asarray(GAPS))
        return (F * weights[:1] + G * weights[1:]).sum()

    both = jax.jit(lambda A: (jax.grad(score)(A), jax.jacfwd(score)(A)))
    curved = jax.jit(jax.jacfwd(jax.grad(score)))
    for name in ("compartments", "eigenvalues coincide", "oscillating", "at rest"):
        A = jnp.array(CASES[name])
        back, forth = both(A)
        assert np.abs(forth).max() > 0.1
        # The same sums in another order.
        np.testing.assert_allclose(back, forth, rtol=1e-12)
        H = curved(A).reshape(4, 4)
        # Entries that cancel are rounded as the largest is; 2e-16 of that is reached.
        np.testing.assert_allclose(H, H.T, rtol=0, atol=1e-15 * np.abs(H).max())


def test_long_gaps_and_which_systems():
    """Decayed or not, the closed form goes on."""
    assert is_two_way(BOTH)
    assert not any(map(is_two_way, (None, ((), (0,)), ((1, 2), (0,), ()))))
    A = jnp.array(CASES["compartments"])
    F, G, _ = noiseless_transition(A, 1e12, BOTH)
    np.testing.assert_array_equal(F, 0)
    np.testing.assert_allclose(G, -np.linalg.inv(A), rtol=1e-15)
    F, _, _ = noiseless_transition(jnp.array(CASES["nothing leaves"]), 1e3, BOTH)
    np.testing.assert_allclose(F, [[0.375, 0.375], [0.625, 0.625]], rtol=1e-13)
