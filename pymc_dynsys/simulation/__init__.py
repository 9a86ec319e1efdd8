"""Forward paths of many trajectories in one batched call."""

from pymc_dynsys.simulation.paths import default_simulator, simulate_paths

__all__ = ["default_simulator", "simulate_paths"]
