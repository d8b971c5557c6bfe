"""Images with a label per pixel, read from a folder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset


class MaskFolder(Dataset[tuple[Tensor, Tensor]]):
    """Pairs ``images/<name>.png`` and ``masks/<name>.png`` of a folder, in the order of their names.

    Args:
        root: folder that holds ``images`` and ``masks``.
        classes: number of labels; a mask with a label beyond them is an error.

    Items:
        Image [3, H, W] uint8 and mask [H, W] uint8.

    Raises:
        FileNotFoundError: a folder or a mask is missing, or there is no image.
        ValueError: on reading: a broken file, sizes that differ, a label that does not exist. Each names the file.

    Example:
        >>> from gcnet.training.scenes.compose import SceneSettings, write_scenes
        >>> folder = write_scenes(getfixture("tmp_path") / "scenes", SceneSettings(train=2, val=1))
        >>> image, mask = MaskFolder(folder / "val", classes=3)[0]
        >>> image.shape, mask.shape
        (torch.Size([3, 64, 64]), torch.Size([64, 64]))
    """

    def __init__(self, root: Path, classes: int) -> None:
        self.classes = classes
        for folder in (root / "images", root / "masks"):
            if not folder.is_dir():
                raise FileNotFoundError(f"{folder}: no such folder; expected {root} to hold images/ and masks/")
        self.images = sorted((root / "images").glob("*.png"))
        self.masks = [root / "masks" / image.name for image in self.images]
        if not self.images:
            raise FileNotFoundError(f"{root / 'images'}: holds no .png file")
        missing = [mask for mask in self.masks if not mask.is_file()]
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise FileNotFoundError(f"{missing[0]}: the mask of an image is missing{more}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = _read(self.images[index], "RGB").permute(2, 0, 1).contiguous()
        mask = _read(self.masks[index], "L")
        if image.shape[1:] != mask.shape:
            sizes = f"{tuple(mask.shape)} differs from {tuple(image.shape[1:])} of its image"
            raise ValueError(f"{self.masks[index]}: the size {sizes} {self.images[index]}")
        if (label := int(mask.max())) >= self.classes:
            raise ValueError(f"{self.masks[index]}: holds label {label}, but labels run from 0 to {self.classes - 1}")
        return image, mask

    def in_memory(self) -> TensorDataset:
        """Decode every file once and keep the result: images [N, 3, H, W] and masks [N, H, W], both uint8.

        Raises:
            ValueError: the pictures do not all have the size of the first.
        """
        with ThreadPoolExecutor(2) as pool:
            images, masks = zip(*pool.map(self.__getitem__, range(len(self))), strict=True)
        for path, image in zip(self.images, images, strict=True):
            if image.shape != images[0].shape:
                first = f"{tuple(images[0].shape[1:])} of {self.images[0].name}"
                raise ValueError(f"{path}: its size {tuple(image.shape[1:])} differs from {first}")
        return TensorDataset(torch.stack(images), torch.stack(masks))


def _read(path: Path, mode: str) -> Tensor:
    try:
        with Image.open(path) as picture:
            if mode == "L" and picture.mode not in ("L", "P"):
                raise ValueError(f"{path}: a mask needs one 8-bit channel (mode L or P), got mode {picture.mode}")
            array = np.array(picture if mode == "L" else picture.convert(mode))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path}: cannot be read as an image ({error})") from error
    return torch.from_numpy(array)
