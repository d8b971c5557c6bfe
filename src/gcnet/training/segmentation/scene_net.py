"""A segmentation network small enough to train in a minute on a CPU, with room for a context block."""

from __future__ import annotations

from torch import Tensor, nn

from gcnet.blocks.base import BlockSpec


class SceneNet(nn.Module):
    """Stem, two residual blocks on a map of a quarter of the size, and a pixel-shuffle head: 35k parameters.

    Its receptive field of 31 pixels reaches the neighbours, not the whole of a 64-pixel scene. ``block`` is built at
    the end of each residual branch, before the shortcut is added: the place called after_1x1.

    Args:
        classes: number of labels per pixel.
        block: the context block, or None for the plain network.
        width: channels of the map.

    Shape:
        [N, 3, H, W] -> [N, classes, H, W], H and W multiples of 4.

    Example:
        >>> import torch
        >>> from gcnet import GlobalContext
        >>> net = SceneNet(3, GlobalContext.spec(ratio=1/4))
        >>> net(torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 3, 64, 64])
    """

    def __init__(self, classes: int, block: BlockSpec | None = None, *, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_norm(3, width // 2, stride=2), nn.ReLU())
        self.block1 = ResidualBlock(width // 2, width, stride=2)
        self.block2 = ResidualBlock(width, width)
        self.head = nn.Sequential(nn.Conv2d(width, classes * 16, 1), nn.PixelShuffle(4))
        if block is not None:  # last, so that one seed gives every variant the same starting weights elsewhere
            self.block1.context = block.build(width)
            self.block2.context = block.build(width)

    def forward(self, x: Tensor) -> Tensor:
        """Logits per pixel."""
        return self.head(self.block2(self.block1(self.stem(x))))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; ``context``, an identity at first, ends the branch."""

    context: nn.Module

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.branch = nn.Sequential(*conv_norm(inputs, outputs, stride=stride), nn.ReLU(), *conv_norm(outputs, outputs))
        self.context = nn.Identity()
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_norm(inputs, outputs, size=1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H / stride, W / stride]."""
        return (self.context(self.branch(x)) + self.shortcut(x)).relu()


def conv_norm(inputs: int, outputs: int, *, size: int = 3, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    """A padded convolution without bias, and its BatchNorm."""
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)
