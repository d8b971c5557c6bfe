"""Write the frozen files of this version: ``python -m tests.checkpoints.freeze``. A file that exists is never touched.

``NAME.safetensors`` is what gcnet.save wrote of a small model; ``NAME.expected.safetensors`` an input, and what the
model made of it in float64. To keep the files small, hosts are not in them: their weights are a formula.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import gcnet
from gcnet.checkpoints.writer import write
from gcnet.models import inflate, mask_rcnn
from gcnet.models.classifiers import resnet
from tests.blocks.cases import CASES, perturb

FOLDER = Path(__file__).parent / "frozen"
EXPECTED = ".expected"


class Own(nn.Module):
    """A few layers under no name that gcnet knows."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
        self.attention: nn.Module = nn.Identity()
        self.head = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, 4, H - 2, W - 2]."""
        return self.head(self.attention(self.stem(x)))


def fill(host: nn.Module) -> nn.Module:
    """Give a host weights that depend on no random generator: waves as large as a usual start."""
    for number, value in enumerate(host.state_dict().values()):
        if value.is_floating_point():
            wave = torch.arange(value.numel(), dtype=torch.float64).mul_(0.37 + number).sin_().reshape(value.shape)
            value.copy_(wave * value[0].numel() ** -0.5 if value.dim() > 1 else 1 + wave / 2)
    return host.eval()


def run(model: nn.Module, x: Tensor) -> Tensor:
    """The output in float64; of a detector, one level of its pyramid."""
    model = model.double().eval()
    with torch.no_grad():
        y: Any = (model.backbone if hasattr(model, "roi_heads") else model)(x)  # type: ignore[operator]
    return y["2"] if isinstance(y, dict) else y


def _tiny() -> nn.Module:
    return resnet((1, 1, 1, 1), block="basic", num_classes=4)


def _several(model: nn.Module) -> None:
    """Three blocks in one host: one takes over its end, one is disabled."""
    gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 16), stages="c2", fuse_residual=True)
    gcnet.insert(model, gcnet.CBAM.spec(ratio=1 / 16), stages="c2", position="after_block")
    (third,) = gcnet.insert(model, gcnet.SqueezeExcite.spec(ratio=1 / 16), stages="c2", position="after_3x3")
    model.get_submodule(third.path).enabled = False


def _within(model: nn.Module) -> None:
    gcnet.insert(model, gcnet.NonLocal.spec(ratio=1 / 4, norm=True), match="stem.2")
    gcnet.insert(model, gcnet.ContextBlock.spec(ratio=1 / 4), match="attention")


def _volume(model: nn.Module) -> None:
    gcnet.insert(model, gcnet.SCSE.spec(ratio=1 / 8), stages="c2")


def _wide(model: nn.Module) -> None:
    gcnet.insert(model, gcnet.GlobalContext.spec(hidden=2, init="published"), stages="c2", position="after_3x3")


def _efficientnet() -> nn.Module:
    import timm

    return timm.create_model("test_efficientnet", num_classes=3)


#: Name -> host, what is done to it, shape of an input.
HOSTS: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Any], tuple[int, ...]]] = {
    "own": (Own, _within, (2, 3, 8, 8)),
    "resnet": (_tiny, _several, (1, 3, 16, 16)),
    "caffe": (lambda: resnet((1, 1, 1, 1), stride_in_1x1=True), _wide, (1, 3, 16, 16)),
    "inflated": (lambda: inflate(_tiny(), {"layer1.*": 3}), _volume, (1, 3, 2, 16, 16)),
    "mask_rcnn": (lambda: mask_rcnn(_tiny(), 3, min_size=64, box_nms_thresh=0.3), _several, (1, 3, 16, 16)),
    "swapped": (_efficientnet, gcnet.swap, (1, 3, 16, 16)),
}


def _freeze(name: str, model: nn.Module, shape: tuple[int, ...], folder: Path, *, added_only: bool) -> None:
    gcnet.save(model, folder / f"{name}.safetensors", added_only=added_only)
    x = torch.randn(shape, dtype=torch.float64)
    write(folder / f"{name}{EXPECTED}.safetensors", {"x": x, "y": run(model, x)})


def freeze(folder: Path) -> list[str]:
    """Write what is missing in ``folder``; the names written."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    written = []
    for case in CASES:
        name = f"block_{case.name}"
        if not (folder / f"{name}.safetensors").exists():
            _freeze(name, perturb(case.build(channels=16)), (2, 16, 6, 5), folder, added_only=False)
            written.append(name)
    for name, (build, change, shape) in HOSTS.items():
        if not (folder / f"{name}.safetensors").exists():
            model = fill(build())
            change(model)
            perturb(nn.ModuleList(m for m in model.modules() if isinstance(m, gcnet.Block)), 0.3)
            _freeze(name, model, shape, folder, added_only=True)
            written.append(name)
    return written


if __name__ == "__main__":
    target = FOLDER / gcnet.__version__.rpartition(".")[0]
    print(f"{target}: {', '.join(freeze(target)) or 'nothing is missing'}")
