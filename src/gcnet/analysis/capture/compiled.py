"""Compiled modules: their output comes from the compiled code, what is seen from a second pass without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from gcnet.analysis.capture.keep import apart, unchanged_buffers


def is_compiled(module: nn.Module) -> bool:
    """Whether a call of ``module`` goes to compiled code."""
    return _entry(module) is not None


def outermost_compiled(model: nn.Module) -> Iterator[nn.Module]:
    """Compiled modules that lie in no other."""
    if is_compiled(model):
        yield model
    else:
        for child in model.children():
            yield from outermost_compiled(child)


def _entry(module: nn.Module) -> str | None:
    """The attribute whose call runs compiled code."""
    if module._compiled_call_impl is not None:
        return "_compiled_call_impl"
    forward: Any = module.forward
    compiled = hasattr(forward, "_torchdynamo_orig_callable") and not getattr(forward, "_torchdynamo_disable", False)
    if compiled or type(module).__name__ == "OptimizedModule":
        return "forward"
    return None


def twice(module: nn.Module, observing: Callable[[], AbstractContextManager[Any]]) -> Callable[[], None]:
    """Let calls of a compiled module be followed by an uncompiled one inside ``observing()``; returns how to undo it.

    The first pass is not touched: nothing is installed while it runs. The second one runs on copies of the inputs and
    of the buffers, draws the same random numbers, and leaves torch's generators as the first pass left them.
    """
    name = _entry(module) or "forward"
    own, had = vars(module), name in vars(module)
    compiled: Any = getattr(module, name)

    def run(*args: Any, **kwargs: Any) -> Any:
        inputs = tree_map_only(Tensor, lambda tensor: tensor.detach().clone(), (args, kwargs))
        generators = _generators(module)
        output = compiled(*args, **kwargs)
        with _replay(module, generators), observing():
            compiled(*inputs[0], **inputs[1])
        return output

    own[name] = run

    def undo() -> None:
        if own.get(name) is run:
            if had:
                own[name] = compiled
            else:
                del own[name]

    return undo


def _generators(module: nn.Module) -> tuple[Tensor, dict[int, Tensor]]:
    """States of the generators of the CPU and of the module's GPUs."""
    devices = {parameter.device.index for parameter in module.parameters() if parameter.device.type == "cuda"}
    return torch.get_rng_state(), {device: torch.cuda.get_rng_state(device) for device in devices}


@contextmanager
def _replay(module: nn.Module, generators: tuple[Tensor, dict[int, Tensor]]) -> Iterator[None]:
    """Inside, the module runs uncompiled from the same random state, and what it changes is forgotten."""
    cpu, gpus = generators
    with apart(), unchanged_buffers(module), torch.random.fork_rng(devices=list(gpus)):
        torch.set_rng_state(cpu)
        for device, state in gpus.items():
            torch.cuda.set_rng_state(state, device)
        with torch.compiler.set_stance("force_eager"):
            yield
