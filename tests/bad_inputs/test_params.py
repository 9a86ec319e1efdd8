"""Parameters of every kind, by label, and wrong ones."""

import math

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.bad_inputs.models import (
    COORDS,
    OF_ANOTHER_MODEL,
    SUBJECTS,
    Y,
    build,
    cases,
    in_params,
    ou,
    refused,
    terms,
    two_states,
)


@cases(
    {
        "misspelt": (
            ValueError,
            ("drift() asks for 'mu'", "did you mean 'mue'"),
            {"params": lambda _: {"mue": 1.0}},
        ),
        "left out": (
            ValueError,
            ("drift() asks for 'mu'", "params has nothing"),
            {"params": lambda _: {}},
        ),
        "None for the mapping": (
            ValueError,
            ("drift() asks for 'mu'", "params has nothing"),
            {"params": lambda _: None},
        ),
        "unused": (
            ValueError,
            ("params has 'sigma'", "none of", "'mu'"),
            {"params": lambda model: {"mu": model["mu"], "sigma": 1.0}},
        ),
        "not a mapping": (
            TypeError,
            ("params", "mapping", "list"),
            {"params": lambda model: [("mu", model["mu"])]},
        ),
        "reserved": (
            ValueError,
            ("params", "'states'", "reserved"),
            {"params": lambda _: {"states": 1.0}},
        ),
        "a state's name": (
            ValueError,
            ("params", "'level'", "also a state"),
            {"params": lambda _: {"level": 1.0, "mu": 1.0}},
        ),
        "None": (ValueError, ("'mu'", "finite"), in_params(None)),
        "NaN": (ValueError, ("params", "'mu'", "nan", "finite"), in_params(np.nan)),
        "infinite": (ValueError, ("params", "'mu'", "inf", "finite"), in_params(np.inf)),
        "masked": (ValueError, ("'mu'", "finite"), in_params(np.ma.array(1.0, mask=True))),
        "NaN for one subject": (
            ValueError,
            ("params", "'mu'", "subject"),
            in_params(xr.DataArray([0.0, np.nan, 0.0], dims="subject")),
        ),
        "complex": (TypeError, ("mu", "complex"), in_params(1j)),
        "text": (TypeError, ("mu", "'1.0'"), in_params("1.0")),
        "a function": (TypeError, ("mu", "expected numbers"), in_params(math.sin)),
        "a numpyro distribution": (
            TypeError,
            ("mu", "expected numbers"),
            in_params(dist.Normal(0.0, 1.0)),
        ),
        "a distribution outside the model": (
            ValueError,
            ("params", "'mu'", "not in this model", "pm.Normal('mu', ...)"),
            {"params": lambda _: {"mu": pm.Normal.dist(0.0, 1.0)}},
        ),
        "a variable of another model": (
            ValueError,
            ("params", "'mu'", "not in this model"),
            in_params(OF_ANOTHER_MODEL),
        ),
        "an array as long as the panel": (
            ValueError,
            ("drift() returned shape (3,)", "'mu'", "xr.DataArray(mu, dims='subject')"),
            in_params(np.zeros(3)),
        ),
        "a series as long as the panel": (
            TypeError,
            ("'mu'", "Series", "rename_axis('subject')"),
            in_params(pd.Series([0.0, 1.0, 2.0], SUBJECTS)),
        ),
        "a variable without dims": (
            ValueError,
            ("'mu'", "dims='subject' where 'mu' is defined"),
            {"params": lambda _: {"mu": pm.Normal("mus", 0.0, 1.0, shape=3)}},
        ),
        "an expression without dims": (
            ValueError,
            ("'mu'", "no names", "mu = pm.Deterministic('mu', ..., dims='subject')"),
            {
                "params": lambda _: {
                    "mu": pm.Normal("groups", 0.0, 1.0, shape=2)[np.array([0, 1, 1])]
                }
            },
        ),
        "too long": (
            ValueError,
            ("params", "'mu'", "length 4 along 'subject'", "length 3"),
            in_params(xr.DataArray(np.zeros(4), dims="subject")),
        ),
        "unknown labels": (
            ValueError,
            ("mu", "'subject'", "'d'", "labels"),
            in_params(xr.DataArray(np.zeros(3), coords={"subject": list("abd")})),
        ),
        "numbers for names": (
            ValueError,
            ("mu", "'subject'", "labels"),
            in_params(xr.DataArray(np.zeros(3), coords={"subject": [0, 1, 2]})),
        ),
        "an unknown dim": (
            ValueError,
            ("'mu'", "('subj',)", "('subject',)"),
            in_params(xr.DataArray(np.zeros(3), dims="subj")),
        ),
        "varying in time": (
            ValueError,
            ("params", "'mu'", "'time'"),
            {"params": lambda _: {"mu": pm.Normal("mus", 0.0, 1.0, dims="time")}},
        ),
    }
)
def test_bad_params(case):
    kind, words, arguments = case
    refused(kind, *words, **arguments)


@cases(
    {
        "an integer": 1,
        "a boolean": True,
        "a numpy scalar": np.float32(1.0),
        "a jax scalar": jnp.float32(1.0),
        "zero axes": np.array(1),
        "a DataArray": xr.DataArray(np.ones(3), dims="subject"),
        "a shared DataArray": xr.DataArray(1.0),
    }
)
def test_numbers_of_every_kind(case, reference):
    model = build(params=lambda _: {"mu": case})
    expected = terms(build(), mu=1.0)
    np.testing.assert_allclose(terms(model), expected, rtol=1e-7)


def test_labels_of_a_parameter_count():
    values = xr.DataArray([2.0, 0.0, 1.0], coords={"subject": ["c", "a", "b"]})
    together = terms(build(params=lambda _: {"mu": values}))
    apart = [terms(build(), mu=float(values.sel(subject=name)))[i] for i, name in enumerate("abc")]
    np.testing.assert_allclose(together, apart, rtol=1e-12)


def test_the_dim_of_an_expression_is_guessed_by_its_length():
    """A vector of components, whose dim is no batch dim, in a single series."""
    coords = {"year": np.arange(5.0), "animal": ["hare", "lynx"]}
    with pm.Model(coords=coords):
        log_rate = pm.Normal("log_rate", 0.0, 1.0, dims="animal")
        with pytest.raises(
            ValueError, match=r"no names.*Deterministic\('rate', ..., dims='animal'"
        ):
            pds.Trajectory(
                "y",
                two_states(),
                params={"rate": pm.math.exp(log_rate)[::-1]},
                observed=np.zeros((5, 2)),
                dims=("year", "animal"),
            )


def test_variables_of_an_outer_model_are_known_in_an_inner_one(reference):
    with pm.Model(coords=COORDS) as outer:
        mu = pm.Normal("mu", 0.0, 1.0, dims="subject")
        with pm.Model(name="inner"):
            pds.Trajectory("y", ou(), params={"mu": mu}, observed=Y, dims=("subject", "time"))
    function = outer.compile_logp(vars=[outer["inner::y"]], sum=False, mode="FAST_COMPILE")
    np.testing.assert_allclose(function({"mu": np.full(3, 0.3)})[0], reference["terms"], rtol=1e-12)
