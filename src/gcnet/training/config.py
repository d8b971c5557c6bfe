"""What every training has in common, as one typed, frozen dataclass; each task adds its own fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gcnet.blocks.base import check_choice
from gcnet.blocks.names import BLOCKS

TASKS = ("classification", "detection", "segmentation", "video")
PRECISIONS = ("auto", "32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true")
STAGES = ("stem", "c2", "c3", "c4", "c5")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """A training: data, network with its blocks, optimisation, and how it is run.

    Attributes:
        data: folder, or list, of the task's data.
        backbone: "resnet18" (torchvision's, or else timm's), "torchvision:..." or "timm:...".
        weights: None to start from scratch, "pretrained" to download (or one of several, such as
            "pretrained:IMAGENET1K_V1"), or a file (any that ``gcnet.load`` reads).
        block: none, gc, snl, nl, se, cbam, bam, scse or sk; or MODULE:CLASS of any library, such as
            timm.layers:EcaModule, called with the number of channels and ``block_options``.
        ratio: hidden width / channels of the block; None for the block's default.
        block_options: further options of the block as NAME=VALUE, such as subsample=before or pooling=average.
        stages: where to insert, for ResNet-like networks: out of c2, c3, c4, c5.
        blocks: single residual blocks instead of whole stages, as STAGE:INDEX, from the end if negative: c4:-2 is right
            before the last one of c4.
        match: patterns of module paths instead of stages, for any other network.
        position: after_1x1, after_3x3, after_add or after_block; None for the family's default.
        init: start of the blocks: identity or published.
        norm: batch norms of the host: batch (as they are), fixed (their statistics stay as loaded) or sync (over all
            processes).
        frozen: parts of a ResNet-like host that are not trained: out of stem, c2, c3, c4, c5.
        epochs: passes over the training data.
        batch_size: samples per process and forward pass.
        accumulate: forward passes per step of the optimizer.
        optimizer: adamw or sgd.
        momentum: of SGD.
        nesterov: Nesterov's momentum in SGD.
        lr: peak learning rate of the host.
        lr_batch: samples per step that ``lr`` is meant for; it is scaled in proportion. None: used as it is.
        added_lr: of the inserted blocks, scaled likewise; None for the same as the host.
        weight_decay: of the parameters that decay.
        decay_all: norms and biases decay as well, as in the published COCO recipes.
        schedule: cosine, poly (of power 0.9), steps or constant, after the warm-up.
        milestones: epochs after which steps multiplies the rate by ``gamma``.
        gamma: factor of steps.
        warmup: epochs in which the rate rises linearly.
        warmup_steps: steps in which it rises, instead of epochs.
        warmup_start: share of the rate at which it starts to rise.
        clip: largest norm of the gradient; None for no limit.
        ema: decay per step of an exponential moving average of the weights, which is what is scored; None for none.
        check_files: look at every file before training.
        on_broken: a sample that cannot be read is an error, or is left out and counted (skip).
        workers: processes that load data.
        precision: "32-true", "bf16-mixed" ... (Lightning's words), or "auto" for mixed precision on GPUs.
        devices: processes per machine, one per GPU; 0 for all GPUs, or one process without any.
        nodes: machines. Under torchrun and SLURM, devices and nodes are taken from there.
        strategy: auto, ddp or fsdp (Lightning's words).
        threads: of torch in each process on the CPU; 0 for its own choice.
        deterministic: the same bits from run to run on a GPU too, at the price of speed; on a CPU they are.
        seed: of the start of the network, the order of the data and everything random.
        save_minutes: time between checkpoints within an epoch; there is one after every epoch.
        loggers: out of csv, tensorboard, and the other loggers of Lightning by name: wandb, mlflow, comet, neptune.
        out: folder in which each run makes a new, numbered folder.
    """

    task: ClassVar[str]
    score: ClassVar[str]

    data: Path
    backbone: str
    weights: str | None = None
    block: str
    ratio: float | None = None
    block_options: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    match: tuple[str, ...] = ()
    position: str | None = None
    init: str = "identity"
    norm: str = "batch"
    frozen: tuple[str, ...] = ()
    epochs: int
    batch_size: int
    accumulate: int = 1
    optimizer: str = "adamw"
    momentum: float = 0.9
    nesterov: bool = False
    lr: float
    lr_batch: int | None = None
    added_lr: float | None = None
    weight_decay: float
    decay_all: bool = False
    schedule: str = "cosine"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup: float = 0.0
    warmup_steps: int = 0
    warmup_start: float = 0.0
    clip: float | None = None
    ema: float | None = None
    check_files: bool = True
    on_broken: str = "error"
    workers: int = 2
    precision: str = "auto"
    devices: int = 0
    nodes: int = 1
    strategy: str = "auto"
    threads: int = 0
    deterministic: bool = False
    seed: int = 0
    save_minutes: float = 10.0
    loggers: tuple[str, ...] = ("csv", "tensorboard")
    out: Path

    def __post_init__(self) -> None:
        if ":" not in self.block:
            check_choice("block", self.block, ("none", *BLOCKS))
        check_choice("init", self.init, ("identity", "published"))
        check_choice("norm", self.norm, ("batch", "fixed", "sync"))
        check_choice("optimizer", self.optimizer, ("adamw", "sgd"))
        check_choice("schedule", self.schedule, ("cosine", "poly", "steps", "constant"))
        check_choice("on_broken", self.on_broken, ("error", "skip"))
        check_choice("precision", self.precision, PRECISIONS)
        for part in self.frozen:
            check_choice("frozen", part, STAGES)
        self.check_at_least(1, "epochs", "batch_size", "accumulate", "nodes")
        self.check_at_least(0, "momentum", "weight_decay", "warmup", "warmup_steps", "workers", "devices", "threads")
        self.check_at_least(0, "seed", "save_minutes")
        self.check_positive("lr", "lr_batch", "clip", "gamma")
        self.check_share("warmup_start")
        if self.added_lr is not None and self.added_lr < 0:
            raise ValueError(f"added_lr={self.added_lr} must not be negative; 0 keeps the blocks as they start")
        if self.warmup and self.warmup_steps:
            raise ValueError(f"warmup={self.warmup} epochs and warmup_steps={self.warmup_steps}: give one of them")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema={self.ema} must lie between 0 and 1, such as 0.999")
        if bool(self.milestones) != (self.schedule == "steps"):
            raise ValueError(f"milestones={self.milestones} go with schedule='steps', got schedule={self.schedule!r}")
        if list(self.milestones) != sorted(set(self.milestones)) or not all(self.milestones):
            raise ValueError(f"milestones={self.milestones} must be increasing epochs, such as 8,11")
        if self.block != "none" and sum(map(bool, (self.stages, self.blocks, self.match))) != 1:
            raise ValueError(
                f"stages={self.stages}, blocks={self.blocks} and match={self.match}: give one of them, or block='none'"
            )
        self.block_indices()

    def block_indices(self) -> dict[str, list[int]]:
        """``blocks`` as the indices of each stage.

        Raises:
            ValueError: one that is not STAGE:INDEX.
        """
        indices: dict[str, list[int]] = {}
        for block in self.blocks:
            stage, _, index = block.partition(":")
            if stage not in STAGES[1:] or not index.removeprefix("-").isdecimal():
                raise ValueError(f"blocks={block!r} must be a stage out of c2 to c5 and an index, such as c4:-2")
            indices.setdefault(stage, []).append(int(index))
        return indices

    def check_at_least(self, least: int, *names: str) -> None:
        """Raise ValueError unless the fields of these names are None or at least ``least``."""
        self._check(names, lambda value: value >= least, f"be at least {least}")

    def check_positive(self, *names: str) -> None:
        """Raise ValueError unless the fields of these names are None or positive."""
        self._check(names, lambda value: value > 0, "be positive")

    def check_share(self, *names: str) -> None:
        """Raise ValueError unless the fields of these names are None or from 0 to 1."""
        self._check(names, lambda value: 0 <= value <= 1, "lie between 0 and 1")

    def _check(self, names: tuple[str, ...], holds: Callable[[float], bool], what: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and not holds(value):
                raise ValueError(f"{name}={value} must {what}")
