"""Unpickle tensors and plain containers, and nothing else.

``torch.load(weights_only=True)`` restricts what a file may name; this reader restricts it further, to the functions of
this file: tensors stay descriptions until they are asked for, no constructor of torch runs on a file's arguments, and
the tar files of 2016 and pickles of protocol 4, which torch refuses, are read as well.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch

from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.pickle_scan import Stream, scan
from gcnet.checkpoints.stand_ins import ALLOWED, stand_in
from gcnet.checkpoints.tensor_record import TensorRecord

#: Items that the dictionaries of a file may be given in all, counted as often as they are copied.
MAX_ITEMS = 10_000_000

_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_STORAGES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
    "QInt8": torch.qint8, "QUInt8": torch.quint8, "QInt32": torch.qint32,
}  # fmt: skip


class StorageKind:
    """The dtype that a storage class of torch stands for."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _Function:
    """A function of ours under the name a file calls; made anew for each file, nothing can be set on it."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a function has no state")


class _Budget:
    """Builds dictionaries, up to ``MAX_ITEMS`` in all."""

    def __init__(self) -> None:
        self.left = MAX_ITEMS

    def dictionary(self, *args: Any) -> OrderedDict[Any, Any]:
        pairs = args[0] if args and isinstance(args[0], list | tuple | dict) else ()
        self.left -= len(pairs)
        if self.left < 0:
            raise CheckpointError(f"the file builds dictionaries of more than {MAX_ITEMS} items")
        return OrderedDict(pairs)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRecord:
    return TensorRecord(storage, offset, size, stride)


def _tensor_with_dtype(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> TensorRecord:
    return TensorRecord(storage, offset, size, stride, dtype)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not (isinstance(text, str) and encoding == "latin1"):
        raise pickle.UnpicklingError("bytes in an encoding other than latin1")
    return text.encode("latin1")


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_dtype,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "_codecs.encode": _encode,
}
_DICTIONARIES = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter")


def _full_name(name: str) -> str:
    module, _, rest = name.partition(".")
    return f"{_PYTHON_2.get(module, module)}.{rest}"


def _find(name: str, budget: _Budget) -> Any:
    """What stands for the global ``name``; None if nothing may."""
    if name in _DICTIONARIES:
        return _Function(budget.dictionary)
    if name in _FUNCTIONS:
        return _Function(_FUNCTIONS[name])
    if name in ALLOWED:
        return stand_in(name)
    module, _, last = name.rpartition(".")
    if last.endswith("Storage") and module in ("torch", "torch.cuda", "torch.storage"):
        if last == "UntypedStorage":
            return StorageKind(torch.uint8)
        return StorageKind(_STORAGES[last[:-7]]) if last[:-7] in _STORAGES else None
    if module in ("torch", "torch.cuda") and last.endswith("Tensor") and last[:-6] in _STORAGES:
        return StorageKind(_STORAGES[last[:-6]])  # the tensor classes that tar files name
    if module == "torch" and isinstance(vars(torch).get(last), torch.dtype):  # getattr would import submodules
        return vars(torch)[last]
    return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, persistent: Callable[[Any], Any]) -> None:
        super().__init__(io.BytesIO(data), fix_imports=False, encoding="latin1")
        self._persistent, self._budget = persistent, _Budget()

    def persistent_load(self, saved: Any) -> Any:
        return self._persistent(saved)

    def find_class(self, module: str, name: str) -> Any:
        full = _full_name(f"{module}.{name}")
        found = _find(full, self._budget)
        if found is None:
            raise CheckpointError(f"the file names {full}, which is not read")
        return found


def _no_storage(saved: object) -> Any:
    raise CheckpointError("the file refers to a storage where none can be")


def unpickle(stream: Stream, persistent: Callable[[Any], Any] = _no_storage) -> Any:
    """The object pickled at the stream's position, of plain containers and records; the stream then stands behind it.

    Args:
        stream: seekable.
        persistent: returns what a reference outside the pickle stands for.

    Raises:
        CheckpointError: naming every global of the pickle that is not read, or saying what is corrupt.
    """
    start = stream.tell()
    found = scan(stream)
    budget = _Budget()
    refused = sorted({name for name in map(_full_name, found.globals) if _find(name, budget) is None})
    if refused:
        raise CheckpointError(_refusal(refused))
    stream.seek(start)
    data = stream.read(found.end - start)
    try:
        return _Unpickler(data, persistent).load()
    except CheckpointError:
        raise
    except Exception as error:  # what arbitrary opcodes make of inert values is anyone's guess
        raise CheckpointError(f"the pickle in the file is corrupt ({type(error).__name__}: {error})") from None


def _refusal(names: list[str]) -> str:
    shown = ", ".join(name[:100] for name in names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    message = f"the file names {shown}: unpickling these could run code, and only tensors and plain values are read. "
    if any(name.startswith("torch.nn.") for name in names):
        message += "It holds a whole pickled model, not its weights. "
    return message + (
        "If you trust the file, take the weights out where its classes are installed: "
        "torch.save({'state_dict': model.state_dict()}, 'weights.pth')"
    )
