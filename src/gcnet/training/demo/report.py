"""The page that tells what the demonstration showed: one HTML file with its figures inside."""

from __future__ import annotations

import base64
import html
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import TensorDataset

from gcnet.training.demo import figures
from gcnet.training.demo.results import Result, Summary, summarise, table_rows
from gcnet.training.segmentation.scene_net import SceneNet

if TYPE_CHECKING:
    from gcnet.training.demo.comparison import DemoConfig


def write_report(
    folder: Path,
    config: DemoConfig,
    results: Sequence[Result],
    nets: Mapping[str, SceneNet],
    scenes: TensorDataset,
) -> None:
    """Write scenes.png, curves.png and report.html into ``folder``."""
    predictions = figures.predict(nets, scenes)
    chosen = figures.spread_over_brightness(predictions, config.examples)
    attending = next((name for name in ("gc", "snl") if name in nets), None)
    maps = figures.attention_maps(nets[attending], scenes.tensors[0]) if attending else None
    figures.scene_figure(folder / "scenes.png", predictions, chosen, attending, maps)
    figures.curve_figure(folder / "curves.png", results)

    summaries = summarise(results)
    headline, lead = _verdict(summaries)
    text = {
        "headline": headline,
        "lead": lead,
        "digits": config.scenes.digits,
        "base_low": config.scenes.base[0],
        "base_high": config.scenes.base[1],
        "offset": config.scenes.offset,
        "examples": len(chosen),
        "attention": _attention(attending, maps, predictions),
        "val": config.scenes.val,
        "spread": f"Means over {config.seeds} seeds, ± sample standard deviation." if config.seeds > 1 else "",
        "seeds_note": "" if config.seeds > 1 else "One seed is one draw: run with --seeds 3 to see the spread.",
        "device": _device(config.threads),
        "band": "; the band runs from the lowest to the highest seed" if config.seeds > 1 else "",
    }
    colours = {f"colour{label}": colour for label, colour in enumerate(figures.LABEL_COLOURS)}
    settings = json.loads((folder / "config.json").read_text())
    page = Template(files("gcnet.training.demo").joinpath("report.html").read_text()).substitute(
        {key: html.escape(str(value)) for key, value in text.items()},
        table=_table(table_rows(summaries)),
        config=html.escape(json.dumps(settings, indent=2)),
        **colours,
        **{f"{name}_png": _embed(folder / f"{name}.png") for name in ("scenes", "curves")},
    )
    (folder / "report.html").write_text(page)


def _verdict(summaries: Sequence[Summary]) -> tuple[str, str]:
    """Headline and first sentence, from the scores as they are."""
    scores = {summary.block: summary for summary in summaries}
    best = max(summaries, key=lambda summary: summary.miou)
    plain = scores.get("none")
    if plain is None or len(scores) == 1:
        name = figures.title(best.block)
        return (
            f"{name} reaches {best.miou:.3f} mIoU",
            "Train the plain network beside it (--blocks none,gc) to compare.",
        )
    rival = scores.get("gc", max((s for s in summaries if s is not plain), key=lambda summary: summary.miou))
    name, gain, cost = figures.title(rival.block), rival.miou - plain.miou, rival.parameters - plain.parameters
    lead = (
        f"The same small network, trained in the same way, scores {plain.miou:.3f} mIoU plain and {rival.miou:.3f} "
        f"with two {name} blocks, which add {cost:,} parameters to {plain.parameters:,}."
    )
    noise = max(plain.miou_spread or 0, rival.miou_spread or 0, 0.005)
    if gain > 2 * noise:
        return f"Seeing the whole scene: {name} {rival.miou:.2f}, plain {plain.miou:.2f}", lead
    return f"No clear difference: {name} {rival.miou:.3f}, plain {plain.miou:.3f}", (
        lead + " With these settings context did not help beyond the noise; more epochs or more scenes may be needed."
    )


def _attention(name: str | None, maps: NDArray[np.float32] | None, predictions: figures.Predictions) -> str:
    """What the last column shows, with the measured share of attention on the brighter digits."""
    if name is None or maps is None:
        return ""
    share, area = figures.attention_on_bright(maps, predictions.truth)
    return (
        f"The last column is where the second {figures.title(name)} block looks when it collects its context (yellow: "
        f"more): "
        f"one map for the whole scene, on the network's own coarse grid. Over all validation scenes {share:.0%} of it "
        f"lies on brighter digits, which cover {area:.0%} of the area."
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    """HTML rows; the first is the header and the first column the variant."""
    lines = []
    for number, (name, *cells) in enumerate(rows):
        tag = "td" if number else "th"
        shown = [figures.title(name) if number else name, *cells]
        lines.append("<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in shown) + "</tr>")
    return "\n".join(lines)


def _embed(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _device(threads: int) -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {threads} thread{'s' if threads > 1 else ''}"
