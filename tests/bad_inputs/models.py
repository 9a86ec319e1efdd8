"""What a tired user gets wrong, and what the library says.

Mistakes are errors when the model is built, with a message that names the argument, the offender
and the mend, and without a long trace of other people's code. What cannot be a mistake is taken
for what it means, by name and label, never by position.
"""

import traceback
from types import FunctionType

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests import dense

SUBJECTS = ["a", "b", "c"]
TIMES = np.arange(4.0)
COORDS = {"subject": SUBJECTS, "time": TIMES}
Y = np.random.default_rng(0).normal(size=(3, 4))
HIGH = Y > 0.5
DATES = pd.date_range("2024-03-01", periods=4)
LONGEST_TRACE = 24


def ou(**changes):
    """A small linear system; any part may be replaced by something bad."""
    parts = {
        "states": ("level",),
        "drift": lambda level, mu: -0.5 * (level - mu),
        "diffusion": 0.3,
        "initial": dist.Normal(0.0, 1.0),
        "observation": lambda level: dist.Normal(level, 0.2),
    }
    return pds.SDE(**{**parts, **changes})


OU = ou()
"""The same object in most tests, so that it is compiled once."""


def two_states(**changes):
    parts = {
        "states": ("depot", "central"),
        "drift": lambda depot, central, mu: (-depot, depot - mu * central),
        "initial": dist.Normal(jnp.zeros(2), 1.0),
        "observation": lambda central: dist.Normal(central, 0.2),
    }
    return ou(**{**parts, **changes})


def decay(**changes):
    parts = {
        "states": ("amount",),
        "drift": lambda amount, mu: -mu * amount,
        "initial": 1.0,
        "observation": lambda amount: dist.Normal(amount, 0.2),
    }
    return pds.ODE(**{**parts, **changes})


def build(system=None, params=None, coords=None, **arguments) -> pm.Model:
    """The model as the user writes it."""
    with pm.Model(coords=COORDS if coords is None else coords) as model:
        mu = pm.Normal("mu", 0.0, 1.0)
        made = {k: v(model) for k, v in arguments.items() if isinstance(v, FunctionType)}
        arguments = {
            "observed": Y,
            "dims": ("subject", "time"),
            "params": {"mu": mu} if params is None else params(model),
            **arguments,
            **made,
        }
        pds.Trajectory("y", OU if system is None else system, **arguments)
    return model


def terms(model: pm.Model, mu: float = 0.3) -> np.ndarray:
    """Log-likelihood of each subject."""
    point = {**model.initial_point(), "mu": np.array(mu)}
    return model.compile_logp(vars=[model["y"]], sum=False, mode="FAST_COMPILE")(point)[0]


def slopes(model: pm.Model, mu: float = 0.3) -> np.ndarray:
    """Gradient of the likelihood in the common level, without its prior."""
    point = {**model.initial_point(), "mu": np.array(mu)}
    return model.compile_dlogp(vars=[model["mu"]], mode="FAST_COMPILE")(point) + mu


def refused(kind, *words, build=build, **arguments) -> None:
    """Raised at build, saying all the words, in few frames."""
    with pytest.raises(kind) as caught:
        build(**arguments)
    message = str(caught.value)
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"
    assert len(traceback.extract_tb(caught.value.__traceback__)) < LONGEST_TRACE
    rendered = "".join(traceback.format_exception(caught.value))
    assert rendered.count("File ") < 2 * LONGEST_TRACE


def in_params(value):
    return {"params": lambda model: {"mu": value}}


def cases(table):
    """Parameters of a test from a mapping of name to case."""
    return pytest.mark.parametrize("case", list(table.values()), ids=list(table))


def dense_ou(times, noise=0.2, mu=0.3):
    one = np.eye(1)
    system = dense.LinearSystem(
        A=-0.5 * one,
        c=np.array([0.5 * mu]),
        L=0.3 * one,
        H=one,
        d=np.zeros(1),
        R=noise**2 * one,
        m0=np.zeros(1),
        P0=one,
    )
    return [dense.log_likelihood(system, row[:, None], np.asarray(times, float)) for row in Y]


with pm.Model(coords=COORDS):
    OF_ANOTHER_MODEL = pm.Normal("mu", 0.0, 1.0)
