"""Find the weights among everything a checkpoint holds."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.plain import MAX_DEPTH, Plain
from gcnet.checkpoints.stand_ins import StandIn
from gcnet.checkpoints.tensor_record import TensorRecord

#: Where weights are kept, by preference; averages (EMA) come after all of these, other names last.
NAMES = (
    "state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "params", "weights",
    "generator", "backbone", "encoder",
)  # fmt: skip
MAX_CONTAINERS = 10_000
_TENSORS = (Tensor, TensorRecord)
_LONGEST_NAME = 100


class Chosen(NamedTuple):
    """The weights, still under their keys; the rest, plain; what was decided on the way."""

    weights: dict[str, Any]
    metadata: dict[str, Any]
    notes: tuple[str, ...]


def choose(content: Any, container: str | None = None) -> Chosen:
    """The state dict within ``content``: that at the path ``container``, or the one most likely meant.

    Raises:
        CheckpointError: if there is none, or none is likelier than another; lists the paths to choose from.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(f"the file holds a {_kind(content)}, not a dictionary of tensors")
    found, optimizers = _walk(content)
    if not found:
        raise CheckpointError(f"no tensors found in the file; {_instead(content)}")
    path = _pick(found, container)
    notes = []
    if len(found) > 1:
        others = shown(other or "the top level" for other in found if other != path)
        chosen = path or "the top level"
        notes.append(f"weights read from {chosen}; there are more in {others}: choose with container= (--container)")
    elif path:
        notes.append(f"weights read from {path}")
    if optimizers:
        notes.append(f"optimizer state dropped: {shown(optimizers)}")
    weights = dict(found[path])
    beside: Mapping[Any, Any] = content
    if not path:
        beside = {key: value for key, value in content.items() if not isinstance(value, (*_TENSORS, StandIn))}
        weights = {key: value for key, value in content.items() if key not in beside}
    taken = {id(mapping) for mapping in (*found.values(), *optimizers.values())}
    return Chosen(weights, Plain(taken).value(beside), tuple(notes))


def _walk(content: Mapping[Any, Any]) -> tuple[dict[str, Mapping[Any, Any]], dict[str, Mapping[Any, Any]]]:
    """State dicts and optimizer states by path; each mapping is visited once, whatever refers to it."""
    found: dict[str, Mapping[Any, Any]] = {}
    optimizers: dict[str, Mapping[Any, Any]] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, Mapping[Any, Any], int]] = [("", content, 0)]
    while waiting:
        path, mapping, depth = waiting.pop(0)
        if id(mapping) in seen or depth > MAX_DEPTH:
            continue
        seen.add(id(mapping))
        if len(seen) > MAX_CONTAINERS:
            raise CheckpointError(f"the file nests more than {MAX_CONTAINERS} dictionaries: no checkpoint does")
        if "param_groups" in mapping or path.rpartition(".")[2].startswith("optim"):
            optimizers[path] = mapping
            continue
        tensors = sum(isinstance(value, _TENSORS) for value in mapping.values())
        if tensors and 2 * tensors >= len(mapping):
            found[path] = mapping
            continue
        for key, value in mapping.items():
            if isinstance(value, Mapping):
                name = str(key)[:_LONGEST_NAME]
                waiting.append((f"{path}.{name}" if path else name, value, depth + 1))
    return found, optimizers


def _pick(found: Mapping[str, Any], container: str | None) -> str:
    if container is not None:
        matching = [path for path in found if path == container or path.startswith(f"{container}.")]
        if len(matching) == 1:
            return matching[0]
        near = difflib.get_close_matches(container, found, n=1, cutoff=0)
        raise CheckpointError(
            f"container={container!r}: {'several' if matching else 'no'} weights there; the file holds "
            f"{shown(path or 'weights at the top level' for path in found)}"
            + (f". Did you mean {near[0]!r}?" if near and near[0] else "")
        )
    ranked = sorted(found, key=_rank)
    if len(ranked) > 1 and _rank(ranked[0]) == _rank(ranked[1]):
        raise CheckpointError(
            f"several sets of weights in the file: choose with container= (--container) one of {shown(ranked)}"
        )
    return ranked[0]


def _rank(path: str) -> tuple[int, int]:
    parts = path.split(".") if path else []
    average = any("ema" in part.lower().split("_") or "averag" in part.lower() for part in parts)
    known = [NAMES.index(part) for part in parts if part in NAMES]
    return (0, 0) if not parts else (1 + average, min(known, default=len(NAMES)) if not average else 0)


def _instead(content: Mapping[Any, Any]) -> str:
    """What there is in place of tensors."""
    values = [
        *content.values(),
        *(leaf for value in content.values() if isinstance(value, Mapping) for leaf in value.values()),
    ]
    if any(_kind(value).endswith(("ndarray", "._reconstruct", "._frombuffer")) for value in values):
        return (
            "it holds NumPy arrays, which are not read. Save tensors where NumPy is installed: "
            "torch.save({key: torch.from_numpy(array) for key, array in arrays.items()}, 'weights.pth')"
        )
    return f"its entries are {shown(map(str, content))}" if content else "it is empty"


def _kind(value: Any) -> str:
    if isinstance(value, _TENSORS):
        return "single tensor"
    return value.name if isinstance(value, StandIn) else type(value).__name__


def shown(names: Any) -> str:
    """The first twelve names in a row, and how many more there are."""
    listed = [str(name)[:80] for name in names]
    return ", ".join(listed[:12]) + (f" and {len(listed) - 12} more" if len(listed) > 12 else "")
