"""Nested levels: beside dense normals, by quadrature, and who belongs to whom."""

from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
from scipy.special import gammaln, logsumexp
from scipy.stats import multivariate_normal

import pymc_dynsys as pds
from pymc_dynsys.marginal.integrate import gauss_hermite
from pymc_dynsys.marginal.problem import prepare

N_ROWS, N_PATIENTS, N_CLINICS = 60, 14, 6
_rng = np.random.default_rng(5)
# Labels in no order, and one patient without rows.
PATIENT = _rng.integers(0, N_PATIENTS - 1, N_ROWS)
CLINIC_OF = _rng.permutation(np.arange(N_PATIENTS) % N_CLINICS)
HOSPITAL_OF = np.array([1, 0, 0, 1, 1, 0])
X = _rng.normal(size=N_ROWS)
COORDS = {
    "hospital": ["north", "south"],
    "clinic": list("uvwxyz"),
    "patient": range(N_PATIENTS),
    "term": ["at zero", "by x"],
}
NESTED = ("hospital", "clinic", "patient")


def _truth():
    hospital = _rng.normal(size=2)
    clinic = 0.8 * _rng.normal(size=N_CLINICS) + hospital[HOSPITAL_OF]
    patient = np.array([0.7, 0.9])[:, None] * _rng.normal(size=(2, N_PATIENTS))
    mean = clinic[CLINIC_OF[PATIENT]] + patient[0, PATIENT] + patient[1, PATIENT] * X
    return 1.0 + 0.5 * X + mean + 0.5 * _rng.normal(size=N_ROWS)


Y = _truth()


def linear() -> pm.Model:
    """Three levels: hospitals centred, clinics around their hospital, patients not centred."""
    with pm.Model(coords=COORDS) as model:
        b = pm.Normal("b", 0.0, 5.0)
        sd = pm.HalfNormal("sd", 1.0, shape=4)
        noise = pm.HalfNormal("noise", 1.0)
        h = pm.Normal("h", 0.0, sd[0], dims="hospital")
        c = pm.Normal("c", h[HOSPITAL_OF], sd[1], dims="clinic")
        z = pm.Normal("z", dims=("term", "patient"))
        p = pm.Deterministic("p", c[CLINIC_OF] + sd[2] * z[0], dims="patient")
        mean = p[PATIENT] + (b + sd[3] * z[1, PATIENT]) * X
        pm.Normal("y", mean, noise, observed=Y)
    return model


@pytest.fixture(scope="module")
def fit():
    return pds.fit_marginal(linear(), NESTED, priors=True, draws=4, progressbar=False)


def test_a_linear_model_of_three_levels_is_a_dense_normal(fit):
    b, sd, noise = (fit["estimate"][name].values for name in ("b", "sd", "noise"))
    clinic = np.eye(N_CLINICS)[CLINIC_OF[PATIENT]]
    hospital = np.eye(2)[HOSPITAL_OF][CLINIC_OF[PATIENT]]
    patient = np.eye(N_PATIENTS)[PATIENT]
    # Effects: of hospitals, of clinics beyond these, and two of each patient.
    design = np.concatenate([hospital, clinic, patient, patient * X[:, None]], axis=1)
    spread = np.repeat(sd, [2, N_CLINICS, N_PATIENTS, N_PATIENTS])
    scaled = design * spread
    covariance = scaled @ scaled.T + noise**2 * np.eye(N_ROWS)
    exact = multivariate_normal(b * X, covariance).logpdf(Y)
    assert fit.attrs["log_likelihood"] == pytest.approx(exact, abs=1e-8)
    assert fit.attrs["nats_left"] < 1e-8
    gain = scaled.T @ np.linalg.inv(covariance)
    mean = spread * (gain @ (Y - b * X))
    inner = spread[:, None] * (np.eye(len(spread)) - gain @ scaled) * spread
    # The level of a patient at x = 0: of the hospital, the clinic and its own.
    places = np.concatenate(
        [
            np.eye(2)[HOSPITAL_OF][CLINIC_OF],
            np.eye(N_CLINICS)[CLINIC_OF],
            np.eye(N_PATIENTS),
            np.zeros((N_PATIENTS, N_PATIENTS)),
        ],
        axis=1,
    )
    np.testing.assert_allclose(fit["mode"]["p"], places @ mean, atol=1e-7)
    sds = np.sqrt(np.einsum("ij,jk,ik->i", places, inner, places))
    np.testing.assert_allclose(fit["conditional_sd"]["p"], sds, rtol=1e-6)
    assert fit["mode"]["z"].dims == ("term", "patient")
    by_hospital = fit["log_likelihood"]["log_likelihood"]
    assert list(by_hospital["hospital"].values) == ["north", "south"]
    north = HOSPITAL_OF[CLINIC_OF[PATIENT]] == 0
    of_north = multivariate_normal((b * X)[north], covariance[np.ix_(north, north)])
    assert float(by_hospital[0]) == pytest.approx(of_north.logpdf(Y[north]), abs=1e-8)
    assert fit.attrs["check"] == "quadrature with 5 x 5 x 5 x 5 nodes"
    # It is exact where effects are normal.
    assert abs(fit.attrs["approximation_error"]) < 1e-7


def counts(crossed: bool = False) -> pm.Model:
    """Counts with an effect of each clinic and each patient."""
    rng = np.random.default_rng(2)
    clinic_of = CLINIC_OF[PATIENT].copy()
    if crossed:
        clinic_of[0] = (clinic_of[0] + 1) % N_CLINICS
    y = rng.poisson(np.exp(0.5 + 0.4 * Y - 0.4 * Y.mean()))
    with pm.Model(coords=COORDS) as model:
        mean = pm.Normal("mean")
        sd_clinic, sd_patient = pm.HalfNormal("sd_clinic"), pm.HalfNormal("sd_patient")
        c = pm.Normal("c", 0.0, sd_clinic, dims="clinic")
        p = pm.Normal("p", 0.0, sd_patient, dims="patient")
        pm.Poisson("y", pm.math.exp(mean + c[clinic_of] + p[PATIENT]), observed=y)
    return model


def _by_grids(theta: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Log-likelihood of each clinic, by the trapezoidal rule over both levels."""
    mean, sd_clinic, sd_patient = theta[0], *np.exp(theta[1:])
    grid = np.linspace(-7.0, 7.0, 141)
    log_normal = -(grid**2) / 2 - np.log(2 * np.pi) / 2 + np.log(grid[1] - grid[0])
    rate = np.exp(mean + sd_clinic * grid[:, None] + sd_patient * grid)
    of_patient = np.zeros((N_PATIENTS, 141, 141))
    for row in range(N_ROWS):
        of_patient[PATIENT[row]] += y[row] * np.log(rate) - rate - gammaln(y[row] + 1)
    inner = logsumexp(of_patient + log_normal, axis=2)
    of_clinic = np.array([inner[CLINIC_OF == c].sum(0) for c in range(N_CLINICS)])
    return logsumexp(of_clinic + log_normal, axis=1)


@pytest.fixture(scope="module")
def problems():
    model = counts()
    arguments = {"priors": False, "initvals": None, "seed": 0}
    rough = prepare(model, ("clinic", "patient"), quadrature=1, **arguments)
    return model, rough, replace(rough, integral=gauss_hermite(9, (1, 1)))


THETA = np.array([0.3, -0.4, -0.8])


def test_two_levels_by_quadrature_are_the_integral(problems):
    model, rough, fine = problems
    exact = _by_grids(THETA, model.rvs_to_values[model["y"]].data)
    found = fine.marginal()(THETA)
    # Nine nodes leave 6e-7: the inner ones follow the outer ones to first order only.
    np.testing.assert_allclose(found.members, exact, atol=1e-6)
    assert abs(rough.marginal()(THETA).value - exact.sum()) > 0.03


@pytest.mark.parametrize("which", [1, 2])
def test_the_gradient_over_two_levels_is_the_difference_of_values(problems, which):
    marginal = problems[which].marginal()
    answer = marginal(THETA)
    step = 1e-4
    for j, slope in enumerate(answer.gradient):
        move = step * np.eye(3)[j]
        above, below = marginal(THETA + move).value, marginal(THETA - move).value
        # Laplace's is exact, to 2e-8 of differences; that of nodes is Fisher's identity at these.
        tolerance = 5e-8 if which == 1 else 4e-5
        assert slope == pytest.approx((above - below) / (2 * step), abs=tolerance)


def test_parents_are_found_by_values(problems):
    _, rough, _ = problems
    with_rows = np.isin(np.arange(N_PATIENTS), PATIENT)
    (parents,) = rough.density.tree.parents
    np.testing.assert_array_equal(parents[with_rows], CLINIC_OF[with_rows])


def test_crossed_levels_are_refused_by_name():
    message = r"y: element \d+ depends on the member patient\[\d+\] .* crossed, not nested"
    with pytest.raises(ValueError, match=message):
        pds.fit_marginal(counts(crossed=True), ("clinic", "patient"), progressbar=False)


def test_laplace_over_two_levels_is_that_of_a_dense_hessian(problems):
    """All effects in one vector, by Newton's method with the whole matrix."""
    model, rough, _ = problems
    y = model.rvs_to_values[model["y"]].data
    mean, sds = THETA[0], np.exp(THETA[1:])
    design = np.concatenate(
        [np.eye(N_CLINICS)[CLINIC_OF[PATIENT]], np.eye(N_PATIENTS)[PATIENT]], axis=1
    )
    precision = np.repeat(sds**-2.0, [N_CLINICS, N_PATIENTS])
    u = np.zeros(len(precision))
    for _ in range(30):
        rate = np.exp(mean + design @ u)
        hessian = design.T @ (rate[:, None] * design) + np.diag(precision)
        u += np.linalg.solve(hessian, design.T @ (y - rate) - precision * u)
    log_rate = mean + design @ u
    joint = (y * log_rate - np.exp(log_rate) - gammaln(y + 1)).sum()
    joint += (np.log(precision).sum() - (precision * u**2).sum()) / 2
    expected = joint - np.linalg.slogdet(hessian)[1] / 2
    # Determinants are from differences of gradients in the one and exact in the other.
    assert rough.marginal()(THETA).value == pytest.approx(expected, abs=1e-8)


@pytest.mark.slow  # dense Hessians ask for the same without a search
def test_an_effect_of_each_datum_within_subjects_beside_glmer():
    """Epilepsy, y ~ log_base + (1 | subject) + (1 | visit), by lme4 1.1-31 of R 4.2.2."""
    table = pds.load_data("epil")
    people, person = np.unique(table["subject"], return_inverse=True)
    log_base = np.log(table["base"] / 4).to_numpy()
    log_base = log_base - log_base.mean()
    with pm.Model(coords={"subject": people, "visit": range(len(table))}) as model:
        a, b = pm.Normal("a", 0.0, 5.0), pm.Normal("b", 0.0, 5.0)
        sd, sd_visit = pm.HalfNormal("sd"), pm.HalfNormal("sd_visit")
        effect = pm.Normal("effect", 0.0, sd, dims="subject")
        visit = pm.Normal("visit_effect", 0.0, sd_visit, dims="visit")
        log_rate = a + b * log_base + effect[person] + visit
        pm.Poisson("y", pm.math.exp(log_rate), observed=table["seizures"])
    fit = pds.fit_marginal(model, ("subject", "visit"), progressbar=False)
    found = fit["summary"].to_dataframe()
    glmer = np.array([1.58147413, 0.99734303, 0.50409210, 0.36271743])
    off = (found["estimate"].to_numpy() - glmer) / found["standard_error"].to_numpy()
    # It stops short of the top.
    assert np.abs(off).max() < 0.01
    assert 0.0 < fit.attrs["log_likelihood"] + 629.7879102 < 3e-3
