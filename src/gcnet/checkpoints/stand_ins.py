"""The allow-list: classes that checkpoints name beside tensors, each replaced by something inert.

Nothing named in a file is ever imported. Containers become plain containers, everything else a ``StandIn`` that
remembers what it was given.
"""

from __future__ import annotations

from typing import Any

_NUMPY_ARRAYS = ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")
_NUMPY_TYPES = ("dtype", "ndarray", "float64", "float32", "int64", "int32", "bool_")
_NUMPY_DTYPES = (
    "Float16",
    "Float32",
    "Float64",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt32",
    "UInt64",
    "Bool",
)

#: Unfit to be weights: named in the error if they are, harmless beside them.
OTHER_TENSORS = {
    "torch._utils._rebuild_sparse_tensor": "sparse",
    "torch._utils._rebuild_qtensor": "quantized",
    "torch._utils._rebuild_nested_tensor": "nested",
    "torch._utils._rebuild_meta_tensor_no_storage": "meta",
}

#: Full names of the harmless classes, by who writes them.
ALLOWED = frozenset(
    [
        # Python: sets, the factories of defaultdicts, options, dates, paths
        *(f"builtins.{name}" for name in ("set", "frozenset", "list", "dict", "tuple", "int", "float", "bool", "str")),
        *(f"builtins.{name}" for name in ("bytes", "complex", "range", "slice", "object")),
        "builtins.getattr",  # how HistoryBuffers name their own methods; nothing is looked up
        "argparse.Namespace",
        "types.SimpleNamespace",
        "collections.deque",
        *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
        *(f"{module}.{name}Path" for module in ("pathlib", "pathlib._local") for name in ("Posix", "Windows")),
        *(f"{module}.Pure{name}Path" for module in ("pathlib", "pathlib._local") for name in ("Posix", "Windows")),
        "copyreg._reconstructor",
        # NumPy 1 and 2: numbers and arrays of logs, states of random generators
        *(f"numpy.{package}.{name}" for package in ("core", "_core") for name in _NUMPY_ARRAYS),
        *(f"numpy.{name}" for name in _NUMPY_TYPES),
        *(f"numpy.dtypes.{name}DType" for name in _NUMPY_DTYPES),
        # OpenMMLab, and the configurations of other frameworks
        "mmengine.logging.history_buffer.HistoryBuffer",
        "mmengine.config.config.Config",
        "mmengine.config.config.ConfigDict",
        "mmcv.utils.config.Config",
        "mmcv.utils.config.ConfigDict",
        "addict.Dict",
        "addict.addict.Dict",
        "yacs.config.CfgNode",
        "fvcore.common.config.CfgNode",
        "detectron2.config.config.CfgNode",
        "slowfast.config.custom_config.CfgNode",
        "easydict.EasyDict",
        "omegaconf.dictconfig.DictConfig",
        "omegaconf.listconfig.ListConfig",
        "omegaconf.base.ContainerMetadata",
        "omegaconf.base.Metadata",
        "omegaconf.nodes.AnyNode",
        "typing.Any",
        # torch, beside dense tensors
        "torch.device",
        "torch.Size",
        "torch.serialization._get_layout",
        *(f"torch.per_{of}" for of in ("tensor_affine", "tensor_symmetric", "channel_affine", "channel_symmetric")),
        *OTHER_TENSORS,
    ]
)


class StandIn:
    """In place of an object of an allowed class: its name and whatever a pickle gives to it."""

    name = ""
    args: tuple[Any, ...]
    state: Any
    items: dict[Any, Any]
    values: list[Any]

    def __new__(cls, *args: Any) -> StandIn:
        """Take the arguments; for some objects, pickles call nothing but this."""
        made = super().__new__(cls)
        made.args, made.state, made.items, made.values = args, None, {}, []
        return made

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: Any) -> None:
        """Take an element, as the lists among the allowed classes do."""
        self.values.append(value)

    def add(self, value: Any) -> None:
        """Take an element, as sets do."""
        self.values.append(value)


def stand_in(name: str) -> type[StandIn]:
    """A new class, so that nothing a file does to it outlives the reading."""
    return type("StandIn", (StandIn,), {"name": name})
