"""How much a block depends on the query: in the picture on the page, and over the data set of the run's audit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gcnet.analysis.audit import Audit


def newest_audit(run: Path | None) -> Audit | None:
    """What ``gcnet audit`` found last of a run; None without any.

    Raises:
        ValueError: the file is damaged.
    """
    reports = sorted((run / "audits").glob("*/audit.json")) if run else []
    return Audit.load(reports[-1]) if reports else None


def block_numbers(audit: Audit | None, path: str, head: int | None = None) -> dict[str, Any] | None:
    """What an audit holds of a block: number of images, and an interval or None for each quantity.

    Args:
        audit: of one image or many.
        path: of the block.
        head: of a transformer, which has attention and divergence of its own; None for the mean of all.

    Returns:
        None where the audit lacks the block.

    Example:
        >>> import torch, gcnet
        >>> from gcnet.analysis.audit import audit
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), gcnet.GlobalContext(16, hidden=4))
        >>> numbers = block_numbers(audit(model, [torch.randn(1, 3, 8, 8)]), "1")
        >>> numbers["images"], numbers["shared"], numbers["input"].mean > 0, numbers["attention"]
        (1, True, True, None)
    """
    lines = {block.head: block for block in audit.blocks if block.path == path} if audit else {}
    if None not in lines:
        return None
    whole = lines[None]
    own = lines.get(head, whole)
    return {
        "images": whole.images,
        "shared": whole.shared,
        "input": whole.input,
        "output": whole.output,
        "attention": own.attention,
        "divergence": own.divergence,
    }
