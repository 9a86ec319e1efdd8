"""Kalman filter for linear systems observed linearly with Gaussian noise.

The transitions are those of ``discretization/tabulated.py``, the steps of the filter those of
``gaussian/forward.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from pymc_dynsys.discretization import Discretization, Exact, Rows, at_row, refuse_discretization
from pymc_dynsys.discretization.tabulated import TabulatedCrossing, tabulated_crossing
from pymc_dynsys.likelihoods.base import Likelihood, Problem
from pymc_dynsys.likelihoods.gaussian import GaussianFilter
from pymc_dynsys.likelihoods.gaussian.forward import Cross, LinearModel, predict
from pymc_dynsys.likelihoods.gaussian.reduce import Sense, Sensor
from pymc_dynsys.likelihoods.laws import gaussian_law_wanting
from pymc_dynsys.linalg import linearize
from pymc_dynsys.systems.bound import BoundSystem, Params
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.observation import still_unless


@dataclass(frozen=True, repr=False)
class Kalman(GaussianFilter):
    r"""Exact likelihood of a linear-Gaussian system.

    Integrates the latent path out in closed form. The transition over each gap is exact
    (matrix exponential), so irregular and huge gaps, singular diffusions and exactly known
    states cost nothing in accuracy. A visit costs :math:`O(d^3)` for `d` states; distinct
    gaps are discretized once.

    Parameters
    ----------
    discretization : Discretization, optional
        None chooses ``Exact()`` in continuous time, and the system's own steps in discrete time.
        ``EulerMaruyama(dt)`` gives the likelihood of the Euler chain instead, for comparison with
        tools that do that.

    Raises
    ------
    ValueError
        When the model is built, if drift, diffusion, observation or initial distribution are not
        linear and Gaussian; it says which; or if a system in discrete time is given a
        discretization. A covariance that is not positive semi-definite
        during sampling gives minus infinity.

    See Also
    --------
    EKF : for nonlinear systems.

    References
    ----------
    Särkkä (2013), *Bayesian Filtering and Smoothing*, theorem 4.2.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.Kalman()
    Kalman()
    """

    discretization: Discretization | None = None

    default_discretization = Exact()
    exact = True

    def __post_init__(self) -> None:
        scheme = self.discretization
        if scheme is not None and (not isinstance(scheme, Discretization) or scheme.adaptive):
            raise ValueError(
                "Kalman: discretization must be Exact() or EulerMaruyama(dt=...), got "
                f"{self.discretization!r}"
            )

    @classmethod
    def recommended(cls, system: BoundSystem) -> str | None:
        """Wherever it is exact."""
        if system.proof.linear_gaussian:
            return "the system is linear and Gaussian, so this is exact"
        return None

    def check(self, system: BoundSystem) -> None:
        """Refuse systems that are not linear and Gaussian."""
        refuse_discretization("Kalman", system, self.discretization)
        if system.proof.reasons:
            wanting = gaussian_law_wanting(system)
            advice = (
                f"Every Gaussian filter {wanting}"
                if wanting
                else "Use EKF() or EnKF(), which approximate"
            )
            if system.n_diffuse and not wanting:
                advice += "; they need initial=Diffuse(kappa=...)"
            raise ValueError(
                f"Kalman() is exact for linear-Gaussian systems only, but "
                f"{'; '.join(system.proof.because)}. {advice}"
            )

    def linear_model(self, system: BoundSystem, problem: Problem) -> LinearModel:
        """The system as it is."""
        table = tabulated_crossing(system, self.scheme(system), problem.params, problem.grid)
        return LinearModel(crossing_of(table), table.entries, sensor(system, problem.params))

    def reference(
        self, system: BoundSystem, kinds: Mapping[str, type[Likelihood]]
    ) -> Likelihood | None:
        """The exact transition, where another one was asked for."""
        return Kalman()


def crossing_of(table: TabulatedCrossing) -> Cross:
    """Belief at the end of a gap, from a table of transitions."""
    return lambda belief, *entry: predict(belief, *table.transition(*entry))


def sensor(system: BoundSystem, params: Params) -> Sense:
    """Function of mean, time and row that gives the sensor; computed once if none is used."""
    origin = jnp.zeros(system.n_states)

    def at(t: Any, held: Held) -> Sensor:
        d, H = linearize(lambda x: system.observation.moments(x, t, held)[0], origin)
        return Sensor(H, d, system.observation.moments(origin, t, held)[1])

    if not system.proof.observation.timeless:
        return lambda m, P, t, row, seen=None: at(t, held_if_seen(row, params, seen))
    fixed = at(jnp.zeros(()), Held({**params, **_any_inputs(system)}))
    return lambda m, P, t, row, seen=None: fixed


def held_if_seen(row: Rows | None, params: Params, seen: Array | None) -> Held:
    """What holds at a row; without slopes if nothing is seen there."""
    held = at_row(row, params)
    return held if seen is None else still_unless(seen.any(), held)


def _any_inputs(system: BoundSystem) -> dict[str, Array]:
    """Stand-ins for inputs that the result was proved not to depend on."""
    return {name: jnp.ones(shape) for name, shape in system.input_shapes.items()}
