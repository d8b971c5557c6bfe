"""What a network made of a picture: run once, asked often."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

from gcnet.analysis.capture import Maps, capture
from gcnet.study.subject import Subject, View

MOST_BYTES = 2 * 2**30  # of the looks of one network that are kept
SHOWN = 3  # classes


@dataclass(frozen=True, eq=False)
class Look:
    """One picture through one network.

    Attributes:
        view: the picture as the network sees it.
        maps: path of a block -> its queries and keys.
        prediction: likeliest classes and their probabilities; empty where classes are unknown.
    """

    view: View
    maps: Maps
    prediction: tuple[tuple[str, float], ...]

    @property
    def frames(self) -> int:
        """Of a clip; 1 of an image."""
        return self.view.picture.shape[1] if self.view.picture.dim() == 4 else 1

    @torch.inference_mode()
    def row(self, path: str, query: int, head: int | None = None) -> Tensor:
        """The weights of all keys for one query in units of uniform attention: [M], those of the prefix first.

        Args:
            path: of a block.
            query: its position, those of the prefix included.
            head: of a transformer; None for the mean of all.

        Raises:
            KeyError: no such block.
            IndexError: no such query or head.
        """
        record = self.maps[path]
        if not 0 <= query < record.positions:
            raise IndexError(f"query={query} lies outside 0 to {record.positions - 1}")
        if head is not None and not 0 <= head < record.heads:
            raise IndexError(f"head={head} lies outside 0 to {record.heads - 1}")
        row = record.rows([query])[0, :, 0].float()
        return (row.mean(0) if head is None else row[head]) * row.shape[-1]


class Looks:
    """The looks of one network that are kept, the one used longest ago leaving first.

    Safe to use from several threads; the network runs for one of them at a time.

    Args:
        subject: the network.
        most_bytes: of tensors kept; the newest look stays whatever it takes.

    Example:
        >>> from torch import nn
        >>> import gcnet
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), gcnet.NonLocal(8)).eval()
        >>> view = View("grey.png", torch.zeros(3, 10, 10), torch.zeros(3, 10, 10, dtype=torch.uint8))
        >>> looks = Looks(Subject("net", net, lambda source: view, net))
        >>> looks("f0", lambda subject: view).row("1", query=63).shape
        torch.Size([64])
    """

    def __init__(self, subject: Subject, most_bytes: int = MOST_BYTES) -> None:
        self.subject = subject
        self.most_bytes = most_bytes
        self._kept: OrderedDict[str, Look] = OrderedDict()
        self._running, self._storing = Lock(), Lock()

    def __call__(self, key: str, see: Callable[[Subject], View]) -> Look:
        """The look at a picture, kept or made now.

        Args:
            key: of the picture.
            see: the picture as the network sees it, called if it has to run.
        """
        if look := self._find(key):
            return look
        with self._running:
            if look := self._find(key):  # made while this thread waited
                return look
            look = look_at(self.subject, see(self.subject))
            self._store(key, look)
        return look

    def _find(self, key: str) -> Look | None:
        with self._storing:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _store(self, key: str, look: Look) -> None:
        with self._storing:
            self._kept[key] = look
            while len(self._kept) > 1 and sum(map(_size, self._kept.values())) > self.most_bytes:
                self._kept.popitem(last=False)


def look_at(subject: Subject, view: View) -> Look:
    """Run a network on a picture and keep its queries and keys."""
    with capture(subject.net) as maps:
        output = subject(view.input[None])
    return Look(view, maps, _prediction(output, subject.classes))


def _prediction(output: object, classes: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    if not isinstance(output, Tensor) or output.shape != (1, len(classes)):
        return ()
    probabilities, indices = output[0].float().softmax(0).topk(min(SHOWN, len(classes)))
    return tuple(zip((classes[index] for index in indices.tolist()), probabilities.tolist(), strict=True))


def _size(look: Look) -> int:
    """Bytes of the tensors of a look, each memory once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(look)}
    return sum(storages.values())


def _tensors(look: Look) -> Iterator[Tensor]:
    yield from (look.view.input, look.view.picture)
    for record in look.maps.values():
        yield from (value for value in vars(record).values() if isinstance(value, Tensor))
