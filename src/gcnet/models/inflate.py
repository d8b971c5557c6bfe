"""Make a 2D network 3D, weights included (I3D: Carreira and Zisserman, 2017, section 2.4)."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gcnet.blocks.base import Block, check_choice

Module = TypeVar("Module", bound=nn.Module)


def inflate(
    model: Module,
    time_kernel: Mapping[str, int] | None = None,
    *,
    time_pool: Mapping[str, int] | None = None,
    rule: str = "mean",
) -> Module:
    """Copy a 2D network into a 3D one that takes [N, C, T, H, W]; the 2D network is left as it is.

    Convolutions, batch norms and poolings become their 3D forms with kernel and stride 1 along time (a global pooling
    pools over time too); everything else is copied. Parameters keep their names, so a 2D checkpoint is loaded before
    inflating. A kernel of t frames is padded with (t - 1) / 2 frames of zeros at both ends.

    Args:
        model: any 2D network whose forward does not depend on the rank of its input, such as a torchvision ResNet.
        time_kernel: odd number of frames of the convolutions selected by a pattern of their module path, such as
            ``{"layer[34].*.conv1": 3}``; the first pattern that matches counts. The others see one frame at a time.
        time_pool: frames of a max-pooling along time at the end of stages, such as ``{"layer1": 2}``; it is their last
            module, ``time_pool``.
        rule: how a 2D kernel fills t frames. ``"mean"`` (I3D) repeats it, divided by t; ``"centred"`` puts it into the
            middle frame and zeros elsewhere. On a video of one repeated frame the output is that of the 2D network:
            everywhere with ``"centred"``, away from the padded ends with ``"mean"``.

    Returns:
        The 3D network, of the class of ``model``, on the same device.

    Raises:
        ValueError: a pattern that selects no convolution, an even or negative kernel, a pooling after what is no
            sequence of modules, an unknown rule.
        TypeError: a 2D module without a known 3D form, or a context block that cannot serve both ranks.

    Example:
        >>> import torch
        >>> from gcnet.models import inflate, resnet50
        >>> net = inflate(resnet50(device="meta"), {"conv1": 5, "layer*.conv1": 3})
        >>> net.conv1.weight.shape
        torch.Size([64, 3, 5, 7, 7])
        >>> net(torch.empty(1, 3, 8, 64, 64, device="meta")).shape
        torch.Size([1, 1000])
    """
    check_choice("rule", rule, ("mean", "centred"))
    time_kernel = dict(time_kernel or {})
    kernels = _kernels(model, time_kernel)
    done: dict[nn.Module, nn.Module] = {}

    def visit(module: nn.Module, path: str) -> nn.Module:
        if module not in done:
            if isinstance(module, Block):
                _check_rank_free(module, path)
                return module
            done[module] = _inflated(module, path, kernels.get(path, 1), rule)
            for name, child in module._modules.items():
                if child is not None:
                    setattr(done[module], name, visit(child, f"{path}.{name}" if path else name))
        return done[module]

    net = visit(copy.deepcopy(model), "")
    for path, frames in (time_pool or {}).items():
        _stage(net, path, frames).add_module("time_pool", nn.MaxPool3d((frames, 1, 1)))
    return net  # type: ignore[return-value]


def _stage(net: nn.Module, path: str, frames: int) -> nn.Sequential:
    """The sequence of modules that a pooling along time closes."""
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
        raise ValueError(f"time_pool[{path!r}]={frames!r} must be a number of frames, such as 2")
    stages = {name: module for name, module in net.named_modules() if isinstance(module, nn.Sequential)}
    if path not in stages:
        near = difflib.get_close_matches(path, stages, n=3, cutoff=0.3) or list(stages)[:3]
        raise ValueError(f"time_pool: {path!r} is no sequence of modules; there are {', '.join(near)} ...")
    return stages[path]


def _kernels(model: nn.Module, time_kernel: Mapping[str, int]) -> dict[str, int]:
    """Path of every selected convolution -> its frames."""
    convolutions = [path for path, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    for pattern, frames in time_kernel.items():
        if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1 or frames % 2 == 0:
            raise ValueError(f"time_kernel[{pattern!r}]={frames!r} must be an odd number of frames, such as 3")
        if not any(fnmatchcase(path, pattern) for path in convolutions):
            near = difflib.get_close_matches(pattern, convolutions, n=3, cutoff=0.3) or convolutions[:3]
            raise ValueError(f"time_kernel pattern {pattern!r} selects no convolution; there are {', '.join(near)} ...")
    return {
        path: next((frames for pattern, frames in time_kernel.items() if fnmatchcase(path, pattern)), 1)
        for path in convolutions
    }


def _inflated(module: nn.Module, path: str, frames: int, rule: str) -> nn.Module:
    """The 3D form of one module without its children; modules without a rank are returned as they are."""
    make = _FORMS.get(type(module))
    if make is None:
        if type(module).__name__.lower().endswith("2d"):
            raise TypeError(f"inflate() knows no 3D form of {path or 'the model'} ({type(module).__name__})")
        return module
    new: nn.Module = make(module, frames)
    for name, parameter in module.named_parameters(recurse=False):
        value = _inflate_weight(parameter, frames, rule) if parameter.dim() == 4 else parameter.detach()
        setattr(new, name, nn.Parameter(value, requires_grad=parameter.requires_grad))
    for name, buffer in module.named_buffers(recurse=False):
        setattr(new, name, buffer)
    return new.train(module.training)


def _inflate_weight(weight: Tensor, frames: int, rule: str) -> Tensor:
    """[O, I, H, W] -> [O, I, frames, H, W]."""
    weight = weight.detach().unsqueeze(2)
    if rule == "mean":
        return weight.repeat(1, 1, frames, 1, 1) / frames
    zeros = torch.zeros_like(weight).repeat(1, 1, frames // 2, 1, 1)
    return torch.cat((zeros, weight, zeros), dim=2)


def _check_rank_free(block: Block, path: str) -> None:
    if block.has_spatial_kernels or any(isinstance(module, nn.Conv2d) for module in block.modules()):
        raise TypeError(
            f"the block {path} ({type(block).__name__}) has 2D weights; inflate the network first, then insert blocks"
        )


def _axes(value: Any, time: int | None) -> Any:
    """(h, w), or one number for both, with the entry for time in front."""
    return (time, *value) if isinstance(value, tuple) else (time, value, value)


def _conv(conv: nn.Conv2d, frames: int) -> nn.Conv3d:
    return nn.Conv3d(
        conv.in_channels,
        conv.out_channels,
        kernel_size=_axes(conv.kernel_size, frames),
        stride=_axes(conv.stride, 1),
        padding=conv.padding if isinstance(conv.padding, str) else _axes(conv.padding, frames // 2),
        dilation=_axes(conv.dilation, 1),
        groups=conv.groups,
        bias=conv.bias is not None,
        padding_mode=conv.padding_mode,
        device="meta",
    )


def _batch_norm(norm: nn.BatchNorm2d, frames: int) -> nn.BatchNorm3d:
    return nn.BatchNorm3d(
        norm.num_features,
        eps=norm.eps,
        momentum=norm.momentum,
        affine=norm.affine,
        track_running_stats=norm.track_running_stats,
        device="meta",
    )


def _max_pool(pool: nn.MaxPool2d, frames: int) -> nn.MaxPool3d:
    return nn.MaxPool3d(
        _axes(pool.kernel_size, 1),
        stride=_axes(pool.stride, 1),
        padding=_axes(pool.padding, 0),
        dilation=_axes(pool.dilation, 1),
        return_indices=pool.return_indices,
        ceil_mode=pool.ceil_mode,
    )


def _avg_pool(pool: nn.AvgPool2d, frames: int) -> nn.AvgPool3d:
    return nn.AvgPool3d(
        _axes(pool.kernel_size, 1),
        stride=_axes(pool.stride, 1),
        padding=_axes(pool.padding, 0),
        ceil_mode=pool.ceil_mode,
        count_include_pad=pool.count_include_pad,
        divisor_override=pool.divisor_override,
    )


def _global_pool(pool: nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d, frames: int) -> nn.Module:
    form = nn.AdaptiveAvgPool3d if isinstance(pool, nn.AdaptiveAvgPool2d) else nn.AdaptiveMaxPool3d
    time = 1 if pool.output_size in (1, (1, 1)) else None
    return form(_axes(pool.output_size, time))


_FORMS: dict[type[nn.Module], Any] = {
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _batch_norm,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.AdaptiveAvgPool2d: _global_pool,
    nn.AdaptiveMaxPool2d: _global_pool,
    nn.Dropout2d: lambda dropout, frames: nn.Dropout3d(dropout.p, dropout.inplace),
}
