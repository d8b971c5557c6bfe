"""What a run took and reached: results.json, the curves and the closing lines."""

from __future__ import annotations

import dataclasses
import platform
import resource
import time
from pathlib import Path
from typing import Any

import lightning
import torch
import torchvision
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from gcnet import __version__, insertion
from gcnet.training.curves import draw_curves
from gcnet.training.run_folder import save_json
from gcnet.training.task import Task


class Meter(Callback):
    """Seconds and samples of the training alone, over all interruptions.

    Attributes:
        seconds: between the first and the last batch of every epoch, validation left out.
        samples: trained on, over all processes.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.samples = 0
        self._since: float | None = None

    def on_train_batch_start(self, *_: Any) -> None:
        """Start the clock."""
        self._since = self._since or time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """Count the batch, and the time since the last one."""
        now = time.perf_counter()
        self.seconds += now - (self._since or now)
        self._since = now
        self.samples += pl_module.batch_length(batch) * trainer.world_size

    def on_validation_start(self, *_: Any) -> None:
        """Stop the clock."""
        self._since = None

    def state_dict(self) -> dict[str, Any]:
        """What was counted so far."""
        return {"seconds": self.seconds, "samples": self.samples}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on."""
        self.seconds, self.samples = state_dict["seconds"], state_dict["samples"]


def peak_memory() -> float:
    """Largest memory used so far in MB: of the GPU if there is one, else of this process.

    Example:
        >>> peak_memory() > 10
        True
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if platform.system() == "Darwin" else 1e3)


def write_results(run: Path, task: Task, meter: Meter, scores: dict[str, Any]) -> None:
    """Write results.json and curves.png.

    Args:
        run: its folder.
        task: after the training.
        meter: of the training.
        scores: what the task adds.
    """
    config = task.config
    final, best = task.history[-1], best_epoch(task)
    added = {id(parameter) for parameter in insertion.added_parameters(task.net)} if config.block != "none" else set()
    counts = {id(parameter): parameter.numel() for parameter in task.net.parameters()}
    save_json(
        run / "results.json",
        {
            "score": config.score,
            "final": final[config.score],
            "best": best[config.score],
            "best_epoch": int(best["epoch"]),
            "scores": {name: value for name, value in final.items() if name != "epoch"},
            **scores,
            "parameters": sum(counts.values()),
            "added_parameters": sum(count for key, count in counts.items() if key in added),
            "training_seconds": meter.seconds,
            "samples_per_second": meter.samples / meter.seconds if meter.seconds else None,
            "peak_memory_mb": peak_memory(),
            "versions": {
                "gcnet": __version__,
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
                "lightning": lightning.__version__,
                "python": platform.python_version(),
            },
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
            "threads": torch.get_num_threads(),
            "history": task.history,
            "config": {"task": config.task, **dataclasses.asdict(config)},
        },
    )
    draw_curves(run / "curves.png", task.history, config.score)


def best_epoch(task: Task) -> dict[str, float]:
    """The epoch of the highest score."""
    return max(task.history, key=lambda epoch: epoch[task.config.score])


def closing_lines(run: Path, task: Task, meter: Meter) -> str:
    """The summary that ends a run."""
    score = task.config.score
    final, best = task.history[-1], best_epoch(task)
    rate = f", {meter.samples / meter.seconds:.3g} samples/s" if meter.seconds else ""
    others = [f"{name} {value:.3f}" for name, value in final.items() if name.startswith("val_") and name != score]
    return "\n".join(
        [
            f"{score} {final[score]:.3f} after {len(task.history)} epochs, best {best[score]:.3f} in epoch "
            f"{best['epoch']:.0f}" + (f" ({', '.join(others)})" if others else ""),
            f"trained for {meter.seconds:.0f} s{rate}, at most {peak_memory():,.0f} MB",
            f"best checkpoint {run / 'checkpoints' / 'best.ckpt'}, figure {run / 'curves.png'}",
            f"everything is in {run}",
        ]
    )
