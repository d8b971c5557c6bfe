"""What a trained network costs, and how long it takes beside the plain one."""

from __future__ import annotations

import io
import platform
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gcnet.ablation.table import without_block
from gcnet.benchmarks.environment import processor_name, usable_cores
from gcnet.benchmarks.timing import Quartiles
from gcnet.study.comparison import compare
from gcnet.training.config import TrainingConfig
from gcnet.training.experiment import open_experiment
from gcnet.training.trainer import cpu_threads


class Measured(NamedTuple):
    """Costs of one network; the fields are those of :class:`gcnet.ablation.row.Row`."""

    parameters: int
    macs: int
    input_shape: tuple[int, ...]
    latency_ms: float
    latency_ratio: Quartiles


def measure(config: TrainingConfig, classes: tuple[str, ...]) -> Measured:
    """Count a network and time it in turn with the plain one, both as they start, in eval mode.

    Args:
        config: of the run.
        classes: of its data.

    Example:
        >>> from gcnet.recipes.classification import classification
        >>> found = measure(classification(Path("photos")), ("a", "b"))  # doctest: +SKIP
        >>> found.latency_ratio.median  # doctest: +SKIP
        1.08
    """
    with cpu_threads(config.threads):
        plain, net = (_network(each, classes) for each in (without_block(config), config))
        shape = input_shape(config)
        found = compare((plain, net), [partial(_call, each) for each in (plain, net)], shape)
    ratio = found.speedup
    return Measured(
        found.params[1],
        found.macs[1],
        shape,
        1e3 * found.seconds[1].median,
        Quartiles(1 / ratio.high, 1 / ratio.median, 1 / ratio.low),
    )


def input_shape(config: Any) -> tuple[int, ...]:
    """One validation input of a task, batch of one included; of detection, a square one.

    Example:
        >>> from pathlib import Path
        >>> from gcnet.recipes.scenes_video import scenes_video
        >>> input_shape(scenes_video(Path()))
        (1, 3, 8, 32, 32)
    """
    if config.task == "classification":
        return 1, 3, config.crop, config.crop
    if config.task == "segmentation":
        return 1, 3, *config.crop_size
    if config.task == "detection":
        return 1, 3, config.image_size[-1], config.image_size[-1]
    return 1, 3, config.frames, config.test_crop, config.test_crop


def hardware() -> dict[str, Any]:
    """The device that a run of this process uses.

    Example:
        >>> sorted(hardware())
        ['cores', 'device', 'machine']
    """
    if torch.cuda.is_available():
        device, count = torch.cuda.get_device_name(), torch.cuda.device_count()
    else:
        device, count = processor_name(), usable_cores()
    return {"device": device, "cores": count, "machine": platform.machine()}


def _network(config: TrainingConfig, classes: tuple[str, ...]) -> nn.Module:
    with redirect_stdout(io.StringIO()):
        net = open_experiment(config, classes).build_network()
    return net.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _call(net: Callable[[Any], Any], images: Tensor) -> Any:
    """A detector takes a list of images."""
    return net(list(images)) if hasattr(net, "roi_heads") else net(images)
