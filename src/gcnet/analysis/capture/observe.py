"""Looking at modules while they run, in ways that do not change what they compute.

A hook or a mode can send a module on another path: the fused forwards of nn.TransformerEncoder and of hosts inserted
with ``fuse_residual`` step aside for hooks, that of nn.MultiheadAttention for a mode. So methods of the instances are
replaced here, a hook serves where nothing asks for it, and a mode is on inside the code of others only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import local
from types import MethodType
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from gcnet.analysis.capture.attention import Layer, captured_attention, captured_map
from gcnet.analysis.capture.blocks import captured_block
from gcnet.analysis.capture.grid import Grids
from gcnet.analysis.capture.keep import apart
from gcnet.analysis.capture.maps import Maps
from gcnet.analysis.capture.multihead import Attended, encoder_layer_tokens, project
from gcnet.analysis.capture.queries import Points
from gcnet.analysis.capture.sites import Site, same_forward
from gcnet.analysis.capture.watch import Watch
from gcnet.blocks import Block
from gcnet.insertion.attach import places_of

_EncoderLayer = nn.TransformerEncoderLayer


class _Projected(local):
    """How many calls of nn.MultiheadAttention were seen in this thread."""

    count = 0


class Observer:
    """Puts what modules do into maps, until it is closed."""

    def __init__(self, maps: Maps | None, points: Points, device: torch.device | None) -> None:
        self._maps = maps
        self._points, self._device, self._grids = points, device, Grids()
        self._projected = _Projected()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy of a model that is made inside takes hooks along, which see nothing."""
        return Observer, (None, None, None)

    def close(self) -> None:
        """Whoever still holds it finds nothing to add to."""
        self._maps = None

    @contextmanager
    def observing(self, model: nn.Module, sites: Iterable[Site], without: Iterable[nn.Module] = ()) -> Iterator[None]:
        """Inside, calls of the sites within ``model``, but for those within ``without``, are seen."""
        left_out = {module for other in without for module in other.modules()}
        modules = [module for module in model.modules() if module not in left_out]
        layers = {site.module: site.layer for site in sites if site.module not in left_out}
        with ExitStack() as undo:
            for module in modules:
                for revert in self._install(module, layers):
                    undo.callback(revert)
            yield

    def _install(self, module: nn.Module, layers: dict[nn.Module, Layer]) -> Iterator[Callable[[], None]]:
        layer = layers.get(module)
        fused = [place.name for place in places_of(module) if place.fuse_residual]
        for name in fused:
            block = getattr(module, name)
            if block in layers:
                yield replace(module, "apply_context", functools.partial(self._apply, name, layers[block]))
                yield replace(block, "forward_residual", functools.partial(self._residual, layers[block]))
                del layers[block]
        if isinstance(module, Block):
            if layer is not None:
                yield module.register_forward_hook(functools.partial(self._hook, layer), with_kwargs=True).remove
                if type(module).forward_residual is not Block.forward_residual:
                    yield replace(module, "forward_residual", functools.partial(self._residual, layer))
        elif isinstance(module, nn.MultiheadAttention) and layer is not None:
            yield replace(module, "forward", functools.partial(self._multihead, layer))
        elif layer is not None:
            yield replace(module, "forward", functools.partial(self._watch, layer))
        elif isinstance(module, _ConvNd):
            yield replace(module, "forward", self._convolution)
        elif isinstance(module, _EncoderLayer) and module.self_attn in layers and same_forward(module, _EncoderLayer):
            yield replace(module, "forward", functools.partial(self._encoder_layer, layers[module.self_attn]))

    def _sees(self) -> Maps | None:
        """Where to put what is seen; None in a backward pass, which may run a forward again."""
        return self._maps if torch._C._current_graph_task_id() == -1 else None

    def _hook(self, layer: Layer, block: Any, args: Any, kwargs: Any, output: Any) -> None:
        self._block(layer, block, args[0] if args else kwargs["x"])

    def _residual(self, layer: Layer, call: Callable[..., Any], block: Any, *args: Any, **kwargs: Any) -> Any:
        self._block(layer, block, args[0] if args else kwargs["x"])
        return call(*args, **kwargs)

    def _apply(self, name: str, layer: Layer, call: Callable[..., Any], host: Any, child: str, x: Tensor) -> Any:
        if child == name:
            self._block(layer, getattr(host, name), x)
        return call(child, x)

    def _block(self, layer: Layer, block: Any, x: Tensor) -> None:
        maps = self._sees()
        if maps is not None and block.enabled:
            maps.add(captured_block(layer.path, block, x, self._points, self._device))

    def _multihead(self, layer: Layer, call: Callable[..., Any], module: Any, *args: Any, **kwargs: Any) -> Any:
        output = call(*args, **kwargs)
        self._project(layer, module, *args, **kwargs)
        return output

    def _encoder_layer(self, layer: Layer, call: Callable[..., Any], module: Any, *args: Any, **kwargs: Any) -> Any:
        before = self._projected.count
        output = call(*args, **kwargs)
        if self._sees() is not None and self._projected.count == before:
            with apart():
                given = encoder_layer_tokens(module, *args, **kwargs)
            self._project(layer, module.self_attn, **given)
        return output

    def _project(self, layer: Layer, module: Any, *args: Any, **kwargs: Any) -> None:
        maps = self._sees()
        if maps is not None:
            self._projected.count += 1
            with apart():
                tokens, attended = project(module, *args, **kwargs)
                maps.add(captured_attention(layer, tokens, attended, self._grids, self._points, self._device))

    def _watch(self, layer: Layer, call: Callable[..., Any], module: Any, *args: Any, **kwargs: Any) -> Any:
        maps = self._sees()
        tokens = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if maps is None or tokens is None:
            return call(*args, **kwargs)
        common: Any = (self._grids, self._points, self._device)

        def attended(seen: Attended) -> None:
            maps.add(captured_attention(layer, tokens, seen, *common))

        def laid_out(weights: Tensor, value: Tensor) -> None:
            maps.add(captured_map(layer, tokens, weights, value, *common))

        with Watch(attended, laid_out):
            return call(*args, **kwargs)

    def _convolution(self, call: Callable[..., Any], module: Any, *args: Any, **kwargs: Any) -> Any:
        output = call(*args, **kwargs)
        self._grids.saw(output, len(module.kernel_size))
        return output


def replace(module: nn.Module, name: str, around: Callable[..., Any]) -> Callable[[], None]:
    """Let ``around(method, module, *args, **kwargs)`` stand in for a method of this instance; returns how to undo it.

    A copy of the module gets a method of its own, without ``around``.
    """
    own: dict[str, Any] = vars(module)
    before, original = own.get(name), ref(module)

    @functools.wraps(getattr(type(module), name))
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = functools.partial(getattr(type(self), name), self) if before is None else before
        return around(call, self, *args, **kwargs) if self is original() else call(*args, **kwargs)

    own[name] = ours = MethodType(method, module)

    def undo() -> None:
        if own.get(name) is ours:
            del own[name]
            if before is not None:
                own[name] = before

    return undo
