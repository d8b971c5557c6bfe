"""The network of a video configuration: an inflated image classifier or one of torchvision's, weights, blocks."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from gcnet.blocks.base import Block, check_choice
from gcnet.models.classifiers import resnet
from gcnet.models.factories import VIDEO
from gcnet.models.video import i3d, slow_only
from gcnet.training.backbones import from_torchvision, is_download, read_weights
from gcnet.training.network import apply_norm_and_frozen, insert_blocks, load_file
from gcnet.training.video.config import VideoConfig

_DEPTHS: dict[str, dict[str, Any]] = {
    "r10": {"depths": (1, 1, 1, 1), "block": "basic"},
    "r18": {"depths": (2, 2, 2, 2), "block": "basic"},
    "r20_w16": {"depths": (1, 2, 2, 1), "width": 16},
    "r34": {"depths": (3, 4, 6, 3), "block": "basic"},
    "r50": {"depths": (3, 4, 6, 3)},
    "r101": {"depths": (3, 4, 23, 3)},
}
_INFLATED = {"slow_only": slow_only, "i3d": i3d}
BACKBONES = (*(f"{kind}_{depth}" for kind in _INFLATED for depth in _DEPTHS), *VIDEO)


def video_network(config: VideoConfig, classes: int) -> nn.Module:
    """The host with weights, blocks and dropout before its last layer; prints where blocks went.

    Weights of an image classifier are loaded before it is inflated, weights of a video network afterwards.

    Args:
        config: backbone, weights, block and where it goes, dropout, norm, frozen.
        classes: outputs of the last layer.

    Returns:
        A model from [N, 3, T, H, W] to [N, classes].

    Raises:
        ValueError: an unknown backbone; weights or blocks that do not fit.

    Example:
        >>> from pathlib import Path
        >>> chosen = {"backbone": "slow_only_r10", "block": "none", "batch_size": 2}
        >>> config = VideoConfig(data=Path("clips"), epochs=1, lr=0.1, weight_decay=0, **chosen)
        >>> video_network(config, 5).layer4[0].conv1.kernel_size
        (3, 3, 3)
    """
    backbone = config.backbone.removeprefix("torchvision:")
    check_choice("backbone", backbone, BACKBONES)
    download = config.weights if is_download(config.weights) else None
    file = None if download else config.weights
    if backbone in VIDEO:
        net = from_torchvision(backbone, classes, download)
    else:
        kind = next(kind for kind in _INFLATED if backbone.startswith(kind))
        depth = backbone.removeprefix(f"{kind}_")
        if download and depth in ("r10", "r20_w16"):
            raise ValueError(f"weights={download!r}: there are none for {backbone}; {kind}_r18 has some")
        image_net: Any = (
            from_torchvision(f"resnet{depth[1:]}", classes, download)
            if download
            else resnet(**_DEPTHS[depth], num_classes=classes)
        )
        if file is not None and _is_of_images(file):
            load_file(image_net, file)
            file = None
        net = _INFLATED[kind](image_net)
    insert_blocks(net, config)
    if file is not None:
        load_file(net, file)
    apply_norm_and_frozen(net, config)
    if config.dropout:
        last_layer(net).register_forward_pre_hook(DropInput(config.dropout))
    return net


def _is_of_images(source: str) -> bool:
    """Whether a file holds weights for single images."""
    return not any(tensor.dim() == 5 for tensor in read_weights(source).tensors.values())


def last_layer(net: nn.Module) -> nn.Module:
    """The layer that gives the classes: linear, or in S3D a convolution."""
    in_blocks = {id(part) for block in net.modules() if isinstance(block, Block) for part in block.modules()}
    return [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv3d) and id(m) not in in_blocks][-1]


class DropInput:
    """Dropout of what goes into a layer, as a hook: names and kind of the network stay as they are.

    Args:
        share: of the values that become zero while training.

    Example:
        >>> import torch
        >>> layer = nn.Linear(1000, 1, bias=False)
        >>> _ = layer.register_forward_pre_hook(DropInput(0.5))
        >>> x = torch.ones(1, 1000)
        >>> torch.equal(layer.eval()(x), layer(x)), torch.equal(layer.train()(x), layer(x))
        (True, False)
    """

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The inputs of the layer, the first thinned out while it trains."""
        return (functional.dropout(inputs[0], self.share, layer.training), *inputs[1:])
