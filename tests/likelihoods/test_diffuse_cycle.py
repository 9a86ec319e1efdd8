"""A cycle whose start is diffuse, against statsmodels, which starts all its cycles so."""

import numpy as np
import pymc as pm
import pytest
from statsmodels.tsa.statespace.structural import UnobservedComponents

import pymc_dynsys as pds

Y = np.cos(np.arange(40) * 2 * np.pi / 9) + np.sin(np.arange(40.0) ** 2)


@pytest.mark.slow
def test_a_diffuse_damped_cycle_is_that_of_statsmodels():
    theirs = UnobservedComponents(
        Y,
        irregular=True,
        cycle=True,
        damped_cycle=True,
        stochastic_cycle=True,
        cycle_period_bounds=(2, 20),
        use_exact_diffuse=True,
    )
    theirs.ssm.tolerance = 0.0  # of variances that are taken as converged
    expected = theirs.loglike([0.4**2, 0.5**2, 2 * np.pi / 9, 0.9])
    system = pds.cycle(period=9.0, damping=0.9, sigma=0.5, initial=pds.Diffuse())
    with pm.Model(coords={"time": np.arange(40)}) as model:
        pds.Trajectory("y", system + pds.white_noise(0.4), observed=Y, dims="time")
    value = model.compile_logp()({})
    np.testing.assert_allclose(value, expected, rtol=1e-13)  # rounding
