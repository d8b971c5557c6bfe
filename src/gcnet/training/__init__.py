"""Training: data, tasks and runs on Lightning. Needs ``pip install "gcnet[train]"``."""

from importlib.util import find_spec

_missing = [
    name
    for name in (
        *("av", "faster_coco_eval", "lightning", "matplotlib", "PIL", "pydantic", "sklearn", "tensorboard"),
        *("timm", "torchmetrics", "torchvision"),
    )
    if find_spec(name) is None
]
if _missing:
    raise ModuleNotFoundError(f'training needs {", ".join(_missing)}: pip install "gcnet[train]"', name=_missing[0])
