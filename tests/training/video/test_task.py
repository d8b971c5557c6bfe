import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from gcnet.training.video.task import VideoTask
from tests.training.video.settings import settings


class Mean(nn.Module):
    """Logits out of the mean colour of a clip."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(3, classes)
        self.sizes: list[int] = []

    def forward(self, clips):
        self.sizes.append(len(clips))
        return self.fc(clips.mean((2, 3, 4)))


def _validate(task, batches):
    trainer = Trainer(logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")
    return trainer.validate(task, DataLoader(batches, batch_size=None), verbose=False)[0]


def test_a_video_is_judged_by_the_mean_probabilities_of_its_views(tmp_path):
    torch.manual_seed(0)
    classes = [f"class {index}" for index in range(7)]
    net = Mean(len(classes))
    nn.init.normal_(net.fc.weight, std=3)
    task = VideoTask(net, settings(tmp_path, batch_size=4), classes)
    batches = [
        (torch.randint(0, 256, (count, 6, 3, 2, 4, 4), dtype=torch.uint8), torch.randint(0, 7, (count,)))
        for count in (5, 3)
    ]
    scores = _validate(task, batches)
    assert max(net.sizes) == 4

    views, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    colours = (views.double().mean((3, 4, 5)) / 255 - mean) / std
    probabilities = (colours @ net.fc.weight.double().T + net.fc.bias.double()).softmax(-1)
    videos = probabilities.mean(1)
    assert scores["val_top1"] == pytest.approx((videos.argmax(1) == labels).float().mean().item())
    top5 = (videos.topk(5).indices == labels[:, None]).any(1).float().mean().item()
    assert scores["val_top5"] == pytest.approx(top5)
    clips = (probabilities.argmax(2) == labels[:, None]).float().mean().item()
    assert scores["val_clip_top1"] == pytest.approx(clips)
    loss = -videos[range(8), labels].log().mean().item()
    assert scores["val_loss"] == pytest.approx(loss, rel=1e-4)


def test_one_view_has_no_score_of_its_own(tmp_path):
    task = VideoTask(Mean(3), settings(tmp_path), ["a", "b", "c"])
    scores = _validate(task, [(torch.zeros(2, 1, 3, 2, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))])
    assert scores.keys() == {"val_loss", "val_top1"}


def test_training_clips(tmp_path):
    task = VideoTask(Mean(3), settings(tmp_path, label_smoothing=0.1), ["a", "b", "c"])
    clips, labels = torch.randint(0, 256, (4, 3, 2, 8, 8), dtype=torch.uint8), torch.tensor([0, 1, 2, 0])
    losses = task.losses((clips, labels))
    expected = nn.functional.cross_entropy(task(clips), labels, label_smoothing=0.1)
    assert losses.keys() == {"cross_entropy"}
    torch.testing.assert_close(losses["cross_entropy"], expected)
    assert not [name for name in task.state_dict() if "mean" in name.split(".")[0] and "loss" not in name]
