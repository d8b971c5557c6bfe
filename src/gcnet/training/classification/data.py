"""The form in which classification data lies in a folder."""

from __future__ import annotations

from gcnet.training.classification.config import ClassificationConfig
from gcnet.training.classification.hub_folder import find_rows, is_hub_folder
from gcnet.training.classification.image_folder import find_images
from gcnet.training.classification.image_source import ImageSource
from gcnet.training.classification.shards import find_shards, has_shards


def find_data(config: ClassificationConfig) -> ImageSource:
    """Open what lies at ``config.data``: shards, a Hugging Face data set, or else folders of images.

    Raises:
        ValueError, FileNotFoundError: naming the field or the file that is wrong.

    Example:
        >>> from PIL import Image
        >>> from gcnet.recipes.classification import classification
        >>> root = getfixture("tmp_path")
        >>> for name in ("cat", "dog"):
        ...     (root / name).mkdir()
        ...     for index in range(5):
        ...         Image.new("RGB", (8, 8)).save(root / name / f"{index}.png")
        >>> find_data(classification(root)).summary
        '8 training and 2 validation images of 2 classes'
    """
    if has_shards(config):
        return find_shards(config)
    if config.data.is_dir() and is_hub_folder(config.data):
        return find_rows(config)
    for name in ("image_column", "label_column"):
        if getattr(config, name) is not None:
            raise ValueError(f"{name}={getattr(config, name)!r} does not go with a folder of images, {config.data}")
    return find_images(config.data, config.val_fraction)
