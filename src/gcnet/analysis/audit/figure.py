"""An audit as a picture: distance per layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gcnet.analysis.audit.report import QUANTITIES, Audit, BlockAudit

#: Colour and marker; the colours are Okabe and Ito's, which colour-blind readers can tell apart.
_STYLES = {
    "input": ("#000000", "o"),
    "output": ("#0072b2", "s"),
    "attention": ("#d55e00", "D"),
    "divergence": ("#009e73", "^"),
}
_COLUMN, _PAGE = 3.5, 7.2  # widths of a paper's column and page in inches
_MANY = 10  # layers that need a page
_NAME = 36  # characters of a name that fit into a column
_LINEAR = 1e-3  # below it, the axis is linear and reaches 0


def draw_audit(audit: Audit, path: Path) -> None:
    """Draw the averages of every layer with their intervals, to a file of any type that matplotlib writes.

    Distances span orders of magnitude: the axis is logarithmic down to 0.001 and linear from there to 0. Heads are
    small and pale, behind the mean of their layer. Hollow: 0 by construction.

    Args:
        audit: to draw.
        path: such as ``audit.png``; as wide as a column, or as a page from 11 layers on.

    Raises:
        ModuleNotFoundError: matplotlib is missing.

    Example:
        >>> import torch, gcnet
        >>> from gcnet.analysis.audit import audit
        >>> found = audit(gcnet.GlobalContext(32, ratio=1 / 4), [torch.randn(2, 32, 6, 6)])
        >>> draw_audit(found, getfixture("tmp_path") / "audit.png")
    """
    from matplotlib.figure import Figure

    layers = [block for block in audit.blocks if block.head is None]
    width = _COLUMN if len(layers) <= _MANY else _PAGE
    figure = Figure(figsize=(width, 3.0), dpi=300, layout="constrained")
    axis = figure.subplots()
    for block in audit.blocks:
        place = next(index for index, layer in enumerate(layers) if layer.path == block.path)
        for index, quantity in enumerate(QUANTITIES):
            _mark(axis, block, quantity, place + 0.15 * (index - 1.5))
    axis.set_yscale("symlog", linthresh=_LINEAR, linscale=0.4)
    axis.set_ylim(-_LINEAR / 4, 0.8)
    axis.set_yticks((0, 0.001, 0.01, 0.1, 0.5), ("0", "0.001", "0.01", "0.1", "0.5"), fontsize=7)
    axis.set_yticks([], minor=True)
    axis.set_ylabel("mean over pairs of positions", fontsize=8)
    axis.set_xticks(range(len(layers)), _labels(layers), fontsize=7, rotation=90 if len(layers) > 4 else 0)
    axis.set_xlim(-0.6, len(layers) - 0.4)
    axis.grid(axis="y", alpha=0.3, lw=0.5)
    axis.set_axisbelow(True)
    axis.set_title(_title(audit), fontsize=8)
    figure.legend(
        handles=_legend(audit),
        loc="outside lower center",
        ncols=2 if width == _COLUMN else 5,
        frameon=False,
        fontsize=7,
    )
    figure.savefig(path)


def _mark(axis: Any, block: BlockAudit, quantity: str, at: float) -> None:
    """One value with its interval."""
    colour, marker = _STYLES[quantity]
    found = getattr(block, quantity)
    if found is None:
        if block.shared and quantity != "input":
            axis.plot(at, 0, marker, color=colour, mfc="white", ms=4, mew=0.8)
        return
    if block.head is not None:
        axis.plot(at, found.mean, marker, color=colour, alpha=0.3, ms=2, mew=0)
        return
    if found.low is not None:
        axis.plot([at, at], [found.low, found.high], color=colour, lw=1)
    axis.plot(at, found.mean, marker, color=colour, ms=4, mew=0)


def _title(audit: Audit) -> str:
    name = audit.model if len(audit.model) <= _NAME else f"...{audit.model[3 - _NAME :]}"
    return f"{name}{', ' * bool(name)}{audit.images} image{'s' * (audit.images != 1)}"


def _legend(audit: Audit) -> list[Any]:
    from matplotlib.lines import Line2D

    names = {name: f"{name} (cosine distance)" for name in QUANTITIES} | {"divergence": "attention (JS divergence)"}
    handles = [
        Line2D([], [], color=colour, marker=marker, ms=4, lw=1, label=names[name])
        for name, (colour, marker) in _STYLES.items()
    ]
    colour, marker = _STYLES["attention"]
    if any(block.shared for block in audit.blocks):
        handles.append(Line2D([], [], color=colour, marker=marker, mfc="white", ms=4, lw=0, label="0 by construction"))
    if any(block.head is not None for block in audit.blocks):
        handles.append(Line2D([], [], color=colour, marker=marker, alpha=0.3, ms=2, lw=0, label="single heads"))
    return handles


def _labels(layers: Sequence[BlockAudit]) -> list[str]:
    """Paths without what all of them begin with and without the name that inserted blocks have."""
    paths = [layer.path.removesuffix(".context_block").split(".") for layer in layers]
    common = 0
    while len(paths) > 1 and all(len(path) > common + 1 and path[common] == paths[0][common] for path in paths):
        common += 1
    return [".".join(path[common:]) for path in paths]
