"""What an ensemble predicts of the data of a row, and with which noise."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization import at_row
from pymc_dynsys.likelihoods.ensemble.run import RowEnsemble
from pymc_dynsys.linalg import linearize
from pymc_dynsys.systems.bound import BoundSystem, Params
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.observation import still_unless


def sense(
    system: BoundSystem, params: Params, X: Float[Array, "member state"], k: RowEnsemble
) -> tuple[Float[Array, "member column"], Float[Array, "component column"], Array]:
    """Ensemble whose data are ``H z + d``; predicted data are joined to it where they are not.

    What is not seen is predicted as zero, and has no slopes.
    """
    x, held = _if_seen(X, params, k)

    def predict(x: Array) -> Array:
        return system.observation.moments(x, k.t, held)[0]

    if system.proof.observation.affine:
        offset, H = linearize(predict, jnp.zeros(system.n_states))
        return X, H, offset
    Y = jax.vmap(predict)(x)
    if k.seen is not None:
        Y = jnp.where(k.seen[None, :], Y, 0.0)
    m = Y.shape[1]
    return jnp.concatenate([X, Y], 1), jnp.eye(m, X.shape[1] + m, X.shape[1]), jnp.zeros(m)


def noise_at(
    system: BoundSystem, params: Params, mean: Float[Array, " state"], k: RowEnsemble
) -> Array:
    """Variances or covariance of the data of a row; one for what is not seen."""
    x, held = _if_seen(mean, params, k)
    R: Array = system.observation.moments(x, k.t, held)[1]
    return R if k.seen is None or R.ndim == 2 else jnp.where(k.seen, R, 1.0)


def _if_seen(x: Array, params: Params, k: RowEnsemble) -> tuple[Array, Held]:
    held = at_row(k.row, params)
    return (x, held) if k.seen is None else still_unless(k.seen.any(), (x, held))
