"""The power fails at every disk call of a mirrored write, going alone, a take-over, a return and a handover.

For each call and each moment in it: what was acknowledged is there, with its value, from whoever serves; the copies are
equal at the end; no acknowledgement came before its bytes and its epoch were durable wherever the arbiter says.

Of what may have become of unflushed writes, every run has one outcome: nothing kept and some others in turn when one
node loses its power, one in turn when both do. The order in which nodes start again, and whether the
first serves alone before the second comes, goes round with it.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import pytest
import trio
import trio.testing
from trio._core import _run

from ctlha_trio.ha import _inbox, _pair_driver
from ctlha_trio.pair import Phase, Records, _admission, _membership, _service, actions, messages
from ctlha_trio.pair._step import Step
from ctlha_trio.store import _commit_loop, _record_keeper
from ctlha_trio.store._queue import PersistStep, WriteStep
from ctlha_trio.store._record_copies import RecordTable, area_offset, encode_table
from ctlha_trio.store._slots import SLOT_BYTES, SLOT_COUNT, Slot, encode_slot
from ctlha_trio.store._write_batch import WriteBatch
from ctlha_trio.testing import Moment
from ctlha_trio.testing._power_cuts.scenarios import POWER_SCENARIOS
from ctlha_trio.testing._power_cuts.trial import SIZE_BYTES, Findings, PowerCutAt, run_trial

pytestmark = pytest.mark.slow

ONE = [
    ("write", "a"),
    ("write", "b"),
    ("put", "a"),
    ("put", "b"),
    ("go-alone", "a"),
    ("take-over", "b"),
    ("return", "a"),
    ("return", "b"),
    ("handover", "a"),
    ("handover", "b"),
]
BOTH = [(name, victim) for name, victim in ONE if name not in {"go-alone", "take-over"}]
"""In the other two one node is down already."""
LOSSES_MAX = {"write": 4}
"""Runs with different outcomes for one call and moment; 2 where nothing else is said."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ring that is cheap to make, and a copy in more than one range."""
    monkeypatch.setattr(_inbox, "RING_BYTES", 1 << 16)
    monkeypatch.setattr(_admission, "COPY_CHUNK_BYTES", SIZE_BYTES // 2)


def run(name: str, victim: str, *, both: bool = False, cut: PowerCutAt | None = None) -> Findings:
    """One run. Trio draws the order of its tasks from the same seed each time, so that calls keep their numbers."""
    scenario = POWER_SCENARIOS[name]
    _run._r.seed(0)

    async def trial() -> Findings:
        return await run_trial(scenario.prepare, scenario.act, victim=victim, both=both, cut=cut)

    findings: Findings = trio.run(trial, clock=trio.testing.MockClock(autojump_threshold=0))
    return findings


def losses_to_try(turn: int, count: int, limit: int) -> Sequence[int]:
    """Nothing kept, then the others in turn."""
    if count <= limit:
        return range(count)
    return [0, *(1 + (turn + index) % (count - 1) for index in range(limit - 1))]


def sweep(name: str, victim: str, *, both: bool, moments: Sequence[Moment]) -> Iterator[tuple[PowerCutAt, Findings]]:
    """Every call of the victim's disk, each moment in it, and some of its outcomes."""
    calm = run(name, victim)
    assert not calm.problems, calm.problems
    for call, moment in product(range(calm.calls), moments):
        turn = call + list(Moment).index(moment)
        first = PowerCutAt(call, moment, turn if both else 0, turn)
        findings = run(name, victim, both=both, cut=first)
        yield first, findings
        if not both:
            for index, loss in enumerate(losses_to_try(turn, findings.losses, LOSSES_MAX.get(name, 2))[1:], 1):
                cut = PowerCutAt(call, moment, loss, turn + index)
                yield cut, run(name, victim, both=both, cut=cut)


def check(name: str, victim: str, *, both: bool, moment: Moment) -> None:
    cuts = 0
    for cut, findings in sweep(name, victim, both=both, moments=[moment]):
        where = f"{name}, {victim}{' and the other' if both else ''} cut at {cut}"
        assert findings.was_cut, where
        assert not findings.problems, f"{where}: " + "; ".join(findings.problems)
        cuts += 1
    assert cuts >= 8


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize(("name", "victim"), ONE)
def test_cut_of_one_node_at_every_call(name: str, victim: str, moment: Moment) -> None:
    check(name, victim, both=False, moment=moment)


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize(("name", "victim"), BOTH)
def test_cut_of_both_nodes_at_every_call(name: str, victim: str, moment: Moment) -> None:
    check(name, victim, both=True, moment=moment)


# The tests above can fail: each rule of the protocol, broken, is found.


async def answer_before_the_flush(self: _commit_loop.CommitLoop, writes: Sequence[WriteStep]) -> None:
    if writes:
        batch = WriteBatch(self._volume)
        for step in writes:
            await batch.add(step.offset, step.data)
        sealed = await batch.seal(self.slot.metadata.epoch)
        await self._tracker.admit(sealed.pages.keys())
        await self._volume.put(sealed)
        for step in writes:
            self._queue.mark_durable(step)
        await self._file.flush()


async def persist_without_flush(self: _commit_loop.CommitLoop, step: PersistStep) -> None:
    index = (self._slot_index + 1) % SLOT_COUNT
    slot = Slot(self.slot.generation + 1, step.metadata)
    await self._file.pwrite([(index * SLOT_BYTES, encode_slot(step.payload, slot.generation))])
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
        _admission.seal_persisted(step)


def join_without_persist(step: Step, message: messages.Admitted) -> None:
    record = step.state.record
    assert record is not None
    record = record.succeed(primary=step.state.peer, members=step.state.both, proposal=message.proposal)
    step.change(record=record, revision=message.revision)
    _admission.admission_persisted(step)


async def replace_without_flush(self: _record_keeper.RecordKeeper, records: Records) -> None:
    table = RecordTable(self._table.generation + 1, records)
    await self._file.pwrite([(area_offset(1 - self._area), encode_table(table))])
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
        (_admission, "seal", seal_without_persist, ("return", "b"), "copy-incomplete"),
        (_admission, "admitted", join_without_persist, ("return", "b"), "the disk of b is still in"),
        (_record_keeper.RecordKeeper, "replace", replace_without_flush, ("put", "a"), "not durable on a"),
        (_record_keeper.RecordKeeper, "replace", replace_without_flush, ("put", "b"), "not durable on b"),
        (_service, "mirror_write", apply_before_it_is_stored, ("write", "b"), "not durable on b"),
        (_service, "_wanted_there", complete_without_the_peer, ("write", "a"), "not durable on b"),
    ],
)
def test_broken_rule_is_found(  # noqa: PLR0917
    monkeypatch: pytest.MonkeyPatch, target: object, name: str, mutant: object, where: tuple[str, str], said: str
) -> None:
    monkeypatch.setattr(target, name, mutant)
    problems: list[str] = []
    scenario, victim = where
    calm = run(scenario, victim)
    problems.extend(calm.problems)
    for call, moment in product(reversed(range(calm.calls)), Moment):
        if not problems:
            problems.extend(run(scenario, victim, cut=PowerCutAt(call, moment)).problems)
    assert any(said in problem for problem in problems)


def test_pair_driver_is_left_as_it_was() -> None:
    carry_out = _pair_driver.PairDriver._carry_out
    run("write", "a")
    assert _pair_driver.PairDriver._carry_out is carry_out
