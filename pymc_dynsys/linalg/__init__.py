"""Small-matrix kernels shared by the filters.

State dimensions in this library are mostly below ten. Under ``vmap`` a LAPACK
call on such a matrix costs more than the arithmetic, so products are written as
broadcast sums and factorizations as short sweeps; from ``LARGE`` on the
ordinary library routines take over.
"""

from pymc_dynsys.linalg.factor import ldl, psd_factor, unit_lower_solve
from pymc_dynsys.linalg.linearize import linearize
from pymc_dynsys.linalg.products import (
    LARGE,
    congruence,
    matmul,
    matvec,
    outer,
    symmetrize,
)
from pymc_dynsys.linalg.sensitivities import with_sensitivities

__all__ = [
    "LARGE",
    "congruence",
    "ldl",
    "linearize",
    "matmul",
    "matvec",
    "outer",
    "psd_factor",
    "symmetrize",
    "unit_lower_solve",
    "with_sensitivities",
]
