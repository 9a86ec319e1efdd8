"""From what the user wrote to what is computed: system, batch axes, times, likelihood."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from pymc_dynsys.bridge.binding import (
    Observed,
    bind_dims,
    order_components,
    require_component_first,
)
from pymc_dynsys.bridge.coords import is_fixed
from pymc_dynsys.bridge.data import constant_value, current_value
from pymc_dynsys.bridge.dims import Placed
from pymc_dynsys.bridge.events import find_events, with_data
from pymc_dynsys.bridge.execution import (
    make_execution,
    require_double_everywhere,
    require_single_suits,
)
from pymc_dynsys.bridge.inputs import hold_lookups, place_inputs
from pymc_dynsys.bridge.labels import Given, by_label, make_frame, require_state_order
from pymc_dynsys.bridge.late import warn_of_late
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.bridge.times import check_time_dim, find_times, read_times
from pymc_dynsys.discretization import Design, Operands
from pymc_dynsys.discretization.operands import kinds_of_doses
from pymc_dynsys.likelihoods.base import Likelihood
from pymc_dynsys.likelihoods.caveats import caveats, noise_of_state, unseen_states
from pymc_dynsys.likelihoods.program import Program
from pymc_dynsys.likelihoods.regimens import require_laws
from pymc_dynsys.likelihoods.registry import choose_likelihood, require_likelihood
from pymc_dynsys.reading.accumulated import (
    require_fixed,
    restarts,
    warn_of_start,
    with_restarts,
)
from pymc_dynsys.reading.calendar import inferred, refuse_in_continuous_time, refuse_months
from pymc_dynsys.reading.consistency import check_arrays
from pymc_dynsys.reading.doses import read_doses
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.lasting import settled
from pymc_dynsys.reading.own_rows import announced, on_own_rows
from pymc_dynsys.reading.units import Units, unit_of
from pymc_dynsys.simulation.paths import Simulator, check_simulator, default_simulator
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.brought import as_system
from pymc_dynsys.systems.linear_gaussian import LinearGaussian


@dataclass(frozen=True)
class Options:
    """What a user may say of a trajectory besides its system, parameters and data."""

    times: Any = None
    unit: str | None = None
    t0: Any = None
    inputs: Any = None
    events: Any = None
    likelihood: Likelihood | None = None
    simulator: Simulator | None = None
    devices: Any = None
    dtype: Any = None


class Arrays(NamedTuple):
    """What trajectories are made of, likelihood and simulator aside.

    ``gaps`` are ``(*batch, row)``; ``variables`` and ``operands`` are as in a :class:`Study`.
    """

    design: Design
    frame: Frame
    variables: tuple[Variable, ...]
    operands: Operands
    gaps: np.ndarray


def assemble(
    name: str,
    source: Any,
    params: Mapping[str, Any],
    observed: Observed,
    options: Options,
    model: Any,
) -> tuple[Study, tuple[str, ...]]:
    """Resolve names, dims, times and defaults; everything wrong is an error here.

    Likelihood and simulator are chosen and checked for the gaps of what :func:`read_arrays` reads.
    Also returns what is to be announced.
    """
    if options.likelihood is not None:
        require_likelihood(options.likelihood)
    design, frame, variables, operands, gaps = read_arrays(source, params, observed, options, model)
    system = design.system
    warn_of_start(name, system, np.asarray(operands.times), np.asarray(operands.t0))
    if design.late:
        warn_of_late(name, system, operands.doses)
    likelihood, announcements = _likelihood(name, options.likelihood, system, gaps)
    if design.moving:
        _require_slopes(likelihood, system)
    if design.laws:
        require_laws(likelihood, system, "interval" in design.laws)
    simulator = options.simulator or default_simulator(system, gaps)[0]
    check_simulator(simulator, system)
    execution = make_execution(options.devices, options.dtype, dict(frame.lengths))
    if execution.dtype == "float32":
        require_single_suits(system, likelihood, np.asarray(operands.times), gaps)
    program = Program(design, likelihood, execution=execution)
    said = (*announcements, *(text for text in [announced(source)] if text))
    return Study(name, program, simulator, frame, variables, operands), said


def read_arrays(
    source: Any, params: Mapping[str, Any], observed: Observed, options: Options, model: Any
) -> Arrays:
    """Names found, dims and times resolved; everything wrong with them is an error here.

    In order: parameters are placed and the system bound, which says what the dims are; times,
    doses and inputs are read for these dims.
    """
    require_double_everywhere()
    if not isinstance(params, Mapping):
        raise TypeError(f"params: expected a mapping of names, got {type(params).__name__}")
    dims = observed.dims
    if isinstance(source, LinearGaussian):
        require_component_first(source.params, dims, model)
    inputs = {} if options.inputs is None else options.inputs
    if not isinstance(inputs, Mapping):
        raise TypeError(f"inputs: expected a mapping of names, got {type(inputs).__name__}")
    inputs = on_own_rows(source, inputs)
    source, params = as_system(source, params, inputs)
    params, labels = by_label(source, params, {} if model is None else model.coords)
    system, placed, n_batch = bind_dims(source, params, inputs, observed, model)
    system = order_components(system, observed, model)
    for param, value in placed.items():
        require_state_order(param, value.dims, system.states, {} if model is None else model.coords)
    found = find_times(options.times, observed.given, dims[n_batch] if dims else None, model)
    events = find_events(options.events, model)
    given = Given(params, inputs, found, options.t0, events.table)
    units = Units(unit_of(found), unit_of(observed.given))
    frame = make_frame(dims, n_batch, given, labels, model)
    frame = replace(frame, unit=options.unit, units=units)
    if system.step is None:
        refuse_in_continuous_time(found, frame.unit)
    elif frame.unit is None:
        frame = replace(frame, unit=inferred(found))
    times, times_now, origin = read_times("times", found, frame, frame.time_dim, model)
    frame = replace(frame, origin=origin)
    if system.step is not None:
        refuse_months(found, times_now, frame.unit, origin)
    start = np.nan if options.t0 is None else options.t0
    of_start = replace(frame, origin=None) if options.t0 is None else frame
    t0, t0_now, _ = read_times("t0", start, of_start, None, model)
    if 0 in times_now.shape or 0 in frame.batch:
        raise ValueError(f"times: there is nothing to observe; times has shape {times_now.shape}")
    check_time_dim(model, dims, n_batch, times_now)
    doses = read_doses(events.table, frame, system)
    require_fixed(system, doses, isinstance(found, Variable), bool(events.data))
    known = {name: constant_value(value.tensor) for name, value in placed.items()}
    doses = settled(doses, system, known, frame)
    if system.dosing.accumulated:
        doses = with_restarts(restarts(times_now), doses)
    told = place_inputs(inputs, frame, times_now, model)
    hold_lookups(inputs, frame, model)
    design = Design(system, told.kinds, **kinds_of_doses(doses, system))
    operands = Operands(
        observed.numbers, times_now, t0_now, doses, told.signals, _data_params(params, placed)
    )
    gaps = check_arrays(design, operands._replace(inputs=told.there), frame)
    given_doses = with_data(doses, events, frame, model)
    tensors = {k: value.tensor for k, value in placed.items()}
    symbolic = Operands(None, times, t0, given_doses, told.signals, tensors)
    variables = tuple(_tensors(design, symbolic, told.tensors))
    return Arrays(design, frame, variables, operands, gaps)


def _likelihood(
    name: str, likelihood: Likelihood | None, system: BoundSystem, gaps: np.ndarray
) -> tuple[Likelihood, tuple[str, ...]]:
    """The likelihood with all its options, and what to announce of it.

    What the data tell of a state and the likelihood does not see is a warning, unless it was asked
    for and sees some of it.
    """
    why, chosen = "", likelihood is None
    if likelihood is None:
        likelihood, why = choose_likelihood(system)
    likelihood.check(system)
    likelihood, message = likelihood.resolve_defaults(system, gaps)
    announced = [f"likelihood {likelihood!r}: {why}" if why else "", message]
    blind = unseen_states(likelihood, system)
    if blind is None and chosen:
        blind = noise_of_state(likelihood, system)
    for caveat in caveats(likelihood, system):
        if caveat == blind:
            warnings.warn(f"{name}: {caveat}", UserWarning, stacklevel=4)
        else:
            announced.append(caveat)
    return likelihood, tuple(text for text in announced if text)


def _require_slopes(likelihood: Likelihood, system: BoundSystem) -> None:
    """Raise for a likelihood without derivatives by the lengths of gaps."""
    if likelihood.scheme(system).adaptive:
        raise ValueError(
            f"likelihood: {likelihood!r} has no slope in the times at which doses arrive (lag) or "
            "infusions end (a rate or duration that is not known, or a bioavailability beside a "
            "rate); choose EKF(), Kalman() or ODESolve(), or give event_duration (DUR), which does "
            "not change"
        )


def _data_params(params: Mapping[str, Any], placed: Mapping[str, Placed]) -> dict[str, Any]:
    """Current values of parameters that are data; None for all others, which need no look now."""
    return {
        name: current_value(value.tensor)
        if isinstance(params[name], Variable) and not is_fixed(value.tensor)
        else None
        for name, value in placed.items()
    }


def _tensors(
    design: Design, symbolic: Operands, of_inputs: Mapping[str, Variable]
) -> Iterator[Variable]:
    """PyTensor variables of all arrays but the data, in the order of the slots."""
    arrays = design.unpack(
        symbolic._replace(
            inputs={
                name: signal._replace(values=of_inputs.get(name, signal.values))
                for name, signal in symbolic.inputs.items()
            }
        )
    )
    for array in arrays[1:]:
        yield array if isinstance(array, Variable) else pt.constant(np.ascontiguousarray(array))
