"""``gcnet cost``: what blocks add to a network, and the paper's tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
import tyro

from gcnet.analysis.cost import Cost, ModuleCost
from gcnet.analysis.cost import cost as count
from gcnet.analysis.table import format_table, with_unit
from gcnet.insertion.options import STAGES, insert_named, parse_size

_CONTAINERS = ("backbone", "body", "features", "stages", "blocks", "layers")


@dataclass(frozen=True)
class Arguments:
    """Count parameters, multiply-adds and activation bytes of a network with and without blocks.

    Nothing is computed or allocated. `gcnet cost --paper` counts every row of the GCNet paper's tables.
    """

    backbone: tyro.conf.Positional[str] = ""
    """torchvision name, timm:NAME, mask_rcnn:NAME, slow_only_r50 or resnext101_32x4d."""
    block: str = "gc"
    """gc, snl, nl, se, cbam, bam, scse, sk or none."""
    ratio: str = ""
    """Hidden width / channels, such as 1/16; by default the block's own."""
    stages: str = ""
    """Such as c3-c5 or c3,c5. By default c3-c5, unless --match is given."""
    blocks: tuple[int, ...] = ()
    """Residual blocks of each stage, from 0; negative ones from the end. By default all."""
    match: str = ""
    """Module-path pattern for networks without stages, such as "stages.*.blocks.*"."""
    position: str = ""
    """after_1x1, after_3x3, after_add or after_block. By default that of the network's family."""
    input: str = ""
    """Size of one sample, such as 3x224x224; by default the usual one of the network."""
    paper: bool = False
    """Count the paper's tables instead."""
    json: bool = False
    """Print JSON."""


def cost(argv: list[str]) -> int:
    """Run ``gcnet cost`` with these arguments; print the result.

    Returns:
        0, or 2 after an error, which is printed to stderr.

    Example:
        >>> from gcnet.analysis.cli import cost
        >>> cost(["resnet50", "--block", "none", "--input", "3x64x64"])
        resnet50, input 1x3x64x64
        ...
        0
    """
    try:
        arguments = tyro.cli(Arguments, args=argv, prog="gcnet cost", config=(tyro.conf.FlagCreatePairsOff,))
        text = _paper(arguments.json) if arguments.paper else _compare(arguments)
    except (ModuleNotFoundError, ValueError, TypeError, KeyError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    print(text)
    return 0


def _paper(as_json: bool) -> str:
    from gcnet.analysis.paper import count_paper, format_paper

    rows = count_paper()
    return json.dumps([asdict(row) for row in rows], indent=2) if as_json else format_paper(rows)


def _compare(arguments: Arguments) -> str:
    if not arguments.backbone:
        raise ValueError("name a backbone, such as resnet50, or give --paper")
    from gcnet.analysis.backbones import backbone

    with torch.device("meta"):
        model, size = backbone(arguments.backbone)
    shape = (1, *(parse_size(arguments.input) if arguments.input else size))
    host = count(model, shape)
    spec = insert_named(
        model,
        arguments.block,
        ratio=arguments.ratio,
        stages=arguments.stages,
        match=arguments.match,
        blocks=arguments.blocks,
        position=arguments.position,
    )
    full = count(model, shape) if spec else host
    if arguments.json:
        return json.dumps(
            {
                "backbone": arguments.backbone,
                "block": repr(spec) if spec else None,
                "input": list(shape),
                "host": host.to_dict(),
                "with_block": full.to_dict(),
                "difference": {name: getattr(full, name) - getattr(host, name) for name in _COLUMNS},
            },
            indent=2,
        )
    title = f"{arguments.backbone}, input {'x'.join(map(str, shape))}"
    if spec:
        title += f"\n{len(full.blocks)} x {spec!r}"
    return f"{title}\n\n{_table(host, full)}" + (f"\n{_shares(host, full)}" if spec else "")


_COLUMNS = {"params": "parameters", "macs": "multiply-adds", "activation_bytes": "activation bytes"}


def _table(host: Cost, full: Cost) -> str:
    """Host and what the blocks add, for every part of the network that has parameters."""
    inserted = full is not host
    head = ["part"]
    for title in _COLUMNS.values():
        head += [title, "+ blocks"] if inserted else [title]
    rows = []
    for label, path in (*_parts(host.modules), ("total", "")):
        cells = [label]
        for name in _COLUMNS:
            before, after = getattr(host.modules[path], name), getattr(full.modules[path], name)
            cells.append(with_unit(before))
            if inserted:
                cells.append(with_unit(after - before, signed=True) if after != before else "")
        rows.append(cells)
    return format_table(head, rows)


def _shares(host: Cost, full: Cost) -> str:
    """What the blocks add, in percent of the host."""
    shares = [
        f"{100 * (getattr(full, name) / before - 1):+.2f} % {title}"
        for name, title in _COLUMNS.items()
        if (before := getattr(host, name))
    ]
    return f"blocks: {', '.join(shares)}"


def _parts(modules: Mapping[str, ModuleCost], parent: str = "") -> list[tuple[str, str]]:
    """(label, path) of the parts of a network: its children with parameters, containers opened, stages named."""
    parts: list[tuple[str, str]] = []
    for path in _children(modules, parent):
        name = path.rpartition(".")[2]
        if not modules[path].params:
            continue
        if name in _CONTAINERS and 1 < len(_children(modules, path)) <= 12:
            parts += _parts(modules, path)
        elif name in ("layer1", "layer2", "layer3", "layer4"):
            parts.append((STAGES[int(name[-1]) - 1], path))
        else:
            parts.append((path, path))
    return parts


def _children(modules: Mapping[str, ModuleCost], parent: str) -> list[str]:
    return [path for path in modules if path and path.rpartition(".")[0] == parent]
