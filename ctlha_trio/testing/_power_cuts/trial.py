"""One run of a pair with clients in which the power fails at one moment, and all that must be true afterwards."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError, FailedError
from ctlha_trio.ha import Node
from ctlha_trio.pair import WRITING, Copy, Operation, OperationKind, Outcome, PairState, actions, decode_records
from ctlha_trio.seams import TrioClock
from ctlha_trio.testing._history.block_content import BLOCK_BYTES, fill, read_numbers, sectors_of
from ctlha_trio.testing._history.block_history import BlockHistory
from ctlha_trio.testing._pairs.action_watch import Ordered, watch_actions
from ctlha_trio.testing._pairs.memory_pair import VOLUME, MemoryPair
from ctlha_trio.testing._pairs.open_pair import open_pair
from ctlha_trio.testing._pairs.pair_faults import NAMES
from ctlha_trio.testing._power.disk import Moment, PowerDisk
from ctlha_trio.testing._power.medium import Loss

SIZE_BYTES: Final = 64 * 1024
DISK_CALL_S: Final = {"a": 0.001, "b": 0.0015}
"""Different, so that now one node is durable first and now the other."""
LOOK_S: Final = 0.05
"""Rare looks make a run cheap; nothing in it depends on when it is looked at."""
CALM_S: Final = 60.0
"""Virtual time for a pair to come together again: twenty times what its longest wait takes."""
FIRST_SERVES_S: Final = 3.5
"""For the node that is started first: longer than it waits for its peer."""
RETRY_S: Final = 0.02
"""A client's pause before it turns to the other node."""
CLIENT: Final = 1
RECORD: Final = -1
"""In place of a block: the one record that clients put."""
KEY: Final = "key"


@attrs.frozen
class PowerCutAt:
    """Where the power fails, and what follows."""

    call: int
    """Of the victim's disk, counted from the first one of the part under test, from 0."""
    moment: Moment
    loss: int = 0
    """Which of the distinct things that may have become of unflushed writes."""
    order: int = 0
    """In which order, and with which pause, the nodes that are down are started; any number."""


@attrs.frozen(kw_only=True)
class Findings:
    """What a run has shown."""

    calls: int
    """Of the victim's disk in the part under test."""
    was_cut: bool
    losses: int
    """Distinct contents that the victim's disk may have had after the cut."""
    problems: tuple[str, ...]
    """Empty unless something is wrong."""


@attrs.define(eq=False)
class PowerTrial:
    """The pair under test, its clients and what they know. For scenarios; made by ``run_trial``."""

    pair: MemoryPair
    _nursery: trio.Nursery
    _victim: str
    _both: bool
    _cut: PowerCutAt | None
    history: BlockHistory = attrs.field(factory=BlockHistory, init=False)
    """Of sectors."""
    problems: list[str] = attrs.field(factory=list, init=False)
    was_cut: bool = attrs.field(default=False, init=False)
    losses: int = attrs.field(default=0, init=False)
    _busy: int = attrs.field(default=0, init=False)
    _tickets: int = attrs.field(default=0, init=False)
    _written: set[int] = attrs.field(factory=set, init=False)
    """Blocks that clients asked to write."""
    _calls_before: int | None = attrs.field(default=None, init=False)
    _act: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _acknowledged_by: dict[int, str] = attrs.field(factory=dict, init=False)

    # For scenarios.

    def arm(self) -> None:
        """Begin the part under test, in which the power of the victim fails; with ``power_on``, at its next start."""
        disk = self.pair.disks[self._victim]
        if not disk.is_cut:
            self._arm(disk)

    def write(self, block: int, times: int = 1, *, after_s: float = 0.0) -> None:
        """Let a client write a block so many times, each as soon as the one before is acknowledged."""
        self._busy += 1
        self._nursery.start_soon(self._client, block, times, after_s)

    def put(self, times: int = 1) -> None:
        """Let a client put the record so many times, likewise."""
        self.write(RECORD, times)

    async def clients_done(self) -> None:
        """Return once every client has done what it was to do. A checkpoint."""
        await self.pair.wait_until(lambda: not self._busy)

    async def pause(self, seconds: float) -> None:
        """Let virtual time pass. A checkpoint."""
        clock = TrioClock()
        await clock.sleep_until(clock.now() + seconds)

    async def power_on(self, name: str, loss: Loss | None = None) -> None:
        """Give a node that is down its power back and start it; its power may fail again before it takes part."""
        disk = self.pair.disks[name]
        if disk.is_cut:
            disk = await self.pair.restore_power(name, loss)
        if name == self._victim and self._calls_before is None:
            self._arm(disk)
        try:
            await self.pair.start(name)
        except FailedError:
            if not disk.is_cut:
                raise

    def _arm(self, disk: PowerDisk) -> None:
        self._calls_before = len(disk.calls)
        if self._cut is not None:
            disk.cut_at(self._calls_before + self._cut.call + 1, self._cut.moment)

    # The course of a run.

    @property
    def calls(self) -> int:
        """Made by the victim's disk in the part under test so far."""
        assert self._calls_before is not None, "the scenario arms the trial"
        return len(self.pair.disks[self._victim].calls) - self._calls_before

    async def act(self, act: "Act") -> None:
        """Run the part under test, up to the cut. A checkpoint."""
        self.pair.on_power_cut = self._power_failed
        with self._act:
            await act(self)
        self.pair.on_power_cut = None

    def _power_failed(self, name: str) -> None:
        if name != self._victim or self._calls_before is None or self.was_cut:
            return
        self.was_cut = True
        if self._both:
            self.pair.crash(_other(name))
        self._act.cancel(reason="the power failed")

    async def recover(self) -> None:
        """Start what is down, in the order that the cut names, and look at the data in between. A checkpoint."""
        loss, order = (self._cut.loss, self._cut.order) if self._cut else (0, 0)
        down = [name for name in NAMES if self.pair.disks[name].is_cut or not self.pair.is_up(name)]
        kept = {name: self._choose(name, loss) for name in down}
        if len(down) > 1:
            down = down[:: -1 if order % 2 else 1]
            order //= 2
            first = down.pop(0)
            await self.power_on(first, kept[first])
        for name in down:
            if order % 2:
                with trio.move_on_after(FIRST_SERVES_S):
                    await self.pair.wait_serving(_other(name))
                await self.read_back()
            await self.power_on(name, kept[name])

    def _choose(self, name: str, number: int) -> Loss | None:
        disk = self.pair.disks[name]
        if not disk.is_cut:
            return None
        distinct: dict[bytes, Loss] = {}
        for loss in disk.outcomes():
            distinct.setdefault(disk.after_cut(loss).content(VOLUME), loss)
        if name == self._victim:
            self.losses = len(distinct)
        return list(distinct.values())[number % len(distinct)]

    async def end(self) -> None:
        """Wait until both nodes are protected and the clients done; look at everything once more. A checkpoint."""
        await self.pair.wait_protected()
        await self.clients_done()
        await self.pair.wait_protected()
        if not await self.read_back():
            self.problems.append("nobody serves at the end")
        if self.pair.durable_copy("a") != self.pair.durable_copy("b"):
            self.problems.append("the copies differ at the end")
        if self.pair.durable_records("a") != self.pair.durable_records("b"):
            self.problems.append("the records differ at the end")
        for name in NAMES:
            self._check_copy(name)
        self.problems.extend(map(str, self.history.verdict().violations))

    # The clients.

    async def _client(self, block: int, times: int, after_s: float) -> None:
        await self.pause(after_s)
        name = NAMES[0]
        done = 0
        while done < times:
            if await self._write_once(name, block):
                done += 1
            else:
                await self.pause(RETRY_S)
                name = _other(name)
        self._busy -= 1

    async def _write_once(self, name: str, block: int) -> bool:
        kind = OperationKind.PUT_RECORD if block == RECORD else OperationKind.WRITE
        ticket = self._call(kind, block, name)
        data = fill(ticket)
        self._written.add(block)

        async def ask(node: Node) -> Outcome:
            if block == RECORD:
                answer = await node.submit(kind, client=CLIENT, number=ticket, data=data, key=KEY)
            else:
                place = block * BLOCK_BYTES
                answer = await node.submit(
                    kind, client=CLIENT, number=ticket, offset=place, size=BLOCK_BYTES, data=data
                )
            return answer.outcome

        try:
            outcome = await self.pair.ask(name, ask)
        except DisconnectError:
            outcome = Outcome.UNKNOWN
        end = self.history.not_executed if outcome is Outcome.NOT_PRIMARY else self.history.ended
        with self._noting(f"write at {name}"):
            for sector in sectors_of(block):
                end(ticket, kind, sector)
        return outcome is Outcome.DONE

    async def read_back(self) -> bool:
        """Read every block that was written from whoever serves; whether somebody does. A checkpoint."""
        served = False
        for name in NAMES:
            for block in tuple(self._written):
                served |= await self._read(name, block)
        return served

    async def _read(self, name: str, block: int) -> bool:
        kind = OperationKind.READ_RECORDS if block == RECORD else OperationKind.READ
        ticket = self._call(kind, block, name)

        async def ask(node: Node) -> bytes:
            if block == RECORD:
                answer = await node.submit(kind, client=CLIENT, number=0)
                return _content(answer.data) if answer.outcome is Outcome.DONE else b""
            answer = await node.submit(
                OperationKind.READ, client=CLIENT, number=0, offset=block * BLOCK_BYTES, size=BLOCK_BYTES
            )
            return answer.data if answer.outcome is Outcome.DONE else b""

        try:
            data = await self.pair.ask(name, ask)
        except DisconnectError:
            data = b""
        if not data:
            self.history.lost(ticket)
            return False
        with self._noting(f"read at {name}"):
            for sector, number in read_numbers(block, data):
                self.history.done(ticket, kind, sector, number)
        return True

    def _check_copy(self, name: str) -> None:
        copy = self.pair.durable_copy(name)
        for block in self._written:
            content = copy[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
            if block == RECORD:
                content = self.pair.durable_records(name).get(KEY, bytes(BLOCK_BYTES))
            with self._noting(f"copy of {name}"):
                for sector, number in read_numbers(block, content):
                    self.history.check(sector, number)

    def _call(self, kind: OperationKind, block: int, name: str) -> int:
        self._tickets += 1
        for sector in sectors_of(block):
            self.history.called(self._tickets, kind, sector, f"a client at {name}")
        return self._tickets

    @contextmanager
    def _noting(self, where: str) -> Iterator[None]:
        try:
            yield
        except AssertionError as error:
            self.problems.append(f"{where}: {error}")

    # The moment of each acknowledgement.

    def ordered(self, ordered: Ordered) -> None:
        """A node is about to answer: a write that it calls done must be durable wherever the arbiter says."""
        if isinstance(ordered.action, actions.Answer) and ordered.operation is not None:
            self._answered(ordered.state, ordered.operation, ordered.data, ordered.action.outcome)

    def _answered(self, state: PairState, operation: Operation, data: bytes, outcome: Outcome) -> None:
        name = state.me
        if self.pair.disks[name].is_cut or outcome is not Outcome.DONE or operation.kind not in WRITING:
            return
        is_record = operation.kind is OperationKind.PUT_RECORD
        with self._noting(f"answer of {name}"):
            for sector in sectors_of(RECORD if is_record else operation.offset // BLOCK_BYTES):
                self.history.done(operation.number, operation.kind, sector, operation.number)
        write = f"{name} acknowledged write {operation.number} in epoch {state.epoch}"
        for member in self.pair.record.members:
            found = self.pair.durable_copy(member)[operation.offset : operation.offset + operation.size]
            if is_record:
                found = self.pair.durable_records(member).get(KEY, b"")
            if found != data:
                self.problems.append(f"{write}: it is not durable on {member}")
        record = state.record
        assert record is not None, "a node that serves knows its record"
        for member in record.members:
            metadata = self.pair.durable_metadata(member)
            durable = metadata.epoch, metadata.primary, metadata.members, metadata.copy
            # A peer may have gone on meanwhile; then the arbiter's record has told above what counts.
            if durable != (record.epoch, name, record.members, Copy.MEMBER) and metadata.epoch <= record.epoch:
                self.problems.append(f"{write}: the disk of {member} is still in {durable}")
        if self._acknowledged_by.setdefault(state.epoch, name) != name:
            self.problems.append(f"{write}: so did the other node")


Act = Callable[[PowerTrial], Awaitable[None]]


async def run_trial(
    prepare: Act, act: Act, *, victim: str, both: bool = False, cut: PowerCutAt | None = None, seed: int = 0
) -> Findings:
    """Prepare a pair, run the part under test, fail the power in it, bring the pair together again. A checkpoint.

    ``victim`` is the node whose disk calls are counted and whose power fails; with ``both``, that of its peer fails at
    the same moment. Without ``cut`` nothing fails, which tells how many calls there are. Run it under a mock clock.
    """
    async with open_pair(size_bytes=SIZE_BYTES, seed=seed, disk_call_s=DISK_CALL_S) as pair:
        pair.look_s = LOOK_S
        calls = 0
        async with trio.open_nursery() as nursery:
            trial = PowerTrial(pair, nursery, victim, both, cut)
            with watch_actions(trial.ordered), trio.move_on_after(CALM_S) as limit:
                try:
                    await prepare(trial)
                    await trial.act(act)
                    calls = trial.calls
                    await trial.recover()
                    await trial.end()
                except FailedError as error:
                    trial.problems.append(str(error))
            nursery.cancel_scope.cancel(reason="the trial is over")
        if limit.cancelled_caught:
            trial.problems.append(f"not together after {CALM_S:g} s: {_stand(pair)}")
        trial.problems.extend(f"node {name} failed: {failure!r}" for name, failure in pair.failures.items())
        return Findings(
            calls=calls, was_cut=trial.was_cut, losses=trial.losses, problems=tuple(dict.fromkeys(trial.problems))
        )


def _stand(pair: MemoryPair) -> Sequence[str]:
    return [f"{name} {node.pair.phase.name} ({node.pair.why})" for name, node in pair.nodes.items()]


def _content(records: bytes) -> bytes:
    """Of the record, as a client has read all of them."""
    found = decode_records(records).get(KEY)
    return found.value if found else bytes(BLOCK_BYTES)


def _other(name: str) -> str:
    return NAMES[1] if name == NAMES[0] else NAMES[0]
