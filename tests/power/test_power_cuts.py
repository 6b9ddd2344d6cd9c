"""Rules of the protocol, broken one at a time: the power fails at the disk calls of a scenario, and that is found.

``test_power_enumeration`` demands that nothing is found where nothing is broken.
"""

from collections.abc import Callable, Sequence
from itertools import product
from time import perf_counter

import pytest

from ctlha_trio.ha import _pair_driver
from ctlha_trio.pair import Phase, Records, _admission, _membership, _service, actions, messages
from ctlha_trio.pair._step import Step
from ctlha_trio.store import _commit_loop, _record_keeper
from ctlha_trio.store._queue import PersistStep, WriteStep
from ctlha_trio.store._record_copies import RecordTable, area_offset, encode_table
from ctlha_trio.store._slots import SLOT_BYTES, SLOT_COUNT, Slot, encode_slot
from ctlha_trio.store._write_batch import WriteBatch
from ctlha_trio.testing import Moment
from ctlha_trio.testing._power_cuts.enumeration import run_scenario
from ctlha_trio.testing._power_cuts.trial import PowerCutAt

pytestmark = pytest.mark.slow


async def answer_before_the_flush(self: _commit_loop.CommitLoop, writes: Sequence[WriteStep]) -> None:
    if writes:
        batch = WriteBatch(self._volume)
        for step in writes:
            await batch.add(step.offset, step.data)
        sealed = await batch.seal(self.slot.metadata.epoch)
        await self._tracker.admit(sealed.pages.keys())
        await self._file._file.pwrite(sealed.extents)
        for step in writes:
            self._queue.mark_durable(step)
        await self._file.flush()


async def persist_without_flush(self: _commit_loop.CommitLoop, step: PersistStep) -> None:
    index = (self._slot_index + 1) % SLOT_COUNT
    slot = Slot(self.slot.generation + 1, step.metadata)
    await self._file._file.pwrite([(index * SLOT_BYTES, encode_slot(step.payload, slot.generation))])
    self.slot, self._slot_index = slot, index
    self._queue.mark_durable(step)


def acknowledge_while_securing(step: Step, secure: Callable[[Step], None] = _membership.secure) -> None:
    secure(step)
    for flight in step.state.flights:
        if flight.here and flight.there:
            _service._finish(step, flight)


def serve_before_the_swap(step: Step, why: str, claim: Callable[[Step, str], None] = _membership.claim) -> None:
    state = step.state
    if state.phase is not Phase.SUSPENDED:
        claim(step, why)
        return
    step.move(Phase.CLAIMING, why)
    step.move(Phase.SECURING, why)
    _service.want_nothing_there(step)
    step.change(next_sequence=max(state.next_sequence, state.last_sequence + 1), partner=0)
    step.move(Phase.ALONE, why)
    step.propose(primary=state.me, members=(state.me,))
    _service.advance(step)


def seal_without_persist(step: Step) -> None:
    if step.state.phase is Phase.RESYNCING and not step.state.storing:
        step.do(actions.ReplaceRecords())
        _admission.seal_persisted(step)


def join_without_persist(step: Step, message: messages.Admitted) -> None:
    record = step.state.record
    assert record is not None
    record = record.succeed(primary=step.state.peer, members=step.state.both, proposal=message.proposal)
    step.change(record=record, revision=message.revision)
    _admission.admission_persisted(step)


async def replace_without_flush(self: _record_keeper.RecordKeeper, records: Records) -> None:
    table = RecordTable(self._table.generation + 1, records)
    await self._file._file.pwrite([(area_offset(1 - self._area), encode_table(table))])
    self._area, self._table = 1 - self._area, table


def apply_before_it_is_stored(step: Step, message: messages.MirrorWrite) -> None:
    step.change(last_sequence=message.sequence, storing=step.state.storing | {message.sequence})
    step.do(actions.StoreMirrored(message.sequence, message.offset, message.size))
    step.send(messages.Applied(message.epoch, message.sequence))


def complete_without_the_peer(step: Step, operation: object) -> bool:
    return False


@pytest.mark.parametrize(
    ("target", "name", "mutant", "where", "said"),
    [
        (_commit_loop.CommitLoop, "_commit_writes", answer_before_the_flush, ("write", "a"), "not durable"),
        (_commit_loop.CommitLoop, "_commit_writes", answer_before_the_flush, ("write", "b"), "not durable"),
        (_commit_loop.CommitLoop, "_commit_metadata", persist_without_flush, ("go-alone", "a"), "the disk of a"),
        (_commit_loop.CommitLoop, "_commit_metadata", persist_without_flush, ("return", "b"), "the disk of a is"),
        (_membership, "secure", acknowledge_while_securing, ("go-alone", "a"), "the disk of a is still in"),
        (_membership, "claim", serve_before_the_swap, ("go-alone", "a"), "not durable on b"),
        (_admission, "seal", seal_without_persist, ("return", "b"), "a copy that is resyncing"),
        (_admission, "admitted", join_without_persist, ("return", "b"), "the disk of b is still in"),
        (_record_keeper.RecordKeeper, "replace", replace_without_flush, ("put", "a"), "not durable on a"),
        (_record_keeper.RecordKeeper, "replace", replace_without_flush, ("put", "b"), "not durable on b"),
        (_service, "mirror_write", apply_before_it_is_stored, ("write", "b"), "not durable on b"),
        (_service, "_wanted_there", complete_without_the_peer, ("write", "a"), "not durable on b"),
    ],
)
def test_broken_rule_is_found(  # noqa: PLR0917
    monkeypatch: pytest.MonkeyPatch,
    target: object,
    name: str,
    mutant: Callable[..., object],
    where: tuple[str, str],
    said: str,
) -> None:
    monkeypatch.setattr(target, name, mutant)
    scenario, victim = where
    began_s, runs = perf_counter(), 1
    calm = run_scenario(scenario, victim)
    problems = list(calm.problems)
    for call, moment in product(reversed(range(calm.calls)), Moment):
        if problems:
            break
        runs += 1
        problems.extend(run_scenario(scenario, victim, cut=PowerCutAt(call, moment)).problems)
    took_s = perf_counter() - began_s
    print(f"{mutant.__name__}: {runs} runs, {took_s:.1f} s: {said}: {problems[:1]}")  # noqa: T201 (shown by pytest -rP)
    assert any(said in problem for problem in problems)


def test_pair_driver_is_left_as_it_was() -> None:
    carry_out = _pair_driver.PairDriver._carry_out
    run_scenario("write", "a")
    assert _pair_driver.PairDriver._carry_out is carry_out
