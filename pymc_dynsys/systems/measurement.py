r"""Several indicators of the states, and the loadings by which they show them.

Legend: :math:`\Lambda` loadings, :math:`\nu` intercepts.
"""

import inspect
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import jax.numpy as jnp
from jaxtyping import Array
from numpyro import distributions as dist

from pymc_dynsys.linalg import matvec
from pymc_dynsys.systems.blocks import require_shape
from pymc_dynsys.systems.entries import Entries
from pymc_dynsys.systems.values import known_value

ROLE = "measurement"


@dataclass(frozen=True, eq=False)
class Measurement:
    """An observation with the values of its parameters, made by :func:`measurement`.

    Attributes
    ----------
    items : tuple
        Labels of the components.
    states : tuple of str
        States that an item loads on.
    params : dict
        Values of the parameters, PyMC variables or numbers.
    """

    items: tuple[Hashable, ...]
    states: tuple[str, ...]
    params: dict[str, object] = field(repr=False)
    _loadings: Entries = field(repr=False)
    _intercepts: Entries = field(repr=False)
    _sigma: Entries = field(repr=False)

    @property
    def __signature__(self) -> inspect.Signature:
        """States and parameters, as arguments by name."""
        kind = inspect.Parameter.KEYWORD_ONLY
        return inspect.Signature(
            [inspect.Parameter(name, kind) for name in (*self.states, *self.params)]
        )

    def __call__(self, **values: Array) -> dict[Hashable, dist.Normal]:
        """The distribution of each item, given states and parameters of one trajectory."""
        n = (len(self.items),)
        H = require_shape("loadings", self._loadings(values), (*n, len(self.states)), role=ROLE)
        at = require_shape("intercepts", self._intercepts(values), n, (), role=ROLE)
        sd = require_shape("sigma", self._sigma(values), n, (), role=ROLE)
        x = jnp.stack([values[state] for state in self.states])
        mean, sd = matvec(H, x) + at, jnp.broadcast_to(sd, n)
        return {item: dist.Normal(mean[i], sd[i]) for i, item in enumerate(self.items)}


def measurement(
    loadings: Mapping[Hashable, object],
    *,
    intercepts: object = 0.0,
    sigma: object,
    name: str = "measurement",
) -> Measurement:
    r"""Measurement model: several indicators (items) of the states.

    .. math:: y_j = \nu_j + \sum_s \Lambda_{js} x_s + N(0, \sigma_j^2)

    It is the ``observation=`` of an SDE, an ODE or a DiscreteTime whose states have names, and
    brings its parameters along: they are not in ``params``. The data's component dim is labelled
    with the items, in any order.

    The likelihood does not say where the zero of a state is, nor how long its unit: one loading, or
    the variance of the state, has to be fixed, and the mean of the state or one intercept. Where
    nothing fixes them, Trajectory warns, and names what trades off with what. Turning the sign of
    a state and of all its loadings changes nothing either, which is not checked: a loading that
    is fixed, or positive (``pm.HalfNormal``), settles it.

    Parameters
    ----------
    loadings : mapping
        For each item the state it loads on and the loading, ``("x", 1.0)``; or several,
        ``{"x": 1.0, "z": loading}``. A loading is a number, which is fixed, or a scalar variable.
        Units of the item per unit of the state.
    intercepts : (item,) or scalar
        :math:`\nu`, in the order of `loadings`; an array, a variable, or a list of numbers and
        scalar variables. Those of groups are looked up by trajectory,
        ``pm.Deterministic("at", nu[group_of_subject], dims=("subject", "item"))``.
    sigma : (item,) or scalar
        Standard deviations of the noise, in units of the items.
    name : str
        Prefix of the parameters.

    Returns
    -------
    Measurement
        An observation, Gaussian and linear in the states.

    Raises
    ------
    TypeError, ValueError
        For loadings that name no state; for shapes of variables, when the trajectory is built.

    Warns
    -----
    UserWarning
        From Trajectory, where the likelihood is constant along a line (see above).

    References
    ----------
    Bollen (1989), *Structural Equations with Latent Variables*, ch. 6 and 7.

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_dynsys as pds
    >>> with pm.Model():
    ...     glad = pm.HalfNormal("glad")
    ...     items = pds.measurement({"calm": ("x", 1.0), "glad": ("x", glad)}, sigma=0.5)
    >>> items
    Measurement(items=('calm', 'glad'), states=('x',))
    """
    if not isinstance(loadings, Mapping) or not loadings:
        raise TypeError(
            f"{ROLE}: loadings must be a mapping with a state and a loading for each item, "
            f"{{'calm': ('x', 1.0), ...}}, got {loadings!r}"
        )
    of_items = {item: _of_item(item, given) for item, given in loadings.items()}
    states = tuple(dict.fromkeys(state for given in of_items.values() for state in given))
    rows = [[given.get(state, 0.0) for state in states] for given in of_items.values()]
    L = Entries(ROLE, "loadings", rows, f"{name}_loadings")
    at = Entries(ROLE, "intercepts", intercepts, f"{name}_intercepts")
    s = Entries(ROLE, "sigma", sigma, f"{name}_sigma")
    _require_positive(sigma)
    params = {key: value for part in (L, at, s) for key, value in part.params.items()}
    return Measurement(tuple(of_items), states, params, L, at, s)


def _of_item(item: Hashable, given: object) -> dict[str, object]:
    """Loadings of one item by state."""
    if isinstance(given, Mapping):
        found = dict(given)
    elif isinstance(given, Sequence) and not isinstance(given, str) and len(given) == 2:
        found = {given[0]: given[1]}
    else:
        found = {}
    if not found or not all(isinstance(state, str) for state in found):
        raise ValueError(
            f"{ROLE}: the item {item!r} has {given!r}; expected the name of a state and a loading, "
            "('x', 1.0), or a mapping, {'x': 1.0, 'z': loading}"
        )
    return found


def _require_positive(sigma: object) -> None:
    """Raise for known standard deviations that are none."""
    for one in sigma if isinstance(sigma, list | tuple) else [sigma]:
        known = known_value(one)
        if known is not None and not (known > 0).all():
            raise ValueError(f"{ROLE}: sigma must be positive, got {sigma!r}")
