"""What the metadata of our files say: how the model is built, what of it is there, and who wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import gcnet
from gcnet.blocks.base import check_choice
from gcnet.blocks.plain import fields
from gcnet.checkpoints.architecture import Architecture
from gcnet.checkpoints.errors import CheckpointError

#: Entry of the metadata that holds the document, and the newest form of it.
ENTRY, FORMAT = "gcnet", 1


@dataclass(frozen=True)
class Document:
    """The description in a file of ours.

    Attributes:
        architecture: host and blocks.
        contents: ``"model"`` for all weights, ``"added"`` for those of the blocks alone.
        tied: groups of keys of one tensor each, which is stored under the first.
        format: form of the description.
        gcnet: version that wrote it.
        torch: version of torch that wrote it.
    """

    architecture: Architecture
    contents: str = "model"
    tied: tuple[tuple[str, ...], ...] = ()
    format: int = FORMAT
    gcnet: str = gcnet.__version__
    torch: str = torch.__version__

    def untied(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All tensors of the state dict, tied ones under each of their keys."""
        whole = dict(tensors)
        for first, *others in self.tied:
            whole.update({key: tensors[first] for key in others if first in tensors})
        return whole

    def to_metadata(self) -> dict[str, str]:
        """The metadata of a file: one entry of JSON."""
        return {ENTRY: json.dumps({**vars(self), "architecture": self.architecture.to_dict()})}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Document | None:
        """The description in the metadata of a file, None if it is not one of ours.

        Raises:
            CheckpointError: a description that is damaged, or of a newer format.
        """
        nested = metadata.get("meta")  # where a .pth keeps it
        text = metadata.get(ENTRY, nested.get(ENTRY) if isinstance(nested, Mapping) else None)
        if text is None:
            return None
        try:
            values = json.loads(text)
            if isinstance(values, dict) and isinstance(form := values.get("format"), int) and form > FORMAT:
                version = str(values.get(ENTRY))[:40]
                raise CheckpointError(
                    f"the file was written by gcnet {version} in format {form}, this is gcnet {gcnet.__version__}, "
                    f"which reads up to {FORMAT}: update gcnet"
                )
            kinds: dict[str, Any] = {"contents": str, "tied": list, "format": int, "gcnet": str, "torch": str}
            architecture, *rest = fields("description of a model", values, architecture=dict, **kinds)
            document = cls(Architecture.from_dict(architecture), **dict(zip(kinds, rest, strict=True)))
            check_choice("contents", document.contents, ("model", "added"))
            if not all(
                isinstance(group, list) and group and all(isinstance(key, str) for key in group) for group in rest[1]
            ):
                raise ValueError("tied is not a list of lists of keys")
        except CheckpointError:
            raise
        except (ValueError, TypeError, RecursionError) as error:
            raise CheckpointError(f"the description of the model in the file is damaged: {error}") from error
        return document
