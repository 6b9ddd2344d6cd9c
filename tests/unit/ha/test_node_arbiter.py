"""Two whole nodes whose arbiter is silent, or leaves them in doubt."""

from functools import partial

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import FailedError, NotPrimaryError, RoleStaysError, UnknownOutcomeError
from ctlha_trio._repeats import REPEAT_S
from ctlha_trio.arbiter import MemoryArbiter, SwapFault
from ctlha_trio.ha import Node
from ctlha_trio.pair import RECORD_POLL_S, FailoverObstacle, Record
from ctlha_trio.seams import SwapAnswer
from ctlha_trio.testing import MemoryPair, open_pair

BLOCK = 4096


def silence(pair: MemoryPair, *names: str, silent: bool = True) -> None:
    for name in names:
        pair.arbiters[name].unavailable = silent


async def test_silent_arbiter_of_a_connected_pair_only_shows(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        silence(pair, "a", "b")
        await trio.sleep(3.0)
        for node in pair.nodes.values():
            assert (node.status().verdict, node.status().reasons) == ("degraded", ("arbiter-silent",))
            assert node.status().arbiter == "unknown"
        await pair.nodes["a"].volume.write(0, b"x" * BLOCK)
        assert await pair.nodes["a"].volume.read(0, BLOCK) == b"x" * BLOCK
        silence(pair, "a", "b", silent=False)
        await pair.wait_protected()


async def test_peer_and_arbiter_lost_holds_both_and_both_say_why(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        silence(pair, "a", "b")
        pair.network.cut("a", "b")
        pair.network.cut("b", "a")
        done = trio.Event()

        async def write() -> None:
            await a.volume.write(0, b"w" * BLOCK)
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await trio.sleep(10.0)
            assert not done.is_set()
            assert pair.record.members == ("a", "b")
            for node in (a, b):
                assert node.status().verdict == "at-risk"
                assert node.status().reasons == ("arbiter-silent", "peer-lost", "claiming")
            with pytest.raises(NotPrimaryError):
                await b.volume.read(0, BLOCK)
            # The operation is held, not lost: the peer alone brings it to its end.
            pair.network.heal()
            await done.wait()
        assert pair.record.epoch == a.status().epoch
        silence(pair, "a", "b", silent=False)
        await pair.wait_protected()
        assert pair.copy("a")[:BLOCK] == pair.copy("b")[:BLOCK] == b"w" * BLOCK


def refuse_swaps(pair: MemoryPair) -> None:
    for arbiter in pair.arbiters.values():
        arbiter.takes_swaps = False


async def stands(node: Node) -> set[tuple[str, tuple[str, ...], str]]:
    """Everything that the node says of itself within ten seconds."""
    seen: set[tuple[str, tuple[str, ...], str]] = set()
    for _ in range(200):
        status = node.status()
        seen.add((status.verdict, status.reasons, status.arbiter))
        await trio.sleep(0.05)
    return seen


async def test_claim_that_is_refused_again_and_again_is_one_state_and_told_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The arbiter is read, and takes no swap: it is not silent, and says so each second."""
    caplog.set_level("INFO")
    async with open_pair() as pair:
        b = pair.nodes["b"]
        refuse_swaps(pair)
        pair.crash("a")
        await pair.wait_until(lambda: "arbiter-refuses" in b.status().reasons)
        caplog.clear()
        known = len(b.status().transitions)
        assert await stands(b) == {("at-risk", ("arbiter-refuses", "peer-lost", "claiming"), "online")}
        assert not caplog.messages
        assert len(b.status().transitions) == known
        await trio.sleep(REPEAT_S)
        assert len(caplog.messages) == 2
        assert all("times since it was last said" in message for message in caplog.messages)
        pair.arbiters["b"].takes_swaps = True
        await pair.wait_alone("b")
        assert b.status().reasons == ("peer-lost",)
        assert [each.what for each in b.status().transitions][-2:] == ["securing: claim won", "alone: secured"]


async def test_admission_that_is_refused_again_and_again_is_one_state_and_told_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with open_pair() as pair:
        pair.crash("a")
        b = await pair.wait_alone("b")
        refuse_swaps(pair)
        await pair.restart("a")
        await pair.wait_until(lambda: "arbiter-refuses" in b.status().reasons)
        caplog.clear()
        assert await stands(b) == {("degraded", ("arbiter-refuses", "resyncing"), "online")}
        assert not caplog.messages
        pair.arbiters["b"].takes_swaps = True
        await pair.wait_protected()


async def test_swap_that_is_in_doubt_again_and_again_is_told_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A commit fails, say, for want of space: each try of one and the same swap leaves it unknown."""
    async with open_pair() as pair:
        b, arbiter = pair.nodes["b"], pair.arbiters["b"]
        pair.crash("a")
        for swaps in range(arbiter.swaps, arbiter.swaps + 20):
            arbiter.next_cas(SwapFault.UNKNOWN_NOT_APPLIED)
            await pair.wait_until(partial(lambda before: arbiter.swaps > before, swaps))
        assert b.status().reasons == ("arbiter-refuses", "peer-lost", "claiming")
        assert len([message for message in caplog.messages if "is not known" in message]) == 1
        await pair.wait_alone("b")


async def test_silent_arbiter_is_not_one_that_refuses(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        b = pair.nodes["b"]
        silence(pair, "a", "b")
        pair.crash("a")
        await pair.wait_until(lambda: b.status().reasons == ("arbiter-silent", "peer-lost", "claiming"))
        assert await stands(b) == {("at-risk", ("arbiter-silent", "peer-lost", "claiming"), "unknown")}


def proofs(pair: MemoryPair) -> int:
    return sum(arbiter.probes for arbiter in pair.arbiters.values())


async def test_nobody_is_protected_while_the_arbiter_takes_no_change(autojump_clock: MockClock) -> None:
    """It has refused a switchover, and would refuse the takeover of the next failure, while both nodes can read it."""
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        await trio.sleep(10.0)
        assert not proofs(pair), "nothing is written to an arbiter of which nothing is known to be wrong"
        refuse_swaps(pair)
        with pytest.raises(FailedError, match="the arbiter did not take the handover"):
            await a.switchover()
        assert a.status().verdict == "degraded"
        await trio.sleep(1.5)
        for node in (a, b):
            assert await stands(node) == {("degraded", ("arbiter-refuses",), "online")}
            assert node.rehearse_failover().obstacle is FailoverObstacle.ARBITER_REFUSES
        with pytest.raises(RoleStaysError) as refused:
            await a.switchover()
        assert refused.value.causes == ("arbiter-refuses",)
        await a.volume.write(0, b"w" * BLOCK)
        assert await b.volume.read(0, BLOCK) == b"w" * BLOCK, "clients are served all the same"
        for arbiter in pair.arbiters.values():
            arbiter.takes_swaps = True
        await pair.wait_protected()
        asked = proofs(pair)
        await a.switchover()
        await pair.wait_protected()
        await trio.sleep(10.0)
        assert proofs(pair) == asked


async def test_a_node_that_may_only_read_says_so_and_the_other_one_does_not(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        pair.arbiters["a"].takes_swaps = False
        with pytest.raises(FailedError, match="the arbiter did not take the handover"):
            await a.switchover()
        await trio.sleep(3.0)
        assert await stands(a) == {("degraded", ("arbiter-refuses",), "online")}
        assert await stands(b) == {("protected", (), "online")}


@pytest.mark.parametrize(
    "fault", [SwapFault.UNKNOWN_APPLIED, SwapFault.UNKNOWN_NOT_APPLIED, SwapFault.UNKNOWN_APPLIED_LATER]
)
@pytest.mark.parametrize(("dead", "survivor"), [("b", "a"), ("a", "b")])
async def test_unknown_swap_holds_until_it_is_known(
    fault: SwapFault, dead: str, survivor: str, autojump_clock: MockClock
) -> None:
    async with open_pair() as pair:
        node = pair.nodes[survivor]
        await pair.nodes["a"].volume.write(0, b"old!" * (BLOCK // 4))
        arbiter: MemoryArbiter = pair.arbiters[survivor]
        swaps = arbiter.swaps
        arbiter.next_cas(fault)
        pair.crash(dead)
        await pair.wait_until(lambda: arbiter.swaps > swaps)
        arbiter.unavailable = True
        async with trio.open_nursery() as nursery:
            if survivor == "a":
                # Accepted, held, and done once the doubt is over.
                nursery.start_soon(node.volume.write, BLOCK, b"held" * (BLOCK // 4))
            await trio.sleep(10.0)
            assert node.pair.phase.name == "CLAIMING"
            assert node.status().verdict == "at-risk"
            assert pair.durable_metadata(survivor).members == ("a", "b")
            assert len(node.pair.flights) == (1 if survivor == "a" else 0)
            arbiter.unavailable = False
            await pair.wait_alone(survivor)
        assert pair.record.members == (survivor,)
        assert await node.volume.read(0, 4) == b"old!"
        if survivor == "a":
            assert await node.volume.read(BLOCK, 4) == b"held"
        # A swap that is applied only now has lost to the one that ended the doubt.
        assert not arbiter.release()
        await pair.restart(dead)
        await pair.wait_protected()


async def test_unknown_swap_that_the_other_node_won_demotes(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a = pair.nodes["a"]
        pair.arbiters["a"].next_cas(SwapFault.UNKNOWN_APPLIED_LATER)
        pair.network.cut("a", "b")
        pair.network.cut("b", "a")
        swaps = pair.arbiters["a"].swaps
        await pair.wait_until(lambda: pair.arbiters["a"].swaps > swaps)
        pair.arbiters["a"].unavailable = True
        b = await pair.wait_alone("b")
        await b.volume.write(0, b"b" * BLOCK)
        assert not pair.arbiters["a"].release()
        assert a.status().verdict == "at-risk"
        pair.arbiters["a"].unavailable = False
        await pair.wait_until(lambda: a.status().role == "outdated")
        with pytest.raises(NotPrimaryError):
            await a.volume.read(0, BLOCK)
        pair.network.heal()
        await pair.wait_protected()
        assert pair.copy("a") == pair.copy("b")


async def test_arbiter_that_went_back_stops_the_node(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        pair.crash("b")
        a = await pair.wait_alone("a")
        cell = pair.arbiter._cell
        cell.revision -= 1
        await pair.wait_until(lambda: a.status().verdict == "stopped")
        assert a.status().reasons == ("arbiter-went-back",)
        with pytest.raises(NotPrimaryError):
            await a.volume.read(0, BLOCK)


@pytest.mark.parametrize("alone", [False, True], ids=["both", "alone"])
async def test_no_write_asks_the_arbiter(alone: bool, autojump_clock: MockClock) -> None:
    """A thousand writes at once make no call. While a hundred more take ten seconds, there are those of the clock."""
    async with open_pair() as pair:
        node = pair.nodes["a"]
        if alone:
            pair.crash("b")
            await pair.wait_alone("a")

        def calls() -> int:
            return sum(arbiter.reads + arbiter.swaps for arbiter in pair.arbiters.values())

        before, began_s = calls(), trio.current_time()
        for number in range(1000):
            await node.volume.write(number % 16 * BLOCK, b"w" * BLOCK)
        assert calls() == before
        assert trio.current_time() - began_s < RECORD_POLL_S
        for number in range(100):
            await node.volume.write(number % 16 * BLOCK, b"w" * BLOCK)
            await trio.sleep(0.1)
        polls = (trio.current_time() - began_s) // RECORD_POLL_S + 1
        assert 0 < calls() - before <= polls * len(pair.nodes)


async def test_a_node_that_ends_while_the_arbiter_is_asked_does_not_say_that_the_role_stays(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for may be recorded yet."""
    asked, plain = trio.Event(), MemoryArbiter.cas

    async def cas(arbiter: MemoryArbiter, expected_revision: int, record: Record) -> SwapAnswer:
        if len(record.members) == 2 and not asked.is_set():
            asked.set()
            await trio.sleep(1.0)
        return await plain(arbiter, expected_revision, record)

    async with open_pair() as pair:
        a = pair.nodes["a"]

        async def hand_over() -> None:
            with pytest.raises(UnknownOutcomeError, match="while the arbiter was asked"):
                await a.switchover()

        monkeypatch.setattr(MemoryArbiter, "cas", cas)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hand_over)
            await asked.wait()
            await pair.stop("a")
