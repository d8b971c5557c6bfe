"""Take off what wrappers put before the keys of a state dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gcnet.checkpoints.errors import CheckpointError

#: Wrappers: DataParallel and AveragedModel, torch.compile, Lightning tasks, averages.
WRAPPERS = ("module.", "_orig_mod.", "model.", "ema_model.", "averaged_model.")
#: Entries that averages keep beside the weights.
COUNTERS = ("n_averaged", "steps")


def strip(weights: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """``weights`` without the prefixes that all of its keys share, and notes that say which these were.

    Example:
        >>> strip({"module.model.fc.weight": 1, "module.model.fc.bias": 2})
        ({'fc.weight': 1, 'fc.bias': 2}, ('prefix module.model. taken off all keys',))
    """
    current, taken = dict(weights), ""
    notes: list[str] = []
    counters = [key for key in COUNTERS if key in current]
    if counters and all(key.startswith("module.") for key in current if key not in counters):
        notes.append(f"counters of the average dropped: {', '.join(counters)}")
        current = {key: value for key, value in current.items() if key not in counters}
    while current:
        prefix = next((wrapper for wrapper in WRAPPERS if all(key.startswith(wrapper) for key in current)), None)
        if prefix is None:
            break
        taken += prefix
        current = {key[len(prefix) :]: value for key, value in current.items()}
    if taken:
        notes.append(f"prefix {taken} taken off all keys")
    clean: dict[str, Any] = {}
    for key, value in current.items():
        bare = key.replace("_orig_mod.", "")
        bare = bare.removeprefix("module.")
        if not bare or bare in clean:
            raise CheckpointError(f"{key}: without the prefixes of wrappers, this key is empty or another's")
        clean[bare] = value
    if clean.keys() != current.keys():
        notes.append("module. and _orig_mod. taken off some keys")
    return clean, tuple(notes)
