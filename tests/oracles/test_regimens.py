"""D01 to D21: steady states and resets, from table to log-likelihood and its gradient.

Referees are superposition of doses in closed form at 30 digits, for the SDE dense normals, and for
saturable elimination Lambert's W.
"""

import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.oracles.cases import load
from tests.oracles.test_dose_tables import (
    assert_met,
    evaluate,
    one_compartment,
    oral,
    panel_of,
    params_of,
)


def two_compartments():
    return pds.ODE(
        states=("A1", "A2"),
        drift=lambda A1, A2, CL, V1, Q, V2: (
            -(CL + Q) / V1 * A1 + Q / V2 * A2,
            Q / V1 * A1 - Q / V2 * A2,
        ),
        initial=(0.0, 0.0),
        observation=lambda A1, V1, sd: dist.Normal(A1 / V1, sd),
        events="A1",
    )


CASES = [
    ("D01", two_compartments),
    ("D02", oral),
    ("D03", one_compartment),
    ("D05", oral),
    ("D06", two_compartments),
]


@pytest.mark.parametrize(("name", "system"), [pytest.param(*case, id=case[0]) for case in CASES])
def test_steady_states_and_resets_of_linear_systems(name, system):
    case = load(name)
    found = evaluate(system(), panel_of(case), params_of(case), likelihood=pds.Kalman())
    assert_met(case, found)
    # Closed forms on both sides, so that only rounding differs.
    np.testing.assert_allclose(found[0], case.out.loglik_by_subject, atol=1e-10, rtol=0)


def test_d19_law_of_an_sde():
    """After a steady state the covariance is the stationary one, after a reset the first one."""
    case = load("D19")
    system = pds.SDE(
        states=("G", "A"),
        drift=lambda G, A, ka, k: (-ka * G, ka * G - k * A),
        diffusion=lambda sigma: (0.0, sigma),
        initial=(0.0, 0.0),
        observation=lambda A, V, sd: dist.Normal(A / V, sd),
        events="G",
    )
    found = evaluate(system, panel_of(case), params_of(case), likelihood=pds.Kalman())
    assert_met(case, found)
    # Closed forms on both sides, so that only rounding differs.
    np.testing.assert_allclose(found[0], case.out.loglik_by_subject, atol=1e-10, rtol=0)


@pytest.mark.slow
def test_d11_saturable_elimination():
    case = load("D11")
    system = pds.ODE(
        states=("A",),
        drift=lambda A, Vmax, Km: -Vmax * A / (Km + A),
        initial=(0.0,),
        observation=lambda A, V, sd: dist.Normal(A / V, sd),
    )
    assert_met(case, evaluate(system, panel_of(case), params_of(case)), loose=True)
