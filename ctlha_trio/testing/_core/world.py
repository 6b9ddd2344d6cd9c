"""A simulated pair in one seeded event loop: no Trio, no bytes; a clock that is simulated and passes by chance.

Everything that may happen next has a rate, in happenings a second; which one it is and how long it took are drawn by
these rates. Lanes and timers know no deadlines: the protocol must be safe in every order, and any order can come.
``CoreWorld.run`` makes trouble, ``CoreWorld.heal`` ends it and demands that the pair comes together.
"""

from bisect import bisect
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from random import Random
from typing import Final

import attrs

from ctlha_trio.ha import RENEW_S
from ctlha_trio.pair import MEMBERS, OperationKind, PairState, Phase, accepts, events as ev
from ctlha_trio.testing._core import relief
from ctlha_trio.testing._core.atlas import holds_block
from ctlha_trio.testing._core.clients import FLIGHTS_MAX
from ctlha_trio.testing._core.faults import FAULTS
from ctlha_trio.testing._core.health import demand_health
from ctlha_trio.testing._core.heard import have_news
from ctlha_trio.testing._core.log import EventHistory, EventLine
from ctlha_trio.testing._core.node import NODES, SimulatedNode
from ctlha_trio.testing._core.pair import SimulatedPair
from ctlha_trio.testing._core.trouble import (
    AT_SECONDARY,
    CALM,
    CLOCK_FACTORS,
    DRAG,
    EPISODE_STEPS,
    KINDS,
    LATE_RATE,
    ROUND_STEPS,
    SELDOM,
    SUSPICION_S,
    NodePace,
    Pace,
    some_faults,
    troubled_pace,
)
from ctlha_trio.testing._core.volume import blocks_of
from ctlha_trio.testing._core.words import told_blocks

HEAL_STEPS: Final = 15_000
HEAL_S: Final = 120.0
"""Far more than the slowest seed needs, so that only a pair that is stuck reaches either."""

Do = Callable[[], None]
_POLL, _RETRY, _PERMITS = ev.Timer.RECORD_POLL, ev.Timer.ARBITER_RETRY, ev.Timer.PERMIT_OUT


@attrs.define(eq=False)
class _Seat:
    """A node at its pace, with everything that may happen to it: made once, for it is looked at before every step."""

    node: SimulatedNode
    pace: NodePace
    start: Do
    resume: Do
    take_down_ended: Do
    deliver: Do
    end_disk_call: Do
    go_on_with_arbiter_call: Do
    submit: Do
    ask_for_permit: Do
    unclog: Do
    answer: Do
    give_disk_back: Do
    suspect: Do
    _judged: PairState | None = None
    """The state of which the next is true."""
    _share: float = 0.0

    def share_of_clients(self, state: PairState) -> float:
        """Of their pace, while the node, its own, is in this state."""
        if state is not self._judged:
            self._judged = state
            self._share = AT_SECONDARY if state.phase is Phase.FOLLOWING else 1.0 if accepts(state) else SELDOM
        return self._share


@attrs.define(eq=False)
class CoreWorld:
    """One seeded run, of some faults that the seed chooses or of those that are named.

    Everything that it demands is an ``AssertionError`` with the seed and the last events.
    """

    seed: int
    faults: tuple[str, ...] | None = None
    clocks: tuple[float, ...] = CLOCK_FACTORS
    kinds: tuple[tuple[OperationKind, ...], ...] = KINDS
    """Of operations: the clients of a node ask for those of one entry."""
    watch: Callable[[EventLine], None] | None = None
    """Told of every line of the event history."""
    random: Random = attrs.field(init=False)
    pair: SimulatedPair = attrs.field(init=False)
    idle_s: float = 0.0
    """Time that was jumped over."""
    pace: Pace = attrs.field(default=CALM, init=False)
    _rates: list[float] = attrs.field(factory=list, init=False)
    _moves: list[Do] = attrs.field(factory=list, init=False)
    """What may happen next, beside its rates."""
    _seats: "list[_Seat]" = attrs.field(factory=list, init=False)
    _fault_rates: list[float] = attrs.field(factory=list, init=False)
    _fault_moves: list[Do] = attrs.field(factory=list, init=False)
    _apply_late: Do = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the pair, from which nothing runs yet."""
        self.random = Random(self.seed)
        self.pair = SimulatedPair(self.random, EventHistory(self.watch))
        if self.faults is None:
            self.faults = some_faults(self.random)
        self._apply_late = partial(self._do_fault, "apply_late")
        self.go_at(CALM)

    def run(self, steps: int) -> None:
        """Trouble: ``steps`` random happenings, in rounds that each begin with a pair that has just come together."""
        assert self.faults is not None
        for step in range(steps):
            if step % ROUND_STEPS == 0:
                self.heal()
            if step % EPISODE_STEPS == 0:
                self.go_at(troubled_pace(self.random, NODES, self.faults, self.clocks, self.kinds))
                self.pair.note("-", f"trouble begins: {', '.join(self.pace.faults) or 'of the pace alone'}")
            self.step()

    def heal(self) -> None:
        """End all trouble and demand that the pair comes together, and that it is healthy then."""
        self.come_together()
        demand_health(self)
        self.go_on_until(self._together, HEAL_S, "the pair did not stay together")

    def come_together(self) -> None:
        """End all trouble and demand that the pair comes together: both members, both copies equal."""
        self.pair.note("-", "all trouble ends: the pair must come together")
        self.relieve()
        self.go_at(CALM)
        self.go_on_until(self._comes_together, HEAL_S, "the pair did not come together")
        self._settle()

    def settle(self) -> None:
        """If the pair happens to be together, demand that both copies are equal, and forget how that came about."""
        if self._together():
            self._settle()

    def _settle(self) -> None:
        copies = [(node.sectors, node.records) for node in self.pair.nodes.values()]
        if copies[0] != copies[1]:
            raise self.failure(f"I7: copies differ: {copies}")
        self._checked(self.pair.invariants.check_members)
        holds = told_blocks(dict(enumerate(copies[0][0])) | copies[0][1])
        self.pair.note("-", f"the pair is together, and both copies hold {holds}")
        self.pair.clients.start_over(self.pair.nodes[NODES[0]])

    def relieve(self) -> None:
        """End everything that is wrong around the processes."""
        pair = self.pair
        if pair.link.partitioned:
            relief.end_partition(self.pair)
        if not pair.arbiter.up:
            relief.start_arbiter(self.pair)
        if pair.arbiter.slow:
            relief.hasten_arbiter(self.pair)
        relief.give_back(self.pair)
        for node in pair.nodes.values():
            if node.newest is not None:
                relief.give_disk_back(self.pair, node)
            if node.paused:
                pair.resume(node)
            if node.link.clogged:
                relief.unclog(self.pair, node)
            if node.disk_hangs:
                relief.answer(self.pair, node)
            node.misdirects = None
            self._mend_last_copies(node)
            self._write_lost_blocks(node)
            node.kept_down = False

    def _mend_last_copies(self, node: SimulatedNode) -> None:
        """A block of which no other copy that counts is whole is whole again. All else is for the pair to repair."""
        lost = [block for block in node.damaged if not holds_block(self.pair, self.pair.nodes[node.peer], block)]
        if lost:
            self.pair.note(node.name, f"the last copies of blocks {', '.join(map(str, sorted(lost)))} are whole again")
            self.pair.clients.excuse(set(lost))
        for block in lost:
            del node.damaged[block]

    def _write_lost_blocks(self, node: SimulatedNode) -> None:
        """Clients write anew what keeps a resync from its end."""
        resync = node.state.resync if node.state else None
        flights = node.state.flights if node.state else ()
        under_way = {block for flight in flights for block in blocks_of(*flight.operation.where)}
        for each in resync.left_out if resync else ():
            for block in blocks_of(*each.lost):
                if block not in under_way:
                    self.feed(node, self.pair.clients.ask_for(node, OperationKind.WRITE, block))

    def feed(self, node: SimulatedNode, event: ev.Event) -> None:
        """Let a node take an event."""
        self._checked(partial(self.pair.feed, node, event))

    def request(self, node: SimulatedNode, event: ev.HandoverAsked | ev.ForceAsked | ev.VerifyAsked) -> None:
        """Ask a node for something, as an operator."""
        node.request_begun(event)
        self.feed(node, event)

    def go_at(self, pace: Pace) -> None:
        """From now on."""
        self.pace = pace
        self._seats = [self._seat(node, pace.of(name)) for name, node in self.pair.nodes.items()]
        faults = [(rate, partial(self._do_fault, name)) for name, rate in pace.faults.items()]
        self._fault_rates = [rate for rate, _ in faults]
        self._fault_moves = [do for _, do in faults]

    def go_on_until(self, reached: Callable[[], bool], limit_s: float, otherwise: str) -> None:
        """``AssertionError`` if so much time, or a very great number of steps, is not enough."""
        end_s = self.pair.clock.now_s + limit_s
        for _ in range(HEAL_STEPS):
            if reached():
                return
            if self.pair.clock.now_s > end_s:
                break
            self.step(otherwise)
        raise self.failure(otherwise)

    def step(self, otherwise: str = "nothing can happen any more") -> None:
        """Let the next thing happen."""
        idle = self._look_around()
        if not self._rates:
            raise self.failure(otherwise)
        bounds = list(accumulate(self._rates))
        total = bounds[-1]
        waited_s = self.pair.clock.advance(total)
        if idle:
            self.idle_s += waited_s
        self._checked(self._moves[bisect(bounds, self.random.random() * total, 0, len(bounds) - 1)])

    def failure(self, what: str) -> AssertionError:
        """What is wrong, with the seed and the last events."""
        return AssertionError("\n".join((f"seed {self.seed}: {what}", *map(str, self.pair.history.lines))))

    def _checked(self, do: Do) -> None:
        try:
            do()
        except AssertionError as error:
            raise self.failure(str(error)) from error

    def _comes_together(self) -> bool:
        for node in self.pair.nodes.values():
            if node.state is not None and node.state.resync is not None and node.state.resync.left_out:
                self._write_lost_blocks(node)
        return self._together()

    def _together(self) -> bool:
        first, second = self.pair.nodes.values()
        one, other = first.state, second.state
        if one is None or other is None:
            return False
        if one.phase is Phase.FOLLOWING:
            one, other = other, one
        if one.phase is not Phase.MIRRORING or other.phase is not Phase.FOLLOWING:
            return False
        if not one.revision == other.revision == self.pair.arbiter.revision:
            return False
        return not (one.flights or other.flights or first.disk or second.disk or first.link.inbox or second.link.inbox)

    # What may happen next.

    def _look_around(self) -> bool:
        """Find everything that can happen now. True if nothing was under way and what changes nothing was left out."""
        self._rates.clear()
        self._moves.clear()
        polls: list[tuple[float, Do]] = []
        busy = False
        for seat in self._seats:
            busy |= self._look_at_node(seat, polls)
        idle = not busy and self.pair.arbiter.newest is None
        if not idle:
            self._rates += [rate for rate, _ in polls]
            self._moves += [do for _, do in polls]
        self._look_at_surroundings()
        self._rates += self._fault_rates
        self._moves += self._fault_moves
        return idle

    def _may(self, rate: float, do: Do) -> None:
        self._rates.append(rate)
        self._moves.append(do)

    def _look_at_node(self, seat: "_Seat", polls: list[tuple[float, Do]]) -> bool:
        """Whether more is under way than calls of the arbiter that change nothing. Made for speed: half of all work."""
        node, pace, arbiter = seat.node, seat.pace, self.pair.arbiter
        state = node.state
        if state is None:
            if not (node.kept_down or node.disk_hangs):
                self._may(self.pace.boot, seat.start)
            return False
        rates, moves = self._rates, self._moves
        inbox, disk, calls, flights = node.link.inbox, node.disk, node.calls, state.flights
        if calls and (not node.paused or calls[0].answer is None):
            rates.append(pace.arbiter * DRAG if arbiter.slow else pace.arbiter)
            moves.append(seat.go_on_with_arbiter_call)
        if node.paused:
            self._may(self.pace.relief, seat.resume)
            return True
        phase = state.phase
        if phase is Phase.STOPPED or phase is Phase.LEFT:
            self._may(self.pace.boot if arbiter.newest is None else self.pace.boot * DRAG, seat.take_down_ended)
        if inbox and not (node.link.clogged and self.pair.link.live):
            # Silence takes its time to be noticed, and that by the node's own clock.
            rates.append(pace.clock / SUSPICION_S if inbox[0].silent else pace.link)
            moves.append(seat.deliver)
        if disk and not node.disk_hangs:
            rates.append(pace.disk * DRAG if node.drags() else pace.disk)
            moves.append(seat.end_disk_call)
        busy = bool(inbox or disk or calls or flights)
        known = arbiter.known_to(state)
        for timer, running in node.timers.items():
            # The clock of permits is nearly right, and nobody waits for their end but a node that secures its claim.
            unawaited = timer is _PERMITS and phase is not Phase.SECURING
            rate = running.rate if unawaited else pace.clock * running.rate
            if known and (timer is _POLL or (timer is _RETRY and not arbiter.up)):
                polls.append((rate * SELDOM, running.fire))
            else:
                busy |= not unawaited
                rates.append(rate)
                moves.append(running.fire)
        self._look_at_clients(seat, state, polls)
        return busy

    def _look_at_clients(self, seat: "_Seat", state: PairState, polls: list[tuple[float, Do]]) -> None:
        node, pace = seat.node, seat.pace
        if pace.clients and len(state.flights) < FLIGHTS_MAX:
            self._may(pace.clients * seat.share_of_clients(state), seat.submit)
        if state.phase in MEMBERS and node.link.session:
            if node.reads:
                self._may(1 / RENEW_S, seat.ask_for_permit)
            elif pace.clients and OperationKind.READ in pace.kinds:
                polls.append((SELDOM / RENEW_S, seat.ask_for_permit))

    def _look_at_surroundings(self) -> None:
        pair, rate = self.pair, self.pace.relief
        link, arbiter = pair.link, pair.arbiter
        first, second = self._seats
        if not link.live and link.passable and self._have_reason_to_connect():
            self._may(self.pace.connect, self.pair.connect)
        if link.partitioned:
            self._may(rate, partial(relief.end_partition, pair))
        for seat, peer in ((first, second.node), (second, first.node)):
            node = seat.node
            if node.link.clogged:
                self._may(rate, seat.unclog)
            if node.disk_hangs:
                self._may(rate, seat.answer)
            if (node.link.clogged or peer.paused) and link.live and node.state is not None and not node.paused:
                self._may(seat.pace.clock / SUSPICION_S, seat.suspect)
        if not arbiter.up:
            self._may(rate, partial(relief.start_arbiter, pair))
        if arbiter.slow:
            self._may(rate, partial(relief.hasten_arbiter, pair))
        if arbiter.newest is not None:
            self._may(rate * SELDOM, partial(relief.give_back, pair))
        elif arbiter.late and arbiter.may_change_late and "apply_late" in self.pace.faults:
            self._may(LATE_RATE, self._apply_late)
        for seat in self._seats:
            if seat.node.newest is not None:
                self._may(rate * SELDOM, seat.give_disk_back)

    def _have_reason_to_connect(self) -> bool:
        if all(each.node.reachable for each in self._seats):
            return True
        return have_news(each.node.state for each in self._seats if not each.node.paused)

    def _seat(self, node: SimulatedNode, pace: NodePace) -> _Seat:
        pair = self.pair
        return _Seat(
            node,
            pace,
            start=partial(pair.start, node),
            resume=partial(pair.resume, node),
            take_down_ended=partial(pair.take_down_ended, node),
            deliver=partial(pair.deliver, node),
            end_disk_call=partial(pair.end_disk_call, node),
            go_on_with_arbiter_call=partial(pair.go_on_with_arbiter_call, node),
            submit=partial(pair.submit, node, pace.kinds),
            ask_for_permit=partial(pair.reads.ask_for_permit, node),
            unclog=partial(relief.unclog, pair, node),
            answer=partial(relief.answer, pair, node),
            give_disk_back=partial(relief.give_disk_back, pair, node),
            suspect=partial(pair.link.suspect, node.link),
        )

    def _do_fault(self, name: str) -> None:
        self.pair.faults_done[name] += FAULTS[name].do(self.pair)
