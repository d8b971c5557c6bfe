"""The demonstration: a plain network against one with global context, on context scenes."""

from __future__ import annotations

from gcnet.training.demo.comparison import DemoConfig
from gcnet.training.scenes.compose import SceneSettings


def context_scenes() -> DemoConfig:
    """2,000 scenes, 12 epochs, one seed: about a minute and a half on a CPU.

    Example:
        >>> context_scenes().blocks
        ('none', 'gc')
    """
    return DemoConfig(
        blocks=("none", "gc"),
        epochs=12,
        batch_size=32,
        lr=0.01,
        weight_decay=0.01,
        width=32,
        ratio=1 / 4,
        scenes=SceneSettings(),
    )
