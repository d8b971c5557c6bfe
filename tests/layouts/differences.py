"""The largest difference between what another library computes and what ours makes of its weights, per layout.

``python -m tests.layouts.differences`` prints the table of docs/guides/layouts.md: relative, in float64. Detectors are
measured stage by stage in tests/checkpoints/test_detectors.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import nn
from torchvision.models import get_model
from torchvision.models.resnet import Bottleneck, ResNet

from gcnet.checkpoints.convert import to_ours
from tests.checkpoints.test_convert import SHALLOW, forward_by_hand, named_as_mm, randomise
from tests.checkpoints.test_convert import samples as images
from tests.layouts.sources import SOURCES, distance, ours_of, samples


def of_blocks() -> Iterator[tuple[str, float]]:
    """(layout, difference) of every source of blocks."""
    for source in SOURCES.values():
        tensors, expected = source.make()
        x = samples(source.dims)
        yield source.layout, distance(ours_of(source, tensors)(x), expected(x))


def of_networks() -> Iterator[tuple[str, float]]:
    """(layout and network, difference) of networks that are installed."""
    import timm

    models = timm.models.resnet
    for attention in ("se", "gca", "nl"):
        model = models.ResNet(models.Bottleneck, SHALLOW, num_classes=7, block_args={"attn_layer": attention})
        yield f"timm ResNet, attn_layer={attention!r}", of_network(model)
    yield "timm ResNet, seresnet50", of_network(timm.create_model("seresnet50"))
    for name in ("gcresnet50t", "gcresnet33ts", "gcresnext26ts", "gcresnext50ts"):
        host = timm.create_model(name, num_classes=3)
        yield f"timm GlobalContext, {name}", of_network(timm.create_model(name, num_classes=3), host)
    for name, options in (
        ("mobilenet_v3_small", {"gate_function": "hard_sigmoid"}),
        ("efficientnet_b0", {"activation": "silu"}),
        ("regnet_y_400mf", {}),
    ):
        difference = of_network(get_model(name), get_model(name), "torchvision SqueezeExcitation", options)
        yield f"torchvision SqueezeExcitation, {name}", difference


def of_mm_networks() -> Iterator[tuple[str, float]]:
    """(layout, difference) of bottlenecks called by hand with mmcv's blocks inside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mmcv.cnn import bricks
    for name, block in (
        ("context_block", bricks.ContextBlock(1024, 1 / 16)),
        ("nonlocal_block", bricks.NonLocal2d(1024)),
    ):
        for style in ("pytorch", "caffe"):
            model, x = randomise(ResNet(Bottleneck, SHALLOW, num_classes=6)), images(64, 64)
            blocks = {(3, 0): randomise(block)}
            expected = forward_by_hand(model, x, blocks, caffe=style == "caffe")
            conversion = to_ours(named_as_mm(model, blocks, name), options={"style": style})
            ours = conversion.architecture.build().double().eval()
            ours.load_state_dict(conversion.tensors)
            yield f"mm ResNet, {name}, {style}", distance(ours(x), expected)


def of_network(
    model: nn.Module,
    host: nn.Module | None = None,
    layout: str | None = None,
    options: dict[str, str] | None = None,
) -> float:
    """Difference of a network with random weights; ``host`` is another of it, if ours cannot build one."""
    tensors, x = randomise(model).state_dict(), images(64, 64)
    conversion = to_ours(tensors, layout=layout, options=options)
    if host is None:
        host = conversion.architecture.build()
    else:
        conversion.architecture.insert_into(host)
    host.double().eval().load_state_dict(conversion.tensors)
    return distance(host(x), model(x))


if __name__ == "__main__":
    worst: dict[str, float] = {}
    with torch.no_grad():
        for measure in (of_blocks, of_networks, of_mm_networks):
            for name, difference in measure():
                worst[name] = max(worst.get(name, 0), difference)
    print("\n".join(f"| {name} | {difference:.1e} |" for name, difference in worst.items()))
