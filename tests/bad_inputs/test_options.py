"""Wrong likelihoods and options of them."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.bad_inputs.models import build, cases, decay, ou, refused, terms

COUNTS = np.ones((3, 4))


@cases(
    {
        "particles none": (ValueError, ("EnKF", "ensemble_size", "2", "0"), lambda: pds.EnKF(0)),
        "particles one": (ValueError, ("EnKF", "ensemble_size", "at least 2"), lambda: pds.EnKF(1)),
        "particles negative": (ValueError, ("EnKF", "-5"), lambda: pds.EnKF(-5)),
        "particles a float": (TypeError, ("EnKF", "integer", "100.0"), lambda: pds.EnKF(100.0)),
        "particles a boolean": (TypeError, ("EnKF", "integer", "True"), lambda: pds.EnKF(True)),
        "seed text": (TypeError, ("EnKF", "seed", "'a'"), lambda: pds.EnKF(seed="a")),
        "seed a generator": (
            TypeError,
            ("EnKF", "seed"),
            lambda: pds.EnKF(seed=np.random.default_rng()),
        ),
        "variant": (
            TypeError,
            ("EnKF", "'etkf'", "SquareRoot()"),
            lambda: pds.EnKF(variant="etkf"),
        ),
        "a step for a scheme": (
            ValueError,
            ("EnKF", "EulerMaruyama(dt=...)", "0.05"),
            lambda: pds.EnKF(discretization=0.05),
        ),
        "a class for a scheme": (
            TypeError,
            ("EKF", "discretization"),
            lambda: pds.EKF(pds.EulerMaruyama),
        ),
        "step zero": (ValueError, ("dt", "positive", "0"), lambda: pds.EulerMaruyama(dt=0)),
        "step negative": (ValueError, ("dt", "-0.1"), lambda: pds.EulerMaruyama(dt=-0.1)),
        "step NaN": (ValueError, ("dt", "nan"), lambda: pds.EulerMaruyama(dt=np.nan)),
        "step infinite": (ValueError, ("dt", "inf"), lambda: pds.EulerMaruyama(dt=np.inf)),
        "step text": (
            (TypeError, ValueError),
            ("dt", "'0.1'"),
            lambda: pds.EulerMaruyama(dt="0.1"),
        ),
        "step boolean": (
            (TypeError, ValueError),
            ("dt", "True"),
            lambda: pds.EulerMaruyama(dt=True),
        ),
        "tolerance": (ValueError, ("rtol", "-1"), lambda: pds.MomentODE(rtol=-1)),
        "solver steps": (ValueError, ("max_steps", "0"), lambda: pds.ODESolve(max_steps=0)),
    }
)
def test_bad_options(case):
    kind, words, make = case
    refused(kind, *words, build=make)


@cases(
    {
        "a class": (TypeError, ("likelihood", "Kalman()"), {"likelihood": pds.Kalman}),
        "text": (TypeError, ("likelihood", "'kalman'"), {"likelihood": "kalman"}),
        "Kalman of a cubic": (
            ValueError,
            ("Kalman()", "drift is not affine", "EKF()"),
            {
                "system": ou(drift=lambda level, mu: mu - level**3),
                "likelihood": pds.Kalman(),
            },
        ),
        "counts in a filter": (
            ValueError,
            ("EKF", "Gaussian observation", "Laplace()", "ODESolve()"),
            {
                "system": ou(observation=lambda level: dist.Poisson(jnp.exp(level))),
                "observed": COUNTS,
                "likelihood": pds.EKF(),
            },
        ),
        "counts in an ensemble": (
            ValueError,
            ("EnKF", "Gaussian observation"),
            {
                "system": ou(observation=lambda level: dist.Poisson(jnp.exp(level))),
                "observed": COUNTS,
                "likelihood": pds.EnKF(),
            },
        ),
        "heavy tails": (
            ValueError,
            ("EKF", "Gaussian observation"),
            {
                "system": ou(observation=lambda level: dist.StudentT(4.0, level, 0.2)),
                "likelihood": pds.EKF(),
            },
        ),
        "an SDE as an ODE": (
            ValueError,
            ("ODESolve()", "SDE", "Kalman()"),
            {"likelihood": pds.ODESolve()},
        ),
        "an uncertain start": (
            ValueError,
            ("ODESolve()", "initial", "Kalman()"),
            {"system": decay(initial=dist.Normal(1.0, 0.1)), "likelihood": pds.ODESolve()},
        ),
        "simulator text": (TypeError, ("simulator", "'euler'"), {"simulator": "euler"}),
        "simulator a filter": (TypeError, ("simulator", "EnKF"), {"simulator": pds.EnKF()}),
        "simulator of an ODE": (ValueError, ("simulator", "SDE"), {"simulator": pds.ODESolve()}),
    }
)
def test_bad_likelihoods(case):
    kind, words, arguments = case
    refused(kind, *words, **arguments)


def test_a_step_longer_than_the_gaps_is_one_step_a_gap():
    one, long = (terms(build(likelihood=pds.EKF(pds.EulerMaruyama(dt=dt)))) for dt in (None, 100.0))
    np.testing.assert_array_equal(one, long)


@pytest.mark.parametrize("role", ["likelihood", "simulator"])
def test_unstable_steps_are_a_warning(role):
    scheme = pds.EulerMaruyama(dt=1.0)
    arguments = {role: pds.EKF(scheme) if role == "likelihood" else scheme}
    with pytest.warns(
        UserWarning, match=rf"Euler steps of 1 in the {role} are unstable.*below 0.4"
    ):
        build(ou(drift=lambda level, mu: -5 * (level - mu)), **arguments)
