"""Operations that enter at either node: the same volume through both, in one order."""

from itertools import count, cycle

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from ctlha_trio._errors import FailedError, MediumError, MiscompareError
from ctlha_trio.ha._inbox import RING_BYTES
from ctlha_trio.link import _handshake
from ctlha_trio.pair import (
    FLIGHTS_LIMIT,
    RECORDS_BYTES_MAX,
    WRITE_BYTES_MAX,
    OperationKind,
    Outcome,
    Phase,
    encoded_bytes,
    events,
    messages,
)
from ctlha_trio.testing import MemoryPair, open_pair
from ctlha_trio.wire import OWN_TERMS, Feature, Terms
from tests.unit.ha.test_node_repair import decay

BLOCK = 4096
SIZE = 1 << 18


async def test_what_is_written_through_either_node_is_read_through_both(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        for number in range(30):
            for name in ("a", "b"):
                data = bytes([number]) * BLOCK
                await pair.nodes[name].volume.write(BLOCK * (number % 3), data)
                for node in pair.nodes.values():
                    assert await node.volume.read(BLOCK * (number % 3), BLOCK) == data
                    await node.volume.flush()


async def test_conflicting_writes_through_both_nodes_end_in_one_order(autojump_clock: MockClock) -> None:
    async with open_pair() as pair, trio.open_nursery() as nursery:

        async def write(name: str, client: int) -> None:
            for number in range(20):
                await pair.nodes[name].volume.write(BLOCK * (number % 3), bytes([8 * number + client]) * BLOCK)

        async with trio.open_nursery() as writers:
            for client in range(8):
                writers.start_soon(write, ("a", "b")[client % 2], client)
        found = [await node.volume.read(0, 3 * BLOCK) for node in pair.nodes.values()]
        assert found[0] == found[1] == pair.durable_copy("a")[: 3 * BLOCK] == pair.durable_copy("b")[: 3 * BLOCK]
        nursery.cancel_scope.cancel()


async def test_writes_through_both_nodes_go_on_through_a_switchover(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await pair.nodes["b"].volume.write(0, b"b" * BLOCK)
        await pair.nodes["a"].switchover()
        await pair.nodes["a"].volume.write(0, b"a" * BLOCK)
        await pair.nodes["b"].volume.write(BLOCK, b"b" * BLOCK)
        for node in pair.nodes.values():
            assert await node.volume.read(0, 2 * BLOCK) == b"a" * BLOCK + b"b" * BLOCK


@pytest.mark.parametrize("delay_s", [0.002, 0.01])
async def test_switchovers_among_writes_through_both_nodes_lose_no_session_and_no_write(
    delay_s: float, autojump_clock: MockClock
) -> None:
    """Whatever is pushed is of the epoch of the ring to which it comes."""
    async with open_pair() as pair, trio.open_nursery() as nursery:
        nodes = pair.nodes
        pair.network.delay("a", "b", delay_s)
        pair.network.delay("b", "a", delay_s)
        begun = dict.fromkeys(nodes, 0)
        ended = dict.fromkeys(nodes, 0)

        async def write(name: str, number: int) -> None:
            await nodes[name].volume.write(BLOCK * (number % 30), bytes([number % 256]) * BLOCK)
            ended[name] += 1

        async def load(name: str, writers: trio.Nursery, stop: trio.Event) -> None:
            while not stop.is_set():
                begun[name] += 1
                writers.start_soon(write, name, begun[name])
                await trio.sleep(0.002)

        sessions = [node._driver._link.session_id for node in nodes.values()]
        epoch, before_s = nodes["a"]._driver.state.epoch, trio.current_time()
        stop = trio.Event()
        async with trio.open_nursery() as writers:
            for name in nodes:
                writers.start_soon(load, name, writers, stop)
            for name in ("a", "b", "a"):
                await trio.sleep(0.5)
                await nodes[name].switchover()
            await trio.sleep(0.5)
            stop.set()
        assert ended == begun
        assert sessions == [node._driver._link.session_id for node in nodes.values()]
        assert [node._driver.state.epoch for node in nodes.values()] == [epoch + 3] * 2
        for node in nodes.values():
            passed = {each.what.partition(":")[0] for each in node._driver.transitions.kept if each.at_s >= before_s}
            assert passed == {"handing-over", "following", "mirroring"}
        assert both(pair, 0, 30 * BLOCK)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("flaps", [1, 3])
async def test_a_flap_loses_and_repeats_nothing(flaps: int, autojump_clock: MockClock) -> None:
    async with open_pair() as pair, trio.open_nursery() as nursery:
        written: list[int] = []

        async def write(name: str, place: int) -> None:
            for number in range(50):
                await pair.nodes[name].volume.write(place, bytes([number]) * BLOCK)
                written.append(number)

        nursery.start_soon(write, "b", 0)
        nursery.start_soon(write, "a", BLOCK)
        for _ in range(flaps):
            await trio.sleep(0.005)
            pair.break_link()
        await pair.wait_until(lambda: len(written) == 100)
        last = bytes([49]) * BLOCK
        assert [await node.volume.read(0, 2 * BLOCK) for node in pair.nodes.values()] == [2 * last] * 2


async def test_after_a_takeover_the_survivor_ends_what_its_clients_had_under_way(autojump_clock: MockClock) -> None:
    async with open_pair() as pair, trio.open_nursery() as nursery:
        b = pair.nodes["b"]
        await b.volume.write(0, b"0" * BLOCK)
        nursery.start_soon(b.volume.write, 0, b"1" * BLOCK)
        await trio.lowlevel.checkpoint()
        pair.crash("a")
        await pair.wait_alone("b")
        assert await b.volume.read(0, BLOCK) == b"1" * BLOCK


def both(pair: MemoryPair, offset: int, size: int) -> bytes:
    """What is durable on both nodes, which must be the same."""
    one, other = (pair.durable_copy(name)[offset : offset + size] for name in ("a", "b"))
    assert one == other
    return one


async def test_zeros_that_enter_at_the_secondary(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        volume = pair.nodes["b"].volume
        await volume.write(0, b"x" * 3 * BLOCK)
        await volume.write_zeroes(0, BLOCK)
        await volume.unmap(2 * BLOCK, BLOCK)
        assert both(pair, 0, 3 * BLOCK) == bytes(BLOCK) + b"x" * BLOCK + bytes(BLOCK)


async def test_a_compare_and_write_at_the_secondary_is_compared_where_the_order_is(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a, b = (node.volume for node in pair.nodes.values())
        await a.write(512, b"old!")
        await b.compare_and_write(512, b"old!", b"new!")
        assert both(pair, 512, 4) == b"new!"
        with pytest.raises(MiscompareError, match="the byte at 513") as caught:
            await b.compare_and_write(512, b"nxxx", b"lost")
        assert caught.value.offset == 513
        assert both(pair, 512, 4) == b"new!"


async def test_of_many_that_compare_with_the_same_at_both_nodes_one_writes(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        won: list[int] = []

        async def compete(name: str, number: int) -> None:
            try:
                await pair.nodes[name].volume.compare_and_write(0, bytes(BLOCK), bytes([number]) * BLOCK)
            except MiscompareError:
                return
            won.append(number)

        async with trio.open_nursery() as nursery:
            for name, number in zip(cycle(("b", "a")), range(1, 20), strict=False):
                nursery.start_soon(compete, name, number)
        (winner,) = won
        assert both(pair, 0, BLOCK) == bytes([winner]) * BLOCK


async def test_records_are_put_and_read_at_either_node(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a, b = (node.volume for node in pair.nodes.values())
        await b.put_record("key", b"1")
        record = await a.get_record("key")
        assert record is not None
        assert record == await b.get_record("key")
        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon((a, b)[number % 2].put_record, f"key{number % 3}", bytes([number]))
                nursery.start_soon((b, a)[number % 2].records)
        assert await a.records() == await b.records()
        await b.put_record("key", b"")
        assert await a.get_record("key") is None


async def test_the_primary_refuses_a_record_for_which_it_has_no_room(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        pair.network.delay("a", "b", 0.1)
        pair.network.delay("b", "a", 0.1)
        a, b = (node.volume for node in pair.nodes.values())
        half = bytes(RECORDS_BYTES_MAX // 2 - encoded_bytes("a0", b""))
        failed: list[str] = []

        async def put(name: str, key: str) -> None:
            try:
                await pair.nodes[name].volume.put_record(key, half)
            except FailedError:
                failed.append(key)

        async with trio.open_nursery() as nursery:
            for key in ("a0", "a1"):
                nursery.start_soon(put, "a", key)
            for key in ("b0", "b1"):
                nursery.start_soon(put, "b", key)
        assert sorted(failed) == ["b0", "b1"], "each node sees room for its own two"
        assert {*await b.records()} == {*await a.records()} == {"a0", "a1"}


async def test_what_waits_at_the_primary_holds_no_room_in_its_ring(autojump_clock: MockClock) -> None:
    """Beside one that waits more is taken than the ring holds, where each has its place behind the one before."""
    large = RING_BYTES // WRITE_BYTES_MAX + 2
    # Of a second each, the calls of a's claim would end at the instant at which b has waited for long enough.
    async with open_pair(size_bytes=(large + 1) * WRITE_BYTES_MAX, disk_call_s={"a": 0.95}) as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.volume.write, 0, b"holds the place")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(b.volume.write, 0, b"waits for it")
            await trio.testing.wait_all_tasks_blocked()
            for number in range(1, large + 1):
                nursery.start_soon(b.volume.write, number * WRITE_BYTES_MAX, bytes(WRITE_BYTES_MAX))
            await trio.sleep(0.8)
            begun = [flight.begun for flight in a._driver.state.flights if flight.taken]
            assert begun == [False, *[True] * large]


async def test_a_client_that_has_turned_to_the_primary_is_not_served_what_it_asked_before(
    autojump_clock: MockClock,
) -> None:
    """Its older write was still on its way to the primary when that executed the newer one."""
    async with open_pair() as pair:
        outcomes: dict[str, Outcome] = {}

        async def write(name: str, number: int) -> None:
            data = bytes([number]) * BLOCK
            answer = await pair.nodes[name].submit(
                OperationKind.WRITE, client=7, number=number, offset=0, size=BLOCK, data=data
            )
            outcomes[name] = answer.outcome

        async with trio.open_nursery() as nursery:
            pair.network.delay("b", "a", 0.1)
            nursery.start_soon(write, "b", 1)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(write, "a", 2)
        assert outcomes == {"a": Outcome.DONE, "b": Outcome.SUPERSEDED}
        assert both(pair, 0, BLOCK) == bytes([2]) * BLOCK


async def test_a_client_that_has_turned_to_the_secondary_is_not_served_what_it_asked_before(
    autojump_clock: MockClock,
) -> None:
    """Its older write waited for a place at the primary when that executed the newer one. Others' are executed."""
    outcomes: dict[tuple[str, int], Outcome] = {}
    async with open_pair(size_bytes=SIZE, disk_call_s={"a": 0.2}) as pair:

        async def write(name: str, client: int, number: int) -> None:
            data = bytes([client + number]) * BLOCK
            answer = await pair.nodes[name].submit(
                OperationKind.WRITE, client=client, number=number, offset=client * BLOCK, size=BLOCK, data=data
            )
            outcomes[name, client] = answer.outcome

        async with trio.open_nursery() as nursery:
            for _ in range(FLIGHTS_LIMIT):
                nursery.start_soon(pair.nodes["a"].volume.write, 0, b"all at one place")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(write, "a", 7, 1)
            nursery.start_soon(write, "a", 8, 1)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(write, "b", 7, 2)
        assert outcomes == {("b", 7): Outcome.DONE, ("a", 7): Outcome.SUPERSEDED, ("a", 8): Outcome.DONE}
        assert both(pair, 7 * BLOCK, 2 * BLOCK) == bytes([9]) * 2 * BLOCK


async def test_a_primary_of_which_the_refusal_is_not_known_tells_it_in_the_words_of_before(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other node would end the session over an outcome that its version has not."""
    before = Terms(OWN_TERMS.features & ~Feature.SUPERSEDED, OWN_TERMS.fragment_size)
    monkeypatch.setattr(_handshake, "OWN_TERMS", before)
    async with open_pair() as pair:
        for name, number, outcome in (("a", 2, Outcome.DONE), ("b", 1, Outcome.NOT_PRIMARY)):
            answer = await pair.nodes[name].submit(
                OperationKind.WRITE, client=7, number=number, offset=0, size=BLOCK, data=bytes(BLOCK)
            )
            assert answer.outcome is outcome
        assert pair.nodes["b"].status().flaps == 0


async def test_one_client_that_uses_both_nodes_at_once_is_told_that_it_overtook_itself(
    autojump_clock: MockClock,
) -> None:
    """A pair that is well sends nobody to the other node, and what it refuses stays unexecuted."""
    numbers, outcomes = count(1), set[Outcome]()
    done = dict.fromkeys(range(4), 0)
    async with open_pair() as pair:
        pair.network.delay("b", "a", 0.005)

        async def write(name: str, block: int) -> None:
            for _ in range(20):
                number, place = next(numbers), block * BLOCK
                answer = await pair.nodes[name].submit(
                    OperationKind.WRITE, client=7, number=number, offset=place, size=BLOCK, data=bytes([number]) * BLOCK
                )
                outcomes.add(answer.outcome)
                done[block] = number if answer.outcome is Outcome.DONE else done[block]
                if name == "a":  # not in step with the other node, all of whose messages take as long
                    await trio.sleep(0.0007)

        async with trio.open_nursery() as nursery:
            for block, name in enumerate("abab"):
                nursery.start_soon(write, name, block)
        assert outcomes == {Outcome.DONE, Outcome.SUPERSEDED}
        assert both(pair, 0, 4 * BLOCK) == b"".join(bytes([number]) * BLOCK for number in done.values())


async def test_what_was_not_executed_stands_in_the_way_of_nothing_older(autojump_clock: MockClock) -> None:
    """A copy that is behind serves nobody. Once its node is primary, it takes what its client asked first."""

    async def write(pair: MemoryPair, name: str, number: int) -> Outcome:
        answer = await pair.nodes[name].submit(
            OperationKind.WRITE, client=7, number=number, offset=0, size=BLOCK, data=bytes(BLOCK)
        )
        return answer.outcome

    async with open_pair() as pair:
        pair.crash("a")
        await pair.wait_alone("b")
        await pair.restart("a")
        assert pair.nodes["a"].status().role != "primary"
        assert await write(pair, "a", 6) is Outcome.NOT_PRIMARY
        await pair.wait_protected()
        await pair.nodes["b"].switchover()
        await pair.wait_serving("a")
        assert await write(pair, "b", 5) is Outcome.DONE
        assert await write(pair, "a", 6) is Outcome.DONE
        assert await write(pair, "b", 5) is Outcome.SUPERSEDED


async def test_what_one_client_asks_of_one_node_is_executed_in_any_order(autojump_clock: MockClock) -> None:
    """A long operation is many of one number, and others are asked for beside them."""
    async with open_pair(size_bytes=SIZE) as pair:
        for name in ("a", "b"):
            for number in (2, 1):
                answer = await pair.nodes[name].submit(
                    OperationKind.WRITE, client=ord(name), number=number, offset=0, size=BLOCK, data=bytes(BLOCK)
                )
                assert answer.outcome is Outcome.DONE


async def test_what_the_primary_has_taken_it_executes_although_its_client_turned_and_it_comes_again(
    autojump_clock: MockClock,
) -> None:
    """It waits there, its client asks the primary for something newer, and after a flap it is proposed again."""
    outcomes: dict[tuple[str, int], Outcome] = {}
    async with open_pair(disk_call_s={"a": 0.4}) as pair:
        a = pair.nodes["a"]

        async def write(name: str, number: int, offset: int) -> None:
            data = bytes([number]) * BLOCK
            answer = await pair.nodes[name].submit(
                OperationKind.WRITE, client=7, number=number, offset=offset, size=BLOCK, data=data
            )
            outcomes[name, number] = answer.outcome

        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.volume.write, 0, b"holds the place")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(write, "b", 1, 0)
            await pair.wait_until(lambda: any(flight.taken for flight in a._driver.state.flights))
            nursery.start_soon(write, "a", 2, 8 * BLOCK)
            await trio.testing.wait_all_tasks_blocked()
            pair.break_link()
        assert outcomes == {("b", 1): Outcome.DONE, ("a", 2): Outcome.DONE}
        assert both(pair, 0, BLOCK) == bytes([1]) * BLOCK
        await pair.nodes["b"].volume.write(0, b"and they go on")


async def test_a_sequence_for_what_was_not_proposed_ends_the_session(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair() as pair:
        await pair.nodes["a"].volume.write(0, b"x")
        driver = pair.nodes["b"]._driver
        epoch, last = driver.state.epoch, driver.state.last_sequence
        driver.feed(events.Received(messages.Assigned(epoch, 99, last + 1, last, last)))
        await pair.wait_until(lambda: driver.state.phase is Phase.SUSPENDED)
        assert "the peer broke the protocol: a sequence for proposal 99, which is not under way" in caplog.text
        await pair.nodes["a"].volume.write(0, b"y")
        assert both(pair, 0, 1) == b"y"
        assert driver.state.epoch == epoch, "the next session began anew"


async def test_a_write_that_the_secondary_could_not_execute_leaves_no_place_taken(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=SIZE) as pair:
        a = pair.nodes["a"]
        await a.volume.write(0, b"x" * SIZE)
        decay(pair, "b", 0)
        await a.volume.write(1, b"y")
        assert both(pair, 0, 3) == b"xyx"
        assert not a._driver._outbox._places


async def test_proposals_leave_no_place_taken_and_nothing_kept(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=SIZE) as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(b.volume.write, number % 3, bytes([number]))
                nursery.start_soon(b.volume.put_record, "key", bytes([number]))
        with pytest.raises(MiscompareError):
            await b.volume.compare_and_write(0, b"no", b"xx")
        decay(pair, "a", 0)
        decay(pair, "b", 0)
        with pytest.raises(MediumError):
            await b.volume.write(1, b"y")
        for node in (a, b):
            assert not node._driver._outbox._places
            assert not node._driver._requests.proposals
