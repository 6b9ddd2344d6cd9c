"""What links say to each other, as text: listening to it, and keeping it.

A line is one frame, in hexadecimal behind its sender and its name; ``dials`` and ``closes`` stand for themselves, and
``=`` begins a step of the script by which both acted.
"""

from collections.abc import Awaitable, Callable, Iterator

import attrs

from ctlha_trio.seams import Buffer, Listener, Stream, Transport
from ctlha_trio.wire import HEADER_SIZE, FrameType


@attrs.frozen
class Said:
    """One entry of a record."""

    node: str
    what: str
    """``dials``, ``closes``, or the name of a frame."""
    data: bytes = b""


@attrs.define(eq=False)
class Record:
    """What was said, by steps."""

    steps: dict[str, list[Said]] = attrs.field(factory=dict)

    def begin(self, title: str) -> None:
        assert title not in self.steps
        self.steps[title] = []

    def add(self, *said: Said) -> None:
        self.steps[list(self.steps)[-1]] += said

    def __str__(self) -> str:
        lines: list[str] = []
        for title, said in self.steps.items():
            lines.append(f"= {title}")
            lines += [f"{each.node} {each.what} {each.data.hex()}".rstrip() for each in said]
        return "\n".join(lines) + "\n"

    @classmethod
    def read(cls, text: str) -> "Record":
        record = cls()
        for line in text.splitlines():
            if line.startswith("= "):
                record.begin(line[2:])
            else:
                node, what, *data = line.split()
                record.add(Said(node, what, bytes.fromhex("".join(data))))
        return record


def frames_of(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Whole frames, with their names."""
    while data:
        size = HEADER_SIZE + int.from_bytes(data[52:56], "little")
        assert len(data) >= size
        yield FrameType(data[8]).name, data[:size]
        data = data[size:]


@attrs.define(eq=False)
class Tap:
    """A stream that is listened to."""

    inner: Stream
    node: str
    record: Record
    closed: bool = False

    @property
    def description(self) -> str:
        return self.inner.description

    def _note(self, *pieces: Buffer) -> None:
        self.record.add(*(Said(self.node, *each) for each in frames_of(b"".join(pieces))))

    def send_nowait(self, *pieces: Buffer) -> bool:
        if pieces:
            self._note(*pieces)
        return self.inner.send_nowait(*pieces)

    async def flush(self) -> None:
        await self.inner.flush()

    async def send_all(self, *pieces: Buffer) -> None:
        if pieces:
            self._note(*pieces)
        await self.inner.send_all(*pieces)

    async def receive_into(self, buffer: memoryview) -> int:
        return await self.inner.receive_into(buffer)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.record.add(Said(self.node, "closes"))
        self.inner.close()


@attrs.define(eq=False)
class TappedListener:
    inner: Listener
    tap: Callable[[Stream], Stream]

    @property
    def address(self) -> str:
        return self.inner.address

    async def serve(self, handler: Callable[[Stream], Awaitable[None]]) -> None:
        await self.inner.serve(lambda stream: handler(self.tap(stream)))

    def close(self) -> None:
        self.inner.close()


@attrs.define(eq=False)
class TappedTransport:
    inner: Transport
    node: str
    record: Record

    def tap(self, stream: Stream) -> Stream:
        return Tap(stream, self.node, self.record)

    async def dial(self, address: str) -> Stream:
        stream = await self.inner.dial(address)
        self.record.add(Said(self.node, "dials"))
        return self.tap(stream)

    async def listen(self, address: str) -> Listener:
        return TappedListener(await self.inner.listen(address), self.tap)
