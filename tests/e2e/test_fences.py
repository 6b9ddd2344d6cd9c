"""A node that lives and is fenced by a program: by order of a person, or because a component needs it."""

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import pytest
import trio

from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.seams import TrioClock
from ctlha_trio.testing._processes.hand_pair import OTHER, POLL_S, START_S, Finished, HandPair, run_ctlha

pytestmark = pytest.mark.slow

CLOCK = TrioClock()
PROGRAM = """\
#!{python} -S
import os, sys, time
folder = os.path.dirname(os.path.abspath(__file__))
with open(folder + "/calls", "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
for _ in range(600):
    if os.path.exists(folder + "/verdict"):
        break
    time.sleep(0.1)
else:
    sys.exit(2)
if open(folder + "/verdict").read() == "refuse":
    print("the outlet is locked")
    sys.exit(1)
pid = int(open(folder + "/pid").read())
try:
    os.kill(pid, 9)
except ProcessLookupError:
    pass
print(f"process {{pid}} was killed")
"""
"""Waits for what it is to say, and kills the node that it is to fence."""


@attrs.frozen
class Outlet:
    """The folder of that program."""

    folder: Path

    def install(self, pair: HandPair) -> None:
        """Have both nodes use it when they start again."""
        self.folder.mkdir()
        program = self.folder / "fence"
        program.write_text(PROGRAM.format(python=sys.executable))
        program.chmod(0o755)
        for node in OTHER:
            with pair.config(node).open("a") as file:
                file.write(f'\n[fence]\ncommand = ["{program}", "-x"]\ntimeout_s = 60\n')

    def say(self, verdict: str) -> None:
        """What it answers from now on."""
        fresh = self.folder / "fresh"
        fresh.write_text(verdict)
        fresh.replace(self.folder / "verdict")

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    async def wait_called(self) -> None:
        with trio.fail_after(START_S):
            while not self.calls:
                await CLOCK.sleep_until(CLOCK.now() + POLL_S)


async def cut_off(pair: HandPair, outlet: Outlet) -> tuple[str, str]:
    """A node that has missed a write of the other one, which lives and serves; neither hears the other."""
    outlet.install(pair)
    alive = await pair.primary()
    behind = OTHER[alive]
    pair.edit(behind, pair.address(alive), "127.0.0.1:1")
    pair.edit(alive, pair.address(behind), "127.0.0.1:1")
    await pair.kill(behind)
    await pair.wait_for(alive, verdict="degraded", role="primary")
    async with trio.open_nursery() as nursery:
        door = await pair.connect(alive, 1, nursery)
        reply = await door.execute(OperationKind.WRITE, number=1, offset=0, data=b"n" * 4096)
        assert reply.outcome is Outcome.DONE
        door.close()
    await pair.kill(alive)
    await pair.start(alive)
    await pair.wait_for(alive, verdict="degraded", role="primary")
    await pair.start(behind)
    await pair.wait_for(behind, verdict="at-risk", reasons=["outdated", "peer-lost"])
    (outlet.folder / "pid").write_text(str(pair.pid(alive)))
    return behind, alive


async def decided(pair: HandPair, node: str) -> list[dict[str, object]]:
    """By people, to the end of what was begun: the node may be primary a moment before its log says so."""

    def has_ended(lines: Sequence[Mapping[str, object]]) -> bool:
        return [line["outcome"] for line in lines if line["decision"] == "force-primary"][-1:] == ["done"]

    return [line for line in await pair.wait_decisions(node, has_ended) if line["decision"] == "force-primary"]


async def test_only_a_node_that_was_fenced_is_done_without(protected_pair: HandPair, tmp_path: Path) -> None:
    pair, outlet = protected_pair, Outlet(tmp_path / "outlet")
    behind, alive = await cut_off(pair, outlet)
    force = ("force-primary", pair.config(behind), "--abandon", alive, "--fence")
    shown = await run_ctlha(*force, "--dry-run")
    assert shown.code == 0, shown.err
    (epoch,) = [line.split()[-1] for line in shown.out.splitlines() if line.startswith("epoch") and " -> " in line]
    assert f"node {alive} is fenced: {outlet.folder / 'fence'} -x {alive} volume {epoch}" in shown.out
    assert outlet.calls == []
    outlet.say("refuse")
    refused = await run_ctlha(*force)
    assert refused.code == 1
    assert refused.err == f"the fence of node {alive}: refused: the outlet is locked\n"
    await pair.wait_for(alive, verdict="degraded", role="primary")
    await pair.wait_for(behind, verdict="at-risk", reasons=["outdated", "peer-lost"])
    outlet.say("confirm")
    forced = await run_ctlha(*force)
    assert forced.code == 0, forced.err
    await pair.wait_ended(alive)
    await pair.wait_for(behind, verdict="degraded", role="primary", epoch=int(epoch))
    assert outlet.calls == [f"-x {alive} volume {epoch}"] * 2
    lines = await decided(pair, behind)
    assert [line["outcome"] for line in lines][2:] == ["asked", "fenced", "done"]
    after = lines[-1]["after"]
    assert isinstance(after, dict)
    assert (after["fence"], str(after["evidence"]).startswith("process ")) == ("confirmed", True)


async def test_a_survivor_that_dies_while_it_fences_goes_on_when_it_starts(
    protected_pair: HandPair, tmp_path: Path
) -> None:
    pair, outlet = protected_pair, Outlet(tmp_path / "outlet")
    behind, alive = await cut_off(pair, outlet)
    ended: list[Finished] = []

    async def force() -> None:
        ended.append(await run_ctlha("force-primary", pair.config(behind), "--abandon", alive, "--fence"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(force)
        await outlet.wait_called()
        await pair.kill(behind)
    assert ended[0].code == 3
    assert ended[0].err.startswith(f"nobody knows whether node {behind} was made primary: ")
    outlet.say("confirm")
    await pair.start(behind)
    await pair.wait_for(behind, verdict="degraded", role="primary")
    await pair.wait_ended(alive)
    assert len(set(outlet.calls)) == 1
    assert [line["outcome"] for line in await decided(pair, behind)] == ["asked", "resumed", "asked", "fenced", "done"]


async def wait_outcomes(pair: HandPair, node: str, decision: str, outcomes: list[str]) -> None:
    """Return once its log says this of it, wherever in the log: lines of other decisions may come behind."""
    await pair.wait_decisions(
        node, lambda lines: [line["outcome"] for line in lines if line["decision"] == decision] == outcomes
    )


async def wait_taken(pool: Path, node: str) -> None:
    """Return once the node has the pool: that it may start the component is told before it has."""
    with trio.fail_after(START_S):
        while await trio.Path(pool).read_text() != node:
            await CLOCK.sleep_until(CLOCK.now() + POLL_S)


async def test_a_survivor_takes_a_shared_pool_only_once_the_stopped_node_is_fenced(
    hand_pair: HandPair, tmp_path: Path
) -> None:
    """The node that has it is stopped, and would write to it when it goes on."""
    pair, outlet = hand_pair, Outlet(tmp_path / "outlet")
    outlet.install(pair)
    await pair.start_protected((str(Path(__file__).with_name("pool_node.py")),))
    pool, holder = pair.folder / "pool", await pair.primary()
    assert pool.read_text() == holder
    switched = await run_ctlha("switchover", pair.config(holder))
    assert switched.code == 0, switched.err
    await pair.wait_protected()
    survivor, holder = holder, OTHER[holder]
    assert pool.read_text() == holder, "it was let go of, and no fence was needed"
    await wait_outcomes(pair, survivor, "release", ["done"])
    pair.send_signal(holder, signal.SIGSTOP)
    (outlet.folder / "pid").write_text(str(pair.pid(holder)))
    await outlet.wait_called()
    status = await pair.wait_for(survivor, role="primary", reasons=["peer-lost", "component-needs-fence"])
    why = f"{holder} has it; node {holder} is being fenced"
    waits = {"component": "pool", "reason": "component-needs-fence", "why": why, "left_s": None}
    assert status["component_waits"] == [waits]
    shown = await run_ctlha("status", pair.config(survivor))
    assert f"  component pool: {why}\n  peer-lost: " in shown.out
    assert pool.read_text() == holder
    outlet.say("confirm")
    await wait_taken(pool, survivor)
    await pair.wait_for(survivor, reasons=["peer-lost"], component_waits=[])
    assert outlet.calls == [f"-x {holder} volume {status['epoch']}"]
    await pair.wait_ended(holder)
    await wait_outcomes(pair, survivor, "fence", ["asked", "done"])
