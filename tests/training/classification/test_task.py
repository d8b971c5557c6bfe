"""Losses and scores against their formulas, alone and in two processes."""

import json
import os
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from gcnet.recipes.classification import classification
from gcnet.training.classification.mixing import mix_batch
from gcnet.training.classification.task import ClassificationTask
from tests.training.test_interruptions import processes, ranks

CLASSES = tuple("abcdefg")


def samples(count=23):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 7, generator=generator), torch.randint(0, 7, (count,), generator=generator)


def validate(first, step, **options):
    inputs, labels = samples()
    batches = [(inputs[at : at + 4], labels[at : at + 4]) for at in range(0, 23, 4)][first::step]
    task = ClassificationTask(nn.Identity(), classification(Path("photos")), CLASSES)
    trainer = Trainer(logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", **options)
    (scores,) = trainer.validate(task, DataLoader(batches, batch_size=None), verbose=False)
    return scores, task.confusion


def assert_right(scores, confusion):
    logits, labels = samples()
    best = logits.argmax(1)
    assert scores["val_top1"] == pytest.approx(float((best == labels).float().mean()))
    order = logits.argsort(1, descending=True)[:, :5]
    assert scores["val_top5"] == pytest.approx(float((order == labels[:, None]).any(1).float().mean()))
    assert scores["val_loss"] == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-5)
    wanted = torch.zeros(7, 7, dtype=torch.long)
    for label, taken in zip(labels, best, strict=True):
        wanted[label, taken] += 1
    assert torch.equal(torch.as_tensor(confusion), wanted)


def test_scores_are_of_samples_not_of_batches():
    assert_right(*validate(0, 1))


def _validate_rank(environment, path):
    os.environ.update(environment)
    scores, confusion = validate(int(environment["RANK"]), 2, strategy="ddp", devices=2, use_distributed_sampler=False)
    path.write_text(json.dumps([scores, confusion.tolist()]))


def test_two_processes_count_every_sample_once(tmp_path):
    started = [
        processes.Process(target=_validate_rank, args=(environment, tmp_path / environment["RANK"]))
        for environment in ranks(2)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    for rank in "01":
        assert_right(*json.loads((tmp_path / rank).read_text()))


def test_few_classes_have_no_top5():
    task = ClassificationTask(nn.Identity(), classification(Path("photos")), CLASSES[:5])
    assert task.top5 is None


def test_smoothed_labels():
    task = ClassificationTask(nn.Identity(), classification(Path("photos")), CLASSES, label_smoothing=0.1)
    logits, labels = samples()
    shares = 0.9 * functional.one_hot(labels, 7) + 0.1 / 7
    expected = -(shares * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(task.losses((logits, labels))["cross_entropy"], expected)


def test_mixed_labels():
    images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 7))
    task = ClassificationTask(net, classification(Path("photos")), CLASSES, mixup=1.0)
    torch.manual_seed(0)
    loss = task.losses((images, labels))["cross_entropy"]
    torch.manual_seed(0)
    mixed, targets = mix_batch(images, labels, 7, mixup=1.0)
    torch.testing.assert_close(loss, -(targets * net(mixed).log_softmax(1)).sum(1).mean())


def test_auxiliary_outputs_are_left_out():
    from torchvision.models import googlenet

    net = googlenet(weights=None, num_classes=7, init_weights=False, aux_logits=True)
    task = ClassificationTask(net, classification(Path("photos")), CLASSES).train()
    assert task(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
