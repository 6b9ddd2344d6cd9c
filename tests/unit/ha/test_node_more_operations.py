"""Write-zeroes, unmap and compare-and-write on whole nodes: on both copies, at their bounds, over what can go wrong."""

from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import InvalidError, MiscompareError
from ctlha_trio.ha import COMPARE_BYTES_MAX, ZEROES_BYTES_MAX, Outcome, Volume
from ctlha_trio.ha._client_requests import Answer
from ctlha_trio.ha._pieces import PIECES_AT_ONCE, execute_pieces, pieces_of
from ctlha_trio.pair import WRITE_BYTES_MAX, Operation, OperationKind
from ctlha_trio.testing import MemoryPair, open_pair

BLOCK = 4096
SIZE = 4 * WRITE_BYTES_MAX


def both(pair: MemoryPair, offset: int, size: int) -> bytes:
    """What both copies hold, durably."""
    one, other = (pair.durable_copy(name)[offset : offset + size] for name in ("a", "b"))
    assert one == other
    return one


@pytest.mark.parametrize("zero", [Volume.write_zeroes, Volume.unmap])
async def test_a_range_is_zeros_on_both_copies(zero: object, autojump_clock: MockClock) -> None:
    assert callable(zero)
    async with open_pair(size_bytes=SIZE) as pair:
        volume = pair.nodes["a"].volume
        for offset in range(0, SIZE, WRITE_BYTES_MAX):
            await volume.write(offset, b"x" * WRITE_BYTES_MAX)
        await zero(volume, 100, 2 * WRITE_BYTES_MAX)
        assert both(pair, 0, 100) == b"x" * 100
        assert both(pair, 100, 2 * WRITE_BYTES_MAX) == bytes(2 * WRITE_BYTES_MAX)
        assert set(both(pair, 2 * WRITE_BYTES_MAX + 100, SIZE)) == {ord("x")}
        assert await volume.read(99, 2) == b"x\0"
        assert not pair.nodes["a"].pair.flights


async def test_zeros_keep_their_place_among_writes(autojump_clock: MockClock) -> None:
    """Of many writes under way at once, each range ends as what was asked last."""
    async with open_pair(size_bytes=SIZE) as pair:
        volume = pair.nodes["a"].volume
        async with trio.open_nursery() as nursery:
            for block in range(40):
                nursery.start_soon(volume.write, block * BLOCK, bytes([block + 1]) * BLOCK)
                if block % 3 == 0:
                    nursery.start_soon(volume.write_zeroes, block * BLOCK, BLOCK)
                elif block % 3 == 1:
                    nursery.start_soon(volume.unmap, block * BLOCK, BLOCK)
        for block in range(40):
            assert both(pair, block * BLOCK, BLOCK) == await volume.read(block * BLOCK, BLOCK)
        assert both(pair, 2 * BLOCK, BLOCK) == b"\x03" * BLOCK


async def test_zeros_survive_a_takeover(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=SIZE) as pair:
        await pair.nodes["a"].volume.write(0, b"x" * BLOCK)
        await pair.nodes["a"].volume.write_zeroes(0, 100)
        pair.crash("a")
        b = await pair.wait_alone("b")
        assert await b.volume.read(0, 101) == bytes(100) + b"x"


async def test_a_compare_and_write_changes_only_what_it_expects(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=SIZE) as pair:
        volume = pair.nodes["a"].volume
        await volume.write(512, b"old!")
        await volume.compare_and_write(512, b"old!", b"new!")
        assert both(pair, 512, 4) == b"new!"
        with pytest.raises(MiscompareError, match="the byte at 513") as caught:
            await volume.compare_and_write(512, b"nxxx", b"lost")
        assert caught.value.offset == 513
        assert both(pair, 512, 4) == b"new!"


async def test_of_many_that_compare_with_the_same_one_writes(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=SIZE) as pair:
        volume = pair.nodes["a"].volume
        won: list[int] = []

        async def compete(number: int) -> None:
            try:
                await volume.compare_and_write(0, bytes(BLOCK), bytes([number]) * BLOCK)
            except MiscompareError:
                return
            won.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(1, 20):
                nursery.start_soon(compete, number)
        (winner,) = won
        assert both(pair, 0, BLOCK) == bytes([winner]) * BLOCK


@pytest.mark.parametrize(
    ("kind", "size", "data"),
    [
        (OperationKind.WRITE_ZEROES, 0, 0),
        (OperationKind.UNMAP, ZEROES_BYTES_MAX + 1, 0),
        (OperationKind.UNMAP, SIZE + 1, 0),
        (OperationKind.COMPARE_AND_WRITE, 0, 0),
        (OperationKind.COMPARE_AND_WRITE, BLOCK, BLOCK),
        (OperationKind.COMPARE_AND_WRITE, COMPARE_BYTES_MAX + 1, 2 * COMPARE_BYTES_MAX + 2),
        (OperationKind.COPY, BLOCK, BLOCK),
    ],
)
async def test_what_cannot_be_is_refused(kind: OperationKind, size: int, data: int, autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=SIZE) as pair:
        with pytest.raises(InvalidError):
            await pair.nodes["a"].submit(kind, client=1, number=1, offset=0, size=size, data=bytes(data))


async def test_contents_of_different_sizes_are_not_compared(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=SIZE) as pair:
        with pytest.raises(InvalidError):
            await pair.nodes["a"].volume.compare_and_write(0, b"four", b"three")


# Long operations.


def zeroes(offset: int, size: int) -> Operation:
    return Operation(OperationKind.WRITE_ZEROES, 1, 1, offset, size)


@pytest.mark.parametrize(("offset", "size"), [(0, 1), (100, SIZE), (WRITE_BYTES_MAX - 1, 2), (0, WRITE_BYTES_MAX)])
def test_pieces_cover_the_range_and_each_touches_one_extent(offset: int, size: int) -> None:
    pieces = list(pieces_of(zeroes(offset, size)))
    assert pieces[0].offset == offset
    assert sum(piece.size for piece in pieces) == size
    for piece, following in pairwise(pieces):
        assert piece.offset + piece.size == following.offset
    for piece in pieces:
        assert piece.offset // WRITE_BYTES_MAX == (piece.offset + piece.size - 1) // WRITE_BYTES_MAX


@pytest.mark.parametrize(
    ("outcomes", "whole"),
    [
        ("DDDDDD", Outcome.DONE),
        ("NNNNNN", Outcome.NOT_PRIMARY),
        ("FFFFFF", Outcome.FAILED),
        ("DDDDDN", Outcome.UNKNOWN),
        ("NDDDDD", Outcome.UNKNOWN),
        ("DUUUUU", Outcome.UNKNOWN),
    ],
)
async def test_a_long_operation_is_what_all_its_pieces_were(outcomes: str, whole: Outcome) -> None:
    by_letter = {outcome.name[0]: outcome for outcome in Outcome}
    asked: list[int] = []

    async def execute(piece: Operation) -> Answer:
        number = piece.offset // WRITE_BYTES_MAX
        asked.append(number)
        await trio.lowlevel.checkpoint()
        return Answer(by_letter[outcomes[number]])

    answer = await execute_pieces(zeroes(0, len(outcomes) * WRITE_BYTES_MAX), execute)
    assert answer.outcome is whole
    assert asked == sorted(asked)


async def test_no_piece_is_begun_after_one_that_was_not_done() -> None:
    asked = 0

    async def execute(_: Operation) -> Answer:
        nonlocal asked
        asked += 1
        await trio.lowlevel.checkpoint()
        return Answer(Outcome.NOT_PRIMARY)

    await execute_pieces(zeroes(0, 100 * WRITE_BYTES_MAX), execute)
    assert asked <= PIECES_AT_ONCE


async def test_a_long_operation_of_which_a_piece_was_done_and_one_refused_ends_unknown() -> None:
    answers = iter((Outcome.DONE, *[Outcome.NOT_PRIMARY] * PIECES_AT_ONCE))

    async def execute(_: Operation) -> Answer:
        await trio.lowlevel.checkpoint()
        return Answer(next(answers))

    assert (await execute_pieces(zeroes(0, 100 * WRITE_BYTES_MAX), execute)).outcome is Outcome.UNKNOWN


async def test_a_long_operation_goes_on_while_the_role_moves_to_the_other_node(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=SIZE * 4, disk_call_s={"a": 0.01, "b": 0.01}) as pair:
        a = pair.nodes["a"]
        await a.volume.write(0, b"x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.volume.write_zeroes, 0, SIZE * 4)
            await pair.wait_until(lambda: not pair.durable_copy("b")[0])
            await a.switchover()
        assert both(pair, 0, SIZE * 4) == bytes(SIZE * 4)
