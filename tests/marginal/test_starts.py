"""Hierarchical examples converge from PyMC's starting point; how many jittered starts do."""

import warnings

import numpy as np
import pymc as pm
import pytest

import pymc_dynsys as pds
from examples import indometh, phenobarbital, theophylline
from tests.oracles import test_m03_hierarchical_ou as m03
from tests.oracles import test_ml_marginal as ml
from tests.oracles.cases import load

pytestmark = pytest.mark.slow


def epil() -> pm.Model:
    case = load("ML04")
    design = np.column_stack([np.ones_like(case.lbase), case.lbase, case.trt])
    return ml.poisson(case.y, design, case.subject, "subject", centred=True)


def brood() -> pm.Model:
    case = load("ML05")
    design = np.column_stack([np.ones_like(case.cheight), case.year == 96, case.year == 97])
    return ml.poisson(case.ticks, design.astype(float), case.brood, "brood", centred=False)


def of_example(module) -> pm.Model:
    """With noise in the dynamics, if the maximum has any."""
    return module.build_model(module.read_panel(), process_noise=True)


EXAMPLES = {
    "radon": (lambda: ml.radon(load("ML01"), slopes=False), "county"),
    "radon with slopes": (lambda: ml.radon(load("ML01"), slopes=True), "county"),
    "epil": (epil, "subject"),
    "brood": (brood, "brood"),
    "theophylline, closed form": (lambda: ml.theophylline(load("ML02")), "subject"),
    "theophylline": (lambda: theophylline.build_model(theophylline.read_panel()), "subject"),
    "phenobarbital": (
        lambda: phenobarbital.build_model(phenobarbital.read_panel(), True),
        "subject",
    ),
    "hierarchical ou": (m03.build_model, "subject"),
    "indometh": (lambda: indometh.build_model(indometh.read_panel(), False), "subject"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_converges_from_the_starting_point_of_pymc(name):
    build, over = EXAMPLES[name]
    with warnings.catch_warnings():
        # That Laplace's approximation is rough, where it is; that PyTensor finds no BLAS.
        warnings.filterwarnings("ignore", message=r".*(quadrature|importance sampling) with")
        warnings.filterwarnings("ignore", message="PyTensor could not link to a BLAS")
        fit = pds.fit_marginal(build(), over, progressbar=False)
    assert fit.attrs["nats_left"] < 1e-8


@pytest.mark.parametrize("name", ["radon", "theophylline, closed form"])
def test_twenty_starts_say_how_many_reached_the_best(name):
    build, over = EXAMPLES[name]
    one = pds.fit_marginal(build(), over, check=False, progressbar=False)
    fit = pds.fit_marginal(build(), over, starts=20, check=False, progressbar=False)
    assert fit.attrs["starts"] == 20
    # PyMC's jitter is up to 1 in the logarithm of each rate and sd, from where all find the top.
    assert fit.attrs["starts_at_best"] == 20
    assert fit.attrs["log_likelihood"] == pytest.approx(one.attrs["log_likelihood"], abs=1e-6)


def test_a_correlation_matrix_of_four_effects_that_is_singular_at_the_maximum():
    """Six subjects; nlme, which linearizes, has sds within 7% and correlations within 0.15."""
    model = indometh.build_model(indometh.read_panel(), False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PyTensor could not link to a BLAS")
        fit = pds.fit_marginal(model, "subject", progressbar=False)
    assert fit.attrs["boundary"] == ["covariance"]
    table = fit["summary"].dataset
    estimate = dict(zip(table["parameter"].values, table["estimate"].values, strict=True))
    for name, value in indometh.NLME.items():
        if name.startswith("correlation"):
            np.testing.assert_allclose(estimate[name], value, rtol=0, atol=0.15)
        else:
            np.testing.assert_allclose(estimate[name], value, rtol=0.07)
