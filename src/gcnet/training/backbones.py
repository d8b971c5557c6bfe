"""Classifiers by name, with or without weights."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def build_backbone(name: str, classes: int, weights: str | None = None) -> nn.Module:
    """A classifier of torchvision or timm for ``classes`` classes.

    Args:
        name: ``"torchvision:resnet18"``, ``"timm:resnet18"``, or ``"resnet18"``: torchvision's where it has one.
        classes: outputs of the last layer.
        weights: None to start from scratch; ``"pretrained"`` to download the library's own; or the path of a file
            with a state dict (safetensors, or what torch reads with ``weights_only=True``). The last layer stays new
            where its number of classes differs.

    Raises:
        ValueError: no model of that name, with the nearest; weights that do not fit.
        FileNotFoundError: no such weights file.

    Example:
        >>> build_backbone("resnet18", 5).fc.out_features
        5
    """
    library, model = _find(name)
    pretrained = weights == "pretrained"
    if library == "timm":
        import timm

        try:
            net: nn.Module = timm.create_model(model, num_classes=classes, pretrained=pretrained)
        except OSError as error:
            raise _not_downloaded(error) from error
    else:
        from torchvision import models

        net = models.get_model(model, weights=None, num_classes=classes)
        if pretrained:
            try:
                state = models.get_model_weights(model).DEFAULT.get_state_dict(progress=True)
            except OSError as error:
                raise _not_downloaded(error) from error
            load_weights(net, state, source=name)
    if weights is not None and not pretrained:
        load_weights(net, read_weights(Path(weights)), source=weights)
    return net


def _not_downloaded(error: OSError) -> ValueError:
    return ValueError(f"weights='pretrained': cannot be downloaded ({error}); give the path of a file instead")


def _find(name: str) -> tuple[str, str]:
    """Library and model name."""
    import timm
    from torchvision import models

    library, _, model = name.rpartition(":")
    known = {"torchvision": models.list_models(module=models), "timm": timm.list_models()}
    if library not in ("", *known):
        raise ValueError(f"backbone={name!r}: unknown library {library!r}; use 'torchvision:' or 'timm:'")
    for candidate in [library] if library else known:
        if model in known[candidate] or (candidate == "timm" and model in timm.list_pretrained()):
            return candidate, model
    names = known[library] if library else [*known["torchvision"], *known["timm"]]
    near = list(dict.fromkeys(difflib.get_close_matches(model, names, n=4)))
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "; see timm.list_models()"
    lacking = f"{library} has no" if library else "neither torchvision nor timm has"
    raise ValueError(f"backbone={name!r}: {lacking} such model{hint}")


def read_weights(path: Path) -> dict[str, Tensor]:
    """State dict of a file; nothing in the file is executed. A state dict one level down and a common prefix are found.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file holds no state dict.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"weights={path}: {what} (give a path, or 'pretrained' to download)")
    content: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"weights={path}: cannot be read as weights without executing code in it ({type(error).__name__}); save "
            "the tensors alone, with torch.save(model.state_dict(), path)"
        ) from error
    if isinstance(content, Mapping):
        content = next((content[key] for key in ("state_dict", "model", "model_state_dict") if key in content), content)
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"weights={path}: holds no state dict (names and tensors)")
    for prefix in ("module.", "net."):
        if content and all(key.startswith(prefix) for key in content):
            content = {key.removeprefix(prefix): value for key, value in content.items()}
    return dict(content)


def load_weights(net: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> tuple[str, ...]:
    """Load a state dict in which the last layer may be missing or have another number of classes.

    Returns:
        Names that stayed new.

    Raises:
        ValueError: names or shapes that do not fit anywhere else.
    """
    own = net.state_dict()
    last = list(dict(net.named_parameters()))[-1].rpartition(".")[0] + "."
    unfit = [key for key, value in own.items() if key not in weights or weights[key].shape != value.shape]
    wrong = [key for key in unfit if not key.startswith(last) and not key.endswith("num_batches_tracked")]
    unknown = [key for key in weights if key not in own]
    if wrong or unknown:
        count = len(wrong) + len(unknown)
        detail = f"{wrong[0]} is missing or has another shape" if wrong else f"{unknown[0]} is not part of the model"
        raise ValueError(f"weights={source}: {count} names do not fit {type(net).__name__}; {detail}")
    net.load_state_dict({key: value for key, value in weights.items() if key not in unfit}, strict=False)
    new = tuple(key for key in unfit if key.startswith(last))
    if new:
        print(f"not in {source}, stays new: {', '.join(new)}")
    return new
