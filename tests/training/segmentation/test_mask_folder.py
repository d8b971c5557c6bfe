"""Images and masks are found in every layout, and what is wrong with them is named."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("lightning")

from gcnet.training.loading import BrokenSample
from gcnet.training.segmentation.labels import label_table
from gcnet.training.segmentation.mask_folder import (
    MaskedImages,
    MaskFolder,
    check_pairs,
    class_names,
    find_pairs,
)


def write(path, *size, mode="L", value=0):
    """A picture of one value, of height and width ``size``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size[::-1], value).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Three images of 6x8 with masks."""
    for index in range(3):
        write(tmp_path / "images" / f"{index}.png", 6, 8, mode="RGB")
        write(tmp_path / "masks" / f"{index}.png", 6, 8, value=index)
    return tmp_path


LAYOUTS = {
    "plain": ("{split}/images/{name}.jpg", "{split}/masks/{name}.png", ("train", "val")),
    "ADE20K": ("images/{split}/{name}.jpg", "annotations/{split}/{name}.png", ("training", "validation")),
    "Cityscapes": (
        "leftImg8bit/{split}/bonn/{name}_leftImg8bit.png",
        "gtFine/{split}/bonn/{name}_gtFine_labelIds.png",
        ("train", "val"),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout, tmp_path):
    image, mask, splits = LAYOUTS[layout]
    for split, names in zip(splits, (("b", "a"), ("c",)), strict=True):
        for name in names:
            write(tmp_path / image.format(split=split, name=name), 4, 4, mode="RGB")
            write(tmp_path / mask.format(split=split, name=name), 4, 4)
    if layout == "Cityscapes":
        write(tmp_path / "gtFine/train/bonn/a_gtFine_color.png", 4, 4, mode="RGBA")
    found = find_pairs(tmp_path)
    assert found.layout == layout
    assert [pair.image for pair in found.train] == [
        tmp_path / image.format(split=splits[0], name=name) for name in ("a", "b")
    ]
    assert [pair.mask for pair in found.val] == [tmp_path / mask.format(split=splits[1], name="c")]


def test_no_layout(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_pairs(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"train/images \(plain\), images/training \(ADE20K\)"):
        find_pairs(tmp_path)
    write(tmp_path / "train/images/a.png", 4, 4, mode="RGB")
    with pytest.raises(FileNotFoundError, match=r"train.masks: no such folder"):
        find_pairs(tmp_path)


def test_all_files_that_stand_alone_are_listed(folder):
    (folder / "masks" / "0.png").unlink()
    (folder / "images" / "2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"images.0\.png has no mask .*masks.0\.png; .*2\.png has no image"):
        MaskFolder(folder, 3)
    for index in range(10, 20):
        write(folder / "images" / f"{index}.png", 6, 8, mode="RGB")
    with pytest.raises(FileNotFoundError, match="and 7 more"):
        MaskFolder(folder, 3)


def test_no_image_and_two_of_one_name(folder):
    write(folder / "images" / "0.bmp", 6, 8, mode="RGB")
    with pytest.raises(ValueError, match=r"0\.bmp and .*0\.png would share a mask"):
        MaskFolder(folder, 3)
    for path in (folder / "images").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no image \(\.jpg"):
        MaskFolder(folder, 3)


@pytest.mark.parametrize("kind", ["grey", "palette", "16 bit", "binary"])
def test_kinds_of_masks(kind, folder):
    values = np.arange(48).reshape(6, 8) % (2 if kind == "binary" else 3)
    picture = Image.fromarray(values.astype(np.uint16 if kind == "16 bit" else np.uint8))
    if kind == "palette":
        picture.putpalette([9, 9, 9, 200, 0, 0, 0, 0, 200])
    elif kind == "binary":
        picture = Image.fromarray(values.astype(bool))
    picture.save(folder / "masks" / "1.png")
    mask = MaskFolder(folder, 3)[1][1]
    assert mask.dtype == torch.uint8
    assert mask.tolist() == values.tolist()


def test_labels_of_16_bits_and_many_classes(folder):
    Image.fromarray(np.full((6, 8), 700, np.uint16)).save(folder / "masks" / "0.png")
    data = MaskedImages(MaskFolder(folder, 3).pairs, label_table("indices", 800, 65535))
    assert data[0][1].unique().tolist() == [700]


def test_published_codes(folder):
    write(folder / "masks" / "0.png", 6, 8, value=0)
    write(folder / "masks" / "1.png", 6, 8, value=33)
    pairs = MaskFolder(folder, 3).pairs
    cityscapes = MaskedImages(pairs, label_table("cityscapes_ids", 19, 255))
    assert [cityscapes[index][1].unique().tolist() for index in range(3)] == [[255], [18], [255]]
    ade20k = MaskedImages(pairs, label_table("zero_ignored", 150, 255))
    assert [ade20k[index][1].unique().tolist() for index in range(3)] == [[255], [32], [1]]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: write(root / "masks/1.png", 12, 10), r"masks.1\.png: its size \(12, 10\) differs from \(6, 8\)"),
        (lambda root: (root / "images/1.png").write_bytes(b"x"), r"images.1\.png: cannot be decoded"),
        (lambda root: (root / "masks/1.png").write_bytes(b""), r"masks.1\.png: cannot be read as a mask"),
        (
            lambda root: write(root / "masks/1.png", 6, 8, mode="RGB"),
            r"1\.png.* in one channel .*not colours of mode RGB",
        ),
        (
            lambda root: write(root / "masks/1.png", 6, 8, value=3),
            r"1\.png: holds label 3, but labels are 0 to 2 and 255",
        ),
    ],
)
def test_what_is_wrong_with_a_file(spoil, message, folder):
    spoil(folder)
    data = MaskFolder(folder, 3)
    with pytest.raises(BrokenSample, match=message):
        data[1]
    assert data[0][0].shape == (3, 6, 8)


def test_truncated_file(folder):
    path = folder / "images" / "0.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BrokenSample, match=r"images.0\.png: cannot be decoded"):
        MaskFolder(folder, 3)[0]


def test_headers_tell_before_training(folder):
    pairs = MaskFolder(folder, 3).pairs
    check_pairs(pairs)
    write(folder / "masks" / "0.png", 6, 9)
    write(folder / "masks" / "2.png", 6, 8, mode="RGB")
    with pytest.raises(ValueError, match=r"0\.png: its size \(6, 9\) differs .*; 1 more files"):
        check_pairs(pairs)


def test_photographs_are_turned_upright(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 8)).save(folder / "images" / "1.png", exif=exif)
    data = MaskFolder(folder, 3)
    check_pairs(data.pairs)
    assert data[1][0].shape == (3, 6, 8)


def test_in_memory(folder):
    images, masks = MaskFolder(folder, 3).in_memory().tensors
    assert images.shape == (3, 3, 6, 8)
    assert masks[:, 0, 0].tolist() == [0, 1, 2]
    for kind, mode in (("images", "RGB"), ("masks", "L")):
        write(folder / kind / "1.png", 5, 5, mode=mode)
    with pytest.raises(ValueError, match=r"1\.png: its size \(5, 5\) differs from \(6, 8\) of .*0\.png"):
        MaskFolder(folder, 3).in_memory()


def test_names_of_classes(tmp_path):
    assert class_names(tmp_path) is None
    (tmp_path / "meta.json").write_text(json.dumps({"classes": ["sky", "road"]}))
    assert class_names(tmp_path) == ("sky", "road")
    (tmp_path / "classes.txt").write_text("tree\ncar\n\n")
    assert class_names(tmp_path) == ("tree", "car")
    (tmp_path / "classes.txt").write_text("tree\ntree\n")
    with pytest.raises(ValueError, match=re.escape("classes.txt: must name two or more different classes")):
        class_names(tmp_path)
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(ValueError, match="holds no list of class names"):
        class_names(tmp_path)
