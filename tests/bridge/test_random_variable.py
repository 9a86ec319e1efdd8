"""A trajectory does whatever PyMC expects of a random variable."""

import copy

import arviz as az
import cloudpickle
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pymc.distributions.shape_utils import change_dist_size
from pymc.model.transform.optimization import freeze_dims_and_data
from pymc.sampling.jax import get_jaxified_logp
from pytensor.graph.replace import vectorize_graph

import pymc_dynsys as pds
from pymc_dynsys.bridge.ops import TrajectoryOp
from tests.bridge.conftest import OU, SUBJECTS, TIMES, draw_data, panel_model
from tests.bridge.exact import data_law, log_likelihood

pytestmark = [
    pytest.mark.filterwarnings("ignore:Numba will use object mode"),
    pytest.mark.filterwarnings("ignore:The RandomType SharedVariables"),
]
POINT = {"centre": np.array(0.2), "mu": np.array([-0.3, 0.5, 1.0])}
LATER = np.array([2.6, 3.0])


def own_term(model: pm.Model, **compile_arguments):
    """Log-likelihood of each subject as a function of a point."""
    function = model.compile_logp(vars=[model["y"]], sum=False, **compile_arguments)
    return lambda point: function(point)[0]


def made_up_posterior(n: int = 6):
    rng = np.random.default_rng(0)
    return az.from_dict(
        {"posterior": {"centre": rng.normal(size=(2, n)), "mu": rng.normal(size=(2, n, 3))}},
        dims={"mu": ["subject"]},
        coords={"subject": SUBJECTS},
    )


def expected_terms(mu: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    y = draw_data() if y is None else y
    return np.array([log_likelihood(row, level) for row, level in zip(y, mu, strict=True)])


# Drawing -------------------------------------------------------------------------------------


def assert_moments(draws: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> None:
    """Means and covariances of draws within five standard errors."""
    n = len(draws)
    sd = np.sqrt(np.diag(cov))
    assert np.abs(draws.mean(0) - mean).max() < (5 * sd / np.sqrt(n)).max()
    error = np.sqrt((cov**2 + np.outer(sd, sd) ** 2) / n)
    assert (np.abs(np.cov(draws.T) - cov) < 5 * error).all()


@pytest.mark.parametrize("mode", [None, "JAX"])
def test_prior_predictive_has_dims_a_seed_and_the_exact_moments(panel, mode):
    def draw(seed: int):
        with panel:
            return pm.sample_prior_predictive(
                20, random_seed=seed, compile_kwargs={} if mode is None else {"mode": mode}
            )

    with pm.do(panel, {"mu": POINT["mu"]}):
        fixed_draws = pm.sample_prior_predictive(
            4000, random_seed=3, compile_kwargs={} if mode is None else {"mode": mode}
        )
    y = fixed_draws.prior_predictive["y"]
    assert y.dims == ("chain", "draw", "subject", "time")
    assert list(y["subject"].values) == SUBJECTS
    np.testing.assert_array_equal(y["time"], TIMES)
    # Missing data are missing, predictions are not.
    assert not np.isnan(y.values).any()
    laws = [data_law(level) for level in POINT["mu"]]
    mean = np.concatenate([law[0] for law in laws])
    cov = np.kron(np.eye(3), laws[0][1])
    # The zero blocks of the covariance say that subjects are independent.
    assert_moments(y.values.reshape(4000, -1), mean, cov)

    first, again, other = draw(1), draw(1), draw(2)
    np.testing.assert_array_equal(first.prior_predictive["y"], again.prior_predictive["y"])
    assert (first.prior_predictive["y"].values != other.prior_predictive["y"].values).all()


def test_draws_of_a_lone_trajectory_have_the_exact_moments():
    rv = pds.Trajectory.dist(OU, params={"mu": 0.8}, times=TIMES)
    draws = pm.draw(rv, draws=4000, random_seed=1)
    assert_moments(draws, *data_law(0.8))
    many = pds.Trajectory.dist(OU, params={"mu": 0.8}, times=TIMES, size=4000)
    assert_moments(pm.draw(many, random_seed=2), *data_law(0.8))


@pytest.mark.parametrize("mode", [None, pytest.param("JAX", marks=pytest.mark.slow)])
def test_posterior_predictive_is_seeded_and_labelled(panel, mode):
    def draw(seed: int):
        with panel:
            return pm.sample_posterior_predictive(
                made_up_posterior(),
                random_seed=seed,
                progressbar=False,
                compile_kwargs={} if mode is None else {"mode": mode},
            ).posterior_predictive["y"]

    first, again, other = draw(1), draw(1), draw(2)
    assert first.dims == ("chain", "draw", "subject", "time")
    np.testing.assert_array_equal(first, again)
    assert (first.values != other.values).all()


@pytest.mark.parametrize("mode", [None, "JAX"])
def test_predictions_at_other_times_through_set_data(mode):
    model = panel_model(observed="y_data", times="times")
    with model:
        pm.set_data({"times": LATER, "y_data": np.full((3, 2), np.nan)}, coords={"time": LATER})
        predicted = pm.sample_posterior_predictive(
            made_up_posterior(),
            predictions=True,
            random_seed=1,
            progressbar=False,
            compile_kwargs={} if mode is None else {"mode": mode},
        ).predictions["y"]
    assert dict(predicted.sizes) == {"chain": 2, "draw": 6, "subject": 3, "time": 2}
    np.testing.assert_array_equal(predicted["time"], LATER)


def test_predictive_of_frozen_data_in_jax_mode():
    with freeze_dims_and_data(panel_model(observed="y_data", times="times")):
        predicted = pm.sample_posterior_predictive(
            made_up_posterior(), random_seed=1, progressbar=False, compile_kwargs={"mode": "JAX"}
        )
    assert predicted.posterior_predictive["y"].sizes["time"] == len(TIMES)


# Data that change ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [None, "NUMBA", "JAX"])
def test_the_likelihood_follows_the_data_to_other_numbers_and_lengths(mode):
    model = panel_model(observed="y_data", times="times")
    term = own_term(model, mode=mode)
    np.testing.assert_allclose(term(POINT), expected_terms(POINT["mu"]), rtol=1e-10)
    y = np.random.default_rng(8).normal(size=(3, 2))
    y[1, 0] = np.nan
    with model:
        pm.set_data({"times": LATER, "y_data": y}, coords={"time": LATER})
    if mode == "JAX":
        # JAX compiles data in; a new function sees the new ones.
        term = own_term(model, mode=mode)
    expected = [
        log_likelihood(row, level, LATER) for row, level in zip(y, POINT["mu"], strict=True)
    ]
    np.testing.assert_allclose(term(POINT), expected, rtol=1e-10)


def test_more_subjects_through_set_data():
    with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}) as model:
        mu = pm.Normal("mu", 0.0, 1.0)
        y = pds.data("y_data", draw_data(), dims=("subject", "time"))
        pds.Trajectory("y", OU, params={"mu": mu}, observed=y, dims=("subject", "time"))
    term = own_term(model)
    more = np.random.default_rng(8).normal(size=(4, 5))
    with model:
        pm.set_data({"y_data": more}, coords={"subject": list("abcd")})
    expected = expected_terms(np.full(4, 0.1), more)
    np.testing.assert_allclose(term({"mu": np.array(0.1)}), expected, rtol=1e-10)


def test_times_without_their_data_and_unsorted_times_are_named():
    model = panel_model(observed="y_data", times="times")
    term = own_term(model)
    with model:
        pm.set_data({"times": TIMES[::-1].copy()})
    with pytest.raises(ValueError, match=r"times.*index 1 is 1\.2, before 2\.5; sort"):
        term(POINT)
    with model:
        pm.set_data({"times": LATER}, coords={"time": LATER})
    with pytest.raises(ValueError, match="observed has 5 times, but times has 2; set both"):
        term(POINT)


# Comparing and intervening -------------------------------------------------------------------


def test_log_likelihood_is_one_number_a_subject_and_loo_is_by_subject(panel):
    idata = made_up_posterior(50)
    with panel:
        pm.compute_log_likelihood(idata, progressbar=False)
    stored = idata.log_likelihood["y"]
    assert stored.dims == ("chain", "draw", "subject")
    mu = idata.posterior["mu"].values
    for chain, draw in ((0, 0), (1, 7)):
        np.testing.assert_allclose(
            stored.values[chain, draw], expected_terms(mu[chain, draw]), rtol=1e-10
        )
    with pytest.warns(UserWarning, match="Pareto"):
        loo = az.loo(idata, pointwise=True)
    assert loo.elpd_i.dims == ("subject",)
    assert list(loo.elpd_i["subject"].values) == SUBJECTS


def test_do_fixes_a_parameter_and_keeps_missing_data_missing(panel):
    mu = np.array([0.1, 0.2, 0.3])
    done = pm.do(panel, {"mu": mu})
    np.testing.assert_allclose(own_term(done)({"centre": 0.0}), expected_terms(mu), rtol=1e-10)
    half = pm.do(panel, {"centre": 1.0})
    np.testing.assert_allclose(
        own_term(half)({"mu": POINT["mu"]}), expected_terms(POINT["mu"]), rtol=1e-10
    )


def test_an_unobserved_trajectory_can_be_observed_later_with_missing_data():
    free = panel_model(observed=None)
    assert [variable.name for variable in free.free_RVs] == ["centre", "mu", "y"]
    seen = pm.observe(free, {"y": draw_data()})
    assert [variable.name for variable in seen.free_RVs] == ["centre", "mu"]
    assert seen.named_vars_to_dims["y"] == ("subject", "time")
    np.testing.assert_allclose(own_term(seen)(POINT), expected_terms(POINT["mu"]), rtol=1e-10)


def test_an_unobserved_trajectory_is_a_vector_to_be_sampled():
    model = panel_model(observed=None)
    y = np.random.default_rng(1).normal(size=(3, 5))
    slope = model.compile_dlogp(vars=[model["y"]])({**POINT, "y": y}).reshape(3, 5)
    for i, level in enumerate(POINT["mu"]):
        mean, cov = data_law(level)
        np.testing.assert_allclose(slope[i], -np.linalg.solve(cov, y[i] - mean), rtol=1e-9)


def test_debug_finds_no_problem_and_names_the_subject_with_one(panel, capsys):
    panel.debug(POINT)
    assert "No problems found" in capsys.readouterr().out
    panel.debug({**POINT, "mu": np.array([0.0, np.nan, 0.0])})
    told = capsys.readouterr().out
    assert "The variable y has the following parameters" in told
    assert "-> logp = -inf" in told


def test_the_model_prints_its_system_and_likelihood(panel):
    assert "y ~ Trajectory[SDE(level), Kalman(discretization=Exact())]" in panel.str_repr()
    assert "Trajectory" in panel.str_repr(formatting="latex")
    assert panel["y"].owner.op.spec.likelihood == pds.Kalman(pds.Exact())


# Copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "replicate",
    [lambda m: cloudpickle.loads(cloudpickle.dumps(m)), copy.deepcopy, lambda m: m.copy()],
    ids=["cloudpickle", "deepcopy", "Model.copy"],
)
def test_a_copy_has_the_same_likelihood_and_draws(panel, replicate):
    other = replicate(panel)
    assert other["y"] is not panel["y"]
    np.testing.assert_allclose(own_term(other)(POINT), expected_terms(POINT["mu"]), rtol=1e-10)
    draws = [pm.draw(model["y"], random_seed=5, draws=2) for model in (panel, other)]
    np.testing.assert_array_equal(*draws)


def test_size_changes():
    rv = pds.Trajectory.dist(OU, params={"mu": 0.3}, times=TIMES)
    four = change_dist_size(rv, (4,))
    eight = change_dist_size(four, (2,), expand=True)
    draws = pm.draw(eight, random_seed=1)
    assert pm.draw(four).shape == (4, 5)
    assert draws.shape == (2, 4, 5)
    assert len(np.unique(draws[..., 0])) == 8


def test_vectorized_over_parameters_and_over_data(panel):
    (term,) = panel.logp(vars=[panel["y"]], sum=False)
    many = pt.tensor("many", shape=(7, 3), dtype="float64")
    levels = np.random.default_rng(2).normal(size=(7, 3))
    over_mu = vectorize_graph(term, {panel.rvs_to_values[panel["mu"]]: many})
    values = pytensor.function([many], over_mu)(levels)
    np.testing.assert_allclose(values, [expected_terms(row) for row in levels], rtol=1e-10)

    free = panel_model(observed=None)
    (term,) = free.logp(vars=[free["y"]], sum=False)
    mu = free.rvs_to_values[free["mu"]]
    data = pt.tensor("data", shape=(4, 3, 5), dtype="float64")
    over_y = vectorize_graph(term, {free.rvs_to_values[free["y"]]: data})
    y = np.random.default_rng(3).normal(size=(4, 3, 5))
    y[2, 1, 1] = np.nan
    slope = pytensor.gradient.grad(over_y.sum(), mu)
    values, slopes = pytensor.function([data, mu], [over_y, slope])(y, POINT["mu"])
    np.testing.assert_allclose(
        values, [expected_terms(POINT["mu"], panel) for panel in y], rtol=1e-10
    )
    assert slopes.shape == (3,)


# Derivatives ---------------------------------------------------------------------------------


def flat(point: np.ndarray) -> dict[str, np.ndarray]:
    return {"centre": np.asarray(point[0]), "mu": np.asarray(point[1:])}


@pytest.mark.parametrize(
    "likelihood",
    [pds.Kalman(), pds.EnKF(ensemble_size=8), pytest.param(pds.EKF(), marks=pytest.mark.slow)],
)
def test_second_derivatives_are_differences_of_first_ones(likelihood):
    model = panel_model(observed=draw_data(), likelihood=likelihood)
    hessian = model.compile_d2logp(negate_output=False)
    slope = model.compile_dlogp()
    here, step = np.array([0.2, -0.3, 0.5, 1.0]), 1e-4
    differences = [
        (slope(flat(here + step * e)) - slope(flat(here - step * e))) / (2 * step)
        for e in np.eye(4)
    ]
    got = hessian(flat(here))
    np.testing.assert_allclose(got, differences, rtol=1e-6, atol=1e-6)
    assert np.abs(got[1:, 1:].diagonal()).min() > 1


def test_second_derivatives_in_jax(panel):
    import jax

    log_density = get_jaxified_logp(panel, negative_logp=False)
    here = np.array([0.2, -0.3, 0.5, 1.0])
    hessian = jax.hessian(lambda x: log_density([x[0], x[1:]]))(here)
    by_pymc = panel.compile_d2logp(negate_output=False)(flat(here))
    sign = np.sign(hessian[0, 0] / by_pymc[0, 0])
    np.testing.assert_allclose(sign * hessian, by_pymc, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", ["JAX", "NUMBA", "CVM"])
def test_a_value_and_its_gradient_run_the_filter_once(panel, mode):
    function = panel.compile_fn([panel.logp(), panel.dlogp()], mode=mode)
    nodes = function.f.maker.fgraph.apply_nodes
    assert len([node for node in nodes if isinstance(node.op, TrajectoryOp)]) == 1


def test_value_gradient_and_hessian_run_the_filter_once(panel):
    outputs = [panel.logp(), panel.dlogp(), panel.d2logp(negate_output=False)]
    function = panel.compile_fn(outputs)
    nodes = function.f.maker.fgraph.apply_nodes
    assert len([node for node in nodes if isinstance(node.op, TrajectoryOp)]) == 1
    value, slope, _ = function(POINT)
    np.testing.assert_allclose(value, panel.compile_logp()(POINT))
    np.testing.assert_allclose(slope, panel.compile_dlogp()(POINT))


@pytest.mark.parametrize("mode", [None, "JAX"])
def test_the_value_may_shape_its_own_gradient(panel, mode):
    """A cotangent made from the value must not become a cycle when the value is reused."""
    (term,) = panel.logp(vars=[panel["y"]], sum=False)
    total = pt.logsumexp(term)
    mu = panel.rvs_to_values[panel["mu"]]
    slope = pytensor.gradient.grad(total, mu)
    value, slopes = panel.compile_fn([total, slope], mode=mode, inputs=[mu])({"mu": POINT["mu"]})
    terms = expected_terms(POINT["mu"])
    np.testing.assert_allclose(value, np.logaddexp.reduce(terms), rtol=1e-10)
    plain = own_term(panel)
    step = 1e-5
    for i in range(3):
        shift = step * np.eye(3)[i]
        ahead, behind = (plain({**POINT, "mu": POINT["mu"] + s})[i] for s in (shift, -shift))
        weight = np.exp(terms[i] - value)
        np.testing.assert_allclose(slopes[i], weight * (ahead - behind) / (2 * step), rtol=1e-5)
