"""Scores agree with their definition written out, losses with torch's, windows with whole images."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

pytest.importorskip("lightning")
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from gcnet.recipes.scenes_segmentation import scenes_segmentation
from gcnet.training.segmentation.network import predict_logits, windows
from gcnet.training.segmentation.task import SegmentationTask, class_iou, mean_iou
from gcnet.training.segmentation.transforms import by_size, normalise

CONFIG = dataclasses.replace(scenes_segmentation(Path("scenes")), examples=2)
CLASSES = ("a", "b", "c", "d")


class Answers(nn.Module):
    """Logits whose largest is the class in the first channel of the image, as its pixels are before normalisation."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        values = (x[:, 0] * CONFIG.std[0] + CONFIG.mean[0]) * 255
        return self.weight * functional.one_hot(values.round().long(), self.classes).movedim(-1, 1).float()


def validate(samples, classes=CLASSES, batch=2, **fields):
    config = dataclasses.replace(CONFIG, **fields)
    task = SegmentationTask(Answers(len(classes)), config, classes)
    loader = DataLoader(samples, batch, collate_fn=by_size)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    return task, trainer.validate(task, loader, verbose=False)[0]


def sample(predicted, truth):
    """An image for :class:`Answers` and its mask."""
    return torch.as_tensor(predicted).expand(3, *truth.shape).to(torch.uint8), truth.to(torch.uint8)


def random_samples(count=5, classes=4, ignored=0.2):
    generator = torch.Generator().manual_seed(0)
    samples = []
    for index in range(count):
        size = (5 + index % 2, 7)
        truth = torch.randint(classes, size, generator=generator)
        wrong = torch.rand(size, generator=generator) < 0.4
        predicted = torch.where(wrong, torch.randint(classes, size, generator=generator), truth)
        truth = torch.where(torch.rand(size, generator=generator) < ignored, 255, truth)
        samples.append(sample(predicted, truth))
    return samples


def written_out(samples, classes):
    """IoU of each class over all pixels at once, None for a class that is neither there nor predicted."""
    pairs = [
        (int(predicted), int(true))
        for image, truth in samples
        for predicted, true in zip(image[0].flatten(), truth.flatten(), strict=True)
        if true != 255
    ]
    scores = []
    for index in range(classes):
        both = sum(predicted == true == index for predicted, true in pairs)
        either = sum(index in pair for pair in pairs)
        scores.append(both / either if either else None)
    return scores, sum(predicted == true for predicted, true in pairs) / len(pairs)


@pytest.mark.filterwarnings("ignore")
class TestScores:
    def test_over_all_pixels_of_images_of_several_sizes(self):
        samples = random_samples()
        expected, accuracy = written_out(samples, 4)
        task, scores = validate(samples)
        assert scores["val_miou"] == pytest.approx(sum(expected) / 4)
        assert scores["val_pixel_accuracy"] == pytest.approx(accuracy)
        assert class_iou(task.confusion).tolist() == pytest.approx(expected)
        assert task.confusion.sum() == sum(int((truth != 255).sum()) for _, truth in samples)

    def test_the_batches_do_not_matter(self):
        one, other = (validate(random_samples(), batch=batch)[0].confusion for batch in (1, 5))
        assert torch.equal(one, other)

    def test_a_class_that_is_not_there_counts_only_where_it_is_mistaken_for_one(self):
        samples = random_samples(classes=3)
        expected, _ = written_out(samples, 4)
        assert expected[3] is None
        assert validate(samples)[1]["val_miou"] == pytest.approx(sum(expected[:3]) / 3)
        samples[0][0][:, 0, 0] = 3
        samples[0][1][0, 0] = 1
        expected, _ = written_out(samples, 4)
        assert expected[3] == 0
        assert validate(samples)[1]["val_miou"] == pytest.approx(sum(expected) / 4)

    def test_loss_is_the_mean_over_labelled_pixels(self):
        samples = random_samples()
        _, scores = validate(samples)
        truth = torch.cat([truth.flatten() for _, truth in samples]).long()
        predicted = torch.cat([image[0].flatten() for image, _ in samples]).long()
        logits = functional.one_hot(predicted, 4).float()
        assert scores["val_loss"] == pytest.approx(functional.cross_entropy(logits, truth, ignore_index=255).item())

    def test_nothing_labelled(self):
        truth = torch.full((4, 4), 255)
        with pytest.raises(ValueError, match="no pixel of the validation masks"):
            validate([sample(0, truth)])

    def test_examples_lie_at_even_distances(self):
        samples = random_samples(count=9)
        task, _ = validate(samples, batch=1, examples=3)
        assert [
            torch.equal(example.image, samples[at][0]) for example, at in zip(task.examples, (1, 4, 7), strict=True)
        ]
        assert all(torch.equal(example.predicted, example.image[0].long()) for example in task.examples)
        assert validate(samples, examples=0)[0].examples == []

    def test_predictions_are_scored_at_the_size_of_the_mask(self):
        truth = torch.ones(8, 8)
        task, scores = validate([(torch.ones(3, 4, 4, dtype=torch.uint8), truth.byte())])
        assert task.confusion.sum() == 64
        assert scores["val_miou"] == 1


def test_mean_iou_of_nothing_right():
    assert mean_iou(torch.tensor([[0, 2], [3, 0]])) == 0


def test_losses_are_means_over_all_pixels():
    torch.manual_seed(0)
    net = nn.Conv2d(3, 4, 1)
    task = SegmentationTask(net, CONFIG, CLASSES)
    images = torch.randint(256, (3, 3, 6, 5), dtype=torch.uint8)
    masks = torch.randint(4, (3, 6, 5))
    logits = net(normalise(images, CONFIG.mean, CONFIG.std))
    loss = task.losses((images, masks))
    assert list(loss) == ["head_loss"]
    torch.testing.assert_close(loss["head_loss"], functional.cross_entropy(logits, masks))
    masks[0], masks[1, 0] = 255, 255
    total = functional.cross_entropy(logits, masks, ignore_index=255, reduction="sum")
    torch.testing.assert_close(task.losses((images, masks))["head_loss"], total / 90)
    parts = [task.losses((images[at : at + 1], masks[at : at + 1]))["head_loss"] for at in range(3)]
    torch.testing.assert_close(torch.stack(parts).mean(), total / 90)
    assert parts[0] == 0


def test_the_auxiliary_loss_is_weighted():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.out, self.aux = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return {"out": self.out(x), "aux": self.aux(x)}

    net = Two()
    fields = {"backbone": "resnet18", "head": "fcn", "auxiliary": 0.4, "match": (), "stages": ("c5",)}
    task = SegmentationTask(net, dataclasses.replace(CONFIG, **fields), CLASSES)
    images, masks = torch.randint(256, (2, 3, 4, 4), dtype=torch.uint8), torch.randint(4, (2, 4, 4))
    losses = task.losses((images, masks))
    expected = functional.cross_entropy(net.aux(normalise(images, CONFIG.mean, CONFIG.std)), masks)
    torch.testing.assert_close(losses["auxiliary_loss"], 0.4 * expected)


@pytest.mark.parametrize(("size", "window", "stride"), [((9, 14), (4, 6), (3, 5)), ((3, 20), (8, 8), (4, 4))])
def test_windows_of_a_pointwise_network_give_the_whole(size, window, stride):
    net = nn.Conv2d(3, 4, 1).double()
    images = torch.randn(2, 3, *size, dtype=torch.double)
    config = dataclasses.replace(CONFIG, window=window, window_stride=stride)
    torch.testing.assert_close(predict_logits(net, images, config), net(images))


def test_windows_cover_every_pixel_and_stay_inside():
    for size in [(5, 5), (6, 13), (20, 7)]:
        seen = torch.zeros(size)
        for rows, columns in windows(size, (6, 6), (4, 5)):
            assert rows.stop <= size[0]
            assert columns.stop <= size[1]
            seen[rows, columns] += 1
        assert seen.min() >= 1


def test_windows_average_where_they_overlap():
    class Left(nn.Module):
        """The number of columns to the left within the window."""

        def forward(self, x):
            return torch.arange(x.shape[-1]).expand(len(x), 1, *x.shape[2:]).to(x)

    config = dataclasses.replace(CONFIG, window=(1, 4), window_stride=(1, 2))
    assert predict_logits(Left(), torch.zeros(1, 3, 1, 6), config).flatten().tolist() == [0, 1, 1, 2, 2, 3]
