"""One training of a classifier on a folder of images, from the configuration to the results."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader

from gcnet import insertion
from gcnet.blocks.base import check_choice
from gcnet.blocks.names import BLOCKS, block_spec
from gcnet.training.backbones import build_backbone, load_weights, read_weights
from gcnet.training.classification.image_folder import (
    ImageFolder,
    LabelledImages,
    check_headers,
    find_images,
    train_transform,
    val_transform,
)
from gcnet.training.classification.task import ClassificationTask
from gcnet.training.curves import classification_curves
from gcnet.training.runs import (
    PRECISIONS,
    RunProgress,
    fit,
    new_run_folder,
    quiet_lightning,
    resolve_precision,
    save_json,
)


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig:
    """Train a classifier, with or without context blocks, on a folder of images.

    Attributes:
        data: folder with train/ and val/ (or test/) of class folders, or of class folders alone.
        backbone: "resnet18" (torchvision's, or else timm's), "torchvision:..." or "timm:...".
        weights: None to start from scratch, "pretrained" to download, or a file with a state dict.
        block: none, gc, snl, nl, se, cbam, bam, scse or sk.
        ratio: hidden width / channels of the block; None for the block's default.
        stages: where to insert, for ResNet-like networks: out of c2, c3, c4, c5.
        match: patterns of module paths instead of stages, for any other network.
        position: after_1x1, after_3x3, after_add or after_block; None for the family's default.
        epochs: passes over the training images.
        batch_size: images per step.
        image_size: height and width in pixels.
        lr: peak learning rate of AdamW.
        added_lr: of the inserted blocks; None for the same.
        weight_decay: of all parameters but norms and biases.
        warmup: share of the steps in which the learning rate rises.
        label_smoothing: share of the target spread over all classes.
        val_fraction: share of the images that validates, where the data has no split of its own.
        check_files: read the header of every file before training.
        workers: processes that decode images.
        precision: "32-true", "bf16-mixed" ... (Lightning's words), or "auto" for mixed precision on GPUs.
        seed: of the start of the network and the order of the data.
        out: folder in which each run makes a new, numbered folder.
    """

    data: Path
    backbone: str
    weights: str | None = None
    block: str
    ratio: float | None = None
    stages: tuple[str, ...]
    match: tuple[str, ...] = ()
    position: str | None = None
    epochs: int
    batch_size: int
    image_size: int
    lr: float
    added_lr: float | None = None
    weight_decay: float
    warmup: float
    label_smoothing: float
    val_fraction: float = 0.2
    check_files: bool = True
    workers: int = 2
    precision: str = "auto"
    seed: int = 0
    out: Path = Path("runs/classification")

    def __post_init__(self) -> None:
        check_choice("block", self.block, ("none", *BLOCKS))
        check_choice("precision", self.precision, PRECISIONS)
        for name in ("epochs", "batch_size", "image_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.lr <= 0 or (self.added_lr is not None and self.added_lr < 0) or self.weight_decay < 0:
            raise ValueError(
                f"lr={self.lr} must be positive, added_lr and weight_decay={self.weight_decay} not negative"
            )
        for name in ("warmup", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 0 and below 1")
        if not 0 < self.val_fraction < 1:
            raise ValueError(f"val_fraction={self.val_fraction} must lie between 0 and 1")
        if self.workers < 0:
            raise ValueError(f"workers={self.workers} must not be negative")

    @classmethod
    def load(cls, run: Path) -> ClassificationConfig:
        """The configuration a run was started with.

        Raises:
            FileNotFoundError: ``run`` is no folder of a run.
        ValueError: the file is damaged.
        """
        path = run / "config.json"
        if not path.is_file():
            raise FileNotFoundError(f"resume={run}: no such run (it has no config.json)")
        try:
            saved = json.loads(path.read_text())
            saved.update({name: Path(saved[name]) for name in ("data", "out")})
            saved.update({name: tuple(saved[name]) for name in ("stages", "match")})
            return cls(**saved)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"resume={run}: {path} is damaged ({type(error).__name__}: {error})") from error


_SAME_ON_RESUME = ("backbone", "block", "ratio", "stages", "match", "position", "image_size", "seed")


@quiet_lightning()
def run_classification(config: ClassificationConfig, resume: Path | None = None) -> Path:
    """Train, validate after every epoch, and save everything in a folder of its own.

    Args:
        config: what to train. Data, backbone and block are checked before training starts.
        resume: folder of an earlier run to continue in, from its last finished epoch.

    Returns:
        The folder: config.json, results.json, curves.png, checkpoints/best.ckpt and last.ckpt, logs/.

    Raises:
        ValueError, FileNotFoundError: naming the argument or the file.
    """
    images = find_images(config.data, config.val_fraction)
    config = dataclasses.replace(config, data=config.data.resolve())  # a run may go on from another folder
    finished = _check_resume(config, resume, images.classes) if resume else 0
    if config.batch_size > len(images.train):
        raise ValueError(f"batch_size={config.batch_size} is more than the {len(images.train)} training images")
    seed_everything(config.seed + finished, verbose=False)  # a resumed run does not repeat the order it began with
    net = build_network(config, len(images.classes))
    _check_runs(net, config.image_size)
    if config.check_files:
        check_headers(images.train + images.val)

    run = resume or new_run_folder(config.out)
    save_json(run / "config.json", config)
    print(f"{len(images.train)} training and {len(images.val)} validation images of {len(images.classes)} classes")
    if images.unused:
        kinds = Counter(path.suffix or "without suffix" for path in images.unused)
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
        print(f"{len(images.unused)} other files are not used ({counts}), such as {images.unused[0]}")
    task = ClassificationTask(
        net,
        images.classes,
        lr=config.lr,
        added_lr=config.added_lr,
        weight_decay=config.weight_decay,
        warmup=config.warmup,
        label_smoothing=config.label_smoothing,
    )
    checkpoints = RunCheckpoint(
        run / "checkpoints",
        filename="best",
        monitor="val_top1",
        mode="max",
        save_last=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    trainer = Trainer(
        max_epochs=config.epochs,
        accelerator="auto",
        devices=1,
        precision=resolve_precision(config.precision),  # type: ignore[arg-type]
        logger=[CSVLogger(run / "logs", name="csv"), TensorBoardLogger(run / "logs", name="", version="tensorboard")],
        callbacks=[checkpoints, RunProgress(f"{config.backbone}, {config.block}", "val_top1")],
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
    )
    started = time.perf_counter()
    try:
        fit(trainer, task, *_loaders(config, images), resume=last_checkpoint(resume) if resume else None)
    except KeyboardInterrupt:
        hint = f"continue with --resume {run}" if task.history else "no epoch was finished, so there is none to resume"
        raise KeyboardInterrupt(f"Stopped after {len(task.history)} of {config.epochs} epochs; {hint}") from None
    _save_results(run, config, images, task, time.perf_counter() - started)
    return run


class RunCheckpoint(ModelCheckpoint):
    """Checkpoints of a run that may have been moved or copied since they were written."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best score and path, in the folder as it is now."""
        folder = Path(self.dirpath or ".")

        def moved(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        best = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        here = {name: moved(state_dict[name]) for name in paths}
        super().load_state_dict({**state_dict, **here, "best_k_models": best, "dirpath": self.dirpath})


def _check_runs(net: nn.Module, size: int) -> None:
    """Raise ValueError unless the network takes images of this size."""
    net.eval()
    try:
        with torch.no_grad():
            net(torch.zeros(2, 3, size, size))
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"image_size={size}: {type(net).__name__} does not run on such images ({reason})") from error
    finally:
        net.train()


def build_network(config: ClassificationConfig, classes: int) -> nn.Module:
    """The backbone with its blocks; prints where they went. Weights of a network with blocks are loaded after them."""
    weights = config.weights
    from_file = None if weights in (None, "pretrained") else read_weights(Path(str(weights)))
    with_blocks = from_file is not None and any(".context_block" in name for name in from_file)
    net = build_backbone(config.backbone, classes, weights if from_file is None else None)
    if from_file is not None and not with_blocks:
        load_weights(net, from_file, source=str(weights))
    spec = block_spec(config.block, config.ratio, init="identity")
    if spec is not None:
        where: dict[str, Any] = {"match": config.match} if config.match else {"stages": config.stages}
        print(insertion.insert(net, spec, position=config.position, **where))
    if from_file is not None and with_blocks:
        load_weights(net, from_file, source=str(weights))
    return net


def last_checkpoint(run: Path) -> Path:
    """Checkpoint of the last finished epoch of a run; FileNotFoundError if there is none."""
    path = run / "checkpoints" / "last.ckpt"
    if not path.is_file():
        raise FileNotFoundError(f"resume={run}: has no checkpoint to continue from ({path} does not exist)")
    return path


def _check_resume(config: ClassificationConfig, run: Path, classes: tuple[str, ...]) -> int:
    """Epochs the run has finished; raises unless it can go on under ``config``."""
    saved = ClassificationConfig.load(run)
    path = last_checkpoint(run)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        finished, trained = len(checkpoint["history"]), tuple(checkpoint["classes"])
    except Exception as error:
        raise ValueError(
            f"resume={run}: {path} is damaged or no checkpoint of a classifier ({type(error).__name__}); the weights "
            f"of the best epoch may be whole: --weights {path.with_name('best.ckpt')}"
        ) from error
    if trained != classes:
        raise ValueError(
            f"data={config.data}: its classes are {', '.join(classes)}; {run} was trained on {', '.join(trained)}"
        )
    if finished >= config.epochs:
        raise ValueError(f"epochs={config.epochs}: {run} has finished {finished}; ask for more to go on")
    for name in _SAME_ON_RESUME:
        if getattr(config, name) != getattr(saved, name):
            now, before = getattr(config, name), getattr(saved, name)
            raise ValueError(f"{name}={now!r} differs from {before!r} of {run}; a resumed run keeps its network")
    return finished


def _loaders(config: ClassificationConfig, images: ImageFolder) -> tuple[DataLoader[Any], DataLoader[Any]]:
    shared: dict[str, Any] = {
        "batch_size": config.batch_size,
        "num_workers": config.workers,
        "persistent_workers": config.workers > 0,
        "pin_memory": torch.cuda.is_available(),
    }
    train = LabelledImages(images.train, train_transform(config.image_size))
    val = LabelledImages(images.val, val_transform(config.image_size))
    return DataLoader(train, shuffle=True, drop_last=True, **shared), DataLoader(val, **shared)


def _save_results(
    run: Path, config: ClassificationConfig, images: ImageFolder, task: ClassificationTask, seconds: float
) -> None:
    """Write results.json and curves.png, print the last line."""
    final, best = task.history[-1], max(task.history, key=lambda epoch: epoch["val_top1"])
    added = insertion.added_parameters(task.net) if config.block != "none" else []
    save_json(
        run / "results.json",
        {
            "top1": final["val_top1"],
            "top5": final.get("val_top5"),
            "best_top1": best["val_top1"],
            "best_epoch": int(best["epoch"]),
            "per_class": dict(zip(images.classes, task.per_class, strict=True)) if task.per_class else None,
            "parameters": sum(parameter.numel() for parameter in task.net.parameters()),
            "added_parameters": sum(parameter.numel() for parameter in added),
            "seconds": seconds,
            "history": task.history,
            "config": dataclasses.asdict(config),
        },
    )
    classification_curves(run / "curves.png", task.history)
    top5 = f", top-5 {final['val_top5']:.1%}" if "val_top5" in final else ""
    print(
        f"top-1 {final['val_top1']:.1%}{top5} after {len(task.history)} epochs "
        f"(best {best['val_top1']:.1%} in epoch {best['epoch']:.0f}); everything is in {run}"
    )
