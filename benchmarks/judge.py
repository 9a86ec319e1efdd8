"""Checks that a competitor computed the right numbers, before it is timed."""

from math import sqrt

import numpy as np
from cases import Case
from data import Arrays
from reference import directions

EXACT = 1e-6
"""Relative error allowed to filters without Monte Carlo error; some peers add jitter of 1e-9."""

# Ensemble filters of 30 members over 100 visits, per subject: bias and standard deviation over
# seeds of the log-likelihood, and largest plausible ones of its slope in a parameter.
BIAS, SD, SLOPE_BIAS, SLOPE_SD = -0.8, 1.3, 2.0, 6.0
DEVIATIONS = 4.0


def fault(
    case: Case, point: Arrays, value: float, gradient: Arrays, expected: tuple[float, dict]
) -> str:
    """Disagreement of a value and gradient with the reference; an empty string if there is none."""
    right, slopes = expected
    size = sqrt(sum(np.sum(np.square(part)) for part in gradient.values()))
    allowed, slope_allowed = EXACT * abs(right), EXACT * size
    centre = 0.0
    if case.members:
        shrink, length = 30 / case.members, case.times / 100
        centre = case.subjects * length * BIAS * shrink
        spread = sqrt(case.subjects * length * shrink)
        allowed = abs(centre) + DEVIATIONS * SD * spread
        slope_allowed = case.subjects * length * SLOPE_BIAS * shrink
        slope_allowed += DEVIATIONS * SLOPE_SD * spread
    faults = []
    # Written so that NaN is a fault.
    if not abs(value - right - centre) <= allowed:
        faults.append(f"value {value:.10g}, expected {right + centre:.10g} within {allowed:.2g}")
    for name, direction in directions(point).items():
        slope = np.sum(np.asarray(gradient[name]) * direction)
        off = slope_allowed * np.abs(direction).max()
        if not abs(slope - slopes[name]) <= off:
            faults.append(
                f"gradient in {name} along a random direction {slope:.10g}, "
                f"expected {slopes[name]:.10g} within {off:.2g}"
            )
    return "; ".join(faults)
