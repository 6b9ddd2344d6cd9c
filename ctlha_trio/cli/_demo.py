"""``ctlha demo``: one of two nodes on this machine is killed while a writer writes, and nothing is lost."""

import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVarTuple

import attrs
import trio

from ctlha_trio._errors import ConfigError, CtlHaError
from ctlha_trio.cli._demo_compare import compare_copy
from ctlha_trio.cli._demo_content import Content, random_content, read_content
from ctlha_trio.cli._demo_pair import POLL_S, DemoNode, demo_nodes, free_addresses
from ctlha_trio.cli._demo_reader import ReadBack, is_alone, watch_for_early_service
from ctlha_trio.cli._demo_report import DemoReport, DemoViolation, Moment
from ctlha_trio.cli._demo_writer import IN_FLIGHT, DemoWriter
from ctlha_trio.cli._init import NODES, NewPair, create_pair
from ctlha_trio.cli._node_folder import path_excess
from ctlha_trio.cli._run import ending_signals, leaves_of
from ctlha_trio.seams import TrioClock, run_in_thread

NODE_COMMAND: Final = (sys.executable, "-m", "ctlha_trio.cli._demo_node")
"""A node that ends when its standard input does, as when the demo is killed."""
STEP_S: Final = 30.0
"""For each step, all of which take less than a few seconds; while the file is written, without one more acknowledged
write: how long that takes is the disk's affair."""
DEMO_S: Final = 900.0
"""For everything, so that it ends even where each step is slow."""
PROGRESS_S: Final = 0.1
"""Between two looks of who watches."""

Arguments = TypeVarTuple("Arguments")
Victim = Literal["primary", "secondary"]
BeforeCompare = Callable[[Sequence[Path]], None]
"""Gets the backing files after both nodes have ended and before their copies are compared."""
Progress = Callable[[int, int, str], None]
"""Gets acknowledged writes, writes in all, and the step that is going on."""

_CLOCK: Final = TrioClock()
_PHASES: Final = {Moment.LOST: {"suspended", "claiming"}, Moment.SWAPPED: {"securing", "alone"}}
"""The survivor's phases by which it is known that it came so far."""
_WRITING: Final = "writing"
_WRITING_THE_FILE: Final = "writing the file"
_AT_THE_DISKS_PACE: Final = frozenset({_WRITING, _WRITING_THE_FILE})
_BURST: Final = 4
"""A quarter of the writes between the kill and the last ones comes at once, to show when the survivor serves."""
_TRICKLE: Final = 100
"""Of the rest a hundredth of what is left at each look, so that writing goes on until the killed node is back."""


@attrs.frozen(kw_only=True)
class DemoPlan:
    """What is done to the pair."""

    kill_at: float = 0.5
    """Fraction of all writes that are acknowledged at the kill."""
    victim: Victim = "primary"
    node_command: Sequence[str] = NODE_COMMAND
    """Runs a node; its configuration is added."""
    before_compare: BeforeCompare | None = None


async def run_demo(file: Path, plan: DemoPlan | None = None, *, progress: Progress | None = None) -> DemoReport:
    """Run the whole demo on a pair of its own, which is gone at the end. ``ConfigError`` for a file it cannot use.

    Whatever does not hold ends it and is the report's verdict. Cancelled, it ends its processes and removes its folder.
    """
    content = read_content(file)
    plan = plan or DemoPlan()
    report = DemoReport()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ctlha-demo-") as folder:
        try:
            with trio.fail_after(DEMO_S):
                await _run_in(Path(folder) / "pair", content, plan, report, progress)
        except ConfigError:
            raise
        except (Exception, BaseExceptionGroup) as error:
            report.verdict = _verdict_of(error)
    report.total_s = time.monotonic() - began_s
    return report


def _verdict_of(error: BaseException) -> str:
    """What did not hold. Raises the error again if it is none that a demo can explain."""
    leaves = leaves_of(error)
    if not all(isinstance(leaf, CtlHaError | trio.TooSlowError) for leaf in leaves):
        raise error
    violations = [leaf for leaf in leaves if isinstance(leaf, DemoViolation)]
    first = (violations or leaves)[0]
    return f"not finished within {DEMO_S:g} s" if isinstance(first, trio.TooSlowError) else str(first)


async def _run_in(
    folder: Path, content: Content, plan: DemoPlan, report: DemoReport, progress: Progress | None
) -> None:
    new = NewPair(size_bytes=len(content.volume), link_addresses=await free_addresses())
    _make_room(folder, new, content)
    async with demo_nodes(folder, plan.node_command) as nodes:
        demo = _Demo(content, plan, nodes, report, progress)
        # Around the nursery: a task that asks for signals once nobody receives them any more has an error for it.
        with trio.open_signal_receiver(*ending_signals(signal.SIGINT, signal.SIGHUP)) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_on_signal, signals)
                nursery.start_soon(demo.show_progress)
                await demo.run(nursery)
                nursery.cancel_scope.cancel()


def _make_room(folder: Path, new: NewPair, content: Content) -> None:
    """The pair's folder. ``ConfigError`` where this machine, and no node, is the reason that there can be none."""
    if excess := path_excess(folder / NODES[0]):
        raise ConfigError(folder, "TMPDIR", excess)
    try:
        create_pair(folder, new, fill=lambda _: random_content(len(content.volume)))
    except (CtlHaError, OSError) as error:
        raise ConfigError(folder, "TMPDIR", f"cannot hold the pair: {error}") from error


async def _end_on_signal(signals: AsyncIterable[int]) -> None:
    async for number in signals:
        if number == signal.SIGINT:
            # As a task's own error: raised wherever the program is, it could leave something half made.
            raise KeyboardInterrupt
        raise DemoViolation(f"ended by {signal.Signals(number).name}")


@attrs.define(eq=False)
class _Demo:
    content: Content
    plan: DemoPlan
    nodes: Sequence[DemoNode]
    report: DemoReport
    progress: Progress | None = None
    writer: DemoWriter = attrs.field(init=False)
    step: str = attrs.field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self.writer = DemoWriter(self.content, [node.data_socket for node in self.nodes], self.report)

    @property
    def killed_after(self) -> int:
        """Acknowledged writes at the kill."""
        return min(max(1, round(self.plan.kill_at * self.content.writes)), self.content.writes - 1)

    @property
    def kept_until(self) -> int:
        """Writes before those that are kept for the end, when both nodes are back in their places."""
        kept = min(self.content.blocks, (self.content.writes - self.killed_after) // 2)
        return self.content.writes - kept

    async def run(self, nursery: trio.Nursery) -> None:
        """The whole story. Raises as soon as anything does not hold."""
        for node in self.nodes:
            await node.start(nursery)
        await self._do("waiting for the pair", self._wait_protected)
        first = await self._primary()
        killed = first if self.plan.victim == "primary" else self._other(first)
        survivor = self._other(killed)
        nursery.start_soon(self.writer.run)
        await self._do(_WRITING, self._write_until_kill)
        killed_s = time.monotonic()
        await killed.kill()
        await self._do(f"node {killed.name} is killed", self._write_to_survivor, survivor, killed_s)
        await self._do(f"reading back from node {survivor.name}", self._read_back, survivor)
        nursery.start_soon(self._trickle)
        await self._return(killed, survivor, nursery)
        if killed is first:
            await self._do(f"node {first.name} takes its role back", self._hand_back, survivor, first)
        await self._do(_WRITING_THE_FILE, self._write_to_end)
        await self._do("stopping both nodes", self._stop)
        await self._compare()

    async def show_progress(self) -> None:
        """Tell until cancelled how far it is."""
        while True:
            self._tell()
            await _CLOCK.sleep_until(_CLOCK.now() + PROGRESS_S)

    def _begin(self, step: str) -> None:
        """Told at once: it may be over before anybody looks."""
        self.step = step
        self._tell()

    def _tell(self) -> None:
        if self.progress is not None and self.step:
            self.progress(self.report.acknowledged_writes, self.content.writes, self.step)

    async def _do(self, step: str, function: Callable[[*Arguments], Awaitable[None]], *arguments: *Arguments) -> None:
        """One step, with its deadline."""
        self._begin(step)
        with trio.move_on_after(STEP_S) as limit:
            async with trio.open_nursery() as nursery:
                if step in _AT_THE_DISKS_PACE:
                    nursery.start_soon(self._extend, limit)
                await function(*arguments)
                nursery.cancel_scope.cancel()
        if limit.cancelled_caught:
            states = [await node.describe() for node in self.nodes]
            raise DemoViolation(f"{step}: not done within {STEP_S:g} s; {'; '.join(states)}")

    async def _extend(self, limit: trio.CancelScope) -> None:
        """Let the step go on for as long as writes are acknowledged."""
        seen = self.report.acknowledged_writes
        while True:
            await _CLOCK.sleep_until(_CLOCK.now() + PROGRESS_S)
            if self.report.acknowledged_writes != seen:
                seen = self.report.acknowledged_writes
                limit.deadline = trio.current_time() + STEP_S

    async def _wait_protected(self) -> None:
        for node in self.nodes:
            await node.wait_status("verdict", "protected")

    async def _primary(self) -> DemoNode:
        for node in self.nodes:
            if (await node.status()).get("role") == "primary":
                return node
        raise DemoViolation("the pair is protected, but neither node says that it is primary")

    def _other(self, node: DemoNode) -> DemoNode:
        return self.nodes[1] if node is self.nodes[0] else self.nodes[0]

    async def _write_until_kill(self) -> None:
        self.writer.allow(self.killed_after + IN_FLIGHT)
        await self.writer.wait_acknowledged(self.killed_after)

    async def _write_to_survivor(self, survivor: DemoNode, killed_s: float) -> None:
        burst = (self.kept_until - self.killed_after) // _BURST
        self.writer.allow(self.killed_after + IN_FLIGHT + burst)
        serving_s = await self.writer.wait_acknowledged_since(killed_s)
        self.report.durations_s[Moment.SERVING] = serving_s - killed_s
        for moment, phases in _PHASES.items():
            at_s = await survivor.wait_phase(phases, killed_s)
            self.report.durations_s[moment] = at_s - killed_s

    async def _read_back(self, survivor: DemoNode) -> None:
        read_back = ReadBack(self.content, self.writer.written, survivor.data_socket)
        await read_back.run()
        if read_back.lost:
            self.report.lost_writes += len(read_back.lost)
            where = self.content.describe_block(read_back.lost[0])
            count = len(read_back.lost)
            raise DemoViolation(f"{count} acknowledged writes are lost: node {survivor.name} has not that of {where}")

    async def _trickle(self) -> None:
        """Go on writing, ever slower, up to what is kept for the end."""
        while (left := self.kept_until - self.writer.begun) > 0:
            self.writer.allow(self.writer.begun + max(1, left // _TRICKLE))
            await _CLOCK.sleep_until(_CLOCK.now() + POLL_S)

    async def _return(self, killed: DemoNode, survivor: DemoNode, nursery: trio.Nursery) -> None:
        """Start the killed node again, and watch that it serves nothing before its copy counts."""

        async def is_out_of_sync() -> bool:
            return is_alone(await survivor.status())

        started_s = time.monotonic()
        await killed.start(nursery)
        async with trio.open_nursery() as watching:
            watching.start_soon(watch_for_early_service, self.content, killed.name, killed.data_socket, is_out_of_sync)
            await self._do(f"node {killed.name} returns", killed.wait_answer)
            returned_s = time.monotonic()
            self.report.durations_s[Moment.RETURNED] = returned_s - started_s
            await self._do(f"node {killed.name} is brought in sync", self._wait_protected)
            self.report.durations_s[Moment.RESYNCED] = time.monotonic() - returned_s
            watching.cancel_scope.cancel()

    async def _hand_back(self, survivor: DemoNode, first: DemoNode) -> None:
        asked_s = time.monotonic()
        await survivor.hand_over()
        await first.wait_status("role", "primary")
        self.report.durations_s[Moment.HANDED_BACK] = time.monotonic() - asked_s

    async def _write_to_end(self) -> None:
        self.writer.allow(self.content.writes)
        await self.writer.wait_acknowledged(self.content.writes)
        await self._wait_protected()

    async def _stop(self) -> None:
        async with trio.open_nursery() as nursery:
            for node in self.nodes:
                nursery.start_soon(node.stop)

    async def _compare(self) -> None:
        self._begin("comparing both copies")
        began_s = time.monotonic()
        if self.plan.before_compare is not None:
            self.plan.before_compare([node.volume for node in self.nodes])
        for node in self.nodes:
            await run_in_thread(partial(compare_copy, self.content, node.name, node.volume))
        self.report.durations_s[Moment.VERIFIED] = time.monotonic() - began_s
        self.report.copies_equal = True
        self.report.passed = True
        self.report.verdict = (
            f"all {self.report.acknowledged_writes} acknowledged writes were there, both copies equal the file"
        )
