"""Lightning's Trainer as a configuration asks for it."""

from importlib.util import find_spec

import pytest

pytest.importorskip("lightning")

from lightning.pytorch.callbacks import EMAWeightAveraging, LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from gcnet.training.checkpointing import WholeFiles
from gcnet.training.trainer import build_logger, build_trainer, quiet_lightning
from tests.training.toy import toy_config


@quiet_lightning()
def trainer(tmp_path, **fields):
    return build_trainer(toy_config(tmp_path, **fields), tmp_path, [])


def test_what_is_asked_for(tmp_path):
    made = trainer(tmp_path, accumulate=4, clip=35.0, ema=0.99, epochs=7, loggers=("csv", "tensorboard"))
    assert (made.accumulate_grad_batches, made.gradient_clip_val, made.max_epochs) == (4, 35.0, 7)
    assert [type(logger) for logger in made.loggers] == [CSVLogger, TensorBoardLogger]
    kinds = [type(callback) for callback in made.callbacks]
    assert EMAWeightAveraging in kinds
    assert LearningRateMonitor in kinds
    assert isinstance(made.strategy.checkpoint_io, WholeFiles)


def test_nothing_more(tmp_path):
    made = trainer(tmp_path)
    assert made.loggers == []
    extra = EMAWeightAveraging | LearningRateMonitor
    assert not [callback for callback in made.callbacks if isinstance(callback, extra)]


def test_loggers_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"loggers='tensorbord' is not one of .*tensorboard"):
        build_logger("tensorbord", tmp_path)
    if find_spec("wandb") is None:
        with pytest.raises(ValueError, match="loggers='wandb': its library is not installed: pip install wandb"):
            build_logger("wandb", tmp_path)
