"""Whether tensors fit a model, and what assigning them leaves undone."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gcnet.checkpoints.conversion import unmatched
from gcnet.checkpoints.errors import CheckpointError


def check_fit(
    expected: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    allow_missing: Sequence[str] = (),
    allow_unused: Sequence[str] = (),
) -> tuple[list[str], list[str]]:
    """Keys of ``expected`` that ``tensors`` lack, and keys of ``tensors`` that are not expected, if all are allowed.

    Raises:
        CheckpointError: a shape that does not fit, other numbers where there should be floating point ones, different
            values for a parameter of several keys, or a key that is missing or unused, with the nearest.
    """
    check_shapes({key: value.shape for key, value in expected.items()}, tensors)
    first: dict[int, str] = {}
    for key, value in expected.items():
        if key not in tensors or not isinstance(value, Tensor):
            continue
        if value.is_floating_point() and not tensors[key].is_floating_point():
            raise CheckpointError(f"{key!r} is {tensors[key].dtype} in the file and {value.dtype} in the model")
        other = first.setdefault(id(value), key)
        if tensors[other] is not tensors[key] and not torch.equal(tensors[other], tensors[key]):
            raise CheckpointError(f"{other!r} and {key!r} are one parameter in the model and differ in the file")
    missing = [key for key in expected if key not in tensors]
    unused = [key for key in tensors if key not in expected]
    for key in unmatched("missing", missing, allow_missing):
        raise CheckpointError(
            f"the file lacks {key!r} and {len(missing) - 1} more keys of the model{_nearest(key, unused)}; "
            "allow_missing= lets the model keep its start"
        )
    for key in unmatched("unused", unused, allow_unused):
        raise CheckpointError(
            f"the model has no {key!r} nor {len(unused) - 1} more keys of the file{_nearest(key, expected)}; "
            "allow_unused= leaves them out"
        )
    return missing, unused


def check_shapes(
    expected: Mapping[str, torch.Size], tensors: Mapping[str, Tensor], names: Mapping[str, str] | None = None
) -> None:
    """Compare the shapes of keys that both have; ``names`` are those in the file, if they were others.

    Raises:
        CheckpointError: one that does not fit, with both shapes and the nearest key that would.
    """
    for key, shape in expected.items():
        if key in tensors and tensors[key].shape != shape:
            names = names or {}
            name = names.get(key, key)
            alike = [names.get(other, other) for other, value in tensors.items() if value.shape == shape]
            raise CheckpointError(
                f"{name!r} is {list(tensors[key].shape)} in the file and {list(shape)} in the model"
                f"{f', there {key!r}' * (name != key)}{_nearest(name, alike, 'nearest of that shape')}"
            )


def shapes_of(model: nn.Module) -> dict[str, torch.Size]:
    """Key -> shape of every tensor in the state dict."""
    return {key: value.shape for key, value in model.state_dict().items()}


def is_hollow(model: nn.Module) -> bool:
    """Whether a model on the meta device has tensors that no state dict fills: buffers that are not saved, others."""
    kept = {id(value) for value in model.state_dict(keep_vars=True).values()}
    return any(
        tensor.is_meta and id(tensor) not in kept
        for module in model.modules()
        for tensor in _tensors((module._buffers, vars(module)))
    )


def tie(model: nn.Module, keys: Sequence[str]) -> None:
    """Let all of ``keys`` be the tensor that the first is."""
    first = _entries(model, keys[0])[keys[0].rpartition(".")[2]]
    for key in keys[1:]:
        _entries(model, key)[key.rpartition(".")[2]] = first


def _entries(model: nn.Module, key: str) -> dict[str, Any]:
    path, _, name = key.rpartition(".")
    module = model.get_submodule(path)
    return module._parameters if name in module._parameters else module._buffers


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _tensors(entry)


def _nearest(key: str, among: Any, what: str = "nearest") -> str:
    near = difflib.get_close_matches(key, list(among), n=1, cutoff=0.3)
    return f"; {what}: {near[0]!r}" if near else ""
