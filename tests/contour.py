"""Derivatives of analytic functions by Cauchy's integral, a referee that differentiates nothing."""

import math

import numpy as np


def derivatives(function, x, radius, order=5, points=64):
    """Value and derivatives ``(order + 1, *x)`` of a complex NumPy function at real points."""
    circle = np.exp(2j * np.pi * np.arange(points) / points)
    x, radius = np.asarray(x, float)[..., None], np.asarray(radius, float)[..., None]
    coefficients = np.fft.fft(function(x + radius * circle), axis=-1).real / points
    return np.stack(
        [coefficients[..., n] * math.factorial(n) / radius[..., 0] ** n for n in range(order + 1)]
    )
