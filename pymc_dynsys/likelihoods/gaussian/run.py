"""A run of a Gaussian filter: likelihood, states and innovations from one linear model."""

from functools import cached_property

from jaxtyping import Array, Float

from pymc_dynsys.likelihoods.answers import Faults, Moments, Present
from pymc_dynsys.likelihoods.base import Given, Likelihood, Problem, Run
from pymc_dynsys.likelihoods.gaussian import backward, diffuse, diffuse_backward
from pymc_dynsys.likelihoods.gaussian.forward import LinearModel, run_filter
from pymc_dynsys.systems.bound import BoundSystem


class GaussianRun(Run):
    """What a linear model makes of a trajectory; ``model`` is made when it is first needed."""

    def __init__(self, likelihood: "GaussianFilter", system: BoundSystem, problem: Problem) -> None:
        super().__init__(likelihood, system, problem)
        self._filter = likelihood

    @cached_property
    def model(self) -> LinearModel:
        """The system as a Gaussian filter sees it."""
        return self._filter.linear_model(self.system, self.problem)

    @property
    def terms_by_row(self) -> bool:  # type: ignore[override]
        """Unless states are diffuse, which are known from all rows together."""
        return not self.system.n_diffuse

    def terms(self) -> Float[Array, " term"]:
        """Log-density of the data at each row; of diffuse states, constants and one regression."""
        if self.system.n_diffuse:
            return diffuse.terms(self.model, self.system, self.problem)
        return run_filter(self.model, self.system, self.problem).log_likelihood

    def pointwise(self) -> Float[Array, " row"]:
        """Log-density of the data at each row given the earlier ones."""
        if self.system.n_diffuse:
            return diffuse_backward.pointwise(self.model, self.system, self.problem)
        return self.terms()

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

    def present(self, key: Array) -> Present:
        """A path by mean correction, and how diffuse states that are not told may move it."""
        if self.system.n_diffuse:
            return diffuse_backward.present(self.model, self.system, self.problem, key)
        return super().present(key)

    def faults(self) -> Faults:
        """Diffuse states that the data do not tell, and data predicted without variance."""
        if self.system.n_diffuse:
            return diffuse_backward.faults(self.model, self.system, self.problem)
        record, _ = backward.forward(self.model, self.system, self.problem, project=False)
        untold = super().faults().untold
        return Faults(untold, backward.without_variance(record))


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
