import pytest

from ctlha_trio._errors import ArbiterError
from ctlha_trio.arbiter import MemoryArbiter, SwapFault
from ctlha_trio.pair import Record, SwapOutcome
from ctlha_trio.seams import Arbiter
from ctlha_trio.testing._suites.arbiter_suite import ARBITER_CHECKS, ArbiterCheck, sample_record

NEXT = sample_record(epoch=8, proposal="next")


async def make(record: Record) -> Arbiter:
    return MemoryArbiter(record)


@pytest.mark.parametrize("check", ARBITER_CHECKS, ids=lambda check: check.__name__)
async def test_memory_arbiter_conforms(check: ArbiterCheck) -> None:
    await check(make)


async def test_calls_are_counted_per_client() -> None:
    arbiter = MemoryArbiter(sample_record())
    other = arbiter.client()
    await arbiter.read()
    await arbiter.cas(1, NEXT)
    await other.read()
    await other.read()
    assert (arbiter.reads, arbiter.swaps, other.reads, other.swaps) == (1, 1, 2, 0)


async def test_clients_share_the_record_and_the_identity() -> None:
    arbiter = MemoryArbiter(sample_record(), identity="one")
    other = arbiter.client()
    assert (await arbiter.cas(1, NEXT)).outcome is SwapOutcome.WON
    assert (await other.read()).record == NEXT
    assert other.identity == "one"


async def test_unavailable_is_a_certain_no_for_one_client_only() -> None:
    arbiter = MemoryArbiter(sample_record())
    other = arbiter.client()
    arbiter.unavailable = True
    with pytest.raises(ArbiterError):
        await arbiter.read()
    assert (await arbiter.cas(1, NEXT)).outcome is SwapOutcome.REFUSED
    assert (await other.read()).revision == 1
    arbiter.unavailable = False
    assert (await arbiter.cas(1, NEXT)).outcome is SwapOutcome.WON


@pytest.mark.parametrize(
    ("fault", "outcome", "applied"),
    [
        (SwapFault.REFUSE, SwapOutcome.REFUSED, False),
        (SwapFault.UNKNOWN_APPLIED, SwapOutcome.UNKNOWN, True),
        (SwapFault.UNKNOWN_NOT_APPLIED, SwapOutcome.UNKNOWN, False),
        (SwapFault.UNKNOWN_APPLIED_LATER, SwapOutcome.UNKNOWN, False),
    ],
)
async def test_fault_happens_to_one_swap(fault: SwapFault, outcome: SwapOutcome, applied: bool) -> None:
    arbiter = MemoryArbiter(sample_record())
    arbiter.next_cas(fault)
    answer = await arbiter.cas(1, NEXT)
    assert (answer.outcome, answer.revision) == (outcome, None)
    found = await arbiter.read()
    assert (found.record == NEXT, found.revision) == (applied, 2 if applied else 1)
    assert (await arbiter.cas(found.revision, NEXT)).outcome is SwapOutcome.WON


async def test_unknown_applied_respects_the_revision() -> None:
    arbiter = MemoryArbiter(sample_record())
    arbiter.next_cas(SwapFault.UNKNOWN_APPLIED)
    assert (await arbiter.cas(2, NEXT)).outcome is SwapOutcome.UNKNOWN
    assert (await arbiter.read()).revision == 1


async def test_delayed_swap_is_applied_once_by_release() -> None:
    arbiter = MemoryArbiter(sample_record())
    arbiter.next_cas(SwapFault.UNKNOWN_APPLIED_LATER)
    await arbiter.cas(1, NEXT)
    assert arbiter.release()
    assert (await arbiter.read()).record == NEXT
    assert not arbiter.release()


async def test_delayed_swap_that_was_overtaken_is_never_applied() -> None:
    arbiter = MemoryArbiter(sample_record())
    arbiter.next_cas(SwapFault.UNKNOWN_APPLIED_LATER)
    await arbiter.cas(1, NEXT)
    winner = sample_record(epoch=8, proposal="winner")
    assert (await arbiter.client().cas(1, winner)).outcome is SwapOutcome.WON
    assert not arbiter.release()
    assert (await arbiter.read()).record == winner


async def test_an_old_copy_that_is_put_back_is_there_for_every_client() -> None:
    arbiter = MemoryArbiter(sample_record())
    other = arbiter.client()
    backup = await other.read()
    await arbiter.cas(1, NEXT)
    assert other.revision == 2
    arbiter.restore(backup)
    assert await other.read() == backup
    assert (arbiter.revision, arbiter.record) == (1, sample_record())
