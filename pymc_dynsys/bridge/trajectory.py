"""``Trajectory``: a dynamical system as a random variable of a PyMC model."""

import logging
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pymc.distributions.distribution import Distribution
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor.random.variable import shared_rng

from pymc_dynsys.bridge.assemble import Observed, Options, assemble
from pymc_dynsys.bridge.centring import advise_centring
from pymc_dynsys.bridge.coords import hold_labels, hold_times
from pymc_dynsys.bridge.data import (
    constant,
    current_value,
    is_variable,
    refuse_minibatch,
    warn_unobserved,
)
from pymc_dynsys.bridge.dims import require_in_model
from pymc_dynsys.bridge.gates import warn_of_gates
from pymc_dynsys.bridge.identified import warn_unfixed
from pymc_dynsys.bridge.labels import how_dims_are_read, require_dims, require_order
from pymc_dynsys.bridge.probe import probe
from pymc_dynsys.bridge.random_variable import TrajectoryRV
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.bridge.support import refuse_booleans, require_censored
from pymc_dynsys.bridge.times import register_times, takes_labels
from pymc_dynsys.likelihoods.base import Likelihood
from pymc_dynsys.reading.labels import in_order
from pymc_dynsys.reading.values import as_float
from pymc_dynsys.simulation.paths import Simulator
from pymc_dynsys.systems.bound import System
from pymc_dynsys.systems.linear_gaussian import LinearGaussian

logger = logging.getLogger("pymc_dynsys")


class Trajectory(Distribution):
    r"""Observed trajectories of a dynamical system, the latent paths integrated out.

    One random variable for a whole panel. Its log-probability is one number per trajectory,
    :math:`\log p(y_{1:K} \mid \theta)`, computed by `likelihood`; its random method simulates
    with `simulator`.

    Parameters
    ----------
    name : str
        Name of the variable in the model.
    system : SDE, ODE, DiscreteTime or LinearGaussian
        Dynamics of one trajectory; a :class:`LinearGaussian` brings its parameters along.
    params : mapping of str to value
        What the system's functions ask for by name: PyMC variables, ``pymc.dims`` variables,
        numbers, arrays, xarray objects. Dims shared with the batch dims of the trajectory are
        batch axes; all others reach the function. Plain arrays have no batch axes. An elementwise
        expression of variables, ``pm.math.exp(log_rate + slope * age)``, has the dims of these;
        what else is made of them (indexing, sums, plain arrays) needs names,
        ``pm.Deterministic(..., dims=...)``.
    inputs : mapping of str to DataArray or Input, optional
        Time-varying quantities that the system's functions ask for by name. With the dims of
        `observed` an input holds from its visit to the next: the gap into visit k uses the
        value at k-1 (the first gap that at 0), the datum at k the value at k. A DataArray with
        times of its own may be finer or coarser than the visits: they are its coordinate
        ``time``, else ``<dim>_time``. Labels along the time dim of `observed` are matched, and
        never times; before the first of its own times an input is not known. Variables of the
        model with the time dim are inputs as well, and coarser ones by label:
        ``pds.Input(ka, by=panel["occasion"])``. See :class:`~pymc_dynsys.Input` for other
        interpolations, and for missing values.
    events : Dataset or mapping, optional
        Doses, as :func:`~pymc_dynsys.panel` makes them: ``event_time`` and ``event_amount``,
        perhaps ``event_duration`` or ``event_rate`` (infusions; -1 and -2 stand for the rate and
        the duration of the system's ``Dose``) and ``event_state``, with the batch dims and one of
        their own, NaN padded. At one instant data come before doses, so a datum taken at the time
        of a dose is the trough before it, unless ``event_order`` says how many data of that time
        come before the dose. ``event_reset`` 1 puts the initial distribution first,
        ``event_steady_state`` 1 the periodic state that such doses lead to, ``event_interval``
        apart since ever, and 2 adds that state to the one there is. A mapping from these names to
        DataArrays, in which times and amounts may be ``pm.Data`` with dims: ``pm.set_data`` then
        changes them.
    times : array, optional
        Observation times, ascending, in the user's unit: ``(time,)`` for all, or one row per
        trajectory with NaN where a ragged panel has no visit. Default: the time coordinate of
        `observed`, else the model's coord of the time dim.
    unit : str, optional
        Unit into which dates are converted: ``"D"``, ``"h"``, ``"m"``, ``"s"``. In discrete time
        also the frequency of the periods that dates stand for, ``"M"`` (months), ``"Q"``, ``"Y"``,
        ``"B"`` (business days), one step each; that of a PeriodIndex is its own, and dates that
        lie a month, a quarter or a year apart throughout need none. Results show first days.
    t0 : float or array, optional
        Time of the initial distribution, at or before the first observation and event; default the
        first observation (or event, if that is earlier) of each trajectory.
    observed : array, DataArray or data variable, optional
        Data, NaN where missing. Dims and times of a DataArray are taken from it, and its
        labels are matched to the model's; a dim that the model has without labels gets them.
    dims : tuple of str, optional
        ``(*batch, time)`` for a scalar observation, ``(*batch, time, component)`` for a vector.
    likelihood : Likelihood, optional
        Default: exact where that exists, else the extended Kalman filter; what was chosen is
        logged and stands on ``rv.owner.op.spec.likelihood``.
    simulator : Discretization or ODESolve, optional
        How paths are drawn; default the exact distribution of a linear system, else Euler-Maruyama
        with a twentieth of the median gap.
    devices : int, sequence of jax.Device or jax.sharding.Mesh, optional
        JAX devices that share the trajectories of the longest batch dim in the likelihood: the
        first so many, or these. Default: all on JAX's default device. Chains must then run on the
        same devices, ``pm.sample(nuts={"chain_method": "vectorized"})`` or ``chains=1``.
    dtype : {"float64", "float32"}, optional
        Precision of the filter. Single precision is for GPUs and large ensembles; the
        log-likelihood of a trajectory of a hundred visits then has an error of about 1e-4 nats,
        which :func:`~pymc_dynsys.check_likelihood` measures. Values and gradients come out as
        float64.

    Returns
    -------
    TensorVariable
        The random variable, of shape ``(*batch, time[, component])``.

    Raises
    ------
    ValueError, TypeError
        When the model is built, for names that cannot be bound, shapes and dims that do not
        fit, times out of order, infinite data, and likelihoods that do not suit the system.

    Examples
    --------
    >>> import numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> ou = pds.SDE(
    ...     states=("level",),
    ...     drift=lambda level, mu: -0.5 * (level - mu),
    ...     diffusion=0.1,
    ...     initial=dist.Normal(0.0, 1.0),
    ...     observation=lambda level: dist.Normal(level, 0.1),
    ... )
    >>> y = np.zeros((3, 4))
    >>> with pm.Model(coords={"subject": list("abc"), "time": np.arange(4.0)}) as model:
    ...     mu = pm.Normal("mu", 0, 1, dims="subject")
    ...     rv = pds.Trajectory("y", ou, params={"mu": mu}, observed=y, dims=("subject", "time"))
    >>> rv.eval().shape
    (3, 4)
    """

    rv_type = TrajectoryRV

    def __new__(
        cls,
        name: str,
        system: System | LinearGaussian,
        *,
        params: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        events: Any = None,
        times: Any = None,
        unit: str | None = None,
        t0: Any = None,
        observed: Any = None,
        dims: str | Sequence[str] | None = None,
        likelihood: Likelihood | None = None,
        simulator: Simulator | None = None,
        devices: Any = None,
        dtype: str | None = None,
    ) -> Any:
        """Add the trajectory to the model on the context stack."""
        model = pm.modelcontext(None)
        if dims is None and isinstance(observed, Variable):
            dims = model.root.named_vars_to_dims.get(str(observed.name))
        names = _dims_tuple(dims, observed)
        if names:
            require_dims(model, names, observed)
        values, numbers = _observed(name, observed, names, model)
        options = Options(
            times, unit, t0, inputs or {}, events, likelihood, simulator, devices, dtype
        )
        given = Observed(observed, numbers, names)
        study, announcements = assemble(name, system, params or {}, given, options, model)
        if numbers is not None:
            refuse_booleans(observed, study)
            require_censored(observed, study)
            warn_unobserved(name, numbers, study.frame)
            if study.system.observation.names is None:
                require_order(observed, study.frame)
        size = [model.dim_lengths[dim] for dim in study.frame.batch_dims]
        rv = _random_variable(study, size, model.dim_lengths)
        probe(study, model, numbers)
        warn_of_gates(study)
        warn_unfixed(study)
        advice = None if numbers is None else advise_centring(study, model, numbers)
        read = how_dims_are_read(study.frame, model)
        for message in (*announcements, *(said for said in (read, advice) if said)):
            logger.info("%s: %s", name, message)
        found = model.register_rv(rv, name, observed=values, dims=names or None)
        if names:
            _connect(study, str(found.name), given, options, model)
        return found

    @classmethod
    def dist(
        cls,
        system: System | LinearGaussian,
        *,
        params: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        events: Any = None,
        times: Any,
        unit: str | None = None,
        t0: Any = None,
        dims: str | Sequence[str] | None = None,
        likelihood: Likelihood | None = None,
        simulator: Simulator | None = None,
        devices: Any = None,
        dtype: str | None = None,
        **kwargs: Any,
    ) -> Variable:
        """Create the variable without registering it; batch dims come from labelled parameters.

        Parameters are as in the constructor; without a model the batch axes are those dims in
        `dims` that labelled parameters or times have.
        """
        model = pm.modelcontext(None) if pm.Model.get_context(error_if_none=False) else None
        options = Options(
            times, unit, t0, inputs or {}, events, likelihood, simulator, devices, dtype
        )
        given = Observed(dims=_dims_tuple(dims, None))
        study, _ = assemble("Trajectory.dist", system, params or {}, given, options, model)
        size = kwargs.pop("size", list(study.frame.batch))
        if kwargs:
            raise TypeError(f"Trajectory.dist() got unexpected arguments: {', '.join(kwargs)}")
        return _random_variable(study, size)


def _connect(
    study: Study, name: str, observed: Observed, options: Options, model: pm.Model
) -> None:
    """Tell the model what belongs to which labels: dims of the data, times, fixed arrays."""
    frame, data, times = study.frame, observed.given, study.operands.times
    if isinstance(data, SharedVariable) and data.name in model.root.named_vars:
        model.root.named_vars_to_dims.setdefault(data.name, observed.dims)
    hold_labels(name, study.design, study.variables, frame, model)
    if takes_labels(options.times, data, frame.time_dim):
        hold_times(name, frame.time_dim, model)
    elif isinstance(study.variables[0], Constant):
        register_times(name, times, frame, model)


def _dims_tuple(dims: Any, observed: Any) -> tuple[str, ...]:
    """Names of the axes, from the argument or else from labelled data."""
    if dims is not None and not isinstance(dims, str | Sequence):
        raise TypeError(f"dims: expected names, got {dims!r}")
    if dims is None:
        return tuple(map(str, observed.dims)) if isinstance(observed, xr.DataArray) else ()
    names = (dims,) if isinstance(dims, str) else tuple(dims)
    if not all(isinstance(dim, str) for dim in names):
        raise TypeError(f"dims: expected names, got {names}")
    if len(set(names)) < len(names):
        raise ValueError(f"dims: {names} has a name more than once")
    return names


def _observed(
    name: str, observed: Any, dims: tuple[str, ...], model: pm.Model
) -> tuple[Any, np.ndarray | None]:
    """What PyMC is to observe, and the current numbers."""
    if observed is None:
        return None, None
    if isinstance(observed, Variable):
        refuse_minibatch("observed", observed)
        if is_variable(observed):
            raise TypeError(
                f"observed: {observed.name or observed} depends on random variables; observed data "
                "are numbers, pds.data or pm.Data"
            )
        require_in_model("observed", observed, model)
        named = model.root.named_vars_to_dims.get(str(observed.name))
        if named is not None and tuple(named) != dims:
            raise ValueError(
                f"observed: {observed.name!r} has dims {tuple(named)}, but dims={dims}; define the "
                "data with these dims, in this order"
            )
        value = current_value(observed)
        return observed, None if value is None else as_float("observed", value)
    numbers = as_float("observed", in_order("observed", observed, dims, dict(model.coords)))
    return constant(numbers), numbers


def _random_variable(study: Study, size: Any, known: Container[str] = ()) -> Variable:
    """The variable of a study; `known` are the dims of the model."""
    op, rng = TrajectoryRV(study.specification(known)), shared_rng(seed=None)
    _, rv = op(*study.variables, size=size or None, rng=rng, return_next_rng=True)
    return rv
