"""Small networks and helpers for the tests of insertion."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

import gcnet


def randomised(model: nn.Module) -> nn.Module:
    """Weights and statistics of all norms away from their start, so that no branch is zero by construction."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (_BatchNorm, nn.GroupNorm)) and module.weight is not None:
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
            if isinstance(module, _BatchNorm):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 1.5)
    return model


def resnet(block: type[nn.Module] = Bottleneck, layers: tuple[int, ...] = (1, 2, 2, 1), classes: int = 5) -> ResNet:
    """A torchvision ResNet with few blocks of 8 to 64 planes, in eval mode."""
    model = ResNet(block, layers, num_classes=classes, width_per_group=64)
    return randomised(model).eval()


class Plain(nn.Module):
    """A network without stages: three convolutions and a head, in 1D, 2D or 3D."""

    def __init__(self, dims: int = 2, width: int = 16) -> None:
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
        norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dims]
        self.units = nn.ModuleList(
            nn.Sequential(conv(3 if i == 0 else width, width, 3, padding=1), norm(width), nn.ReLU()) for i in range(3)
        )
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        for unit in self.units:
            x = unit(x)
        return self.head(x.flatten(2).mean(2))


def perturb(model: nn.Module) -> nn.Module:
    """Move every added parameter away from identity."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in gcnet.added_parameters(model):
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator).to(parameter)
    return model


def modified(model: nn.Module | None = None, spec: gcnet.BlockSpec | None = None, **options: object) -> nn.Module:
    """A model with perturbed context blocks at c3 and c4."""
    model = resnet() if model is None else model
    options = options or {"stages": ("c3", "c4")}
    gcnet.insert(model, spec or gcnet.GlobalContext.spec(ratio=1 / 8), **options)
    return perturb(model)


def image(size: int = 64, channels: int = 3, dims: int = 2) -> Tensor:
    """A batch of two random inputs."""
    return torch.randn(2, channels, *[size] * dims, generator=torch.Generator().manual_seed(2))


__all__ = ["BasicBlock", "Bottleneck", "Plain", "image", "modified", "perturb", "randomised", "resnet"]
