"""Folders of Hugging Face datasets: columns, splits, labels, and what is wrong with them."""

import dataclasses
import json

import pytest
from torchvision.transforms.v2.functional import pil_to_tensor

pytest.importorskip("datasets")

import datasets

from gcnet.recipes.classification import classification
from gcnet.training.classification.hub_folder import find_rows, is_hub_folder
from gcnet.training.loading import BrokenSample
from tests.training.classification.photos import encoded, picture, write_folder, write_hub


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    datasets.disable_progress_bars()


def save(root, columns, features=None, split=None):
    table = datasets.Dataset.from_dict(columns, features=features and datasets.Features(features))
    (datasets.DatasetDict({split: table}) if split else table).save_to_disk(str(root))
    return classification(root)


def test_one_split_is_divided_per_class(tmp_path):
    config = classification(write_hub(tmp_path / "data", 20))
    assert is_hub_folder(config.data)
    found = find_rows(config)
    assert found.classes == ("blue", "red")
    assert found.summary == "16 training and 4 validation images of 2 classes in a Hugging Face data set"
    assert sorted(label for _, label in found.rows["val"]) == [0, 0, 1, 1]
    assert not {row for row, _ in found.rows["train"]} & {row for row, _ in found.rows["val"]}
    row, label = found.rows["train"][3]
    image, given = found.dataset("train", pil_to_tensor)[3]
    assert given == label == row % 2
    assert (image == pil_to_tensor(picture(found.classes[label], row))).all()


@pytest.mark.parametrize("name", ["validation", "val", "test"])
def test_splits(tmp_path, name):
    found = find_rows(classification(write_hub(tmp_path, **{"train": 6, name: 4})))
    assert [len(found.rows[split]) for split in ("train", "val")] == [6, 4]
    assert len(found.dataset("val", pil_to_tensor)) == 4


def test_splits_without_training(tmp_path):
    with pytest.raises(ValueError, match="has the splits a, b; expected train and validation or test"):
        find_rows(classification(write_hub(tmp_path, a=4, b=4)))


def test_parquet(tmp_path):
    images = [{"bytes": encoded(picture("red", index)), "path": None} for index in range(10)]
    table = datasets.Dataset.from_dict({"photo": images, "kind": ["rose", "daisy"] * 5})
    table = table.cast_column("photo", datasets.Image())
    (tmp_path / "data").mkdir()
    table.to_parquet(str(tmp_path / "data" / "train-00000-of-00001.parquet"))
    config = classification(tmp_path)
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files: https://nowhere/a.parquet\n---\n"
    )
    assert is_hub_folder(tmp_path)
    with pytest.raises(ValueError, match="label_column is not clear, there are none among photo, kind; name it"):
        find_rows(config)
    found = find_rows(dataclasses.replace(config, label_column="kind"))
    assert found.classes == ("daisy", "rose")
    image, label = found.dataset("train", pil_to_tensor)[0]
    assert image.shape == (3, 24, 24)
    assert label == 0


def test_images_with_metadata(tmp_path):
    write_folder(tmp_path / "train", count=4)
    rows = [{"file_name": f"{name}/{index}.png", "label": name} for name in ("blue", "red") for index in range(4)]
    (tmp_path / "train" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert is_hub_folder(tmp_path)
    found = find_rows(classification(tmp_path))
    assert found.classes == ("blue", "red")
    assert found.dataset("val", pil_to_tensor)[0][0].shape == (3, 24, 24)


def test_folders_of_images_are_left_alone(tmp_path):
    assert not is_hub_folder(write_folder(tmp_path))


def test_columns_that_are_not_clear(tmp_path):
    images = [picture("red", index) for index in range(4)]
    config = save(tmp_path / "a", {"first": images, "second": images, "label": [0, 1, 0, 1]})
    with pytest.raises(ValueError, match=r"image_column is not clear.*several candidates \(first, second\); name it"):
        find_rows(config)
    assert find_rows(dataclasses.replace(config, image_column="second")).image_column == "second"
    with pytest.raises(ValueError, match=r"image_column='secnd' .*did you mean 'second'"):
        find_rows(dataclasses.replace(config, image_column="secnd"))


def test_labels_that_cannot_be(tmp_path):
    images = [picture("red", index) for index in range(4)]
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}
    with pytest.raises(ValueError, match="row 2 has the label -1, not 0 to 1"):
        find_rows(save(tmp_path / "a", {"image": images, "label": [0, 1, -1, 0]}, kinds))
    with pytest.raises(ValueError, match="row 3 has no label; fill it"):
        find_rows(save(tmp_path / "b", {"image": images, "label": ["x", "y", "x", None]}))
    with pytest.raises(ValueError, match="one class only"):
        find_rows(save(tmp_path / "c", {"image": images, "label": ["x"] * 4}))
    with pytest.raises(ValueError, match="class 'y' holds one image"):
        find_rows(save(tmp_path / "d", {"image": images, "label": ["x", "x", "x", "y"]}))


def test_images_that_cannot_be_read_are_named(tmp_path):
    images = [{"bytes": encoded(picture("red", 0))[:200], "path": None}, None] + [picture("red", 1)] * 2
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}
    found = find_rows(save(tmp_path, {"image": images, "label": [0, 1, 0, 1]}, kinds))
    wrong = {}
    for split in ("train", "val"):
        samples = found.dataset(split, pil_to_tensor)
        for index in range(len(samples)):
            try:
                samples[index]
            except BrokenSample as error:
                wrong[found.rows[split][index][0]] = str(error)
    assert wrong.keys() == {0, 1}
    with pytest.raises(ValueError, match=r"row 1 of train: has no image\. Repair or remove it"):
        found.check()
    assert "row 0 of " in wrong[0]
    assert "cannot be decoded" in wrong[0]
    assert "has no image" in wrong[1]


def test_damaged_folders_are_named(tmp_path):
    write_hub(tmp_path)
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be loaded by Hugging Face datasets"):
        find_rows(classification(tmp_path))
