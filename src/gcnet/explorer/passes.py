"""What a network made of a picture: run once, asked often."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from threading import Lock

import torch
from torch import Tensor

from gcnet.analysis.audit import Audit, audit
from gcnet.analysis.capture import Captured, Maps, capture
from gcnet.analysis.figures.maps import map_obstacle
from gcnet.explorer.pictures import Unknown
from gcnet.study.subject import Subject, View

MOST_BYTES = 2 * 2**30  # of the passes of one network that are kept
SHOWN = 3  # classes
MOST_WEIGHTS = 2**25  # of maps that are measured while somebody waits
PAIRS = 1024  # of positions whose divergence is measured, where there are more


@dataclass(frozen=True, eq=False)
class Pass:
    """One picture through one network.

    Attributes:
        view: the picture as the network sees it.
        maps: path of a block -> its queries and keys.
        prediction: likeliest classes and their probabilities; empty where classes are unknown.
        audits: path of a block -> what was measured of it, where it was asked for.
    """

    view: View
    maps: Maps
    prediction: tuple[tuple[str, float], ...]
    audits: dict[str, Audit] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Of a clip; 1 of an image."""
        return self.view.picture.shape[1] if self.view.picture.dim() == 4 else 1

    @property
    def nbytes(self) -> int:
        """Bytes kept at present; queries and keys are added when a row is first asked for."""
        return sum(record.nbytes for record in self.maps.values())

    def hidden(self, path: str) -> str | None:
        """Why the map of a block cannot be laid over the picture; None where it can."""
        record = self.maps[path]
        axes = len(record.size)
        return map_obstacle(record) or (None if axes == self.view.picture.dim() - 1 else f"over {axes} axes")

    def block(self, path: str) -> Captured:
        """What was kept of a block.

        Raises:
            Unknown: no such block.
            ValueError: it cannot be laid over the picture.
        """
        if path not in self.maps:
            raise Unknown(f"block={path!r} is none of {', '.join(map(repr, self.maps))}")
        if reason := self.hidden(path):
            raise ValueError(f"block={path!r} attends {reason}, which is not shown here")
        return self.maps[path]

    @torch.inference_mode()
    def row(self, path: str, query: int, head: int | None = None) -> Tensor:
        """The weights of all keys for one query in units of uniform attention: [M], those of the prefix first.

        Args:
            path: of a block.
            query: its position, those of the prefix included.
            head: of a transformer; None for the mean of all.

        Raises:
            Unknown: no such block.
            ValueError: no such query or head; weights that are infinite or NaN; a block that is not shown.
        """
        record = self.block(path)
        if not 0 <= query < record.positions:
            raise ValueError(f"query={query} lies outside 0 to {record.positions - 1}")
        if head is not None and not 0 <= head < record.heads:
            raise ValueError(f"head={head} lies outside 0 to {record.heads - 1}")
        row = record.rows([query])[0, :, 0].float()
        weights = (row.mean(0) if head is None else row[head]) * row.shape[-1]
        if not weights.isfinite().all():
            raise ValueError(f"block={path!r}: the weights of query {query} are infinite or NaN")
        return weights


class Passes:
    """The passes of one network that are kept, the one used longest ago leaving first.

    Safe to use from several threads; the network runs for one of them at a time.

    Args:
        subject: the network.
        most_bytes: of tensors kept; the newest stays whatever it takes.

    Example:
        >>> from torch import nn
        >>> import gcnet
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), gcnet.NonLocal(8)).eval()
        >>> view = View("grey.png", torch.zeros(3, 10, 10), torch.zeros(3, 10, 10, dtype=torch.uint8))
        >>> passes = Passes(Subject("net", net, lambda source: view, net))
        >>> passes("f0", lambda subject: view).row("1", query=63).shape
        torch.Size([64])
    """

    def __init__(self, subject: Subject, most_bytes: int = MOST_BYTES) -> None:
        self.subject = subject
        self.most_bytes = most_bytes
        self._kept: OrderedDict[str, Pass] = OrderedDict()
        self._running, self._storing = Lock(), Lock()

    def __call__(self, key: str, see: Callable[[Subject], View]) -> Pass:
        """The pass of a picture, kept or made now.

        Args:
            key: of the picture.
            see: the picture as the network sees it, called if it has to run.
        """
        if known := self._find(key):
            return known
        with self._running:
            if known := self._find(key):  # made while this thread waited
                return known
            made = run_pass(self.subject, see(self.subject))
            self._store(key, made)
        return made

    def audit(self, one: Pass, path: str) -> Audit | None:
        """What :func:`gcnet.analysis.audit.audit` measures of a block in a picture; None of a map that is too large.

        Raises errors of :meth:`Pass.block`.
        """
        record = one.block(path)
        if not record.pooled and record.heads * prod(record.size) * prod(record.key_size) > MOST_WEIGHTS:
            return None
        with self._running:
            if path not in one.audits:
                inputs = one.view.input[None]
                one.audits[path] = audit(self.subject.net, [inputs], forward=self.subject, match=path, pairs=PAIRS)
        return one.audits[path]

    def _find(self, key: str) -> Pass | None:
        with self._storing:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _store(self, key: str, one: Pass) -> None:
        with self._storing:
            self._kept[key] = one
            while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > self.most_bytes:
                self._kept.popitem(last=False)


def run_pass(subject: Subject, view: View) -> Pass:
    """Run a network on a picture and keep its queries and keys.

    Raises:
        ValueError: a network without attention, or none that can be laid over a picture.
    """
    with capture(subject.net) as maps:
        output = subject(view.input[None])
    done = Pass(view, maps, _prediction(output, subject.classes))
    reasons = [done.hidden(path) for path in maps]
    if all(reasons):
        raise ValueError(f"{subject.name}: attends {reasons[0]} alone, which is not shown here")
    return done


def _prediction(output: object, classes: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    if not isinstance(output, Tensor) or output.shape != (1, len(classes)) or not output.isfinite().all():
        return ()
    probabilities, indices = output[0].float().softmax(0).topk(min(SHOWN, len(classes)))
    return tuple(zip((classes[index] for index in indices.tolist()), probabilities.tolist(), strict=True))
