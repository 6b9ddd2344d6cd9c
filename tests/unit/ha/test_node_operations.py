"""Operations on a whole node: what a read proves, what a client that gives up leaves behind, how many are taken."""

from itertools import cycle
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import CtlHaError, FailedError, InvalidError, NotPrimaryError
from ctlha_trio.ha import OperationKind, Outcome
from ctlha_trio.pair import FLIGHTS_LIMIT, WRITE_BYTES_MAX
from ctlha_trio.testing import MemoryPair, open_pair

BLOCK = 4096


def part(pair: MemoryPair) -> None:
    pair.network.cut("a", "b")
    pair.network.cut("b", "a")


async def test_a_read_without_a_live_permit_waits(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a = pair.nodes["a"]
        await a.volume.write(0, b"x" * BLOCK)
        part(pair)
        asked = trio.current_time()
        assert await a.volume.read(0, BLOCK) == b"x" * BLOCK
        assert trio.current_time() - asked > 0.5, "answered only by the sole member, once the silence was noticed"
        assert pair.record.members == ("a",)


async def test_old_primary_never_answers_a_stale_read(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a = pair.nodes["a"]
        await a.volume.write(0, b"old!")
        # Cut off from the peer and the arbiter, the old primary cannot know what became of the pair.
        part(pair)
        pair.arbiters["a"].unavailable = True
        answers: list[bytes | CtlHaError] = []

        async def read() -> None:
            try:
                answers.append(await a.volume.read(0, 4))
            except CtlHaError as error:
                answers.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            b = await pair.wait_alone("b")
            await b.volume.write(0, b"new!")
            nursery.start_soon(read)
            await trio.sleep(10.0)
            assert answers == []
            pair.arbiters["a"].unavailable = False
            pair.network.heal()
        assert [type(answer) for answer in answers] == [NotPrimaryError, NotPrimaryError]
        await pair.wait_protected()
        assert await b.volume.read(0, 4) == b"new!"


@pytest.mark.parametrize("given_up_after_s", [0.0, 0.001, 0.0025, 0.005])
async def test_write_of_a_client_that_gave_up_goes_on(given_up_after_s: float, autojump_clock: MockClock) -> None:
    async with open_pair(disk_call_s={"a": 0.002, "b": 0.003}) as pair:
        a = pair.nodes["a"]
        with trio.move_on_after(given_up_after_s) as scope:
            await a.volume.write(0, b"x" * BLOCK)
        assert scope.cancelled_caught
        taken = bool(a.pair.flights)
        assert taken == (given_up_after_s > 0)
        await a.volume.flush()
        wanted = b"x" * BLOCK if taken else bytes(BLOCK)
        assert pair.durable_copy("a")[:BLOCK] == pair.durable_copy("b")[:BLOCK] == wanted
        assert not a.pair.flights
        # The place of the operation that nobody waited for is free again.
        for _ in range(FLIGHTS_LIMIT + 1):
            await a.volume.read(0, 1)


async def test_more_operations_than_are_taken_at_once_wait(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 21) as pair:
        a = pair.nodes["a"]
        part(pair)
        done: list[int] = []

        async def write(block: int) -> None:
            await a.volume.write(block * BLOCK, bytes([block % 255 + 1]) * BLOCK)
            done.append(block)

        async with trio.open_nursery() as nursery:
            for block in range(FLIGHTS_LIMIT + 50):
                nursery.start_soon(write, block)
            await trio.sleep(0.5)
            assert len(a.pair.flights) == FLIGHTS_LIMIT
            assert not done
            pair.network.heal()
        assert sorted(done) == list(range(FLIGHTS_LIMIT + 50))
        await pair.wait_protected()
        assert pair.copy("a") == pair.copy("b")


async def test_three_different_answers(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        pair.partition()
        await pair.wait_alone("a")
        for name, outcome in (("a", Outcome.DONE), ("b", Outcome.NOT_PRIMARY)):
            answer = await pair.nodes[name].submit(
                OperationKind.WRITE, client=1, number=1, offset=0, size=4, data=b"data"
            )
            assert answer.outcome is outcome
        read = await pair.nodes["a"].submit(OperationKind.READ, client=1, number=2, offset=0, size=4)
        assert (read.outcome, read.data) == (Outcome.DONE, b"data")


@pytest.mark.parametrize(
    ("kind", "offset", "size", "data"),
    [
        (OperationKind.WRITE, 0, 4, b"123"),
        (OperationKind.WRITE, 0, 0, b""),
        (OperationKind.WRITE, -1, 4, b"1234"),
        (OperationKind.READ, (1 << 20) - 3, 4, b""),
        (OperationKind.READ, 0, WRITE_BYTES_MAX + 1, b""),
        (OperationKind.COPY, 0, 4, b""),
    ],
)
async def test_impossible_operation_is_refused(
    kind: OperationKind, offset: int, size: int, data: bytes, autojump_clock: MockClock
) -> None:
    async with open_pair() as pair:
        a = pair.nodes["a"]
        with pytest.raises(InvalidError):
            await a.submit(kind, client=1, number=1, offset=offset, size=size, data=data)
        assert not a.pair.flights


@pytest.mark.parametrize("number", [0.0, 4096 / 2])
async def test_a_number_that_is_not_whole_ends_no_node(number: float, autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        volume, wrong = pair.nodes["a"].volume, cast("int", number)
        for call in (
            lambda: volume.read(wrong, 8),
            lambda: volume.read(0, cast("int", 8.0)),
            lambda: volume.write(wrong, b"data"),
            lambda: volume.write_zeroes(wrong, 8),
            lambda: volume.compare_and_write(wrong, b"0", b"1"),
        ):
            with pytest.raises(InvalidError):
                await call()
        with pytest.raises(TypeError):
            await volume.put_record("key", cast("bytes", 5))
        await volume.write(0, b"data")
        assert await volume.read(0, 4) == b"data"


async def test_handover_moves_the_role_under_load(autojump_clock: MockClock) -> None:
    async with open_pair(disk_call_s={"a": 0.002, "b": 0.003}) as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        outcomes: list[Outcome] = []

        async def write(block: int) -> None:
            data = bytes([block + 1]) * BLOCK
            for node in cycle((a, b)):
                answer = await node.submit(
                    OperationKind.WRITE, client=1, number=block, offset=block * BLOCK, size=BLOCK, data=data
                )
                outcomes.append(answer.outcome)
                if answer.outcome is Outcome.DONE:
                    return
                await trio.sleep(0.001)

        async with trio.open_nursery() as nursery:
            for block in range(4):
                nursery.start_soon(write, block)
            await trio.sleep(0.001)
            nursery.start_soon(a.switchover)
            await trio.sleep(0.001)
            nursery.start_soon(write, 4)
        assert outcomes.count(Outcome.DONE) == 5
        assert set(outcomes) == {Outcome.DONE}, "held while the role moved, then proposed to the other node"
        assert (a.status().role, b.status().role) == ("secondary", "primary")
        for block in range(5):
            assert await b.volume.read(block * BLOCK, 1) == bytes([block + 1])
        with pytest.raises(FailedError):
            await a.switchover()
        await b.switchover()
        await pair.wait_serving("a")


async def test_second_handover_at_once_is_refused(autojump_clock: MockClock) -> None:
    async with open_pair(disk_call_s={"a": 0.01, "b": 0.01}) as pair:
        a = pair.nodes["a"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.switchover)
            await trio.sleep(0.005)
            with pytest.raises(FailedError, match="change-under-way"):
                await a.switchover()


async def test_handover_to_a_peer_that_dies_is_given_up(autojump_clock: MockClock) -> None:
    async with open_pair(disk_call_s={"a": 0.01, "b": 0.01}) as pair:
        a = pair.nodes["a"]
        problems: list[str] = []

        async def hand_over() -> None:
            with pytest.raises(FailedError) as caught:
                await a.switchover()
            problems.append(str(caught.value))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hand_over)
            await trio.sleep(0.005)
            pair.crash("b")
        assert len(problems) == 1
        assert "lost" in problems[0]
        await pair.wait_alone("a")
        await a.volume.write(0, b"x")
