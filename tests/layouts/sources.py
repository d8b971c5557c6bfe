"""Blocks of other libraries for tests: random tensors under their names, and what they compute.

Where the library is installed, its own class computes; for the others a formula does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcnet.layouts import BLOCK_LAYOUTS, to_ours

CHANNELS, HIDDEN = 32, 8
MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


@dataclass(frozen=True)
class Source:
    """One block: ``options`` are what its tensors do not tell, ``make`` gives tensors and the function they define."""

    layout: str
    label: str
    make: Callable[[], tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]]
    options: Mapping[str, Any] = field(default_factory=dict)
    dims: int = 2

    def __str__(self) -> str:
        return f"{self.layout} {self.label}".strip()


def samples(dims: int = 2) -> Tensor:
    """[2, C, *spatial] whose axes the windows do not divide."""
    return torch.randn(2, CHANNELS, *(5, 6, 7)[:dims], dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def ours_of(source: Source, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Our block with these tensors, as the layout reads them."""
    layout = BLOCK_LAYOUTS[source.layout]
    reading = layout.read(tensors, source.options)
    block = layout.block(reading.channels, **reading.options, dtype=torch.float64).eval()
    block.load_state_dict(to_ours(reading.keys, tensors))
    return block


def distance(actual: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    return float((actual - expected).norm() / expected.norm())


def randomise(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Random values of the same shapes, positive where a variance may be, so that no zero hides anything."""
    generator = torch.Generator().manual_seed(0)

    def values(like: Tensor) -> Tensor:
        if not like.is_floating_point():
            return torch.tensor(7)
        if like.dim() < 2:
            return torch.rand(like.shape, generator=generator, dtype=torch.float64) + 0.5
        return torch.randn(like.shape, generator=generator, dtype=torch.float64) * like[0].numel() ** -0.5

    return {name: values(like) for name, like in tensors.items()}


def live(module: nn.Module) -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
    """Random tensors of a module, and the module with them."""
    module = module.double().eval()
    tensors = randomise(module.state_dict())
    module.load_state_dict(tensors)
    return {name: value.clone() for name, value in tensors.items()}, module


def projection(name: str, out: int, inner: int, dims: int, bias: bool = True) -> dict[str, Tensor]:
    shapes = {f"{name}.weight": (out, inner, *(1,) * dims)} | ({f"{name}.bias": (out,)} if bias else {})
    return {key: torch.empty(shape, dtype=torch.float64) for key, shape in shapes.items()}


def batch_norm(name: str) -> dict[str, Tensor]:
    tensors = nn.BatchNorm1d(CHANNELS).double().state_dict()
    return {f"{name}.{key}": value for key, value in tensors.items()}


def non_local_by_formula(
    t: Mapping[str, Tensor],
    x: Tensor,
    *,
    layers: tuple[str, str, str, str],
    pairwise: str = "embedded_gaussian",
    scale: float = 1.0,
    before: Any = None,
    after: Any = None,
    concat: str = "",
    norm: str = "",
) -> Tensor:
    """A non-local block: ``layers`` are the names of theta, phi, g and the output projection."""

    def project(name: str, x: Tensor) -> Tensor:
        y = torch.einsum("oc,nc...->no...", t[f"{name}.weight"].flatten(1), x)
        bias = t.get(f"{name}.bias")
        return y if bias is None else y + bias.view(-1, *(1,) * (x.dim() - 2))

    def pool(x: Tensor, window: Any) -> Tensor:
        return x if window is None else MAX_POOL[x.dim() - 2](x, window)

    theta, phi, g, out = layers
    few = pool(x, before)
    query = x if pairwise == "gaussian" else project(theta, x)
    key = pool(few if pairwise == "gaussian" else project(phi, few), after)
    query, key, value = query.flatten(2), key.flatten(2), pool(project(g, few), after).flatten(2)
    if pairwise == "concatenation":
        first, second = t[f"{concat}.weight"].flatten().chunk(2)
        logits = (first @ query).unsqueeze(2) + (second @ key).unsqueeze(1)
        weights = logits.relu() / key.shape[2]
    else:
        logits = torch.einsum("ncp,ncm->npm", query, key)
        weights = logits / key.shape[2] if pairwise == "dot_product" else (logits * scale).softmax(2)
    y = project(out, torch.einsum("npm,ncm->ncp", weights, value).view(x.shape[0], -1, *x.shape[2:]))
    if norm:
        mean, var, gamma, beta = (
            t[f"{norm}.{name}"].view(-1, *(1,) * (x.dim() - 2))
            for name in ("running_mean", "running_var", "weight", "bias")
        )
        y = (y - mean) / (var + 1e-5).sqrt() * gamma + beta
    return x + y


def alexhex7(dims: int, pairwise: str, subsampled: bool, norm: bool) -> Source:
    pooled, out = ".0" if subsampled else "", "W.0" if norm else "W"
    layers = ("theta", f"phi{pooled}", f"g{pooled}", out)

    def make() -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
        empty = projection(layers[2], HIDDEN, CHANNELS, dims) | projection(out, CHANNELS, HIDDEN, dims)
        if norm:
            empty |= batch_norm("W.1")
        if pairwise != "gaussian":
            empty |= projection("theta", HIDDEN, CHANNELS, dims) | projection(layers[1], HIDDEN, CHANNELS, dims)
        if pairwise == "concatenation":
            empty |= projection("concat_project.0", 1, 2 * HIDDEN, 2, bias=False)
        t = randomise(empty)
        window = ((1, 2, 2) if dims == 3 else 2) if subsampled else None
        return t, lambda x: non_local_by_formula(
            t,
            x,
            layers=layers,
            pairwise=pairwise,
            after=window,
            concat="concat_project.0",
            norm="W.1" if norm else "",
        )

    label = f"{dims}D {pairwise}{' sub-sampled' if subsampled else ''}{' norm' if norm else ''}"
    return Source("AlexHex7 NONLocalBlock", label, make, _pairwise(pairwise), dims)


def slowfast(layout: str, norm: str, pairwise: str, window: Any) -> Source:
    layers = ("conv_theta", "conv_phi", "conv_g", "conv_out")

    def make() -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
        empty = projection("conv_out", CHANNELS, HIDDEN, 3)
        for name in layers[:3]:
            empty |= projection(name, HIDDEN, CHANNELS, 3)
        t = randomise(empty | (batch_norm(norm) if norm else {}))
        return t, lambda x: non_local_by_formula(
            t, x, layers=layers, pairwise=pairwise, scale=HIDDEN**-0.5, before=window, norm=norm
        )

    pooling = {} if window is None else {"subsample": "before", "subsample_size": window}
    label = f"{pairwise} {norm or 'no norm'} {window or ''}"
    return Source(layout, label, make, _pairwise(pairwise) | pooling, 3)


def repository(pairwise: str, use_scale: bool, norm: bool) -> Source:
    layers = ("theta.conv", "phi.conv", "g.conv", "conv_out.conv")

    def make() -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
        empty = projection("conv_out.conv", CHANNELS, HIDDEN, 2, bias=not norm)
        for name in layers[:3]:
            empty |= projection(name, HIDDEN, CHANNELS, 2)
        t = randomise(empty | (batch_norm("conv_out.bn") if norm else {}))
        scale = 1 / HIDDEN**-0.5 if use_scale else 1.0
        return t, lambda x: non_local_by_formula(
            t, x, layers=layers, pairwise=pairwise, scale=scale, norm="conv_out.bn" if norm else ""
        )

    options = _pairwise(pairwise) | ({} if use_scale or pairwise == "dot_product" else {"scale": "none"})
    label = f"{pairwise}{'' if use_scale else ' unscaled'}{' norm' if norm else ''}"
    return Source("GCNet repository NonLocal2D", label, make, options)


def mmcv_non_local(dims: int, pairwise: str, use_scale: bool, subsampled: bool, norm: bool) -> Source:
    def make() -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
        bricks = pytest.importorskip("mmcv.cnn.bricks", reason="needs mmcv-lite")
        block = getattr(bricks, f"NonLocal{dims}d")(
            CHANNELS,
            reduction=CHANNELS // HIDDEN,
            use_scale=use_scale,
            mode=pairwise,
            sub_sample=subsampled,
            norm_cfg={"type": f"BN{dims}d"} if norm else None,
        )
        return live(block)

    unscaled = pairwise == "embedded_gaussian" and not use_scale
    options = _pairwise(pairwise) | ({"scale": "none"} if unscaled else {})
    label = (
        f"{dims}d {pairwise}{' unscaled' if unscaled else ''}{' sub-sampled' if subsampled else ''}"
        f"{' norm' if norm else ''}"
    )
    return Source("mmcv NonLocal", label, make, options, dims)


def senet_pytorch() -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
    t = randomise(projection("fc.0", HIDDEN, CHANNELS, 0, bias=False) | projection("fc.2", CHANNELS, HIDDEN, 0, False))

    def run(x: Tensor) -> Tensor:
        hidden = torch.einsum("hc,nc->nh", t["fc.0.weight"], x.mean((2, 3))).clamp(min=0)
        logits = torch.einsum("ch,nh->nc", t["fc.2.weight"], hidden)
        return x / (1 + torch.exp(-logits))[:, :, None, None]

    return t, run


def mmdetection(gate: str) -> Source:
    def make() -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
        t = randomise(projection("conv1.conv", HIDDEN, CHANNELS, 2) | projection("conv2.conv", CHANNELS, HIDDEN, 2))

        def run(x: Tensor) -> Tensor:
            hidden = torch.einsum("hcij,nc->nh", t["conv1.conv.weight"], x.mean((2, 3))) + t["conv1.conv.bias"]
            logits = torch.einsum("chij,nh->nc", t["conv2.conv.weight"], hidden.clamp(min=0)) + t["conv2.conv.bias"]
            gates = ((logits + 3) / 6).clamp(0, 1) if gate == "hard_sigmoid" else 1 / (1 + torch.exp(-logits))
            return x * gates[:, :, None, None]

        return t, run

    return Source("mmdetection SELayer", _se("relu", gate).get("gate_function", ""), make, _se("relu", gate))


def mmcv_context(pooling: str, fusions: tuple[str, ...]) -> Source:
    def make() -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
        bricks = pytest.importorskip("mmcv.cnn.bricks", reason="needs mmcv-lite")
        return live(bricks.ContextBlock(CHANNELS, HIDDEN / CHANNELS, pooling, fusions))

    return Source("mmcv ContextBlock", f"{pooling} {' '.join(fusions)}", make)


def timm_layer(layout: str, label: str, options: Mapping[str, Any], **arguments: Any) -> Source:
    def make() -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
        pytest.importorskip("timm", reason="needs timm")
        from timm.layers import GlobalContext, NonLocalAttn, SEModule
        from timm.models._efficientnet_blocks import SqueezeExcite

        classes = {c.__name__: c for c in (GlobalContext, NonLocalAttn, SEModule, SqueezeExcite)}
        return live(classes[layout.removeprefix("timm ")](CHANNELS, rd_channels=HIDDEN, **arguments))

    return Source(layout, label, make, options)


def torchvision_se(activation: str, gate: str) -> Source:
    def make() -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
        ops = pytest.importorskip("torchvision.ops", reason="needs torchvision")
        return live(ops.SqueezeExcitation(CHANNELS, HIDDEN, _LAYERS[activation], _LAYERS[gate]))

    options = _se(activation, gate)
    return Source("torchvision SqueezeExcitation", " ".join(options.values()), make, options)


_LAYERS = {"relu": nn.ReLU, "silu": nn.SiLU, "sigmoid": nn.Sigmoid, "hard_sigmoid": nn.Hardsigmoid}
_PAIRWISE = ("embedded_gaussian", "dot_product", "gaussian", "concatenation")


def _pairwise(name: str) -> dict[str, Any]:
    """What has to be said: the other two functions show in the tensors, and the first is assumed."""
    return {"pairwise": name} if name == "dot_product" else {}


def _se(activation: str, gate: str) -> dict[str, str]:
    options = {"activation": activation, "gate_function": gate}
    return {name: value for name, value in options.items() if value not in ("relu", "sigmoid")}


def _sources() -> Iterator[Source]:
    both = (False, True)
    for pooling, fusions in product(
        ("att", "avg"), (("channel_add",), ("channel_mul",), ("channel_add", "channel_mul"))
    ):
        yield mmcv_context(pooling, fusions)
    for attention, (add, scale) in product(both, ((True, False), (False, True), (True, True))):
        label = f"{'attention' if attention else 'average'}{' add' if add else ''}{' scale' if scale else ''}"
        yield timm_layer("timm GlobalContext", label, {}, use_attn=attention, fuse_add=add, fuse_scale=scale)
    for activation, gate in product(("relu", "silu"), ("sigmoid", "hard_sigmoid")):
        options = _se(activation, gate)
        label, layers = " ".join(options.values()), {"act_layer": _LAYERS[activation], "gate_layer": gate}
        yield torchvision_se(activation, gate)
        yield timm_layer("timm SqueezeExcite", label, options, **layers)
        for bias in both:
            yield timm_layer(
                "timm SEModule", f"{label}{'' if bias else ' no bias'}".strip(), options, bias=bias, **layers
            )
    yield Source("senet.pytorch SELayer", "", senet_pytorch)
    yield from map(mmdetection, ("sigmoid", "hard_sigmoid"))
    for dims, pairwise, subsampled, norm in product((1, 2, 3), _PAIRWISE, both, both):
        yield alexhex7(dims, pairwise, subsampled, norm)
        for use_scale in both if pairwise == "embedded_gaussian" else (True,):
            yield mmcv_non_local(dims, pairwise, use_scale, subsampled, norm)
    for pairwise, use_scale, norm in product(_PAIRWISE[:2], both, both):
        yield repository(pairwise, use_scale, norm)
    for pairwise, window in product(_PAIRWISE[:2], (None, (1, 2, 2), (2, 2, 2))):
        yield slowfast("SlowFast Nonlocal", "bn", pairwise, window)
        for name in ("norm", ""):
            yield slowfast("pytorchvideo NonLocal", name, pairwise, window)
    yield timm_layer("timm NonLocalAttn", "", {})
    yield timm_layer("timm NonLocalAttn", "unscaled", {"scale": "none"}, use_scale=False)


SOURCES = {str(source): source for source in _sources()}
