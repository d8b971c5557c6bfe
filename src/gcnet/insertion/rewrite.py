"""Rewriting a forward: the same source with a context block applied around chosen calls."""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType

from gcnet.insertion.epilogue import Epilogue, join

#: Ways a forward can walk over the children of its module, and what hides context blocks from each.
CHILD_WALKS = {
    "children": "host_children",
    "named_children": "host_named_children",
    "_modules": "host_modules",
}


@dataclass(frozen=True)
class Anchor:
    """Calls of ``self.<call>`` in a forward: the ``nth`` of ``of``, or every one if they exclude each other."""

    side: str
    call: str
    nth: int | None = 1
    of: int = 1

    def __str__(self) -> str:
        which = f"call {self.nth} of {self.of}" if self.nth else f"each of {self.of} calls"
        return f"{self.side} self.{self.call}(...), {which}"


def after(call: str, nth: int = 1, *, of: int = 1) -> Anchor:
    """The result of the ``nth`` of ``of`` calls of ``self.<call>``."""
    return Anchor("after", call, nth, of)


def before(call: str, nth: int = 1, *, of: int = 1) -> Anchor:
    """The argument of the ``nth`` of ``of`` calls of ``self.<call>``."""
    return Anchor("before", call, nth, of)


def after_each(call: str, *, of: int) -> Anchor:
    """The result of every call of ``self.<call>``: ``of`` calls, on paths that exclude each other."""
    return Anchor("after", call, None, of)


def before_each(call: str, *, of: int) -> Anchor:
    """The argument of every call of ``self.<call>``: ``of`` calls, on paths that exclude each other."""
    return Anchor("before", call, None, of)


def rewrite(
    forward: FunctionType, edits: Mapping[str, Anchor], label: str, epilogues: Mapping[str, Epilogue] | None = None
) -> FunctionType:
    """A copy of ``forward`` that applies ``self.apply_context(name, ...)`` at each anchor.

    The copy runs in the globals and with the closure of the original, so patched names stay patched. Walks over the
    module's own children skip the context blocks. Tracebacks show the new source.

    Args:
        forward: the function of a class whose source is at hand.
        edits: name of the child block -> where it goes.
        label: what to call the function in tracebacks.
        epilogues: name of the child block -> the end of the forward that it takes over.

    Raises:
        ValueError: no source, a source that is not the running code, or calls or an end that are not as expected.
    """
    definition = _definition(forward)
    host = definition.args.args[0].arg
    wraps: dict[int, list[tuple[str, str]]] = {}
    calls = {name: _find(definition, host, anchor, forward.__qualname__) for name, anchor in edits.items()}
    for name, anchor in edits.items():
        for call in calls[name]:
            if epilogues and name in epilogues:
                join(definition, call, epilogues[name], name, forward.__qualname__)
            else:
                wraps.setdefault(id(call), []).append((anchor.side, name))
    definition = _Rewriter(host, wraps).visit(definition)

    source = ast.unparse(ast.fix_missing_locations(definition)) + "\n"
    filename = f"<gcnet: {label}>"
    code = _function_code(ast.parse(source).body[0], forward, filename)
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    cells = dict(zip(forward.__code__.co_freevars, forward.__closure__ or (), strict=True))
    closure = tuple(cells[name] for name in code.co_freevars)
    copy = FunctionType(code, forward.__globals__, forward.__name__, forward.__defaults__, closure)
    copy.__kwdefaults__ = forward.__kwdefaults__
    copy.__annotations__ = forward.__annotations__
    copy.__qualname__ = forward.__qualname__
    copy.__module__ = forward.__module__
    copy.__doc__ = forward.__doc__
    return copy


def walks_children(forward: FunctionType) -> bool:
    """Whether ``forward`` itself walks over the children of its module."""
    return not CHILD_WALKS.keys().isdisjoint(forward.__code__.co_names)


def _definition(forward: FunctionType) -> ast.FunctionDef:
    """The syntax tree of ``forward``, checked to be the code that runs."""
    name = forward.__qualname__
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(forward)))
    except (OSError, TypeError, SyntaxError) as error:
        raise ValueError(
            f"the source of {name} cannot be read ({error}), so that no block can be put inside it; "
            "use position='after_block'"
        ) from error
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef) or definition.decorator_list:
        raise ValueError(f"{name} is not a plain undecorated function; use position='after_block'")
    if _trace(_function_code(definition, forward, "<check>")) != _trace(forward.__code__):
        raise ValueError(f"the source on disk of {name} is not the code that runs; use position='after_block'")
    return definition


def _function_code(definition: ast.stmt, forward: FunctionType, filename: str) -> CodeType:
    """Compile ``definition`` with the closure variables of ``forward`` in reach."""
    factory = ast.parse("def factory(): pass").body[0]
    assert isinstance(factory, ast.FunctionDef)
    factory.args.args = [ast.arg(name) for name in forward.__code__.co_freevars]
    factory.body = [definition]
    module = ast.fix_missing_locations(ast.Module([factory], []))
    annotations = forward.__code__.co_flags & _future_annotations()
    outer = _code_constant(compile(module, filename, "exec", flags=annotations, dont_inherit=True), "factory")
    return _code_constant(outer, forward.__name__)


def _trace(code: CodeType) -> tuple[object, ...]:
    """What tells two functions apart; byte code depends on the module around it, docstrings on the indentation."""
    constants = [value for value in code.co_consts if not isinstance(value, (CodeType, str))]
    return code.co_names, code.co_varnames, code.co_freevars, constants


def _code_constant(code: CodeType, name: str) -> CodeType:
    return next(value for value in code.co_consts if isinstance(value, CodeType) and value.co_name == name)


def _future_annotations() -> int:
    import __future__

    return __future__.annotations.compiler_flag


def _find(definition: ast.FunctionDef, host: str, anchor: Anchor, function: str) -> Sequence[ast.Call]:
    calls = [
        node
        for node in ast.walk(definition)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == anchor.call
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == host
    ]
    calls.sort(key=lambda call: (call.lineno, call.col_offset))
    chosen = calls if anchor.nth is None else calls[anchor.nth - 1 : anchor.nth]
    plain = all(len(call.args) == 1 and not call.keywords for call in chosen)
    if len(calls) != anchor.of or not plain:
        raise ValueError(
            f"{function} is not as expected: a block goes {anchor}, with one argument, but there are {len(calls)} such "
            "calls in this version; use position='after_block'"
        )
    return chosen


class _Rewriter(ast.NodeTransformer):
    """Wrap chosen calls, and hide context blocks from walks over children."""

    def __init__(self, host: str, wraps: Mapping[int, Sequence[tuple[str, str]]]) -> None:
        self.host = host
        self.wraps = wraps

    def visit_Call(self, call: ast.Call) -> ast.expr:
        wraps = self.wraps.get(id(call), ())
        self.generic_visit(call)
        result: ast.expr = call
        for side, name in wraps:
            if side == "before":
                call.args = [self._applied(name, call.args[0])]
            else:
                result = self._applied(name, result)
        return result

    def visit_Attribute(self, attribute: ast.Attribute) -> ast.Attribute:
        self.generic_visit(attribute)
        if isinstance(attribute.value, ast.Name) and attribute.value.id == self.host:
            attribute.attr = CHILD_WALKS.get(attribute.attr, attribute.attr)
        return attribute

    def _applied(self, name: str, value: ast.expr) -> ast.Call:
        method = ast.Attribute(ast.Name(self.host, ast.Load()), "apply_context", ast.Load())
        return ast.Call(method, [ast.Constant(name), value], [])
