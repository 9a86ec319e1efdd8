"""A guide whose standard deviation is a variable of the model."""

import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.latent.evaluate import compiled, draw_point, slope_along

Y = np.array([[1.0, 0.4, np.nan, -0.2], [0.3, np.nan, 0.9, 1.1]])
DIMS = ("subject", "time")
COORDS = {"subject": ["a", "b"], "time": [0.0, 0.5, 1.5, 2.0]}


def system() -> pds.SDE:
    return pds.SDE(
        states="level",
        drift=lambda level: -0.5 * level,
        diffusion=lambda sigma: sigma,
        initial=dist.Normal(0.0, 0.7),
        observation=lambda level, error: dist.Normal(level, error),
    )


def guided(sd=lambda error: error, values=lambda model: Y) -> pm.Model:
    with pm.Model(coords=COORDS) as model:
        sigma, error = pm.LogNormal("sigma"), pm.LogNormal("error", dims="subject")
        guide = pds.Guided(values(model), sd(error))
        x = pds.Path("x", system(), params={"sigma": sigma}, dims=DIMS, parametrization=guide)
        cells = pds.observed_cells(Y, DIMS, name="y")
        mean, spread = cells.of(x[..., 0]), cells.of(error)
        pm.Normal("y", mean, spread, observed=cells.values, dims=cells.dim)
    return model


def test_normals_are_standard_given_data_whatever_the_error_is():
    """Log-density but for that of the normals: the Kalman filter's; and its slope."""
    model = guided()
    with pm.Model(coords=COORDS) as marginal:
        params = {"sigma": pm.LogNormal("sigma"), "error": pm.LogNormal("error", dims="subject")}
        pds.Trajectory("y", system(), params=params, observed=Y, dims=DIMS)
    joint, exact = compiled(model, model.logp()), compiled(marginal, marginal.logp())
    names = ("x_start", "x_noise")
    for seed in (1, 2):
        point = draw_point(model, seed)
        normals = [point[name].ravel() for name in names]
        standard = sum(float((-0.5 * z**2 - 0.5 * np.log(2 * np.pi)).sum()) for z in normals)
        rest = {name: value for name, value in point.items() if name not in names}
        assert abs(float(joint(point)[0]) - standard - float(exact(rest)[0])) < 1e-12
    direction = draw_point(model, 3)
    slope = model.compile_dlogp()(point) @ np.concatenate(
        [np.ravel(direction[v.name]) for v in model.value_vars]
    )
    found = slope_along(lambda p: joint(p)[0], point, direction, 1e-3)
    # What differences of fourth order leave.
    assert abs(slope - found) < 1e-8 * abs(slope)


def test_variables_that_do_not_fit_a_guide_are_refused():
    with pytest.raises(ValueError, match=r"sd has the dims \('group',\).*'subject', 'time'"):
        guided(lambda error: pm.LogNormal("other", dims="group", shape=2))
    with pytest.raises(ValueError, match="sd' is an expression with 1 axes and no names"):
        guided(lambda error: pm.math.stack([1.0, error[0]]))
    with pytest.raises(TypeError, match=r"values: expected numbers.*only sd may be one"):
        guided(values=lambda model: pm.Normal("other"))
