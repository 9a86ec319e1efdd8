"""Which tests a run of minutes needs: the quick ones, and the cheapest that cover the package.

Of all tests that ran, those are kept that take less than ``--quick`` CPU seconds, and of the others
the cheapest set that takes every line and branch of the package that all of them take. The rest is
printed with its cost, dearest first: candidates for ``tests/second_views.toml``. Whether a test
protects something that coverage does not see, a number from elsewhere for instance, is for whoever
reads the list to say. ::

    uv run --with pytest-cov pytest -m "" --cov=pymc_dynsys --cov-branch --cov-context=test \
        --cov-report= --cpu-times cpu.txt
    uv run python -m tests.choose_fast cpu.txt .coverage
"""

import argparse
import heapq
import sqlite3
from collections import defaultdict
from pathlib import Path

Branch = tuple[int, int, int]


def branches_of(coverage: Path) -> dict[str, set[Branch]]:
    """Branches (file, from line, to line) that each test takes beyond what an import takes."""
    taken: dict[str, set[Branch]] = defaultdict(set)
    with sqlite3.connect(coverage) as data:
        query = (
            "select context, file_id, fromno, tono from arc join context on context.id = context_id"
        )
        for context, *branch in data.execute(query):
            taken[context.partition("|")[0]].add(tuple(branch))
    imported = taken.pop("", set())
    return {test: branches - imported for test, branches in taken.items()}


def cheapest_cover(cost: dict[str, float], taken: dict[str, set[Branch]]) -> set[str]:
    """Tests that take all branches: most new ones for the cost first, then without the needless."""
    left = set().union(*taken.values())
    queue = [(-len(branches) / (0.1 + cost[test]), test) for test, branches in taken.items()]
    heapq.heapify(queue)
    chosen = []
    while left and queue:
        _, test = heapq.heappop(queue)
        gain = -len(taken[test] & left) / (0.1 + cost[test])
        if queue and gain > queue[0][0]:  # what it adds has shrunk since it was put in
            if gain < 0:
                heapq.heappush(queue, (gain, test))
            continue
        left -= taken[test]
        chosen.append(test)
    times: dict[Branch, int] = defaultdict(int)
    for test in chosen:
        for branch in taken[test]:
            times[branch] += 1
    for test in sorted(chosen, key=lambda test: -cost[test]):
        if all(times[branch] > 1 for branch in taken[test]):
            chosen.remove(test)
            for branch in taken[test]:
                times[branch] -= 1
    return set(chosen)


def main() -> None:
    """Print what is neither quick nor needed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cpu_times", type=Path, help="written by pytest --cpu-times")
    parser.add_argument("coverage", type=Path, help="written by pytest --cov-context=test")
    parser.add_argument("--quick", type=float, default=0.5, help="CPU seconds (default: 0.5)")
    options = parser.parse_args()
    lines = (line.split(maxsplit=1) for line in options.cpu_times.read_text().splitlines())
    cost = {test: float(seconds) for seconds, test in lines}
    taken = {test: b for test, b in branches_of(options.coverage).items() if test in cost}
    needed = cheapest_cover(cost, taken)
    rest = [t for t in cost if cost[t] >= options.quick and t not in needed]
    for test in sorted(rest, key=lambda test: -cost[test]):
        print(f"{cost[test]:8.2f}  {test}")
    kept = sum(cost.values()) - sum(cost[test] for test in rest)
    print(f"{kept:8.1f}  CPU seconds of {len(cost) - len(rest)} tests stay")


if __name__ == "__main__":
    main()
