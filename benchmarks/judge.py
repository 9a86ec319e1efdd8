"""Whether a contender computed the right thing, before anybody asks how fast."""

from math import sqrt

import numpy as np
from data import Arrays
from reference import directions
from works import Work

EXACT = 1e-6
"""Relative error allowed to filters without Monte Carlo error; some peers add jitter of 1e-9."""

# Ensemble filters of 30 members over 100 visits, per subject: bias and standard deviation over
# seeds of the log-likelihood, and largest plausible ones of its slope in a parameter.
BIAS, SD, SLOPE_BIAS, SLOPE_SD = -0.8, 1.3, 2.0, 6.0
DEVIATIONS = 4.0


def fault(
    work: Work, point: Arrays, value: float, gradient: Arrays, expected: tuple[float, dict]
) -> str:
    """What is wrong with a value and gradient beside those of the reference; empty if nothing."""
    right, slopes = expected
    size = sqrt(sum(np.sum(np.square(part)) for part in gradient.values()))
    allowed, slope_allowed = EXACT * abs(right), EXACT * size
    centre = 0.0
    if work.members:
        shrink, length = 30 / work.members, work.times / 100
        centre = work.subjects * length * BIAS * shrink
        spread = sqrt(work.subjects * length * shrink)
        allowed = abs(centre) + DEVIATIONS * SD * spread
        slope_allowed = work.subjects * length * SLOPE_BIAS * shrink
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
