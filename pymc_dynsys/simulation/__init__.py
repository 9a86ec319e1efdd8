"""Forward paths of many trajectories in one batched call."""

from pymc_dynsys.simulation.paths import default_simulator, path_grid, simulate_paths

__all__ = ["default_simulator", "path_grid", "simulate_paths"]
