"""The end of a residual block, shortcut and last activation, left to the context block before it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.module import _has_any_global_hook

from gcnet.blocks.base import Block
from gcnet.layouts import qualified_name

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
#: Layers that hand their input on in evaluation.
_STOCHASTIC = ("timm.layers.drop.DropPath",)


@dataclass(frozen=True)
class Epilogue:
    """How a forward ends: ``x += shortcut``, then ``x = self.<activation>(x)``.

    Attributes:
        activation: name of the module that is called last.
        between: names of the modules that may stand between the branch and the addition, each called as
            ``if self.<name> is not None: x = self.<name>(x)``.
    """

    activation: str
    between: tuple[str, ...] = ()

    def misfits(self, host: nn.Module) -> Iterator[str]:
        """What in ``host`` rules out that a block takes over the addition and the activation, as it is built."""
        for name in self.between:
            layer = getattr(host, name, None)
            if not (layer is None or type(layer) is nn.Identity or _is_stochastic(layer)):
                yield f"{name} ({type(layer).__name__}) stands between the branch and the addition"
        activation = getattr(host, self.activation, None)
        if type(activation) is not nn.ReLU:
            yield f"{self.activation} is a {type(activation).__name__}, not a ReLU"

    def obstacles(self, host: nn.Module, block: Any) -> Iterator[str]:
        """What keeps ``block`` at present from taking over the addition and the activation of ``host``."""
        yield from self.misfits(host)
        if not isinstance(block, Block):
            yield f"the block is a {type(block).__name__}"
        elif not block.enabled:
            yield "the block is disabled"
        elif _is_observed(block):
            yield "the block has hooks or a patched forward"
        for name in (*self.between, self.activation):
            layer = getattr(host, name, None)
            if layer is None:
                continue
            if _is_observed(layer):
                yield f"{name} has hooks or a patched forward"
            elif layer.training and _is_stochastic(layer):
                yield f"{name} ({type(layer).__name__}) is active in training"


def _is_stochastic(module: nn.Module) -> bool:
    return qualified_name(type(module)) in _STOCHASTIC


def _is_observed(module: nn.Module) -> bool:
    """Whether a call of ``module`` is noticed or changed by somebody."""
    own = vars(module)
    return _has_any_global_hook() or "forward" in own or any(own[hooks] for hooks in _HOOKS)


def join(definition: ast.FunctionDef, call: ast.Call, epilogue: Epilogue, name: str, function: str) -> None:
    """Let the block ``name`` after ``call`` take over the end of the forward, whenever ``fuses_context(name)``.

    Raises:
        ValueError: statements between ``call`` and the last activation that are not as ``epilogue`` says.
    """
    host, body = definition.args.args[0].arg, definition.body
    start, end = _find(body, call, epilogue, host, function)
    target, shortcut = _names(body[end])
    fused = f"fuses_{name}"
    applied = f"{target} = {host}.apply_context({name!r}, {target})"
    joined = f"{target} = {host}.apply_context_residual({name!r}, {target}, {shortcut})"
    branch = ast.If(ast.Name(fused, ast.Load()), ast.parse(joined).body, body[end : end + 2])
    early = ast.parse(f"{fused} = {host}.fuses_context({name!r})\nif not {fused}:\n    {applied}").body
    body[end : end + 2] = [branch]
    body[start + 1 : start + 1] = early


def _find(body: Sequence[ast.stmt], call: ast.Call, epilogue: Epilogue, host: str, function: str) -> tuple[int, int]:
    """Where the branch ends, and where the shortcut is added."""
    start = next((i for i, s in enumerate(body) if isinstance(s, ast.Assign) and s.value is call), None)
    target = "" if start is None else ast.unparse(body[start]).removesuffix(f" = {ast.unparse(call)}")
    if start is not None and target.isidentifier():
        last = f"{target} = {host}.{epilogue.activation}({target})"
        between = [f"if {host}.{m} is not None:\n    {target} = {host}.{m}({target})" for m in epilogue.between]
        for index, statement in enumerate(body[start + 1 : -1], start + 1):
            if between and ast.unparse(statement) == between[0]:
                del between[0]
            elif _names(statement)[0] == target and not between and ast.unparse(body[index + 1]) == last:
                return start, index
            elif any(isinstance(node, ast.Name) and node.id == target for node in ast.walk(statement)):
                break
    passed = "".join(f"an optional self.{name}, " for name in epilogue.between)
    raise ValueError(
        f"{function} is not as expected: {ast.unparse(call)} should be followed by {passed}the addition of the "
        f"shortcut in place and self.{epilogue.activation}; leave fuse_residual= out"
    )


def _names(statement: ast.stmt) -> tuple[str, str]:
    """``x`` and ``y`` of ``x += y``; empty for every other statement."""
    match statement:
        case ast.AugAssign(ast.Name(target), ast.Add(), ast.Name(value)) if target != value:
            return target, value
    return "", ""
