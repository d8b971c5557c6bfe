"""Lightning's Trainer as a configuration asks for it."""

from __future__ import annotations

import importlib
import inspect
import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch.utils.data import DataLoader

from gcnet.blocks.base import check_choice
from gcnet.training.checkpointing import WholeFiles
from gcnet.training.config import PRECISIONS, TrainingConfig
from gcnet.training.distributed import is_first, processes

OTHER_LOGGERS = {"wandb": "WandbLogger", "mlflow": "MLFlowLogger", "comet": "CometLogger", "neptune": "NeptuneLogger"}


def build_trainer(config: TrainingConfig, run: Path, callbacks: list[Callback]) -> Trainer:
    """The trainer of a run.

    Args:
        config: precision, devices, strategy, accumulation, clipping, averaging, loggers.
        run: folder of logs.
        callbacks: besides those that the configuration asks for.

    Raises:
        ValueError: a logger that is unknown or not installed.
    """
    devices, nodes = processes(config)
    loggers = [build_logger(name, run / "logs") for name in config.loggers]
    if config.ema is not None:
        callbacks = [EMAWeightAveraging(decay=config.ema), *callbacks]
    if loggers:
        callbacks = [LearningRateMonitor("step"), *callbacks]
    return Trainer(
        max_epochs=config.epochs,
        accelerator="auto",
        devices=devices,
        num_nodes=nodes,
        strategy=config.strategy,
        precision=resolve_precision(config.precision),  # type: ignore[arg-type]
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.clip,
        deterministic="warn" if config.deterministic else None,
        logger=loggers,
        callbacks=callbacks,
        plugins=[] if config.strategy == "fsdp" else [WholeFiles()],
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        use_distributed_sampler=False,
    )


def build_logger(name: str, folder: Path) -> Logger:
    """A logger of Lightning by name, writing into ``folder`` where it writes at all.

    Raises:
        ValueError: an unknown name, or its library is not installed.
    """
    check_choice("loggers", name, ("csv", "tensorboard", *OTHER_LOGGERS))
    if name == "csv":
        return CSVLogger(folder, name="csv")
    if name == "tensorboard":
        return TensorBoardLogger(folder, name="", version="tensorboard")
    kind = getattr(importlib.import_module(f"lightning.pytorch.loggers.{name}"), OTHER_LOGGERS[name])
    options = {"save_dir": str(folder)} if "save_dir" in inspect.signature(kind).parameters else {}
    try:
        logger: Logger = kind(**options)
    except ModuleNotFoundError as error:
        raise ValueError(f"loggers={name!r}: its library is not installed: pip install {name} ({error})") from error
    return logger


def resolve_precision(precision: str) -> str:
    """Lightning's ``precision``; ``"auto"`` is automatic mixed precision on CUDA GPUs and float32 elsewhere.

    Example:
        >>> resolve_precision("auto") in ("32-true", "bf16-mixed", "16-mixed")
        True
    """
    check_choice("precision", precision, PRECISIONS)
    if precision != "auto":
        return precision
    if not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's start-up notes and its advice on workers; real warnings still show, once."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for advice in (
                ".*does not have many workers.*",
                ".*lower value for log_every_n_steps.*",
                ".*exists and is not empty.*",  # resuming writes on into the run's own folder
                ".*isinstance.*LeafSpec.*",  # Lightning's use of a renamed part of torch
                ".*sync_dist=True.*",  # torchmetrics and Task synchronise by themselves
                ".*in eval mode at the start of training.*",  # frozen parts and fixed norms are meant to be
            ):
                warnings.filterwarnings("ignore", message=advice)
            if not is_first():
                warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Torch computes with ``count`` CPU threads inside (0: as before), and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit(
    trainer: Trainer,
    task: LightningModule,
    data: LightningDataModule | tuple[DataLoader[Any], DataLoader[Any]],
    resume: Path | None = None,
) -> None:
    """``trainer.fit``; Ctrl-C raises KeyboardInterrupt here, where Lightning would end the process.

    Args:
        trainer: of the run.
        task: to train.
        data: a data module, or a training and a validation loader.
        resume: Lightning checkpoint to continue from.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    loaders: dict[str, Any] = (
        {"datamodule": data}
        if isinstance(data, LightningDataModule)
        else {"train_dataloaders": data[0], "val_dataloaders": data[1]}
    )
    try:
        trainer.fit(task, **loaders, ckpt_path=resume, weights_only=True if resume else None)
    except SystemExit:
        if not trainer.interrupted:
            raise
    if trainer.interrupted:
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt
