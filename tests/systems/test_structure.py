"""What is proved of a system from its jaxpr, and the traps a proof must not fall into."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.systems import bind_system
from pymc_dynsys.systems.structure import depends_on, is_affine

A = jnp.array([[-1.0, 0.5], [0.2, -0.7]])
PARAMS = {"rate": (), "matrix": (2, 2), "target": (2,)}


@jax.custom_jvp
def lying(x):
    return x**2


@lying.defjvp
def _(primals, tangents):
    return lying(*primals), tangents[0]


@jax.custom_vjp
def lying_backwards(x):
    return x**2


lying_backwards.defvjp(lambda x: (x**2, None), lambda _, ct: (ct,))


def bound(**functions):
    usual = {
        "drift": lambda x: -x,
        "diffusion": 0.3,
        "initial": dist.Normal(jnp.zeros(2), 1.0).to_event(1),
        "observation": lambda x, rate, matrix, target: dist.Normal(
            x[0] + 0 * (rate + matrix[0, 0] + target[0]), 0.1
        ),
    }
    return bind_system(pds.SDE(**{**usual, **functions}), PARAMS)


AFFINE = {
    "matrix product": lambda x: A @ x,
    "towards a target": lambda x, matrix, target: matrix @ (x - target),
    "nonlinear in parameters": lambda x, rate: -jnp.exp(jnp.sin(rate)) * x + rate**2,
    "a switch of parameters": lambda x, rate: jnp.where(rate > 0, -1.0, 1.0) * x,
    "components": lambda x: (x[1], -x[0] - 0.5 * x[1]),
    "einsum": lambda x: jnp.einsum("ij,j->i", A, x),
    "concatenation": lambda x: jnp.concatenate([x[1:], -x[:1]]),
    "reversal and sums": lambda x: x[::-1] - x.sum() + jnp.mean(x),
    "set": lambda x: (-x).at[0].set(0.3 * x[1]),
    "solve with a constant matrix": lambda x: jnp.linalg.inv(A) @ x,
    "a function that was compiled": lambda x: jax.jit(lambda x: A @ x)(x),
    "constant": lambda x: jnp.ones(2),
    "no argument": np.zeros(2),
    "dead code": lambda x: (jnp.floor(x), -x)[1],
    "a constant power": lambda x: x**1,
}


@pytest.mark.parametrize("name", AFFINE)
def test_affine_drifts_are_proved(name):
    proof = bound(drift=AFFINE[name]).proof
    assert proof.dynamics.linear
    assert proof.linear_gaussian, proof.because


NOT_AFFINE = {
    "square": lambda x: -(x**2),
    "product": lambda x: (x[0] * x[1], x[0]),
    "sine": lambda x: jnp.sin(x),
    "reciprocal": lambda x: 1 / x,
    "step": lambda x: jnp.where(x > 0, -1.0, 1.0),
    "two slopes": lambda x: jnp.where(x > 0, -x, -2 * x),
    "stopped square": lambda x: jax.lax.stop_gradient(x**2),
    "stopped": lambda x: jax.lax.stop_gradient(x),
    "stopped part": lambda x: -x + jax.lax.stop_gradient(x[0] * x[1]),
    "floor": lambda x: jnp.floor(x),
    "ceil": lambda x: jnp.ceil(x),
    "round": lambda x: jnp.round(x),
    "sign": lambda x: jnp.sign(x),
    "remainder": lambda x: jnp.remainder(x, 2.0),
    "fmod": lambda x: jnp.fmod(x, 2.0),
    "nextafter": lambda x: jnp.nextafter(x, jnp.inf),
    "integer": lambda x: x.astype(int).astype(float),
    "absolute value": lambda x: jnp.abs(x),
    "maximum": lambda x: jnp.maximum(x, 0.0),
    "clip": lambda x: jnp.clip(x, -1.0, 1.0),
    "rectifier": lambda x: jax.nn.relu(x),
    "sorted": lambda x: jnp.sort(x),
    "largest": lambda x: x.max() * jnp.ones(2),
    "where largest": lambda x: jnp.ones(2) * jnp.argmax(x),
    "counted": lambda x: jnp.ones(2) * (x > 0).sum(),
    "branch": lambda x: jax.lax.cond(x[0] > 0, lambda: jnp.ones(2), lambda: jnp.zeros(2)),
    "loop": lambda x: jax.lax.while_loop(lambda z: z[0] < 1, lambda z: z + 1.0, x),
    "custom forward derivative": lambda x: lying(x),
    "custom backward derivative": lambda x: lying_backwards(x),
    "compiled step": lambda x: jax.jit(lambda x: jnp.floor(x))(x),
    "callback": lambda x: jax.pure_callback(lambda x: x**2, jax.ShapeDtypeStruct((2,), x.dtype), x),
    "reduced precision": lambda x: jax.lax.reduce_precision(x, 5, 2),
    "isnan": lambda x: jnp.where(jnp.isnan(x), 0.0, 1.0),
    "norm": lambda x: -x * jnp.linalg.norm(x),
    "coefficient of the state": lambda x, rate: jnp.exp(-rate * x[0]) * x,
}


@pytest.mark.parametrize("name", NOT_AFFINE)
def test_other_drifts_are_not_taken_for_affine(name):
    proof = bound(drift=NOT_AFFINE[name]).proof
    assert not proof.dynamics.linear
    assert "drift is not affine in the state" in proof.because


@pytest.mark.parametrize(
    "name", ["step", "stopped square", "floor", "custom forward derivative", "clip"]
)
def test_other_observations_are_not_taken_for_affine(name):
    function = NOT_AFFINE[name]
    proof = bound(
        observation=lambda x, rate, matrix, target: dist.Normal(function(x)[0], 0.1)
    ).proof
    assert not proof.observation.affine
    assert proof.because == ("the mean of observation is not affine in the state",)


def test_argument_checks_of_distributions_are_no_obstacle():
    """numpyro compares the arguments of a law and leaves the comparisons behind as dead code."""

    def observation(x, rate, matrix, target):
        return dist.Normal(x[0], rate, validate_args=True)

    proof = bound(observation=observation).proof
    assert proof.linear_gaussian, proof.because


TIME = {
    "drift": (lambda x, t: -x * jnp.cos(t), "drift depends on time"),
    "drift, by a step": (lambda x, t: -x + jnp.where(t > 1.0, 1.0, 0.0), "drift depends on time"),
    "drift, stopped": (lambda x, t: -x + jax.lax.stop_gradient(t), "drift depends on time"),
}


@pytest.mark.parametrize("name", TIME)
def test_drifts_that_depend_on_time(name):
    drift, reason = TIME[name]
    proof = bound(drift=drift).proof
    assert not proof.dynamics.autonomous and not proof.dynamics.linear
    assert proof.because == (reason,)


@pytest.mark.parametrize(
    "diffusion",
    [
        lambda x: 0.1 * x,
        lambda x: jax.lax.stop_gradient(0.1 * x),
        lambda t: 0.1 * t,
        lambda x: jnp.where(x > 0, 0.1, 0.2),
        lambda x: jnp.diag(jnp.floor(x)),
    ],
)
def test_diffusions_that_vary(diffusion):
    proof = bound(diffusion=diffusion).proof
    assert not proof.dynamics.linear
    assert proof.because == ("diffusion depends on the state or on time",)


def test_a_diffusion_may_depend_on_parameters():
    assert bound(diffusion=lambda rate, matrix: rate * matrix).proof.linear_gaussian


def test_observation_noise():
    def seen(law):
        return bound(observation=lambda x, t, rate, matrix, target: law(x, t)).proof

    varies = seen(lambda x, t: dist.Normal(x[0], 0.1 + jnp.abs(x[1])))
    assert varies.because == ("the noise of observation depends on the state",)
    in_time = seen(lambda x, t: dist.Normal(x[0] * jnp.sin(t), jnp.exp(t)))
    assert in_time.linear_gaussian and not in_time.observation.timeless
    assert seen(lambda x, t: dist.Normal(x[0], 0.1)).observation.timeless


def test_laws():
    laws = {
        "Normal": lambda x: dist.Normal(x[0], 0.1),
        "independent": lambda x: dist.Normal(x, 0.1).to_event(1),
        "joint": lambda x: dist.MultivariateNormal(x, jnp.eye(2)),
        "singular": lambda x: pds.Gaussian(x, np.zeros((2, 2))),
        "known": lambda x: dist.Delta(x[0]),
        "Student": lambda x: dist.StudentT(4.0, x[0], 0.1),
    }
    proofs = {
        name: bound(observation=lambda x, rate, matrix, target, f=f: f(x)).proof
        for name, f in laws.items()
    }
    gaussian = {name for name, proof in proofs.items() if proof.observation.gaussian}
    assert gaussian == set(laws) - {"Student"}
    definite = {name for name, proof in proofs.items() if proof.observation.definite}
    assert definite == gaussian - {"singular", "known"}
    assert proofs["Student"].because == ("observation is not Gaussian",)


def test_initial_laws():
    law = bound(initial=lambda target: dist.Gamma(jnp.exp(target), 1.0).to_event(1)).proof
    assert not law.start.gaussian and law.because == ("initial is not Gaussian",)
    known = bound(initial=lambda target: target).proof
    assert known.start.known and known.start.gaussian and known.linear_gaussian
    assert not bound().proof.start.known


def test_all_reasons_are_given():
    proof = bound(
        drift=lambda x, t: -(x**2) * t,
        diffusion=lambda x: x,
        observation=lambda x, rate, matrix, target: dist.Normal(x[0] ** 2, 0.1),
    ).proof
    assert len(proof.because) == 4
    assert not proof.linear_gaussian


def test_dependence_is_that_of_live_code():
    def function(x, y):
        jnp.sin(y)
        return x + 0 * 1.0

    args = (jnp.ones(2), jnp.ones(2))
    assert depends_on(function, args, 0)
    assert not depends_on(function, args, 1)
    assert is_affine(function, args, 1)
    assert is_affine(lambda x, y: x * y, args, 0)
    assert not is_affine(lambda x, y: x * jnp.exp(y), args, 1)
    tree = ({"a": jnp.ones(2), "b": jnp.ones(2)}, jnp.ones(2))
    assert is_affine(lambda p, x: p["a"] + x, tree, 0)
    assert not is_affine(lambda p, x: p["a"] * p["b"] + x, tree, 0)
