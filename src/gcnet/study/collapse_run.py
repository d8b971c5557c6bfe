"""A run's network with its non-local blocks collapsed: made, compared with the original, and written beside the run."""

from __future__ import annotations

import copy
import dataclasses
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm  # type: ignore[import-untyped]

import gcnet
from gcnet.analysis.collapse import CollapseReport, collapse
from gcnet.analysis.table import format_table
from gcnet.insertion.attach import switch
from gcnet.study.comparison import Comparison, compare
from gcnet.study.runs import subject_of
from gcnet.training.checkpointing import checkpoint_path, read_checkpoint
from gcnet.training.evaluate import trained_task, validate
from gcnet.training.experiment import check_classes, open_experiment
from gcnet.training.loading import ALONE
from gcnet.training.run_folder import load_config, new_run_folder, save_json
from gcnet.training.trainer import cpu_threads, quiet_lightning

#: Training images to measure and distil on.
IMAGES = 256


@dataclasses.dataclass(frozen=True)
class CollapsedRun:
    """What :func:`collapse_run` made.

    Attributes:
        folder: holds ``model.safetensors``, which :func:`gcnet.load` reads, and ``report.json``.
        report: of the blocks.
        scores: of the run's own validation: before, after, and with these blocks switched off, which tells how much
            they matter at all.
        comparison: costs and latency before and after.
    """

    folder: Path
    report: CollapseReport
    scores: dict[str, tuple[float, float, float]]
    comparison: Comparison

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "folder": str(self.folder),
            **self.report.to_dict(),
            "scores": self.scores,
            "comparison": self.comparison.to_dict(),
        }

    def __str__(self) -> str:
        scores = [(name, *(f"{value:.4f}" for value in values)) for name, values in self.scores.items()]
        costs = [(*row, "") for row in self.comparison.rows()]
        table = format_table(("", "before", "after", "without these blocks"), [*scores, *costs])
        return f"{self.report}\n\n{table}\n{self.comparison}\neverything is in {self.folder}"


@quiet_lightning()
def collapse_run(
    run: Path, *, data: Path | None = None, checkpoint: str = "best", images: int = IMAGES, **options: Any
) -> CollapsedRun:
    """Collapse the non-local blocks of a trained network; the run itself stays as it is.

    The blocks are measured, and distilled, on training batches of the run, augmented as in the training but not mixed;
    accuracy is measured on its validation samples, which neither sees.

    Args:
        run: its folder, of any task.
        data: laid out as the run's own, and by default that.
        checkpoint: ``"best"`` or ``"last"``.
        images: of the training part to look at, at least.
        options: of :func:`gcnet.analysis.collapse.collapse`.

    Raises:
        QueryDependentError: the attention of every block depends on the query.
        ValueError, FileNotFoundError: no such run or checkpoint; data of other classes; as ``collapse``.
    """
    if images < 1:
        raise ValueError(f"images={images} must be at least 1")
    config = load_config(run)
    mixing: dict[str, Any] = {name: 0.0 for name in ("mixup", "cutmix") if hasattr(config, name)}
    config = dataclasses.replace(config, weights=None, data=data or config.data, **mixing)
    with cpu_threads(config.threads):
        saved = read_checkpoint(checkpoint_path(run, checkpoint))
        experiment = open_experiment(config)
        check_classes(experiment, saved["classes"], run)
        task = trained_task(experiment, saved)
        original = copy.deepcopy(task.net)
        loader = experiment.train_loader(ALONE)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        task.to(device)

        def forward(batch: Any) -> None:
            task.losses(task.transfer_batch_to_device(batch, device, 0))

        torch.manual_seed(config.seed)
        count = min(len(loader), math.ceil(images / config.batch_size))
        batches = tqdm(islice(loader, count), "looking", count, disable=not sys.stderr.isatty())
        report = collapse(task.net, batches, forward=forward, **options)
        collapsed = task.net
        after, _ = validate(experiment, task, run)
        with switched_off([collapsed.get_submodule(block.path) for block in report]):
            without, _ = validate(experiment, task, run)
        task.net = original
        trunks = [subject_of(str(run), net, run, config, experiment.classes).forward for net in (original, collapsed)]
        with first_input(trunks[0]) as seen:
            before, broken = validate(experiment, task, run)
        comparison = compare((original.to(device), collapsed.to(device)), trunks, (1, *seen[0].shape[1:]))
        folder = new_run_folder(run / "collapsed")
        gcnet.save(collapsed, folder / "model.safetensors")
        scores = {name: (before[name], after[name], without[name]) for name in before}
        made = CollapsedRun(folder, report, scores, comparison)
        content = {"checkpoint": checkpoint, **made.to_dict(), "broken_samples": broken}
        save_json(folder / "report.json", {**content, "config": dataclasses.asdict(config)})
    return made


@contextmanager
def switched_off(blocks: Sequence[nn.Module]) -> Iterator[None]:
    """Inside, these blocks hand on what they are given."""
    for block in blocks:
        switch(block, False)
    try:
        yield
    finally:
        for block in blocks:
            switch(block, True)


@contextmanager
def first_input(module: Any) -> Iterator[list[Tensor]]:
    """Collects what a module is called with first."""
    seen: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not seen:
            seen.append(inputs[0])

    handle = module.register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()
