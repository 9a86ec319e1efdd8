"""However a likelihood is computed, in blocks, on several devices or otherwise, it is the same."""

from dataclasses import replace

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from jax.sharding import Mesh
from numpyro import distributions as dist
from pymc.sampling.jax import get_jaxified_logp

import pymc_dynsys as pds
from pymc_dynsys.batching import mapping
from pymc_dynsys.batching.execution import Execution
from pymc_dynsys.likelihoods import program as batch
from pymc_dynsys.systems import bind_system
from tests.helpers import (
    as_arrays,
    compiled_log_likelihood,
    log_likelihood,
    prepare,
    program_of,
    values_and_gradient,
)

N, T = 7, 6
RNG = np.random.default_rng(4)

PENDULUM = pds.SDE(
    states=("angle", "speed"),
    drift=lambda angle, speed, pull, drag: (speed, -pull * jnp.sin(angle) - drag * speed),
    diffusion=lambda noise: jnp.array([[0.0, 0.0], [0.1, 1.0]]) * noise,
    initial=pds.Gaussian(np.array([0.5, 0.0]), np.array([[0.1, 0.02], [0.02, 0.3]])),
    observation=lambda x, sd: dist.Normal(jnp.stack([x[0], x[0] + 0.3 * x[1]]), sd).to_event(1),
)
SPRING = pds.SDE(
    states=("angle", "speed"),
    drift=lambda angle, speed, pull, drag: (speed, -pull * angle - drag * speed),
    diffusion=PENDULUM.diffusion,
    initial=PENDULUM.initial,
    observation=PENDULUM.observation,
)
SHAPES = {"pull": (), "drag": (), "noise": (), "sd": ()}
PARAMS = {
    "pull": RNG.uniform(0.5, 2.0, N),
    "drag": RNG.uniform(0.1, 0.5, N),
    "noise": np.array([0.4]),
    "sd": np.array([0.3]),
}
EULER = pds.EulerMaruyama(dt=0.2)
CASES = {
    "kalman": (SPRING, pds.Kalman()),
    "ekf": (PENDULUM, pds.EKF(EULER)),
    "ukf": (PENDULUM, pds.UKF(EULER)),
    "enkf": (PENDULUM, pds.EnKF(8, EULER)),
    "laplace": (SPRING, pds.Laplace(pds.Exact())),
    "laplace, draws": (SPRING, pds.Laplace(pds.Exact(), draws=4)),
}


def make_data(missing):
    """Data of two components over shared times, or with gaps over times of their own."""
    times = np.linspace(0.0, 2.5, T)
    y = np.random.default_rng(1).normal(size=(N, T, 2))
    if not missing:
        return y, times
    times = np.sort(times + np.random.default_rng(2).uniform(0, 0.4, (N, T)), axis=1)
    times[2, 4:], y[2, 4:] = np.nan, np.nan
    y[0, 1, 0], y[5, 3] = np.nan, np.nan
    return y, times


def evaluate(case, missing=False, execution=None, shape=(N,), scalars=tuple(SHAPES)):
    """Values and gradients with respect to some of the parameters."""
    system, likelihood = CASES[case]
    y, times = make_data(missing)
    program = program_of(
        bind_system(system, SHAPES), likelihood, not missing, execution=execution or Execution()
    )
    y, params = y.reshape(*shape, T, 2), dict(PARAMS)
    if times.ndim > 1:
        times = times.reshape(*shape, T)
    if shape != (N,):
        params = {
            name: value.reshape(shape if value.size > 1 else (1, 1))
            for name, value in params.items()
        }
    grid = prepare(program, times, np.nan)
    fixed = as_arrays(params)

    def function(params):
        return log_likelihood(program, jnp.asarray(y), {**fixed, **params}, grid)

    values, gradient = values_and_gradient(function)({name: fixed[name] for name in scalars})
    return np.asarray(values), {name: np.asarray(g) for name, g in gradient.items()}


def assert_same(found, expected, rtol=1e-10):
    assert np.isfinite(expected[0]).any()
    np.testing.assert_allclose(found[0], expected[0], rtol=rtol)
    assert found[1].keys() == expected[1].keys()
    for name, of in expected[1].items():
        np.testing.assert_allclose(
            found[1][name], of, rtol=rtol, atol=rtol * np.abs(of).max(), err_msg=name
        )


@pytest.fixture(scope="module")
def plain():
    """Results in one piece, computed once each."""
    known = {}

    def of(*key):
        if key not in known:
            known[key] = evaluate(*key)
        return known[key]

    return of


def in_pieces_of(monkeypatch, size, case, scalars=4):
    """Make blocks of at most so many trajectories; returns the sizes of the blocks made."""
    system, likelihood = CASES[case]
    tangents = scalars if scalars <= likelihood.forward_scalars else 1
    numbers = likelihood.largest_reduction(bind_system(system, SHAPES))
    monkeypatch.setattr(mapping, "STEP", numbers * tangents * size)
    sizes = []

    def spy(function, operands, core, rank, part, size):
        sizes.append(size)
        return mapping.map_blocks(function, operands, core, rank, part, size)

    monkeypatch.setattr(batch, "map_blocks", spy)
    return sizes


@pytest.mark.parametrize(
    ("case", "missing"),
    [
        ("kalman", False),
        ("kalman", True),
        ("enkf", True),
        # Gaussian filters too, which are mapped as the Kalman filter is.
        pytest.param("ekf", True, marks=pytest.mark.slow),
        pytest.param("ukf", True, marks=pytest.mark.slow),
    ],
)
def test_blocks_change_nothing(plain, monkeypatch, case, missing):
    expected = plain(case, missing)
    # Seven in blocks of three: the last two overlap.
    sizes = in_pieces_of(monkeypatch, 3, case)
    assert_same(evaluate(case, missing), expected)
    assert set(sizes) == {3}


@pytest.mark.parametrize("case", ["kalman", "enkf"])
def test_forward_gradients_are_taken_in_blocks_too(plain, monkeypatch, case):
    """One parameter a trajectory is differentiated forwards."""
    expected = plain(case, False)
    sizes = in_pieces_of(monkeypatch, 2, case, scalars=1)
    values, gradient = evaluate(case, scalars=("pull",))
    assert_same((values, gradient), (expected[0], {"pull": expected[1]["pull"]}))
    assert set(sizes) == {2}


@pytest.mark.slow
def test_one_scalar_through_a_solver_that_differentiates_backwards_only(plain, monkeypatch):
    """An adaptive solver has no derivatives forwards, however few the parameters."""
    monkeypatch.setitem(CASES, "moments", (PENDULUM, pds.EKF(pds.MomentODE(rtol=1e-9, atol=1e-9))))
    monkeypatch.setitem(CASES, "fine", (PENDULUM, pds.EKF(pds.LocalLinearization(dt=0.01))))
    found = evaluate("moments", scalars=("pull",))
    expected = evaluate("fine", scalars=("pull",))
    # Two discretizations: what counts is that there is a gradient, and that it is the right one.
    assert_same(found, expected, rtol=2e-2)


def test_blocks_are_cut_along_the_longest_of_several_batch_axes(plain, monkeypatch):
    expected = plain("enkf", True, None, (1, N))
    sizes = in_pieces_of(monkeypatch, 4, "enkf")
    assert_same(evaluate("enkf", True, None, (1, N)), expected)
    assert set(sizes) == {4}


@pytest.mark.parametrize(
    ("case", "devices"),
    [
        ("kalman", 2),
        ("enkf", 3),
        pytest.param("ekf", 7, marks=pytest.mark.slow),
        pytest.param("laplace", 3, marks=pytest.mark.slow),
        pytest.param("laplace, draws", 2, marks=pytest.mark.slow),
    ],
)
def test_devices_share_trajectories_and_change_nothing(plain, case, devices):
    assert len(jax.devices()) >= 7
    assert_same(evaluate(case, True, Execution(devices)), plain(case, True))


def test_devices_work_in_blocks_too(plain, monkeypatch):
    expected = plain("enkf", True)
    sizes = in_pieces_of(monkeypatch, 1, "enkf")
    assert_same(evaluate("enkf", True, Execution(2)), expected)
    assert set(sizes) == {1}


def test_work_is_really_on_several_devices():
    program = program_of(
        bind_system(SPRING, SHAPES),
        pds.Kalman(),
        True,
        execution=Execution((("cpu", 0), ("cpu", 1))),
    )
    y, times = make_data(False)
    grid = prepare(program, times, np.nan)
    function = jax.jit(lambda params: log_likelihood(program, jnp.asarray(y), params, grid))
    found = function(as_arrays(PARAMS))
    assert found.sharding.device_set == set(jax.devices()[:2])


@pytest.mark.optimized
@pytest.mark.parametrize("case", ["kalman", pytest.param("ekf", marks=pytest.mark.slow), "enkf"])
def test_single_precision_is_close_and_comes_out_double(plain, case):
    values, gradient = evaluate(case, True, Execution(dtype="float32"))
    expected, slopes = plain(case, True)
    assert values.dtype == gradient["pull"].dtype == np.float64
    # Rounding of 6e-8 in numbers of order 10, gathered over the visits and gaps of up to 12 steps.
    np.testing.assert_allclose(values, expected, atol=1e-4)
    assert np.abs(values - expected).max() > 1e-9
    for name, of in slopes.items():
        np.testing.assert_allclose(gradient[name], of, atol=2e-5 * np.abs(of).max(), err_msg=name)


@pytest.mark.optimized
def test_single_precision_takes_singular_and_correlated_covariances():
    """Initial covariances of rank one, more components than states, dense noise covariances."""
    rng = np.random.default_rng(0)
    v, root, y = rng.normal(size=(8, 2)), rng.normal(size=(8, 3, 3)), rng.normal(size=(8, 5, 3))
    y[:, 2, 1] = np.nan
    system = pds.SDE(
        drift=lambda x: jnp.stack([x[1], -x[0] - 0.3 * x[1]]),
        diffusion=np.array([0.0, 0.5]),
        initial=lambda v: pds.Gaussian(np.zeros(2), jnp.outer(v, v)),
        observation=lambda x, root: dist.MultivariateNormal(
            jnp.stack([x[0], x[1], x[0] - x[1]]), root @ root.T + 0.1 * np.eye(3)
        ),
    )
    params = as_arrays({"v": v, "root": root})
    found = []
    for likelihood in (pds.Kalman(), pds.EnKF(12, pds.EulerMaruyama())):
        for dtype in ("float64", "float32"):
            program = program_of(
                bind_system(system, {"v": (2,), "root": (3, 3)}),
                likelihood,
                False,
                execution=Execution(None, dtype),
            )
            grid = prepare(program, np.arange(5.0), np.nan)
            found.append(np.asarray(compiled_log_likelihood(program, y, params, grid)))
    exact, single, ensemble, single_ensemble = found
    # Whitening by a dense noise covariance multiplies the rounding by its condition number.
    np.testing.assert_allclose([single, single_ensemble], [exact, ensemble], atol=1e-3)


def test_a_trajectory_without_a_likelihood_spoils_no_other_in_its_block(monkeypatch):
    """One whose noise is negative lies where two blocks, and two devices, overlap."""
    y, times = make_data(False)
    program = program_of(bind_system(PENDULUM, SHAPES), pds.EKF(EULER), True)
    shared = replace(program, execution=Execution(2))
    grid = prepare(program, times, np.nan)
    params = as_arrays({**PARAMS, "sd": np.where(np.arange(N) == 4, -1.0, 0.3)})

    def both(program):
        function = lambda params: log_likelihood(program, jnp.asarray(y), params, grid)  # noqa: E731
        values, gradient = values_and_gradient(function)(params)
        return np.asarray(values), {name: np.asarray(g) for name, g in gradient.items()}

    expected = both(program)
    assert expected[0][4] == -np.inf and np.isfinite(expected[0]).sum() == N - 1
    assert all(np.isfinite(g).all() for g in expected[1].values())
    in_pieces_of(monkeypatch, 3, "ekf")
    assert_same(both(program), expected)
    assert_same(both(shared), expected)


@pytest.mark.optimized
def test_single_precision_survives_tiny_observation_noise():
    """Joseph's form keeps a covariance right where the plain update has lost it."""
    y, times = np.random.default_rng(3).normal(size=(40, 2)) * 1e-3, np.arange(40.0) / 10
    params = {"pull": 1.0, "drag": 0.2, "noise": 0.5, "sd": 1e-3}

    def value(dtype):
        program = program_of(
            bind_system(SPRING, SHAPES), pds.Kalman(), True, execution=Execution(dtype=dtype)
        )
        grid = prepare(program, times, np.nan)
        return float(log_likelihood(program, jnp.asarray(y), as_arrays(params), grid))

    exact = value("float64")
    assert abs(value("float32") - exact) < 1e-4 * abs(exact)


def equations(jaxpr):
    """Number of equations in a program, those inside of others included."""
    inner = [
        equations(sub.jaxpr if hasattr(sub, "jaxpr") else sub)
        for eqn in jaxpr.eqns
        for value in eqn.params.values()
        for sub in (value if isinstance(value, tuple | list) else (value,))
        if hasattr(sub, "jaxpr") or hasattr(sub, "eqns")
    ]
    return len(jaxpr.eqns) + sum(inner)


@pytest.mark.parametrize("case", ["kalman", "ekf", "enkf"])
def test_the_program_does_not_grow(monkeypatch, case):
    """Not with subjects, visits or substeps."""

    def size(n, visits, dt=0.05):
        system, likelihood = CASES[case]
        if case != "kalman":
            likelihood = replace(likelihood, discretization=pds.EulerMaruyama(dt=dt))
        program = program_of(bind_system(system, SHAPES), likelihood, True)
        grid = prepare(program, np.linspace(0.0, visits * 0.5, visits), np.nan)
        y = jnp.zeros((n, visits, 2))
        params = {name: jnp.ones(n) for name in SHAPES}
        total = jax.value_and_grad(lambda p: log_likelihood(program, y, p, grid).sum())
        return equations(jax.make_jaxpr(total)(params).jaxpr)

    small = size(3, 5)
    assert small > 50
    assert size(30, 5) == size(3, 50) == size(3, 5, dt=0.01) == small
    # Where blocks set in, once, it is their loop that is added.
    monkeypatch.setattr(mapping, "STEP", 500)
    many = size(200, 5)
    assert many == size(400, 5) < 1.5 * small


SEASON = pds.SDE(
    states=("angle", "speed"),
    drift=lambda angle, speed, t, pull, drag: (speed + jnp.sin(t), -pull * angle - drag * speed),
    diffusion=PENDULUM.diffusion,
    initial=PENDULUM.initial,
    observation=PENDULUM.observation,
)


def model(system=SPRING, **options):
    y, times = make_data("times" not in options)
    coords = {"subject": np.arange(N), "visit": np.arange(T), "part": ["a", "b"]}
    with pm.Model(coords=coords) as model:
        pull = pm.LogNormal("pull", 0.0, 0.5, dims="subject")
        others = {"drag": 0.2, "noise": 0.4, "sd": pm.HalfNormal("sd", 1.0)}
        pds.Trajectory(
            "y",
            system,
            params={"pull": pull, **others},
            observed=y,
            dims=("subject", "visit", "part"),
            **{"times": times, **options},
        )
    return model


def test_chains_side_by_side_share_two_devices_as_one():
    """Value and gradient as a sampler with vectorized chains asks for them."""
    point = [0.3 * np.arange(2 * N).reshape(2, N) / N, np.array([-0.5, 0.2])]
    found = []
    for options in ({}, {"devices": 2}):
        density = get_jaxified_logp(model(**options), negative_logp=False)
        found.append(jax.jit(jax.vmap(jax.value_and_grad(density)))(point))
    for alone, shared in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(shared, alone, rtol=1e-10)


@pytest.mark.slow
def test_a_model_on_two_devices_samples_as_on_one():
    def posterior(**options):
        return pm.sample(
            draws=5,
            tune=5,
            chains=2,
            random_seed=1,
            model=model(**options),
            nuts_sampler="numpyro",
            nuts={"chain_method": "vectorized"},
            progressbar=False,
            compute_convergence_checks=False,
        )["posterior"]

    alone, shared = posterior(), posterior(devices=2)
    np.testing.assert_allclose(shared["pull"], alone["pull"], rtol=1e-6)


def test_chains_in_parallel_on_shared_devices_are_an_error_with_the_mend():
    with pytest.raises(ValueError, match=r'devices: .*"chain_method": "vectorized"'):
        pm.sample(
            draws=2,
            tune=2,
            chains=2,
            model=model(devices=2),
            nuts_sampler="numpyro",
            progressbar=False,
        )


def test_devices_can_be_counted_listed_or_a_mesh():
    mesh = Mesh(np.array(jax.devices()[:2]), ("any",))
    plain = model()
    counted, listed, meshed = (model(devices=d) for d in (2, jax.devices()[:2], mesh))
    for made in (counted, listed, meshed):
        execution = made["y"].owner.op.spec.program.execution
        assert execution.mesh_devices == tuple(jax.devices()[:2])
    point = plain.initial_point()
    expected = plain.compile_logp()(point)
    for made in (counted, cloudpickle.loads(cloudpickle.dumps(meshed))):
        np.testing.assert_allclose(made.compile_logp()(point), expected)


def test_devices_need_a_batch_dim_and_diffuse_states_double_precision():
    y = np.arange(5.0)
    with pm.Model(coords={"time": y}):
        walk = pds.local_level(pm.HalfNormal("level")) + pds.white_noise(0.3)
        with pytest.raises(ValueError, match="devices: they share the trajectories of a batch dim"):
            pds.Trajectory("y", walk, observed=y, dims="time", devices=1)
        with pytest.raises(ValueError, match="dtype: exactly diffuse states need double precision"):
            pds.Trajectory("y", walk, observed=y, dims="time", dtype="float32")


@pytest.mark.optimized
def test_check_likelihood_measures_what_single_precision_costs():
    check = pds.check_likelihood(model(dtype="float32"))["check"]
    cost = np.abs(check["precision_change"].values).max()
    assert 1e-9 < cost < 1e-3
    assert "single precision will do" in " ".join(check.attrs["advice"])
    assert (pds.check_likelihood(model())["check"]["precision_change"] == 0).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"devices": 0}, ValueError, "devices: 0 asked for, but JAX has"),
        ({"devices": 10_000}, ValueError, "xla_force_host_platform_device_count"),
        ({"devices": 8}, ValueError, "longest batch dim, which has 7"),
        ({"devices": "all"}, TypeError, "devices: expected a number"),
        ({"devices": True}, TypeError, "devices: expected a number"),
        ({"devices": []}, TypeError, "devices: expected JAX devices"),
        ({"devices": jax.devices()[:1] * 2}, ValueError, "devices: one of them is there twice"),
        ({"devices": [0, 1]}, TypeError, "devices: expected JAX devices"),
        ({"dtype": "float16"}, ValueError, "dtype: expected 'float64' or 'float32'"),
        (
            {"dtype": "float32", "likelihood": pds.EKF(pds.MomentODE())},
            ValueError,
            "dtype: MomentODE controls its error in double precision",
        ),
        (
            {"system": SEASON, "dtype": "float32", "times": 1e7 + np.arange(T)},
            ValueError,
            "dtype: the system depends on time, and single precision tells times near 1e",
        ),
        ({"dtype": 32}, ValueError, "dtype: expected 'float64' or 'float32'"),
    ],
)
def test_impossible_requests_are_errors_when_the_model_is_built(options, error, message):
    with pytest.raises(error, match=message):
        model(**options)
