"""A tensor as a checkpoint describes it: checked against its bytes before any memory is given to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gcnet.checkpoints.errors import CheckpointError

#: A tensor may claim this many times the memory of its storage, as expanded views do.
MAX_EXPANSION = 64
MAX_DIMS = 64


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a file keeps ``count`` elements; views start at ``offset``.

    ``read(key, start, length)`` returns bytes of it.
    """

    key: object
    dtype: torch.dtype
    count: int
    offset: int
    read: Callable[[object, int, int], bytearray]


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """What a pickle says of a tensor. Nothing here is trusted until ``load``."""

    storage: Any
    offset: Any
    size: Any
    stride: Any
    dtype: Any = None

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor as it will be loaded."""
        return self._checked("a tensor")[0]

    def load(self, key: str) -> Tensor:
        """The tensor, contiguous on the CPU; ``key`` names it in errors."""
        wanted, start, reach, dtype = self._checked(key)
        if not wanted:
            return torch.empty(self.size, dtype=dtype)
        data = self.storage.read(self.storage.key, start, reach)
        if len(data) != reach:
            raise CheckpointError(f"{key}: the file ends within this tensor")
        try:
            return torch.frombuffer(data, dtype=dtype).as_strided(self.size, self.stride).contiguous()
        except (RuntimeError, ValueError, TypeError) as error:
            raise CheckpointError(f"{key}: no tensor of {dtype} can be made of its bytes ({error})") from None

    def _checked(self, key: str) -> tuple[int, int, int, torch.dtype]:
        """Bytes of the tensor, first byte of it in the storage, bytes it spans there, dtype."""
        storage, size, stride = self.storage, self.size, self.stride
        dtype = storage.dtype if self.dtype is None and isinstance(storage, Storage) else self.dtype
        if not (
            isinstance(storage, Storage)
            and isinstance(dtype, torch.dtype)
            and _integers(size)
            and _integers(stride)
            and _integers((self.offset,))
            and len(size) == len(stride) <= MAX_DIMS
        ):
            raise CheckpointError(f"{key}: the file's description of this tensor is corrupt")
        held = storage.count * storage.dtype.itemsize
        start = storage.offset * storage.dtype.itemsize + self.offset * dtype.itemsize
        wanted = math.prod(size) * dtype.itemsize
        steps = sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        reach = (steps + 1) * dtype.itemsize if wanted else 0
        if start + reach > held:
            raise CheckpointError(
                f"{key}: shape {list(size)} with strides {list(stride)} does not fit the {held} bytes of its storage"
            )
        if wanted > MAX_EXPANSION * held:
            raise CheckpointError(f"{key}: shape {list(size)} is {wanted} bytes, from a storage of {held} bytes")
        return wanted, start, reach, dtype


def check_dense(key: str, tensor: Tensor) -> None:
    """Raise CheckpointError if the tensor is sparse, quantized or without values."""
    kind = "quantized" if tensor.is_quantized else "meta" if tensor.is_meta else str(tensor.layout).split(".")[-1]
    if kind != "strided":
        raise CheckpointError(f"{key}: a {kind} tensor, where a dense one with values is expected")


def _integers(values: Any) -> bool:
    return isinstance(values, tuple | list) and all(type(value) is int and 0 <= value < 2**62 for value in values)
