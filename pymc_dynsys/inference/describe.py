"""What a trajectory of a model is made of, and what was proved and chosen: a short text."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
from jax import ShapeDtypeStruct
from numpyro import distributions as dist
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors

from pymc_dynsys.bridge.study import Study, find_path, find_trajectory
from pymc_dynsys.discretization.operands import Role, Slot
from pymc_dynsys.inference.read_inputs import whole
from pymc_dynsys.likelihoods.registry import choose_likelihood
from pymc_dynsys.reading.accumulated import without_restarts
from pymc_dynsys.reading.times import as_dates
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.components import Components
from pymc_dynsys.systems.dynamics import Continuous
from pymc_dynsys.systems.facts import Facts, Row, functions_of, listed
from pymc_dynsys.systems.held import Held


def describe(model: pm.Model, *, var_name: str | None = None) -> Facts:
    """States, parameters, data and likelihood of a trajectory or path of a model, in words.

    Nothing is computed from the data but counts, and nothing is compiled.

    Parameters
    ----------
    model : pm.Model
        The model.
    var_name : str, optional
        Name of the trajectory or path, if the model has several.

    Returns
    -------
    Facts
        A text when it is printed, a table in notebooks; ``.rows`` are its lines, pairs of a label
        and a text: how many trajectories, visits and observations there are, with the first and
        last time in the unit of the model; the states and the functions of the system; of each
        parameter and input over which dims it varies, of which variables of the model it is made
        and which function asks for it; the doses; what was proved of dynamics, observation and
        start, and why the system is not linear and Gaussian where it is not; the likelihood, and
        the default in place of it; the simulator.

    Raises
    ------
    ValueError, TypeError
        If there is no such trajectory, or it has no data.

    See Also
    --------
    check_data : the data themselves, subject by subject.

    Examples
    --------
    >>> import numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> walk = pds.SDE(
    ...     states=("level",),
    ...     drift=lambda level, mu: mu - level,
    ...     diffusion=0.3,
    ...     initial=dist.Normal(0.0, 1.0),
    ...     observation=lambda level: dist.Normal(level, 0.1),
    ... )
    >>> y = np.array([[0.1, np.nan, 0.3], [0.2, 0.4, 0.1]])
    >>> with pm.Model(coords={"subject": ["ann", "bob"], "time": [0.0, 1.0, 3.0]}) as model:
    ...     params = {"mu": pm.Normal("mu", dims="subject")}
    ...     rv = pds.Trajectory("y", walk, params=params, observed=y, dims=("subject", "time"))
    >>> pds.describe(model)  # doctest: +ELLIPSIS
    y: SDE(level)
      trajectories         2 (subject)
      visits               6, from 0 to 3
      observations         5, and 1 missing
      states               level
      drift                f(level, mu)
      diffusion            0.3
      observation          f(level)
      initial              Normal(loc=0, scale=1)
      mu                   of mu; varies over subject; asked for by dynamics
      proved: dynamics     linear; noises: 1
      proved: observation  Normal, affine in the state
      proved: initial      Normal
      likelihood           Kalman(discretization=Exact()): the system is linear and ...
      simulator            Exact()
    """
    path = find_path(model, var_name)
    study = path or find_trajectory(model, var_name)
    rows = [
        *_read(study, observed=path is None),
        ("states", ", ".join(study.system.states)),
        *functions_of(study.system.source),
        *_arrays(study, model),
        *_doses(study),
        *_proved(study.system),
    ]
    if path is not None:  # which has no data of its own
        rows = [row for row in rows if not row[0].endswith("observation")]
    else:
        rows.append(("likelihood", _likelihood(study)))
        if not study.program.likelihood.gradient:
            rows.append(("gradient", "none"))
        rows.append(("simulator", repr(study.simulator)))
    return Facts(f"{study.name}: {study.system.source!r}", tuple(rows))


def _read(study: Study, *, observed: bool) -> Iterator[Row]:
    """How many trajectories, visits and observations there are."""
    frame = study.frame
    lengths = [f"{n} {dim}" for dim, n in frame.lengths.items()]
    dims = frame.batch_dims if frame.rank < 2 else lengths
    yield "trajectories", f"{int(np.prod(frame.batch))}{f' ({listed(dims)})' if dims else ''}"
    times = whole(study, study.operands.times, 1)
    visits = times[~np.isnan(times)]
    first, last = (_time(study, t) for t in (visits.min(), visits.max()))
    unit = f" {frame.units.time}" if frame.units.time and frame.origin is None else ""
    yield "visits", f"{visits.size}, from {first} to {last}{unit}"
    if observed:
        there = ~np.isnan(study.y)
        n_possible = visits.size * study.system.observation.n_components
        missing = n_possible - int(there.sum())
        text = f"{there.sum()}, and {missing} missing"
        if frame.component_dim is not None:
            names = listed(map(str, frame.labels.get(frame.component_dim, ())))
            text += f"; {frame.component_dim}: {names or study.system.observation.n_components}"
        yield "observations", text


def _time(study: Study, t: float) -> str:
    if study.frame.origin is None:
        return f"{t:g}"
    date = as_dates(np.asarray([t]), study.frame.unit, study.frame.origin)[0]
    return str(date)[:19].removesuffix("T00:00:00")


def _arrays(study: Study, model: pm.Model) -> Iterator[Row]:
    """What parameters and inputs are made of, where they vary and who asks for them."""
    kinds = {kind.name: kind for kind in study.design.inputs}
    shapes = study.system.param_shapes | study.system.input_shapes
    for slot, variable in zip(study.design.slots[1:], study.variables, strict=True):
        if slot.role not in (Role.PARAM, Role.INPUT) or slot.name not in shapes:
            continue
        sources = sorted(set(_named(variable, model)))
        parts = [f"of {', '.join(sources)}" if sources else "fixed"]
        if slot.name in kinds:
            parts[0] = f"input {parts[0]}"
            parts.append(f"interpolation {kinds[slot.name].interpolation}")
        over = listed(_varies(study, slot, variable))
        if study.frame.rank:
            parts.append(f"varies over {over}" if over else "the same for all")
        if shapes[slot.name]:
            parts.append(f"shape {shapes[slot.name]}")
        parts.append(f"asked for by {listed(_askers(study.system, slot.name), 'nothing')}")
        yield slot.name, "; ".join(parts)


def _named(variable: Variable, model: pm.Model) -> Iterator[str]:
    """Names of those variables of the model that an expression is made of, the nearest ones."""
    known = {value: str(name) for name, value in model.root.named_vars.items()}
    return (known[v] for v in ancestors([variable], blockers=known) if v in known)


def _varies(study: Study, slot: Slot, variable: Variable) -> Iterator[str]:
    """Batch dims along which an array is not shared."""
    shape, frame = variable.type.shape, study.frame
    for axis, dim in enumerate(frame.batch_dims):
        own = axis - frame.rank - len(slot.core) + len(shape)
        if own >= 0 and shape[own] != 1:
            yield dim


def _askers(system: BoundSystem, name: str) -> Iterator[str]:
    parts = {
        "dynamics": system.dynamics,
        "observation": system.observation,
        "initial": system.start,
        "events": system.dosing,
    }
    return (part for part, functions in parts.items() if functions.asks_for(name))


def _doses(study: Study) -> Iterator[Row]:
    doses = without_restarts(study.operands.doses)
    if doses is None:
        return
    there = ~np.isnan(whole(study, doses.times, 1))
    text = f"{there.sum()} for {there.any(-1).sum()} trajectories"
    if doses.durations is not None:
        lasting = there & (whole(study, doses.durations, 1) > 0)
        text += f", {lasting.sum()} of them infusions"
    if study.system.dosing.has_own_jump:
        text += "; events() says what they do"
    elif doses.targets is not None:
        into = np.unique(whole(study, doses.targets, 1)[there]).astype(int)
        text += f"; into {listed(study.system.states[i] for i in into)}"
    if study.design.late:
        text += "; with a lag"
    if doses.lasting is not None:
        text += "; parameters say how long some infusions last"
    if doses.laws is not None:
        text += "; with resets or steady states"
    yield "doses", text


def _proved(system: BoundSystem) -> Iterator[Row]:
    """What is known of dynamics, observation and start, and what hinders an exact filter."""
    proof, laws = system.proof, _laws(system)
    yield "proved: dynamics", "; ".join(_of_dynamics(system, laws["dynamics"]))
    if "observation" in laws:
        seen = proof.observation
        known = ", affine in the state" if seen.affine and seen.gaussian else ""
        noise = "" if seen.constant_noise or not seen.gaussian else ", noise depends on the state"
        censored = ", censored" if seen.censored else ""
        yield "proved: observation", f"{laws['observation']}{known}{noise}{censored}"
    begins = "the stationary distribution" if system.start.stationary else laws["initial"]
    if system.n_diffuse:
        diffuse = np.flatnonzero(system.start.diffuse)
        begins += f"; diffuse: {listed(system.states[i] for i in diffuse)}"
    yield "proved: initial", "a known state" if proof.start.known else begins
    if proof.because:
        yield "not linear-Gaussian", "; ".join(proof.because)
    if proof.unseen:
        yield "not seen in means", f"the noise depends on {listed(proof.unseen)}"


def _of_dynamics(system: BoundSystem, law: str) -> Iterator[str]:
    moves = system.proof.dynamics
    yield ("linear" if moves.linear else "nonlinear") if moves.gaussian else "not Gaussian"
    yield "no noise" if system.is_deterministic else law
    if moves.gaussian and not moves.constant_noise:
        yield "noise depends on state, time or inputs"
    if any(system.drives(name) for name in system.input_shapes):
        yield "driven by inputs"


def _laws(system: BoundSystem) -> dict[str, str]:
    """Kinds of distributions and number of noises, seen while the functions are traced."""
    number = jnp.zeros(()).dtype
    shapes = {**system.param_shapes, **system.input_shapes}
    values = {name: ShapeDtypeStruct(shape, number) for name, shape in shapes.items()}
    x, t = ShapeDtypeStruct((system.n_states,), number), ShapeDtypeStruct((), number)
    found: dict[str, str] = {}

    def look(x: jax.Array, t: jax.Array, values: dict[str, jax.Array]) -> None:
        held = Held(values)
        dynamics = system.dynamics
        if isinstance(dynamics, Continuous):
            found["dynamics"] = f"noises: {dynamics.diffusion(x, t, held).shape[-1]}"
        else:
            found["dynamics"] = _kind(dynamics.law(x, t, held))
        if not system.start.stationary:
            found["initial"] = _kind(system.start.law(values))
        if getattr(system.source, "observation", None) is not None:
            found["observation"] = _kind(system.observation.law(x, t, held))

    jax.eval_shape(look, x, t, values)
    return found


def _kind(law: dist.Distribution) -> str:
    """Name of a family, or of those of the components."""
    if isinstance(law, Components):
        return f"({listed(_kind(own) for own in law.laws)})"
    if isinstance(law, dist.Independent):
        return _kind(law.base_dist)
    return type(law).__name__


def _likelihood(study: Study) -> str:
    """What integrates the paths out, and the default where it is another one."""
    likelihood = study.program.likelihood
    try:
        default, why = choose_likelihood(study.system)
    except ValueError:  # there is no default: the user had to choose
        return repr(likelihood)
    if type(default) is type(likelihood):
        return f"{likelihood!r}: {why}"
    return f"{likelihood!r}; the default would be {default!r}: {why}"
