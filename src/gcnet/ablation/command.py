"""The command that runs a study again."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, get_args, get_type_hints

from gcnet.ablation.options import OUT, SEEDS, Options
from gcnet.ablation.seeds import show_seeds
from gcnet.training.config import TrainingConfig

#: Fields that are no options here, or do not decide on a result.
SILENT = ("data", "seed", "out")


def command_of(options: Options, default: TrainingConfig, config: TrainingConfig, seeds: Iterable[int]) -> str:
    """What differs from the defaults, as arguments; where and how it ran is left out.

    Args:
        options: of the call.
        default: configuration of the task or recipe.
        config: that all variants share, with its number of threads.
        seeds: of the study.

    Example:
        >>> from gcnet.ablation.bases import base_of
        >>> from gcnet.ablation.options import take_options
        >>> base = base_of("classification").config
        >>> command_of(take_options("ratio", [])[0], base, dataclasses.replace(base, epochs=3, lr=1 / 3), range(5))
        'gcnet ablate ratio --epochs 3 --lr 1/3'
    """
    words = ["gcnet", "ablate", options.table]
    for name in ("task", "data", "recipe"):
        value = getattr(options, name)
        if value is not None and (name, value) != ("task", "classification"):
            words += [f"--{name}", str(value)]
    if (shown := show_seeds(seeds)) != SEEDS:
        words += ["--seeds", shown]
    if options.variants:
        words += ["--variants", ",".join(options.variants)]
    if options.out != OUT:
        words += ["--out", str(options.out)]
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name not in SILENT and value != getattr(default, field.name):
            words += [f"--{field.name.replace('_', '-')}", *_words(value, hints[field.name])]
    return shlex.join(words)


def _words(value: Any, hint: Any) -> list[str]:
    """A tuple of a fixed length is several words, one of any length is one with commas."""
    if not isinstance(value, tuple):
        return [as_option(value)]
    words = [as_option(each) for each in value]
    return [",".join(words)] if Ellipsis in get_args(hint) else words


def as_option(value: Any) -> str:
    """A single value as the command line takes it, exact.

    Example:
        >>> as_option(1 / 3), as_option(1 / 16), as_option(2e-3), as_option(None)
        ('1/3', '0.0625', '0.002', 'None')
    """
    if isinstance(value, float):
        fraction = Fraction(value).limit_denominator(64)
        return repr(value) if len(repr(value)) < 9 or float(fraction) != value else str(fraction)
    return str(value)
