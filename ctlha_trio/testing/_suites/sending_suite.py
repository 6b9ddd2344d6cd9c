"""What every stream must do to send, as checks that take a pair of transports. Run in real time."""

from contextlib import suppress

import trio
import trio.testing

from ctlha_trio.seams import Stream
from ctlha_trio.testing._suites.transport_parts import (
    CHUNK_BYTES,
    LARGE_BYTES,
    SETTLE_S,
    PairFactory,
    connected,
    echo,
    expect,
    expect_closed,
    expect_refusal,
    pattern,
    receive_exactly,
    require,
    room,
)

CALLS_PER_TURN = 64
"""After so many calls at the latest a stream lets others run, whether it had to wait or not."""


async def check_pieces_are_sent_as_one(make_pair: PairFactory) -> None:
    """However many pieces of whatever sizes a send has, their bytes come in order.

    What a send without waiting has no room for is copied, of all of them.
    """
    pieces = [pattern(size) for size in (10, 0, 16_374, 1, 100_000, 3)] + [bytes([number]) for number in range(200)]
    whole = b"".join(pieces)
    async with connected(make_pair(), echo) as stream:
        await stream.send_all()
        await stream.send_all(*pieces)
        require(await receive_exactly(stream, len(whole)) == whole, "all pieces came back, in order")
        require(stream.send_nowait(), "nothing goes at once")
        changing = [bytearray(piece) for piece in [*pieces, pattern(LARGE_BYTES), *pieces]]
        whole = b"".join(changing)
        async with trio.open_nursery() as nursery:
            stream.send_nowait(*changing)
            for piece in changing:
                piece[:] = bytes(len(piece))
            nursery.start_soon(stream.flush)
            require(await receive_exactly(stream, len(whole)) == whole, "all pieces came back as they were sent")


async def check_send_nowait(make_pair: PairFactory) -> None:
    """What there is room for goes at once; a rest is kept and goes before all else, once somebody waits for it.

    Until then nothing more can be sent without waiting. A flush that was cancelled has lost nothing.
    """
    piece, tail = pattern(CHUNK_BYTES - 1), b"tail"
    may_read, arrived = trio.Event(), trio.Event()
    sent = 0

    async def read_late(stream: Stream) -> None:
        await may_read.wait()
        for number in range(sent):
            came = await receive_exactly(stream, len(piece))
            require(came == piece, f"piece {number} of {sent} came whole and in its place")
        require(await receive_exactly(stream, len(tail)) == tail, "what was sent later came behind it")
        arrived.set()
        await trio.sleep_forever()

    async with connected(make_pair(), read_late) as stream:
        require(stream.send_nowait(b""), "nothing goes at once")
        changing = bytearray(piece)
        is_sent = True
        while is_sent:
            changing[:] = piece
            is_sent = stream.send_nowait(changing)
            changing[:] = bytes(len(piece))
            sent += 1
            require(sent * len(piece) < 8 * LARGE_BYTES, "there is no room for ever more that nobody reads")
        expect_refusal(trio.BusyResourceError, stream)
        with trio.move_on_after(SETTLE_S) as scope:
            while True:
                await stream.flush()
        require(scope.cancelled_caught, "a flush waits, or the rest has gone")
        may_read.set()
        await stream.send_all(tail)
        await arrived.wait()
        require(stream.send_nowait(b"more"), "there is room again")
        await stream.flush()


async def check_flush(make_pair: PairFactory) -> None:
    """A flush returns once what was kept has gone, wakes up for a close, and stands in the way of other senders."""
    piece = pattern(CHUNK_BYTES)
    may_read = trio.Event()
    flushed, closed = trio.Event(), trio.Event()

    async def read_late(stream: Stream) -> None:
        await may_read.wait()
        await _swallow(stream, until=flushed)
        await trio.sleep_forever()

    async with connected(make_pair(), read_late) as stream, trio.open_nursery() as nursery:
        await _fill_up(stream, piece)

        async def flush_for_ever() -> None:
            while True:
                _fill(stream, piece)
                await stream.flush()

        async def flush() -> None:
            await stream.flush()
            flushed.set()
            await expect_closed(flush_for_ever)
            closed.set()

        nursery.start_soon(flush)
        await trio.testing.wait_all_tasks_blocked(SETTLE_S)
        require(not flushed.is_set(), "a flush waits while nobody reads")
        await expect(trio.BusyResourceError, stream.flush)
        await expect(trio.BusyResourceError, stream.send_all, b"x")
        expect_refusal(trio.BusyResourceError, stream)
        may_read.set()
        await flushed.wait()
        await trio.testing.wait_all_tasks_blocked(SETTLE_S)
        stream.close()
        await closed.wait()


async def check_what_is_kept_breaks_with_the_connection(make_pair: PairFactory) -> None:
    """If the other side is gone, so is what was kept: sooner or later each way to send says that it broke."""

    async def leave(stream: Stream) -> None:
        await stream.receive_into(room(1))
        stream.close()

    async with connected(make_pair(), leave) as stream:
        with suppress(trio.BrokenResourceError):
            _fill(stream, pattern(CHUNK_BYTES))
            await stream.flush()
        await expect(trio.BrokenResourceError, _send_until_it_breaks, stream)
        expect_refusal((trio.BrokenResourceError, trio.BusyResourceError), stream)


async def check_a_send_that_was_cut_short_is_the_last(make_pair: PairFactory) -> None:
    """After a send that was cancelled in between nothing is sent: it would be taken for the rest of that one."""
    async with connected(make_pair(), _never_read) as stream:
        with trio.move_on_after(SETTLE_S) as scope:
            await stream.send_all(bytes(8 * LARGE_BYTES))
        require(scope.cancelled_caught, "a send waits while nobody reads")
        for function in (stream.flush, stream.send_all):
            await expect(trio.BrokenResourceError, function)
        expect_refusal(trio.BrokenResourceError, stream)


async def check_others_run(make_pair: PairFactory) -> None:
    """Who sends, flushes or receives without ever having to wait lets the other tasks run nevertheless."""
    calls = 10 * CALLS_PER_TURN
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async def send_enough(stream: Stream) -> None:
        await stream.send_all(bytes(calls))
        await trio.sleep_forever()

    async with connected(make_pair(), send_enough) as stream, trio.open_nursery() as nursery:
        await trio.testing.wait_all_tasks_blocked(SETTLE_S)
        nursery.start_soon(count_turns)
        for verb, call in (
            ("sends", lambda: stream.send_all(b"")),
            ("flushes", stream.flush),
            ("receives", lambda: stream.receive_into(room(1))),
        ):
            before = turns
            for _ in range(calls):
                await call()
            require(turns - before > calls / CALLS_PER_TURN / 2, f"who {verb} lets others run")
        nursery.cancel_scope.cancel()


SENDING_CHECKS = (
    check_pieces_are_sent_as_one,
    check_send_nowait,
    check_flush,
    check_what_is_kept_breaks_with_the_connection,
    check_a_send_that_was_cut_short_is_the_last,
    check_others_run,
)


async def _never_read(_: Stream) -> None:
    await trio.sleep_forever()


async def _swallow(stream: Stream, *, until: trio.Event) -> None:
    buffer = room(CHUNK_BYTES)
    while not until.is_set():
        await stream.receive_into(buffer)


async def _send_until_it_breaks(stream: Stream) -> None:
    while True:
        await stream.send_all(pattern(CHUNK_BYTES))


def _fill(stream: Stream, piece: bytes) -> None:
    while stream.send_nowait(piece):
        continue


async def _fill_up(stream: Stream, piece: bytes) -> None:
    """Also what room there comes to be while nobody reads: a kernel sends on, and takes more before it says so."""
    is_full = False
    while not is_full:
        _fill(stream, piece)
        is_full = not await _flushes(stream) and not await _flushes(stream)


async def _flushes(stream: Stream) -> bool:
    with trio.move_on_after(SETTLE_S) as scope:
        await stream.flush()
    return not scope.cancelled_caught
