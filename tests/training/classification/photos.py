"""Small pictures of two classes that colour tells apart, in every form that data may have."""

import io
import json
import tarfile

import torch
from PIL import Image


def picture(colour, seed, size=(24, 24)):
    """Noise with one bright channel."""
    pixels = torch.randint(
        0, 90, (size[1], size[0], 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
    )
    pixels[..., {"red": 0, "green": 1, "blue": 2}[colour]] += 140
    return Image.fromarray(pixels.numpy())


def encoded(image, kind="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def write_folder(root, classes=("blue", "red"), count=12):
    for name in classes:
        (root / name).mkdir(parents=True)
        for index in range(count):
            picture(name, index).save(root / name / f"{index}.png")
    return root


def write_shard(path, samples):
    """``samples``: name to a dict of extension and bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, members in samples.items():
            for extension, content in members.items():
                info = tarfile.TarInfo(f"{name}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def write_shards(root, train=(7, 5, 8, 4), val=(5, 4), classes=("blue", "red")):
    """Shards of the given sizes; the seed of a picture is its number over all of its split."""
    for split, sizes in (("train", train), ("val", val)):
        number = 0
        for shard, size in enumerate(sizes):
            samples = {}
            for _ in range(size):
                name = classes[number % len(classes)]
                samples[f"{number:04}"] = {"png": encoded(picture(name, number)), "cls": name.encode()}
                number += 1
            write_shard(root / f"{split}-{shard:03}.tar", samples)
    return root


def write_hub(root, count=12, classes=("blue", "red"), **splits):
    """A folder of ``save_to_disk``: one split, or splits of the given sizes."""
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(classes))})

    def table(size):
        labels = [index % len(classes) for index in range(size)]
        images = [picture(classes[label], index) for index, label in enumerate(labels)]
        return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)

    saved = datasets.DatasetDict({name: table(size) for name, size in splits.items()}) if splits else table(count)
    saved.save_to_disk(str(root))
    return root


def labels_json(name):
    return json.dumps({"label": name}).encode()
