"""The parts of a bound system: densities against scipy, draws, infusions, doses, diffuse states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist
from scipy import stats

import pymc_dynsys as pds
from pymc_dynsys.systems import Held, bind_system

NOTHING = Held({})
MEAN = np.array([0.3, -1.0, 2.0])
COV = np.array([[1.0, 0.4, -0.2], [0.4, 2.0, 0.3], [-0.2, 0.3, 0.5]])
Y = np.array([0.7, 0.1, 1.2])
SEEN = [(True, True, True), (True, False, True), (False, False, True), (False, False, False)]


def observed(law, n=3):
    functions = {"transition": lambda x: pds.Gaussian(x, np.eye(n)), "initial": np.zeros(n)}
    return bind_system(pds.DiscreteTime(observation=law, **functions), {}).observation


def moves(transition, initial=0.0, **options):
    law = {"observation": lambda x: dist.Normal(x[0], 1.0), "initial": initial}
    return bind_system(pds.DiscreteTime(transition=transition, **law, **options), {})


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("joint", [True, False])
def test_gaussian_observations_leave_missing_components_out(seen, joint):
    cov = COV if joint else np.diag(np.diag(COV))

    def law(x):
        if joint:
            return dist.MultivariateNormal(x, jnp.asarray(COV))
        return dist.Normal(x, jnp.sqrt(jnp.diag(COV))).to_event(1)

    there = np.array(seen)
    y = np.where(there, Y, np.nan)
    got = observed(law).log_density(
        jnp.asarray(y), jnp.asarray(there), jnp.asarray(MEAN), 0.0, NOTHING
    )
    expected = 0.0
    if there.any():
        part = cov[np.ix_(there, there)]
        expected = stats.multivariate_normal(MEAN[there], part).logpdf(Y[there])
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)
    if there.all():
        whole = observed(law).log_density(jnp.asarray(Y), None, jnp.asarray(MEAN), 0.0, NOTHING)
        np.testing.assert_allclose(whole, expected, rtol=1e-12)


def test_gradients_do_not_see_missing_components():
    observation = observed(lambda x: dist.MultivariateNormal(x, jnp.asarray(COV)))
    y, seen = jnp.array([0.7, np.nan, 1.2]), jnp.array([True, False, True])
    slope = jax.grad(lambda x: observation.log_density(y, seen, x, 0.0, NOTHING))(jnp.asarray(MEAN))
    part = np.ix_([0, 2], [0, 2])
    expected = np.linalg.solve(COV[part], (Y - MEAN)[[0, 2]])
    np.testing.assert_allclose(slope, [expected[0], 0.0, expected[1]], rtol=1e-10)


@pytest.mark.parametrize("scale", [0.0, -0.1])
def test_an_observation_without_a_positive_variance_has_no_density(scale):
    def density(law, seen):
        source = pds.DiscreteTime(
            transition=lambda x: pds.Gaussian(x, np.eye(3)), initial=np.zeros(3), observation=law
        )
        observation = bind_system(source, {"s": ()}).observation
        value = jax.jit(
            lambda s: observation.log_density(Y, seen, jnp.asarray(MEAN), 0.0, Held({"s": s}))
        )
        return value(scale)

    def alone(x, s):
        return dist.Normal(x, jnp.stack([1.0, 1.0, s])).to_event(1)

    def joint(x, s):
        return pds.Gaussian(x, jnp.diag(jnp.stack([1.0, 1.0, s])))

    expected = stats.norm(MEAN[:2], 1.0).logpdf(Y[:2]).sum()
    for law in (alone, joint):
        assert np.isnan(density(law, None))
        without = density(law, jnp.array([True, True, False]))
        np.testing.assert_allclose(without, expected, rtol=1e-12)


def test_observations_of_other_kinds():
    counts = observed(lambda x: dist.Poisson(jnp.exp(x)).to_event(1))
    y, x = jnp.array([1.0, 0.0, 4.0]), jnp.asarray(MEAN)
    each = stats.poisson(np.exp(MEAN)).logpmf([1, 0, 4])
    np.testing.assert_allclose(counts.log_density(y, None, x, 0.0, NOTHING), each.sum())
    seen = jnp.array([True, False, True])
    np.testing.assert_allclose(counts.log_density(y, seen, x, 0.0, NOTHING), each[[0, 2]].sum())
    scalar = observed(lambda x: dist.StudentT(4.0, x[0], 1.0))
    assert scalar.scalar and scalar.n_components == 1
    value = scalar.log_density(jnp.array([0.7]), jnp.array([True]), x, 0.0, NOTHING)
    np.testing.assert_allclose(value, stats.t(4.0, 0.3).logpdf(0.7))
    joint = observed(lambda x: dist.MultivariateStudentT(4.0, x, jnp.eye(3)))
    assert np.isnan(joint.log_density(y, seen, x, 0.0, NOTHING))
    assert joint.log_density(y, jnp.zeros(3, bool), x, 0.0, NOTHING) == 0.0


def test_draws_have_a_component_axis():
    key, x = jax.random.key(0), jnp.asarray(MEAN)
    assert observed(lambda x: dist.Normal(x[0], 1.0)).sample(key, x, 0.0, NOTHING).shape == (1,)
    vector = observed(lambda x: dist.Normal(x, 1.0).to_event(1))
    assert vector.sample(key, x, 0.0, NOTHING).shape == (3,)


def test_densities_of_transitions():
    x0, x1 = jnp.array([0.3, 0.4]), jnp.array([0.5, 0.36])
    singular = moves(
        lambda x: (dist.Normal(x[0] + x[1], 0.3), 0.9 * x[1]), np.zeros(2), states=None
    )
    expected = stats.norm(0.7, 0.3).logpdf(0.5)
    density = singular.dynamics.log_density
    np.testing.assert_allclose(density(x1.at[1].set(0.9 * x0[1]), x0, 0.0, NOTHING), expected)
    assert density(x1 + 1.0, x0, 0.0, NOTHING) == -np.inf
    heavy = moves(lambda x: dist.StudentT(4.0, x, 1.0).to_event(1), np.zeros(2))
    expected = stats.t(4.0, np.array(x0)).logpdf(np.array(x1)).sum()
    np.testing.assert_allclose(heavy.dynamics.log_density(x1, x0, 0.0, NOTHING), expected)
    count = moves(lambda n: dist.Poisson(1.0 + n), states="n").dynamics
    np.testing.assert_allclose(
        count.log_density(jnp.array([2.0]), jnp.array([0.5]), 0.0, NOTHING),
        stats.poisson(1.5).logpmf(2),
    )
    assert count.sample(jax.random.key(0), jnp.array([0.5]), 0.0, NOTHING).shape == (1,)


def test_initial_distributions():
    start = moves(
        lambda x: pds.Gaussian(x, np.eye(2)),
        (dist.Normal(1.0, 2.0), pds.Diffuse()),
        states=("a", "b"),
    ).start
    assert start.diffuse == (False, True) and start.n_diffuse == 1
    mean, cov = start.moments({}, (jnp.array([3.0]), 5.0))
    np.testing.assert_allclose(mean, [1.0, 3.0])
    np.testing.assert_allclose(cov, np.diag([4.0, 5.0]))
    np.testing.assert_allclose(start.moments({})[1], np.diag([4.0, 0.0]))
    kappa, x = 1e12, jnp.array([0.3, 7.0])
    limit = stats.norm(1.0, 2.0).logpdf(0.3) + stats.norm(0.0, kappa**0.5).logpdf(7.0)
    np.testing.assert_allclose(start.log_density(x, {}), limit + 0.5 * np.log(kappa), rtol=1e-9)


def test_a_stationary_start():
    start = moves(lambda a: dist.Normal(0.6 * a, 0.8), pds.Stationary(), states="a").start
    mean, cov = start.moments({})
    np.testing.assert_allclose((mean[0], cov[0, 0]), (0.0, 1.0), atol=1e-12)
    density = start.log_density(jnp.array([0.5]), {})
    np.testing.assert_allclose(density, stats.norm().logpdf(0.5), rtol=1e-12)
    assert start.sample(jax.random.key(0), {}).shape == (1,)


def test_infusions_and_doses_arrive_in_part():
    functions = {
        "states": ("gut", "blood"),
        "drift": lambda gut, blood: (-gut, gut - blood),
        "diffusion": 0.1,
        "initial": np.zeros(2),
        "observation": lambda blood: dist.Normal(blood, 1.0),
    }
    dose = bind_system(pds.SDE(events=pds.Dose("gut", "F"), **functions), {"F": ()})
    held = Held({"F": 0.5}, jnp.array([0.0, 4.0]))
    x = jnp.array([1.0, 3.0])
    np.testing.assert_allclose(dose.dynamics.drift(x, 0.0, held), [-1.0, 0.0])
    np.testing.assert_allclose(dose.dynamics.linear(0.0, held).c, [0.0, 2.0])
    np.testing.assert_allclose(dose.dosing.jump(x, 0.0, held, 6.0, 0), [4.0, 3.0])
    assert dose.dosing.state == 0 and not dose.dosing.has_own_jump
    assert dose.is_observed_through("F") and not dose.drives("F")

    def reset(gut, blood, amount):
        return amount, 0.0

    own = bind_system(pds.SDE(events=reset, **functions), {})
    np.testing.assert_allclose(own.dosing.jump(x, 0.0, NOTHING, 6.0, 1), [6.0, 0.0])
    assert own.dosing.has_own_jump and own.dosing.state is None


def test_reasons_belong_to_parts():
    system = pds.SDE(
        drift=lambda x: -(x**2),
        diffusion=0.1,
        initial=lambda: dist.Gamma(jnp.ones(2), 1.0).to_event(1),
        observation=lambda x: dist.Normal(x[0] ** 2, 1.0),
        events=lambda x, amount: amount * x**2,
    )
    proof = bind_system(system, {}).proof
    assert proof.of("dynamics") == ("drift is not affine in the state",)
    assert proof.of("observation") == ("the mean of observation is not affine in the state",)
    assert proof.of("events") == ("the jump of events is not affine in the state",)
    assert proof.of("initial") == ("initial is not Gaussian",)
    assert proof.because == tuple(reason.text for reason in proof.reasons)
