"""The demonstration: the same small network with and without context, on context scenes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from gcnet.blocks.base import BlockSpec
from gcnet.blocks.names import block_spec
from gcnet.insertion import insert
from gcnet.training.demo.report import write_report
from gcnet.training.demo.results import Result, print_table, summarise
from gcnet.training.progress import RunProgress
from gcnet.training.run_folder import new_run_folder, save_json
from gcnet.training.scenes.compose import CLASS_NAMES, SceneSettings
from gcnet.training.scenes.make import make_scenes
from gcnet.training.segmentation.config import SegmentationConfig
from gcnet.training.segmentation.mask_folder import MaskFolder
from gcnet.training.segmentation.scene_net import BLOCK_SITES, SCENE_MEAN, SCENE_STD, SceneNet
from gcnet.training.segmentation.task import SegmentationTask, class_iou
from gcnet.training.segmentation.transforms import by_size
from gcnet.training.trainer import cpu_threads, fit, quiet_lightning


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """A comparison of blocks on context scenes.

    Attributes:
        blocks: variants to train: none, gc, snl, nl, se, cbam, bam, scse, sk.
        seeds: runs per variant, with seeds 0, 1, ...; a seed fixes the start of the network and the order of the data.
        epochs: passes over the training scenes.
        batch_size: scenes per step.
        lr: peak of the one-cycle learning rate.
        weight_decay: of AdamW.
        width: channels of the network's map.
        ratio: hidden width / channels of gc and se; the others keep their own default.
        examples: validation scenes in the figure.
        threads: of torch on the CPU. For so small a network one is the steadiest: two are quicker on an idle machine
            and several times slower on a busy one.
        out: folder in which each start makes a new, numbered folder.
        scenes: what the scenes look like and how many there are.
    """

    blocks: tuple[str, ...]
    seeds: int = 1
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    width: int
    ratio: float
    examples: int = 6
    threads: int = 1
    out: Path = Path("runs/demo")
    scenes: SceneSettings

    def __post_init__(self) -> None:
        for name in ("seeds", "epochs", "batch_size", "width", "examples", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if not self.lr > 0 or self.weight_decay < 0:
            raise ValueError(f"lr={self.lr} must be positive and weight_decay={self.weight_decay} not negative")
        if not self.blocks or len(set(self.blocks)) != len(self.blocks):
            raise ValueError(f"blocks={','.join(self.blocks)!r} must name at least one variant, each once: none,gc")
        if self.width % 2:
            raise ValueError(f"width={self.width} must be even")
        if self.batch_size > self.scenes.train:
            raise ValueError(f"batch_size={self.batch_size} is more than the {self.scenes.train} training scenes")
        for name in self.blocks:
            self.spec(name)

    def spec(self, name: str) -> BlockSpec | None:
        """The block of a variant as this comparison builds it."""
        spec = block_spec(name, self.ratio if name in ("gc", "se") else None)
        if spec is not None:
            spec.parameter_count(self.width)
        return spec

    def network(self, name: str) -> SceneNet:
        """The network of a variant; the random state gives all of them the same weights outside the blocks."""
        net = SceneNet(len(CLASS_NAMES), width=self.width)
        spec = self.spec(name)
        if spec is not None:
            insert(net, spec, match=BLOCK_SITES)
        return net

    def training(self, name: str, seed: int, data: Path) -> SegmentationConfig:
        """The settings of one training."""
        return SegmentationConfig(
            data=data,
            backbone="scene_net",
            head="none",
            block=name,
            match=BLOCK_SITES,
            mean=SCENE_MEAN,
            std=SCENE_STD,
            crop_size=(self.scenes.size, self.scenes.size),
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            weight_decay=self.weight_decay,
            examples=0,
            seed=seed,
        )


class OneCycleTask(SegmentationTask):
    """Segmentation under a one-cycle schedule."""

    def configure_optimizers(self) -> Any:
        """AdamW, all of whose parameters decay, and its schedule per step."""
        lr, steps = self.config.lr, int(self.trainer.estimated_stepping_batches)
        optimizer = torch.optim.AdamW(self.parameters(), lr=lr, weight_decay=self.config.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def run_demo(config: DemoConfig) -> Path:
    """Make the scenes, train every variant, print the scores, write figures and a report.

    Returns:
        The folder of this run: report.html, results.json, config.json, scenes.png, curves.png, weights and logs per
        training, and the data. Stopped by Ctrl-C, it holds what was finished.
    """
    folder = new_run_folder(config.out)
    save_json(folder / "config.json", config)
    data = make_scenes("segmentation", folder / "data", config.scenes)
    print(f"Wrote {config.scenes.train} training and {config.scenes.val} validation scenes to {data}")
    train, val = (MaskFolder(data / split, len(CLASS_NAMES)).in_memory() for split in ("train", "val"))

    results: list[Result] = []
    nets: dict[str, SceneNet] = {}
    try:
        with quiet_lightning(), cpu_threads(config.threads):
            for seed in range(config.seeds):
                for name in config.blocks:
                    result, net = train_one(config, name, seed, train, val, folder)
                    results.append(result)
                    nets.setdefault(name, net)
                    save_json(folder / "results.json", {"summary": summarise(results), "runs": results})
    except KeyboardInterrupt:
        total = config.seeds * len(config.blocks)
        raise KeyboardInterrupt(f"Stopped: {len(results)} of {total} trainings were finished; see {folder}") from None
    print_table(summarise(results))
    write_report(folder, config, results, nets, val)
    print(f"Everything is in {folder}; open {folder / 'report.html'}")
    return folder


def train_one(
    config: DemoConfig, name: str, seed: int, train: TensorDataset, val: TensorDataset, folder: Path
) -> tuple[Result, SceneNet]:
    """Train one variant with one seed; its log and weights go to ``folder/<name>-seed<seed>``."""
    seed_everything(seed, verbose=False)
    net = config.network(name)
    task = OneCycleTask(net, config.training(name, seed, folder / "data"), CLASS_NAMES)
    run = folder / f"{name}-seed{seed}"
    started = time.perf_counter()
    trainer = Trainer(
        max_epochs=config.epochs,
        accelerator="auto",
        devices=1,
        logger=CSVLogger(folder, name="", version=run.name),
        callbacks=[RunProgress(f"{name:>4}, seed {seed}", "val_miou")],
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
    )
    order = torch.Generator().manual_seed(seed)
    train_loader = DataLoader(train, config.batch_size, shuffle=True, drop_last=True, generator=order)
    fit(trainer, task, (train_loader, DataLoader(val, 100, collate_fn=by_size)))
    seconds = time.perf_counter() - started
    net = net.cpu().eval()
    torch.save(net.state_dict(), run / "weights.pt")
    history = tuple(epoch["val_miou"] for epoch in task.history)
    result = Result(
        block=name,
        seed=seed,
        miou=history[-1],
        iou=dict(zip(CLASS_NAMES, class_iou(task.confusion).tolist(), strict=True)),
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        seconds=seconds,
        history=history,
    )
    return result, net
