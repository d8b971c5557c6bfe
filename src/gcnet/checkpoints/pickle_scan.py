"""Look through a pickle without running it: every global it names, and whether its size is that of a checkpoint."""

from __future__ import annotations

import pickletools
from typing import IO, NamedTuple, Protocol, cast

from gcnet.checkpoints.errors import CheckpointError

MAX_OPCODES = 5_000_000
#: Values in all tuples, counted as often as they are used: a tuple is walked whole when it is a key.
MAX_TUPLE_VALUES = 20_000_000
#: Integers beyond 72 bits: as keys, many of them would share one hash.
MAX_LONG_INTEGERS = 10_000
MAX_BITS = 4096

_REFUSED = {"EXT1", "EXT2", "EXT4", "DUP", "INST", "OBJ", "NEXT_BUFFER", "READONLY_BUFFER", "BYTEARRAY8", "PERSID"}
_GETS, _PUTS = ("BINGET", "LONG_BINGET"), ("BINPUT", "LONG_BINPUT", "MEMOIZE")
_TEXT_OPCODES = {"INT", "LONG", "FLOAT", "STRING", "UNICODE", "GET", "PUT", "DICT", "LIST"}


class Stream(Protocol):
    """A file-like: what a pickle is read from."""

    def read(self, size: int = ..., /) -> bytes: ...  # noqa: D102
    def readline(self) -> bytes: ...  # noqa: D102
    def tell(self) -> int: ...  # noqa: D102
    def seek(self, position: int, /) -> object: ...  # noqa: D102


class Scan(NamedTuple):
    """Full names of the globals, in order of appearance, and the position behind the pickle."""

    globals: tuple[str, ...]
    end: int


def scan(stream: Stream) -> Scan:
    """The globals named by the pickle that starts at the stream's position.

    Raises:
        CheckpointError: if the pickle is truncated or corrupt, or larger or stranger than any checkpoint's.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], stream))):
            if count >= MAX_OPCODES:
                raise CheckpointError(f"a pickle of more than {MAX_OPCODES} opcodes is no checkpoint")
            machine.step(opcode, argument)
    except CheckpointError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"the pickle in the file is truncated or corrupt ({error})") from None
    return Scan(tuple(machine.globals), stream.tell())


class _Machine:
    """The pickle's stack, holding of each value its size as a tuple, and of strings the text."""

    def __init__(self) -> None:
        self.stack: list[int | str] = []
        self.marks: list[int] = []
        self.memo: dict[int, int | str] = {}
        self.globals: dict[str, None] = {}
        self.tuple_values = 0
        self.long_integers = 0

    def step(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        name = opcode.name
        if name in _REFUSED or name in _TEXT_OPCODES:
            raise CheckpointError(f"the pickle uses the opcode {name}, which torch.save does not write")
        if name in _PUTS:
            index = len(self.memo) if name == "MEMOIZE" else argument
            if not isinstance(index, int) or index > MAX_OPCODES:
                raise CheckpointError(f"the pickle remembers a value under the number {index}: corrupt or hostile")
            self.memo[index] = self.stack[-1]
        elif name in _GETS:
            assert isinstance(argument, int)
            self.push(self.memo[argument])
        elif name == "MARK":
            self.marks.append(len(self.stack))
        else:
            self.change(opcode, argument)

    def change(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        taken: list[int | str] = []
        kinds = opcode.stack_before
        if pickletools.markobject in kinds:
            mark = self.marks.pop()
            taken = self.stack[mark:]
            del self.stack[mark:]
            kinds = kinds[: kinds.index(pickletools.markobject)]
        if len(kinds) > len(self.stack) - (self.marks[-1] if self.marks else 0):
            raise IndexError("the stack runs empty")
        if kinds:
            taken = self.stack[-len(kinds) :] + taken
            del self.stack[-len(kinds) :]
        if opcode.name == "GLOBAL":
            self.globals[str(argument).replace(" ", ".", 1)] = None
        elif opcode.name == "STACK_GLOBAL":
            self.globals[".".join(map(str, taken))] = None
        elif isinstance(argument, int) and argument.bit_length() > 72:
            self.long_integers += 1
            if self.long_integers > MAX_LONG_INTEGERS or argument.bit_length() > MAX_BITS:
                raise CheckpointError(
                    f"the pickle holds an integer of {argument.bit_length()} bits, or thousands beyond 72 bits"
                )
        for _ in opcode.stack_after:
            if "TUPLE" in opcode.name:
                self.push(1 + sum(value if isinstance(value, int) else 1 for value in taken))
            else:
                self.push(argument if isinstance(argument, str) else 1)

    def push(self, value: int | str) -> None:
        self.stack.append(value)
        if isinstance(value, int) and value > 1:
            self.tuple_values += value
            if self.tuple_values > MAX_TUPLE_VALUES:
                raise CheckpointError(f"the pickle holds tuples of more than {MAX_TUPLE_VALUES} values in all")
