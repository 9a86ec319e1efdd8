"""Labels that results cannot carry, dims that belong to others, and what is meant instead."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys import effects
from tests.bad_inputs.models import COORDS, TIMES, Y, build, cases, in_params, ou, refused

WITH_CLINICS = {**COORDS, "clinic": ["n", "s"]}
DRIVEN = ou(drift=lambda level, u: u - 0.5 * level)
VECTOR = ou(drift=lambda level, u: u[0] + u[1] - 0.5 * level)
MEASURED = ou(
    drift=lambda level: -0.5 * level, observation=lambda level, se: dist.Normal(level, se)
)
NEGATIVE = np.where(np.arange(12).reshape(3, 4) == 6, -0.1, 0.2)
NOISY = pds.DiscreteTime(
    states=("level",),
    transition=lambda level, q: dist.Normal(0.5 * level, q),
    initial=dist.Normal(0.0, 1.0),
    observation=lambda level: dist.Normal(level, 0.2),
)


@cases(
    {
        "None": (("None", "a label of its own"), [None, "a", "b"]),
        "nan": (("nan",), [np.nan, 1.0, 2.0]),
        "twice": (("'a' twice",), ["a", "b", "a"]),
        "text and numbers": (("text and 1", "make them all text"), [1, "1", "2"]),
        "a time zone": (
            ("time zone", ".tz_localize(None)"),
            pd.date_range("2024-01-01", periods=3, tz="Europe/Berlin"),
        ),
        "tuples": (("several parts",), [("a", 1), ("b", 1), ("c", 1)]),
    }
)
@pytest.mark.parametrize("dim", ["subject", "clinic"])
def test_labels_that_results_cannot_carry(case, dim):
    words, labels = case

    def params(model):
        return {"mu": pm.Normal("mus", dims=dim).sum()}

    refused(ValueError, dim, *words, coords={**COORDS, dim: labels}, params=params)


@cases(
    {
        "a group's dim": (
            ValueError,
            ("'mu'", "('clinic',)", "effects.combine", "within={'clinic': labels}"),
            {
                "coords": WITH_CLINICS,
                "params": lambda _: {"mu": pm.Normal("mus", dims="clinic")},
            },
        ),
        "no dims": (
            ValueError,
            ("'mu'", "('subject',)", "dims=('subject', ..., 'time')"),
            {"params": lambda _: {"mu": pm.Normal("mus", dims="subject")}, "dims": None},
        ),
        "a matrix input without names": (
            ValueError,
            ("'u'", "(4, 2)", "xr.DataArray(u, dims=('subject', 'time', '...'))"),
            {"system": VECTOR, "inputs": {"u": np.zeros((4, 2))}},
        ),
        "a matrix variable without names": (
            ValueError,
            ("'u'", "dims=('subject', 'time', '...')"),
            {"system": VECTOR, "inputs": lambda _: {"u": pm.Data("u", np.zeros((4, 2)))}},
        ),
        "an input constant in time": (
            ValueError,
            ("'u'", "params={'u': xr.DataArray(..., dims='subject')}"),
            {"system": DRIVEN, "inputs": {"u": xr.DataArray(np.zeros(3), dims="subject")}},
        ),
        "one number a subject": (
            ValueError,
            ("'u'", "3 values", "params={'u': xr.DataArray(..., dims='subject')}"),
            {"system": DRIVEN, "inputs": {"u": np.zeros(3)}},
        ),
        "a variable constant in time": (
            ValueError,
            ("'u'", "params={'u': xr.DataArray(..., dims='subject')}"),
            {"system": DRIVEN, "inputs": lambda _: {"u": pm.Normal("u", dims="subject")}},
        ),
        "a standard error below zero": (
            ValueError,
            ("observation()", "subject='b'", "at time 2", "se = -0.1"),
            {"system": MEASURED, "inputs": {"se": NEGATIVE}},
        ),
        "a scale of the transition below zero": (
            ValueError,
            ("transition()", "subject='b'", "before time 3", "q = -0.1"),
            {"system": NOISY, "inputs": {"q": NEGATIVE}},
        ),
    }
)
def test_what_is_meant_is_said(case):
    kind, words, arguments = case
    refused(kind, *words, **({"params": lambda _: {}} | arguments))


@pytest.mark.parametrize("argument", ["params", "inputs"])
def test_blocks_have_no_place_for_more(argument):
    block = pds.local_level(0.1) + pds.white_noise(0.2)
    given = {"params": lambda _: {}, argument: lambda _: {"u": Y}}
    refused(ValueError, argument, "'u'", "use DiscreteTime", system=block, **given)
    with pytest.raises(ValueError, match="use DiscreteTime"):
        pds.simulate(block, **{"params": {}, argument: {"u": 1.0}}, times=TIMES)


with pm.Model(coords=COORDS):
    OTHER = {
        "mu": pm.Normal("mu", dims="subject"),
        "det": pm.Deterministic("det", pm.Normal("nu", dims="subject") + 1.0, dims="subject"),
        "number": pm.Data("number", 1.0),
        "vector": pm.Data("vector", np.zeros(3), dims="subject"),
        "y": pds.data("y", Y, dims=("subject", "time")),
        "times": pm.Data("times", TIMES, dims="time"),
    }


@cases(
    {
        **{name: ("params: 'mu'", in_params(OTHER[name])) for name in ("mu", "det", "number")},
        "vector": ("'vector' that", in_params(OTHER["vector"])),
        "twice the number": ("'number' that", in_params(2 * OTHER["number"])),
        "observed": ("observed", {"observed": OTHER["y"]}),
        "times": ("times", {"times": OTHER["times"]}),
        "t0": ("t0", {"t0": OTHER["number"]}),
        "inputs": ("inputs: 'u'", {"system": DRIVEN, "inputs": {"u": OTHER["y"]}}),
    }
)
def test_variables_of_another_model(case):
    word, arguments = case
    refused(ValueError, word, "not in this model", "inside the model", **arguments)


def test_text_and_numbers_are_told_apart():
    numbers = xr.DataArray(np.zeros(3), coords={"subject": ["1", "2", "3"]})
    with pytest.raises(ValueError, match=r"'1', which the model's coords do not have \(1, 2, 3\)"):
        build(coords={**COORDS, "subject": [1, 2, 3]}, params=lambda _: {"mu": numbers})
    with pytest.raises(ValueError, match="text and numbers are different labels"):
        build(coords={**COORDS, "subject": [1, 2, 3]}, params=lambda _: {"mu": numbers})


@pytest.mark.parametrize("dim", ["state", "compartment"])
def test_names_of_states_are_labels(dim):
    two = ou(
        states=("depot", "central"),
        drift=lambda depot, central, rate: (-rate[0] * depot, depot - rate[1] * central),
        initial=(0.0, 0.0),
        observation=lambda central: dist.Normal(central, 0.2),
    )
    rate = xr.DataArray([2.0, 1.0], coords={dim: ["central", "depot"]})
    swapped, plain = (
        pds.simulate(two, {"rate": value}, TIMES, dims=(), n=3, random_seed=1)
        for value in (rate, np.array([1.0, 2.0]))
    )
    np.testing.assert_array_equal(swapped["states"], plain["states"])
    if dim != "state":
        return
    coords = {**COORDS, "state": ["central", "depot"]}
    refused(
        ValueError,
        "'rate' has the dim 'state'",
        "the order of the system",
        system=two,
        coords=coords,
        params=lambda _: {"rate": pm.Normal("rate", dims="state")},
    )


@pytest.mark.parametrize("labels", [["c", "a", "b"], [7, 8, 9]])
def test_effects_match_no_labels_with_positions(labels):
    labelled = xr.DataArray([1.0, 2.0, 3.0], coords={"subject": labels})
    coded = pd.Series(["n", "s", "s"], pd.Index(labels, name="subject"), name="clinic")
    with pm.Model(coords={"clinic": ["n", "s"]}):
        pm.Data("age", np.zeros(3), dims="subject")
        of_clinic = pm.Data("of_clinic", [0.0, 1.0], dims="clinic")
        for effect in (
            lambda: effects.varying("a", labelled, 1.0, dims="subject"),
            lambda: effects.varying("b", 0.0, labelled, dims="subject"),
            lambda: effects.combine("c", [labelled], dims="subject"),
            lambda: effects.covariates("d", 1.0, labelled),
            lambda: effects.covariates("e", 1.0, labelled.to_series()),
            lambda: effects.combine("f", of_clinic, dims="subject", within=coded),
        ):
            with pytest.raises(ValueError, match=r"nothing to match .*coords=\{'subject'"):
                effect()
