"""Who may import whom: a package imports from its own floor and those below, and only high floors know frameworks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gcnet

ROOT = Path(gcnet.__file__).parent
LEVELS = (
    "files ops",
    "blocks",
    "layouts",
    "insertion",
    "models",
    "analysis checkpoints",
    "benchmarks export training",
    "recipes study",
    "ablation explorer",
)
FLOORS = {package: floor for floor, packages in enumerate(LEVELS) for package in packages.split()}
FRAMEWORKS = {"av", "fastapi", "lightning", "starlette", "torchmetrics", "uvicorn"}


def imported(path: Path) -> Iterator[str]:
    """Modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from [f"gcnet.{name.name}" for name in node.names] if node.module == "gcnet" else [node.module]
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@pytest.mark.parametrize("package", FLOORS)
def test_imports_come_from_below(package):
    files = [*ROOT.glob(f"{package}.py"), *ROOT.glob(f"{package}/**/*.py")]
    assert files
    for path in files:
        for module in imported(path):
            top, _, rest = module.partition(".")
            floor = FLOORS.get(rest.partition(".")[0], 0)
            assert top != "gcnet" or floor <= FLOORS[package], f"{path.relative_to(ROOT)} imports {module}"
            assert top not in FRAMEWORKS or FLOORS[package] >= FLOORS["training"], (
                f"{path.relative_to(ROOT)} imports {module}"
            )


def test_every_package_has_a_floor():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(FLOORS)
