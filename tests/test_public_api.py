"""The public API changes on purpose only: this inventory is edited in the same commit.

``python -m tests.test_public_api > tests/public_api.txt`` writes the present one.
"""

import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from torch import nn

INVENTORY = Path(__file__).with_name("public_api.txt")
MODULES = (
    "gcnet",
    "gcnet.ops",
    "gcnet.insertion",
    "gcnet.analysis",
    "gcnet.analysis.audit",
    "gcnet.analysis.bootstrap",
    "gcnet.analysis.capture",
    "gcnet.analysis.collapse",
    "gcnet.analysis.figures",
    "gcnet.analysis.query_dependence",
    "gcnet.analysis.spread",
    "gcnet.models",
    "gcnet.checkpoints.load",
    "gcnet.checkpoints.save",
    "gcnet.training.run",
    "gcnet.training.evaluate",
    "gcnet.recipes.classification",
    "gcnet.recipes.imagenet",
    "gcnet.recipes.detection",
    "gcnet.recipes.coco",
    "gcnet.recipes.segmentation",
    "gcnet.recipes.cityscapes",
    "gcnet.recipes.video",
    "gcnet.recipes.kinetics",
    "gcnet.recipes.context_scenes",
    "gcnet.recipes.scenes_classification",
    "gcnet.recipes.scenes_detection",
    "gcnet.recipes.scenes_segmentation",
    "gcnet.recipes.scenes_video",
)


def inventory() -> Iterator[str]:
    seen: set[int] = set()
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in public_names(module):
            value = getattr(module, name)
            if id(value) in seen:
                continue
            seen.add(id(value))
            if inspect.ismodule(value):
                yield f"{module_name}.{name}"
            elif inspect.isclass(value):
                yield f"{module_name}.{name}{signature(value)}"
                for method in sorted(public_methods(value)):
                    yield f"{module_name}.{name}.{method}{signature(getattr(value, method))}"
            else:
                yield f"{module_name}.{name}{signature(value)}"


def public_names(module: ModuleType) -> list[str]:
    """``__all__``, or the functions that a module without one defines."""
    defined = [name for name, value in vars(module).items() if inspect.isfunction(value)]
    own = [name for name in defined if getattr(module, name).__module__ == module.__name__ and name[0] != "_"]
    return sorted(getattr(module, "__all__", own))


def public_methods(cls: type) -> Iterator[str]:
    for owner in cls.__mro__:
        if owner.__module__.startswith("gcnet"):
            for name, value in vars(owner).items():
                if not name.startswith("_") and callable(getattr(cls, name)) and not inspect.isclass(value):
                    yield name


def signature(value: object) -> str:
    if not callable(value) or getattr(value, "__init__", None) is nn.Module.__init__:
        return ""
    if inspect.isclass(value) and issubclass(value, Exception):
        return ""
    return str(inspect.signature(value))


def test_inventory():
    assert list(inventory()) == INVENTORY.read_text().splitlines(), (
        "the public API changed; if that is intended, run: python -m tests.test_public_api > tests/public_api.txt"
    )


@pytest.mark.parametrize("module_name", MODULES)
def test_everything_public_has_a_docstring_with_an_example(module_name):
    module = importlib.import_module(module_name)
    for name in public_names(module):
        value = getattr(module, name)
        if inspect.ismodule(value):
            continue
        documentation = inspect.getdoc(value) or ""
        assert documentation, f"{module_name}.{name} has no docstring"
        if inspect.isfunction(value):
            assert ">>>" in documentation, f"{module_name}.{name} has no example"


IMPORT = """
import sys, time
import torch
before = set(sys.modules)
started = time.perf_counter()
import gcnet
taken = time.perf_counter() - started
new = {name.split(".")[0] for name in set(sys.modules) - before}
extras = new & {"torchvision", "timm", "lightning", "tyro", "matplotlib", "PIL", "sklearn", "rich", "triton"}
assert not extras, extras
assert "torch.utils.flop_counter" not in set(sys.modules) - before
assert not torch.cuda.is_initialized()
print(taken)
"""


def test_import_needs_torch_alone():
    print("seconds beyond torch:", subprocess.check_output([sys.executable, "-c", IMPORT], text=True))


if __name__ == "__main__":
    print("\n".join(inventory()))
