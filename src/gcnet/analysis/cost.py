"""Parameters, multiply-adds and activation bytes of a model, split into its host and its blocks.

Nothing is computed: one forward pass on fake tensors, in eval mode, tells the shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._pytree import tree_iter, tree_map_only

from gcnet.analysis.counter import Counter
from gcnet.analysis.detectors import fixed_part
from gcnet.analysis.table import format_table, with_unit
from gcnet.blocks.base import Block
from gcnet.insertion.state import evaluating
from gcnet.ops import backend


@dataclass(frozen=True)
class ModuleCost:
    """Cost of one module with everything inside it, over all its calls in one forward pass.

    Attributes:
        path: its place in the model, ``""`` for the model.
        type: name of its class.
        params: number of parameters, shared ones once.
        macs: multiply-adds of convolutions and matrix products, batch included.
        activation_bytes: bytes of all tensors that its operations create.
    """

    path: str
    type: str
    params: int
    macs: int
    activation_bytes: int


@dataclass(frozen=True)
class Cost:
    """What :func:`cost` found; printable.

    Attributes:
        params: number of parameters, shared ones once.
        macs: multiply-adds of one forward pass of the given batch.
        activation_bytes: bytes of all tensors created in the pass; views and in-place results are not new.
        host: the model without its blocks.
        blocks: each gcnet block in the order of the model; empty if there is none.
        modules: module path -> cost of every module, blocks included.
        uncounted: operations without a formula for their multiply-adds, empty if all was counted.
    """

    params: int
    macs: int
    activation_bytes: int
    host: ModuleCost
    blocks: tuple[ModuleCost, ...]
    modules: Mapping[str, ModuleCost]
    uncounted: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain numbers, strings, lists and dicts, for JSON; ``modules`` becomes a list."""
        return {**asdict(self), "modules": [asdict(module) for module in self.modules.values()]}

    def __str__(self) -> str:
        total = ModuleCost("total", "", self.params, self.macs, self.activation_bytes)
        host = ModuleCost("host", self.host.type, self.host.params, self.host.macs, self.host.activation_bytes)
        rows = [
            (part.path, part.type, with_unit(part.params), with_unit(part.macs), with_unit(part.activation_bytes) + "B")
            for part in (host, *self.blocks, total)
        ]
        table = format_table(("part", "type", "params", "multiply-adds", "activations"), rows, left=2)
        return table + (f"\nnot counted: {', '.join(self.uncounted)}" if self.uncounted else "")


@torch.no_grad()
def cost(model: nn.Module, input: Any) -> Cost:
    """Count parameters, multiply-adds and activation bytes of one forward pass, without computing it.

    - Multiply-adds are half of the operations that ``torch.utils.flop_counter.FlopCounterMode`` counts: convolutions
      (one per weight and output position) and matrix products, attention included. Element-wise operations, norms,
      poolings and resizing count nothing.
    - Activation bytes are the bytes of every tensor that an operation creates; views and results written in place are
      not new. This is what the pass writes to memory, and an upper bound of what training keeps.
    - gcnet blocks are counted in their eager form on every device, so that the answer does not depend on the kernel.
    - A torchvision detector is counted as far as its cost does not depend on what it finds: backbone, pyramid and
      dense heads on the image as given (no resizing), box head on 1000 proposals and mask or keypoint head on 100
      detections per image.

    The pass runs in eval mode on fake tensors: it takes no memory, and the model's parameters, buffers, hooks and
    training flags stay as they are. Hooks of the model itself are called; a compiled model is counted uncompiled.

    Args:
        model: any module, on any device, ``meta`` included.
        input: a tensor; or its shape, batch included, for a tensor of the model's dtype and device; or a tuple or
            list of positional arguments; or a dict of keyword arguments.

    Raises:
        TypeError: ``input`` is none of these.
        ValueError: the model does not run on it, or not on fake tensors (it branches on values).

    Example:
        >>> import torch, gcnet
        >>> from gcnet.analysis import cost
        >>> print(cost(torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), gcnet.GlobalContext(64)), (1, 3, 66, 66)))
        part   type            params  multiply-adds  activations
        ---------------------------------------------------------
        host   Sequential     1.792 k        7.078 M     1.049 MB
        1      GlobalContext      653      524.800 k     1... MB
        total                 2.445 k        7.603 M     2... MB
    """
    model = getattr(model, "_orig_mod", model)
    model = model.module if isinstance(model, nn.DataParallel) else model
    target = fixed_part(model) or model
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    state: dict[str, Tensor] = {name: fake.from_tensor(tensor) for name, tensor in _tensors(target)}
    args, kwargs = _arguments(model, input, fake)
    counter = Counter(target)
    with ExitStack() as stack:
        for context in (
            _counting_mode(target),
            backend("eager"),
            torch.compiler.set_stance("force_eager"),
            fake,
            counter,
        ):
            stack.enter_context(context)
        try:
            functional_call(target, state, args, kwargs)
        except Exception as error:  # whatever a model raises
            given = ", ".join(str(list(t.shape)) for t in tree_iter((args, kwargs)) if isinstance(t, Tensor))
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"{type(model).__name__} does not run on an input of {given or 'no tensors'}, as fake tensors: {reason}"
            ) from error
    return _result(model, target, counter)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _arguments(model: nn.Module, input: Any, fake: FakeTensorMode) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(input, tuple | list) and input and all(type(size) is int for size in input):
        if min(input) < 0:
            raise ValueError(f"input={tuple(input)} is a shape with a negative size")
        like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(()))
        with fake:
            return (torch.empty(*input, dtype=like.dtype, device=like.device),), {}
    given = tree_map_only(Tensor, fake.from_tensor, input)
    if isinstance(given, Tensor):
        return (given,), {}
    if isinstance(given, tuple | list):
        return tuple(given), {}
    if isinstance(given, dict):
        return (), given
    raise TypeError(
        f"input must be a tensor, a shape such as (1, 3, 224, 224), a tuple of arguments or a dict of keyword "
        f"arguments, got {type(input).__name__}"
    )


@contextmanager
def _counting_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode, without the fused transformer layers whose operations have no formula; both are restored."""
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with evaluating(model):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _result(model: nn.Module, target: nn.Module, counter: Counter) -> Cost:
    modules: dict[str, ModuleCost] = {}
    blocks: list[ModuleCost] = []
    for path, module in target.named_modules():
        part = ModuleCost(path, type(module).__name__, _size(module), counter.macs[module], counter.written[module])
        modules[path] = part
        if isinstance(module, Block) and not any(path.startswith(f"{block.path}.") for block in blocks):
            blocks.append(part)
    whole = ModuleCost("", type(model).__name__, _size(model), modules[""].macs, modules[""].activation_bytes)
    modules[""] = whole
    host = ModuleCost(
        "",
        whole.type,
        whole.params - sum(block.params for block in blocks),
        whole.macs - sum(block.macs for block in blocks),
        whole.activation_bytes - sum(block.activation_bytes for block in blocks),
    )
    return Cost(
        whole.params, whole.macs, whole.activation_bytes, host, tuple(blocks), modules, tuple(sorted(counter.uncounted))
    )


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
