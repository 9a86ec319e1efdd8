"""Value and gradient of the log-density, and whole runs of NUTS, compared with other packages.

    uv run python benchmarks/run.py --only "ou/*/N10/T100/*"

The whole benchmark takes long. Each competitor runs in a process of its own, and each peer in an
environment of its own, which uv makes on first use. See `cases.py` for the cases.
"""

import argparse
import sys
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import report
from cases import COMPETITORS, OURS, Case, all_cases
from race import race


def main() -> int:
    options = parse()
    if options.smoke:
        from smoke import smoke

        faults = smoke(options.write)
        print("\n".join(faults) or "all as expected")
        return bool(faults)
    cases = [case for case in all_cases() if wanted(case, options.only)]
    if not cases:
        names = "\n  ".join(case.name for case in all_cases())
        print(f"no case has a name like {options.only}; the cases are\n  {names}")
        return 2
    results = []
    for k, case in enumerate(cases, 1):
        taking_part = [name for name in case.competitors if name not in options.without]
        say = partial(progress, f"[{k}/{len(cases)}] {case.name}")
        results += race(case, taking_part, say)
        # An interrupted run leaves what it has measured.
        if options.json:
            report.write(options.json, cases, results)
    print(describe(results))
    print(report.tables(cases, results))
    if options.figures:
        from curves import draw_curves

        draw_curves(options.figures, cases, results)
    return any(result.trouble.startswith(("WRONG", "FAILED")) for result in results)


def progress(where: str, what: str) -> None:
    print(f"{where}: {what}", file=sys.stderr, flush=True)


def wanted(case: Case, patterns: list[str]) -> bool:
    """Whether the name of a case matches; the part of a name up to a slash matches all below it."""
    return not patterns or any(
        fnmatchcase(case.name, pattern) or fnmatchcase(case.name, f"{pattern.rstrip('/')}/*")
        for pattern in patterns
    )


def describe(results: list) -> str:
    """The machine and the versions."""
    machine = report.machine()
    lines = [f"{machine['cpu']}, {machine['cores']} cores, float64"]
    for competitor, versions in report.versions(results).items():
        packages = ", ".join(f"{name} {version}" for name, version in versions.items())
        lines.append(f"{competitor}: {packages}")
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="PATTERN", help='cases, such as "ou/ekf/*/mu"'
    )
    peers = [name for name in COMPETITORS if name != OURS]
    parser.add_argument("--without", nargs="+", default=[], choices=peers, metavar="COMPETITOR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results there")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="draw curves there")
    parser.add_argument(
        "--smoke", action="store_true", help="only compare our numbers on small cases"
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
