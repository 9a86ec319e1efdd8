"""``Path``: the states of a dynamical system as variables of a PyMC model."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from pymc_dynsys.bridge.assemble import Options, read_arrays
from pymc_dynsys.bridge.binding import Observed
from pymc_dynsys.bridge.centred_path import register_centred
from pymc_dynsys.bridge.coords import hold, hold_labels
from pymc_dynsys.bridge.guide import guide_to_learn, read_guide
from pymc_dynsys.bridge.labels import require_dims
from pymc_dynsys.bridge.path_law import check_path, choose_law, without_observation
from pymc_dynsys.bridge.path_op import PathOp
from pymc_dynsys.bridge.probe import probe
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.bridge.times import register_times, takes_labels
from pymc_dynsys.discretization import Discretization
from pymc_dynsys.latent.law import sizes
from pymc_dynsys.latent.parametrizations import Centred, Free, Guided, Parametrization
from pymc_dynsys.likelihoods.ode import ODESolve
from pymc_dynsys.likelihoods.program import Program
from pymc_dynsys.reading.own_rows import on_own_rows
from pymc_dynsys.systems.bound import System
from pymc_dynsys.systems.linear_gaussian import LinearGaussian

logger = logging.getLogger("pymc_dynsys")

DRAWS = 4000
"""Draws that PyMC makes by default."""

LARGE = 1e9
"""Bytes of all draws of a path from which on the user is warned."""


def Path(
    name: str,
    system: System | LinearGaussian,
    *,
    params: Mapping[str, Any] | None = None,
    times: Any = None,
    dims: str | Sequence[str],
    inputs: Mapping[str, Any] | None = None,
    events: Any = None,
    t0: Any = None,
    unit: str | None = None,
    discretization: Discretization | ODESolve | None = None,
    parametrization: Parametrization = Free(),  # noqa: B008
) -> Any:
    r"""Paths of the states of a system as variables, on which any data of a model may depend.

    Where :class:`Trajectory` integrates the path out, here it is sampled:
    :math:`x_k = g(x_{k-1}, z_k; \theta)` with standard normals z. Whatever PyMC can write may
    depend on x: several outcomes, survival, mixtures, a measurement model of your own.

    Parameters
    ----------
    name : str
        Name of the path in the model. ``<name>_start`` are the normals of the initial state (none
        where it is known), ``<name>_noise`` those of the steps (none for an ODE); under
        ``Centred()`` there is ``<name>_steps`` instead, the states themselves.
    system : SDE, ODE, DiscreteTime or LinearGaussian
        Dynamics of one trajectory. Its observation, if it has one, is left aside.
    params, inputs, events, t0, unit
        As in :class:`Trajectory`.
    times : array or DataArray, optional
        Times of the states, ascending: ``(time,)`` for all, or one row per trajectory with NaN
        where a ragged panel has no visit; the state there is that of the visit before. Default: the
        model's coord of the time dim. They stay as they are, since the number of normals depends
        on them.
    dims : tuple of str
        ``(*batch, time)``.
    discretization : Discretization or ODESolve, optional
        How a gap is crossed. Default: exactly where the dynamics are linear, else by Euler-Maruyama
        steps of a quarter of the median gap. Where they are linear any scheme takes one set of
        normals a gap. An ODE has its solver.
    parametrization : Free, Guided or Centred
        From which variables the path is made; the posterior is the same.

    Returns
    -------
    TensorVariable
        A ``pm.Deterministic`` of shape ``(*batch, time, state)`` with dims
        ``(*dims, <name>_state)``. At the time of a dose the state is that before it.

    Raises
    ------
    ValueError, TypeError
        When the model is built: as :class:`Trajectory`, and for exactly diffuse states, times that
        are variables, an initial distribution that is not Gaussian, or a transition that is not
        (``Centred()`` takes such transitions).

    Warns
    -----
    UserWarning
        If 4,000 draws of the path take more than a gigabyte, all of which PyMC computes at once.

    Notes
    -----
    PyMC makes discrete variables of missing counts, and then there is no NUTS. Give data in long
    form, as :func:`observed_cells` makes it. A path that an explicit scheme loses is NaN, which
    samplers take as a divergence.

    See Also
    --------
    Trajectory : where the data are Gaussian given the state the path is integrated out exactly.
    observed_cells : the data that are there, and the states under them.
    forecast : the states after the last visit.

    References
    ----------
    Papaspiliopoulos, Roberts and Sköld (2007), *A general framework for the parametrization of
    hierarchical models*, Statistical Science 22, 59-73. Kloeden and Platen (1992), *Numerical
    Solution of Stochastic Differential Equations*, eq. 10.2.4.

    Examples
    --------
    Counts and a marker from one path:

    >>> import numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> ou = pds.SDE(
    ...     states=("level",),
    ...     drift=lambda level, mu: mu - level,
    ...     diffusion=0.5,
    ...     initial=dist.Normal(0.0, 1.0),
    ... )
    >>> with pm.Model(coords={"time": [0.0, 1.0, 3.0]}) as model:
    ...     mu = pm.Normal("mu")
    ...     x = pds.Path("x", ou, params={"mu": mu}, dims="time")
    ...     count = pm.Poisson("count", pm.math.exp(x[..., 0]), observed=[1, 0, 3], dims="time")
    ...     marker = pm.Normal("marker", x[..., 0], 0.1, observed=[0.2, 0.1, 0.9], dims="time")
    >>> x.eval().shape
    (3, 1)
    >>> [rv.name for rv in model.free_RVs]
    ['mu', 'x_start', 'x_noise']
    """
    model = pm.modelcontext(None)
    names = _names(dims)
    require_dims(model, names, times)
    if isinstance(times, Variable):
        raise TypeError(
            "times: the number of a path's normals depends on them, so they are fixed when the "
            "model is built, and cannot be pm.Data; give them as an array, and build the model "
            "again for others"
        )
    if not isinstance(parametrization, Parametrization):
        raise TypeError(
            "parametrization: expected pds.Free(), pds.Guided(values, sd) or pds.Centred(), got "
            f"{parametrization!r}"
        )
    told = on_own_rows(system, inputs or {})
    source, given, announced = without_observation(system, params or {}, told)
    options = Options(times, unit, t0, told, events)
    arrays = read_arrays(source, given, Observed(dims=names), options, model)
    check_path(arrays, parametrization)
    law, why = choose_law(arrays, discretization, parametrization)
    program = Program(arrays.design, law)
    simulator = law.solver or law.scheme(program.system)
    frame, variables, operands = arrays.frame, arrays.variables, arrays.operands
    study = Study(name, program, simulator, frame, variables, operands)
    probe(study, model)
    if isinstance(parametrization, Centred):
        x = register_centred(study, names, model)
    else:
        x = _register(study, names, parametrization, model)
    hold_labels(str(x.name), study.design, variables, frame, model)
    hold(frame.time_dim, _FIXED_TIMES.format(name), model)
    if not takes_labels(times, None, frame.time_dim):
        register_times(str(x.name), operands.times, frame, model)
    for message in (f"path {law.parts}{why}", *announced):
        logger.info("%s: %s", name, message)
    if isinstance(parametrization, Guided) and parametrization.is_learnt:
        logger.info(
            "%s: Guided() leaves the guide to be learnt from the data, "
            "model = pds.reparametrize(model); until then the path is free",
            name,
        )
    _warn_of_memory(name, x)
    return x


_FIXED_TIMES = (
    "the times of the path {!r} lie along them, and the number of its normals depends on these; "
    "build the model again for other times"
)


def _names(dims: object) -> tuple[str, ...]:
    """Names of the axes."""
    names = (dims,) if isinstance(dims, str) else dims
    if not isinstance(names, Sequence) or not names or not all(isinstance(n, str) for n in names):
        raise TypeError(f"dims: expected names, such as ('subject', 'time'), got {dims!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"dims: {tuple(names)} has a name more than once")
    return tuple(names)


def _register(
    study: Study, dims: tuple[str, ...], parametrization: Free | Guided, model: pm.Model
) -> Any:
    """The variables of a path: normals, the states, and the correction of a guide.

    Normals have the lengths that dims have in the model, so that they follow new labels.
    """
    name, program, frame = study.name, study.program, study.frame
    guided = isinstance(parametrization, Guided)
    op = PathOp(study.specification(model.coords), guided)
    layout = op.make_grid(study.design.unpack(study.operands))
    n_start, n_steps, n_sources = sizes(program, layout)
    of_state, of_step, of_source = f"{name}_state", f"{name}_step", f"{name}_source"
    model.add_coord(of_state, list(program.system.states))
    batch = [model.dim_lengths[dim] for dim in frame.batch_dims]
    start: Any = pt.zeros((*batch, 0))
    noise: Any = pt.zeros((*batch, 0, 0))
    if n_start:
        start = pm.Normal(f"{name}_start", dims=(*frame.batch_dims, of_state))
    if n_steps:
        model.add_coord(of_step, np.arange(n_steps))
        model.add_coord(of_source, np.arange(n_sources))
        noise = pm.Normal(f"{name}_noise", dims=(*frame.batch_dims, of_step, of_source))
    guide: tuple[Variable, ...] = ()
    if isinstance(parametrization, Guided):
        if parametrization.is_learnt:
            guide = guide_to_learn(study, layout, model)
        else:
            guide = read_guide(parametrization, study, layout, model)
    found: Any = op(start, noise, *study.variables, *guide)
    if guided:
        found, correction = found
        pm.Potential(f"{name}_guide", correction, dims=frame.batch_dims or None)
    return pm.Deterministic(name, found, dims=(*dims, of_state))


def _warn_of_memory(name: str, x: Variable) -> None:
    """Warn of draws that fill the memory."""
    shape = pt.as_tensor(x).shape.eval(mode="FAST_COMPILE")
    size = 8.0 * DRAWS * float(np.prod(shape, dtype=float))
    if size > LARGE:
        warnings.warn(
            f"{name}: {DRAWS} draws of this path take {size / 1e9:.1f} GB, and PyMC computes those "
            "of all chains at once; sample with var_names of what you need, "
            f"pm.sample(var_names=[...]), without {name!r} and its normals, or have more memory",
            UserWarning,
            stacklevel=3,
        )
