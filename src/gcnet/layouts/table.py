"""What a table of foreign keys is made of, and how a state dict is translated with one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from gcnet.blocks.base import Block


class Change(NamedTuple):
    """What happens to the values of a tensor on its way, and the way back."""

    name: str
    to_ours: Callable[[Tensor], Tensor]
    to_theirs: Callable[[Tensor], Tensor]


class Key(NamedTuple):
    """One tensor under its two names.

    Theirs has ``axes`` trailing axes of length one that ours has not; ``change`` is what else differs.
    """

    theirs: str
    ours: str
    axes: int = 0
    change: Change | None = None


class Reading(NamedTuple):
    """A foreign module in our words: ``block(channels, **options)`` with the weights of ``keys``.

    ``assumed`` names the options that its tensors do not tell, with the values taken for them; ``dims`` counts the
    spatial axes of its input, as far as its tensors tell.
    """

    channels: int
    options: dict[str, Any]
    keys: tuple[Key, ...]
    assumed: Mapping[str, Any] = MappingProxyType({})
    dims: int = 2


@dataclass(frozen=True)
class BlockLayout:
    """How one source names and shapes the tensors of a block, read off the tensors alone.

    Attributes:
        name: source and class, such as ``"mmcv ContextBlock"``.
        block: our block.
        anchors: keys of which exactly one set is present: a prefix is such a block if all keys of one entry are there.
        read: (tensors under the block's own keys, options given by the user) -> channels, options, keys. Options that
            the user gives win over what is assumed. ValueError names what ours cannot express.
        write: (our block, spatial axes) -> keys, with the changes that this block needs, such as another logit scale.
            ValueError names what the layout cannot express, such as a centred gate.
        needs: our block -> what the constructor of the source must be given for what its tensors do not tell and its
            defaults do not do, such as ``"use_scale=False"``.
        alike: another block of ours that ``write`` takes.
    """

    name: str
    block: type[Block]
    anchors: tuple[tuple[str, ...], ...]
    read: Callable[[Mapping[str, Tensor], Mapping[str, Any]], Reading]
    write: Callable[[Any, int], tuple[Key, ...]]
    needs: Callable[[Any], tuple[str, ...]] = lambda block: ()
    alike: type[Block] | None = None

    def writes(self, block: type[Block]) -> bool:
        """Whether ``write`` takes blocks of that class."""
        return block in (self.block, self.alike)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Foreign:
    """One class of another library.

    Attributes:
        name: qualified name of the class, so that the library need not be imported.
        block: our block.
        read: reads channels, options and keys off an instance; ValueError says what ours cannot express.
        dims: spatial axes of its input.
    """

    name: str
    block: type[Block]
    read: Callable[[Any], Reading]
    dims: int = 2

    def __str__(self) -> str:
        return f"{self.name.partition('.')[0]} {self.name.rpartition('.')[2]}"


def conv(theirs: str, ours: str, dims: int = 2) -> tuple[Key, ...]:
    """A 1x1 convolution whose weight has ``dims`` spatial axes; ours has none."""
    return Key(f"{theirs}.weight", f"{ours}.weight", dims), Key(f"{theirs}.bias", f"{ours}.bias")


def layer_norm(theirs: str, ours: str, axes: int = 0) -> tuple[Key, ...]:
    """A LayerNorm over channels, of shape [hidden, 1, ...] with ``axes`` ones."""
    return tuple(Key(f"{theirs}.{name}", f"{ours}.{name}", axes) for name in ("weight", "bias"))


def batch_norm(theirs: str, ours: str) -> tuple[Key, ...]:
    """A BatchNorm with its statistics."""
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return tuple(Key(f"{theirs}.{name}", f"{ours}.{name}") for name in names)


def to_ours(keys: Iterable[Key], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate a state dict of theirs; tensors share their memory. A table may name more keys than there are.

    Raises:
        ValueError: a key that the table lacks, or a kernel that is not 1x1.

    Example:
        >>> import torch
        >>> from gcnet.layouts import to_ours
        >>> from gcnet.layouts.torchvision import SQUEEZE_EXCITATION
        >>> to_ours(SQUEEZE_EXCITATION, {"fc1.weight": torch.zeros(4, 64, 1, 1)})["scale.reduce.weight"].shape
        torch.Size([4, 64])
    """
    table = {key.theirs: key for key in keys}
    _check_known(state, table)
    translated = {}
    for name, value in state.items():
        key = table[name]
        shape = value.shape[: value.dim() - key.axes]
        if value.shape != (*shape, *(1,) * key.axes):
            raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {key.axes} trailing axes of length one")
        value = value.reshape(shape)
        translated[key.ours] = key.change.to_ours(value) if key.change else value
    return translated


def to_theirs(keys: Iterable[Key], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate a state dict of ours; the inverse of :func:`to_ours`.

    Raises:
        ValueError: a key that the table lacks.

    Example:
        >>> import torch
        >>> from gcnet import SqueezeExcite
        >>> from gcnet.layouts import to_theirs
        >>> from gcnet.layouts.torchvision import SQUEEZE_EXCITATION
        >>> list(to_theirs(SQUEEZE_EXCITATION, SqueezeExcite(64).state_dict()))
        ['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias']
    """
    table = {key.ours: key for key in keys}
    _check_known(state, table)
    translated = {}
    for name, value in state.items():
        key = table[name]
        value = key.change.to_theirs(value) if key.change else value
        translated[key.theirs] = value.reshape((*value.shape, *(1,) * key.axes))
    return translated


def qualified_name(cls: type) -> str:
    """Module and name of a class, such as ``torch.nn.modules.activation.ReLU``."""
    return f"{cls.__module__}.{cls.__qualname__}"


def translate(module: Any, what: str, names: Mapping[str, str]) -> str:
    """Our word for a parameterless layer, by its class.

    Raises:
        ValueError: a class that ``names`` lacks.
    """
    if qualified_name(type(module)) not in names:
        choice = " or ".join(dict.fromkeys(names.values()))
        raise ValueError(f"its {what} is {type(module).__name__}, ours can be {choice}")
    return names[qualified_name(type(module))]


RELU = {"torch.nn.modules.activation.ReLU": "relu"}
ACTIVATIONS = RELU | {"torch.nn.modules.activation.SiLU": "silu", "timm.layers.activations.Swish": "silu"}
SIGMOID = {"torch.nn.modules.activation.Sigmoid": "sigmoid", "timm.layers.activations.Sigmoid": "sigmoid"}
GATES = SIGMOID | {
    "torch.nn.modules.activation.Hardsigmoid": "hard_sigmoid",
    "timm.layers.activations.HardSigmoid": "hard_sigmoid",
}
BATCH_NORM = {f"torch.nn.modules.batchnorm.BatchNorm{dims}d": "BatchNorm" for dims in (1, 2, 3)}


def _check_known(state: Mapping[str, Tensor], table: Mapping[str, Key]) -> None:
    unknown = [name for name in state if name not in table]
    if unknown:
        raise ValueError(f"{', '.join(unknown[:3])}: no counterpart")
