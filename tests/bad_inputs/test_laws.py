"""Noise that is none, negative, or of data that are no numbers: told when the model is built."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds

Y = [1.0, 2.0, 3.0]
USUAL = {
    "states": ("a",),
    "drift": lambda a: -a,
    "diffusion": 0.3,
    "initial": dist.Normal(0.0, 1.0),
    "observation": lambda a: dist.Normal(a, 0.5),
}
STEP = {
    "states": ("a",),
    "transition": lambda a: dist.Normal(0.5 * a, 1.0),
    "initial": dist.Normal(0.0, 1.0),
    "observation": lambda a: dist.Normal(a, 0.5),
}


def sde(**changes):
    return pds.SDE(**{**USUAL, **changes})


def step(**changes):
    return pds.DiscreteTime(**{**STEP, **changes})


def build(system, y=Y, likelihood=None, **options):
    with pm.Model() as model:
        pds.Trajectory(
            "y", system, observed=y, times=[0.0, 1.0, 2.0], likelihood=likelihood, **options
        )
    return model


@pytest.mark.parametrize(
    ("system", "role"),
    [
        (sde(observation=lambda a: dist.Normal(a, 0.0)), "observation"),
        (step(transition=lambda a: dist.Normal(a, 0.0)), "transition"),
        (sde(initial=lambda: dist.Normal(1.0, 0.0)), "initial"),
    ],
)
def test_a_scale_of_zero_names_the_distributions_that_have_none(system, role):
    with pytest.raises(ValueError, match=rf"{role}\(\).*pds\.Gaussian\(mean, 0\.0\).*dist\.Delta"):
        build(system)


def test_a_covariance_of_zeros_is_singular():
    system = sde(
        observation=lambda a: dist.MultivariateNormal(jnp.stack([a, a]), jnp.zeros((2, 2)))
    )
    with pytest.raises(ValueError, match=r"observation\(\) is singular.*pds\.Gaussian"):
        build(system, np.ones((3, 2)))


def test_a_covariance_that_is_zero_only_at_the_initial_point():
    system = sde(
        observation=lambda a, R: dist.MultivariateNormal(jnp.stack([a, a]), R),
    )
    coords = {"subject": ["p", "q", "r"], "time": [0.0, 1.0], "component": [0, 1]}
    with pm.Model(coords=coords) as model:
        root = pm.Normal("root", shape=(2, 2))
        R = pm.Deterministic("R", root @ root.T)
        pds.Trajectory(
            "y",
            system,
            params={"R": R},
            observed=np.ones((3, 2, 2)),
            dims=("subject", "time", "component"),
        )
    assert np.isfinite(model.compile_logp(mode="FAST_COMPILE")({"root": np.eye(2)}))


@pytest.mark.parametrize("diffusion", [-0.3, (-0.3,), np.array([-0.3]), lambda: -0.3])
def test_a_negative_diffusion(diffusion):
    for use in (build, lambda system: pds.simulate(system, {}, [0.0, 1.0], random_seed=1)):
        with pytest.raises(ValueError, match=r"diffusion: -0\.3 is negative"):
            use(sde(diffusion=diffusion))


def test_a_negative_diffusion_by_a_parameter_names_its_subject():
    with pm.Model(coords={"subject": ["p", "q"], "time": [0.0, 1.0, 2.0]}):
        s = xr.DataArray([0.1, -0.2], dims="subject")
        with pytest.raises(ValueError, match=r"diffusion\(\) of a is -0\.2 .*subject='q'.*prior"):
            pds.Trajectory(
                "y",
                sde(diffusion=lambda s: s),
                params={"s": s},
                observed=np.ones((2, 3)),
                dims=("subject", "time"),
            )


@pytest.mark.parametrize(
    "diffusion", [np.array([[-0.3]]), lambda a: jnp.stack([0.2 * (a - 1.0)])], ids=["matrix", "law"]
)
def test_a_loading_may_have_any_sign(diffusion):
    build(sde(diffusion=diffusion))


BOOLEANS = [True, False, True]


@pytest.mark.parametrize(
    "y",
    [
        BOOLEANS,
        np.array(BOOLEANS),
        np.array([True, None, False], object),
        xr.DataArray(BOOLEANS, dims="time"),
    ],
)
def test_booleans_are_no_gaussian_data(y):
    with pytest.raises(TypeError, match=r"observed: got booleans.*astype\(float\)"):
        build(sde(), y, **({"dims": "time"} if isinstance(y, xr.DataArray) else {}))


def test_booleans_as_a_data_variable():
    with pm.Model(coords={"time": [0.0, 1.0, 2.0]}):
        y = pm.Data("flag", np.array(BOOLEANS), dims="time")
        with pytest.raises(TypeError, match="observed: got booleans"):
            pds.Trajectory("y", sde(), observed=y, dims="time")


@pytest.mark.parametrize(
    "system",
    [
        sde(observation=lambda a: dist.StudentT(3.0, a, 0.5)),
        sde(initial=dist.Exponential(1.0)),
        step(transition=lambda a: dist.StudentT(3.0, a, 0.5)),
    ],
)
@pytest.mark.parametrize("likelihood", [pds.Kalman(), pds.EKF()])
def test_no_filter_is_advised_that_refuses_the_law_too(system, likelihood):
    with pytest.raises(ValueError, match=r"needs a Gaussian") as caught:
        build(system, likelihood=likelihood)
    assert not any(f"{name}()" in str(caught.value) for name in ("EKF", "UKF", "EnKF"))


def test_kalman_says_what_the_others_need_beside_a_diffuse_start():
    system = step(transition=lambda a: dist.Normal(jnp.sin(a), 1.0), initial=pds.Diffuse())
    with pytest.raises(ValueError, match=r"Use EKF\(\) or EnKF\(\).*Diffuse\(kappa=\.\.\.\)"):
        build(system, likelihood=pds.Kalman())


def test_a_ragged_input_with_times_of_its_own_gives_no_warning():
    """Warnings are errors in tests."""
    nan = np.nan
    times = xr.DataArray([[0.0, 1.0, 2.0], [0.0, nan, nan]], dims=("subject", "visit"))
    own = xr.DataArray(
        [[1.0, 2.0, nan, nan], [1.0, nan, nan, nan]],
        dims=("subject", "knot"),
        coords={"time": (("subject", "knot"), [[0.0, 1.5, nan, nan], [0.0, nan, nan, nan]])},
    )
    with pm.Model(coords={"subject": ["p", "q"], "visit": range(3)}):
        pds.Trajectory(
            "y",
            sde(drift=lambda a, u: u - a),
            inputs={"u": own},
            times=times,
            observed=np.where(np.isnan(times), nan, 1.0),
            dims=("subject", "visit"),
        )


def test_the_check_of_a_system_in_discrete_time_divides_by_no_zero():
    advice = pds.check_likelihood(build(step()))["check"].attrs["advice"]
    assert advice == ["Kalman() is exact: there is nothing to choose"]
