"""Small models with blocks, moved away from the identity, for the tests of saving and loading."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_small

import gcnet
from gcnet.models import inflate
from gcnet.models.classifiers import resnet
from tests.blocks.cases import CASES, CHANNELS, perturb
from tests.insertion.nets import randomised


def tiny(**options: object) -> nn.Module:
    """A ResNet of four basic blocks."""
    return randomised(resnet((1, 1, 1, 1), block="basic", num_classes=4, **options)).eval()  # type: ignore[arg-type]


def inserted(spec: gcnet.BlockSpec, model: nn.Module | None = None) -> nn.Module:
    """A ResNet with that block in c3, a second one in the same place of c3, and one that is disabled in c2."""
    model = tiny() if model is None else model
    gcnet.insert(model, spec, stages="c3", position="after_1x1")
    gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 8), stages="c3", position="after_block")
    gcnet.insert(model, gcnet.SqueezeExcite.spec(ratio=1 / 8), stages="c2", fuse_residual=True)
    for parameter in gcnet.added_parameters(model):
        nn.init.normal_(parameter, std=0.1)
    model.layer1[0].context_block.enabled = False
    return model


def swapped() -> nn.Module:
    """torchvision's smallest network with squeeze-excite blocks, which became ours."""
    model = mobilenet_v3_small(num_classes=3).eval()
    gcnet.swap(model)
    return model


def video() -> nn.Module:
    """A 3D network with a block that has 3D kernels."""
    model = inflate(tiny(), {"layer3.*.conv1": 3})
    gcnet.insert(model, gcnet.CBAM.spec(ratio=1 / 8), stages="c4")
    for parameter in gcnet.added_parameters(model):
        nn.init.normal_(parameter, std=0.1)
    return model


def image(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(3))


def features(dims: int = 2) -> Tensor:
    spatial = {2: (6, 5), 3: (3, 4, 5)}[dims]
    return torch.randn(2, CHANNELS, *spatial, generator=torch.Generator().manual_seed(4))


#: Name -> a block alone.
BLOCKS: dict[str, Callable[[], nn.Module]] = {
    case.name: lambda case=case: perturb(case.build()).eval()  # type: ignore[misc]
    for case in CASES
}
