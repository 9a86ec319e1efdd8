"""Value and gradient of the log-density, and whole runs of NUTS: this package beside its peers.

    uv run python benchmarks/run.py --only "ou/*/N10/T100/*"

All of it takes long. Each contender has a process, and each peer an environment, of its own; uv
makes the latter on first use. See `works.py` for what there is to run.
"""

import argparse
import sys
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import report
from race import race
from works import CONTENDERS, OURS, Work, all_works


def main() -> int:
    options = parse()
    if options.smoke:
        from smoke import smoke

        faults = smoke(options.write)
        print("\n".join(faults) or "all as expected")
        return bool(faults)
    works = [work for work in all_works() if wanted(work, options.only)]
    if not works:
        names = "\n  ".join(work.name for work in all_works())
        print(f"no work has a name like {options.only}; there are\n  {names}")
        return 2
    results = []
    for k, work in enumerate(works, 1):
        taking_part = [name for name in work.contenders if name not in options.without]
        say = partial(progress, f"[{k}/{len(works)}] {work.name}")
        results += race(work, taking_part, say)
        # An interrupted run leaves what it has measured.
        if options.json:
            report.write(options.json, works, results)
    print(describe(results))
    print(report.tables(works, results))
    if options.figures:
        from curves import draw_curves

        draw_curves(options.figures, works, results)
    return any(result.trouble.startswith(("WRONG", "FAILED")) for result in results)


def progress(where: str, what: str) -> None:
    print(f"{where}: {what}", file=sys.stderr, flush=True)


def wanted(work: Work, patterns: list[str]) -> bool:
    """Whether a work has one of the names; a part of a name up to a slash names all below it."""
    return not patterns or any(
        fnmatchcase(work.name, pattern) or fnmatchcase(work.name, f"{pattern.rstrip('/')}/*")
        for pattern in patterns
    )


def describe(results: list) -> str:
    """The machine and the versions."""
    machine = report.machine()
    lines = [f"{machine['cpu']}, {machine['cores']} cores, float64"]
    for contender, versions in report.versions(results).items():
        packages = ", ".join(f"{name} {version}" for name, version in versions.items())
        lines.append(f"{contender}: {packages}")
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="PATTERN", help='works, such as "ou/ekf/*/mu"'
    )
    peers = [name for name in CONTENDERS if name != OURS]
    parser.add_argument("--without", nargs="+", default=[], choices=peers, metavar="CONTENDER")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results there")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="draw curves there")
    parser.add_argument(
        "--smoke", action="store_true", help="only compare our numbers on small works"
    )
    parser.add_argument(
        "--write", action="store_true", help="with --smoke: keep the numbers found as expected"
    )
    options = parser.parse_args()
    if options.write and not options.smoke:
        parser.error("--write goes with --smoke")
    return options


if __name__ == "__main__":
    sys.exit(main())
