"""Networks of all tasks, files and names, opened to look into."""

import dataclasses
from pathlib import Path

import pytest
import torch
from PIL import Image

pytest.importorskip("lightning")

import gcnet
from gcnet.recipes.scenes_segmentation import scenes_segmentation
from gcnet.study.subject import open_subject
from gcnet.training.loading import BrokenSample
from tests.study.saved_runs import photo_config, save_run
from tests.training.detection.configs import config as detection
from tests.training.video.files import moving_bar, write_video
from tests.training.video.settings import settings as video


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (60, 40), (200, 10, 10)).save(path)
    return path


def test_a_classifier_sees_pictures_as_in_its_validation(tmp_path, image):
    net = save_run(tmp_path / "run", photo_config(tmp_path))
    subject = open_subject(str(tmp_path / "run"))
    assert (subject.kind, subject.classes, subject.data) == ("image", ("cat", "dog"), tmp_path)
    view = subject.see(image)
    assert view.name == "red.png"
    assert view.input.shape == (3, 32, 32)
    assert view.picture[:, 16, 16].tolist() == [200, 10, 10]
    assert torch.equal(subject(view.input[None]), net(view.input[None]))
    assert torch.equal(subject.see(Image.open(image)).input, view.input)


def test_a_segmenter_sees_whole_pictures(tmp_path, image):
    config = dataclasses.replace(scenes_segmentation(tmp_path), block="gc")
    save_run(tmp_path / "run", config, ("background", "thing"))
    subject = open_subject(str(tmp_path / "run"))
    view = subject.see(image)
    assert view.picture.shape == (3, 40, 60)
    assert (view.picture[:, 0, 0].tolist(), subject.classes) == ([200, 10, 10], ())
    with gcnet.capture(subject.net) as maps:
        subject(view.input[None])
    assert len(maps) > 0


def test_a_detector_shows_what_it_pads_and_runs_its_backbone_only(tmp_path):
    net = save_run(tmp_path / "run", detection(tmp_path, block="nl", ratio=None))
    subject = open_subject(str(tmp_path / "run"))
    view = subject.see(Image.new("RGB", (50, 40), (200, 10, 10)))
    height, width = view.picture.shape[1:]
    assert height % 32 == width % 32 == 0
    assert abs(view.picture[:, 0, 0] - torch.tensor([200, 10, 10], dtype=torch.uint8)).max() <= 1
    assert view.picture[:, -1, -1].tolist() == [0, 0, 0]
    with gcnet.capture(subject.net) as maps:
        features = subject(view.input[None])
    assert all(path.startswith("backbone.") for path in maps)
    assert features.keys() == net.backbone(view.input[None]).keys()


def test_a_video_classifier_sees_the_middle_view(tmp_path):
    save_run(tmp_path / "run", video(tmp_path))
    subject = open_subject(str(tmp_path / "run"))
    path = write_video(tmp_path / "bar.mp4", moving_bar(1, 0), size=(32, 24))
    view = subject.see(path)
    assert subject.kind == "video"
    assert view.picture.shape == view.input.shape
    assert view.picture.dtype == torch.uint8
    assert subject(view.input[None]).shape == (1, 2)
    with pytest.raises(BrokenSample, match="give a video file"):
        subject.see(Image.new("RGB", (8, 8)))


def test_a_file_in_the_folder_of_a_run_is_seen_as_the_run_is(tmp_path, image, monkeypatch):
    save_run(tmp_path / "run", photo_config(tmp_path))
    subject = open_subject(str(tmp_path / "run"))
    (tmp_path / "run" / "collapsed").mkdir()
    path = gcnet.save(subject.net, tmp_path / "run" / "collapsed" / "model.safetensors")
    again = open_subject(str(path))
    assert (again.classes, again.run) == (("cat", "dog"), (tmp_path / "run").absolute())
    view = again.see(image)
    assert view.input.shape == (3, 32, 32)
    assert torch.equal(again(view.input[None]), subject(view.input[None]))
    of_checkpoint = open_subject(str(tmp_path / "run" / "checkpoints" / "last.ckpt"))
    assert torch.equal(of_checkpoint(view.input[None]), subject(view.input[None]))
    monkeypatch.chdir(tmp_path)
    assert open_subject("run/checkpoints/best.ckpt").run == (tmp_path / "run").absolute()


def test_a_file_elsewhere(tmp_path, image):
    net = gcnet.models.resnet50(num_classes=3)
    gcnet.insert(net, gcnet.NonLocal.spec(), stages="c4", blocks=(-2,))
    path = gcnet.save(net, tmp_path / "model.safetensors")
    assert open_subject(str(path), size=64).see(image).input.shape == (3, 64, 64)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("timm:test_vit", None, 160),
        ("resnet18", None, 224),
        ("torchvision:resnet18", 96, 96),
        ("timm:test_resnet", 64, 64),
    ],
)
def test_names_take_the_published_size_or_another(name, size, expected, image):
    subject = open_subject(name, size=size)
    view = subject.see(image)
    assert view.input.shape == (3, expected, expected)
    assert subject(view.input[None]).shape == (1, 1000)
    assert not subject.trained


def test_names_show_the_published_share_of_the_picture():
    picture = Image.new("RGB", (320, 320))
    picture.paste((255, 255, 255), (0, 0, 17, 320))  # outside of the 7/8 that torchvision's evaluation shows
    picture.paste((0, 255, 0), (40, 0, 60, 320))
    shown = open_subject("resnet18").see(picture).picture
    assert shown[0].max() < 60
    assert shown[1, :, 24].min() > 200


def test_weights_of_a_name_from_a_file(tmp_path, image):
    plain = open_subject("timm:test_resnet")
    path = tmp_path / "weights.pth"
    torch.save(plain.net.state_dict(), path)
    again = open_subject("timm:test_resnet", weights=str(path))
    inputs = plain.see(image).input[None]
    assert again.trained
    assert torch.equal(again(inputs), plain(inputs))


def test_names_with_downloaded_weights_know_their_classes(monkeypatch):
    from torchvision import models

    state = models.resnet18().state_dict()
    monkeypatch.setattr(models.ResNet18_Weights, "get_state_dict", lambda self, **options: state)
    subject = open_subject("resnet18", weights="pretrained")
    assert subject.trained
    assert subject.classes[0] == "tench"


class Hostile:
    def __reduce__(self):
        return print, ("executed",)


def test_a_hostile_checkpoint_is_refused_in_one_line(tmp_path, capsys):
    save_run(tmp_path / "run", photo_config(tmp_path))
    torch.save(Hostile(), tmp_path / "run" / "checkpoints" / "best.ckpt")
    with pytest.raises(
        ValueError, match="holds more than tensors and plain values; nothing in it was executed"
    ) as error:
        open_subject(str(tmp_path / "run"))
    assert "\n" not in str(error.value)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("run", {"size": 64}, "size=64: .* is of a run"),
        ("run", {"weights": "a.pth"}, "leave weights out"),
        ("run", {"checkpoint": "first"}, "first"),
        ("nowhere/001", {}, "no such run or file"),
        ("nowhere.pth", {}, "no such run or file"),
        ("resnet81", {}, "did you mean"),
        ("resnet18", {"checkpoint": "last"}, "goes with the folder of a run"),
        ("resnet18", {"size": 0}, "size=0 must be at least 1"),
        ("timm:test_vit", {"size": 100}, "size=100"),
        ("empty", {}, "no such run"),
    ],
)
def test_errors(tmp_path, monkeypatch, name, options, message):
    monkeypatch.chdir(tmp_path)
    save_run(Path("run"), photo_config(tmp_path))
    Path("empty").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_subject(name, **options)
