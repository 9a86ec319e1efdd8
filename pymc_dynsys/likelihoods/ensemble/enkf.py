r"""Ensemble Kalman filter for nonlinear systems with Gaussian observation noise.

Legend: X ensemble (member, state); Z the same, joined by the predicted data where these are not
affine in the states; A its anomalies; H, d rows that pick or compute data from Z; a anomalies of
one component; s innovation variance; r noise variance. Components are assimilated one at a time
on mean and anomalies, so no matrix is inverted.
Square-root analysis: Whitaker and Hamill (2002), eq. 10-13; perturbed observations: Burgers, van
Leeuwen and Evensen (1998), eq. 9-13.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization import (
    Discretization,
    TimeGrid,
    default_scheme,
    over_gap,
    refuse_discretization,
    require_steps,
)
from pymc_dynsys.discretization.doses import give_doses
from pymc_dynsys.discretization.euler_maruyama import safe_sqrt
from pymc_dynsys.discretization.grid import substep_length
from pymc_dynsys.likelihoods.base import Likelihood, Problem
from pymc_dynsys.likelihoods.ensemble.noise import Noise, draw_noise
from pymc_dynsys.likelihoods.ensemble.run import EnsembleRun, Ensembles, RowEnsemble
from pymc_dynsys.likelihoods.ensemble.sense import noise_at, sense
from pymc_dynsys.likelihoods.ensemble.variants import SquareRoot, Variant
from pymc_dynsys.likelihoods.gaussian.forward import log_density, over_components
from pymc_dynsys.likelihoods.gaussian.reduce import independent
from pymc_dynsys.likelihoods.laws import require_gaussian
from pymc_dynsys.linalg import outer, psd_factor
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.held import Held

SQUARE_ROOT = SquareRoot()

STEPS_PER_GAP = 4
"""Euler steps in the median gap when the user states none."""


@dataclass(frozen=True, repr=False)
class EnKF(Likelihood):
    r"""Likelihood from an ensemble carried through the nonlinear dynamics.

    .. math:: \log p(y_k \mid y_{1:k-1}) \approx \log N(y_k; \bar y_k, S_k + R)

    with mean and covariance of the ensemble's predicted data. The noise is drawn once from
    `seed`, independently for each trajectory, so the likelihood is a fixed smooth function
    of the parameters and its gradient is exact for that function. It differs from the true
    likelihood by an error of order :math:`1/\sqrt{M}` for `M` members and a bias of order
    :math:`1/M`, per trajectory; on the Ornstein-Uhlenbeck panel of the examples 100 members
    shift a subject's posterior mean by a fraction of its sd and about 400 are needed to
    stay within 0.15 sd for every subject.

    The normals of each step are centred and whitened over the ensemble (second-order exact
    sampling), which removes the largest part of the sampling error.

    Parameters
    ----------
    ensemble_size : int
        Number of members, at least 2; use several times the number of states.
    discretization : Discretization, optional
        How members cross a gap. None chooses ``Exact()`` for linear dynamics, else
        ``EulerMaruyama`` with a quarter of the median gap, and says so.
    seed : int
        Seed of the fixed noise. Compare seeds to see the error.
    variant : SquareRoot or Perturbed
        Deterministic analysis (smaller error), or the original one with perturbed data.

    Raises
    ------
    ValueError, TypeError
        For an ensemble of fewer than two, when the likelihood is made; when the model is
        built, if the observation or the initial distribution is not Gaussian.

    See Also
    --------
    EKF : cheaper and without sampling error.
    Kalman : exact for linear systems.

    References
    ----------
    Evensen (2009), *Data Assimilation: The Ensemble Kalman Filter*, ch. 4.
    Pham (2001), *Monthly Weather Review* 129, 1194-1207 (second-order exact sampling).

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.EnKF(ensemble_size=400, seed=1).variant
    SquareRoot()
    """

    ensemble_size: int = 100
    discretization: Discretization | None = None
    seed: int = 0
    variant: Variant = SQUARE_ROOT

    forward_scalars = 4
    moved_by_means = True
    begins_anew = False

    def __post_init__(self) -> None:
        size = self.ensemble_size
        if isinstance(size, bool) or not isinstance(size, int | np.integer):
            raise TypeError(f"EnKF: ensemble_size must be an integer, got {size!r}")
        if size < 2:
            raise ValueError(f"EnKF: ensemble_size must be at least 2, got {size}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int | np.integer):
            raise TypeError(f"EnKF: seed must be a non-negative integer, got {self.seed!r}")
        if self.seed < 0:
            raise ValueError(f"EnKF: seed must be a non-negative integer, got {self.seed}")
        if not isinstance(self.variant, Variant):
            raise TypeError(
                f"EnKF: variant must be SquareRoot() or Perturbed(), got {self.variant!r}"
            )
        require_steps("EnKF", self.discretization)

    def check(self, system: BoundSystem) -> None:
        """Refuse systems without Gaussian observations and initial distribution."""
        refuse_discretization("EnKF", system, self.discretization)
        require_gaussian("EnKF", system)
        if self.discretization is not None:
            self.discretization.check(system)

    def resolve_defaults(self, system: BoundSystem, gaps: np.ndarray) -> tuple[Likelihood, str]:
        """Choose a discretization where the user stated none."""
        if self.discretization is not None or system.step is not None:
            return self, ""
        scheme, why = default_scheme(system, gaps, STEPS_PER_GAP)
        return self._replaced(discretization=scheme), f"EnKF crosses gaps with {scheme!r} ({why})"

    def draw_noise(self, system: BoundSystem, batch: tuple[int, ...], grid: TimeGrid) -> Noise:
        """The fixed normals of all trajectories."""
        return draw_noise(
            self.seed,
            tuple(batch),
            grid.times.shape[-1],
            grid.max_steps,
            int(self.ensemble_size),
            system.n_states,
            self.scheme(system).noise_size(system),
            self.variant.n_perturbed(system.observation.n_components),
        )

    def enough(self, spread: float, tolerable: float) -> str | None:
        """Members that bring the spread over seeds down; it falls with the root of their number."""
        members = int(np.ceil(self.ensemble_size * (spread / tolerable) ** 2 / 10) * 10)
        return f"an ensemble of {members}"

    def reference(self, system: BoundSystem, kinds: Mapping[str, Any]) -> Likelihood | None:
        """The exact likelihood, or else the extended Kalman filter."""
        exact: Likelihood = kinds["Kalman"]()
        other: Likelihood = kinds["EKF"](self.discretization)
        return exact if system.proof.linear_gaussian else other

    def floats_per_row(self, system: BoundSystem) -> float:
        """Those of an ensemble beside those of a filter."""
        return super().floats_per_row(system) * (1 + self.ensemble_size / 4)

    def largest_reduction(self, system: BoundSystem) -> int:
        """Numbers in an ensemble, with its predicted data where these join it."""
        proof = system.proof.observation
        joined = 0 if proof.affine else system.observation.n_components
        return self.ensemble_size * (system.n_states + joined)

    def run(self, system: BoundSystem, problem: Problem) -> EnsembleRun:
        """Ensemble filter and smoother of one trajectory."""
        return EnsembleRun(self, system, problem, self.filter)

    def filter(self, system: BoundSystem, problem: Problem) -> Ensembles:
        """Filter one trajectory; leaves of the result lead with a row axis."""
        params, data, grid, noise = problem
        varied = grid.uneven
        m, P = system.start.moments(params)
        start = m[None, :] + jnp.asarray(noise.initial)[0] @ psd_factor(P).T

        def visit(X: Array, k: RowEnsemble) -> tuple[Array, Ensembles]:
            X = self.forecast(system, over_gap(k.row, params), X, k, varied)
            X = give_doses(system, params, X, k.t, k.row)
            # Without the barrier XLA repeats the propagation in every reduction below.
            X = jax.lax.optimization_barrier(X)
            Z, H, d = sense(system, params, X, k)
            mean = Z.mean(0)
            R = noise_at(system, params, mean[: system.n_states], k)
            A = Z - mean[None, :]
            Z, z, loglik = self.analyse(mean, A, k.y - d, k.seen, H, R, k.perturbation)
            return Z[:, : system.n_states], Ensembles(X, Z[:, : system.n_states], z, loglik)

        rows = RowEnsemble(
            data.y,
            data.seen,
            jnp.asarray(grid.times),
            jnp.asarray(grid.gaps),
            jnp.asarray(grid.steps),
            jax.tree.map(jnp.asarray, noise.process),
            None if noise.observation is None else jnp.asarray(noise.observation),
            jax.tree.map(jnp.asarray, grid.rows),
        )
        # A gradient keeps the ensembles between rows and computes the rest again.
        return jax.lax.scan(jax.checkpoint(visit, prevent_cse=False), start, rows)[1]

    def forecast(
        self,
        system: BoundSystem,
        held: Held,
        X: Float[Array, "member state"],
        k: RowEnsemble,
        varied: bool,
    ) -> Float[Array, "member state"]:
        """Carry every member over the gap into a row; `varied` if numbers of steps differ."""
        h, scheme, noise = substep_length(k.gap, k.steps), self.scheme(system), k.process
        t = k.t - k.gap

        def step(X: Array, part: Any) -> tuple[Array, None]:
            i, normals = part
            after = jax.vmap(lambda x, z: scheme.propagate(system, x, t + i * h, h, held, z))(
                X, normals.astype(X.dtype)
            )
            return jnp.where(i < k.steps, after, X) if varied else after, None

        if isinstance(noise, tuple):
            for i, normals in enumerate(noise):
                X, _ = step(X, (i, normals))
            return X
        return jax.lax.scan(step, X, (jnp.arange(noise.shape[0]), noise))[0]

    def analyse(
        self,
        mean: Float[Array, " column"],
        A: Float[Array, "member column"],
        y: Float[Array, " component"],
        seen: Bool[Array, " component"] | None,
        H: Float[Array, "component column"],
        R: Array,
        perturbation: Float[Array, "member component"] | None,
    ) -> tuple[Float[Array, "member column"], Float[Array, " component"], Float[Array, ""]]:
        """Condition an ensemble, given as mean and anomalies, on the data ``y = H z + N(0, R)``.

        Returns it with the standardised innovations and the log-density of the data.
        """
        n = A.shape[0] - 1
        normals = None if perturbation is None else perturbation.T
        if R.ndim == 2:
            y, H, R = independent(y, seen, H, R)

        def assimilate(carry: Any, component: Any) -> Any:
            mean, A = carry
            y, flag, h, r, normals = component
            a = (A * h[None, :]).sum(1)
            Ph = (A * a[:, None]).sum(0) / n
            s = (h * Ph).sum() + r
            positive = (s > 0) & (r >= 0)
            safe = jnp.where(positive, s, 1.0)
            v = y - (h * mean).sum()
            loglik = jnp.where(positive, log_density(v, safe), -jnp.inf)
            gain, root = Ph / safe, safe_sqrt(r / safe)
            along = self.variant.change(a, root, safe, normals)
            if flag is not None:
                gain, loglik = jnp.where(flag, gain, 0.0), jnp.where(flag, loglik, 0.0)
            return (mean + gain * v, A + outer(along, gain)), (v / jnp.sqrt(safe), loglik)

        components = (y, seen, H, R, normals)
        (mean, A), (z, logliks) = over_components(assimilate, (mean, A), components, y.shape[0])
        return mean[None, :] + A, z, logliks.sum()
