"""How much the data say of each member of a population, next to what the population says."""

from collections.abc import Callable, Mapping

import numpy as np
import pymc as pm
import xarray as xr
from pymc.model.transform.conditioning import remove_value_transforms

# The neck of a funnel, where the population's sd and with it the share are smallest, is what breaks
# a sampler; where they are larger a share that is too small only slows it.
LOW = 0.1
POINTS = 20  # draws at which it is measured
PROBES = 4  # random signs a draw; one is enough where members are independent given the rest
STEP = 1e-3  # of a member's posterior sd; the gradient is exact, so this is far from its rounding

Point = dict[str, np.ndarray]


def information_shares(
    model: pm.Model, names: list[str], posterior: xr.Dataset
) -> dict[str, np.ndarray]:
    r"""A low quantile, over draws, of :math:`w_k = \tau_k^2 / (\tau_k^2 + v_k)` of each variable.

    :math:`1 / v_k` is minus the second derivative by :math:`\theta_k` of the log-density without
    the variable's own prior, 0 where that is negative.

    Parameters
    ----------
    model : Model
        In which the variables are centred.
    names : list of str
        The variables.
    posterior : Dataset
        Draws, along the dim ``draw``, of all free variables of the model on their own scales.

    Returns
    -------
    dict of str to ndarray
        A share between 0 and 1 for each member of each variable.
    """
    plain = remove_value_transforms(model)
    free = [rv.name for rv in plain.free_RVs]
    at = np.linspace(0, posterior.sizes["draw"] - 1, POINTS).astype(int)
    draws = [
        {name: np.asarray(posterior[name].isel(draw=i).values, float) for name in free} for i in at
    ]
    rng = np.random.default_rng(0)
    shares = {}
    for name in names:
        gradient, sd = _gradient(plain, name), _prior_sd(plain, name)
        step = STEP * posterior[name].std("draw").values
        each = []
        for point in draws:
            precision = sd(point) ** -2.0
            curvature = np.mean(
                [_curvature(gradient, name, point, step, rng) for _ in range(PROBES)], axis=0
            )
            information = np.maximum(curvature - precision, 0.0)
            each.append(information / (information + precision))
        shares[name] = np.quantile(each, LOW, axis=0)
    return shares


def _gradient(model: pm.Model, name: str) -> Callable[[Point], np.ndarray]:
    """Gradient of the log-density by one variable, of the variable's shape."""
    compiled = model.compile_dlogp(vars=[model[name]])
    return lambda point: compiled(point).reshape(point[name].shape)


def _prior_sd(model: pm.Model, name: str) -> Callable[[Point], np.ndarray]:
    variable = model[name]
    _, sd = variable.owner.op.dist_params(variable.owner)
    graph = model.replace_rvs_by_values([sd])
    compiled = model.compile_fn(graph, inputs=model.value_vars, on_unused_input="ignore")
    return lambda point: np.broadcast_to(compiled(point)[0], point[name].shape)


def _curvature(
    gradient: Callable[[Point], np.ndarray],
    name: str,
    point: Mapping[str, np.ndarray],
    step: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Estimate of minus the diagonal of the Hessian, from one random vector of signs."""
    move = step * rng.choice([-1.0, 1.0], np.shape(step))
    ahead = gradient({**point, name: point[name] + move})
    behind = gradient({**point, name: point[name] - move})
    return (behind - ahead) / (2.0 * move)
