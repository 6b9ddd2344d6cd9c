"""What is forced by a fence: only a confirmed one counts, and one that is owed is gone on with after a restart."""

import json
import os
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ctlha_trio._errors import CtlHaError, FailedError, InvalidError, StoreError, UnknownOutcomeError
from ctlha_trio.door import DECISIONS_FILE, DecisionLog, Fencing
from ctlha_trio.door._forcing import OWED_FILE, RESUME_S, RESUME_TRIES, Forcing, OwedFence, OwedFile
from ctlha_trio.ha import Notice, Rehearsal, Status
from ctlha_trio.pair import FailoverPlan, OperationKind, Plan, Record
from ctlha_trio.seams import Buffer, FenceAnswer, FenceOutcome, TrioClock

BEFORE = Record(cluster="c", resource="r", epoch=4, lineage="l", primary="b", members=("b",), proposal="p")
OFF = FenceAnswer(FenceOutcome.CONFIRMED, "outlet 7 is off")


@attrs.define(eq=False)
class SwappingNode:
    """``a``, which takes what is forced on it at once."""

    record: Record = BEFORE
    revision: int = 9
    refusals: list[CtlHaError] = attrs.Factory(list)
    """Of the first tries to force it."""
    unready: int = 0
    """So many plans are refused: it has only just started."""
    plans: int = 0
    after_swap: Callable[[], None] = lambda: None

    async def submit(
        self,
        kind: OperationKind,
        *,
        client: int,
        number: int,
        offset: int = 0,
        size: int = 0,
        data: Buffer = b"",
        key: str = "",
    ) -> "SwappingNode":
        raise AssertionError("nobody asked for an operation")

    outcome = data = miscompare_at = property(lambda _: None)

    def status(self) -> Status:
        raise AssertionError("nobody asked for the status")

    async def switchover(self) -> None:
        raise AssertionError("nobody asked for a switchover")

    def follow_notices(self, follow: Callable[[Notice], None]) -> None:
        """Nothing is refused."""

    def follow_records(self, follow: Callable[[Record | None, Record, int, str], None]) -> None:
        """No record ever changes here."""

    def rehearse_failover(self) -> FailoverPlan:
        raise AssertionError("nobody asked for a rehearsal")

    def rehearse_switchover(self) -> Rehearsal:
        raise AssertionError("nobody asked for a rehearsal")

    def verify(self) -> int:
        raise AssertionError("nobody asked for a comparison")

    @property
    def lineage(self) -> str:
        return self.record.lineage

    def plan_force(self, abandon: str) -> Plan:
        if self.unready:
            self.unready -= 1
            raise FailedError("node a cannot be forced while it is booting")
        self.plans += 1
        after = self.record.fork(primary="a", lineage=f"line {self.plans}", proposal="q")
        return Plan(before=self.record, revision=self.revision, after=after, copy_epoch=3)

    async def force_primary(self, plan: Plan) -> None:
        await trio.lowlevel.checkpoint()
        if self.refusals:
            raise self.refusals.pop()
        self.record, self.revision = plan.after, self.revision + 1
        self.after_swap()


@attrs.define(eq=False)
class ScriptedFencer:
    """Answers what it is told, and looks at what is on the disk when it is asked."""

    folder: Path
    answers: list[FenceAnswer] = attrs.field(factory=lambda: [OFF])
    asked: list[tuple[str, str, int]] = attrs.Factory(list)
    owed: list[bool] = attrs.Factory(list)
    hangs: bool = False
    answered: Callable[[], None] = lambda: None

    @property
    def description(self) -> str:
        return "/usr/bin/power-off"

    async def fence(self, node: str, resource: str, epoch: int) -> FenceAnswer:
        self.asked.append((node, resource, epoch))
        self.owed.append((self.folder / OWED_FILE).exists())
        await trio.lowlevel.checkpoint()
        if self.hangs:
            await trio.sleep_forever()
        self.answered()
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


@attrs.define(eq=False)
class Bench:
    folder: Path
    node: SwappingNode = attrs.Factory(SwappingNode)
    fencer: ScriptedFencer = attrs.field(init=False)
    refusals: list[str] = attrs.field(factory=list, init=False)

    def refused(self, what: str, why: str) -> None:
        self.refusals.append(f"{what}: {why}")

    def __attrs_post_init__(self) -> None:
        self.fencer = ScriptedFencer(self.folder)

    def forcing(self, *, can_fence: bool = True) -> Forcing:
        """Of a process of its own."""
        owed = OwedFile(self.folder / OWED_FILE)
        fencing = Fencing(self.fencer, TrioClock()) if can_fence else None
        return Forcing(self.node, DecisionLog(self.folder / DECISIONS_FILE), owed, fencing)

    @property
    def log(self) -> list[dict[str, object]]:
        path = self.folder / DECISIONS_FILE
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def outcomes(self) -> list[object]:
        return [line["outcome"] for line in self.log]

    @property
    def owed(self) -> bool:
        return (self.folder / OWED_FILE).exists()

    async def die_while_fencing(self) -> None:
        """The process ends while the fencer runs."""
        self.fencer.hangs = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.force)
            with trio.fail_after(20):
                while not self.fencer.asked:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        self.fencer.hangs = False

    def keep_owed(self) -> None:
        """The file can be removed no more."""
        path = self.folder / OWED_FILE
        path.unlink()
        path.mkdir()

    def break_log(self) -> None:
        """No line can be written to it any more."""
        path = self.folder / DECISIONS_FILE
        path.unlink()
        path.mkdir()

    async def force(self) -> None:
        await self.forcing().force("b", 9, fenced=True, refused=self.refused)


def shown(forcing: Forcing) -> str | None:
    """What the status says of a fence that is owed."""
    return forcing.fence_owed


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_confirmed_fence_stands_in_the_record_and_in_the_log(bench: Bench) -> None:
    await bench.force()
    assert bench.fencer.asked == [("b", "r", 5)]
    assert bench.fencer.owed == [True], "it is owed before it is asked for"
    assert (bench.node.record.fence, bench.node.record.evidence) == ("confirmed", "outlet 7 is off")
    assert (bench.node.record.primary, bench.node.record.epoch) == ("a", 5)
    assert bench.outcomes == ["asked", "fenced", "done"]
    assert [line["fence"] for line in bench.log] == ["owed", "confirmed", "confirmed"]
    assert bench.log[-1]["evidence"] == "outlet 7 is off"
    assert not bench.owed


@pytest.mark.parametrize("outcome", [FenceOutcome.REFUSED, FenceOutcome.UNKNOWN])
async def test_any_other_answer_forces_nothing(bench: Bench, outcome: FenceOutcome) -> None:
    bench.fencer.answers = [FenceAnswer(outcome, "no such outlet")]
    forcing = bench.forcing()
    with pytest.raises(FailedError, match=f"the fence of node b: {outcome.value}: no such outlet"):
        await forcing.force("b", 9, fenced=True, refused=bench.refused)
    assert bench.node.record == BEFORE
    assert bench.outcomes == ["asked", f"failed: the fence of node b: {outcome.value}: no such outlet"]
    assert bench.log[-1]["fence"] == outcome.value
    assert bench.owed is (outcome is FenceOutcome.UNKNOWN)
    assert shown(forcing) == ("b" if bench.owed else None)


async def test_a_fence_of_which_nobody_knows_stays_owed_until_it_is_known(bench: Bench) -> None:
    bench.fencer.answers = [FenceAnswer(FenceOutcome.UNKNOWN, "no answer"), OFF]
    forcing = bench.forcing()
    assert shown(forcing) is None
    with pytest.raises(
        FailedError, match=r"unknown: no answer; give the command again, or stop this node and remove .*owed-fence.json"
    ):
        await forcing.force("b", 9, fenced=True, refused=bench.refused)
    assert (bench.owed, shown(forcing)) == (True, "b")
    await forcing.force("b", 9, fenced=True, refused=bench.refused)
    assert (bench.owed, bench.node.record.primary) == (False, "a")
    assert shown(forcing) is None


async def test_what_takes_a_fence_back_can_be_copied(tmp_path: Path) -> None:
    """And begins with the node: one that runs keeps the fence in mind."""
    folder = tmp_path / "it's a  folder"
    folder.mkdir()
    bench = Bench(folder)
    bench.fencer.answers = [FenceAnswer(FenceOutcome.UNKNOWN, "no answer")]
    with pytest.raises(FailedError) as caught:
        await bench.force()
    _, _, command = str(caught.value).partition("or stop this node and remove ")
    path, _, _ = command.partition(", or the fence is asked for again")
    assert shlex.split(path) == [str(folder / OWED_FILE)]


async def test_what_was_forced_stays_owed_until_it_is_known_whether_the_arbiter_took_it(bench: Bench) -> None:
    """The node ended while the arbiter was asked, which took it then: the next start finds that."""
    bench.node.refusals = [UnknownOutcomeError("SIGTERM, while the arbiter was asked")]
    forcing = bench.forcing()
    with pytest.raises(UnknownOutcomeError):
        await forcing.force("b", 9, fenced=True, refused=bench.refused)
    assert bench.outcomes == ["asked", "fenced", "unknown: SIGTERM, while the arbiter was asked"]
    assert (bench.owed, shown(forcing)) == (True, "b")
    bench.node.record, bench.node.revision = BEFORE.fork(primary="a", lineage="line 1", proposal="q"), 10
    await bench.forcing().resume()
    assert bench.outcomes[3:] == ["resumed", "done"]
    assert len(bench.fencer.asked) == 1
    assert not bench.owed


async def test_a_fence_on_a_record_that_has_changed_is_not_said_to_be_owed(bench: Bench) -> None:
    bench.fencer.answers = [FenceAnswer(FenceOutcome.UNKNOWN, "no answer")]
    forcing = bench.forcing()
    with pytest.raises(FailedError):
        await forcing.force("b", 9, fenced=True, refused=bench.refused)
    bench.node.revision = 0
    assert shown(forcing) == "b", "no record is known, as before the arbiter has answered"
    bench.node.revision = 10
    assert shown(forcing) is None


@pytest.mark.parametrize(("lineage", "ended"), [("l", "failed: the record has changed"), ("line 1", "done")])
async def test_a_fence_that_is_owed_no_more_leaves_no_file(bench: Bench, lineage: str, ended: str) -> None:
    """The other node came back and both are members, or the arbiter had taken after all what was forced."""
    bench.fencer.answers = [FenceAnswer(FenceOutcome.UNKNOWN, "no answer")]
    forcing = bench.forcing()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forcing.run)
        with pytest.raises(FailedError):
            await forcing.force("b", 9, fenced=True, refused=bench.refused)
        forcing.note()
        await wait_all_tasks_blocked()
        assert bench.owed, "the same record"
        bench.node.record, bench.node.revision = attrs.evolve(BEFORE, lineage=lineage, members=("a", "b")), 10
        forcing.note()
        with trio.fail_after(20):
            while (bench.folder / OWED_FILE).exists():
                await trio.lowlevel.checkpoint()
            await forcing._busy.acquire()
        told = len(bench.outcomes)
        forcing._busy.release()
        forcing.note()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(bench.outcomes) == told, "it is told once"
    assert str(bench.outcomes[-1]).startswith(ended)
    assert len(bench.fencer.asked) == 1


async def test_a_file_that_stays_of_a_fence_that_is_owed_no_more_ends_no_node(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.fencer.answers = [FenceAnswer(FenceOutcome.UNKNOWN, "no answer")]
    forcing = bench.forcing()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forcing.run)
        with pytest.raises(FailedError):
            await forcing.force("b", 9, fenced=True, refused=bench.refused)
        bench.keep_owed()
        bench.node.revision = 10
        forcing.note()
        with trio.fail_after(20):
            while "a fence that is owed no more" not in caplog.text:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert bench.owed


async def test_what_a_person_stated_instead_ends_what_was_owed(bench: Bench) -> None:
    bench.fencer.answers = [FenceAnswer(FenceOutcome.UNKNOWN, "no answer")]
    forcing = bench.forcing()
    with pytest.raises(FailedError):
        await forcing.force("b", 9, fenced=True, refused=bench.refused)
    await forcing.force("b", 9, fenced=False, refused=bench.refused)
    assert not bench.owed
    assert shown(forcing) is None


async def test_what_a_person_stated_instead_ends_one_of_which_nobody_knows_whose(bench: Bench) -> None:
    (bench.folder / OWED_FILE).write_bytes(b"?")
    forcing = bench.forcing()
    await forcing.resume()
    assert shown(forcing) == ""
    await forcing.force("b", 9, fenced=False, refused=bench.refused)
    assert (bench.owed, shown(forcing)) == (False, None)


async def test_a_fence_that_cannot_be_remembered_leaves_the_one_that_is_owed(bench: Bench) -> None:
    bench.fencer.answers = [FenceAnswer(FenceOutcome.UNKNOWN, "no answer")]
    forcing = bench.forcing()
    with pytest.raises(FailedError):
        await forcing.force("b", 9, fenced=True, refused=bench.refused)
    (bench.folder / OWED_FILE).with_suffix(".fresh").mkdir()
    with pytest.raises(FailedError, match=OWED_FILE):
        await forcing.force("b", 9, fenced=True, refused=bench.refused)
    assert (bench.owed, shown(forcing), len(bench.fencer.asked)) == (True, "b", 1)


async def test_what_the_arbiter_does_not_take_is_not_owed(bench: Bench) -> None:
    bench.node.refusals = [FailedError("the arbiter did not take what was forced")]
    with pytest.raises(FailedError, match="did not take"):
        await bench.force()
    assert bench.outcomes == ["asked", "fenced", "failed: the arbiter did not take what was forced"]
    assert not bench.owed


async def test_without_a_fencer_nobody_is_fenced(bench: Bench) -> None:
    with pytest.raises(InvalidError, match=r"no \[fence\]"):
        await bench.forcing(can_fence=False).force("b", 9, fenced=True, refused=bench.refused)
    assert (bench.node.record, bench.log) == (BEFORE, [])


async def test_a_record_that_was_not_shown_fences_nobody(bench: Bench) -> None:
    with pytest.raises(FailedError, match="has changed since it was shown"):
        await bench.forcing().force("b", 8, fenced=True, refused=bench.refused)
    assert (bench.fencer.asked, bench.log) == ([], [])
    assert bench.refusals == ["force-primary: the record has changed since it was shown"]


async def test_a_statement_fences_nobody(bench: Bench) -> None:
    await bench.forcing().force("b", 9, fenced=False, refused=bench.refused)
    assert bench.fencer.asked == []
    assert (bench.node.record.fence, bench.node.record.evidence) == ("none", "")


async def test_a_fence_that_cannot_be_remembered_is_not_asked_for(bench: Bench) -> None:
    (bench.folder / OWED_FILE).with_suffix(".fresh").mkdir()
    with pytest.raises(FailedError, match=OWED_FILE):
        await bench.force()
    assert (bench.fencer.asked, bench.node.record) == ([], BEFORE)


async def test_a_fence_for_whose_file_there_is_no_thread_is_not_asked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trio.to_thread.run_sync

    async def run(*arguments: Any, **options: Any) -> Any:
        if bench.outcomes == ["asked"]:
            raise RuntimeError("can't start new thread")
        return await real(*arguments, **options)

    monkeypatch.setattr(trio.to_thread, "run_sync", run)
    with pytest.raises(StoreError, match="the file of an owed fence: no thread"):
        await bench.force()
    assert (bench.fencer.asked, bench.node.record) == ([], BEFORE)


async def test_what_was_forced_is_done_whatever_becomes_of_its_last_line(bench: Bench) -> None:
    """The disk took everything up to the swap: whoever is told of a failure would ask for it once more."""
    bench.node.after_swap = bench.break_log
    await bench.force()
    assert bench.node.record.primary == "a"
    assert not bench.owed


async def test_what_was_forced_is_done_if_the_fence_stays_owed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.node.after_swap = bench.keep_owed
    await bench.force()
    assert bench.node.record.primary == "a"
    assert bench.outcomes == ["asked", "fenced", "done"]
    assert "owed-fence.json: cannot be removed" in caplog.text


async def test_a_fence_that_came_to_nothing_and_stays_owed_is_told(bench: Bench) -> None:
    """Or the next start would fence a node that a person believes to be spared."""
    bench.node.refusals = [FailedError("the arbiter did not take what was forced")]
    bench.fencer.answered = bench.keep_owed
    with pytest.raises(
        FailedError, match=r"did not take what was forced; stop this node and remove .*owed-fence\.json, or"
    ):
        await bench.force()
    assert bench.outcomes[-1] == "failed: the arbiter did not take what was forced"


# After a restart of the survivor.


async def test_a_log_that_takes_no_line_ends_no_node_that_owes_a_fence(bench: Bench) -> None:
    await bench.die_while_fencing()
    bench.break_log()
    await bench.forcing().resume()
    assert len(bench.fencer.asked) == 1, "nothing is done that could not be logged"
    assert bench.owed, "the next start may have more luck"


async def test_an_owed_fence_is_asked_for_again_and_then_counts(bench: Bench, autojump_clock: MockClock) -> None:
    await bench.die_while_fencing()
    assert bench.owed
    bench.node.unready = 5
    began_s = trio.current_time()
    await bench.forcing().resume()
    assert trio.current_time() - began_s == pytest.approx(5 * RESUME_S)
    assert bench.fencer.asked == [("b", "r", 5)] * 2, "for the same, so that a second time changes nothing"
    assert bench.node.record.evidence == "outlet 7 is off"
    assert bench.outcomes == ["asked", "resumed", "asked", "fenced", "done"]
    assert not bench.owed


async def test_an_owed_fence_that_is_refused_after_all_forces_nothing(bench: Bench) -> None:
    await bench.die_while_fencing()
    bench.fencer.answers = [FenceAnswer(FenceOutcome.REFUSED, "locked")]
    await bench.forcing().resume()
    assert bench.node.record == BEFORE
    assert str(bench.outcomes[-1]).startswith("failed: the fence of node b: refused")
    assert not bench.owed


@pytest.mark.parametrize(
    ("answer", "said"), [(FenceOutcome.UNKNOWN, "is still owed"), (FenceOutcome.REFUSED, "came to")]
)
async def test_the_log_says_whether_a_fence_is_owed_any_more(
    bench: Bench, caplog: pytest.LogCaptureFixture, answer: FenceOutcome, said: str
) -> None:
    await bench.die_while_fencing()
    bench.fencer.answers = [FenceAnswer(answer, "no answer")]
    await bench.forcing().resume()
    assert bench.owed == (answer is FenceOutcome.UNKNOWN)
    assert f"the fence of node b that was owed {said}" in caplog.text


async def test_a_record_that_moved_meanwhile_ends_what_is_owed(bench: Bench) -> None:
    """The other node came back: it must not be fenced for what is no longer so."""
    await bench.die_while_fencing()
    bench.node.revision = 10
    await bench.forcing().resume()
    assert len(bench.fencer.asked) == 1
    assert bench.outcomes[-1] == "failed: the record has changed since it was shown"
    assert not bench.owed


async def test_what_was_done_before_the_end_is_not_done_again(bench: Bench) -> None:
    """The process ended between the swap and the last line of the log."""
    await bench.die_while_fencing()
    plan = bench.node.plan_force("b")
    owed = json.loads((bench.folder / OWED_FILE).read_text())
    bench.node.record = attrs.evolve(plan.after, lineage=owed["lineage"])
    await bench.forcing().resume()
    assert len(bench.fencer.asked) == 1
    assert bench.outcomes[-1] == "done"
    assert not bench.owed


async def test_a_node_that_can_never_be_forced_gives_it_up(bench: Bench, autojump_clock: MockClock) -> None:
    await bench.die_while_fencing()
    bench.node.unready = RESUME_TRIES + 1
    await bench.forcing().resume()
    assert len(bench.fencer.asked) == 1
    assert bench.outcomes[-1] == "failed: node a cannot be forced while it is booting"
    assert not bench.owed


async def test_a_node_that_hears_no_arbiter_goes_on_with_it_at_the_next_start(
    bench: Bench, autojump_clock: MockClock
) -> None:
    """Before its end the arbiter may have taken what was forced: nobody knows, and so it stays owed."""
    await bench.die_while_fencing()
    bench.node.record, bench.node.unready = attrs.evolve(BEFORE, lineage=""), RESUME_TRIES
    forcing = bench.forcing()
    await forcing.resume()
    assert bench.outcomes[-1] == "unknown: node a cannot be forced while it is booting"
    assert (bench.owed, shown(forcing)) == (True, "b")
    bench.node.record = BEFORE
    await bench.forcing().resume()
    assert (bench.outcomes[-1], bench.owed) == ("done", False)


async def test_a_configuration_that_lost_its_fence_gives_it_up(bench: Bench) -> None:
    await bench.die_while_fencing()
    await bench.forcing(can_fence=False).resume()
    assert "no [fence]" in str(bench.outcomes[-1])
    assert not bench.owed


async def test_nothing_owed_is_nothing_done(bench: Bench) -> None:
    await bench.forcing().resume()
    assert bench.log == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"abandon": "b", "revision": "x", "lineage": "l"}',
        b'{"abandon": "b", "revision": Infinity, "lineage": "l"}',
        b"[" * 4000,
        b"\xff",
    ],
)
async def test_a_file_that_cannot_be_read_fences_nobody(
    bench: Bench, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (bench.folder / OWED_FILE).write_bytes(content)
    await bench.forcing().resume()
    assert (bench.fencer.asked, bench.log) == ([], [])
    assert "a fence is owed, but nobody knows which" in caplog.text


def test_the_file_holds_what_is_owed(tmp_path: Path) -> None:
    file = OwedFile(tmp_path / OWED_FILE)
    assert file.read() is None
    for owed in (OwedFence("b", 9, "line"), OwedFence("b", 10, "another")):
        file.write(owed)
        assert file.read() == owed
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.clear()
    file.clear()
    assert file.read() is None


@pytest.mark.parametrize("name", [OWED_FILE, "owed-fence.fresh"])
async def test_a_named_pipe_in_its_place_is_waited_for_by_nobody(tmp_path: Path, name: str) -> None:
    file = OwedFile(tmp_path / OWED_FILE)
    os.mkfifo(tmp_path / name)
    with trio.fail_after(20):
        with pytest.raises(StoreError, match="is not a regular file"):
            await trio.to_thread.run_sync(
                partial(file.write, OwedFence("b", 9, "line")) if name != OWED_FILE else file.read,
                abandon_on_cancel=True,
            )


def test_a_file_that_cannot_be_changed_is_an_error_of_the_disk(tmp_path: Path) -> None:
    file = OwedFile(tmp_path / OWED_FILE)
    file.path.mkdir()
    (file.path / "foreign").touch()
    with pytest.raises(StoreError, match="cannot be removed"):
        file.clear()
    with pytest.raises(StoreError, match=OWED_FILE):
        file.write(OwedFence("b", 9, "line"))
