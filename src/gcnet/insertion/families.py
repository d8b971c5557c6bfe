"""The residual blocks we know: where their positions are in their own forward, and how wide they are there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from torch import nn

from gcnet.insertion.epilogue import Epilogue
from gcnet.insertion.rewrite import Anchor, after, after_each, before, before_each

#: Every position there is.
POSITIONS = ("after_1x1", "after_3x3", "after_add", "after_block")


@dataclass(frozen=True)
class Residual:
    """One class of residual blocks.

    Attributes:
        out: attribute paths that give the channels of the branch and of the output; the first that exists counts.
        middle: the same for the features after the spatial convolution.
        anchors: position -> place in the forward.
        epilogue: the end of the forward, if a block after_1x1 can take it over.
    """

    out: tuple[str, ...]
    middle: tuple[str, ...] = ()
    anchors: Mapping[str, Anchor] = field(default_factory=dict)
    epilogue: Epilogue | None = None

    @property
    def positions(self) -> tuple[str, ...]:
        """The positions this class offers, the default first."""
        return (*(name for name in POSITIONS if name in self.anchors), "after_block")

    def channels(self, module: nn.Module, position: str) -> int:
        """Channels of ``module`` at ``position``."""
        paths = self.middle if position == "after_3x3" else self.out
        for path in paths:
            value: Any = module
            for name in path.split("."):
                value = getattr(value, name, None)
            if isinstance(value, int):
                return value
        raise ValueError(
            f"{type(module).__name__} has no {' or '.join(paths)} that would tell its channels {position}; "
            "use match= and position='after_block', which measures them"
        )


def _residual(
    out: str | tuple[str, ...],
    middle: str | tuple[str, ...] = (),
    *,
    after_1x1: Anchor | None = None,
    after_3x3: Anchor | None = None,
    after_add: Anchor | None = None,
    epilogue: Epilogue | None = None,
) -> Residual:
    anchors = {"after_1x1": after_1x1, "after_3x3": after_3x3, "after_add": after_add}
    return Residual(
        (out,) if isinstance(out, str) else out,
        (middle,) if isinstance(middle, str) else middle,
        {position: anchor for position, anchor in anchors.items() if anchor},
        epilogue,
    )


#: Modules of timm's blocks between branch and shortcut.
_TIMM = ("se", "drop_path")


#: after_1x1 is the end of the residual branch, with its norm but before attention, drop path and shortcut; after_3x3
#: follows the spatial convolution, its norm, activation and down-sampling; after_add precedes the last activation.
FAMILIES: dict[str, Residual] = {
    "torchvision.models.resnet.BasicBlock": _residual(
        "conv2.out_channels",
        "conv2.in_channels",
        after_1x1=after("bn2"),
        after_3x3=after("relu", 1, of=2),
        after_add=before("relu", 2, of=2),
        epilogue=Epilogue("relu"),
    ),
    "torchvision.models.resnet.Bottleneck": _residual(
        "conv3.out_channels",
        "conv3.in_channels",
        after_1x1=after("bn3"),
        after_3x3=after("relu", 2, of=3),
        after_add=before("relu", 3, of=3),
        epilogue=Epilogue("relu"),
    ),
    "torchvision.models.regnet.ResBottleneckBlock": _residual(
        "f.c.0.out_channels", after_1x1=after_each("f", of=2), after_add=before("activation")
    ),
    "torchvision.models.video.resnet.BasicBlock": _residual(
        ("conv2.0.out_channels", "conv2.0.3.out_channels"),
        ("conv2.0.in_channels", "conv2.0.0.in_channels"),
        after_1x1=after("conv2"),
        after_3x3=after("conv1"),
        after_add=before("relu"),
        epilogue=Epilogue("relu"),
    ),
    "torchvision.models.video.resnet.Bottleneck": _residual(
        "conv3.0.out_channels",
        "conv3.0.in_channels",
        after_1x1=after("conv3"),
        after_3x3=after("conv2"),
        after_add=before("relu"),
        epilogue=Epilogue("relu"),
    ),
    "timm.models.resnet.BasicBlock": _residual(
        "conv2.out_channels",
        "conv2.in_channels",
        after_1x1=after("bn2"),
        after_3x3=after("aa"),
        after_add=before("act2"),
        epilogue=Epilogue("act2", _TIMM),
    ),
    "timm.models.resnet.Bottleneck": _residual(
        "conv3.out_channels",
        "conv3.in_channels",
        after_1x1=after("bn3"),
        after_3x3=after("aa"),
        after_add=before("act3"),
        epilogue=Epilogue("act3", _TIMM),
    ),
    "timm.models.senet.Bottleneck": _residual(
        "conv3.out_channels",
        "conv3.in_channels",
        after_1x1=after("bn3"),
        after_3x3=after("relu", 2, of=3),
        after_add=before("relu", 3, of=3),
    ),
    "timm.models.senet.SEResNetBlock": _residual(
        "conv2.out_channels",
        "conv2.in_channels",
        after_1x1=after("bn2"),
        after_3x3=after("relu", 1, of=3),
        after_add=before("relu", 3, of=3),
    ),
    "timm.models.sknet.SelectiveKernelBasic": _residual(
        "conv2.conv.out_channels",
        "conv2.conv.in_channels",
        after_1x1=after("conv2"),
        after_3x3=after("conv1"),
        after_add=before("act"),
        epilogue=Epilogue("act", _TIMM),
    ),
    "timm.models.sknet.SelectiveKernelBottleneck": _residual(
        "conv3.conv.out_channels",
        "conv3.conv.in_channels",
        after_1x1=after("conv3"),
        after_3x3=after("conv2"),
        after_add=before("act"),
        epilogue=Epilogue("act", _TIMM),
    ),
    "timm.models.res2net.Bottle2neck": _residual(
        "conv3.out_channels",
        "conv3.in_channels",
        after_1x1=after("bn3"),
        after_3x3=after("drop_block"),
        after_add=before("relu", 3, of=3),
        epilogue=Epilogue("relu", _TIMM),
    ),
    "timm.models.resnest.ResNestBottleneck": _residual(
        "conv3.out_channels",
        "conv3.in_channels",
        after_1x1=after("bn3"),
        after_3x3=after("act2"),
        after_add=before("act3"),
        epilogue=Epilogue("act3"),
    ),
    "timm.models.resnetv2.PreActBasic": _residual(
        "conv2.out_channels", "conv2.in_channels", after_1x1=after("conv2"), after_3x3=after("norm2")
    ),
    "timm.models.resnetv2.PreActBottleneck": _residual(
        "conv3.out_channels", "conv3.in_channels", after_1x1=after("conv3"), after_3x3=after("norm3")
    ),
    "timm.models.resnetv2.Bottleneck": _residual(
        "conv3.out_channels",
        "conv3.in_channels",
        after_1x1=after("norm3"),
        after_3x3=after("norm2"),
        after_add=before("act3"),
    ),
    "timm.models.regnet.Bottleneck": _residual(
        "conv3.conv.out_channels",
        "conv3.conv.in_channels",
        after_1x1=after("conv3"),
        after_3x3=after("conv2"),
        after_add=before("act3"),
    ),
    "timm.models.regnet.PreBottleneck": _residual(
        "conv3.out_channels", "conv3.in_channels", after_1x1=after("conv3"), after_3x3=after("norm3")
    ),
    "timm.models.byobnet.BasicBlock": _residual(
        "conv2_kxk.conv.out_channels",
        "conv1_kxk.conv.out_channels",
        after_1x1=after("conv2_kxk"),
        after_3x3=after("conv1_kxk"),
        after_add=before("act"),
    ),
    "timm.models.byobnet.BottleneckBlock": _residual(
        "conv3_1x1.conv.out_channels",
        "conv3_1x1.conv.in_channels",
        after_1x1=after("conv3_1x1"),
        after_3x3=after("conv2b_kxk"),
        after_add=before("act"),
    ),
    "timm.models.byobnet.DarkBlock": _residual(
        "conv2_kxk.conv.out_channels", after_1x1=after("conv2_kxk"), after_add=before("act")
    ),
    "timm.models.byobnet.EdgeBlock": _residual(
        "conv2_1x1.conv.out_channels",
        "conv1_kxk.conv.out_channels",
        after_1x1=after("conv2_1x1"),
        after_3x3=after("conv1_kxk"),
        after_add=before("act"),
    ),
    "timm.models.byobnet.RepVggBlock": _residual(
        ("reparam_conv.out_channels", "conv_kxk.conv.out_channels"), after_add=before_each("act", of=2)
    ),
    "timm.models.byobnet.MobileOneBlock": _residual(
        ("reparam_conv.out_channels", "conv_kxk.0.conv.out_channels", "conv_scale.conv.out_channels"),
        after_add=before_each("act", of=2),
    ),
    "timm.models.byobnet.SelfAttnBlock": _residual(
        "conv3_1x1.conv.out_channels", after_1x1=after("conv3_1x1"), after_add=before("act")
    ),
}

_STAGE = re.compile(r"(?:(?P<trunk>.*)\.)?(?:(?:layer|s|block)(?P<one>\d)|stages[._](?P<zero>\d)(?:\.blocks)?)")


def forward_owner(cls: type) -> type:
    """The class whose own forward instances of ``cls`` run."""
    return next(owner for owner in cls.__mro__ if "forward" in vars(owner))


def residual(cls: type) -> Residual | None:
    """What is known about ``cls``: its own or an inherited forward that is in the table."""
    owner = forward_owner(cls)
    if not isinstance(vars(owner)["forward"], FunctionType):
        return None
    return FAMILIES.get(f"{owner.__module__}.{owner.__qualname__}")


def find_stages(names: Mapping[str, nn.Module], classes: Mapping[str, type]) -> dict[str, dict[str, list[str]]]:
    """Stages of known residual blocks: trunk path -> stage (``"c2"`` ... ``"c5"``) -> paths of its blocks, in order.

    A fifth stage that keeps the resolution of the fourth (GENet) belongs to c5.

    Args:
        names: path -> module, without context blocks.
        classes: path -> original class of the module.
    """
    trunks: dict[str, dict[str, list[str]]] = {}
    for path in names:
        parent, _, _ = path.rpartition(".")
        found = _STAGE.fullmatch(parent)
        if found is None or residual(classes[path]) is None:
            continue
        level = int(found["one"]) + 1 if found["one"] else int(found["zero"]) + 2
        stages = trunks.setdefault(found["trunk"] or "", {})
        stages.setdefault(f"c{min(level, 5)}", []).append(path)
    return trunks


def check_position(position: str, cls: type, path: str) -> Anchor | None:
    """The anchor of ``position`` in blocks of ``cls``; None for ``"after_block"``.

    Raises:
        ValueError: an unknown position, or one that the class cannot offer.
    """
    if position not in POSITIONS:
        near = difflib.get_close_matches(str(position), POSITIONS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"position={position!r} is not one of {', '.join(map(repr, POSITIONS))}{hint}")
    if position == "after_block":
        return None
    known = residual(cls)
    if known is None or position not in known.anchors:
        offered = known.positions if known else ("after_block",)
        raise ValueError(
            f"position={position!r} is not possible in {path!r} ({cls.__name__}); "
            f"this class offers {', '.join(map(repr, offered))}"
        )
    return known.anchors[position]


def check_epilogue(position: str, cls: type, path: str) -> Epilogue:
    """The end of blocks of ``cls``, for a block at ``position`` that takes it over.

    Raises:
        ValueError: another position than ``"after_1x1"``, or a class whose forward does not end that way.
    """
    if position != "after_1x1":
        raise ValueError(
            f"fuse_residual=True goes with position='after_1x1', right before the shortcut, not with {position!r}; "
            f"leave it out for {path!r}"
        )
    known = residual(cls)
    if known is None or known.epilogue is None:
        modules = dict.fromkeys(name.rpartition(".")[0] for name, family in FAMILIES.items() if family.epilogue)
        raise ValueError(
            f"fuse_residual=True is not possible in {path!r} ({cls.__name__}), whose forward does not end with the "
            f"shortcut and a ReLU in a way that gcnet knows; it is in the residual blocks of {', '.join(modules)}"
        )
    return known.epilogue
