"""Systems whose states feed each other in one direction: against 200 digits and scipy's expm."""

from decimal import Decimal, getcontext
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist
from scipy.linalg import expm, expm_frechet

import pymc_dynsys as pds
from pymc_dynsys.discretization.exact import noiseless_transition
from pymc_dynsys.discretization.steady_state import Repeated, periodic_state
from pymc_dynsys.discretization.triangular import is_triangular, order_of, triangular_transition
from pymc_dynsys.linalg.divided_differences import divided_exps
from pymc_dynsys.systems import bind_system
from pymc_dynsys.systems.dynamics import LinearDynamics

getcontext().prec = 200  # seven points that are 1e-20 apart cost 120 digits

POINTS = {
    "apart": (-0.3, -2.0, -7.5, 0.0),
    "equal": (-0.7, -0.7, -0.7, 0.0),
    "all equal": (0.0, 0.0, 0.0, 0.0),
    "close": (-1.0, -1.0 - 1e-9, -1.0 + 1e-13, 0.0),
    "either side of the series": (-0.999, -0.001, -1.001, 0.0),
    "orders apart": (-1e-7, -30.0, -600.0, 0.0),
    "growing": (3.0, -1.0, 2.5, 0.0),
    "far beyond": (-1e12, -1e10, -0.1, 0.0),
}


def exact(points) -> float:
    """The recursion in 200 digits; points that coincide are set 1e-20 apart."""
    points = [Decimal(float(p)) + k * Decimal("1e-20") for k, p in enumerate(points)]
    column = [p.exp() for p in points]
    for n in range(1, len(points)):
        pairs = pairwise(column)
        column = [(b - a) / (points[k + n] - points[k]) for k, (a, b) in enumerate(pairs)]
    return float(column[0])


@jax.jit
def differences(points):
    found = divided_exps(list(points))
    return jnp.stack([found[s] for s in sorted(found)])


slopes = jax.jit(jax.jacfwd(differences))
SUBSETS = sorted(divided_exps(list(jnp.zeros(4))))


@pytest.mark.parametrize("name", POINTS)
def test_divided_differences_and_their_slopes(name):
    """The slope in a point is the difference with that point twice."""
    points = np.array(POINTS[name])
    values, slope = (np.asarray(f(jnp.asarray(points))) for f in (differences, slopes))
    # A point of size a has a rounding of its own, of 1e-16 a.
    size = 1 + min(np.abs(points).max(), 800.0)
    for k, subset in enumerate(SUBSETS):
        at = points[list(subset)]
        for i in range(4):
            for got, n, rtol in ((values[k], 0, 1e-15), (slope[k, i], 1, 4e-14)):
                if n and i not in subset:
                    assert got == 0
                    continue
                # Each derivative of a difference just beyond the series loses a digit.
                expected = exact([*at, *[points[i]] * n])
                np.testing.assert_allclose(got, expected, rtol=size * rtol)


@pytest.mark.slow
def test_curvatures_of_divided_differences():
    """Twice the difference with that point thrice, which Laplace's approximations need."""
    curvatures = jax.jit(jax.jacfwd(jax.jacrev(differences)))
    for points in map(np.array, POINTS.values()):
        size = 1 + min(np.abs(points).max(), 800.0)
        found = np.asarray(curvatures(jnp.asarray(points)))
        for k, subset in enumerate(SUBSETS):
            for i in subset:
                expected = 2 * exact([*points[list(subset)], points[i], points[i]])
                got = found[k, i, i]
                np.testing.assert_allclose(got, expected, rtol=size * 1e-13)


DEPOT = ((), (0,))
CHAIN = ((), (0,), (0, 1))
BACKWARDS = ((1, 2), (2,), ())
BESIDE = ((2,), (), ())


def matrix(fed_by, rates, seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    A = np.diag(np.asarray(rates, float))
    for i, of in enumerate(fed_by):
        for j in of:
            A[i, j] = rng.normal()
    return A


CASES = {
    "depot": (DEPOT, matrix(DEPOT, [-1.1, -0.2])),
    "rates that coincide": (DEPOT, matrix(DEPOT, [-0.4, -0.4])),
    "nothing leaves": (DEPOT, matrix(DEPOT, [-0.4, 0.0])),
    "stiff": (DEPOT, matrix(DEPOT, [-1e-5, -40.0])),
    "chain": (CHAIN, matrix(CHAIN, [-1.0, -0.3, -2.0])),
    "chain of equal rates": (CHAIN, matrix(CHAIN, [-0.9, -0.9, -0.9])),
    "written backwards": (BACKWARDS, matrix(BACKWARDS, [-1.0, 0.0, -1.0 + 1e-10])),
    "one of them alone": (BESIDE, matrix(BESIDE, [-1.0, 0.3, -0.5])),
}
GAPS = np.array([0.0, 1e-6, 0.3, 2.0, 20.0])


def augmented(A, h):
    n = len(A)
    M = np.zeros((2 * n, 2 * n))
    M[:n, :n], M[:n, n:] = A * h, np.eye(n) * h
    return M


slow = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        *("depot", "rates that coincide", "nothing leaves", "stiff", "written backwards"),
        *(pytest.param(name, marks=slow) for name in ("chain", "one of them alone")),
        pytest.param("chain of equal rates", marks=slow),
    ],
)
def test_transitions_and_their_gradients_are_those_of_expm(name):
    fed_by, A = CASES[name]
    n = len(A)
    rng = np.random.default_rng(3)
    along = matrix(fed_by, rng.normal(size=n), seed=4)
    both = jax.jit(
        lambda A, h, along: jax.jvp(
            lambda A, h: triangular_transition(A, h, fed_by)[:2], (A, h), (along, jnp.ones(()))
        )
    )
    for h in GAPS:
        M = augmented(A, h)
        direction = augmented(along, h)
        direction[:n, :n] += A
        direction[:n, n:] = np.eye(n)
        E, slope = expm(M), expm_frechet(M, direction, compute_expm=False)
        pairs = zip(both(*map(jnp.asarray, (A, h, along))), (E, slope), strict=True)
        for found, expected in pairs:
            for got, part in zip(found, (expected[:n, :n], expected[:n, n:]), strict=True):
                # The referee's small entries carry the rounding of its largest one, and where ours
                # are exactly zero have nothing else.
                np.testing.assert_allclose(got, part, rtol=1e-12, atol=1e-15 * np.abs(E).max())


@pytest.mark.parametrize("name", ["depot", pytest.param("written backwards", marks=slow)])
def test_the_way_back_is_the_way_forward(name):
    fed_by, A = CASES[name]
    weights = jnp.asarray(np.random.default_rng(5).normal(size=(2, *A.shape)))

    def score(A):
        F, G, _ = jax.vmap(lambda h: triangular_transition(A, h, fed_by))(jnp.asarray(GAPS))
        return (F * weights[:1] + G * weights[1:]).sum()

    back, forth = jax.jit(lambda A: (jax.grad(score)(A), jax.jacfwd(score)(A)))(jnp.asarray(A))
    assert np.abs(forth).max() > 0.1
    # The same sums in another order.
    np.testing.assert_allclose(back, forth, rtol=1e-14)


def test_the_order_is_read_from_the_functions_and_not_from_values():
    def bound(drift):
        ode = pds.ODE(
            states=("a", "b"),
            drift=drift,
            initial=(1.0, 0.0),
            observation=lambda a: dist.Normal(a, 1.0),
        )
        return bind_system(ode, {"k": (), "r": ()}).proof.dynamics.fed_by

    assert bound(lambda a, b, k, r: (-k * a, k * a - r * b)) == DEPOT
    assert bound(lambda a, b, k, r: (-k * a + r * b, -r * b)) == ((1,), ())
    both = bound(lambda a, b, k, r: (-k * a + r * b, k * a - r * b))
    assert both == ((1,), (0,)) and not is_triangular(both)
    assert order_of(both) is None and order_of(((1,), ())) == (1, 0)
    # What is not proved away, a product with a zero among values, counts as there.
    assert bound(lambda a, b, k, r: jnp.array([[0, 1.0], [0, 0]]) @ jnp.stack([a, b])) == (
        (1,),
        (0,),
    )
    assert not is_triangular(None) and not is_triangular(((),)) and not is_triangular(((),) * 4)


def test_a_steady_state_is_the_same_by_doublings():
    """With an infusion longer than the interval, and where nothing leaves the last state."""

    @jax.jit
    def found(A, duration):
        rates = LinearDynamics(A, jnp.zeros(2), jnp.zeros((2, 2)))
        given = Repeated(jnp.array([3.0, 0.0]), jnp.asarray(8.0), duration)
        offset = jnp.array([0.0, 0.1])
        return tuple(periodic_state(rates, given, offset, fed) for fed in (DEPOT, None))

    for duration in (0.0, 5.0, 20.0):
        state, expected = found(jnp.asarray(CASES["depot"][1]), duration)
        np.testing.assert_allclose(state, expected, rtol=1e-13)
    state, _ = found(jnp.asarray(CASES["nothing leaves"][1]), duration)
    assert np.isnan(state).all()


def test_gaps_beyond_any_doubling():
    """Decayed or not, the closed form goes on: the integral of what does not decay is the gap."""
    A = jnp.array([[-2.0, 0.0], [0.5, 0.0]])
    F, G, _ = noiseless_transition(A, 1e12, DEPOT)
    np.testing.assert_allclose(F, [[0.0, 0.0], [0.25, 1.0]], rtol=1e-14)
    np.testing.assert_allclose(G, [[0.5, 0.0], [0.25e12, 1e12]], rtol=1e-11)
