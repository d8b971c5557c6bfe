"""What every block shares: one call signature, one way to be described before it is built."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from gcnet.ops.context.flops import register_flop_formulas

#: Arguments that insertion fills in from the site; a spec never holds them.
SITE_ARGUMENTS = ("channels", "inplanes", "in_channels", "dims", "device", "dtype")


class Block(nn.Module):
    """Base of all blocks: maps [N, C, *spatial] to the same shape, dtype and memory format."""

    #: True for blocks with spatial kernels, which take ``dims`` (1, 2 or 3).
    has_spatial_kernels: ClassVar[bool] = False
    #: False for blocks that cannot start as an identity, because they replace a convolution.
    can_be_identity: ClassVar[bool] = True

    channels: int
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]
    #: Whether an inserted block is applied; see :func:`gcnet.disable`.
    enabled: bool = True

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Remember the arguments, for :attr:`specification`."""
        block = super().__new__(cls)
        if args or options:  # neither where a copy is made, whose state follows
            block.__dict__["_arguments"] = (
                tuple(map(_frozen, args)),
                {name: _frozen(value) for name, value in options.items()},
            )
        return block

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        register_flop_formulas()

    def __init_subclass__(cls, **options: Any) -> None:
        """A subclass with a forward of its own does not inherit the one-pass form of another forward."""
        super().__init_subclass__(**options)
        owner = next(c for c in cls.__mro__ if not vars(c).keys().isdisjoint(("forward", "forward_residual")))
        if "forward_residual" not in vars(owner):
            cls.forward_residual = Block.forward_residual  # type: ignore[method-assign]

    def forward_residual(self, x: Tensor, residual: Tensor) -> Tensor:
        """``relu(self(x) + residual)``, the end of a residual block, in one pass where the block has a form for it.

        Where it has one, hooks on the block do not run.

        Args:
            x: [N, C, *spatial], the end of the residual branch.
            residual: the shortcut, [N, C, *spatial].

        Returns:
            [N, C, *spatial] in the dtype and memory format of ``x``.

        Raises:
            ValueError: shapes that do not fit.

        Example:
            >>> import torch
            >>> from gcnet import GlobalContext
            >>> block = GlobalContext(64, ratio=1/4)
            >>> x, shortcut = torch.randn(2, 64, 7, 7), torch.randn(2, 64, 7, 7)
            >>> torch.equal(block.forward_residual(x, shortcut), torch.relu(block(x) + shortcut))
            True
        """
        y = self(x)
        return torch.relu((y + residual).to(y.dtype))

    @classmethod
    def spec(cls, **options: Any) -> BlockSpec:
        """Describe a block for insertion: its options without channels, device and dtype.

        ``init`` defaults to ``"identity"`` here (a block built directly defaults to ``"published"``), so that a
        pretrained host keeps its output when the block is inserted.

        Raises:
            TypeError: an option the block does not have, with the nearest names.
        """
        return BlockSpec(cls, options)

    @property
    def specification(self) -> BlockSpec:
        """The options this block was built with, defaults included: ``specification.build(channels)`` makes one alike.

        Example:
            >>> from gcnet import SqueezeExcite
            >>> SqueezeExcite(64, hidden=4, bias=False).specification.build(64)
            SqueezeExcite(
              64, hidden=4, activation='relu', gate_function='sigmoid', gate='published'
              (scale): ContextTransform(
                (reduce): Linear(in_features=64, out_features=4, bias=False)
                (expand): Linear(in_features=4, out_features=64, bias=False)
              )
            )
        """
        args, given = self._arguments
        bound = inspect.signature(type(self)).bind(*args, **given)
        bound.apply_defaults()
        options = {name: value for name, value in bound.arguments.items() if name not in SITE_ARGUMENTS}
        if options.get("hidden") is not None:
            options.pop("ratio", None)
        return BlockSpec(type(self), options)


@dataclass(frozen=True, repr=False)
class BlockSpec:
    """A block that is not built yet: the class and its options. Made by :meth:`Block.spec`.

    Example:
        >>> from gcnet import GlobalContext
        >>> GlobalContext.spec(ratio=1/4)
        GlobalContext.spec(ratio=1/4, init='identity', gate='centred')
        >>> GlobalContext.spec(ratio=1/4).build(64).hidden
        16
    """

    block: type[Block]
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        known = [name for name in inspect.signature(self.block).parameters if name not in SITE_ARGUMENTS]
        for name in self.options:
            if name in SITE_ARGUMENTS:
                raise TypeError(
                    f"{self.block.__name__}.spec(): {name!r} is taken from the site of insertion, leave it out"
                )
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f", did you mean {near[0]!r}?" if near else ""
                raise TypeError(
                    f"{self.block.__name__}.spec(): unknown option {name!r}{hint} Options: {', '.join(known)}"
                )
        if self.options.get("ratio") is not None and self.options.get("hidden") is not None:
            raise TypeError(f"{self.block.__name__}.spec(): give ratio= or hidden=, not both")
        options: dict[str, Any] = {name: _frozen(value) for name, value in self.options.items()}
        if self.block.can_be_identity:
            options.setdefault("init", "identity")
            if "gate" in known:
                options["gate"] = resolve_gate(options["init"], options.get("gate"), multiplicative=False)
        object.__setattr__(self, "options", MappingProxyType(options))

    def build(
        self,
        channels: int,
        *,
        dims: int = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Block:
        """Build the block for ``channels``; ``dims`` is used by blocks with spatial kernels only."""
        extra = {"dims": dims} if self.block.has_spatial_kernels else {}
        return self.block(channels, **self.options, **extra, device=device, dtype=dtype)

    def parameter_count(self, channels: int, *, dims: int = 2) -> int:
        """Parameters of one such block, without allocating them."""
        return sum(p.numel() for p in self.build(channels, dims=dims, device="meta").parameters())

    def __reduce__(self) -> tuple[Any, ...]:
        return BlockSpec, (self.block, dict(self.options))

    def __hash__(self) -> int:
        return hash((self.block, tuple(sorted(self.options.items()))))

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={format_option(value)}" for name, value in self.options.items())
        return f"{self.block.__name__}.spec({options})"


def _frozen(value: Any) -> Any:
    """A list or set as a tuple, everything else as it is."""
    return tuple(value) if isinstance(value, (list, set)) else value


def resolve_gate(init: str, gate: str | None, *, multiplicative: bool = True) -> str:
    """Which gate a multiplicative fusion uses: the centred one when it must start as an identity.

    Raises:
        ValueError: unknown values, or a ``multiplicative`` block with an identity start and the published gate.
    """
    check_choice("init", init, ("published", "identity"))
    if gate is None:
        return "centred" if init == "identity" else "published"
    check_choice("gate", gate, ("published", "centred"))
    if multiplicative and init == "identity" and gate == "published":
        raise ValueError(
            "init='identity' needs gate='centred': the published gate is 0.5 where its logits are 0, not 1"
        )
    return gate


def check_choice(name: str, value: Any, allowed: Iterable[Any]) -> None:
    """Raise ValueError unless ``value`` is one of ``allowed``; the message names the nearest."""
    allowed = tuple(allowed)
    if any(value is choice or (type(value) is type(choice) and value == choice) for choice in allowed):
        return
    words = [choice for choice in allowed if isinstance(choice, str)]
    near = difflib.get_close_matches(value, words, n=1, cutoff=0.5) if isinstance(value, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{name}={value!r} is not one of {', '.join(repr(choice) for choice in allowed)}{hint}")


def check_channels(channels: Any, name: str = "channels") -> int:
    """Raise unless ``channels`` is a positive integer."""
    if isinstance(channels, bool) or not isinstance(channels, int):
        raise TypeError(f"{name}={channels!r} must be an int")
    if channels < 1:
        raise ValueError(f"{name}={channels} must be at least 1")
    return channels


def check_dims(dims: Any) -> int:
    """Raise unless ``dims`` is 1, 2 or 3."""
    check_choice("dims", dims, (1, 2, 3))
    return int(dims)


def hidden_width(
    channels: int, ratio: float | None, hidden: int | None, *, normalised: bool = False, ratio_only: bool = False
) -> int:
    """Width of a bottleneck, ``int(channels * ratio)`` as in the official code, or ``hidden`` as given.

    ``ratio_only`` words the errors for a block that takes no ``hidden``.

    Raises:
        ValueError: a width below 1, naming the smallest valid ratio; or a width of 1 under a LayerNorm, whose output
            would be a constant.
    """
    if hidden is not None:
        width = check_channels(hidden, "hidden")
    else:
        if ratio is None or isinstance(ratio, bool) or not isinstance(ratio, (int, float, Fraction)):
            raise TypeError(f"ratio={ratio!r} must be a number such as 1/16{'' if ratio_only else ', or give hidden='}")
        if not 0 < ratio < float("inf"):
            raise ValueError(f"ratio={ratio!r} must be positive and finite, such as 1/16")
        width = int(channels * ratio)
    least = 2 if normalised else 1
    if width >= least:
        return width
    given = f"hidden={hidden}" if hidden is not None else f"ratio={format_option(ratio)}"
    if least > channels:
        remedy = (
            f"{channels} channels are too few for it" if ratio_only else "give hidden=2, or switch the LayerNorm off"
        )
    else:
        smallest = least if int(channels * (least / channels)) == least else least + 1
        remedy = f"the smallest valid ratio for {channels} channels is {smallest}/{channels}"
        if not ratio_only:
            remedy += f", or give hidden={least}"
    if width < 1:
        raise ValueError(f"{given} leaves a hidden width of 0 for {channels} channels; {remedy}")
    raise ValueError(f"{given} gives a hidden width of 1, whose LayerNorm is a constant; {remedy}")


def format_option(value: Any) -> str:
    """Repr of an option; a float that is a small fraction is shown as one."""
    if isinstance(value, float) and 0 < value < 1:
        fraction = Fraction(value).limit_denominator(4096)
        if float(fraction) == value and fraction.numerator < 10:
            return f"{fraction.numerator}/{fraction.denominator}"
    return repr(value)


def zero_(*layers: nn.Module) -> None:
    """Set weight and bias of the layers to zero."""
    for layer in layers:
        for parameter in layer.parameters(recurse=False):
            nn.init.zeros_(parameter)


def check_input(block: str, x: Tensor, channels: int) -> None:
    """Raise ValueError unless ``x`` is [N, channels, *spatial] with at least one spatial axis."""
    if x.dim() < 3:
        raise ValueError(f"{block} expects [N, C, *spatial] with at least one spatial axis, got shape {tuple(x.shape)}")
    if x.shape[1] != channels:
        raise ValueError(
            f"{block} was built for {channels} channels, got {x.shape[1]} in an input of shape {tuple(x.shape)}"
        )
