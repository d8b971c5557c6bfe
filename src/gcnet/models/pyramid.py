"""Feature pyramids over classifiers: the maps of strides 4, 8, 16 and 32, and what a detector makes of them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.resnet import ResNet
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

STAGES = ("layer1", "layer2", "layer3", "layer4")
STRIDES = (4, 8, 16, 32)


def feature_pyramid(classifier: nn.Module, channels: int = 256) -> nn.Module:
    """A feature pyramid (Lin et al., 2017) over the four maps of a classifier, which becomes its ``body``.

    Args:
        classifier: torchvision ResNet or ResNeXt, whose stages are shared and whose last layer is left out; or a
            network of timm that gives maps of strides 4, 8, 16 and 32 from its ``forward_intermediates``.
        channels: of every level.

    Returns:
        A module from images [N, 3, H, W] to maps [N, channels, H / s, W / s] of strides s = 4 to 64.

    Raises:
        TypeError: another kind of network.

    Example:
        >>> import timm, torch
        >>> pyramid = feature_pyramid(timm.create_model("convnext_atto"), 64)
        >>> [tuple(level.shape[1:]) for level in pyramid(torch.zeros(1, 3, 64, 96)).values()]
        [(64, 16, 24), (64, 8, 12), (64, 4, 6), (64, 2, 3), (64, 1, 2)]
    """
    if isinstance(classifier, ResNet):
        return BackboneWithFPN(
            classifier,
            return_layers={stage: str(level) for level, stage in enumerate(STAGES)},
            in_channels_list=[classifier.inplanes // 8 * 2**level for level in range(len(STAGES))],
            out_channels=channels,
        )
    body = _Intermediates(classifier)
    return _Pyramid(body, FeaturePyramidNetwork(body.channels, channels, extra_blocks=LastLevelMaxPool()), channels)


class _Pyramid(nn.Module):
    def __init__(self, body: nn.Module, fpn: nn.Module, out_channels: int) -> None:
        super().__init__()
        self.body = body
        self.fpn = fpn
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """[N, 3, H, W] to maps by name."""
        return self.fpn(self.body(images))


class _Intermediates(nn.Module):
    """The maps of strides 4 to 32 of a network of timm, without its head."""

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        info = list(getattr(classifier, "feature_info", ()))
        at = {entry["reduction"]: index for index, entry in enumerate(info)}
        if not hasattr(classifier, "forward_intermediates") or not at.keys() >= set(STRIDES):
            raise TypeError(
                "a feature pyramid takes a torchvision ResNet such as gcnet.models.resnet50(), or a network of timm "
                f"with maps of strides 4, 8, 16 and 32, got {type(classifier).__name__}"
            )
        self.levels = [at[stride] for stride in STRIDES]
        self.channels = [info[level]["num_chs"] for level in self.levels]
        classifier.prune_intermediate_layers(self.levels, prune_norm=True, prune_head=True)
        self.net = classifier

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """[N, 3, H, W] to maps [N, C, H / s, W / s]."""
        maps = self.net.forward_intermediates(images, indices=self.levels, intermediates_only=True, output_fmt="NCHW")
        return OrderedDict((str(level), map_) for level, map_ in enumerate(maps))
