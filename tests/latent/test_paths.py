"""Paths from standard normals against plain loops, and their gradients against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.latent.evaluate import compiled, draw_point, slope_along

NAN = np.nan
TIMES = np.array([[0.0, 1.0, 2.5, 4.0], [0.5, 2.0, NAN, NAN], [1.0, 1.0, 3.0, NAN]])
COORDS = {"subject": ["a", "b", "c"], "visit": np.arange(4)}
FREE = pds.Free()


def events() -> xr.Dataset:
    """A dose before the first visit of b, one at a visit of a, one between visits of c."""
    return xr.Dataset(
        {
            "event_time": (("subject", "event"), [[1.0, 3.0], [0.0, NAN], [2.0, 2.0]]),
            "event_amount": (("subject", "event"), [[2.0, 1.0], [1.5, NAN], [1.0, 0.5]]),
        },
        coords={"subject": COORDS["subject"]},
    )


def ou_loop(point: dict, dt: float | None = None) -> np.ndarray:
    """States at the visits of an OU process with doses, exactly or by one composed Euler step."""
    found = np.zeros((3, 4))
    table = events()
    for i in range(3):
        theta, mu, sigma = np.exp(point["log_theta"][i]), point["mu"], 0.4
        doses = [
            (t, 1, a)
            for t, a in np.stack([table[k].values[i] for k in ("event_time", "event_amount")], -1)
            if np.isfinite(t)
        ]
        visits = [(t, 0, k) for k, t in enumerate(TIMES[i]) if np.isfinite(t)]
        happenings = sorted([*doses, *visits])
        now, used = happenings[0][0], 0
        x = 1.0 + 0.7 * point["x_start"][i, 0]
        for t, kind, what in happenings:
            if t > now:
                decay = np.exp(-theta * (t - now))
                sd = sigma * np.sqrt((1 - decay**2) / (2 * theta))
                x = mu + (x - mu) * decay + sd * point["x_noise"][i, used, 0]
                now, used = t, used + 1
            if kind == 1:
                x += what
            else:
                found[i, what:] = x
    return found


def ou_model(parametrization=FREE) -> pm.Model:
    ou = pds.SDE(
        states=("level",),
        drift=lambda level, theta, mu: -theta * (level - mu),
        diffusion=0.4,
        initial=dist.Normal(1.0, 0.7),
        observation=lambda level, noise: dist.Normal(level, noise),
    )
    with pm.Model(coords=COORDS) as model:
        log_theta = pm.Normal("log_theta", 0.0, 0.5, dims="subject")
        mu = pm.Normal("mu")
        noise = pm.Normal("noise")
        pds.Path(
            "x",
            ou,
            params={"theta": pm.math.exp(log_theta), "mu": mu, "noise": noise},
            times=TIMES,
            events=events(),
            dims=("subject", "visit"),
            parametrization=parametrization,
        )
    return model


@pytest.fixture(scope="module")
def panel():
    return ou_model()


def test_a_ragged_panel_with_doses_is_what_a_loop_gives(panel):
    point = draw_point(panel, 1)
    (x,) = compiled(panel, panel["x"])(point)
    np.testing.assert_allclose(x[..., 0], ou_loop(point), rtol=1e-12)


def test_only_gaps_take_normals_and_all_have_names(panel):
    assert panel.named_vars_to_dims["x"] == ("subject", "visit", "x_state")
    assert panel.named_vars_to_dims["x_noise"] == ("subject", "x_step", "x_source")
    # a: 0-1, 1-2.5, 2.5-3, 3-4; b: 0-0.5, 0.5-2; c: 1-2, 2-3.
    assert panel.initial_point()["x_noise"].shape == (3, 4, 1)
    assert panel.coords["x_state"] == ("level",)


def test_what_only_the_observation_asks_for_is_said_to_be_unused(caplog):
    with caplog.at_level("INFO", logger="pymc_dynsys"):
        ou_model()
    assert "x: the system's observation is not used, nor is noise" in caplog.text
    assert "x: path Exact(): the dynamics are linear" in caplog.text


def assert_gradient(model, outputs, seed=3, tolerance=2e-9, h=1e-3):
    """A weighted sum of outputs through PyTensor: its gradient against differences."""
    values = model.value_vars
    parts = model.replace_rvs_by_values(list(outputs))
    shapes = [np.shape(out.eval()) for out in outputs]
    weights = [np.random.default_rng(seed).normal(size=shape) for shape in shapes]
    total = sum((w * p).sum() for w, p in zip(weights, parts, strict=True))
    slopes = pytensor.grad(total, values, disconnected_inputs="ignore")
    f = model.compile_fn([total, *slopes], mode="FAST_COMPILE", inputs=values)
    point, direction = draw_point(model, seed, 0.5), draw_point(model, seed + 1)
    _, *found = f(point)
    along = sum(float((g * direction[v.name]).sum()) for v, g in zip(values, found, strict=True))
    expected = slope_along(lambda p: f(p)[0], point, direction, h)
    assert np.isfinite(expected)
    assert abs(along - expected) <= tolerance * max(1.0, abs(expected))


def test_gradients_of_a_ragged_panel_with_doses(panel):
    assert_gradient(panel, [panel["x"]])


def hunt_model(**options) -> pm.Model:
    """Two states with one noise, nonlinear, with an input that is a variable."""
    system = pds.SDE(
        states=("prey", "drive"),
        drift=lambda prey, drive, a, u: (prey - prey**3 + drive + u, -a * drive),
        diffusion=lambda prey, s: jnp.array([[0.0], [s * (1 + 0.1 * prey)]]),
        initial=dist.Normal(jnp.array([0.2, 0.0]), jnp.array([0.3, 0.1])),
    )
    times = np.array([[0.0, 0.4, 1.0], [0.2, 0.9, NAN]])
    with pm.Model(coords={"subject": [0, 1], "visit": range(3)}) as model:
        a, s = pm.Normal("a", 1.0, 0.1), pm.Normal("s", 0.5, 0.1, dims="subject")
        u = pm.Normal("u", dims=("subject", "visit"))
        pds.Path(
            "x",
            system,
            params={"a": a, "s": s},
            inputs={"u": u},
            times=times,
            t0=0.0,
            dims=("subject", "visit"),
            discretization=pds.EulerMaruyama(dt=0.25),
            **options,
        )
    return model


@pytest.fixture(scope="module")
def hunt():
    return hunt_model()


def hunt_loop(point: dict) -> np.ndarray:
    """Gaps as (length, steps, visit whose input holds, visit that it leads to)."""
    found = np.zeros((2, 3, 2))
    gaps = [[(0.4, 2, 0, 1), (0.6, 3, 1, 2)], [(0.2, 1, 0, 0), (0.7, 3, 0, 1)]]
    for i in range(2):
        x = np.array([0.2, 0.0]) + np.array([0.3, 0.1]) * point["x_start"][i]
        found[i, 0], used = x, 0
        for gap, steps, held, visit in gaps[i]:
            for _ in range(steps):
                h, z = gap / steps, point["x_noise"][i, used, 0]
                s = point["s"][i] * (1 + 0.1 * x[0])
                u = point["u"][i, held]
                drift = np.array([x[0] - x[0] ** 3 + x[1] + u, -point["a"] * x[1]])
                x = x + drift * h + np.array([0.0, s]) * np.sqrt(h) * z
                used += 1
            found[i, visit:] = x
    return found


def test_euler_steps_are_what_a_loop_gives(hunt):
    assert hunt.initial_point()["x_noise"].shape == (2, 5, 1)
    point = draw_point(hunt, 5)
    (x,) = compiled(hunt, hunt["x"])(point)
    np.testing.assert_allclose(x, hunt_loop(point), rtol=1e-12)


def test_gradients_of_euler_steps(hunt):
    assert_gradient(hunt, [hunt["x"]])


def test_steps_of_a_model_in_discrete_time():
    walk = pds.DiscreteTime(
        states=("level", "slope"),
        transition=lambda level, slope, q: (dist.Normal(level + slope, q), 0.9 * slope),
        initial=(2.0, dist.Normal(0.0, 1.0)),
    )
    with pm.Model(coords={"time": [0.0, 1.0, 3.0]}) as model:
        q = pm.Normal("q", 1.0, 0.1)
        pds.Path("x", walk, params={"q": q}, dims="time")
    point = draw_point(model, 7)
    (x,) = compiled(model, model["x"])(point)
    q, slope, z = point["q"], point["x_start"][1], point["x_noise"]
    assert z.shape == (2, 2)  # linear: a gap of two steps is one move, with its own covariance
    np.testing.assert_allclose(x[0], [2.0, slope])
    np.testing.assert_allclose(x[1], [2.0 + slope + abs(q) * z[0, 0], 0.9 * slope])
    mean = x[1, 0] + x[1, 1] + 0.9 * x[1, 1]
    np.testing.assert_allclose(x[2], [mean + np.sqrt(2) * abs(q) * z[1, 0], 0.81 * x[1, 1]])


def test_an_ode_has_normals_of_its_start_only():
    decay = pds.ODE(
        states=("amount",),
        drift=lambda amount, k: -k * amount,
        initial=lambda x0: dist.Normal(x0, 0.5),
    )
    with pm.Model(coords={"subject": [0, 1], "time": [1.0, 2.0]}) as model:
        k, x0 = pm.Normal("k", 0.5, 0.1), pm.Normal("x0", 3.0, dims="subject")
        pds.Path("x", decay, params={"k": k, "x0": x0}, t0=0.0, dims=("subject", "time"))
    assert [v.name for v in model.free_RVs] == ["k", "x0", "x_start"]
    point = draw_point(model, 8)
    (x,) = compiled(model, model["x"])(point)
    start = point["x0"][:, None] + 0.5 * point["x_start"]
    expected = start * np.exp(-point["k"] * np.array([1.0, 2.0]))
    np.testing.assert_allclose(x[..., 0], expected, rtol=1e-6)


def test_a_known_start_and_an_ode_leave_nothing_free():
    decay = pds.ODE(states=("a",), drift=lambda a, k: -k * a, initial=lambda k: (2.0 + 0.0 * k,))
    with pm.Model(coords={"subject": [0, 1], "time": [0.0, 1.0]}) as model:
        k = pm.Normal("k", 0.5, 0.1)
        x = pds.Path("x", decay, params={"k": k}, dims=("subject", "time"))
    assert [v.name for v in model.free_RVs] == ["k"]
    assert x.eval().shape == (2, 2, 1)


def test_any_law_of_the_first_state():
    growth = pds.SDE(
        states=("n",), drift=lambda n, r: r * n, diffusion=0.1, initial=lambda x0: (x0,)
    )
    with pm.Model(coords={"time": [0.0, 1.0]}) as model:
        x0 = pm.Gamma("x0", 2.0, 1.0)
        x = pds.Path("x", growth, params={"r": 0.1, "x0": x0}, dims="time")
    assert [v.name for v in model.free_RVs] == ["x0", "x_noise"]
    draws = pm.draw([x0, x], 20, random_seed=1)
    np.testing.assert_allclose(draws[1][:, 0, 0], draws[0])


@pytest.mark.slow
def test_normals_make_the_distribution_of_the_system(hunt):
    """Moments of an OU process whose paths are drawn from its normals."""
    ou = pds.SDE(
        states=("x1",), drift=lambda x1: -x1, diffusion=np.sqrt(2.0), initial=pds.Stationary()
    )
    with pm.Model(coords={"time": [0.0, 1.0, 1.5]}):
        x = pds.Path("x", ou, dims="time")
    draws = pm.draw(x, 4000, random_seed=2)[..., 0]
    gaps = np.abs(np.subtract.outer([0.0, 1.0, 1.5], [0.0, 1.0, 1.5]))
    # 4 standard errors of a covariance of 4,000 draws of unit variance.
    np.testing.assert_allclose(np.cov(draws.T), np.exp(-gaps), atol=4 * np.sqrt(2 / 4000))


def test_jax_differentiates_the_same(panel):
    point = draw_point(panel, 9)
    f = compiled(panel, panel["x"])
    jacobian = jax.jacobian(lambda p: f(p)[0])(point)
    # A normal of padding, and one after a visit, move nothing.
    assert not np.asarray(jacobian["x_noise"])[1, :, 0, 1, 2:].any()
    assert not np.asarray(jacobian["x_noise"])[0, 1, 0, 0, 1:].any()
    assert np.isfinite(np.concatenate([np.ravel(j) for j in jacobian.values()])).all()
