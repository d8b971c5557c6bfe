"""Pixels of any kind of file, and which file is to blame."""

import pytest
from PIL import Image

pytest.importorskip("torchvision")

from torchvision.transforms.v2.functional import pil_to_tensor

from gcnet.training.classification.image_folder import LabelledImages
from gcnet.training.data_files import check_all
from gcnet.training.images import header_problem, read_image, to_rgb, upright_size
from gcnet.training.loading import BrokenSample
from tests.training.classification.photos import encoded, picture


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "CMYK"])
def test_any_mode_becomes_three_channels(tmp_path, mode):
    path = tmp_path / "picture.tif"
    Image.new(mode, (30, 20)).save(path)
    image, label = LabelledImages([(path, 1)], pil_to_tensor)[0]
    assert image.shape == (3, 20, 30)
    assert label == 1


def test_pictures_become_upright_8_bit_rgb(tmp_path):
    Image.new("I;16", (3, 2), 32768).save(tmp_path / "16.png")
    with Image.open(tmp_path / "16.png") as grey:
        assert to_rgb(grey).getpixel((0, 0)) == (128, 128, 128)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "phone.jpg", exif=exif)
    assert read_image(tmp_path / "phone.jpg").size == upright_size(tmp_path / "phone.jpg") == (30, 40)
    Image.new("F", (3, 2), 0.5).save(tmp_path / "float.tiff")
    with pytest.raises(BrokenSample, match=r"float.tiff: cannot be decoded \(floating-point"):
        read_image(tmp_path / "float.tiff")


def test_truncated_images_are_named(tmp_path):
    path = tmp_path / "0.jpg"
    path.write_bytes(encoded(picture("red", 0, size=(200, 200)), "JPEG")[:3000])
    assert header_problem(path, str(path)) is None  # its header is whole
    with pytest.raises(BrokenSample, match=r"0\.jpg: cannot be decoded .* Repair or remove it"):
        read_image(path)
    with pytest.raises(BrokenSample, match=r"train\.tar: 7: cannot be decoded"):
        read_image(path.read_bytes(), "train.tar: 7")


def test_a_damaged_header_is_named(tmp_path):
    path = tmp_path / "size.ppm"
    path.write_bytes(b"P6\n4x 4\n255\n" + bytes(48))
    assert "size.ppm: cannot be read as an image" in header_problem(path, str(path))


def test_headers(tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_bytes(b"not a picture")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    files = [tmp_path / name for name in ("empty.jpg", "text.jpg", "gone.png")]
    with pytest.raises(ValueError, match=r"empty\.jpg: cannot be read as an image \(it is empty\); 2 more .*skip"):
        check_all(lambda path: header_problem(path, str(path)), files)
    for path in files:
        with pytest.raises(BrokenSample, match=f"{path.name}: cannot be read as an image"):
            upright_size(path)


def test_a_decompression_bomb_is_no_image(tmp_path, monkeypatch):
    Image.new("RGB", (40, 30)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BrokenSample, match=r"bomb\.png: cannot be read as an image"):
        upright_size(tmp_path / "bomb.png")
