"""One run of two whole nodes from one seed: faults first, then a pair that must come together again."""

from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio.pair import OperationKind, Outcome, PairState, Phase, Record, actions
from ctlha_trio.seams import Versioned
from ctlha_trio.testing._core.totals import ALL_MOVES, Coverage, changes_of
from ctlha_trio.testing._drivers.arbiter_faults import OF_ARBITER
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._drivers.checks import DriverChecks
from ctlha_trio.testing._drivers.clients import DriverClients
from ctlha_trio.testing._drivers.demands import TOGETHER_S, Demands
from ctlha_trio.testing._drivers.differing_copies import DifferingCopies
from ctlha_trio.testing._drivers.disk import DiskFault
from ctlha_trio.testing._drivers.failing_programs import FailingPrograms
from ctlha_trio.testing._drivers.forced_copy import ForcedCopy
from ctlha_trio.testing._drivers.given_back import GivenBack
from ctlha_trio.testing._drivers.halts import Halts
from ctlha_trio.testing._drivers.history import VolumeHistory
from ctlha_trio.testing._drivers.hung_disks import HungDisks
from ctlha_trio.testing._drivers.keeper import Keeper
from ctlha_trio.testing._drivers.lost_blocks import LostBlocks
from ctlha_trio.testing._drivers.machine_faults import OF_DISK
from ctlha_trio.testing._drivers.nemesis import Nemesis
from ctlha_trio.testing._drivers.operators import Operators
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.programs import Programs
from ctlha_trio.testing._drivers.reasons import ReasonWatch
from ctlha_trio.testing._drivers.repairs import Repairs
from ctlha_trio.testing._drivers.restored_arbiter import RestoredArbiter
from ctlha_trio.testing._drivers.scene import Scene
from ctlha_trio.testing._drivers.step_checks import StepChecks
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._drivers.timeline import EVERYWHERE, IN_SECTORS, Timeline
from ctlha_trio.testing._drivers.worn_disks import WornDisks
from ctlha_trio.testing._pairs.action_watch import Ordered, Stepped
from ctlha_trio.testing._pairs.pair_faults import NAMES, other

LOOK_S: Final = 0.05
"""Between two looks at a condition; rare ones make a run cheap."""
DOWN_S: Final = 6.0
"""The longest that a node stays down while faults happen: on both sides of the time that the other waits for it."""
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
    step_checks: StepChecks = attrs.field(init=False)
    clients: DriverClients = attrs.field(init=False)
    demands: Demands = attrs.field(init=False)
    reasons: ReasonWatch = attrs.field(init=False)
    keeper: Keeper = attrs.field(init=False)
    nemesis: Nemesis = attrs.field(init=False)
    operators: Operators = attrs.field(init=False)
    halts: Halts = attrs.field(init=False)
    repairs: Repairs = attrs.field(init=False)
    _phases: dict[tuple[str, int], Phase] = attrs.field(factory=dict, init=False)
    """By node and incarnation, the last that it entered."""
    _moves: frozenset[tuple[str, str]] = attrs.field(default=frozenset(), init=False)

    def __attrs_post_init__(self) -> None:
        """Put the parts together."""
        self.history = VolumeHistory(self.timeline.now_s)
        self.checks = DriverChecks(self.pair, self.history, self.problem)
        self.step_checks = StepChecks(self.pair, self.history, self.problem, self.checks.check_progress)
        self.clients = DriverClients(
            self.pair, self.history, self.timeline, self.problem, Random(f"clients {self.seed}")
        )
        self.demands = Demands(self.pair, self.clients, self.problem)
        self.reasons = ReasonWatch(self.demands)
        self.keeper = Keeper(
            self.pair, self.timeline, self.problem, self._nursery, Random(f"keeper {self.seed}"), down_s=DOWN_S
        )
        scene = Scene(self.pair, self.timeline)
        self.operators = Operators(scene, self.demands, self._nursery)
        self.nemesis = Nemesis(scene, self.keeper, self.operators)
        self.nemesis.machines.on_mended = self.checks.excuse_medium_errors
        self.halts = Halts(self.timeline, self.demands, self.keeper)
        self.repairs = Repairs(self.timeline, self.demands, self.keeper)
        self.pair.on_power_cut = self._power_failed
        self.pair.on_lost_call = lambda way: self.nemesis.scene.acted(OF_ARBITER[way])
        self.pair.on_hang = lambda: self.nemesis.scene.acted(Fault.DISK_HANGS)
        self.pair.on_strike = self._disk_failed
        self.pair.on_record = self._recorded
        self.pair.look_s = LOOK_S

    def _recorded(self, before: Record, taken: Versioned) -> None:
        self.timeline.note(EVERYWHERE, f"the arbiter takes {IN_SECTORS.told(taken.record)}, r{taken.revision}")
        self.timeline.counts.update(changes_of(before, taken.record))
        self.checks.recorded(before, taken.record)
        if taken.record.lineage != before.lineage:
            self.nemesis.scene.acted(Fault.FORCE)

    def _disk_failed(self, name: str, fault: DiskFault | Fault) -> None:
        self.timeline.counts["damage_met" if isinstance(fault, Fault) else "disk_failures"] += 1
        self.timeline.note(name, fault.value)
        self.nemesis.scene.acted(fault if isinstance(fault, Fault) else OF_DISK[fault])

    def _power_failed(self, name: str) -> None:
        if self.pair.disks[name].was_cut_at_call:
            self.nemesis.scene.acted(Fault.CRASH_AT_CALL)
        self.keeper.power_failed(name)
        self.checks.check_members()

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
        self.step_checks.stepped(step)
        if self.timeline.history.events == EVENTS_MAX:
            self.problem(f"I12: {EVENTS_MAX} events and no end: the nodes go round in circles")

    def _reach(self, state: PairState, phase: Phase) -> None:
        before = self._phases.get((state.me, state.incarnation), Phase.BOOTING)
        self._phases[state.me, state.incarnation] = phase
        self._moves |= {(before.name, phase.name)} & ALL_MOVES
        self.reasons.look(state.me)
        if phase is Phase.HANDING_OVER:
            self.nemesis.scene.acted(Fault.SWITCHOVER)

    @property
    def coverage(self) -> Coverage:
        """What of the machine was reached, and which faults happened."""
        return Coverage(self._moves, self.reasons.seen, frozenset(fault.name for fault in +self.nemesis.scene.done))

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
            await self.halts.kill_both_copies(Random(f"halt {self.seed}"))
            await self.halts.expect()
        self.checks.check_history()

    async def _try_what_nodes_say(self) -> None:
        """The pair is together: what only whole nodes tell their operators, each in some runs."""
        swarm, random = self.pair.swarm, Random(f"trials {self.seed}")
        if swarm.copies_differ:
            await DifferingCopies(self.timeline, self.demands, self.reasons, random).run()
            self.checks.check_copies_equal()
        if swarm.programs_fail:
            await FailingPrograms(self.programs, self.keeper, self.timeline, self.demands, self.reasons, random).run()
            self.checks.check_copies_equal()
        forced = ForcedCopy(self.keeper, self.timeline, self.demands, self.operators, random)
        if swarm.forces:
            await forced.run()
            self.checks.check_copies_equal()
        if swarm.restores:
            await RestoredArbiter(self.nemesis.scene, self.halts, forced, random).run()
            self.checks.check_copies_equal()
        if swarm.gives_back:
            await GivenBack(self.keeper, self.timeline, self.demands, random).run()
        if swarm.disks_hang:
            await HungDisks(self.timeline, self.demands, self.reasons, self.keeper, random).run()
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
            self.nemesis.machines.stand_still(frozen)
        await self._let_swaps_arrive()
        core = other(frozen)
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
            await self.halts.expect()
            return
        self.programs.flawed, self.keeper.renews = False, True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(LostBlocks(self.clients).run)
            await self.demands.require(self.pair.is_protected, TOGETHER_S, "I12: the pair does not become protected")
            nursery.cancel_scope.cancel(reason="nobody lacks a block")
        self.keeper.renews = False
        self.timeline.note(EVERYWHERE, "both are protected")
        await self.clients.stop()
        await self.demands.require(self.pair.is_settled, TOGETHER_S, "I12: the pair does not stay protected")
        await self._write_in_calm()
        await self.operators.demand_answers()
        await self.operators.demand_switchover()
        await self.repairs.run()
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
