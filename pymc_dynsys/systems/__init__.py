"""What a system is: dynamics, observation and initial distribution of one trajectory."""

from pymc_dynsys.systems.autoregression import autoregression
from pymc_dynsys.systems.bind import bind_system
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.censored import Censored, censored
from pymc_dynsys.systems.cycle import cycle
from pymc_dynsys.systems.discrete import DiscreteTime
from pymc_dynsys.systems.dose import Dose
from pymc_dynsys.systems.dosing import Dosing
from pymc_dynsys.systems.dynamic_factor import dynamic_factor
from pymc_dynsys.systems.dynamics import Continuous, Discrete, Dynamics, LinearDynamics
from pymc_dynsys.systems.gaussian import Gaussian, gaussian_moments
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.initial import Diffuse, Stationary
from pymc_dynsys.systems.linear_gaussian import LinearGaussian
from pymc_dynsys.systems.matrices import linear_gaussian
from pymc_dynsys.systems.measurement import Measurement, measurement
from pymc_dynsys.systems.observation import Observation
from pymc_dynsys.systems.ode import ODE
from pymc_dynsys.systems.proof import Proof, Reason
from pymc_dynsys.systems.regression import regression
from pymc_dynsys.systems.sde import SDE
from pymc_dynsys.systems.start import Start
from pymc_dynsys.systems.structural import (
    local_level,
    local_linear_trend,
    seasonal,
    white_noise,
)
from pymc_dynsys.systems.vector_autoregression import vector_autoregression

__all__ = [
    "ODE",
    "SDE",
    "BoundSystem",
    "Censored",
    "Continuous",
    "Diffuse",
    "Discrete",
    "DiscreteTime",
    "Dose",
    "Dosing",
    "Dynamics",
    "Gaussian",
    "Held",
    "LinearDynamics",
    "LinearGaussian",
    "Measurement",
    "Observation",
    "Proof",
    "Reason",
    "Start",
    "Stationary",
    "autoregression",
    "bind_system",
    "censored",
    "cycle",
    "dynamic_factor",
    "gaussian_moments",
    "linear_gaussian",
    "local_level",
    "local_linear_trend",
    "measurement",
    "regression",
    "seasonal",
    "vector_autoregression",
    "white_noise",
]
