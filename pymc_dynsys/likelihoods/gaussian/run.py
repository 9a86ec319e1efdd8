"""A run of a Gaussian filter: likelihood, states and innovations from one linear model."""

from functools import cached_property

from jaxtyping import Array, Float

from pymc_dynsys.likelihoods.base import Given, Likelihood, Moments, Problem, Run
from pymc_dynsys.likelihoods.gaussian import backward, diffuse_backward
from pymc_dynsys.likelihoods.gaussian.diffuse import filter_diffuse
from pymc_dynsys.likelihoods.gaussian.forward import LinearModel, run_filter
from pymc_dynsys.systems.bound import BoundSystem


class GaussianRun(Run):
    """What a linear model makes of a trajectory; ``model`` is made when it is first needed."""

    terms_by_row = True

    def __init__(self, likelihood: "GaussianFilter", system: BoundSystem, problem: Problem) -> None:
        super().__init__(likelihood, system, problem)
        self._filter = likelihood

    @cached_property
    def model(self) -> LinearModel:
        """The system as a Gaussian filter sees it."""
        return self._filter.linear_model(self.system, self.problem)

    def terms(self) -> Float[Array, " term"]:
        """Log-density of the data at each row given the earlier ones."""
        if self.system.n_diffuse:
            return filter_diffuse(self.model, self.system, self.problem).log_likelihood
        return run_filter(self.model, self.system, self.problem).log_likelihood

    def innovations(self) -> Float[Array, "row component"]:
        """Standardised errors of predictions, from the filter itself."""
        smoother = diffuse_backward if self.system.n_diffuse else backward
        return smoother.innovations(self.model, self.system, self.problem)

    def moments(self, given: Given) -> Moments:
        """Smoothed or filtered moments."""
        smoother = diffuse_backward if self.system.n_diffuse else backward
        return smoother.moments(self.model, self.system, self.problem, given)

    def draw(self, given: Given, key: Array) -> Float[Array, "row state"]:
        """A path by mean correction, or filtered states each drawn alone."""
        smoother = diffuse_backward if self.system.n_diffuse else backward
        return smoother.draw(self.model, self.system, self.problem, given, key)


class GaussianFilter(Likelihood):
    """Base of the filters that carry a mean and a covariance through a linear model."""

    forward_scalars = 1
    moved_by_means = True

    def linear_model(self, system: BoundSystem, problem: Problem) -> LinearModel:
        """The system of one trajectory, linearized where it must be."""
        raise NotImplementedError

    def run(self, system: BoundSystem, problem: Problem) -> Run:
        """Filter and smoother of one trajectory."""
        return GaussianRun(self, system, problem)
