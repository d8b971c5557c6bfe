"""The compiled CPU kernels: finding them, loading them, describing a feature map to them."""

from __future__ import annotations

import ctypes
import functools
import warnings
from pathlib import Path

import torch
from torch import Tensor

#: Instruction sets, the best first.
INSTRUCTION_SETS = ("avx512", "avx2", "portable")

#: What is wrong where there are none.
MISSING = (
    "gcnet was installed without its native CPU kernels, for want of a C++ compiler (GCC or Clang) with OpenMP; "
    "with one at hand, install it again with `pip install --force-reinstall --no-deps`"
)

#: Where the build puts the libraries.
FOLDER = Path(__file__).parent

_ELEMENTS = {torch.float32: 0, torch.bfloat16: 1}
_POINTER = ctypes.c_void_p


class Map(ctypes.Structure):
    """A feature map [N, C, P], or [N, P, C] if channels are last."""

    _fields_ = (
        ("n", ctypes.c_int64),
        ("c", ctypes.c_int64),
        ("p", ctypes.c_int64),
        ("dtype", ctypes.c_int),
        ("channels_last", ctypes.c_int),
        ("threads", ctypes.c_int),
    )


_TENSORS = ("expand", "expand_bias", "reduce", "reduce_bias", "norm_weight", "norm_bias")


class TransformGradient(ctypes.Structure):
    """Where the gradients of a transform go."""

    _fields_ = tuple((name, _POINTER) for name in _TENSORS)


class Transform(ctypes.Structure):
    """Weights of a transform, as pointers to float32."""

    _fields_ = (
        *((name, _POINTER) for name in _TENSORS),
        ("hidden", ctypes.c_int64),
        ("norm_eps", ctypes.c_float),
        ("activation", ctypes.c_int),
    )


class Fusion(ctypes.Structure):
    """Gate of the scaling, and whether a ReLU follows."""

    _fields_ = (("gate", ctypes.c_int), ("centred", ctypes.c_int), ("relu", ctypes.c_int))


#: What each function takes after the map.
_SIGNATURES: dict[str, tuple[type, ...]] = {
    "gcnet_pool": (_POINTER,) * 4,
    "gcnet_fuse": (*(_POINTER,) * 4, ctypes.c_int, _POINTER),
    "gcnet_sums": (_POINTER,) * 6,
    "gcnet_spread": (_POINTER,) * 9,
    "gcnet_block": (_POINTER,) * 9,
    "gcnet_block_backward": (_POINTER,) * 14,
}


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernels for this machine; None, after a warning, if gcnet was installed without them.

    They share the OpenMP threads of torch, whose runtime is loaded by now.
    """
    for name in INSTRUCTION_SETS:
        path = FOLDER / f"_native_{name}.so"
        if path.exists() and (loaded := load(path)) is not None:
            return loaded
    warnings.warn(f"{MISSING}; it uses ATen calls instead", stacklevel=2)
    return None


def load(path: Path) -> ctypes.CDLL | None:
    """The library at ``path``; None if it cannot be loaded or this machine lacks its instructions."""
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError:
        return None
    if not loaded.gcnet_supported():
        return None
    for name, arguments in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes = (_POINTER, *arguments)
        function.restype = None
    return loaded


def supports(x: Tensor) -> bool:
    """Whether the kernels take ``x``: a non-empty float32 or bfloat16 map on the CPU in one of the two layouts."""
    return (
        x.dtype in _ELEMENTS
        and x.device.type == "cpu"
        and x.layout == torch.strided
        and x.numel() > 0
        and not x.is_neg()
        and not x._is_zerotensor()
        and channels_last(x) is not None
    )


def channels_last(x: Tensor) -> bool | None:
    """Whether channels are last in memory; None for a layout that is neither [N, C, P] nor [N, P, C]."""
    if x.is_contiguous():
        return False
    return True if x.movedim(1, -1).is_contiguous() else None


def describe(x: Tensor) -> Map:
    """``x`` as the kernels see it, with as many threads as torch uses."""
    n, c = x.shape[:2]
    last = bool(channels_last(x))
    return Map(n, c, x.numel() // (n * c), _ELEMENTS[x.dtype], last, torch.get_num_threads())


def pointer(tensor: Tensor | None) -> int | None:
    """Address of the first element; None for no tensor.

    Raises:
        RuntimeError: a tensor that is not memory of the CPU, which the kernels would take for no tensor or read wildly.
    """
    if tensor is None:
        return None
    address = tensor.data_ptr()
    if tensor.device.type != "cpu" or (not address and tensor.numel()):
        raise RuntimeError(f"a tensor of shape {list(tensor.shape)} on {tensor.device} has no memory on the CPU")
    return address
