"""Pictures of detections: boxes, masks, names and scores."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from gcnet.training.detection.coco import decode_masks
from gcnet.training.detection.detections import Detections

SURE = 0.5  # scores from which on detections are drawn
_LEAST = 480  # pixels that the shorter side of a picture has at least
_FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def draw(image: Tensor, found: Detections, classes: Sequence[str], least_score: float = SURE) -> Image.Image:
    """An image with what was found in it, small images enlarged.

    Args:
        image: [3, H, W] uint8.
        found: in this image; scores of 1 are not written.
        classes: names, of label 1 first.
        least_score: detections below it are not drawn.

    Example:
        >>> import torch
        >>> box = np.array([[8, 8, 40, 40]], np.float32)
        >>> found = Detections(box, np.array([1]), np.array([0.9], np.float32), None)
        >>> draw(torch.zeros(3, 64, 96, dtype=torch.uint8), found, ["dog"]).size
        (720, 480)
    """
    height, width = image.shape[-2:]
    scale = max(1.0, _LEAST / min(height, width))
    size = (round(width * scale), round(height * scale))
    drawn = [number for number in range(len(found.scores)) if found.scores[number] >= least_score][::-1]
    picture = np.asarray(to_pil_image(image).resize(size, Image.Resampling.BILINEAR), np.float32).copy()
    for number in drawn if found.masks is not None else ():
        mask = decode_masks([found.masks[number]], width, height)[0]  # type: ignore[index]
        inside = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST), bool)
        picture[inside] = 0.5 * picture[inside] + 0.5 * np.array(_colour(int(found.labels[number])))
    result = Image.fromarray(picture.round().astype(np.uint8))
    pen = ImageDraw.Draw(result)
    line = max(2, round(min(size) / 250))
    font = ImageFont.truetype(_FONT, max(13, round(min(size) / 32)))
    for number in drawn:
        score = float(found.scores[number])
        name = classes[found.labels[number] - 1] + ("" if score == 1 else f" {score:.2f}")
        _label(pen, (found.boxes[number] * scale).tolist(), name, _colour(int(found.labels[number])), line, font)
    return result


def _label(
    pen: ImageDraw.ImageDraw,
    box: Sequence[float],
    name: str,
    colour: tuple[int, int, int],
    line: int,
    font: ImageFont.FreeTypeFont,
) -> None:
    """A box with its name above it, or inside where there is no room."""
    pen.rectangle(tuple(box), outline=colour, width=line)
    width, height = pen.textlength(name, font) + 2 * line, sum(font.getmetrics())
    x = max(0, min(box[0], pen.im.size[0] - width))
    y = max(0, box[1] - height if box[1] >= height else box[1])
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    red, green, blue = colour
    ink = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 120 else "white"
    pen.text((x + line, y), name, fill=ink, font=font)


def _colour(label: int) -> tuple[int, int, int]:
    """One colour per label; neighbours differ most."""
    hue = (label * 0.618034) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def side_by_side(pairs: Sequence[tuple[Image.Image, Image.Image]], titles: tuple[str, str]) -> Image.Image:
    """Rows of two pictures each, under two titles.

    Example:
        >>> side_by_side([(Image.new("RGB", (90, 60)), Image.new("RGB", (90, 60)))], ("truth", "found")).size
        (972, 360)
    """
    height, gap, head = 320, 12, 40
    rows = [
        [picture.resize((round(picture.width * height / picture.height), height)) for picture in pair] for pair in pairs
    ]
    columns = [max(row[side].width for row in rows) for side in (0, 1)]
    sheet = Image.new("RGB", (sum(columns) + gap, head + len(rows) * (height + gap) - gap), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(_FONT, 22)
    for side, left in enumerate((0, columns[0] + gap)):
        pen.text((left + 4, 6), titles[side], fill="black", font=font)
        for number, row in enumerate(rows):
            sheet.paste(row[side], (left, head + number * (height + gap)))
    return sheet
