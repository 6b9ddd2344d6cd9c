"""An arbiter that is restored to a record which one node alone has outlived: both know it as soon as both run."""

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import NotPrimaryError
from ctlha_trio.ha import Node
from ctlha_trio.link import _handshake
from ctlha_trio.seams import Versioned
from ctlha_trio.testing import MemoryPair, open_pair
from ctlha_trio.wire import OWN_TERMS, Feature, Terms

BLOCK = 4096


async def goes_alone(pair: MemoryPair) -> Node:
    """``b`` dies, ``a`` acknowledges a write alone, and the arbiter goes back to the record that names both."""
    old = Versioned(pair.arbiter.record, pair.arbiter.revision)
    await pair.nodes["a"].volume.write(0, b"old!" * (BLOCK // 4))
    pair.crash("b")
    a = await pair.wait_alone("a")
    await a.volume.write(0, b"new!" * (BLOCK // 4))
    pair.arbiter.restore(old)
    return a


def went_back(node: Node) -> bool:
    return (node.status().verdict, node.status().reasons) == ("stopped", ("arbiter-went-back",))


async def serves_nothing(node: Node) -> None:
    with pytest.raises(NotPrimaryError):
        await node.volume.read(0, BLOCK)
    with pytest.raises(NotPrimaryError):
        await node.volume.write(0, b"two!" * (BLOCK // 4))


@pytest.mark.parametrize("first_s", [0.0, 5.0], ids=["both run", "the other one has stopped"])
async def test_the_node_that_was_down_is_told_and_serves_nothing(first_s: float, autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a = await goes_alone(pair)
        await trio.sleep(first_s)
        assert went_back(a) is bool(first_s)
        b = await pair.restart("b")
        await pair.wait_until(lambda: went_back(a) and went_back(b))
        await trio.sleep(30.0)
        for node in (a, b):
            assert went_back(node)
            await serves_nothing(node)
        assert pair.record.members == ("a", "b")


@pytest.mark.parametrize("disk_call_s", [0.0, 1.0], ids=["at once", "slow"])
async def test_it_keeps_that_in_mind_when_the_other_one_is_gone(disk_call_s: float, autojump_clock: MockClock) -> None:
    """It has not stopped before its disk knows, however slow that is: whoever reads so may end the process."""
    async with open_pair() as pair:
        a = await goes_alone(pair)
        pair.disk_call_s["b"] = disk_call_s
        b = await pair.restart("b")
        await pair.wait_until(lambda: went_back(a) and went_back(b))
        pair.crash("a")
        pair.crash("b")
        b = await pair.restart("b")
        await trio.sleep(30.0)
        assert went_back(b)
        await serves_nothing(b)


async def both_go_alone(pair: MemoryPair, *, lifted: int) -> None:
    """``a`` acknowledges alone and is off; the arbiter goes back, and ``b``, which nobody tells, does likewise.

    The arbiter's revision is ``lifted``, as that of an etcd is that was restored so or keeps other things too.
    """
    old = Versioned(pair.arbiter.record, pair.arbiter.revision)
    await goes_alone(pair)
    pair.crash("a")
    pair.arbiter.restore(Versioned(old.record, old.revision + lifted))
    await pair.restart("b")
    await pair.wait_alone("b")


@pytest.mark.parametrize("lifted", [0, 10])
@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_two_that_went_alone_from_one_record_stop_and_keep_that_in_mind(
    order: str, lifted: int, autojump_clock: MockClock
) -> None:
    """Each has acknowledged what the other one lacks: neither copy is made anew from the other one."""
    async with open_pair() as pair:
        await both_go_alone(pair, lifted=lifted)
        a, b = await pair.restart("a"), pair.nodes["b"]
        await pair.wait_until(lambda: went_back(a) and went_back(b))
        for name in order:
            pair.crash(name)
        for name in order:
            node = await pair.restart(name)
            await trio.sleep(30.0)
            assert went_back(node)
            await serves_nothing(node)
        assert pair.copy("a")[:BLOCK] == b"new!" * (BLOCK // 4)
        assert pair.record.members == ("b",)


@pytest.mark.parametrize("lifted", [0, 10])
async def test_who_reads_that_the_other_one_went_alone_from_the_same_record_stops_and_tells_it(
    lifted: int, autojump_clock: MockClock
) -> None:
    async with open_pair() as pair:
        await both_go_alone(pair, lifted=lifted)
        pair.crash("b")
        a = await pair.restart("a")
        await trio.sleep(30.0)
        assert went_back(a)
        b = await pair.restart("b")
        await trio.sleep(30.0)
        assert [went_back(node) for node in (a, b)] == [True, True]
        assert pair.copy("a")[:BLOCK] == b"new!" * (BLOCK // 4)


async def test_the_newest_record_makes_the_pair_whole_again(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        newest: list[Versioned] = []
        old = Versioned(pair.arbiter.record, pair.arbiter.revision)
        pair.crash("b")
        a = await pair.wait_alone("a")
        await a.volume.write(0, b"new!" * (BLOCK // 4))
        newest.append(Versioned(pair.arbiter.record, pair.arbiter.revision))
        pair.arbiter.restore(old)
        b = await pair.restart("b")
        await pair.wait_until(lambda: went_back(a) and went_back(b))
        pair.arbiter.restore(newest[0])
        for name in ("a", "b"):
            await pair.stop(name)
        for name in ("a", "b"):
            await pair.restart(name)
        await pair.wait_protected()
        assert pair.copy("a")[:BLOCK] == pair.copy("b")[:BLOCK] == b"new!" * (BLOCK // 4)


async def test_a_node_that_was_told_while_the_arbiter_is_silent_waits_for_it(autojump_clock: MockClock) -> None:
    """And serves nothing, however long that takes: what it was told, only the arbiter can show."""
    async with open_pair() as pair:
        a = await goes_alone(pair)
        pair.arbiters["b"].unavailable = True
        b = await pair.restart("b")
        await pair.wait_until(lambda: went_back(a))
        await trio.sleep(30.0)
        assert b.status().verdict == "at-risk"
        await serves_nothing(b)
        pair.arbiters["b"].unavailable = False
        await pair.wait_until(lambda: went_back(b))


@pytest.mark.parametrize("first", ["a", "b"])
async def test_a_node_that_was_abandoned_and_has_read_nothing_of_that_is_told(
    first: str, autojump_clock: MockClock
) -> None:
    """The arbiter is restored to before the force: both nodes were primary alone, each in its own line."""
    async with open_pair() as pair:
        await pair.nodes["a"].volume.write(0, b"old!" * (BLOCK // 4))
        pair.crash("b")
        await (await pair.wait_alone("a")).volume.write(0, b"lost" * (BLOCK // 4))
        pair.crash("a")
        before = Versioned(pair.arbiter.record, pair.arbiter.revision)
        b = await pair.restart("b")
        await pair.wait_until(lambda: b.status().reasons == ("outdated", "peer-lost"))
        await b.force_primary(b.plan_force("a"))
        b = await pair.wait_alone("b")
        await b.volume.write(0, b"new!" * (BLOCK // 4))
        pair.crash("b")
        pair.arbiter.restore(before)
        nodes = [await pair.restart(name) for name in (first, "ab".replace(first, ""))]
        await pair.wait_until(lambda: all(went_back(node) for node in nodes))
        for node in nodes:
            await serves_nothing(node)
        for name in ("a", "b"):
            pair.crash(name)
        a = await pair.restart("a")
        await pair.wait_until(lambda: went_back(a))
        await serves_nothing(a)
        assert pair.copy("b")[:BLOCK] == b"new!" * (BLOCK // 4)


async def goes_on_elsewhere(pair: MemoryPair, starts: int) -> Node:
    """Both go alone from one record, and ``b``, which serves, moves it on at each of its further starts."""
    await both_go_alone(pair, lifted=0)
    for _ in range(starts):
        pair.crash("b")
        await pair.restart("b")
        b = await pair.wait_alone("b")
        await b.volume.write(BLOCK, b"b's!" * (BLOCK // 4))
    return pair.nodes["b"]


@pytest.mark.parametrize("starts", [1, 2, 5])
async def test_a_copy_that_served_alone_is_not_made_anew_from_one_that_did_too(
    starts: int, autojump_clock: MockClock
) -> None:
    """However far that one has moved the record by then: it serves on, and the first keeps what only it has."""
    async with open_pair() as pair:
        b = await goes_on_elsewhere(pair, starts)
        a = await pair.restart("a")
        await pair.wait_until(lambda: went_back(a))
        await trio.sleep(30.0)
        await serves_nothing(a)
        assert pair.copy("a")[:BLOCK] == b"new!" * (BLOCK // 4)
        assert (b.status().role, await b.volume.read(BLOCK, 4)) == ("primary", b"b's!")
        pair.crash("b")
        pair.crash("a")
        a = await pair.restart("a")
        await pair.wait_until(lambda: went_back(a))
        await pair.restart("b")
        b = await pair.wait_alone("b")
        await b.volume.write(BLOCK, b"more" * (BLOCK // 4))
        await trio.sleep(30.0)
        assert went_back(a)
        assert pair.copy("a")[:BLOCK] == b"new!" * (BLOCK // 4)


async def test_a_source_of_a_version_that_does_not_say_from_where_it_counts_is_followed(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before: neither ends the session over what the other one does not know."""
    before = Terms(OWN_TERMS.features & ~Feature.COPY_ORIGINS, OWN_TERMS.fragment_size)
    async with open_pair() as pair:
        await goes_on_elsewhere(pair, 1)
        monkeypatch.setattr(_handshake, "OWN_TERMS", before)
        await pair.restart("a")
        await pair.wait_protected()
        assert pair.copy("a") == pair.copy("b")
