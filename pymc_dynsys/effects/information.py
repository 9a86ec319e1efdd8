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

# Where data say more at some draws than at others, the least of it counts: a share that is too
# large breaks a sampler, one that is too small only slows it.
LOW = 0.1
# The neck of a funnel is looked for down to this density of the logarithm of the population's sd,
# next to the largest: a sampler of some thousand draws goes there.
NECK = 1e-4
TELLING = 1e-3  # least information, next to that of the prior, that a member adds to it
LOG_SCALES = np.linspace(-12.0, 5.0, 341)
POINTS = 20  # draws at which it is measured
PROBES = 4  # random signs a draw; one is enough where members are independent given the rest
STEP = 1e-3  # of a member's posterior sd; the gradient is exact, so this is far from its rounding


def information_shares(
    model: pm.Model, names: Sequence[str], posterior: xr.Dataset
) -> dict[str, np.ndarray]:
    r"""What the data say of each member where the sd of its population is smallest.

    It is :math:`w_k = \tau_k^2 / (\tau_k^2 + v_k)` with the smallest :math:`\tau_k` that a sampler
    may come to (:func:`neck`), a low quantile over draws. :math:`1 / v_k` is minus the second
    derivative by :math:`\theta_k` of the log-density without the variable's own prior, 0 where that
    is negative. The lowest level comes first. Each level is measured with those below it in the
    form that was found for them: what vague members say of their group is what their data say of
    it, not how close they happen to be to it.

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
        of_prior = [prior(point) for point in points]
        together = same_sd(np.stack([sd for _, sd in of_prior]))
        each = []
        for point, (mean, sd) in zip(points, of_prior, strict=True):
            probes = [_curvature(gradient, name, point, steps[name], rng) for _ in range(PROBES)]
            information = np.maximum(np.mean(probes, axis=0) - sd**-2.0, 0.0)
            score = gradient(point) + (point[name] - mean) / sd**2
            smallest = sd * neck(point[name] - mean, score, information, sd, together)
            each.append(information / (information + smallest**-2.0))
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


def same_sd(sd: np.ndarray) -> np.ndarray:
    """Which members share a scale: labels of those whose sds ``(draw, *member)`` move together.

    The label is -1 where the sd does not move.
    """
    logs = np.log(sd.reshape(len(sd), -1))
    moves = np.round(logs - logs[0], 6)
    _, label = np.unique(moves, axis=1, return_inverse=True)
    label = np.where((moves == 0.0).all(0), -1, label.ravel())
    return label.reshape(sd.shape[1:])


def neck(
    deviation: np.ndarray,
    score: np.ndarray,
    information: np.ndarray,
    sd: np.ndarray,
    together: np.ndarray,
) -> np.ndarray:
    r"""The smallest factor, at most 1, by which the sd of members may yet shrink.

    What is not a member's prior is taken for a datum :math:`m_k \sim N(\theta_k, v_k)` that has its
    slope and curvature at the draw, so that :math:`m_k \sim N(\mu_k, s^2 \tau_k^2 + v_k)` says how
    likely each factor :math:`s` of the sds is, whether or not the draws have been there. The means
    may move together, and the prior of the sd is taken to be flat.

    Parameters
    ----------
    deviation, score : ndarray
        Of each member from its mean, and the slope of the log-density without its prior there.
    information : ndarray
        ``1 / v``, 0 where nothing is known; members of which next to nothing is known are left out.
    sd : ndarray
        Of the members around their means, at the draw.
    together : ndarray of int
        Members that share a scale have one label; -1 is one that does not move.
    """
    smallest = np.ones(np.shape(sd))
    for label in np.unique(together[together >= 0]):
        here = (together == label) & (information * sd**2 > TELLING)
        of, tau = information[here], sd[here]
        datum = deviation[here] + score[here] / of
        weight = of / (1.0 + np.exp(2.0 * LOG_SCALES)[:, None] * tau**2 * of)
        total = np.maximum(weight.sum(1), 1e-300)
        shift = (weight * datum).sum(1) / total
        log_density = LOG_SCALES + 0.5 * (
            np.log(weight / of).sum(1) - (weight * (datum - shift[:, None]) ** 2).sum(1)
        )
        reached = log_density >= log_density.max() + np.log(NECK)
        smallest[together == label] = np.exp(min(LOG_SCALES[reached][0], 0.0))
    return smallest


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
