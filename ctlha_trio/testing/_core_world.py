"""Both pair cores and an arbiter in one seeded event loop: no Trio, no bytes, any order of events that the seams allow.

Timers fire whenever the seed says so: the protocol must be safe without clocks. ``CoreWorld.run`` makes trouble, then
``CoreWorld.heal`` ends it and demands that both nodes come together again with equal copies.
"""

from collections import deque
from collections.abc import Callable
from random import Random

import attrs

from ctlha_trio.pair import Copy, Metadata, Operation, OperationKind, Outcome, PairState, Phase, Record, boot, step_pair
from ctlha_trio.pair import actions as act
from ctlha_trio.pair import events as ev
from ctlha_trio.pair import messages as msg
from ctlha_trio.pair import SwapOutcome
from ctlha_trio.testing._block_history import BlockHistory

BLOCKS = 4
BLOCK_BYTES = 1 << 19
"""Half a chunk of a resync, so that a chunk covers two blocks."""
_NODES = ("a", "b")
_FAULTS = ("cut", "crash", "partition", "arbiter", "late", "handover", "stop", "disk")
_DOWN = frozenset({Phase.STOPPED, Phase.LEFT})


def _brief(event: ev.Event) -> str:
    match event:
        case ev.RecordRead():
            record = event.record
            return f"RecordRead e{record.epoch} {record.primary} {record.members} r{event.revision}"
        case ev.Persisted():
            return f"Persisted e{event.metadata.epoch} {event.metadata.copy.value}"
        case ev.Received():
            return str(event.message)
        case _:
            return str(event)


@attrs.define(eq=False)
class _Arbiter:
    record: Record
    revision: int = 1
    up: bool = True

    def cas(self, expected_revision: int, record: Record) -> SwapOutcome:
        if expected_revision != self.revision:
            return SwapOutcome.LOST
        self.record, self.revision = record, self.revision + 1
        return SwapOutcome.WON


@attrs.define(eq=False)
class _Node:
    name: str
    blocks: list[int]
    """Durable: the value of each block, which is the number of the write."""
    metadata: Metadata
    state: PairState | None = None
    """None while it is down."""
    session: int = 0
    """The session that its core knows."""
    inbox: deque[tuple[ev.Event, dict[int, int]]] = attrs.Factory(deque)
    """What the link will deliver, in order, with the data that was placed."""
    disk: list[act.Action] = attrs.Factory(list)
    """Calls under way; any may end next, but a Persist only when nothing was begun before it."""
    placed: dict[int, dict[int, int]] = attrs.Factory(dict)
    """Data that came with a message, by sequence."""
    held: dict[int, dict[int, int]] = attrs.Factory(dict)
    """Ranges read for a comparison, by sequence."""
    calls: deque[act.Swap | act.ReadRecord] = attrs.Factory(deque)
    timers: set[ev.Timer] = attrs.Factory(set)


@attrs.define(eq=False)
class CoreWorld:
    """One seeded run. ``log`` holds a line for each event, for whoever reads a failure."""

    seed: int
    random: Random = attrs.field(init=False)
    arbiter: _Arbiter = attrs.field(init=False)
    nodes: dict[str, _Node] = attrs.field(init=False)
    history: BlockHistory = attrs.Factory(BlockHistory)
    log: list[str] = attrs.Factory(list)
    events: int = 0
    live: int = 0
    """Id of the session that carries messages; 0 without one."""
    sessions: int = 0
    partitioned: bool = False
    incarnations: int = 0
    late_swaps: list[act.Swap] = attrs.Factory(list)
    """Swaps whose caller was told UNKNOWN and that the arbiter may still apply."""
    tickets: dict[tuple[str, int], Operation] = attrs.Factory(dict)
    """Asked of a node and not answered."""
    values: dict[int, int] = attrs.Factory(dict)
    """By ticket: what a write writes, and what a read has read."""
    next_ticket: int = 1
    acknowledged_by: dict[int, str] = attrs.Factory(dict)
    """The node that acknowledged writes in each epoch."""
    phases_seen: set[tuple[Phase, Phase]] = attrs.Factory(set)

    def __attrs_post_init__(self) -> None:
        """Make an arbiter and two nodes that hold the same zeros."""
        self.random = Random(self.seed)
        record = Record(cluster="c", resource="r", epoch=1, lineage="l", primary="a", members=_NODES, proposal="init")
        self.arbiter = _Arbiter(record)
        self.nodes = {
            name: _Node(
                name,
                [0] * BLOCKS,
                Metadata(
                    cluster="c",
                    node=name,
                    resource="r",
                    lineage="l",
                    arbiter="x",
                    epoch=1,
                    revision=1,
                    primary="a",
                    members=_NODES,
                    copy=Copy.MEMBER,
                ),
            )
            for name in _NODES
        }

    # What may happen next.

    def run(self, steps: int) -> None:
        """Trouble: ``steps`` random happenings."""
        # Rates are drawn anew for each seed: some seeds see one kind of trouble only, some see all at once.
        rate = {fault: self.random.choice([0.0, 0.1, 0.5, 2.0]) for fault in _FAULTS}
        timers = self.random.choice([0.3, 3.0, 10.0])
        for _ in range(steps):
            self._happen(
                [
                    (40, self._deliver),
                    (30, self._end_disk_call),
                    (25, self._answer_call),
                    (timers, self._fire_timer),
                    (12, self._submit),
                    (20, self._connect),
                    (3, self._start),
                    (rate["cut"], self._cut),
                    (rate["crash"], self._crash),
                    (rate["partition"] if not self.partitioned else 3, self._toggle_partition),
                    (rate["arbiter"] if self.arbiter.up else 3, self._toggle_arbiter),
                    (rate["late"], self._apply_late_swap),
                    (rate["handover"], self._ask_handover),
                    (rate["stop"] / 5, self._stop_node),
                    (rate["disk"] / 10, self._fail_disk),
                ]
            )

    def heal(self) -> None:
        """End all trouble and demand that the pair comes together: both members, both copies equal."""
        self.partitioned = False
        self.arbiter.up = True
        for _ in range(60_000):
            if self._together():
                break
            self._happen(
                [
                    (40, self._deliver),
                    (30, self._end_disk_call),
                    (25, self._answer_call),
                    (1, self._fire_timer),
                    (20, self._connect),
                    (5, self._start),
                ]
            )
        else:
            raise AssertionError(self.report("the pair did not come together"))
        a, b = (self.nodes[name] for name in _NODES)
        if a.blocks != b.blocks:
            raise AssertionError(self.report(f"copies differ: {a.blocks} {b.blocks}"))

    def report(self, what: str) -> str:
        """A failure with the last events before it."""
        return f"seed {self.seed}: {what}\n" + "\n".join(self.log[-80:])

    def _together(self) -> bool:
        states = [node.state for node in self.nodes.values()]
        phases = {state.phase for state in states if state is not None}
        idle = all(not node.disk and not node.inbox for node in self.nodes.values())
        flying = any(state.flights for state in states if state is not None)
        return phases == {Phase.MIRRORING, Phase.FOLLOWING} and idle and not flying

    def _happen(self, choices: list[tuple[float, Callable[[], None]]]) -> None:
        weights = [weight for weight, _ in choices]
        self.random.choices([do for _, do in choices], weights)[0]()

    def _any_node(self, condition: Callable[[_Node], bool]) -> _Node | None:
        nodes = [node for node in self.nodes.values() if condition(node)]
        return self.random.choice(nodes) if nodes else None

    # Events.

    def _feed(self, node: _Node, event: ev.Event) -> None:
        if node.state is None:
            return
        before = node.state
        try:
            node.state, actions = step_pair(before, event)
        except Exception as error:
            raise AssertionError(self.report(f"{node.name} {before.phase} {event}: {error!r}")) from error
        self.events += 1
        self.phases_seen.add((before.phase, node.state.phase))
        self.log.append(
            f"{self.events:6} {node.name} {before.phase.name:>12} -> {node.state.phase.name:12} e{node.state.epoch:<3} "
            f"{_brief(event)} => {[type(a).__name__ for a in actions]}"
        )
        for action in actions:
            self._carry_out(node, action)

    def _carry_out(self, node: _Node, action: act.Action) -> None:
        match action:
            case act.Send():
                self._send(node, action.message, {})
            case act.PushWrite():
                value = self.values[action.ticket]
                message = msg.MirrorWrite(
                    action.epoch,
                    action.sequence,
                    action.operation.offset,
                    action.operation.size,
                )
                self._send(node, message, {action.operation.offset // BLOCK_BYTES: value})
            case act.PushCopy():
                message_copy = msg.CopyData(action.epoch, action.sequence, action.offset, action.size)
                self._send(node, message_copy, node.held.pop(action.sequence))
            case act.ReadRecord() | act.Swap():
                node.calls.append(action)
            case act.SetTimer():
                node.timers.add(action.timer)
            case act.CancelTimer():
                node.timers.discard(action.timer)
            case act.Answer():
                self._answered(node, action)
            case act.Goodbye():
                self._part(node)
            case act.CondemnCopy():
                if self.random.random() < 0.5:
                    node.metadata = action.metadata
            case act.Moved() | act.HandoverEnded():
                pass
            case _:
                node.disk.append(action)

    # Link.

    def _send(self, node: _Node, message: msg.Message, data: dict[int, int]) -> None:
        if node.session == self.live != 0:
            self._other(node).inbox.append((ev.Received(message), data))

    def _other(self, node: _Node) -> _Node:
        return self.nodes["b" if node.name == "a" else "a"]

    def _deliver(self) -> None:
        node = self._any_node(lambda n: n.state is not None and bool(n.inbox))
        if node is None:
            return
        event, data = node.inbox.popleft()
        match event:
            case ev.SessionUp():
                node.session = data[0]
            case ev.SessionLost():
                node.session = 0
            case ev.Received(msg.MirrorWrite() | msg.CopyData() as message):
                node.placed[message.sequence] = data
            case _:
                pass
        self._feed(node, event)

    def _connect(self) -> None:
        a, b = (self.nodes[name] for name in _NODES)
        if self.live or self.partitioned or a.state is None or b.state is None:
            return
        if _DOWN & {a.state.phase, b.state.phase}:
            return
        self.sessions += 1
        self.live = self.sessions
        for node, peer in ((a, b.state), (b, a.state)):
            node.inbox.append((ev.SessionUp(peer.incarnation), {0: self.live}))

    def _cut(self, loss: ev.Loss | None = None) -> None:
        if not self.live:
            return
        self.live = 0
        for node in self.nodes.values():
            kept: list[tuple[ev.Event, dict[int, int]]] = list(node.inbox)
            first = next((i for i, (e, _) in enumerate(kept) if isinstance(e, ev.SessionUp)), -1) + 1
            node.inbox = deque(kept[: self.random.randint(first, len(kept))])
            node.inbox.append((ev.SessionLost(loss or self.random.choice([ev.Loss.CLOSED, ev.Loss.SILENT])), {}))

    def _part(self, node: _Node) -> None:
        if self.live:
            self.live = 0
            for each in self.nodes.values():
                loss = ev.Loss.CLOSED if each is node else ev.Loss.GOODBYE
                each.inbox.append((ev.SessionLost(loss), {}))

    def _toggle_partition(self) -> None:
        self.partitioned = not self.partitioned
        if self.partitioned:
            self._cut()

    # Arbiter.

    def _answer_call(self) -> None:
        node = self._any_node(lambda n: n.state is not None and bool(n.calls))
        if node is None:
            return
        call = node.calls.popleft()
        if isinstance(call, act.ReadRecord):
            answer: ev.Event = ev.ReadFailed()
            if self.arbiter.up:
                answer = ev.RecordRead(self.arbiter.record, self.arbiter.revision)
        else:
            answer = self._swap(call)
        self._feed(node, answer)

    def _swap(self, call: act.Swap) -> ev.Swapped:
        proposal = call.record.proposal
        if not self.arbiter.up:
            if self.random.random() < 0.5:
                return ev.Swapped(proposal, SwapOutcome.REFUSED)
            self.late_swaps.append(call)
            return ev.Swapped(proposal, SwapOutcome.UNKNOWN)
        outcome = self.arbiter.cas(call.expected_revision, call.record)
        if self.random.random() < 0.1:
            return ev.Swapped(proposal, SwapOutcome.UNKNOWN)
        return ev.Swapped(proposal, outcome, self.arbiter.revision if outcome is SwapOutcome.WON else None)

    def _toggle_arbiter(self) -> None:
        self.arbiter.up = not self.arbiter.up

    def _apply_late_swap(self) -> None:
        if self.late_swaps:
            call = self.late_swaps.pop(self.random.randrange(len(self.late_swaps)))
            self.arbiter.cas(call.expected_revision, call.record)

    # Disk.

    def _end_disk_call(self) -> None:
        node = self._any_node(lambda n: n.state is not None and bool(n.disk))
        if node is None:
            return
        barrier = next((i for i, c in enumerate(node.disk) if isinstance(c, act.Persist)), None)
        last = len(node.disk) - 1 if barrier is None else max(0, barrier - 1)
        event = self._end(node, node.disk.pop(self.random.randint(0, last)))
        if event is not None:
            self._feed(node, event)

    def _end(self, node: _Node, call: act.Action) -> ev.Event | None:
        match call:
            case act.Persist():
                node.metadata = call.metadata
                return ev.Persisted(call.metadata)
            case act.StoreWrite():
                node.blocks[call.operation.offset // BLOCK_BYTES] = self.values[call.ticket]
                return ev.Stored(call.sequence)
            case act.StoreMirrored():
                for block, value in node.placed.pop(call.sequence).items():
                    node.blocks[block] = value
                return ev.Stored(call.sequence)
            case act.FetchRead():
                self.values[call.ticket] = node.blocks[call.operation.offset // BLOCK_BYTES]
                return ev.Fetched(call.sequence)
            case act.SendCompare():
                blocks = self._range(call.offset, call.size)
                node.held[call.sequence] = {block: node.blocks[block] for block in blocks}
                digest = repr(node.held[call.sequence]).encode()
                self._send(node, msg.Compare(call.epoch, call.sequence, call.offset, call.size, digest), {})
                return None
            case act.CompareRange():
                mine = repr({block: node.blocks[block] for block in self._range(call.offset, call.size)}).encode()
                return ev.RangeCompared(call.session, call.sequence, mine == call.digest)
            case _:
                raise AssertionError(call)

    def _range(self, offset: int, size: int) -> range:
        return range(offset // BLOCK_BYTES, (offset + size) // BLOCK_BYTES)

    def _fail_disk(self) -> None:
        node = self._any_node(lambda n: n.state is not None and n.state.swap is None)
        if node is None or self.late_swaps or len(self.arbiter.record.members) < len(_NODES):
            return
        if any(n.metadata.copy is Copy.FAILED for n in self.nodes.values()):
            # Two copies survive the loss of one, never of both, and never of the only one that counts.
            return
        self._feed(node, ev.StoreFailed())
        node.disk.clear()

    # Nodes.

    def _start(self) -> None:
        ended = self._any_node(lambda n: n.state is not None and n.state.phase in _DOWN)
        if ended is not None:
            self._check_end(ended)
        node = self._any_node(lambda n: n.state is None)
        if node is None:
            return
        self.incarnations += 1
        node.state, actions = boot(
            me=node.name,
            peer=self._other(node).name,
            incarnation=self.incarnations,
            size_bytes=BLOCKS * BLOCK_BYTES,
            metadata=node.metadata,
        )
        self.log.append(f"{self.events:6} {node.name} starts as {self.incarnations}")
        for action in actions:
            self._carry_out(node, action)

    def _check_end(self, node: _Node) -> None:
        """A node that stopped is started again, as by a person; it must have had one of these reasons."""
        if node.state is not None and node.state.why not in {"store-failed", "asked"}:
            raise AssertionError(self.report(f"{node.name} stopped: {node.state.why}"))
        self._down(node)

    def _crash(self) -> None:
        node = self._any_node(lambda n: n.state is not None)
        if node is not None:
            self._down(node)

    def _down(self, node: _Node) -> None:
        self.log.append(f"{self.events:6} {node.name} crashes")
        for call in node.disk:
            if isinstance(call, act.Persist | act.StoreWrite | act.StoreMirrored) and self.random.random() < 0.5:
                self._end(node, call)
        for call in node.calls:
            if isinstance(call, act.Swap):
                self.late_swaps.append(call)
        self._cut(ev.Loss.CLOSED)
        for name, ticket in self.tickets:
            if name == node.name:
                self.history.lost(ticket)
        self.tickets = {key: value for key, value in self.tickets.items() if key[0] != node.name}
        node.state = None
        node.session = 0
        for calls in (node.inbox, node.disk, node.placed, node.held, node.calls, node.timers):
            calls.clear()

    def _stop_node(self) -> None:
        node = self._any_node(lambda n: n.state is not None)
        if node is not None:
            self._feed(node, ev.StopAsked("asked"))

    def _ask_handover(self) -> None:
        node = self._any_node(lambda n: n.state is not None and n.state.phase is Phase.MIRRORING)
        if node is not None:
            self._feed(node, ev.HandoverAsked())

    def _fire_timer(self) -> None:
        node = self._any_node(lambda n: n.state is not None and bool(n.timers))
        if node is not None:
            timer = self.random.choice(sorted(node.timers, key=lambda t: t.value))
            node.timers.discard(timer)
            self._feed(node, ev.TimerFired(timer))

    # Clients.

    def _submit(self) -> None:
        node = self._any_node(lambda n: n.state is not None)
        if node is None or node.state is None or len(node.state.flights) > 8:
            return
        ticket, self.next_ticket = self.next_ticket, self.next_ticket + 1
        kind = self.random.choice([OperationKind.WRITE, OperationKind.WRITE, OperationKind.READ, OperationKind.FLUSH])
        size = 0 if kind is OperationKind.FLUSH else BLOCK_BYTES
        operation = Operation(kind, 1, ticket, self.random.randrange(BLOCKS) * BLOCK_BYTES if size else 0, size)
        self.tickets[node.name, ticket] = operation
        self.values[ticket] = ticket
        self.history.called(ticket, operation)
        self._feed(node, ev.Submitted(ticket, operation))

    def _answered(self, node: _Node, answer: act.Answer) -> None:
        operation = self.tickets.pop((node.name, answer.ticket))
        if answer.outcome is not Outcome.DONE:
            self.history.lost(answer.ticket)
            if answer.outcome is Outcome.NOT_PRIMARY:
                self.history.not_executed(answer.ticket, operation)
            return
        value = self.values[answer.ticket]
        try:
            self.history.done(answer.ticket, operation, value)
        except AssertionError as error:
            raise AssertionError(self.report(str(error))) from error
        if operation.kind is OperationKind.WRITE and node.state is not None:
            self._check_durable(node, operation, value)

    def _check_durable(self, node: _Node, operation: Operation, value: int) -> None:
        """I1: one node acknowledges in an epoch. I2: the write is on every member that the arbiter names now."""
        assert node.state is not None
        epoch = node.state.epoch
        if self.acknowledged_by.setdefault(epoch, node.name) != node.name:
            raise AssertionError(self.report(f"both nodes acknowledged in epoch {epoch}"))
        block = operation.offset // BLOCK_BYTES
        for name in self.arbiter.record.members:
            if not self.history.may_follow(block, value, self.nodes[name].blocks[block]):
                raise AssertionError(self.report(f"write {value} was acknowledged but is not on {name}"))
