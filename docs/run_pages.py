"""Run the code of the pages with a few draws, to see that it runs: ``python docs/run_pages.py``.

Sphinx runs each page in a process of its own, as a reader would. Here all share one, in which
packages are imported once and nothing is compiled twice; names are each page's own. Pages may be
named: ``python docs/run_pages.py tutorial gallery/radon``; a folder stands for its pages.
"""

import io
import os
import re
import sys
import time
import traceback
import warnings
from contextlib import redirect_stdout
from pathlib import Path

DOCS = Path(__file__).parent
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(?::[^\n]*\n)*(?P<code>.*?)^```$", re.M | re.S)

os.environ |= {"DOCS": "smoke", "MPLBACKEND": "Agg"}
warnings.simplefilter("ignore")

import matplotlib.pyplot as plt  # noqa: E402
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402


def cells(page: Path) -> list[str]:
    """Code of a page, in order."""
    return [found["code"] for found in CELL.finditer(page.read_text())]


def run(page: Path, shell: InteractiveShell) -> str | None:
    """Run a page; returns the error of the cell that has one."""
    shell.reset(new_session=False)
    for number, code in enumerate(cells(page), 1):
        with redirect_stdout(io.StringIO()):
            result = shell.run_cell(code, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            lines = "".join(traceback.format_exception(error))
            return f"{page.relative_to(DOCS)}, cell {number}:\n{code}\n{lines}"
    plt.close("all")
    return None


def main() -> None:
    """Run the pages named, or all that have code."""
    sys.path.insert(0, str(DOCS / "gallery"))
    names = sys.argv[1:] or ["tutorial", "how-to", "gallery"]
    found = [DOCS / f"{name}.md" for name in names if not (DOCS / name).is_dir()]
    found += [page for name in names for page in sorted((DOCS / name).glob("*.md"))]
    pages = [page for page in found if cells(page)]
    shell = InteractiveShell.instance()
    # As in a session of a reader's own, where names belong to `__main__`.
    sys.modules["__main__"] = shell.user_module
    failed = []
    for page in pages:
        begun = time.perf_counter()
        error = run(page, shell)
        seconds = time.perf_counter() - begun
        print(f"{page.relative_to(DOCS)}: {seconds:.0f} s{' FAILED' if error else ''}", flush=True)
        if error:
            failed.append(error)
    sys.exit("\n\n".join(failed) or 0)


if __name__ == "__main__":
    main()
