"""How much the data say of each member of a population, next to what the population says."""

from collections.abc import Callable, Sequence

import numpy as np
import pymc as pm
import xarray as xr
from pymc.model.transform.conditioning import remove_value_transforms
from pytensor.graph.traversal import ancestors

from pymc_dynsys.effects.partly_centered import (
    INTERPRETED,
    Point,
    offset_of,
    partly_centered,
    prior_of,
)

# The neck of a funnel, where the population's sd and with it the share are smallest, is what breaks
# a sampler; where they are larger a share that is too small only slows it.
LOW = 0.1
POINTS = 20  # draws at which it is measured
PROBES = 4  # random signs a draw; one is enough where members are independent given the rest
STEP = 1e-3  # of a member's posterior sd; the gradient is exact, so this is far from its rounding


def information_shares(
    model: pm.Model, names: Sequence[str], posterior: xr.Dataset
) -> dict[str, np.ndarray]:
    r"""A low quantile, over draws, of :math:`w_k = \tau_k^2 / (\tau_k^2 + v_k)` of each variable.

    :math:`1 / v_k` is minus the second derivative by :math:`\theta_k` of the log-density without
    the variable's own prior, 0 where that is negative. The lowest level comes first. Each level is
    measured with those below it in the form that was found for them: what vague members say of
    their group is what their data say of it, not how close they happen to be to it.

    Parameters
    ----------
    model : Model
        In which the variables are centred.
    names : sequence of str
        The variables.
    posterior : Dataset
        Draws, along the dim ``draw``, of all free variables of the model on their own scales.

    Returns
    -------
    dict of str to ndarray
        A share between 0 and 1 for each member of each variable.

    Raises
    ------
    ValueError
        If a gradient is not finite at a draw.
    """
    free = [rv.name for rv in model.free_RVs]
    at = np.linspace(0, posterior.sizes["draw"] - 1, POINTS).astype(int)
    points = [
        {name: np.asarray(posterior[name].isel(draw=i).values, float) for name in free} for i in at
    ]
    steps = {name: STEP * posterior[name].std("draw").values for name in names}
    shares = {}
    for name in lowest_first(model, names):
        plain = remove_value_transforms(model)
        gradient, prior = _gradient(plain, name), prior_of(plain, name)
        rng = np.random.default_rng(0)
        each = []
        for point in points:
            precision = prior(point)[1] ** -2.0
            probes = [_curvature(gradient, name, point, steps[name], rng) for _ in range(PROBES)]
            information = np.maximum(np.mean(probes, axis=0) - precision, 0.0)
            each.append(information / (information + precision))
        if not np.isfinite(each).all():
            raise ValueError(
                f"reparametrize: the gradient of the log-density by {name!r} is not finite at a "
                "draw, so what the data say of it cannot be measured there; give centeredness"
            )
        shares[name] = np.quantile(each, LOW, axis=0)
        for point in points:
            point[f"{name}_offset"] = offset_of(point[name], *prior(point), shares[name])
            del point[name]
        model = partly_centered(model, name, shares[name])
    return shares


def lowest_first(model: pm.Model, names: Sequence[str]) -> list[str]:
    """Members before the groups that they belong to."""
    above = {name: set(ancestors([model[name]])) for name in names}
    return sorted(names, key=lambda name: -sum(model[other] in above[name] for other in names))


def _gradient(model: pm.Model, name: str) -> Callable[[Point], np.ndarray]:
    """Gradient of the log-density by one variable, of the variable's shape."""
    compiled = model.compile_dlogp(vars=[model[name]], mode=INTERPRETED)
    return lambda point: compiled(point).reshape(point[name].shape)


def _curvature(
    gradient: Callable[[Point], np.ndarray],
    name: str,
    point: Point,
    step: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Estimate of minus the diagonal of the Hessian, from one random vector of signs."""
    move = step * rng.choice([-1.0, 1.0], np.shape(step))
    ahead = gradient({**point, name: point[name] + move})
    behind = gradient({**point, name: point[name] - move})
    return (behind - ahead) / (2.0 * move)
