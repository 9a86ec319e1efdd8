"""A guide changes the geometry of a path and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.discretization import Design, Discretization, Doses, Operands, scheme_of
from pymc_dynsys.discretization.operands import kinds_of_doses
from pymc_dynsys.latent.guide import Guide, guided_path
from pymc_dynsys.latent.law import PathLaw, lay_out_paths
from pymc_dynsys.latent.paths import Course, path_of
from pymc_dynsys.likelihoods.program import Program
from pymc_dynsys.systems import bind_system
from pymc_dynsys.systems.bound import BoundSystem
from tests.latent.evaluate import compiled, draw_point
from tests.latent.test_paths import assert_gradient, hunt_model, ou_model
from tests.oracles.cases import load

NAN = np.nan
OF_HUNT = np.array([[[0.3, NAN], [NAN, NAN], [-0.4, 0.2]], [[1.0, 0.1], [NAN, 0.5], [NAN, NAN]]])


def standard(point: dict, names=("x_start", "x_noise")) -> float:
    return float(sum((-0.5 * point[n] ** 2 - 0.5 * np.log(2 * np.pi)).sum() for n in names))


def guide_of_ou(sd: float = 0.3) -> pds.Guided:
    values = np.array([[0.5, NAN, 2.0, 1.0], [0.1, 2.0, NAN, NAN], [1.0, NAN, 3.0, NAN]])
    return pds.Guided(values, sd)


@pytest.fixture(scope="module")
def guided():
    return ou_model(guide_of_ou())


@pytest.fixture(scope="module")
def guided_hunt():
    return hunt_model(parametrization=pds.Guided(OF_HUNT, 0.2))


def step_model(parametrization) -> pm.Model:
    """Every stage of a path is a visit, so that a path has a density: two states, one noise."""
    system = pds.SDE(
        states=("position", "speed"),
        drift=lambda position, speed, a: (speed, -a * position - 0.3 * speed),
        diffusion=jnp.array([[0.0], [0.6]]),
        initial=dist.MultivariateNormal(
            jnp.array([0.3, -0.2]), jnp.array([[0.5, 0.2], [0.2, 0.7]])
        ),
    )
    with pm.Model(coords={"time": [0.0, 0.7, 2.0]}) as model:
        a = pm.Normal("a", 1.0, 0.1)
        pds.Path("x", system, params={"a": a}, dims="time", parametrization=parametrization)
    return model


def random_guide(seed: int) -> pds.Guided:
    """Pseudo-data of two states at three visits, some of them missing."""
    rng = np.random.default_rng(seed)
    values = np.where(rng.uniform(size=(3, 2)) < 0.7, 2 * rng.normal(size=(3, 2)), NAN)
    return pds.Guided(values, np.exp(rng.normal(size=(3, 2))))


def centred(x, a: float) -> float:
    """Log-density of a path under its transitions, by matrix fractions in plain numpy."""
    from scipy.linalg import expm
    from scipy.stats import multivariate_normal as mvn

    total = mvn([0.3, -0.2], [[0.5, 0.2], [0.2, 0.7]]).logpdf(x[0])
    A, S = np.array([[0.0, 1.0], [-a, -0.3]]), np.diag([0.0, 0.36])
    for k, h in enumerate([0.7, 1.3]):
        both = expm(np.block([[-A, S], [np.zeros((2, 2)), A.T]]) * h)
        F = both[2:, 2:].T
        total += mvn(F @ x[k], F @ both[:2, 2:]).logpdf(x[k + 1])
    return float(total)


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("kind", ["free", "guided"])
def test_normals_and_jacobian_are_the_centred_density(kind, seed):
    model = step_model(pds.Free() if kind == "free" else random_guide(seed))
    point = draw_point(model, seed)
    potentials = model.potentials
    f = compiled(model, model["x"], *potentials)

    def flat(z):
        parts = {**point, "x_start": z[:2], "x_noise": z[2:].reshape(2, 2)}
        return f(parts)[0].reshape(-1)

    z = np.concatenate([point["x_start"], point["x_noise"].ravel()])
    x, *correction = f(point)
    jacobian = jax.jacobian(flat)(jnp.asarray(z))
    log_density = standard(point) + sum(map(float, correction))
    log_density -= np.linalg.slogdet(jacobian)[1]
    assert abs(log_density - centred(np.asarray(x), point["a"])) < 1e-9


def single(linear: bool) -> tuple[BoundSystem, Discretization, dict, Course]:
    """One trajectory with steps of one noise in two states, and a dose at its second visit."""
    system = bind_system(
        pds.SDE(
            states=("prey", "drive"),
            drift=lambda prey, drive, a, bend: (prey - bend * prey**3 + drive, -a * drive),
            diffusion=jnp.array([[0.0], [0.5]]),
            observation=lambda: dist.Normal(0.0, 1.0),
            initial=dist.Normal(jnp.array([0.2, 0.0]), jnp.array([0.3, 0.1])),
            events="prey",
        )
        if not linear
        else pds.DiscreteTime(
            states=("prey", "drive"),
            transition=lambda prey, drive, a, bend: (
                prey + bend * drive,
                dist.Normal(a * drive, 0.5),
            ),
            observation=lambda: dist.Normal(0.0, 1.0),
            initial=(0.2, dist.Normal(0.0, 0.1)),
            step=0.2,
        ),
        {"a": (), "bend": ()},
    )
    times, doses = np.array([0.0, 0.4, 1.0]), None
    if not linear:
        doses = Doses(np.array([0.4]), np.array([0.5]), np.array([0]))
    design = Design(system, **kinds_of_doses(doses, system))
    params = {"a": jnp.asarray(0.8), "bend": jnp.asarray(0.9)}
    operands = Operands(None, times, np.asarray(0.0), doses, {}, params)
    scheme = scheme_of(system, pds.EulerMaruyama(dt=0.25))
    program = Program(design, PathLaw(scheme, guided=True))
    grid, moves = lay_out_paths(program, operands)
    return system, scheme, params, Course(grid, moves)


@pytest.mark.parametrize("linear", [True, False])
def test_the_correction_is_a_change_of_variables_where_noise_is_singular(linear):
    """Whatever the guide and the reference: log N(u) - log N(z) + log |du/dz|."""
    system, scheme, params, course = single(linear)
    path = path_of(system, scheme, params, course)
    n, w = path.shape
    rng = np.random.default_rng(3)
    precision = jnp.asarray([[[4.0, 1.0], [1.0, 0.5]], np.zeros((2, 2)), [[9.0, 0.0], [0.0, 1.0]]])
    guide = Guide(jnp.asarray(rng.normal(size=(3, 2))), precision)
    live = np.zeros((n, w), bool)
    live[0] = True
    live[1:][np.asarray(course.moves.active), : 2 if linear else 1] = True
    reference, z = (jnp.where(live, rng.normal(size=(n, w)), 0.0) for _ in range(2))

    @jax.jit
    def found(part):
        return guided_path(
            path, course.moves, guide, reference, jnp.zeros((n, w)).at[live].set(part)
        )

    result = found(z[live])
    # The same recursion from the same normals, up to the order of its sums.
    np.testing.assert_allclose(path.roll(result.u), result.x, atol=1e-14)
    J = jax.jit(jax.jacobian(lambda part: found(part).u[live]))(z[live])
    expected = -0.5 * (result.u**2).sum() + 0.5 * (z**2).sum() + np.linalg.slogdet(J)[1]
    assert abs(result.correction - expected) < 1e-11
    assert abs(result.correction) > 0.1


def test_data_as_the_guide_make_a_kalman_filter():
    """M03: the log-density but for that of the normals is the likelihood of the Kalman filter."""
    case = load("M03")
    system = pds.SDE(
        states="level",
        drift=lambda level, mu: -0.5 * (level - mu),
        diffusion=0.1,
        initial=dist.Normal(0.0, 0.5**0.5),
        observation=lambda level: dist.Normal(level, 0.1),
    )
    with pm.Model(coords={"subject": range(10), "time": case.t}) as model:
        mu = pm.Normal("mu", dims="subject")
        x = pds.Path(
            "x",
            system,
            params={"mu": mu},
            dims=("subject", "time"),
            parametrization=pds.Guided(case.y, 0.1),
        )
        pm.Normal("y", x[..., 0], 0.1, observed=case.y, dims=("subject", "time"))
    with pm.Model(coords={"subject": range(10), "time": case.t}) as marginal:
        mu = pm.Normal("mu", dims="subject")
        pds.Trajectory("y", system, params={"mu": mu}, observed=case.y, dims=("subject", "time"))
    point = draw_point(model, 1)
    (joint,) = compiled(model, model.logp())(point)
    (exact,) = compiled(marginal, marginal.logp())({"mu": point["mu"]})
    assert abs(float(joint) - standard(point) - float(exact)) < 1e-9 * abs(float(exact))


def test_gradients_of_a_guided_panel_with_doses(guided):
    assert_gradient(guided, [guided["x"], *guided.potentials])


def test_gradients_of_guided_euler_steps(guided_hunt):
    assert_gradient(guided_hunt, [guided_hunt["x"], *guided_hunt.potentials])


def test_a_guide_that_says_nothing_is_the_free_path():
    point = draw_point(ou_model(), 6)
    free = ou_model()
    silent = ou_model(pds.Guided(np.full((3, 4), NAN), 1.0))
    (x,) = compiled(free, free["x"])(point)
    y, correction = compiled(silent, silent["x"], *silent.potentials)(point)
    np.testing.assert_allclose(y, x, rtol=1e-12)
    # Normals are unshifted and S is the identity.
    np.testing.assert_array_equal(correction, 0.0)


@pytest.mark.parametrize(
    "values, sd, words",
    [
        (np.zeros((3, 4)), -1.0, r"sd is -1 at subject='a'"),
        (np.zeros((3, 4)), 1.0, r"values has 0 at subject='b'.*time there is NaN"),
        (np.zeros((4, 3)), 1.0, r"shape \(4, 3, 1\), expected \(3, 4, 1\)"),
        (np.full((3, 4), np.inf), 1.0, "infinite at subject='a'"),
    ],
)
def test_guides_that_do_not_fit_are_refused(values, sd, words):
    with pytest.raises(ValueError, match=words):
        ou_model(pds.Guided(values, sd))


def test_labels_of_a_guide_are_matched():
    values = np.array([[0.5, NAN, 2.0, 1.0], [0.1, 2.0, NAN, NAN], [1.0, NAN, 3.0, NAN]])
    labelled = xr.DataArray(
        values, dims=("subject", "visit"), coords={"subject": ["a", "b", "c"], "visit": range(4)}
    ).isel(subject=[2, 0, 1])
    point = draw_point(ou_model(), 6)
    models = [ou_model(pds.Guided(v, 0.3)) for v in (values, labelled.transpose("visit", ...))]
    (x,), (same,) = (compiled(m, m["x"])(point) for m in models)
    np.testing.assert_array_equal(x, same)
