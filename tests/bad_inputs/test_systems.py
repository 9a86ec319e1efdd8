"""Functions, states and laws of every kind, and wrong ones."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.bad_inputs.models import (
    COORDS,
    OF_ANOTHER_MODEL,
    Y,
    build,
    cases,
    ou,
    refused,
    terms,
    two_states,
)


class Reverting:
    """Callable objects and bound methods are functions too."""

    def __call__(self, level, mu):
        return -0.5 * (level - mu)

    def method(self, level, mu):
        return -0.5 * (level - mu)


HALF, SINGLE = jnp.asarray(0.5), jnp.float32(0.5)


@cases(
    {
        "defaults": lambda level, mu, rate=0.5: -rate * (level - mu),
        "keywords only": lambda level, *, mu: -0.5 * (level - mu),
        "positions only": lambda level, mu, /: -0.5 * (level - mu),
        "the whole state": lambda x, mu: -0.5 * (x - mu),
        "partial by name": functools.partial(
            lambda level, mu, rate: -rate * (level - mu), rate=0.5
        ),
        "partial by position": functools.partial(lambda rate, level, mu: -rate * (level - mu), 0.5),
        "an object": Reverting(),
        "a method": Reverting().method,
        "jitted": jax.jit(lambda level, mu: -0.5 * (level - mu)),
        "a jax constant in a closure": lambda level, mu: -HALF * (level - mu),
        "a single-precision constant in a closure": lambda level, mu: -SINGLE * (level - mu),
        "a list": lambda level, mu: [-0.5 * (level - mu)],
    }
)
def test_functions_of_every_kind(case, reference):
    np.testing.assert_allclose(terms(build(ou(drift=case))), reference["terms"], rtol=1e-12)


@cases(
    {
        "one name as text": "level",
        "a list": ["level"],
        "a generator": (name for name in ["level"]),
    }
)
def test_states_of_every_kind(case, reference):
    np.testing.assert_allclose(terms(build(ou(states=case))), reference["terms"], rtol=1e-12)


def test_nothing_need_be_a_parameter():
    model = build(ou(drift=lambda level: -0.5 * level), params=lambda _: {})
    np.testing.assert_allclose(terms(model), terms(build(), mu=0.0), rtol=1e-12)


def test_more_noises_than_states(reference):
    three = jnp.array([[0.1, 0.2, 0.2]])
    np.testing.assert_allclose(terms(build(ou(diffusion=three))), reference["terms"], rtol=1e-12)


@cases(
    {
        "of arguments": (
            TypeError,
            ("drift() takes *args", "by name"),
            {"system": lambda: ou(drift=lambda *args: 0.0)},
        ),
        "of keywords": (
            TypeError,
            ("drift() takes *others", "by name"),
            {"system": lambda: ou(drift=lambda level, **others: 0.0)},
        ),
        "without a signature": (
            TypeError,
            ("drift", "by name"),
            {"system": lambda: ou(drift=jnp.negative)},
        ),
        "text": (ValueError, ("'mu'", "drift"), {"system": lambda: ou(drift="-level")}),
        "nothing returned": (
            TypeError,
            ("drift() must return", "NoneType"),
            {"system": lambda: ou(drift=lambda level, mu: None)},
        ),
        "a mapping returned": (
            TypeError,
            ("drift() must return", "dict"),
            {"system": lambda: ou(drift=lambda level, mu: {"level": mu})},
        ),
        "complex": (
            TypeError,
            ("drift()", "real numbers", "complex"),
            {"system": lambda: ou(drift=lambda level, mu: 1j * level + mu)},
        ),
        "boolean": (
            TypeError,
            ("drift()", "real numbers", "bool"),
            {"system": lambda: ou(drift=lambda level, mu: level > mu)},
        ),
        "(n, 1)": (
            ValueError,
            ("drift() returned shape (1, 1)", "expected (1,)"),
            {"system": lambda: ou(drift=lambda x, mu: -(x[:, None] - mu))},
        ),
        "(n + 1,)": (
            ValueError,
            ("drift() returned shape (3,)", "expected (2,)", "depot, central"),
            {"system": lambda: two_states(drift=lambda depot, mu: (depot, mu, mu))},
        ),
        "a scalar for two states": (
            ValueError,
            ("drift() returned shape ()", "expected (2,)", "depot, central"),
            {"system": lambda: two_states(drift=lambda depot, mu: mu - depot)},
        ),
        "uneven entries": (
            ValueError,
            ("drift()", "different shapes"),
            {"system": lambda: two_states(drift=lambda x, mu: (x, mu))},
        ),
        "if": (
            ValueError,
            ("drift()", "jnp.where"),
            {"system": lambda: ou(drift=lambda level, mu: -level if level > mu else mu)},
        ),
        "numpy": (
            ValueError,
            ("drift()", "jnp"),
            {"system": lambda: ou(drift=lambda level, mu: np.tanh(level) - mu)},
        ),
        "math": (
            ValueError,
            ("drift()", "jnp"),
            {"system": lambda: ou(drift=lambda level, mu: math.tanh(level) - mu)},
        ),
        "its own mistake": (
            ValueError,
            ("drift() failed", "'level' a scalar", "IndexError"),
            {"system": lambda: ou(drift=lambda level, mu: mu - [level][1])},
        ),
        "an unknown argument": (
            ValueError,
            ("drift() asks for 'lvl'", "'mu'", "'level'", "did you mean 'level'"),
            {"system": lambda: ou(drift=lambda lvl, mu: mu - lvl)},
        ),
    }
)
def test_bad_drift(case):
    kind, words, arguments = case
    refused(kind, *words, build=lambda system: build(system()), **arguments)


@cases(
    {
        "diffusion transposed": (
            ValueError,
            ("diffusion() returned shape (3, 2)", "(2, noises)", "depot, central"),
            lambda: two_states(diffusion=jnp.ones((3, 2))),
        ),
        "diffusion of another length": (
            ValueError,
            ("diffusion() returned shape (3,)", "(2,)"),
            lambda: two_states(diffusion=jnp.ones(3)),
        ),
        "diffusion None": (TypeError, ("diffusion() must return",), lambda: ou(diffusion=None)),
        "diffusion a law": (
            TypeError,
            ("diffusion() must return", "Normal"),
            lambda: ou(diffusion=dist.Normal(0.0, 1.0)),
        ),
        "initial of another length": (
            ValueError,
            ("initial", "(3,)", "2 states", "depot, central"),
            lambda: two_states(initial=dist.Normal(jnp.zeros(3), 1.0)),
        ),
        "initial a scalar for two": (
            ValueError,
            ("initial", "()", "2 states", "depot, central"),
            lambda: two_states(initial=dist.Normal(0.0, 1.0)),
        ),
        "initial of the state": (
            ValueError,
            ("initial() asks for 'level'", "parameters only"),
            lambda: ou(initial=lambda level: dist.Normal(level, 1.0)),
        ),
        "initial of time": (
            ValueError,
            ("initial() asks for 't'", "parameters only"),
            lambda: ou(initial=lambda t: dist.Normal(t, 1.0)),
        ),
        "initial None": (TypeError, ("initial", "missing"), lambda: ou(initial=None)),
        "initial a mapping": (
            TypeError,
            ("initial", "dict"),
            lambda: two_states(initial={"depot": 1.0, "central": 0.0}),
        ),
        "initial a tuple with a law that is not Gaussian": (
            ValueError,
            ("initial", "entry 1", "LogNormal"),
            lambda: two_states(initial=(dist.Normal(0.0, 1.0), dist.LogNormal(0.0, 1.0))),
        ),
        "initial a tuple with a law of several": (
            ValueError,
            ("initial", "entry 0", "(2,)"),
            lambda: two_states(initial=(dist.Normal(0.0, 1.0).expand([2]), 1.0)),
        ),
        "initial not Gaussian": (
            ValueError,
            ("initial", "Gaussian"),
            lambda: ou(initial=dist.LogNormal(0.0, 1.0)),
        ),
        "observation a number": (
            TypeError,
            ("observation() must return a numpyro distribution", "dist.Normal(mean, s)"),
            lambda: ou(observation=lambda level: level),
        ),
        "observation a pair": (
            ValueError,
            ("observation()", "entry 0", "dist.Normal(mean, sd)"),
            lambda: ou(observation=lambda level: (level, 0.2)),
        ),
        "observation of PyMC": (
            ValueError,
            ("observation()",),
            lambda: ou(observation=lambda level: pm.Normal.dist(level, 0.2)),
        ),
        "observation a class": (
            TypeError,
            ("observation", "dist.Normal(mean, s)"),
            lambda: ou(observation=dist.Normal),
        ),
        "observation a matrix": (
            ValueError,
            ("observation()", "(1, 1)"),
            lambda: ou(observation=lambda x: dist.Normal(x[:, None], 0.2)),
        ),
        "observation matrix of another width": (
            ValueError,
            ("observation() failed", "x of shape (2,)", "2 states"),
            lambda: two_states(observation=lambda x: dist.Normal(jnp.ones((2, 3)) @ x, 0.2)),
        ),
        "noise negative": (
            ValueError,
            ("observation()", "scale"),
            lambda: ou(observation=lambda level: dist.Normal(level, -0.2)),
        ),
        "noise negative at the start": (
            ValueError,
            ("observation()", "noise covariance", "initial point"),
            lambda: ou(observation=lambda level, mu: dist.Normal(level, mu - 0.2)),
        ),
        "initial covariance not semi-definite": (
            ValueError,
            ("initial()", "covariance", "smallest eigenvalue -1"),
            lambda: two_states(
                initial=lambda mu: pds.Gaussian(
                    jnp.zeros(2) + 0 * mu, jnp.array([[1.0, 2.0], [2.0, 1.0]])
                )
            ),
        ),
        "not a system": (TypeError, ("system", "SDE, ODE or DiscreteTime", "str"), lambda: "ou"),
        "a class": (TypeError, ("system", "SDE, ODE or DiscreteTime"), lambda: pds.SDE),
        "a PyMC variable from outside": (
            ValueError,
            ("drift()", "params"),
            lambda: ou(drift=lambda level, mu: OF_ANOTHER_MODEL - level),
        ),
    }
)
def test_bad_systems(case):
    kind, words, system = case
    refused(kind, *words, build=lambda: build(system()))


@cases(
    {
        "empty": (ValueError, ("states", "empty"), ()),
        "twice": (ValueError, ("states", "('a', 'a')", "more than once"), ("a", "a")),
        "several in one text": (ValueError, ("states", "'depot central'"), "depot central"),
        "reserved": (ValueError, ("states", "'t'", "reserved"), ("level", "t")),
        "numbers": (ValueError, ("states", "1"), (1, 2)),
        "a number": (TypeError, ("states", "1"), 1),
    }
)
def test_bad_states(case):
    kind, words, states = case
    refused(kind, *words, build=ou, states=states)


INDEFINITE = ((1.0, 2.0), (2.0, 1.0))


@cases(
    {
        "made inside": (
            lambda level, mu: dist.MultivariateNormal(
                jnp.stack([level, level]), jnp.array(INDEFINITE) + 0 * mu
            ),
            ("noise covariance", "smallest eigenvalue -1"),
        ),
        "made outside": (
            lambda level: pds.Gaussian(jnp.stack([level, level]), np.array(INDEFINITE)),
            ("not positive semi-definite", "smallest eigenvalue -1"),
        ),
        "made outside for numpyro": (
            lambda level: dist.MultivariateNormal(jnp.stack([level, level]), np.array(INDEFINITE)),
            ("covariance_matrix",),
        ),
    }
)
def test_a_noise_covariance_that_is_not_semi_definite_is_told(case):
    observation, words = case
    refused(
        ValueError,
        "observation()",
        *words,
        system=ou(observation=observation),
        observed=np.stack([Y, Y], -1),
        coords={**COORDS, "component": [0, 1]},
        dims=("subject", "time", "component"),
    )


def test_covariances_are_checked_where_they_are_known():
    with pytest.raises(ValueError, match=r"not positive semi-definite.*-1"):
        pds.Gaussian(jnp.zeros(2), jnp.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match="symmetric"):
        pds.Gaussian(jnp.zeros(2), jnp.array([[1.0, 0.5], [0.2, 1.0]]))
    with pytest.raises(ValueError, match=r"\(2,\) needs a cov of shape \(2, 2\)"):
        pds.Gaussian(jnp.zeros(2), jnp.ones(2))
