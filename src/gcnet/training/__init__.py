"""Training: data, tasks and runs on Lightning. Needs ``pip install "gcnet[train]"``."""

_NEEDED = ("lightning", "matplotlib", "sklearn", "tensorboard", "torchmetrics", "torchvision", "PIL")


def require_extra() -> None:
    """Raise ModuleNotFoundError that names the extra to install, unless its packages are there.

    Example:
        >>> require_extra()
    """
    from importlib.util import find_spec

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f'training needs {", ".join(missing)}: pip install "gcnet[train]"', name=missing[0])
