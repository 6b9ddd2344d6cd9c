"""One run of two whole nodes from one seed: faults first, then a pair that must come together again."""

from functools import partial
from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio.pair import OperationKind, Outcome, PairState, Phase, Record, actions
from ctlha_trio.seams import Versioned
from ctlha_trio.testing._core.totals import ALL_MOVES, Coverage, changes_of
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._drivers.checks import DriverChecks
from ctlha_trio.testing._drivers.clients import DriverClients
from ctlha_trio.testing._drivers.demands import TOGETHER_S, Demands
from ctlha_trio.testing._drivers.differing_copies import DifferingCopies
from ctlha_trio.testing._drivers.disk import DiskFault
from ctlha_trio.testing._drivers.failing_programs import FailingPrograms
from ctlha_trio.testing._drivers.history import VolumeHistory
from ctlha_trio.testing._drivers.keeper import Keeper
from ctlha_trio.testing._drivers.missed_record import MissedRecord
from ctlha_trio.testing._drivers.nemesis import OF_ARBITER, OF_DISK, Nemesis
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.programs import Programs
from ctlha_trio.testing._drivers.reasons import ReasonWatch
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._drivers.timeline import EVERYWHERE, IN_SECTORS, Timeline
from ctlha_trio.testing._drivers.worn_disks import WornDisks
from ctlha_trio.testing._pairs.action_watch import Ordered, Stepped
from ctlha_trio.testing._pairs.pair_faults import NAMES

LOOK_S: Final = 0.05
"""Between two looks at a condition; rare ones make a run cheap."""
DOWN_S: Final = 6.0
"""The longest that a node stays down while faults happen: on both sides of the time that the other waits for it."""
HALTS_S: Final = 10.0
"""For a pair that cannot go on to say so."""
ASKED_S: Final = 0.5
"""Between two looks at what the nodes say of themselves."""
EVENTS_MAX: Final = 200_000
"""Far more than the longest run has. Nodes that keep each other busy in no time would never let it pass."""
CALM_WRITES: Final = 50
"""During which the arbiter is asked no more than otherwise."""
ARBITER_READS_S: Final = 1.0
"""Between two looks of a node at the record."""


@attrs.define(eq=False)
class DriverRun:
    """The parts of a run, and its course."""

    seed: int
    pair: DriverPair
    programs: Programs
    timeline: Timeline
    _nursery: trio.Nursery
    problems: list[str] = attrs.field(factory=list, init=False)
    history: VolumeHistory = attrs.field(init=False)
    checks: DriverChecks = attrs.field(init=False)
    clients: DriverClients = attrs.field(init=False)
    demands: Demands = attrs.field(init=False)
    reasons: ReasonWatch = attrs.field(init=False)
    keeper: Keeper = attrs.field(init=False)
    nemesis: Nemesis = attrs.field(init=False)
    _phases: dict[tuple[str, int], Phase] = attrs.field(factory=dict, init=False)
    """By node and incarnation, the last that it entered."""
    _moves: frozenset[tuple[str, str]] = attrs.field(default=frozenset(), init=False)

    def __attrs_post_init__(self) -> None:
        """Put the parts together."""
        self.history = VolumeHistory(self.timeline.now_s)
        self.checks = DriverChecks(self.pair, self.history, self.problem)
        self.clients = DriverClients(
            self.pair, self.history, self.timeline, self.problem, Random(f"clients {self.seed}")
        )
        self.demands = Demands(self.pair, self.clients, self.problem)
        self.reasons = ReasonWatch(self.demands)
        self.keeper = Keeper(
            self.pair, self.timeline, self.problem, self._nursery, Random(f"keeper {self.seed}"), down_s=DOWN_S
        )
        self.nemesis = Nemesis(self.pair, self.keeper, self.timeline)
        self.pair.on_power_cut = self._power_failed
        self.pair.on_lost_call = lambda way: self.nemesis.acted(OF_ARBITER[way])
        self.pair.on_strike = self._disk_failed
        self.pair.on_record = self._recorded
        self.pair.look_s = LOOK_S

    def _recorded(self, before: Record, taken: Versioned) -> None:
        self.timeline.note(EVERYWHERE, f"the arbiter takes {IN_SECTORS.told(taken.record)}, r{taken.revision}")
        self.timeline.counts.update(changes_of(before, taken.record))

    def _disk_failed(self, name: str, fault: DiskFault | Fault) -> None:
        self.timeline.counts["damage_met" if isinstance(fault, Fault) else "disk_failures"] += 1
        self.timeline.note(name, fault.value)
        self.nemesis.acted(fault if isinstance(fault, Fault) else OF_DISK[fault])

    def _power_failed(self, name: str) -> None:
        if self.pair.disks[name].was_cut_at_call:
            self.nemesis.acted(Fault.CRASH_AT_CALL)
        self.keeper.power_failed(name)

    def problem(self, text: str) -> None:
        """Something is wrong: keep it and end the run."""
        self.timeline.note(EVERYWHERE, f"PROBLEM {text.splitlines()[0]}")
        self.problems.append(text)
        self._nursery.cancel_scope.cancel(reason="a problem was found")

    def ordered(self, ordered: Ordered) -> None:
        """A node is about to carry out an action."""
        if isinstance(ordered.action, actions.Moved):
            self._reach(ordered.state, ordered.action.phase)
        self.checks.ordered(ordered)

    def stepped(self, step: Stepped) -> None:
        """A node's core has taken an event, and nothing of what it orders is carried out yet."""
        self.timeline.stepped(step)
        if self.timeline.history.events == EVENTS_MAX:
            self.problem(f"I12: {EVENTS_MAX} events and no end: the nodes go round in circles")

    def _reach(self, state: PairState, phase: Phase) -> None:
        before = self._phases.get((state.me, state.incarnation), Phase.BOOTING)
        self._phases[state.me, state.incarnation] = phase
        self._moves |= {(before.name, phase.name)} & ALL_MOVES
        self.reasons.look(state.me)
        if phase is Phase.HANDING_OVER:
            self.nemesis.acted(Fault.SWITCHOVER)

    @property
    def coverage(self) -> Coverage:
        """What of the machine was reached, and which faults happened."""
        return Coverage(self._moves, self.reasons.seen, frozenset(fault.name for fault in +self.nemesis.done))

    @property
    def arbiter_calls(self) -> int:
        """Of both nodes so far."""
        return sum(arbiter.reads + arbiter.swaps for arbiter in self.pair.arbiters.values())

    # The course of a run.

    async def run(self) -> None:
        """Everything, up to the first problem. A checkpoint."""
        self.timeline.note(EVERYWHERE, f"faults: {self.pair.swarm.faults}")
        for name in NAMES:
            await self.pair.start(name)
        self._nursery.start_soon(self.keeper.run)
        self._nursery.start_soon(self._watch_verdicts)
        self.clients.start(self._nursery)
        if self.pair.swarm.programs_fail:
            self._nursery.start_soon(self.programs.talk, self.pair.nodes)
        await self._be_safe()
        if self.pair.swarm.core_first:
            await self._serve_from_core()
        await self._come_together()
        if self.pair.is_settled():
            await self._try_what_nodes_say()
        if self.pair.swarm.halts and not self.pair.stand().must_halt:
            await self._halt()

    async def _try_what_nodes_say(self) -> None:
        """The pair is together: what only whole nodes tell their operators, each in some runs."""
        swarm, random = self.pair.swarm, Random(f"trials {self.seed}")
        if swarm.copies_differ:
            await DifferingCopies(self.timeline, self.demands, self.reasons, random).run()
            self.checks.check_copies_equal()
        if swarm.programs_fail:
            await FailingPrograms(self.programs, self.keeper, self.timeline, self.demands, self.reasons, random).run()
            self.checks.check_copies_equal()
        if swarm.wears_out:
            await WornDisks(self.timeline, self.demands, self.reasons).run()

    async def _watch_verdicts(self) -> None:
        while True:
            self.checks.check_verdicts()
            self.checks.check_programs(self.programs)
            for name in NAMES:
                self.reasons.look(name)
            await let_pass(ASKED_S)

    async def _be_safe(self) -> None:
        with trio.move_on_after(self.pair.swarm.safety_s):
            await self.nemesis.run(self.seed)

    async def _serve_from_core(self) -> None:
        """One member and the arbiter are healthy, the other node is frozen: the member must serve."""
        random = Random(f"core {self.seed}")
        members = self.pair.record.members
        frozen = random.choice([name for name in NAMES if members != (name,)])
        self.keeper.held = frozenset({frozen})
        if happens(random):
            self.pair.crash(frozen)
        elif not self.pair.is_paused(frozen):
            self.timeline.counts["pauses"] += 1
            self.timeline.note(frozen, "stands still")
            self.pair.pause(frozen)
        await self._let_swaps_arrive()
        core = NAMES[1 - NAMES.index(frozen)]
        if core in self.pair.record.members and not self.pair.is_copy_dead(core):
            self.timeline.counts["trials"] += 1
            self.timeline.note(core, f"is healed alone, {frozen} is frozen")
            self.keeper.down_s = 0.0
            self.nemesis.heal(core)
            await self.demands.service(core)
        self.keeper.held = frozenset()

    async def _let_swaps_arrive(self) -> None:
        """Whatever is under way to the arbiter may still change who counts."""
        while any(way.under_way for way in self.pair.ways.values()):
            for way in self.pair.ways.values():
                way.hurry()
            await let_pass(LOOK_S)

    async def _come_together(self) -> None:
        """Everything is healed: both must be protected in time, and their copies equal."""
        self.timeline.note(EVERYWHERE, "everything is healed")
        self.keeper.down_s = 0.0
        self.nemesis.heal(*NAMES)
        await self._let_swaps_arrive()
        if self.pair.stand().must_halt:
            await self._expect_halt()
            return
        self.programs.flawed, self.keeper.mends_programs = False, True
        await self.demands.require(self.pair.is_protected, TOGETHER_S, "I12: the pair does not become protected")
        self.keeper.mends_programs = False
        self.timeline.note(EVERYWHERE, "both are protected")
        await self.clients.stop()
        await self.demands.require(self.pair.is_settled, TOGETHER_S, "I12: the pair does not stay protected")
        await self._write_in_calm()
        await self._read_all()
        self.checks.check_members()
        self.checks.check_copies_equal()
        self.checks.check_history()

    async def _write_in_calm(self) -> None:
        """I11: writes do not ask the arbiter."""
        began_s, asked = trio.current_time(), self.arbiter_calls
        for place in range(CALM_WRITES):
            sector = self.pair.swarm.sectors[place % len(self.pair.swarm.sectors)]
            name = self.pair.record.primary
            if await self.clients.operate(name, 0, (OperationKind.WRITE, sector, 1)) is not Outcome.DONE:
                self.problem(f"I12: {name} does not serve, although all is well")
        looks = len(NAMES) * (1 + (trio.current_time() - began_s) / ARBITER_READS_S)
        if self.arbiter_calls - asked > looks:
            self.problem(f"I11: {self.arbiter_calls - asked} calls of the arbiter in {CALM_WRITES} writes")

    async def _read_all(self) -> None:
        """I3 for everything that was ever written."""
        for sector in sorted(self.history.written):
            wanted = OperationKind.READ, sector, 1
            if await self.clients.operate(self.pair.record.primary, 0, wanted) is not Outcome.DONE:
                self.problem(f"I12: sector {sector} cannot be read, although all is well")

    # The end of a run that two copies do not survive.

    async def _halt(self) -> None:
        random = Random(f"halt {self.seed}")
        older = [each for each in self.pair.records if each.revision < self.pair.arbiter.revision]
        if happens(random) and self.pair.is_settled():
            await MissedRecord(self.timeline, self.demands, self.keeper, random).run()
        elif older and happens(random):
            copy = random.choice(older)
            self.timeline.note(EVERYWHERE, f"the arbiter is restored to epoch {copy.record.epoch} r{copy.revision}")
            self.timeline.counts["arbiter_displacements"] += 1
            self.pair.arbiter.restore(copy)
        else:
            await self._kill_both_copies(random)
        await self._expect_halt()

    async def _kill_both_copies(self, random: Random) -> None:
        """First one, which is survived, then the only one that is left."""
        self.keeper.held = frozenset(NAMES)
        first = random.choice(NAMES)
        for name in (first, NAMES[1 - NAMES.index(first)]):
            trouble = self.pair.machines[name].disk
            trouble.may_fail = lambda _: True
            trouble.fault = random.choice([DiskFault.WRITE, DiskFault.FLUSH, DiskFault.HANG])
            self.timeline.note(name, f"soon {trouble.fault.value}")
            for _ in range(10):
                await self.clients.operate(self.pair.record.primary, 0, (OperationKind.WRITE, 0, 1))
                if self.pair.is_copy_dead(name):
                    break
                await let_pass(1.0)
            await self.demands.require(partial(self.pair.is_stopped, name), HALTS_S, f"{name} lives on a dead disk")

    async def _expect_halt(self) -> None:
        """I15: no copy is left that counts, so nobody serves, and everybody says why."""
        self.timeline.counts["trials"] += 1
        self.keeper.held = frozenset(NAMES)
        await self.demands.require(self.pair.has_halted, HALTS_S, "I15: the pair does not halt")
        served = self.history.done
        for name in NAMES:
            await self.clients.operate(name, 0, (OperationKind.WRITE, self.pair.swarm.sectors[0], 1))
            await self.clients.operate(name, 0, (OperationKind.READ, self.pair.swarm.sectors[0], 1))
        if self.history.done != served or not self.pair.has_halted():
            self.problem("I15: a pair that has to halt serves")
        self.timeline.note(EVERYWHERE, "the pair has halted")
