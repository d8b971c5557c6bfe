"""A segmentation network small enough to train in a minute on a CPU, with room for a context block."""

from __future__ import annotations

from torch import Tensor, nn

#: Where a context block goes: to the end of each residual branch, before the shortcut is added (after_1x1).
BLOCK_SITES = ("block*.branch",)

#: Of the pixels of context scenes.
SCENE_MEAN, SCENE_STD = (0.3, 0.3, 0.3), (0.25, 0.25, 0.25)


class SceneNet(nn.Module):
    """Stem, two residual blocks on a map of a quarter of the size, and a pixel-shuffle head: 35k parameters.

    Its receptive field of 31 pixels reaches the neighbours, not the whole of a 64-pixel scene.

    Args:
        classes: number of labels per pixel.
        width: channels of the map.

    Shape:
        [N, 3, H, W] -> [N, classes, H, W].

    Example:
        >>> import gcnet, torch
        >>> net = SceneNet(3)
        >>> print(gcnet.insert(net, gcnet.GlobalContext.spec(ratio=1/4), match=BLOCK_SITES))
        path                         position     block          channels  parameters
        block1.branch.context_block  after_block  GlobalContext        32         601
        block2.branch.context_block  after_block  GlobalContext        32         601
        inserted 2 blocks, 1,202 parameters
        >>> net(torch.rand(2, 3, 50, 64)).shape
        torch.Size([2, 3, 50, 64])
    """

    def __init__(self, classes: int, *, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_norm(3, width // 2, stride=2), nn.ReLU())
        self.block1 = ResidualBlock(width // 2, width, stride=2)
        self.block2 = ResidualBlock(width, width)
        self.head = nn.Sequential(nn.Conv2d(width, classes * 16, 1), nn.PixelShuffle(4))

    def forward(self, x: Tensor) -> Tensor:
        """Logits per pixel."""
        height, width = x.shape[2:]
        return self.head(self.block2(self.block1(self.stem(x))))[..., :height, :width]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.branch = nn.Sequential(*conv_norm(inputs, outputs, stride=stride), nn.ReLU(), *conv_norm(outputs, outputs))
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_norm(inputs, outputs, size=1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H / stride, W / stride]."""
        return (self.branch(x) + self.shortcut(x)).relu()


def conv_norm(inputs: int, outputs: int, *, size: int = 3, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    """A padded convolution without bias, and its BatchNorm."""
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)
