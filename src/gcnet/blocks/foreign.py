"""A module of another library in the place of a block, so that it can be inserted, trained and compared like ours."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gcnet.blocks.base import Block, BlockSpec, check_channels


class ForeignBlock(Block):
    """A module of any library that maps [N, C, *spatial] to the same shape, as a block.

    It starts as its library starts it, so that inserting one changes the output unless it is an identity by itself.

    Args:
        channels: C, the first argument of its class.
        source: ``"MODULE:CLASS"``.
        options: further keyword arguments of its class, as pairs.
        device: where its parameters go.
        dtype: of its parameters.

    Shape:
        [N, C, *spatial] -> the same.

    Raises:
        ValueError: no such module or class; arguments that it does not take; at the call, an output of another shape.

    Example:
        >>> block = ForeignBlock(16, source="torch.nn:GroupNorm", options=(("num_channels", 16),))
        >>> block(torch.randn(2, 16, 7, 7)).shape
        torch.Size([2, 16, 7, 7])
    """

    can_be_identity: ClassVar[bool] = False

    def __init__(
        self,
        channels: int,
        *,
        source: str,
        options: tuple[tuple[str, Any], ...] = (),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = check_channels(channels)
        self.source = source
        build = foreign_class(source)
        try:
            with torch.device(device or torch.get_default_device()):
                self.module = build(channels, **dict(options)).to(dtype=dtype)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"block={source!r}: cannot be built for {channels} channels ({error})") from error

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] -> the same."""
        y: Tensor = self.module(x)
        if not isinstance(y, Tensor) or y.shape != x.shape:
            got = f"shape {list(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(f"block={self.source!r} has to return the shape of its input {list(x.shape)}, got {got}")
        return y

    def extra_repr(self) -> str:
        """What it holds."""
        return self.source


def foreign_class(source: str) -> type[nn.Module]:
    """The class that ``"MODULE:CLASS"`` names.

    Only classes of modules are taken, so that a name in a file cannot call anything else.

    Raises:
        ValueError: not of that form, no such module or class, or a class of something else.

    Example:
        >>> foreign_class("torch.nn:Identity")
        <class 'torch.nn.modules.linear.Identity'>
    """
    module, _, name = source.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise ValueError(f"block={source!r} must be MODULE:CLASS, such as timm.layers:EcaModule")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except ImportError as error:
        raise ValueError(f"block={source!r}: {module} cannot be imported here ({error})") from error
    except AttributeError:
        raise ValueError(f"block={source!r}: {module} has no {name}") from None
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise ValueError(f"block={source!r}: {name} is no class of torch.nn.Module")
    return found


def foreign_spec(source: str, options: Mapping[str, Any] | None = None) -> BlockSpec:
    """A module of another library, for insertion.

    Args:
        source: ``"MODULE:CLASS"``; the class takes the number of channels first.
        options: its further arguments, by name.

    Raises:
        ValueError: as :func:`foreign_class`.

    Example:
        >>> foreign_spec("torch.nn:BatchNorm2d", {"affine": False}).build(16).module.affine
        False
    """
    foreign_class(source)
    return ForeignBlock.spec(source=source, options=tuple((options or {}).items()))
