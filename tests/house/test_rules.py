"""Rules that a reader of the code relies on: who imports whom, how long files are."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pymc_dynsys"
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}

# A subpackage imports from those before it only.
ORDER = (
    "linalg",
    "systems",
    "panels",
    "datasets",
    "batching",
    "discretization",
    "likelihoods",
    "simulation",
    "latent",
    "reading",
    "bridge",
    "effects",
    "inference",
    "sampling",
    "marginal",
    "plots",
)

# Subpackages that may know PyMC and PyTensor.
KNOW_PYMC = ("bridge", "effects", "inference", "sampling", "marginal")

# Parameters annotated `Any`: it may only fall.
MOST_ANY = 554


def subpackage(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def imports(tree: ast.Module) -> list[str]:
    """Modules that a file imports, also inside functions."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


def test_every_subpackage_has_its_place():
    assert {subpackage(path) for path in FILES} - {""} == set(ORDER)


def test_imports_run_one_way():
    wrong = []
    for path, tree in TREES.items():
        own = subpackage(path)
        if not own:
            continue
        for module in imports(tree):
            match = re.match(r"pymc_dynsys\.(\w+)", module)
            if match and match[1] != own and ORDER.index(match[1]) > ORDER.index(own):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert not wrong, wrong


def test_no_modules_import_each_other_in_a_circle():
    names = {
        ".".join(("pymc_dynsys", *path.relative_to(PACKAGE).with_suffix("").parts)): path
        for path in FILES
        if path.name != "__init__.py"
    }
    reach = {name: {m for m in imports(TREES[path]) if m in names} for name, path in names.items()}

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above[above.index(name) :], name))
        if name not in done:
            for other in reach[name]:
                visit(other, (*above, name))
            done.add(name)

    done: set[str] = set()
    for name in names:
        visit(name, ())


@pytest.mark.parametrize("package", ["pymc", "pytensor"])
def test_who_may_know(package):
    wrong = [
        str(path.relative_to(PACKAGE))
        for path, tree in TREES.items()
        if subpackage(path) not in ("", *KNOW_PYMC)
        if any(module.split(".")[0] == package for module in imports(tree))
    ]
    assert not wrong


def test_nothing_private_of_pymc_or_pytensor_outside_the_bridge():
    wrong = [
        f"{path.relative_to(PACKAGE)}: {node.module}.{alias.name}"
        for path, tree in TREES.items()
        if subpackage(path) != "bridge"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        if node.module.split(".")[0] in ("pymc", "pytensor")
        for alias in node.names
        if alias.name.startswith("_")
    ]
    assert not wrong


def test_files_are_short():
    long = {
        str(path.relative_to(PACKAGE)): n
        for path in FILES
        if (n := len(path.read_text().splitlines())) > 300
    }
    assert not long


def test_nobody_asks_for_the_class_of_a_likelihood():
    classes = re.compile(r"isinstance\([^)]*\b(Kalman|EKF|UKF|EnKF|ODESolve)\b")
    wrong = [str(path.relative_to(PACKAGE)) for path in FILES if classes.search(path.read_text())]
    assert not wrong


def test_any_can_only_get_rarer():
    found = sum(
        isinstance(argument.annotation, ast.Name) and argument.annotation.id == "Any"
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    )
    assert found <= MOST_ANY, f"{found} parameters are annotated Any, of {MOST_ANY} at most"
    assert found > MOST_ANY - 20, f"lower MOST_ANY to {found}, so that it stays there"


def test_private_functions_of_many_lines_say_shapes_and_phases():
    """One line does not tell what a long function does."""
    wrong = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and re.match(r"_[^_]", node.name):
                start = node.body[0].end_lineno or 0
                text = ast.get_docstring(node) or ""
                if (node.end_lineno or 0) - start > 25 and "\n" not in text.strip():
                    wrong.append(f"{path.relative_to(PACKAGE)}: {node.name}")
    assert not wrong, wrong
