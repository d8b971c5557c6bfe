"""Rewriting a forward: anchors, closures, what cannot be rewritten."""

from __future__ import annotations

import inspect
import traceback
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gcnet.insertion.rewrite import after, after_each, before, before_each, rewrite, walks_children

SCALE = 2.0


class Twice(nn.Module):
    def act(self, x: Tensor) -> Tensor:
        return x + 1

    def forward(self, x: Tensor, *, power: int = 1) -> Tensor:
        """Docstring."""
        x = self.act(x * SCALE)
        return self.act(x) ** power


class Branches(nn.Module):
    def __init__(self, short: bool) -> None:
        super().__init__()
        self.short = short

    def act(self, x: Tensor) -> Tensor:
        return x + 1

    def forward(self, x: Tensor) -> Tensor:
        if self.short:
            return self.act(x)
        return self.act(x * 10)


class Derived(Twice):
    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


class Private(nn.Module):
    def __double(self, x: Tensor) -> Tensor:
        return 2 * x

    def act(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.__double(x))


class Failing(Twice):
    def forward(self, x: Tensor) -> Tensor:
        return self.act(x.reshape(-1, 7))


class Decorated(Twice):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self.act(x)


class Walking(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for child in self.children():
            x = child(x)
        return x


def times_hundred(self: Any, name: str, x: Tensor) -> Tensor:
    return 100 * x


def run(cls: type, anchor: Any, x: float = 3.0, *args: Any, **kwargs: Any) -> float:
    """The rewritten forward of ``cls`` applied to ``x``, where the block multiplies by 100."""
    subclass = type(cls.__name__, (cls,), {"apply_context": times_hundred})
    subclass.forward = rewrite(vars(cls)["forward"], {"block": anchor}, f"test of {cls.__name__} {anchor}")
    return subclass(*args)(torch.tensor([x]), **kwargs).item()


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        (after("act", 1, of=2), 100 * 7 + 1),
        (after("act", 2, of=2), 100 * 8),
        (before("act", 1, of=2), 100 * 6 + 2),
        (before("act", 2, of=2), 100 * 7 + 1),
    ],
)
def test_anchors(anchor: Any, expected: float) -> None:
    assert run(Twice, anchor) == expected


@pytest.mark.parametrize(("short", "expected"), [(True, 400), (False, 3100)])
def test_every_branch(short: bool, expected: float) -> None:
    assert run(Branches, after_each("act", of=2), 3.0, short) == expected
    assert run(Branches, before_each("act", of=2), 3.0, short) == expected - 99


def test_defaults_keywords_and_names_survive() -> None:
    assert run(Twice, after("act", 2, of=2), power=2) == (100 * 8) ** 2
    copy = rewrite(Twice.forward, {"block": after("act", 2, of=2)}, "names")
    assert (copy.__doc__, copy.__name__, copy.__qualname__) == ("Docstring.", "forward", "Twice.forward")
    assert inspect.signature(copy) == inspect.signature(Twice.forward)
    assert copy.__globals__ is Twice.forward.__globals__


def test_globals_stay_live(monkeypatch: pytest.MonkeyPatch) -> None:
    subclass = type("Live", (Twice,), {"apply_context": times_hundred})
    subclass.forward = rewrite(Twice.forward, {"block": after("act", 2, of=2)}, "live")
    monkeypatch.setitem(globals(), "SCALE", 10.0)
    assert subclass()(torch.tensor([1.0])).item() == 100 * 12


def test_super_without_arguments() -> None:
    assert run(Derived, before("act")) == 100 * 8 + 1


def test_tracebacks_show_the_new_source() -> None:
    with pytest.raises(RuntimeError) as failure:
        run(Failing, after("act"))
    text = "".join(traceback.format_exception(failure.value))
    assert "return self.apply_context('block', self.act(x.reshape(-1, 7)))" in text
    assert "<gcnet: test of Failing after self.act(...), call 1 of 1>" in text


def test_walks_skip_context_blocks() -> None:
    assert walks_children(Walking.forward)
    assert not walks_children(Twice.forward)
    assert "self.host_children()" in inspect.getsource(rewrite(Walking.forward, {}, "walk"))


@pytest.mark.parametrize("anchor", [after("act"), after("act", 1, of=3), after("relu"), before("act", 2, of=4)])
def test_calls_that_are_not_as_expected(anchor: Any) -> None:
    with pytest.raises(ValueError, match=r"Twice.forward is not as expected: .* use position='after_block'"):
        rewrite(Twice.forward, {"block": anchor}, "unexpected")


def test_a_call_with_several_arguments_is_refused() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return self.act(x, 1)

    with pytest.raises(ValueError, match="with one argument"):
        rewrite(Odd.forward, {"block": before("act")}, "arguments")


@pytest.mark.parametrize("cls", [Decorated, Private])
def test_forwards_that_cannot_be_rewritten(cls: type) -> None:
    with pytest.raises(ValueError, match="use position='after_block'"):
        rewrite(vars(cls)["forward"], {"block": after("act")}, "impossible")


def test_a_source_that_is_not_there_or_not_the_code() -> None:
    namespace: dict[str, Any] = {}
    exec("def forward(self, x):\n    return self.act(x)\n", namespace)
    with pytest.raises(ValueError, match="cannot be read"):
        rewrite(namespace["forward"], {"block": after("act")}, "no source")

    def forward(self: Any, x: Tensor) -> Tensor:
        return self.act(x)

    forward.__code__ = (lambda self, x: self.act(self.other(x))).__code__.replace(
        co_filename=forward.__code__.co_filename, co_firstlineno=forward.__code__.co_firstlineno, co_name="forward"
    )
    with pytest.raises(ValueError, match="not the code that runs"):
        rewrite(forward, {"block": after("act")}, "stale")
