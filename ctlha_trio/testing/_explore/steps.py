"""What may happen at one node of an explored world, as numbers of parts: each step is computed once, then looked up."""

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from ctlha_trio.pair import Operation, OperationKind, Outcome, Phase, Record, events as ev
from ctlha_trio.testing._explore import arbiter as arbiters, clients as clients_of, link as links, node as nodes
from ctlha_trio.testing._explore.forgetting import plain_message, plain_node
from ctlha_trio.testing._explore.invariants import check_change
from ctlha_trio.testing._explore.node import Output, Said, Taken
from ctlha_trio.testing._explore.parts import BLOCK_BYTES, Arbiter, Node, Push
from ctlha_trio.testing._explore.remembered import remembered
from ctlha_trio.testing._explore.store import PartStore

if TYPE_CHECKING:
    from ctlha_trio.testing._explore.clients import Clients

UNCHANGED = -1
_POLL: Final = ev.Timer.RECORD_POLL


class Step(NamedTuple):
    """What may happen at one node, whatever the rest of the world is."""

    what: object
    node: int
    outputs: int = 0
    """The number of what it says and answers; 0 for nothing."""
    problem: str = ""
    spends: str = ""
    inbox: int = UNCHANGED
    arbiter: int = UNCHANGED
    records: bool = False
    """The arbiter's record changes."""


@attrs.define(eq=False, slots=False)
class Steps:
    """Of the nodes of one exploration."""

    store: PartStore
    forgets: bool
    _outputs: list[tuple[Output, ...]] = attrs.field(factory=lambda: [()], init=False)
    _numbers: dict[tuple[Output, ...], int] = attrs.field(factory=lambda: {(): 0}, init=False)
    _hearings: list[tuple[ev.Event | None, int]] = attrs.field(factory=list, init=False)
    """What a node may hear, and the data that is placed before."""
    _hearing_numbers: dict[tuple[ev.Event | None, int], int] = attrs.field(factory=dict, init=False)

    def _part(self, number: int) -> Any:
        return self.store.parts[number]

    def add_node(self, node: Node) -> int:
        """The number of a node, without what it will not look at again."""
        return self.store.add(plain_node(node) if self.forgets else node)

    def _step(self, what: object, taken: Taken, spends: str = "") -> Step:
        outputs = self._numbers.setdefault(taken.outputs, len(self._outputs))
        if outputs == len(self._outputs):
            self._outputs.append(taken.outputs)
        return Step(what, self.add_node(taken.node), outputs, taken.problem, spends)

    @remembered
    def of(self, here: int, inbox: int, arbiter: int) -> list[Step]:
        """All of these three."""
        return [*self.local(here), *self.heard(here, inbox), *self.calls(here, arbiter)]

    @remembered
    def local(self, here: int) -> list[Step]:
        """What its disk and its timers may do, and its operator."""
        node: Node = self._part(here)
        if node.core is None:
            return []
        steps = []
        if node.ordered:
            steps.append(self._step(node.ordered[0], nodes.end_ordered(node)))
        ending = sorted((call for call in node.disk if nodes.may_end(node, call)), key=repr)
        steps += [self._step(call.call, nodes.end_disk_call(node, call)) for call in ending]
        timers = sorted(node.timers - {_POLL, ev.Timer.PERMIT_OUT}, key=str)
        steps += [self._step(timer, nodes.fire(node, timer)) for timer in timers]
        if node.core.phase is Phase.MIRRORING:
            steps.append(self._step(ev.HandoverAsked(), nodes.feed(node, ev.HandoverAsked()), "handovers"))
        return steps

    @remembered
    def force(self, here: int, forces_left: int) -> Step | None:
        """An operator who has seen the record that it knows has it forced; None if it refuses."""
        node: Node = self._part(here)
        if node.core is None:
            return None
        # Each line has another name, and which it has makes no difference.
        event = ev.ForceAsked(node.core.peer, f"line {forces_left}", node.core.revision)
        taken = nodes.feed(node, event)
        return None if taken.node == node and not taken.problem else self._step(event, taken, "forces")

    @remembered
    def heard(self, here: int, inbox: int) -> list[Step]:
        """What comes over the link."""
        steps = []
        for number, left in self._heard_next(inbox):
            step = self._taken(here, number)
            steps.append(Step(step.what, step.node, step.outputs, step.problem, inbox=left))
        return steps

    @remembered
    def _heard_next(self, inbox: int) -> list[tuple[int, int]]:
        """Numbers of what may be heard next, each with what is left."""
        found = []
        for event, data, left in links.heard_next(self._part(inbox)):
            number = self._hearing_numbers.setdefault((event, data), len(self._hearings))
            if number == len(self._hearings):
                self._hearings.append((event, data))
            found.append((number, self.store.add(left)))
        return found

    @remembered
    def _taken(self, here: int, hearing: int) -> Step:
        event, data = self._hearings[hearing]
        if event is None:
            return Step("never hears of a session", here)
        return self._step(event, nodes.feed(self._part(here), event, data))

    @remembered
    def calls(self, here: int, number: int) -> list[Step]:
        """What comes of its oldest call at the arbiter, and its timer to read the record."""
        node: Node = self._part(here)
        arbiter: Arbiter = self._part(number)
        if node.core is None:
            return []
        steps = []
        if _POLL in node.timers:
            steps += self._polls(node, arbiter)
        for each in arbiters.advance_call(arbiter, node.calls[0]) if node.calls else ():
            if each.answer is None:
                won = arbiters.won(node.calls[0], each.arbiter)
                taken = Taken(attrs.evolve(node, calls=(won, *node.calls[1:])))
                what: object = f"the arbiter records {shown(each.arbiter.record)}"
            else:
                taken, what = nodes.hear_answer(node, each.answer), each.answer
            step = self._step(what, taken, each.spends)
            steps.append(step._replace(arbiter=self.store.add(each.arbiter), records=each.records))
        return steps

    def _polls(self, node: Node, arbiter: Arbiter) -> list[Step]:
        """It reads the record because it has not for some time.

        A read that is not executed yet is forgotten, for such a one can take its place: so it is asked, executed and
        answered at one moment, or what it found is still on its way when the record has changed.
        """
        if not arbiters.has_news(node, arbiter):
            return []
        asking = nodes.fire(node, _POLL)
        if not self.forgets:
            return [self._step(_POLL, asking)]
        if node.calls:
            return []
        return [
            self._step(each.answer, nodes.hear_answer(asking.node, each.answer), each.spends)
            for each in arbiters.advance_call(arbiter, asking.node.calls[0])
            if each.answer is not None
        ]

    @remembered
    def permit(self, holder: int, granter: int) -> tuple[int, Step] | None:
        """What becomes of a node that asks for a permit, and of the one that grants it."""
        granted = nodes.grant(self._part(holder), self._part(granter))
        return None if granted is None else (self.add_node(granted[0]), self._step("grants a permit", granted[1]))

    @remembered
    def permits_out(self, here: int) -> Step | None:
        """Every permit that it has granted is over, once it waits for that and for nothing else."""
        node: Node = self._part(here)
        if ev.Timer.PERMIT_OUT not in node.timers or not nodes.waits_for_permits(node):
            return None
        return self._step(ev.Timer.PERMIT_OUT, nodes.fire(node, ev.Timer.PERMIT_OUT))

    @remembered
    def without_permit(self, here: int) -> int:
        """The node once its permit is over."""
        return self.store.add(attrs.evolve(self._part(here), permit=0))

    @remembered
    def reads(self, here: int) -> bool:
        """Whether a client waits for a read."""
        return nodes.reads(self._part(here))

    @remembered
    def start(self, here: int, incarnation: int) -> Step:
        """A process starts."""
        return Step("starts", self.add_node(nodes.start(self._part(here), incarnation)))

    @remembered
    def submit(self, here: int, kind: OperationKind, ticket: int) -> Step:
        """A client asks it."""
        event = ev.Submitted(ticket, Operation(kind, ticket, 1, 0, BLOCK_BYTES))
        return self._step(event, nodes.feed(self._part(here), event))

    @remembered
    def crashes(self, here: int, arbiter: int, block: int, leads: bool) -> list[tuple[int, int, int, str]]:
        """What may be left: the node, the arbiter with what is on its way, and what clients know; and words for it."""
        node: Node = self._part(here)
        assert node.core is not None
        clients: Clients = self._part(block)
        known = clients.of(primary=leads)
        for flight in node.core.flights:
            if flight.ticket and not flight.answered:
                known = known.lost(flight.ticket)
        told = self.store.add(clients.learning(known, primary=leads))
        return [
            (
                self.store.add(left),
                self.store.add(arbiters.leave_behind(self._part(arbiter), swaps)),
                told,
                f"crashes; its disk holds {left.block}{' marked' * left.marks.dirty}, "
                f"{left.metadata.copy.name} of epoch {left.metadata.epoch}",
            )
            for left, swaps in nodes.ends_of_crash(node)
        ]

    @remembered
    def cut(self, inbox: int) -> int:
        """The inbox once the live session is over."""
        return self.store.add(links.cut(self._part(inbox)))

    @remembered
    def connected(self, inbox: int, peer: int) -> int:
        """The inbox once a session with that incarnation of the peer begins."""
        return self.store.add(links.connected(self._part(inbox), peer))

    @remembered
    def is_live(self, inbox: int) -> bool:
        """Whether there is a session that carries messages."""
        return links.is_live(self._part(inbox))

    @remembered
    def applied_late(self, number: int, forced: str) -> list[tuple[int, str]]:
        """The arbiter after one of the swaps that nobody waits for, and words for it.

        Those of a person who had node ``forced`` forced, or, if that is empty, all others.
        """
        arbiter: Arbiter = self._part(number)
        line = arbiter.record.lineage
        return [
            (self.store.add(arbiters.apply(arbiter, swap)), f"the arbiter at last records {shown(swap.record)}")
            for swap in sorted(arbiter.late, key=repr)
            if forced == ("" if swap.record.lineage == line else swap.record.primary)
        ]

    @remembered
    def recorded(self, known: int, here: int, before: int, after: int, may_be_forced: bool) -> tuple[int, str]:
        """What clients know once a swap of the node has changed the record, and what that breaks."""
        old, new, clients = self._part(before), self._part(after), self._part(known)
        broken = check_change(old.record, new.record)
        if new.record.lineage != old.record.lineage:
            try:
                clients = clients_of.forced(clients, old, self._part(here))
            except AssertionError as error:
                broken = broken or f"I2: {error}"
        elif may_be_forced:
            clients = clients_of.recorded(clients, old, new)
        return self.store.add(clients), broken

    @remembered
    def executed_before(self, here: int, arbiter: int) -> tuple[int, ...]:
        """The node if its read is executed just before the record changes, or not."""
        node: Node = self._part(here)
        before: Arbiter = self._part(arbiter)
        if not self.forgets:
            return tuple(map(self.store.add, arbiters.executed_before(node, before)))
        if node.core is None or node.calls or _POLL not in node.timers or not arbiters.has_news(node, before):
            return (here,)
        return here, self.add_node(arbiters.executed(nodes.fire(node, _POLL).node, before))

    @remembered
    def carry(self, inbox: int, outputs: int) -> int:
        """The peer's inbox after what was said."""
        after = self._part(inbox)
        for output in self._outputs[outputs]:
            if isinstance(output, Said):
                after = links.carry(after, self._plain(output))
        return self.store.add(after)

    def _plain(self, said: Said) -> Said:
        return said if isinstance(said.what, Push) or not self.forgets else Said(plain_message(said.what))

    @remembered
    def knows_live(self, inbox: int) -> bool:
        """Whether what its node says is carried."""
        return links.knows_live(self._part(inbox))

    @remembered
    def tell(self, known: int, outputs: int, leads: bool) -> tuple[int, str]:
        """What clients know after the answers among these, and what they cannot believe."""
        clients: Clients = self._part(known)
        after = clients.of(primary=leads)
        try:
            for output in self._outputs[outputs]:
                if isinstance(output, Said):
                    continue
                if output.outcome is Outcome.DONE:
                    after = after.done(output.ticket, output.value)
                elif output.outcome is Outcome.NOT_PRIMARY:
                    after = after.not_executed(output.ticket)
                else:
                    after = after.lost(output.ticket)
        except AssertionError as error:
            return known, f"I2, I3: {error}"
        return self.store.add(clients.learning(after, primary=leads)), ""

    @remembered
    def call(self, known: int, kind: OperationKind, ticket: int, leads: bool) -> int:
        """What clients know after one has asked."""
        clients: Clients = self._part(known)
        return self.store.add(clients.called(ticket, write=kind is OperationKind.WRITE, primary=leads))

    @remembered
    def spend(self, bound: int, what: str) -> int:
        """What is left of the bound after one such thing, or a negative number."""
        left = self._part(bound).spend(what)
        return UNCHANGED if left is None else self.store.add(left)


def shown(record: Record) -> str:
    """The record for people."""
    return f"epoch {record.epoch}: primary {record.primary} of {'+'.join(record.members)}"
