"""One run to be trained, as any engine gets it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from gcnet.training.config import TrainingConfig
from gcnet.training.scenes.compose import SceneSettings
from gcnet.training.scenes.make import SCENE_TASKS


@dataclass(frozen=True)
class Job:
    """A run, its identity and its place.

    Attributes:
        key: identity; see :mod:`gcnet.ablation.identity`. Name of the folder.
        label: for people, such as "block, all-gc, seed 3".
        config: resolved: threads and data are those that are used.
        folder: of the run.
        scenes: settings of the scenes to make at ``config.data`` where there are none; None for data of a user.
        sources: hash of the source files that affect results.
        data: fingerprint of the data.
    """

    key: str
    label: str
    config: TrainingConfig
    folder: Path
    scenes: SceneSettings | None
    sources: str
    data: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            **{name: getattr(self, name) for name in ("key", "label", "sources", "data")},
            "folder": str(self.folder),
            "config": {"task": self.config.task, **dataclasses.asdict(self.config)},
            "scenes": None if self.scenes is None else dataclasses.asdict(self.scenes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Job:
        """The inverse of :meth:`to_dict`, also after a round trip through JSON with paths as text."""
        fields = dict(values["config"])
        task = fields.pop("task")
        module = import_module(f"gcnet.training.{task}.config")
        scenes = values["scenes"]
        return cls(
            **{name: values[name] for name in ("key", "label", "sources", "data")},
            folder=Path(values["folder"]),
            config=TypeAdapter(module.CONFIG).validate_python(fields, strict=False),
            scenes=None if scenes is None else TypeAdapter(SCENE_TASKS[task].settings).validate_python(scenes),
        )
