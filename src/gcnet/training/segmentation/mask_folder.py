"""Images with a label per pixel, in the folder layouts that data sets come in.

====================  ==========================================  ==================================================
layout                images                                      masks
====================  ==========================================  ==================================================
plain                 ``train/images/<name>.<any>``               ``train/masks/<name>.png``
ADE20K                ``images/training/<name>.jpg``              ``annotations/training/<name>.png``
Cityscapes            ``leftImg8bit/train/<city>/                 ``gtFine/train/<city>/
                      <name>_leftImg8bit.png``                    <name>_gtFine_labelIds.png``
====================  ==========================================  ==================================================

and ``val`` or ``validation`` in the place of ``train`` and ``training``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms.v2.functional import pil_to_tensor

from gcnet.training.data_files import check_all, files_below
from gcnet.training.images import SUFFIXES, read_image
from gcnet.training.loading import BrokenSample
from gcnet.training.segmentation.labels import label_table
from gcnet.training.segmentation.reading import other_size, pair_problem, read_mask


class Pair(NamedTuple):
    """An image file and the file of its labels."""

    image: Path
    mask: Path


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps its files; ``{}`` stands for the split.

    Attributes:
        images: folder of images.
        masks: folder of masks.
        splits: names of the training and of the validation split.
        image_end: what names of images end in; empty for any image file.
        mask_end: what names of masks end in.
    """

    images: str
    masks: str
    splits: tuple[str, str] = ("train", "val")
    image_end: str = ""
    mask_end: str = ".png"

    def pairs(self, root: Path, split: str) -> tuple[Pair, ...]:
        """Images of a split and their masks, in the order of their names.

        Raises:
            FileNotFoundError: a folder is missing or empty, an image without mask, a mask without image.
        """
        images, masks = (root / folder.format(split) for folder in (self.images, self.masks))
        return pair_up(images, masks, self.image_end, self.mask_end)


LAYOUTS = {
    "plain": Layout("{}/images", "{}/masks"),
    "ADE20K": Layout("images/{}", "annotations/{}", ("training", "validation")),
    "Cityscapes": Layout("leftImg8bit/{}", "gtFine/{}", image_end="_leftImg8bit.png", mask_end="_gtFine_labelIds.png"),
}


@dataclass(frozen=True)
class MaskedImageFiles:
    """Files of a data set.

    Attributes:
        layout: its name in :data:`LAYOUTS`.
        train: to train on.
        val: to validate on.
    """

    layout: str
    train: tuple[Pair, ...]
    val: tuple[Pair, ...]


def find_pairs(root: Path) -> MaskedImageFiles:
    """Find the images under ``root`` and their masks, in any of the layouts.

    Raises:
        FileNotFoundError: no layout fits, a folder is missing or empty, images without masks or masks without images,
            all listed.

    Example:
        >>> from gcnet.training.scenes.make import SceneSettings, make_scenes
        >>> root = make_scenes("segmentation", getfixture("tmp_path") / "scenes", SceneSettings(train=3, val=2))
        >>> found = find_pairs(root)
        >>> found.layout, len(found.train), len(found.val)
        ('plain', 3, 2)
    """
    if not root.is_dir():
        raise FileNotFoundError(f"data={root}: no such folder")
    for name, layout in LAYOUTS.items():
        if (root / layout.images.format(layout.splits[0])).is_dir():
            train, val = (layout.pairs(root, split) for split in layout.splits)
            return MaskedImageFiles(name, train, val)
    wanted = ", ".join(f"{layout.images.format(layout.splits[0])} ({name})" for name, layout in LAYOUTS.items())
    raise FileNotFoundError(f"data={root}: holds no images with masks; expected one of {wanted}")


def pair_up(images: Path, masks: Path, image_end: str = "", mask_end: str = ".png") -> tuple[Pair, ...]:
    """Files below two folders that have the same path there, up to what their names end in.

    Raises:
        FileNotFoundError: a folder is missing or empty, images without masks or masks without images.
    """
    for folder in (images, masks):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder; images are in {images}, their masks in {masks}")
    by_image, by_mask = _one_per_key(images, image_end), _one_per_key(masks, mask_end)
    if not by_image:
        raise FileNotFoundError(f"{images}: holds no image ({image_end or ', '.join(SUFFIXES)})")
    alone = [f"{by_image[key]} has no mask {masks / key}{mask_end}" for key in by_image if key not in by_mask]
    alone += [f"{by_mask[key]} has no image" for key in by_mask if key not in by_image]
    if alone:
        more = f"; and {len(alone) - 5} more" if len(alone) > 5 else ""
        raise FileNotFoundError(f"{'; '.join(alone[:5])}{more}")
    return tuple(Pair(path, by_mask[key]) for key, path in by_image.items())


def _one_per_key(folder: Path, end: str) -> dict[str, Path]:
    found = files_by_key(folder, end)
    for paths in found.values():
        if len(paths) > 1:
            raise ValueError(f"{paths[0]} and {paths[1]} would share a mask; rename or remove one of them")
    return {key: paths[0] for key, paths in found.items()}


def files_by_key(folder: Path, end: str = "") -> dict[str, list[Path]]:
    """Files by what an image and its mask have in common: the path below ``folder`` without the end of the name.

    Args:
        folder: of images or of masks.
        end: what their names end in, in upper or lower case; empty for any image file.
    """
    found: dict[str, list[Path]] = {}
    for path in files_below(folder, (Path(f"name{end}").suffix.lower(),) if end else SUFFIXES):
        if path.name.lower().endswith(end.lower()):
            key = path.relative_to(folder).as_posix()[: -len(end or path.suffix)]
            found.setdefault(key, []).append(path)
    return found


class MaskedImages(Dataset[Any]):
    """Images and their masks.

    Args:
        pairs: their files.
        table: value in a mask file -> class index, see :func:`gcnet.training.segmentation.labels.label_table`.
        transform: of an image and its mask; None for none.

    Items:
        What ``transform`` makes of an image [3, H, W] uint8 and its mask [H, W] of class indices.

    Raises:
        BrokenSample: on reading: a broken file, sizes that differ, a label that does not exist. Each names the file.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        table: Mapping[int, int],
        transform: Callable[[Tensor, Tensor], Any] | None = None,
    ) -> None:
        self.pairs = pairs
        self.table = table
        self.transform = transform

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Any:
        pair = self.pairs[index]
        image, mask = pil_to_tensor(read_image(pair.image)), read_mask(pair.mask, self.table)
        if image.shape[1:] != mask.shape:
            raise BrokenSample(other_size(pair.mask, tuple(mask.shape), pair.image, tuple(image.shape[1:])))
        return self.transform(image, mask) if self.transform else (image, mask)


class MaskFolder(MaskedImages):
    """Images of a folder ``images`` with class indices in ``masks/<name>.png`` beside it.

    Args:
        root: folder that holds ``images`` and ``masks``.
        classes: number of labels; a mask with a label beyond them, other than 255, is an error.

    Raises:
        FileNotFoundError: as :func:`pair_up`.

    Example:
        >>> from gcnet.training.scenes.make import SceneSettings, make_scenes
        >>> folder = make_scenes("segmentation", getfixture("tmp_path") / "scenes", SceneSettings(train=2, val=1))
        >>> image, mask = MaskFolder(folder / "val", classes=3)[0]
        >>> image.shape, mask.shape
        (torch.Size([3, 64, 64]), torch.Size([64, 64]))
    """

    def __init__(self, root: Path, classes: int) -> None:
        super().__init__(pair_up(root / "images", root / "masks"), label_table("indices", classes, 255))

    def in_memory(self) -> TensorDataset:
        """Decode every file once and keep the result: images [N, 3, H, W] and masks [N, H, W], both uint8.

        Raises:
            ValueError: the pictures do not all have the size of the first.
        """
        with ThreadPoolExecutor(2) as pool:
            images, masks = zip(*pool.map(self.__getitem__, range(len(self))), strict=True)
        first = self.pairs[0].image
        for pair, image in zip(self.pairs, images, strict=True):
            if image.shape != images[0].shape:
                raise ValueError(other_size(pair.image, tuple(image.shape[1:]), first, tuple(images[0].shape[1:])))
        return TensorDataset(torch.stack(images), torch.stack(masks))


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Read the header of every file.

    Raises:
        ValueError: names the first file that is no image or no mask or has another size than its partner, and how many
            more there are.
    """
    check_all(lambda pair: pair_problem(*pair), pairs)


def class_names(root: Path) -> tuple[str, ...] | None:
    """Names in ``classes.txt`` (one per line) or in the entry ``classes`` of ``meta.json``; None without such a file.

    Raises:
        ValueError: fewer than two names, a name given twice, a damaged file.
    """
    path = next((root / name for name in ("classes.txt", "meta.json") if (root / name).is_file()), None)
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
        names = text.splitlines() if path.suffix == ".txt" else json.loads(text)["classes"]
        names = tuple(name.strip() for name in names if name.strip())
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: holds no list of class names ({type(error).__name__}: {error})") from error
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"{path}: must name two or more different classes, holds {', '.join(names) or 'none'}")
    return names
