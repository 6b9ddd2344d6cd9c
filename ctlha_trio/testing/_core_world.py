"""Both pair cores, an arbiter, a link, disks and clients in one seeded event loop: no Trio, no bytes, no clock.

Anything that the seams allow may happen next; timers fire whenever the seed says so, for the protocol must be safe
without clocks. ``CoreWorld.run`` makes trouble, ``CoreWorld.heal`` ends it and demands that the pair comes together.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random

import attrs

from ctlha_trio.pair import (
    Copy,
    Metadata,
    PairState,
    Phase,
    Record,
    accepts,
    actions as act,
    boot,
    events as ev,
    messages as msg,
    step_pair,
)
from ctlha_trio.testing._core_arbiter import SimulatedArbiter
from ctlha_trio.testing._core_clients import FLIGHTS_MAX, SimulatedClients
from ctlha_trio.testing._core_link import Blocks, LinkEnd, SimulatedLink
from ctlha_trio.testing._core_log import EventLine
from ctlha_trio.testing._core_node import BLOCK_BYTES, BLOCKS, ArbiterCall, SimulatedNode, UnderWay, digest_of
from ctlha_trio.testing._core_trouble import (
    CALM,
    EPISODE_STEPS,
    FAULTS,
    LANES,
    TIMER_RATES,
    Choices,
    Pace,
    troubled_pace,
)

NODES = ("a", "b")
HEAL_STEPS = 15_000
"""Far more than the slowest seed needs, so that only a pair that is stuck reaches it."""
SELDOM = 0.05
"""What changes nothing nearly always: a poll of the record, a client at a node that sends it away."""
DRAG = 0.01
"""Of the pace of a disk at which only slow calls are under way."""

_ENDED = frozenset({Phase.STOPPED, Phase.LEFT})
_GOOD_REASONS_TO_END = frozenset({"store-failed", "asked"})
MARK_CHANCE = 0.5
"""That a disk which failed still takes the mark that it did."""
_LOG_LINES = 80


@attrs.define(eq=False)
class CoreWorld:
    """One seeded run, of all faults or of those that are named.

    Everything that it demands is an ``AssertionError`` with the seed and the last events.
    """

    seed: int
    faults: tuple[str, ...] = tuple(FAULTS)
    timers: tuple[float, ...] = TIMER_RATES
    random: Random = attrs.field(init=False)
    arbiter: SimulatedArbiter = attrs.field(init=False)
    link: SimulatedLink = attrs.field(init=False)
    nodes: dict[str, SimulatedNode] = attrs.field(init=False)
    clients: SimulatedClients = attrs.field(init=False)
    incarnations: int = 0
    events: int = 0
    log: deque[tuple[int, "EventLine | str"]] = attrs.field(factory=lambda: deque(maxlen=_LOG_LINES), init=False)
    """The latest events, with their numbers."""
    _pace: Pace = attrs.field(default=CALM, init=False)
    phases_seen: set[tuple[Phase, Phase]] = attrs.Factory(set)

    def __attrs_post_init__(self) -> None:
        """Make an arbiter and two nodes that hold the same zeros."""
        self.random = Random(self.seed)
        record = Record(cluster="c", resource="r", epoch=1, lineage="l", primary="a", members=NODES, proposal="init")
        self.link = SimulatedLink((LinkEnd(self.random), LinkEnd(self.random)), self.random)
        self.nodes = {
            name: SimulatedNode(name, peer, self.random, _first_metadata(name), end)
            for name, peer, end in zip(NODES, reversed(NODES), self.link.ends, strict=True)
        }
        self.clients = SimulatedClients(self.random, self.nodes, lambda: self.arbiter.record)
        self.arbiter = SimulatedArbiter(record, self.random, lambda _: self.clients.check_members())

    # What may happen next.

    def run(self, steps: int) -> None:
        """Trouble: ``steps`` random happenings, from a pair that has just come together."""
        self.heal()
        for step in range(steps):
            if step % EPISODE_STEPS == 0:
                self._pace = troubled_pace(self.random, NODES, self.faults, self.timers)
            self._happen(self._possible())

    def heal(self) -> None:
        """End all trouble and demand that the pair comes together: both members, both copies equal."""
        self._pace = CALM
        self.link.partitioned = False
        self.arbiter.up = True
        for _ in range(HEAL_STEPS):
            if self._together():
                break
            self._happen(self._possible())
        else:
            raise self._failure("the pair did not come together")
        copies = [node.blocks for node in self.nodes.values()]
        if copies[0] != copies[1]:
            raise self._failure(f"copies differ: {copies}")
        self._checked(self.clients.check_members)

    def _possible(self) -> Choices:
        """Everything that can happen now, with its weight."""
        choices: Choices = []
        for node in self.nodes.values():
            if node.state is None:
                choices.append((3, partial(self._start, node)))
                continue
            if node.state.phase in _ENDED:
                choices.append((3, partial(self._take_down_ended, node, node.state)))
            lanes = (node.link.inbox, node.disk, node.calls)
            goes_on = (self._deliver, self._end_disk_call, self._go_on_with_arbiter_call)
            for lane, waiting, go_on in zip(LANES, lanes, goes_on, strict=True):
                if waiting:
                    drag = DRAG if waiting is node.disk and node.drags() else 1
                    choices.append((self._pace.lane(node.name, lane) * drag, partial(go_on, node)))
            for timer in sorted(node.timers, key=lambda each: each.value):
                seldom = SELDOM if timer is ev.Timer.RECORD_POLL else 1
                choices.append((self._pace.timers * seldom, partial(self._fire_timer, node, timer)))
            if len(node.state.flights) < FLIGHTS_MAX and node.name in self._pace.clients:
                seldom = 1 if accepts(node.state) else SELDOM
                choices.append((self._pace.clients[node.name] * seldom, partial(self._submit, node)))
        if not self.link.live:
            choices.append((self._pace.connect, self._connect))
        for fault, rate in self._pace.faults.items():
            choices.append((rate, getattr(self, f"_{fault}")))
        if self.link.partitioned:
            choices.append((1, self.link.toggle_partition))
        if not self.arbiter.up:
            choices.append((1, self.arbiter.toggle))
        return choices

    def _together(self) -> bool:
        states = [node.state for node in self.nodes.values() if node.state is not None]
        idle = all(not node.disk and not node.link.inbox for node in self.nodes.values())
        phases = {state.phase for state in states}
        return idle and phases == {Phase.MIRRORING, Phase.FOLLOWING} and not any(state.flights for state in states)

    def _happen(self, choices: Choices) -> None:
        weights = [weight for weight, _ in choices]
        self._checked(self.random.choices([do for _, do in choices], weights)[0])

    def _checked(self, do: Callable[[], None]) -> None:
        try:
            do()
        except AssertionError as error:
            raise self._failure(str(error)) from error

    def _failure(self, what: str) -> AssertionError:
        lines = (f"{number:6} {line}" for number, line in self.log)
        return AssertionError("\n".join((f"seed {self.seed}: {what}", *lines)))

    def _any_running(self, condition: Callable[[PairState], bool]) -> SimulatedNode | None:
        nodes = [node for node in self.nodes.values() if node.state is not None and condition(node.state)]
        return self.random.choice(nodes) if nodes else None

    def _deliver(self, node: SimulatedNode) -> None:
        parcel = node.link.receive()
        self._feed(node, parcel.event, parcel.data)

    def _end_disk_call(self, node: SimulatedNode) -> None:
        self._end(node, node.pick_disk_call())

    def _go_on_with_arbiter_call(self, node: SimulatedNode) -> None:
        """Execute the oldest call of a node, or let the node hear the answer."""
        oldest = node.calls[0]
        if oldest.answer is None:
            oldest.answer = self.arbiter.execute(oldest.call)
        else:
            node.calls.popleft()
            self._feed(node, oldest.answer)

    def _fire_timer(self, node: SimulatedNode, timer: ev.Timer) -> None:
        node.timers.discard(timer)
        self._feed(node, ev.TimerFired(timer))

    def _submit(self, node: SimulatedNode) -> None:
        self._feed(node, self.clients.ask(node, self._pace.kinds[node.name]))

    def _cut(self) -> None:
        self.link.cut()

    def _part(self) -> None:
        if not self.link.partitioned:
            self.link.toggle_partition()

    def _fail_arbiter(self) -> None:
        self.arbiter.up = False

    def _apply_late(self) -> None:
        self.arbiter.apply_late()

    def _connect(self) -> None:
        states = [node.state for node in self.nodes.values()]
        incarnations = [s.incarnation for s in states if s is not None and s.phase not in _ENDED]
        if len(incarnations) == len(NODES):
            self.link.connect((incarnations[0], incarnations[1]))

    def _hand_over(self) -> None:
        node = self._any_running(lambda state: state.phase is Phase.MIRRORING)
        if node is not None:
            self._feed(node, ev.HandoverAsked())

    def _leave(self) -> None:
        node = self._any_running(lambda _: True)
        if node is not None:
            self._feed(node, ev.StopAsked("asked"))

    def _fail_disk(self) -> None:
        """Two copies survive the loss of one: never of both, and never of the only one that counts."""
        node = self._any_running(lambda state: state.swap is None)
        failed = any(each.metadata.copy is not Copy.MEMBER for each in self.nodes.values())
        if node is None or failed or self.arbiter.late or self.arbiter.record.members != NODES:
            return
        node.disk.clear()
        self._feed(node, ev.StoreFailed())

    def _take_down_ended(self, node: SimulatedNode, state: PairState) -> None:
        """As a person does with a node that ended, and had a reason."""
        if state.why not in _GOOD_REASONS_TO_END:
            raise AssertionError(f"{node.name} stopped: {state.why}")
        self._take_down(node)

    def _start(self, node: SimulatedNode) -> None:
        self.incarnations += 1
        self._note(f"{node.name} starts as {self.incarnations}")
        node.state, first = boot(
            me=node.name,
            peer=node.peer,
            incarnation=self.incarnations,
            size_bytes=BLOCKS * BLOCK_BYTES,
            metadata=node.metadata,
        )
        for action in first:
            self._carry_out(node, action)

    def _crash(self) -> None:
        node = self._any_running(lambda _: True)
        if node is not None:
            self._take_down(node)

    def _take_down(self, node: SimulatedNode) -> None:
        self._note(f"{node.name} ends")
        self.arbiter.late.extend(node.crash())
        self.link.cut()
        node.forget()
        self.clients.crashed(node)

    # The driver.

    def _feed(self, node: SimulatedNode, event: ev.Event, data: Blocks | None = None) -> None:
        before = node.state
        assert before is not None
        node.state, ordered = step_pair(before, event)
        self.phases_seen.add((before.phase, node.state.phase))
        self._note(EventLine(node.name, before.phase, node.state.phase, node.state.epoch, event, ordered))
        if node.state.epoch < before.epoch:
            raise AssertionError(f"{node.name} went back from epoch {before.epoch} to {node.state.epoch}")
        copied = isinstance(event, ev.Received) and isinstance(event.message, msg.CopyData)
        for action in ordered:
            self._carry_out(node, action, data, copied=copied)

    def _carry_out(  # noqa: PLR0912 (one case for each kind of action)
        self, node: SimulatedNode, action: act.Action, placed: Blocks | None = None, *, copied: bool = False
    ) -> None:
        match action:
            case act.Send():
                self.link.send(node.link, action.message)
            case act.PushWrite() | act.PushCopy():
                self._push(node, action)
            case act.ReadRecord() | act.Swap():
                node.calls.append(ArbiterCall(action))
            case act.SetTimer():
                node.timers.add(action.timer)
            case act.CancelTimer():
                node.timers.discard(action.timer)
            case act.Answer():
                self.clients.answered(node, action)
            case act.Goodbye():
                self.link.part(node.link)
            case act.CondemnCopy():
                if self.random.random() < MARK_CHANCE:
                    node.condemn(action.metadata)
            case act.StoreWrite():
                block = action.operation.offset // BLOCK_BYTES
                node.begin_disk_call(action, {block: self.clients.values[action.ticket]})
            case act.StoreMirrored():
                if copied and node.metadata.copy not in {Copy.RESYNCING, Copy.REWRITING}:
                    raise AssertionError(f"{node.name} is overwritten before it has persisted that it will be")
                assert placed is not None, "a write was ordered without its data"
                node.begin_disk_call(action, placed)
            case act.Persist() | act.FetchRead() | act.SendCompare() | act.CompareRange():
                node.begin_disk_call(action)
            case act.Moved() | act.HandoverEnded():
                pass

    def _push(self, node: SimulatedNode, action: act.PushWrite | act.PushCopy) -> None:
        match action:
            case act.PushWrite(operation=operation):
                write = msg.MirrorWrite(
                    epoch=action.epoch,
                    sequence=action.sequence,
                    previous=action.previous,
                    offset=operation.offset,
                    size=operation.size,
                )
                data = {operation.offset // BLOCK_BYTES: self.clients.values[action.ticket]}
                self.link.send(node.link, write, data)
            case act.PushCopy():
                copy = msg.CopyData(action.epoch, action.sequence, action.offset, action.size)
                self.link.send(node.link, copy, node.held.pop(action.sequence))

    def _end(self, node: SimulatedNode, ended: UnderWay) -> None:
        node.apply(ended)
        match ended.call:
            case act.Persist() as call:
                self._feed(node, ev.Persisted(call.metadata))
            case act.StoreWrite() | act.StoreMirrored() as call:
                self._feed(node, ev.Stored(call.sequence))
            case act.FetchRead() as call:
                self.clients.values[call.ticket] = node.blocks[call.operation.offset // BLOCK_BYTES]
                self._feed(node, ev.Fetched(call.sequence))
            case act.SendCompare() as call:
                if ended.session == node.link.session:
                    held = node.held[call.sequence] = node.read(call.offset, call.size)
                    compare = msg.Compare(call.epoch, call.sequence, call.offset, call.size, digest_of(held))
                    self.link.send(node.link, compare)
            case act.CompareRange() as call:
                equal = digest_of(node.read(call.offset, call.size)) == call.digest
                self._feed(node, ev.RangeCompared(call.session, call.sequence, equal))

    def _note(self, line: "EventLine | str") -> None:
        self.events += 1
        self.log.append((self.events, line))


def _first_metadata(name: str) -> Metadata:
    return Metadata(
        cluster="c",
        node=name,
        resource="r",
        lineage="l",
        arbiter="x",
        epoch=1,
        revision=1,
        primary="a",
        members=NODES,
        copy=Copy.MEMBER,
    )
