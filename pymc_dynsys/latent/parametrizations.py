"""From which variables a path is made: what the user chooses."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Free:
    r"""A path made of independent standard normals, :math:`x_k = g(x_{k-1}, z_k)`.

    The non-centred form. Parameters and normals are independent a priori, so it samples well where
    data tell little about the path, a few counts or ordinal answers. Where data are dense, and
    parameters of the noise or of the drift are unknown, normals have to move with the parameters to
    leave the path where the data are: divergences and long trajectories say so, and
    :class:`Guided` mends it.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.Free()
    Free()
    """


@dataclass(frozen=True, eq=False)
class Guided:
    r"""A path made of standard normals counted from where pseudo-data lead it.

    With the guide :math:`\tilde y_k = x_k + N(0, \text{sd}_k^2)`, the normals of each step are
    shifted and scaled by the solution of the linear-quadratic problem from that step on, and the
    log-density is corrected (a potential called ``<name>_guide``), so that the model is the same
    whatever the guide: only the geometry changes. Noise may be singular. Dynamics that are not
    linear are linearized about the guide, and followed as they are.

    Good guides are, for a Gaussian datum of a state, itself and its standard deviation; for a count
    with a log link, ``log(y + 0.5)`` and ``sqrt(1 / (y + 0.5))``. What is left out (NaN) says
    nothing. ``Guided()`` has its guide learnt from whatever data the model has.

    Parameters
    ----------
    values : array or DataArray
        Pseudo-data of the states, with the dims of the path (then of the only state) or these and
        ``state``. NaN: nothing is said there.
        Without values and sd the guide is learnt by :func:`reparametrize`, once the model is
        complete: until then the path is free.
    sd : float, array, DataArray or TensorVariable
        Standard deviations, in units of the states: one, or as many as there are values; or a
        variable of the model, with dims among those of the path and ``state``. With the parameter
        that is the sd of a Gaussian datum, the normals of a linear path are standard normal
        given the data too, whatever the parameters.

    See Also
    --------
    pymc_dynsys.reparametrize : learns the guide of ``Guided()``.

    Raises
    ------
    TypeError
        For values that are variables, or without sd.
    ValueError
        When the model is built: shapes or dims that do not fit, values that are infinite,
        standard deviations that are not positive.

    References
    ----------
    The information filter and its control form: Särkkä and Svensson (2023), *Bayesian Filtering
    and Smoothing*, ch. 12; Papaspiliopoulos, Roberts and Sköld (2007), *Statistical Science* 22,
    59-73, for centred and non-centred forms.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc_dynsys as pds
    >>> counts = np.array([3.0, np.nan, 0.0])
    >>> guide = pds.Guided(np.log(counts + 0.5), np.sqrt(1 / (counts + 0.5)))
    """

    values: Any = None
    sd: Any = None

    def __post_init__(self) -> None:
        if (self.values is None) != (self.sd is None):
            raise TypeError(
                "Guided: give values and sd, pseudo-data of the states and their sd, or neither, "
                "and let pds.reparametrize(model) learn them"
            )

    @property
    def is_learnt(self) -> bool:
        """Whether the guide is left to :func:`reparametrize`."""
        return self.values is None

    def __repr__(self) -> str:
        """Without its arrays."""
        return "Guided()" if self.is_learnt else f"Guided({np.size(self.values)} values)"


@dataclass(frozen=True)
class Centred:
    r"""A path whose variables are the states themselves, :math:`x_k \sim p(x_k \mid x_{k-1})`.

    The centred form, for transitions that have a density, of any distribution on the whole line: a
    ``DiscreteTime`` with ``dist.StudentT`` steps needs it, since such steps are no function of
    standard normals. Its gradient is the cheapest, for there is nothing to roll out; parameters of
    the noise mix slowly under it where data tell little of the path.

    The variable is ``<name>_steps``, dims ``(*batch, <name>_step, <name>_state)``: the first state,
    unless it is known, and the states that the steps reach, before the doses that follow them.

    Raises
    ------
    ValueError
        When the model is built: noise of a step or of the start that is singular at the model's
        initial point, transitions that are discrete or not on the whole line, and ODEs.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.Centred()
    Centred()
    """


Parametrization = Free | Guided | Centred
"""What there is."""
