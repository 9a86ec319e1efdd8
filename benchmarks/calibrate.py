"""Simulation-based calibration, one cell of the table a call (Talts et al. 2018, arXiv:1804.06788).

    uv run python benchmarks/calibrate.py kalman --replications 200 --folder calibration
    uv run python benchmarks/calibrate.py --table --folder calibration

Parameters are drawn from the prior and data from the parameters; where likelihood and sampler are
right, the rank of a parameter among draws of its posterior is uniform. So is that of the joint
log-density, which sees errors that the ranks of single parameters miss. One program is compiled
for all replications, since the data are an argument of it. A file of each cell keeps the ranks;
a cell that was interrupted goes on where it stopped.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
from arviz_base import from_dict
from arviz_stats.base import array_stats
from calibration_cells import CELLS, Cell
from jax.flatten_util import ravel_pytree
from pymc.backends.arviz import coords_and_dims_for_inferencedata
from pymc.sampling.jax import get_jaxified_graph
from pytensor.graph.replace import graph_replace
from report import aligned

import pymc_dynsys as pds

DRAWS, THIN, TUNE = 99, 10, 500
MOST = 10
"""Elements of a variable whose ranks are kept, the first ones."""

SIMULATIONS = 20_000
LEVEL = 0.01
"""Of the test of uniformity, for all variables of a cell together."""


def main() -> int:
    options = parse()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.table:
        print(table(read(options.folder)))
        return 0
    if options.cell not in CELLS:
        print("the cells are\n  " + "\n  ".join(f"{k}: {c.says}" for k, c in CELLS.items()))
        return 2
    file = options.folder / f"{options.cell}.json"
    old = json.loads(file.read_text()) if file.exists() else {"rows": []}
    start, kept = perf_counter(), old
    for kept in run(CELLS[options.cell], old, options.replications, options.seed):
        write(file, kept)
        n = len(kept["rows"])
        each = (perf_counter() - start) / (n - len(old["rows"]))
        print(f"\r{options.cell}: {n} of {options.replications}, {each:.2f} s each", end="")
        sys.stdout.flush()
    print()
    print(table({options.cell: kept}))
    return 0


def write(file: Path, kept: dict) -> None:
    """Replace a file in one piece, so that an interrupt leaves the old one or the new one."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(kept))
    new.replace(file)


def read(folder: Path) -> dict[str, dict]:
    """What the cells have left, in the order of the table."""
    files = {name: folder / f"{name}.json" for name in CELLS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def run(cell: Cell, kept: dict, replications: int, seed: int) -> Iterator[dict]:
    """What is kept, after each replication; those that are there are not run again."""
    model = cell.model()
    program, start, unravel = compiled(model)
    truths, data = drawn(cell, model, replications, seed)
    flat_start, _ = ravel_pytree(start)
    labels = [
        (f"{name}{list(i) if i else ''}", k < MOST)
        for name, value in start.items()
        for k, i in enumerate(np.ndindex(value.shape))
    ]
    chosen = [k for k, (_, wanted) in enumerate(labels) if wanted]
    names = [*(labels[k][0] for k in chosen), "log-density"]
    kept = {"says": cell.says, "names": names, **kept}
    for k in range(len(kept["rows"]), replications):
        truth, _ = ravel_pytree({v: truths[v][k] for v in start})
        key = jax.random.fold_in(jax.random.PRNGKey(seed), k)
        draws, density, at_truth, divergences = jax.device_get(
            program(data[k], flat_start, truth, key)
        )
        found = np.column_stack([draws[:, chosen], density])
        told = np.append(truth[np.array(chosen)], at_truth)
        sizes = [array_stats.ess(v[None], method="mean") for v in found.T]
        thinned = found[THIN - 1 :: THIN]
        row = {
            "ranks": (thinned < told).sum(axis=0).tolist(),
            "ess": float(np.min(sizes)),
            "divergences": int(divergences),
        }
        if not kept["rows"]:
            kept["check"] = checked(model, data[k], draws[THIN - 1 :: THIN], unravel)
        kept = {**kept, "rows": [*kept["rows"], row]}
        yield kept


def compiled(model: pm.Model) -> tuple[Callable, dict, Callable]:
    """NUTS as one program of data, start, truth and key; where it starts; the way back from flat.

    BlackJAX's window adaptation with a diagonal mass matrix.
    """
    shared = model["y_data"]
    y = pt.tensor("y", dtype=shared.dtype, shape=shared.get_value().shape)
    logp = graph_replace([model.logp()], {shared: y})
    graph = get_jaxified_graph(inputs=[*model.value_vars, y], outputs=logp)
    point = model.initial_point()
    start = {  # in the order of names, as JAX flattens it
        rv.name: jnp.asarray(point[value.name], float)
        for rv, value in sorted(model.rvs_to_values.items(), key=lambda pair: pair[0].name)
        if rv in model.free_RVs
    }
    _, unravel = ravel_pytree(start)

    def log_density(flat: Any, y: Any) -> Any:
        values = unravel(flat)
        return graph(*(values[rv.name] for rv in model.free_RVs), y)[0]

    def program(y: Any, start: Any, truth: Any, key: Any) -> tuple:
        def here(flat: Any) -> Any:
            return log_density(flat, y)

        warm, run = jax.random.split(key)
        adaptation = blackjax.window_adaptation(blackjax.nuts, here, target_acceptance_rate=0.9)
        (state, parameters), _ = adaptation.run(warm, start, num_steps=TUNE)
        step = blackjax.nuts(here, **parameters).step

        def move(state: Any, key: Any) -> tuple:
            state, info = step(key, state)
            return state, (state.position, state.logdensity, info.is_divergent)

        _, (draws, density, diverged) = jax.lax.scan(
            move, state, jax.random.split(run, DRAWS * THIN)
        )
        return draws, density, here(truth), diverged.sum()

    return jax.jit(program), start, unravel


def drawn(cell: Cell, model: pm.Model, n: int, seed: int) -> tuple[dict, np.ndarray]:
    """Parameters drawn from the prior, unconstrained, and data drawn from them."""
    names = [rv.name for rv in model.free_RVs]
    found = pm.draw([*model.free_RVs, model["y"]], draws=n, random_seed=seed)
    data = np.asarray(found[-1], dtype=model["y_data"].dtype)
    if cell.missing:
        lost = np.random.default_rng(seed).uniform(size=data.shape) < cell.missing
        data[lost] = np.nan
    values = {}
    for name, value in zip(names, found[:-1], strict=True):
        transform = model.rvs_to_transforms[model[name]]
        forward = (
            value if transform is None else transform.forward(value, *model[name].owner.inputs)
        )
        values[name] = np.asarray(forward.eval() if hasattr(forward, "eval") else forward)
    return values, data


def checked(model: pm.Model, y: np.ndarray, flat: np.ndarray, unravel: Callable) -> str:
    """What `check_likelihood` says at draws of the first posterior."""
    values = jax.vmap(unravel)(jnp.asarray(flat))
    posterior = {}
    for rv in model.free_RVs:
        transform = model.rvs_to_transforms[rv]
        value = np.asarray(values[rv.name])
        if transform is not None:
            value = transform.backward(value, *rv.owner.inputs).eval()
        posterior[rv.name] = value[None]
    coords, dims = coords_and_dims_for_inferencedata(model)
    idata = from_dict({"posterior": posterior}, dims=dims, coords=coords)
    with model:
        pm.set_data({"y_data": y})
        try:
            return str(pds.check_likelihood(model, idata, n_draws=4)["check"].attrs["advice"])
        except (TypeError, ValueError) as refused:
            return str(refused)


def table(cells: dict[str, dict]) -> str:
    """For each variable, how far its ranks are from uniform."""
    rng = np.random.default_rng(0)
    n_limits: dict[int, np.ndarray] = {}
    rows = []
    for name, kept in cells.items():
        ranks = np.array([row["ranks"] for row in kept["rows"]])
        n = len(ranks)
        if n not in n_limits:
            uniform = rng.integers(0, DRAWS + 1, (SIMULATIONS, n))
            n_limits[n] = np.sort([distance(u) for u in uniform])
        p = np.array([1 - np.searchsorted(n_limits[n], distance(r)) / SIMULATIONS for r in ranks.T])
        places = (ranks + 0.5) / (DRAWS + 1)
        worst = int(p.argmin())
        rows.append(
            (
                name,
                str(n),
                "uniform" if p.min() > LEVEL / p.size else "NOT",
                f"{p.min():.4f} ({kept['names'][worst]} of {p.size})",
                f"{places[:, worst].mean():.3f}",
                f"{np.sqrt(12 * places[:, worst].var()):.2f}",
                f"{np.median([row['ess'] for row in kept['rows']]):.0f}",
                f"{sum(row['divergences'] > 0 for row in kept['rows'])}",
            )
        )
    head = ("cell", "n", "ranks", "least p", "its mean rank", "its spread", "ESS", "diverged")
    return aligned([head, *rows])


def distance(ranks: np.ndarray) -> float:
    """Largest distance between the distribution of ranks and the uniform one (Kolmogorov)."""
    counts = np.bincount(ranks, minlength=DRAWS + 1)
    even = np.arange(1, DRAWS + 2) / (DRAWS + 1)
    return float(np.abs(counts.cumsum() / len(ranks) - even).max())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cell", nargs="?", help="one of: " + ", ".join(CELLS))
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("calibration"))
    parser.add_argument("--table", action="store_true", help="print what the files say")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
