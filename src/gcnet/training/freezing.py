"""Parts of a ResNet-like host that are not trained."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from gcnet.insertion.attach import host_modules, original_class
from gcnet.insertion.families import find_stages
from gcnet.training.norms import keep_statistics


def freeze(net: nn.Module, parts: Sequence[str]) -> None:
    """Keep parts of a ResNet-like host as they are: parameters, and statistics of batch norms. Blocks in them train on.

    Args:
        net: a classifier, or a network that contains one, with or without blocks; changed in place.
        parts: out of stem (all before c2), c2, c3, c4, c5.

    Raises:
        ValueError: a part that the network does not have, or a network that is not ResNet-like.

    Example:
        >>> from gcnet.models.classifiers import resnet
        >>> net = resnet((1, 1, 1, 1), block="basic")
        >>> freeze(net, ("stem", "c2"))
        >>> next(name for name, parameter in net.named_parameters() if parameter.requires_grad)
        'layer2.0.conv1.weight'
    """
    known = _parts(net) if parts else {}
    for part in parts:
        if part not in known:
            raise ValueError(f"frozen={tuple(parts)}: {type(net).__name__} has no {part!r}; it has {', '.join(known)}")
        for module in known[part]:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
        keep_statistics(known[part])


def _parts(net: nn.Module) -> dict[str, list[nn.Module]]:
    """Part -> all modules in it, blocks left aside."""
    modules = host_modules(net)
    trunks = find_stages(modules, {path: original_class(module) for path, module in modules.items()})
    if len(trunks) != 1:
        what = f"several backbones ({', '.join(trunks)})" if trunks else "no stages of residual blocks"
        raise ValueError(
            f"frozen: {type(net).__name__} has {what}; stem, c2, c3, c4 and c5 can be frozen in networks with one "
            "backbone like ResNet, leave frozen out for others"
        )
    stages = next(iter(trunks.values()))
    starts = {stage: tuple(f"{path.rpartition('.')[0]}." for path in paths) for stage, paths in stages.items()}
    parts: dict[str, list[nn.Module]] = {"stem": [], **{stage: [] for stage in stages}}
    begun = False
    for path, module in modules.items():
        part = next((stage for stage, prefixes in starts.items() if f"{path}.".startswith(prefixes)), None)
        begun = begun or part is not None
        if part is not None or not begun:
            parts[part or "stem"].append(module)
    return parts
