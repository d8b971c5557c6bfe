"""What was collected, by path and call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gcnet.analysis.capture.record import Captured


class Maps(Mapping[str, Captured]):
    """Path of a block or attention layer -> what its last call showed, in the order of the first calls.

    Every call adds a record, so memory grows with every forward pass until :meth:`clear`; :attr:`Captured.nbytes`
    tells how much one record holds. The maps stay usable after the context, and refer to nothing of the model.

    Example:
        >>> import torch, gcnet
        >>> model = gcnet.NonLocal(8)
        >>> with gcnet.capture(model) as maps:
        ...     for _ in range(3):
        ...         _ = model(torch.randn(2, 8, 5, 5))
        >>> len(maps.calls("")), maps[""].nbytes
        (3, 2192)
    """

    def __init__(self) -> None:
        self._calls: dict[str, list[Captured]] = {}
        self.ever = False  #: whether anything was collected, cleared or not

    def __getitem__(self, path: str) -> Captured:
        return self._calls[path][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def __repr__(self) -> str:
        counts = ", ".join(f"{path!r}: {len(calls)} calls" for path, calls in self._calls.items())
        return f"Maps({counts})"

    def calls(self, path: str) -> tuple[Captured, ...]:
        """Every call of a module, in order; a module that attends twice in one forward has two."""
        return tuple(self._calls[path])

    def clear(self) -> None:
        """Forget what was collected, such as before the next batch."""
        self._calls.clear()

    def add(self, record: Captured) -> None:
        """Keep one call."""
        self._calls.setdefault(record.path, []).append(record)
        self.ever = True
