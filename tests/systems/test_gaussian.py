"""The Gaussian law with a covariance that may be singular, and moments of numpyro's own laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist
from scipy import stats

import pymc_dynsys as pds
from pymc_dynsys.systems import gaussian_moments

MEAN = np.array([1.0, -2.0, 0.5])
COV = np.array([[2.0, 0.3, -0.4], [0.3, 1.0, 0.2], [-0.4, 0.2, 0.7]])


def test_density_of_a_regular_law():
    y = np.array([0.3, -1.0, 1.2])
    expected = stats.multivariate_normal(MEAN, COV).logpdf(y)
    np.testing.assert_allclose(pds.Gaussian(MEAN, COV).log_prob(y), expected, rtol=1e-10)


def test_density_of_a_scalar_law():
    law = pds.Gaussian(0.5, 0.09)
    assert law.event_shape == () and law.shape() == ()
    np.testing.assert_allclose(law.log_prob(0.8), stats.norm(0.5, 0.3).logpdf(0.8), rtol=1e-12)


def test_density_on_and_off_a_subspace():
    cov = np.diag([4.0, 0.0, 1.0])
    law = pds.Gaussian(MEAN, cov)
    expected = stats.norm(1.0, 2.0).logpdf(0.0) + stats.norm(0.5, 1.0).logpdf(0.7)
    np.testing.assert_allclose(law.log_prob(np.array([0.0, -2.0, 0.7])), expected, rtol=1e-10)
    assert law.log_prob(np.array([0.0, -2.1, 0.7])) == -np.inf


def test_density_of_a_known_value():
    law = pds.Gaussian(2.0, 0.0)
    assert law.log_prob(2.0) == 0.0
    assert law.log_prob(2.1) == -np.inf


@pytest.mark.parametrize("cov", [COV, np.diag([4.0, 0.0, 1.0]), np.ones((3, 3)), np.zeros((3, 3))])
def test_draws_have_the_moments_of_the_law(cov):
    n = 20_000
    draws = np.asarray(pds.Gaussian(MEAN, cov).sample(jax.random.key(0), (n,)))
    assert draws.shape == (n, 3)
    np.testing.assert_allclose(draws.mean(0), MEAN, atol=4 * np.sqrt(cov.max() / n) + 1e-12)
    error = 4 * np.sqrt((cov**2 + np.outer(np.diag(cov), np.diag(cov))) / n) + 1e-12
    assert np.all(np.abs(np.cov(draws, rowvar=False) - cov) <= error)


def test_scalar_draws():
    draws = pds.Gaussian(1.0, 0.25).sample(jax.random.key(0), (20_000,))
    np.testing.assert_allclose(draws.mean(), 1.0, atol=4 * 0.5 / np.sqrt(20_000))
    np.testing.assert_allclose(draws.std(), 0.5, rtol=4 / np.sqrt(40_000))
    assert pds.Gaussian(1.0, 0.0).sample(jax.random.key(0)) == 1.0


def test_moments_are_told():
    law = pds.Gaussian(MEAN, COV)
    np.testing.assert_array_equal(law.mean, MEAN)
    np.testing.assert_array_equal(law.variance, np.diag(COV))
    assert pds.Gaussian(1.0, 0.25).variance == 0.25


@pytest.mark.parametrize(
    ("mean", "cov", "message"),
    [
        (
            MEAN,
            np.diag([1.0, -1e-3, 1.0]),
            "not positive semi-definite .smallest eigenvalue -0.001",
        ),
        (np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]), "smallest eigenvalue -1"),
        (0.0, -0.1, "smallest eigenvalue -0.1"),
        (np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]]), "must be symmetric"),
        (np.zeros(2), np.diag([1.0, np.nan]), "must be finite"),
        (
            np.zeros(2),
            np.ones(2),
            r"a mean of shape \(2,\) needs a cov of shape \(2, 2\), got \(2,\)",
        ),
        (np.zeros((2, 2)), np.eye(2), r"a mean of shape \(2, 2\)"),
        (np.zeros(3), np.eye(2), r"needs a cov of shape \(3, 3\), got \(2, 2\)"),
    ],
)
def test_covariances_that_are_none(mean, cov, message):
    with pytest.raises(ValueError, match=message):
        pds.Gaussian(mean, cov)


def test_rounding_is_forgiven():
    pds.Gaussian(np.zeros(2), np.array([[1.0, 1.0], [1.0, 1.0 - 1e-13]]))


def test_an_indefinite_covariance_met_while_compiled_has_no_density():
    density = jax.jit(
        lambda c: pds.Gaussian(jnp.zeros(2), jnp.array([[1.0, c], [c, 1.0]])).log_prob(jnp.ones(2))
    )
    assert np.isfinite(density(0.5)) and np.isnan(density(2.0))


def test_gradient_of_the_density():
    def density(mean, scale):
        return pds.Gaussian(mean, scale * COV).log_prob(jnp.array([0.3, -1.0, 1.2]))

    of_mean, of_scale = jax.grad(density, argnums=(0, 1))(jnp.asarray(MEAN), 1.3)
    deviation = np.array([0.3, -1.0, 1.2]) - MEAN
    precise = np.linalg.solve(1.3 * COV, deviation)
    np.testing.assert_allclose(of_mean, precise, rtol=1e-10)
    np.testing.assert_allclose(of_scale, (deviation @ precise - 3) / 2 / 1.3, rtol=1e-10)


LAWS = {
    "Normal": (dist.Normal(1.0, 2.0), 1.0, 4.0),
    "independent Normal": (dist.Normal(jnp.asarray(MEAN), 2.0).to_event(1), MEAN, [4.0] * 3),
    "expanded Normal": (dist.Normal(1.0, 2.0).expand([3]).to_event(1), [1.0] * 3, [4.0] * 3),
    "joint": (dist.MultivariateNormal(jnp.asarray(MEAN), jnp.asarray(COV)), MEAN, COV),
    "low rank": (
        dist.LowRankMultivariateNormal(jnp.zeros(2), jnp.ones((2, 1)), jnp.array([0.1, 0.2])),
        [0.0, 0.0],
        [[1.1, 1.0], [1.0, 1.2]],
    ),
    "Gaussian": (pds.Gaussian(MEAN, COV), MEAN, COV),
    "known scalar": (dist.Delta(2.0), 2.0, 0.0),
    "known vector": (dist.Delta(jnp.asarray(MEAN), event_dim=1), MEAN, [0.0] * 3),
}


@pytest.mark.parametrize("name", LAWS)
def test_moments_of_laws(name):
    law, mean, cov = LAWS[name]
    got_mean, got_cov = gaussian_moments(law)
    np.testing.assert_allclose(got_mean, mean, rtol=1e-6)
    np.testing.assert_allclose(got_cov, cov, rtol=1e-6)
    assert got_mean.shape == law.shape()


@pytest.mark.parametrize(
    "law",
    [
        dist.StudentT(4.0),
        dist.LogNormal(0.0, 1.0),
        dist.TruncatedNormal(0.0, 1.0, low=0.0),
        dist.Poisson(1.0),
    ],
)
def test_other_laws_have_none(law):
    assert gaussian_moments(law) is None


def test_a_negative_scale_is_not_its_square():
    _, variance = jax.jit(lambda s: gaussian_moments(dist.Normal(0.0, s)))(-2.0)
    assert np.isnan(variance)
