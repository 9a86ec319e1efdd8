"""Systems from matrices and by name: what they are, what they refuse, how they sit in a model."""

import jax
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist
from scipy import stats

import pymc_dynsys as pds

Y = np.zeros((4, 3))
TIME = {"time": np.arange(4.0), "component": np.arange(3)}
MATRICES = {
    "F": 0.5 * np.eye(2),
    "Q": np.eye(2),
    "H": np.ones((3, 2)),
    "R": np.ones(3),
    "m0": np.zeros(2),
    "P0": np.eye(2),
}


def value_of(system, y=Y, dims=("time", "component"), params=None):
    with pm.Model(coords=TIME) as model:
        pds.Trajectory("y", system, params=params, observed=y, dims=dims)
    return float(model.compile_logp()({}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"m0": None}, "give the initial state's m0 and P0"),
        ({"initial": pds.Diffuse()}, "and not both"),
        ({"Q": np.eye(3)}, r"Q has shape \(3, 3\), expected \(2, 2\)"),
        ({"H": np.ones((3, 3))}, r"H has shape \(3, 3\), expected \(3, 2\)"),
        ({"R": np.ones(2)}, r"R has shape \(2,\), expected \(3,\) or \(3, 3\)"),
        ({"b": np.zeros(3)}, r"b has shape \(3,\), expected \(2,\)"),
        ({"P0": np.ones(2)}, r"P0 has shape \(2,\), expected \(2, 2\)"),
        ({"F": 0.5}, r"F has shape \(\), expected a matrix"),
        ({"F": np.eye(3)}, "expected"),
        ({"step": 0.0}, "step: expected a positive number"),
    ],
)
def test_matrices_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        value_of(pds.linear_gaussian(**{**MATRICES, **changes}))


def test_noise_may_be_a_vector_or_a_matrix_and_singular():
    full = value_of(pds.linear_gaussian(**{**MATRICES, "R": np.eye(3)}))
    np.testing.assert_allclose(value_of(pds.linear_gaussian(**MATRICES)), full, rtol=1e-12)
    two = {**MATRICES, "H": np.eye(3, 2), "R": np.array([0.0, 0.0, 1.0])}
    assert np.isfinite(value_of(pds.linear_gaussian(**two)))


def test_a_wrong_covariance_is_an_error():
    with pytest.raises(ValueError, match="not positive semi-definite"):
        value_of(pds.linear_gaussian(**{**MATRICES, "Q": np.diag([1.0, -1.0])}))


def test_parameters_given_twice():
    with pytest.raises(ValueError, match="'F' is given with the system linear_gaussian already"):
        value_of(pds.linear_gaussian(**MATRICES), params={"F": np.eye(2)})


def test_named_dims_of_matrices():
    """Dims among the batch dims are axes of the panel, all others of the matrix."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(5, 4, 3))
    coords = {**TIME, "series": list("abcde"), "latent": [0, 1], "from": [0, 1]}
    H = rng.normal(size=(5, 3, 2))
    with pm.Model(coords=coords) as model:
        F = pm.Normal("F", 0.3 * np.eye(2), 0.1, dims=("latent", "from"))
        system = pds.linear_gaussian(
            F=F,
            Q=np.eye(2),
            H=xr.DataArray(H, dims=("series", "component", "latent")),
            R=np.ones(3),
            initial=pds.Stationary(),
        )
        pds.Trajectory("y", system, observed=y, dims=("series", "time", "component"))
    point = {"F": 0.3 * np.eye(2)}
    total = model.compile_logp(vars=model["y"])(point)
    alone = [
        value_of(
            pds.linear_gaussian(
                F=point["F"], Q=np.eye(2), H=H[i], R=np.ones(3), initial=pds.Stationary()
            ),
            y[i],
        )
        for i in range(5)
    ]
    np.testing.assert_allclose(total, sum(alone), rtol=1e-12)


def test_standard_deviations_by_series():
    y = np.random.default_rng(1).normal(size=(2, 4))
    coords = {"time": np.arange(4.0), "series": ["a", "b"]}
    with pm.Model(coords=coords) as model:
        s = pm.HalfNormal("s", dims="series")
        pds.Trajectory(
            "y", pds.local_level(s) + pds.white_noise(0.5), observed=y, dims=("series", "time")
        )
    sds = np.array([0.3, 2.0])
    total = model.compile_logp(vars=model["y"])({"s_log__": np.log(sds)})
    alone = [
        value_of(pds.local_level(sd) + pds.white_noise(0.5), row, "time")
        for sd, row in zip(sds, y, strict=True)
    ]
    np.testing.assert_allclose(total, sum(alone), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pds.local_level(1.0) + pds.local_level(2.0), "both have 'level'"),
        (lambda: pds.local_level(1.0) + pds.seasonal(4, 1.0, step=2.0), "steps of 1 and 2 differ"),
        (lambda: pds.seasonal(1, 1.0), "period must be an integer of at least 2"),
        (lambda: pds.seasonal(12, 1.0, harmonics=7), "harmonics must be from 1 to 6"),
        (lambda: pds.autoregression(np.ones((2, 3)), 1.0), "do not tell .* order=3 if the last"),
        (lambda: pds.vector_autoregression(np.eye(2), np.eye(2)), "do not tell their number"),
    ],
)
def test_blocks_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_coefficients_by_series_need_an_order():
    y = np.random.default_rng(3).normal(size=(3, 5))
    coords = {"subject": list("abc"), "time": range(5)}
    with pm.Model(coords=coords) as model:
        phi = pm.Normal("phi", dims="subject", initval=[0.1, 0.4, -0.5])
        with pytest.raises(ValueError, match=r"\(3,\) were taken for 3 lags.* order=1"):
            pds.Trajectory("y", pds.autoregression(phi, 1.0), observed=y, dims=("subject", "time"))
        system = pds.autoregression(phi, 1.0, order=1)
        pds.Trajectory("y", system, observed=y, dims=("subject", "time"))
    total = model.compile_logp(vars=model["y"])(model.initial_point())
    expected = 0.0
    for a, row in zip([0.1, 0.4, -0.5], y, strict=True):
        means, sds = np.append(0.0, a * row[:-1]), np.append((1 - a * a) ** -0.5, np.ones(4))
        expected += stats.norm.logpdf(row, means, sds).sum()
    np.testing.assert_allclose(total, expected, rtol=1e-12)


def test_a_matrix_that_changes_in_time_is_an_input():
    parts = {"F": np.eye(2), "Q": np.eye(2), "initial": pds.Diffuse()}
    for R in (1.0, np.eye(1)):
        alone = pds.linear_gaussian(H=np.ones((48, 2)), R=R, **parts)
        message = "which is 48 components .* R is one number.* an input"
        with pytest.raises(ValueError, match=message):
            value_of(alone, np.zeros(48), "time")
    for R in (np.ones(48), np.eye(48)):
        together = pds.linear_gaussian(H=np.ones((48, 2)), R=R, **parts)
        message = r"H of shape \(48, 2\) makes a datum of 48\. .* is an input of a system"
        with pytest.raises(ValueError, match=message):
            value_of(together, np.zeros(48), "time")
    of_time = xr.DataArray(np.ones(48), dims="time")
    with pytest.raises(ValueError, match="'R' varies along the time dim"):
        value_of(pds.linear_gaussian(H=np.ones(2), R=of_time, **parts), np.zeros(48), "time")
    parts |= {"F": np.ones((48, 2, 2))}
    with pytest.raises(ValueError, match=r"F has shape \(48, 2, 2\).* is an input of a system"):
        value_of(pds.linear_gaussian(H=np.ones(2), R=1.0, **parts), np.zeros(48), "time")


def explosive_autoregression():
    return pds.autoregression([0.5, 0.7], 1.0) + pds.local_level(1.0) + pds.white_noise(1.0)


def resting():
    return pds.SDE(
        states=("level",),
        drift=lambda level, rate: -rate * level,
        diffusion=1.0,
        initial=pds.Stationary(),
        observation=lambda level: dist.Normal(level, 1.0),
    )


@pytest.mark.parametrize(
    ("make", "params", "states"),
    [
        (explosive_autoregression, {}, "ar, ar_1"),
        (resting, {"rate": 0.0}, "level"),
        (resting, {"rate": -0.5}, "level"),
    ],
)
def test_no_stationary_distribution_at_the_start(make, params, states):
    message = rf"there is no stationary distribution of {states} at the model's.* an initval"
    with pm.Model(coords={"time": range(5)}), pytest.raises(ValueError, match=message):
        pds.Trajectory("y", make(), params=params, observed=np.zeros(5), dims="time")


def test_blocks_that_do_not_add_up():
    with pytest.raises(ValueError, match="do not add up"):
        value_of(pds.local_level(1.0) + pds.linear_gaussian(**MATRICES))
    with pytest.raises(ValueError, match="has no state"):
        value_of(pds.white_noise(1.0), Y[:, 0], "time")
    with pytest.raises(TypeError):
        pds.local_level(1.0) + 1.0
    with pytest.raises(TypeError, match="initial must be"):
        pds.local_level(1.0, initial=0.0)


@pytest.mark.parametrize("likelihood", [pds.EKF(), pds.UKF(), pds.EnKF(20)])
def test_exactly_diffuse_states_need_the_exact_filter(likelihood):
    system = pds.local_level(1.0) + pds.white_noise(1.0)
    with pm.Model(coords=TIME), pytest.raises(ValueError, match="only Kalman"):
        pds.Trajectory("y", system, observed=Y[:, 0], dims="time", likelihood=likelihood)


def test_diffuse_states_have_no_prior_to_draw_from():
    with pm.Model(coords=TIME) as model:
        system = pds.local_level(pm.HalfNormal("s")) + pds.white_noise(1.0)
        pds.Trajectory("y", system, observed=Y[:, 0], dims="time")
    with pytest.raises(Exception, match="no distribution to draw initial states from"):
        pm.sample_prior_predictive(2, model=model, random_seed=1)
    with pm.Model(coords=TIME) as model:
        system = pds.local_level(pm.HalfNormal("s"), initial=pds.Diffuse(1e6))
        pds.Trajectory("y", system + pds.white_noise(1.0), observed=Y[:, 0], dims="time")
        drawn = pm.sample_prior_predictive(200, random_seed=1)
    assert 500 < float(drawn.prior_predictive["y"].std()) < 2000


def test_an_unstable_autoregression_is_impossible():
    with pm.Model(coords=TIME) as model:
        phi = pm.Normal("phi")
        system = pds.autoregression(phi, 1.0) + pds.white_noise(1.0)
        pds.Trajectory("y", system, observed=Y[:, 0], dims="time")
    logp, slope = model.compile_logp(), model.compile_dlogp()
    assert np.isfinite(logp({"phi": 0.99})) and logp({"phi": 1.01}) == -np.inf
    assert np.isfinite(slope({"phi": 1.01})).all()


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ({"transition": lambda x: 0.5 * x}, "must return the distribution of the next state"),
        ({"initial": pds.Stationary()}, "does not say how many states"),
        ({"initial": pds.Stationary(), "states": ("a", "b")}, "inputs drive|depend on time"),
        ({"initial": (0.0, 0.0, 0.0)}, "returned|shape"),
    ],
)
def test_systems_that_make_no_sense(system, message):
    parts = {
        "transition": lambda x, t: pds.Gaussian(x * t, np.eye(2)),
        "observation": lambda x: pds.Gaussian(x[0], 1.0),
        "initial": np.zeros(2),
    }
    with pm.Model(coords=TIME), pytest.raises((ValueError, TypeError), match=message):
        built = pds.DiscreteTime(**{**parts, **system})
        pds.Trajectory("y", built, observed=Y[:, 0], dims="time")


def test_a_tuple_of_laws():
    """Independent scalar laws, numbers for what is known; other laws are refused."""
    from numpyro import distributions as dist

    def of(transition):
        return pds.DiscreteTime(
            states=("level", "slope"),
            transition=transition,
            observation=lambda level: dist.Normal(level, 0.5),
            initial=(dist.Normal(0.0, 1.0), 0.2),
        )

    tuple_ = of(lambda level, slope: (dist.Normal(level + slope, 0.3), 0.9 * slope))
    joint = of(
        lambda level, slope: pds.Gaussian(
            jax.numpy.stack([level + slope, 0.9 * slope]), np.diag([0.09, 0.0])
        )
    )
    y = np.array([0.1, 0.5, 0.4, 0.9])
    np.testing.assert_allclose(value_of(tuple_, y, "time"), value_of(joint, y, "time"))
    with pytest.raises(ValueError, match="entry 0 is Gamma"):
        value_of(of(lambda level, slope: (dist.Gamma(1.0, 1.0), slope)), y, "time")


def test_a_transition_that_is_not_gaussian_is_simulated_or_left_to_particles():
    from numpyro import distributions as dist

    counts = pds.DiscreteTime(
        states="n",
        transition=lambda n: dist.Poisson(1.0 + 0.5 * n),
        observation=lambda n: dist.Normal(n, 0.1),
        initial=0.0,
    )
    paths = pds.simulate(counts, {}, np.arange(200.0), n=50, random_seed=1)
    late = paths["states"].values[:, 100:, 0]
    assert np.all(late == np.round(late))
    assert abs(late.mean() - 2.0) < 0.1
    with (
        pm.Model(coords=TIME),
        pytest.raises(ValueError, match=r"not Gaussian, .* only likelihood=ParticleFilter\(\)"),
    ):
        pds.Trajectory("y", counts, observed=Y[:, 0], dims="time")


def test_stationary_paths_have_their_law():
    system = pds.autoregression([0.5, 0.3], 1.0)
    paths = pds.simulate(system, {}, np.arange(6.0), n=40_000, random_seed=1)
    y = paths["observations"].values
    variance = (1 - 0.3) / (1 + 0.3) / ((1 - 0.3) ** 2 - 0.5**2)
    np.testing.assert_allclose(y.var(0), variance, rtol=5 * (2 / len(y)) ** 0.5)
    lag = (y[:, 1:] * y[:, :-1]).mean(0) / variance
    np.testing.assert_allclose(lag, 0.5 / 0.7, atol=0.025)


@pytest.mark.parametrize("cov", [2.0, np.ones(2), np.ones((1, 2))])
def test_a_covariance_is_never_broadcast(cov):
    with pytest.raises(ValueError, match=r"cov has shape .*, expected \(2, 2\)"):
        value_of(pds.vector_autoregression(0.3 * np.eye(2)[None], cov), Y[:, :2], TWO)


TWO = ("time", "pair")
TIME["pair"] = np.arange(2)


@pytest.mark.parametrize("name", ["Q", "P0"])
def test_a_covariance_that_is_not_symmetric(name):
    wrong = np.array([[1.0, 0.5], [0.0, 1.0]])
    with pytest.raises(ValueError, match="not symmetric"):
        value_of(pds.linear_gaussian(**{**MATRICES, name: wrong}))


def test_data_may_not_hide_a_singular_noise():
    with pm.Model(coords=TIME):
        R = pm.Data("R", np.array([1.0, 1.0, 0.0]))
        system = pds.linear_gaussian(**{**MATRICES, "R": R})
        with pytest.raises(ValueError, match="singular at the model's initial point"):
            pds.Trajectory("y", system, observed=Y, dims=("time", "component"))


@pytest.mark.parametrize("order", [0, -1, 2.7, True])
def test_orders_that_are_none(order):
    with pytest.raises(ValueError, match="expected a positive number of coefficients"):
        pds.autoregression(0.5, 1.0, order=order)


def test_an_initial_law_by_name_is_refused():
    changes = {"initial": "diffuse", "m0": None, "P0": None}
    with pytest.raises(TypeError, match="initial must be"):
        pds.linear_gaussian(**{**MATRICES, **changes})


@pytest.mark.parametrize("n", [2, 3])
def test_an_observation_matrix_whose_dims_say_it_is_transposed(n):
    start = {"m0": np.zeros(n), "P0": np.eye(n)}
    parts = {"F": np.eye(n), "Q": np.eye(n), "R": np.ones(3), **start}
    H = xr.DataArray(np.ones((n, 3)), dims=("latent", "component"))
    with pytest.raises(ValueError, match=r"H has dims \('latent', 'component'\).* transpose it"):
        value_of(pds.linear_gaussian(H=H, **parts))
    value_of(pds.linear_gaussian(H=H.transpose(), **parts))
