"""One run of a pair with clients in which the power fails at one moment, and all that must be true afterwards."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError, FailedError
from ctlha_trio.arbiter import MemoryArbiter
from ctlha_trio.ha import Node
from ctlha_trio.pair import Copy, OperationKind, Outcome, decode_records
from ctlha_trio.seams import TrioClock
from ctlha_trio.store import image
from ctlha_trio.testing._history.block_content import BLOCK_BYTES, fill, read_numbers, sectors_of
from ctlha_trio.testing._history.block_history import BlockHistory
from ctlha_trio.testing._pairs.action_watch import watch_actions
from ctlha_trio.testing._pairs.memory_pair import MemoryPair
from ctlha_trio.testing._pairs.open_pair import open_pair
from ctlha_trio.testing._pairs.pair_faults import NAMES
from ctlha_trio.testing._pairs.pair_view import VOLUME
from ctlha_trio.testing._power.disk import CallKind, DiskCall, Moment, PowerDisk
from ctlha_trio.testing._power.medium import Loss
from ctlha_trio.testing._power_cuts.acknowledgements import KEY, RECORD, Acknowledgements, noting
from ctlha_trio.testing._power_cuts.journal import Entry, Journal, keep_journal, watch_stores
from ctlha_trio.testing._power_cuts.store_states import DistinctLosses

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
ARBITER: Final = "0" * 800
"""So long that what is written of the metadata before it and behind it lies in different sectors."""
LOSS_STATES_MAX: Final = 1 << 6
"""States of which the distinct ones are found, for one cut: six sectors, all of them; beyond, the hardest."""


@attrs.frozen
class PowerCutAt:
    """Where the power fails, and what follows."""

    call: int
    """Of the victim's disk, counted from the first one of the part under test, from 0."""
    moment: Moment
    loss: int = 0
    """Which of the distinct things that may have become of unflushed writes, 0 for nothing kept; any number."""
    order: int = 0
    """In which order, and with which pause, the nodes that are down are started; any number."""


@attrs.frozen(kw_only=True)
class Findings:
    """What a run has shown."""

    calls: int
    """Of the victim's disk in the part under test."""
    changes: tuple[int, ...]
    """Which of them, from 0, are writes and flushes."""
    was_cut: bool
    losses: int
    """What may have become of the disks that were cut, each once that is the same to a node; of two, each pair."""
    journal: Journal
    """Of the victim."""
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
    _distinct: DistinctLosses
    history: BlockHistory = attrs.field(factory=BlockHistory, init=False)
    """Of sectors."""
    problems: list[str] = attrs.field(factory=list, init=False)
    was_cut: bool = attrs.field(default=False, init=False)
    losses: int = attrs.field(default=1, init=False)
    _busy: int = attrs.field(default=0, init=False)
    _tickets: int = attrs.field(default=0, init=False)
    _written: set[int] = attrs.field(factory=set, init=False)
    """Blocks that clients asked to write."""
    _calls_before: int | None = attrs.field(default=None, init=False)
    _act: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    journal: Journal = attrs.field(init=False)
    """Of the victim, from the start of its life in the part under test to the end of that part."""

    # For scenarios.

    def arm(self) -> None:
        """Begin the part under test, in which the power of the victim fails; with ``power_on``, at its next start."""
        disk = self.pair.disks[self._victim]
        if not disk.is_cut:
            self._arm(disk)

    def write(self, block: int, times: int = 1, *, after_s: float = 0.0, gives_up: bool = False) -> None:
        """Let a client write a block so many times, each as soon as the one before is acknowledged.

        A write that is not acknowledged is made again, unless the client gives up: then its data stays where it is.
        """
        self._busy += 1
        self._nursery.start_soon(self._client, block, times, after_s, gives_up)

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
        found = self.pair.durable_metadata(name).copy
        if name in self.pair.record.members and found in {Copy.RESYNCING, Copy.REWRITING}:
            self.problems.append(f"{name} is a member of the record, and its disk holds a copy that is {found.value}")
        if name == self._victim and self._calls_before is None:
            self.keep_journal()
            self._arm(disk)
        try:
            await self.pair.start(name)
        except FailedError:
            if not disk.is_cut:
                raise

    async def replace_disk(self, name: str, disk: PowerDisk) -> None:
        """Put another disk into a node that is down. A checkpoint."""
        await self.pair.restore_power(name)
        self.pair.disks[name] = disk
        self.pair.connect_powered()

    def keep_journal(self) -> None:
        """Begin the journal of the victim, which is down."""
        self.journal = keep_journal(self.pair.disks[self._victim], VOLUME)

    def note(self, name: str, entry: Entry) -> None:
        """Enter a call of a node's store."""
        if name == self._victim:
            self.journal.note(entry)

    def _arm(self, disk: PowerDisk) -> None:
        self._calls_before = len(disk.calls)
        self.journal.armed_at = len(self.journal.entries)
        if self._cut is not None:
            disk.cut_at(self._calls_before + self._cut.call + 1, self._cut.moment)

    # The course of a run.

    async def begin(self, prepare: "Act") -> None:
        """Start both nodes, then do what comes before the part under test. A checkpoint."""
        for name in NAMES:
            await self.pair.start(name)
        await self.pair.wait_protected()
        await prepare(self)

    @property
    def calls(self) -> Sequence[DiskCall]:
        """Made by the victim's disk in the part under test so far."""
        assert self._calls_before is not None, "the scenario arms the trial"
        return self.pair.disks[self._victim].calls[self._calls_before :]

    async def act(self, act: "Act") -> None:
        """Run the part under test, up to the cut. A checkpoint."""
        self.pair.on_power_cut = self._power_failed
        with self._act:
            await act(self)
        self.pair.on_power_cut = None
        self.journal.is_closed = True

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
        kept: dict[str, Loss] = {}
        for name in sorted(
            (name for name in down if self.pair.disks[name].is_cut), key=lambda name: name != self._victim
        ):
            distinct = await self._distinct.of(self.pair.disks[name])
            loss, number = divmod(loss, len(distinct))
            kept[name] = distinct[number]
            self.losses *= len(distinct)
        if len(down) > 1:
            down = down[:: -1 if order % 2 else 1]
            order //= 2
            first = down.pop(0)
            await self.power_on(first, kept.get(first))
        for name in down:
            if order % 2:
                with trio.move_on_after(FIRST_SERVES_S):
                    await self.pair.wait_serving(_other(name))
                await self.read_back()
            await self.power_on(name, kept.get(name))

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

    async def _client(self, block: int, times: int, after_s: float, gives_up: bool) -> None:
        await self.pause(after_s)
        name = NAMES[0]
        done = 0
        while done < times:
            if await self._write_once(name, block):
                done += 1
            elif gives_up:
                break
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
            (offset, size), key = _place(block), KEY if block == RECORD else ""
            answer = await node.submit(kind, client=CLIENT, number=ticket, offset=offset, size=size, data=data, key=key)
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
            offset, size = _place(block)
            answer = await node.submit(kind, client=CLIENT, number=0, offset=offset, size=size)
            found = _content(answer.data) if block == RECORD else answer.data
            return found if answer.outcome is Outcome.DONE else b""

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

    def _noting(self, where: str) -> AbstractContextManager[None]:
        return noting(self.problems, where)


Act = Callable[[PowerTrial], Awaitable[None]]


async def run_trial(
    prepare: Act,
    act: Act,
    *,
    victim: str,
    both: bool = False,
    cut: PowerCutAt | None = None,
    seed: int = 0,
    distinct: DistinctLosses | None = None,
) -> Findings:
    """Prepare a pair, run the part under test, fail the power in it, bring the pair together again. A checkpoint.

    ``victim`` is the node whose disk calls are counted and whose power fails; with ``both``, that of its peer fails at
    the same moment. Without ``cut`` nothing fails, which tells how many calls there are. ``distinct`` remembers from
    trial to trial. Run it under a mock clock.
    """
    distinct = distinct or DistinctLosses(SIZE_BYTES, LOSS_STATES_MAX)
    async with open_pair(size_bytes=SIZE_BYTES, seed=seed, disk_call_s=DISK_CALL_S, start=False) as pair:
        pair.look_s = LOOK_S
        _spread_slots(pair)
        calls: Sequence[DiskCall] = ()
        async with trio.open_nursery() as nursery:
            trial = PowerTrial(pair, nursery, victim, both, cut, distinct)
            trial.keep_journal()
            answers = Acknowledgements(pair, trial.history, trial.problems)
            with watch_actions(answers.ordered), watch_stores(trial.note), trio.move_on_after(CALM_S) as limit:
                try:
                    await trial.begin(prepare)
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
            calls=len(calls),
            changes=tuple(number for number, call in enumerate(calls) if call.kind is not CallKind.READ),
            was_cut=trial.was_cut,
            losses=trial.losses,
            journal=trial.journal,
            problems=tuple(dict.fromkeys(trial.problems)),
        )


def _spread_slots(pair: MemoryPair) -> None:
    """Let the nodes' metadata take several sectors, each of which changes with it: so that a slot can be torn."""
    pair.arbiter = MemoryArbiter(pair.record, identity=ARBITER)
    for name in NAMES:
        pair.arbiters[name] = pair.arbiter.client()
        metadata = attrs.evolve(pair.durable_metadata(name), arbiter=ARBITER)
        pair.disks[name] = PowerDisk({VOLUME: image(metadata, SIZE_BYTES)})


def _stand(pair: MemoryPair) -> Sequence[str]:
    return [f"{name} {node.pair.phase.name} ({node.pair.why})" for name, node in pair.nodes.items()]


def _place(block: int) -> tuple[int, int]:
    return (0, 0) if block == RECORD else (block * BLOCK_BYTES, BLOCK_BYTES)


def _content(records: bytes) -> bytes:
    """Of the record, as a client has read all of them."""
    found = decode_records(records).get(KEY)
    return found.value if found else bytes(BLOCK_BYTES)


def _other(name: str) -> str:
    return NAMES[1] if name == NAMES[0] else NAMES[0]
