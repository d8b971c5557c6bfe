"""Training: data, tasks and runs on Lightning. Needs ``pip install "gcnet[train]"``."""

from importlib.util import find_spec

_missing = [
    name
    for name in ("lightning", "matplotlib", "sklearn", "tensorboard", "timm", "torchmetrics", "torchvision", "PIL")
    if find_spec(name) is None
]
if _missing:
    raise ModuleNotFoundError(f'training needs {", ".join(_missing)}: pip install "gcnet[train]"', name=_missing[0])
