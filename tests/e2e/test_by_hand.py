"""Two nodes as a new user runs them: by their commands, each a process of its own."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ctlha_trio._errors import UntrustedPeerError
from ctlha_trio.door import DATA_SOCKET, STATUS_SOCKET, failover_plan_of, force_plan_of, switchover_plan_of
from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.seams import Stream, ThreadDisk, TlsTransport, TrioClock, describe_key, load_key, parse_pin
from ctlha_trio.store import BlockStore, create_store_file
from ctlha_trio.testing._processes.etcd_server import EtcdMember, started_etcd
from ctlha_trio.testing._processes.hand_pair import OTHER, SIZE_BYTES, START_S, Finished, HandPair, made_pair, run_ctlha

pytestmark = pytest.mark.slow

HANGING_NODE = (str(Path(__file__).parent / "hanging_node.py"), "--at-once")


@pytest.mark.parametrize("victim_role", ["primary", "secondary"])
async def test_one_is_killed_and_comes_back(protected_pair: HandPair, victim_role: str) -> None:
    pair = protected_pair
    primary = await pair.primary()
    victim = primary if victim_role == "primary" else OTHER[primary]
    survivor = OTHER[victim]
    assert (await run_ctlha("status", pair.config(victim))).code == 0
    await pair.kill(victim)
    await pair.wait_for(survivor, verdict="degraded", role="primary", reasons=["peer-lost"], within_s=2.0)
    asked = await run_ctlha("status", pair.config(survivor))
    assert asked.code == 1
    assert asked.out.startswith("degraded: peer-lost\n")
    assert (await run_ctlha("status", pair.config(victim))).code == 2
    await pair.start(victim)
    await pair.wait_protected()
    assert await pair.primary() == survivor


@pytest.mark.parametrize("first", ["a", "b"])
async def test_both_are_killed_and_started_in_either_order(protected_pair: HandPair, first: str) -> None:
    pair = protected_pair
    data = {number: bytes([number]) * 4096 for number in range(1, 9)}
    async with trio.open_nursery() as nursery:
        door = await pair.connect(await pair.primary(), 1, nursery)
        for number, block in data.items():
            reply = await door.execute(OperationKind.WRITE, number=number, offset=number * 4096, data=block)
            assert reply.outcome is Outcome.DONE
        door.close()
    for node in ("a", "b"):
        await pair.kill(node)
    await pair.start(first)
    await pair.wait_for(first)
    await pair.start(OTHER[first])
    await pair.wait_protected()
    async with trio.open_nursery() as nursery:
        door = await pair.connect(await pair.primary(), 2, nursery)
        for number, block in data.items():
            reply = await door.execute(OperationKind.READ, number=number, offset=number * 4096, size=4096)
            assert (reply.outcome, bytes(reply.data)) == (Outcome.DONE, block)
        door.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_is_a_goodbye(protected_pair: HandPair, number: int) -> None:
    pair = protected_pair
    leaving = await pair.primary()
    began_s = time.monotonic()
    assert await pair.end(leaving, number) == 0
    await pair.wait_for(OTHER[leaving], verdict="degraded", role="primary", within_s=2.0)
    assert time.monotonic() - began_s < 5
    told = [line for line in pair.decisions(leaving) if line["decision"] == "stop"]
    assert [(line["outcome"], line["why"]) for line in told] == [
        ("asked", signal.Signals(number).name),
        ("done", signal.Signals(number).name),
    ]
    assert not [path for path in pair.fingerprint(leaving) if path.endswith(".sock")]
    await pair.start(leaving)
    await pair.wait_protected()


async def test_a_terminal_that_is_closed_ends_a_node_without_a_goodbye(protected_pair: HandPair) -> None:
    pair = protected_pair
    leaving = await pair.primary()
    assert await pair.end(leaving, signal.SIGHUP) == -signal.SIGHUP
    await pair.wait_for(OTHER[leaving], verdict="degraded", role="primary", within_s=2.0)
    assert not [line for line in pair.decisions(leaving) if line["decision"] == "stop"]
    await pair.start(leaving)
    await pair.wait_protected()


async def test_the_role_is_handed_over(protected_pair: HandPair) -> None:
    pair = protected_pair
    first = await pair.primary()
    refused = await run_ctlha("switchover", pair.config(OTHER[first]))
    assert (refused.code, refused.out) == (1, "")
    why, helps = refused.err.splitlines()
    assert why == "nothing was handed over: not-primary"
    assert helps == f"  not-primary: ask the primary: on node {first}, ctlha switchover <its node.toml>"
    epoch = await pair.epoch(first)
    line = await pair.decided(OTHER[first], "switchover")
    assert (line["outcome"], line["epoch"], line["why"]) == ("refused", epoch, why)
    assert [each["outcome"] for each in pair.decisions(OTHER[first])].count("refused") == 1
    foretold = await run_ctlha("switchover", pair.config(OTHER[first]), "--dry-run")
    assert (foretold.code, foretold.out.splitlines()[0]) == (1, "would be refused: not-primary")
    foretold = await run_ctlha("switchover", pair.config(first), "--dry-run")
    assert (foretold.code, foretold.out.splitlines()[0]) == (0, "would be accepted"), foretold.err
    await pair.wait_for(first, role="primary", verdict="protected")
    done = await run_ctlha("switchover", pair.config(first))
    assert done.code == 0, done.err
    await pair.wait_for(OTHER[first], role="primary", verdict="protected")
    await pair.wait_for(first, role="secondary", verdict="protected")


async def test_configurations_that_differ_are_told_by_both_nodes_until_they_do_not(hand_pair: HandPair) -> None:
    pair = hand_pair
    pair.edit("b", "[arbiter]", "[policy]\nhold_down_s = 30\n\n[arbiter]")
    await pair.start_protected()
    for node, here, peer in (("a", "60", "30"), ("b", "30", "60")):
        asked = await run_ctlha("status", pair.config(node))
        assert asked.code == 0, "it is no fault"
        assert f"  policy.hold_down_s differs: {here} here, {peer} at the peer\n" in asked.out
        assert "  note: settings-differ: make the settings that differ the same" in asked.out
        line = f"policy.hold_down_s is {here} here, and {peer} at node {OTHER[node]}"
        await pair.wait_logged(node, line)
        assert pair.log(node).count("the configurations differ") == pair.log(node).count(line) == 1
    pair.edit("b", "hold_down_s = 30", "hold_down_s = 60")
    assert await pair.end("b", signal.SIGTERM) == 0
    await pair.start("b")
    await pair.wait_protected()
    for node in OTHER:
        asked = await run_ctlha("status", pair.config(node))
        assert (asked.code, "differ" in asked.out) == (0, False)
        assert pair.log(node).count("the configurations differ") == 1


async def test_what_was_rehearsed_is_what_the_log_of_decisions_tells(protected_pair: HandPair) -> None:
    """Of a switchover, then of a failover: the record before and after, and its revision."""
    pair = protected_pair
    first = await pair.primary()
    second = OTHER[first]
    foretold = await switchover_plan_of(pair.folder / first / STATUS_SOCKET)
    assert (await run_ctlha("switchover", pair.config(first))).code == 0
    await pair.wait_protected()
    plan = foretold["plan"]
    assert isinstance(plan, dict)
    for node in OTHER:
        line = await pair.decided(node, "handover", having="after")
        expect_foretold(plan, line)
    shown = await run_ctlha("switchover", pair.config(first), "--dry-run", "--as-failover")
    assert (shown.code, shown.out.splitlines()[0]) == (0, f"without node {second} node {first} would serve")
    foretold = await failover_plan_of(pair.folder / first / STATUS_SOCKET)
    await pair.kill(second)
    await pair.wait_for(first, verdict="degraded", role="primary")
    expect_foretold(foretold, await pair.decided(first, "take-over"))
    shown = await run_ctlha("switchover", pair.config(first), "--dry-run", "--as-failover")
    assert shown.code == 0
    assert "it serves alone" in shown.out


def expect_foretold(plan: dict[str, Any], line: dict[str, Any]) -> None:
    """The change was that of the plan, but for the random ids that each plan makes anew."""
    told, found = {**plan["after"]}, {**line["after"]}
    for random_id in ("proposal", "lineage") if line["decision"] == "force" else ("proposal",):
        told.pop(random_id)
        found.pop(random_id)
    assert (line["before"], found) == (plan["before"], told)
    assert line["epoch"] == plan["after"]["epoch"]


async def test_status_as_json_has_the_fields_that_are_promised(protected_pair: HandPair) -> None:
    asked = await run_ctlha("status", protected_pair.config("a"), "--json")
    assert asked.code == 0
    status = json.loads(asked.out)
    promised = {"verdict", "reasons", "notes", "node", "role", "state", "epoch", "link", "arbiter", "resync_bytes_left"}
    promised |= {"resync_bytes_per_s", "resync_left_s"}
    assert promised <= status.keys()
    assert status["verdict"] == "protected"
    assert status["state"] == "CTL_HA_STATE_HA"
    # The loop of a node on a busy machine may have stalled.
    assert set(status["notes"]) - {"loop-stalled"} == {"shared-failure-domain"}
    assert status["link"] == "online"


async def test_status_is_watched_until_interrupted(protected_pair: HandPair) -> None:
    pair = protected_pair
    primary = await pair.primary()
    watched = OTHER[primary]
    command = [sys.executable, "-m", "ctlha_trio", "status", "--watch", str(pair.config(watched))]
    watch = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert watch.stdout is not None
    seen = ""
    with trio.fail_after(START_S):
        while "protected" not in seen:
            seen += (await watch.stdout.receive_some()).decode()
        await pair.kill(primary)
        while "degraded: peer-lost" not in seen:
            seen += (await watch.stdout.receive_some()).decode()
        watch.send_signal(signal.SIGINT)
        assert await watch.wait() == 130
    told = [line.split(maxsplit=1)[1].strip() for line in seen.splitlines()]
    assert told[0].startswith("protected   role secondary")
    assert [line.partition(":")[0] for line in told if ": secured" in line] == ["alone"]
    assert told[-1].startswith("degraded: peer-lost   role primary")


async def test_a_node_is_not_started_twice(protected_pair: HandPair) -> None:
    pair = protected_pair
    second = await run_ctlha("node", pair.config("a"))
    assert second.code == 2
    assert f"{pair.config('a')}: node: a is already running" in second.err
    assert (await run_ctlha("status", pair.config("a"))).code == 0


async def test_the_sockets_are_for_this_user_only(protected_pair: HandPair) -> None:
    for name in (STATUS_SOCKET, DATA_SOCKET):
        assert (protected_pair.folder / "a" / name).stat().st_mode & 0o777 == 0o600


@asynccontextmanager
async def listening_as(
    pair: HandPair, node: str, pin: str, key: Ed25519PrivateKey | None = None
) -> AsyncIterator[None]:
    """The link of a node that lives and does not dial: all that the other one learns, its own dial has found out.

    ``key``: another one than the node's.
    """

    async def never(stream: Stream) -> None:
        raise AssertionError(f"{stream.description} was trusted")

    transport = TlsTransport(key=key or load_key(pair.folder / node / "node.key"), pins=[parse_pin(pin)])
    listener = await transport.listen(pair.address(node))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve, never)
        yield
        nursery.cancel_scope.cancel()
    listener.close()


async def test_a_peer_with_an_unknown_key(hand_pair: HandPair) -> None:
    """The node whose pins are wrong ends as soon as it has dialled its peer."""
    pair = hand_pair
    known = pair.pin_in("b")
    pair.edit("a", pair.pin_in("a"), describe_key(Ed25519PrivateKey.generate()))
    before = pair.fingerprint("a")
    async with listening_as(pair, "b", known):
        await pair.start("a")
        assert await pair.wait_ended("a") == 2
    (said,) = pair.faults("a")
    assert said.startswith(f"peer.pins: {pair.address('b')}: its key is not among peer.pins")
    assert pair.fingerprint("a") == before


async def test_a_peer_that_does_not_know_the_key(hand_pair: HandPair) -> None:
    """The node whose pins are right ends too: its dial is told that its key is refused, and whose pins to look at."""
    pair = hand_pair
    before = pair.fingerprint("b")
    async with listening_as(pair, "a", pin=pair.pin_in("b")):
        await pair.start("b")
        assert await pair.wait_ended("b") == 2
    (said,) = pair.faults("b")
    refused = f"{pair.address('a')}: it does not trust our key; see peer.pins in its configuration"
    helps = f"if it is not node a that is at {pair.address('a')}, correct peer.address"
    assert said == f"peer.pins: {refused}; {helps}"
    assert pair.fingerprint("b") == before


async def test_the_only_member_starts_and_serves_whoever_is_at_the_peers_address(protected_pair: HandPair) -> None:
    pair = protected_pair
    await pair.kill("b")
    await pair.wait_for("a", verdict="degraded")
    async with listening_as(pair, "b", pair.pin_in("b"), Ed25519PrivateKey.generate()):
        await pair.kill("a")
        await pair.start("a")
        await pair.wait_for("a", verdict="degraded", role="primary")
        await pair.wait_logged("a", "look at peer.pins and peer.address in both configurations")
    await pair.start("b")
    await pair.wait_protected()


async def test_a_strangers_connection_does_not_end_a_node_that_waits_for_its_peer(hand_pair: HandPair) -> None:
    pair = hand_pair
    stranger = TlsTransport(key=Ed25519PrivateKey.generate(), pins=[parse_pin(pair.pin_in("b"))])
    await pair.start("a")
    await pair.wait_for("a", state="CTL_HA_STATE_UNKNOWN")
    with pytest.raises(UntrustedPeerError):
        await stranger.dial(pair.address("a"))
    async with await trio.open_tcp_stream("127.0.0.1", pair.base_port) as garbage:
        await garbage.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with suppress(trio.BrokenResourceError):
            while await garbage.receive_some(1000):
                continue
    # It may have waited long enough by now, and serve.
    assert (await pair.status("a"))["verdict"] in ("at-risk", "degraded")
    await pair.start("b")
    await pair.wait_protected()
    assert len([line for line in pair.log("a").splitlines() if "is not among peer.pins" in line]) == 1


async def test_a_peer_whose_volume_has_another_size(hand_pair: HandPair) -> None:
    """Each node's store and configuration agree, so that only the other node can tell."""
    pair = hand_pair
    volume = pair.folder / "b" / "volume.img"
    store = await BlockStore.open(ThreadDisk(), str(volume), size_bytes=SIZE_BYTES, clock=TrioClock())
    store.close()
    volume.unlink()
    create_store_file(str(volume), store.metadata, 2 * SIZE_BYTES)
    pair.edit("b", f"size_bytes = {SIZE_BYTES}", f"size_bytes = {2 * SIZE_BYTES}")
    before = {node: pair.fingerprint(node) for node in OTHER}
    await pair.start("a")
    await pair.start("b")
    for node in OTHER:
        assert await pair.wait_ended(node) == 2
        (said,) = pair.faults(node)
        assert said.startswith("volume.size_bytes: ")
        assert pair.fingerprint(node) == before[node]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_a_node_whose_disk_hangs(hand_pair: HandPair, number: int) -> None:
    pair = hand_pair
    await pair.start("a", HANGING_NODE)
    await pair.wait_logged("a", "hanging_node: a flush hangs")
    pair.send_signal("a", number)
    await pair.wait_logged("a", f"stopping: {signal.Signals(number).name}")
    assert await pair.end("a", number) == 130
    assert f"stopping at once, without a goodbye: {signal.Signals(number).name}" in pair.log("a").splitlines()[-1]


async def test_two_nodes_with_one_id(hand_pair: HandPair) -> None:
    """Node a and a copy of its folder that was told to be at b's address, where b's key is."""
    pair = hand_pair
    pin, key = pair.pin_in("b"), (pair.folder / "b" / "node.key").read_bytes()
    shutil.rmtree(pair.folder / "b")
    shutil.copytree(pair.folder / "a", pair.folder / "b")
    (pair.folder / "b" / "node.key").write_bytes(key)
    pair.edit("b", pair.pin_in("b"), pin)
    here, there = pair.address("a"), pair.address("b")
    pair.edit("b", f'listen = "{here}"', f'listen = "{there}"')
    pair.edit("b", f'address = "{there}"', f'address = "{here}"')
    before = {node: pair.fingerprint(node) for node in OTHER}
    await pair.start("a")
    await pair.start("b")
    for node in OTHER:
        assert await pair.wait_ended(node) == 2
        assert pair.log(node).splitlines()[-1].startswith(f"{pair.config(node)}: node: same-node: ")
        assert pair.fingerprint(node) == before[node]


OLD, NEW, FORKED = (letter * 4096 for letter in (b"o", b"n", b"f"))


async def twins_apart(pair: HandPair) -> None:
    """Node a alone and a copy of its folder, a2, of which each has acknowledged what the other lacks; a has stopped."""
    await pair.start_protected()
    await pair.kill("b")
    await pair.wait_for("a", verdict="degraded", role="primary")
    shutil.copytree(pair.folder / "a", pair.folder / "a2", ignore=shutil.ignore_patterns("*.sock"))
    pair.edit("a2", pair.address("a"), f"127.0.0.1:{pair.base_port + 1}")
    pair.launchers = {**pair.launchers, "a2": ()}
    await pair.write_and_read("a", 1, {1: NEW}, {})
    await pair.start("a2")
    await pair.wait_for("a2", verdict="degraded", role="primary")
    await pair.write_and_read("a2", 2, {2: FORKED}, {1: bytes(4096)})
    await pair.wait_for("a", verdict="stopped", reasons=["twin"])


@pytest.mark.parametrize("kept", ["a", "a2"])
async def test_of_two_files_of_one_identity_either_can_be_kept_by_what_the_status_says(
    hand_pair: HandPair, kept: str
) -> None:
    """Deleting the copy, which has taken the record, and starting the node again would leave nobody that serves."""
    pair = hand_pair
    await twins_apart(pair)
    asked = await run_ctlha("status", pair.config("a"))
    (helps,) = (line for line in asked.out.splitlines() if line.startswith("  twin: "))
    assert "delete neither before it is clear which one is right" in helps
    await pair.wait_logged("a", f"serves nothing until a person has looked: {helps.strip()}\n")
    for node in ("a", "a2"):
        assert await pair.end(node, signal.SIGTERM) == 0
    if kept == "a":
        (command,) = re.findall(r"then: ctlha (.*? --abandon b)", helps)
        done = await run_ctlha(*command.split(), "--statement", "b is powered off")
        assert done.code == 0, done.err
        await pair.start("a")
    else:
        pair.volume("a").rename(pair.folder / "aside.img")
        pair.volume("a2").rename(pair.volume("a"))
        await pair.start("a")
    await pair.start("b")
    await pair.wait_protected()
    found = {1: NEW, 2: bytes(4096)} if kept == "a" else {1: bytes(4096), 2: FORKED}
    for client, node in enumerate(OTHER, 3):
        await pair.write_and_read(node, client, {}, found)


async def leave_behind(pair: HandPair, *, kept_alive: bool = False) -> tuple[str, str]:
    """A node that has missed a write of the other one, which is gone or only not heard."""
    survivor = await pair.primary()
    behind = OTHER[survivor]
    await pair.write_and_read(survivor, 1, {0: OLD, 1: OLD}, {})
    await pair.kill(behind)
    await pair.wait_for(survivor, verdict="degraded", role="primary")
    await pair.write_and_read(survivor, 2, {0: NEW}, {0: NEW})
    if kept_alive:
        pair.edit(behind, pair.address(survivor), "127.0.0.1:1")
        pair.edit(survivor, pair.address(behind), "127.0.0.1:1")
        await pair.kill(survivor)
        await pair.start(survivor)
        await pair.wait_for(survivor, verdict="degraded", role="primary")
    else:
        await pair.kill(survivor)
    await pair.start(behind)
    await pair.wait_for(behind, verdict="at-risk", reasons=["outdated", "peer-lost"])
    return behind, survivor


async def test_a_node_is_forced_and_the_abandoned_one_returns_as_its_copy(protected_pair: HandPair) -> None:
    pair = protected_pair
    behind, lost = await leave_behind(pair)
    asked = await run_ctlha("status", pair.config(behind))
    helps = f"ctlha force-primary {pair.config(behind)} --abandon {lost}"
    assert helps in asked.out
    shown = await run_ctlha(*helps.split()[1:], "--dry-run")
    assert shown.code == 0, shown.err
    assert f"primary  {lost} -> {behind}" in shown.out
    await pair.wait_for(behind, verdict="at-risk", reasons=["outdated", "peer-lost"])
    foretold = await force_plan_of(pair.folder / behind / STATUS_SOCKET, lost)
    forced = await run_ctlha(*helps.split()[1:], "--statement", f"{lost} is powered off")
    assert forced.code == 0, forced.err
    status = await pair.wait_for(behind, verdict="degraded", role="primary")
    await pair.write_and_read(behind, 3, {1: FORKED}, {0: OLD, 1: FORKED})
    logged = pair.decisions(behind)
    lines = [line for line in logged if line["decision"] == "force-primary"]
    assert [line["outcome"] for line in lines] == ["asked", "done"]
    assert lines[1]["after"]["epoch"] == status["epoch"]
    (begun,) = [line for line in logged if line["decision"] == "force"]
    assert begun["after"] == lines[1]["after"]
    expect_foretold(foretold, begun)
    epochs = [line["epoch"] for line in logged if line["decision"] != "force-primary"]
    assert epochs == sorted(epochs)
    assert {"found", "force"} <= {line["decision"] for line in logged}
    await pair.start(lost)
    await pair.wait_protected()
    assert await pair.primary() == behind
    done = await run_ctlha("switchover", pair.config(behind))
    assert done.code == 0, done.err
    await pair.wait_for(lost, verdict="protected", role="primary")
    await pair.write_and_read(lost, 4, {}, {0: OLD, 1: FORKED})


async def test_an_abandoned_node_that_is_alive_stops_within_a_second(protected_pair: HandPair) -> None:
    """Neither reaches the other, so that nothing but the record can tell it."""
    pair = protected_pair
    behind, alive = await leave_behind(pair, kept_alive=True)
    force = ("force-primary", pair.config(behind), "--abandon", alive, "--statement", f"{alive} is powered off")
    forced = await run_ctlha(*force)
    assert forced.code == 0, forced.err
    await pair.wait_for(alive, role="outdated", within_s=1.5)
    await pair.wait_for(behind, verdict="degraded", role="primary")
    await pair.write_and_read(behind, 3, {}, {0: OLD})
    again = await run_ctlha(*force)
    assert (again.code, again.out) == (1, "")
    assert again.err == f"node {behind} serves already, as primary: there is nothing to force\n"


@pytest.mark.parametrize("both_down", [False, True], ids=["peer-serves", "both-were-down"])
async def test_a_disk_is_replaced(protected_pair: HandPair, both_down: bool) -> None:
    pair = protected_pair
    keeper = await pair.primary()
    replaced = OTHER[keeper]
    volume = pair.folder / replaced / "volume.img"
    await pair.write_and_read(keeper, 1, {0: OLD, 1: NEW}, {})
    if both_down:
        # At once, so that the record still names both.
        for node in OTHER:
            pair.send_signal(node, signal.SIGKILL)
        for node in OTHER:
            await pair.wait_ended(node)
    else:
        await pair.kill(replaced)
        await pair.wait_for(keeper, verdict="degraded", role="primary")
    volume.unlink()
    await pair.start(replaced)
    assert await pair.wait_ended(replaced) == 2
    shown = await run_ctlha("replace", pair.config(replaced), replaced, "--dry-run")
    done = await run_ctlha("replace", pair.config(replaced), replaced)
    assert done.code == 0, done.err
    await pair.start(replaced)
    if both_down:
        await pair.wait_for(replaced, verdict="at-risk", role="outdated")
        await pair.start(keeper)
    await pair.wait_protected()
    await expect_swapped(pair, keeper, shown.out, since=pair.decisions(replaced))
    assert await pair.primary() == keeper
    assert (await run_ctlha("switchover", pair.config(keeper))).code == 0
    await pair.wait_for(replaced, verdict="protected", role="primary")
    await pair.write_and_read(replaced, 2, {}, {0: OLD, 1: NEW})


async def expect_swapped(pair: HandPair, keeper: str, shown: str, *, since: list[dict[str, Any]]) -> None:
    """What a plan leaves to the nodes is what the log of the one that fills the other tells, behind the command."""
    planned = re.findall(r"at the arbiter: the next epoch, primary (\w), members (.*)", shown)
    (begun,) = [line for line in since if line["decision"] == "replace" and line["outcome"] == "done"]
    await pair.decided(keeper, "admit", having="after")
    swapped = [line["after"] for line in pair.decisions(keeper) if line.get("after", begun)["epoch"] > begun["epoch"]]
    assert [(each["primary"], " ".join(each["members"])) for each in swapped] == planned
    assert [each["epoch"] - begun["epoch"] for each in swapped] == list(range(1, len(planned) + 1))


@pytest.mark.parametrize("lost", [False, True], ids=["went-back", "lost"])
async def test_a_pair_gets_another_arbiter(protected_pair: HandPair, lost: bool) -> None:
    """One node decides what the volume is, the other one discards its copy."""
    pair = protected_pair
    arbiter = pair.folder / "arbiter.db"
    backup = arbiter.read_bytes()
    kept = await pair.primary()
    other = OTHER[kept]
    await pair.write_and_read(kept, 1, {0: OLD}, {})
    await pair.kill(other)
    await pair.wait_for(kept, verdict="degraded", role="primary")
    await pair.start(other)
    await pair.wait_protected()
    await pair.write_and_read(kept, 2, {0: NEW}, {})
    for node in (other, kept):
        await pair.kill(node)
    arbiter.unlink()
    if not lost:
        arbiter.write_bytes(backup)
        arbiter.chmod(0o600)
    for node in OTHER:
        await pair.start(node)
        if lost:
            assert await pair.wait_ended(node) == 2
        else:
            await pair.wait_for(node, verdict="stopped", reasons=["arbiter-went-back"])
            # A line is written beside what it tells of; at the end of the process all are.
            assert await pair.end(node, signal.SIGTERM) == 0
            (halt,) = [line for line in pair.decisions(node) if line["decision"] == "halt"]
            assert halt["why"] == "arbiter-went-back"
    statement = ("--statement", f"{other} is powered off")
    adopted = await run_ctlha("adopt-arbiter", pair.config(kept), "--abandon", other, *statement)
    assert adopted.code == 0, adopted.err
    await pair.start(kept)
    await pair.wait_for(kept, verdict="degraded", role="primary")
    shown = await run_ctlha("resolve", pair.config(other), "--discard", other, "--dry-run")
    assert shown.code == 0, shown.err
    assert f"          node {other}" in shown.out
    assert [line.split()[2:] for line in shown.out.splitlines() if line.startswith("is member")] == [["yes", "yes"]]
    assert "may differ: everything, for they are of different lines" in shown.out
    carried = pair.folder / "kept.json"
    carried.write_text((await run_ctlha("copy", pair.config(kept), "--json")).out)
    resolved = await run_ctlha("resolve", pair.config(other), "--discard", other, "--other", carried)
    assert resolved.code == 0, resolved.err
    assert resolved.out.startswith(shown.out[: shown.out.index("written")])
    await pair.start(other)
    await pair.wait_protected()
    assert (await run_ctlha("switchover", pair.config(kept))).code == 0
    await pair.wait_for(other, verdict="protected", role="primary")
    await pair.write_and_read(other, 3, {}, {0: NEW})


@pytest.mark.parametrize("lost", [False, True], ids=["went-back", "lost"])
async def test_nodes_that_agree_get_another_arbiter_and_lose_nothing(protected_pair: HandPair, lost: bool) -> None:
    """The command is given at both; each node is refused until then."""
    pair = protected_pair
    arbiter = pair.folder / "arbiter.db"
    backup = arbiter.read_bytes()
    for _ in OTHER:  # so that the record moves on from the backup
        assert (await run_ctlha("switchover", pair.config(await pair.primary()))).code == 0
        await pair.wait_protected()
    primary = await pair.primary()
    await pair.write_and_read(primary, 1, {0: NEW}, {})
    arbiter.unlink()
    for node in OTHER:
        await pair.kill(node)
    if not lost:
        arbiter.write_bytes(backup)
        arbiter.chmod(0o600)
    outcomes: dict[str, Finished] = {}

    async def adopt(node: str) -> None:
        outcomes[node] = await run_ctlha("adopt-arbiter", pair.config(node))

    async with trio.open_nursery() as nursery:
        for node in OTHER:
            nursery.start_soon(adopt, node)
    assert {node: done.code for node, done in outcomes.items()} == {"a": 0, "b": 0}, outcomes
    assert all("as both know it" in done.out for done in outcomes.values())
    await pair.start_protected()
    await pair.write_and_read(await pair.primary(), 2, {}, {0: NEW})
    again = await run_ctlha("adopt-arbiter", pair.config("a"))
    assert (again.code, again.err) == (1, "node a runs; stop it first\n")


@pytest.fixture
def etcd(etcd_program: str, tmp_path: Path) -> Iterator[EtcdMember]:
    """One that the test may stop."""
    with started_etcd(etcd_program, tmp_path / "etcd") as (member,):
        yield member


@pytest.fixture
async def etcd_pair(etcd: EtcdMember, tmp_path: Path) -> AsyncIterator[HandPair]:
    """A pair with its arbiter in etcd, whose nodes run and are in sync."""
    async with made_pair(tmp_path / "pair", "--arbiter", etcd.endpoint) as pair:
        await pair.start_protected()
        yield pair


async def test_with_etcd_one_is_killed_and_comes_back(etcd_pair: HandPair) -> None:
    pair = etcd_pair
    victim = await pair.primary()
    survivor = OTHER[victim]
    await pair.kill(victim)
    alone = {"verdict": "degraded", "role": "primary", "reasons": ["peer-lost"]}
    status = await pair.wait_for(survivor, within_s=3.0, **alone)
    assert isinstance(status["notes"], list)
    assert "shared-failure-domain" in status["notes"]
    await pair.start(victim)
    await pair.wait_protected()
    assert await pair.primary() == survivor


@pytest.mark.parametrize("restarted", [False, True], ids=["survivor-runs", "survivor-restarted"])
async def test_with_etcd_down_nobody_goes_alone(etcd_pair: HandPair, etcd: EtcdMember, restarted: bool) -> None:
    pair = etcd_pair
    victim = await pair.primary()
    survivor = OTHER[victim]
    etcd.kill()
    async with trio.open_nursery() as nursery:
        for node in OTHER:
            await pair.wait_for(node, verdict="degraded", arbiter="unknown", reasons=["arbiter-silent"])
        door = await pair.connect(victim, 1, nursery)
        reply = await door.execute(OperationKind.WRITE, number=1, offset=0, data=b"w" * 4096)
        assert reply.outcome is Outcome.DONE
        door.close()
    await pair.kill(victim)
    await pair.wait_for(survivor, verdict="at-risk", reasons=["arbiter-silent", "peer-lost", "claiming"])
    asked = await run_ctlha("status", pair.config(survivor))
    assert (asked.code, asked.out.partition("\n")[0]) == (1, "at-risk: arbiter-silent, peer-lost, claiming")
    await pair.wait_logged(survivor, "no connection: Connection refused")
    assert not [line for line in pair.decisions(survivor) if line["decision"] == "claim"], "it might be in doubt then"
    if restarted:
        await pair.kill(survivor)
        await pair.start(survivor)
        await pair.wait_for(survivor, verdict="at-risk", reasons=["arbiter-silent", "booting"])
    etcd.start()
    await trio.to_thread.run_sync(etcd.wait_ready)
    await pair.wait_for(survivor, verdict="degraded", role="primary", reasons=["peer-lost"])
    async with trio.open_nursery() as nursery:
        door = await pair.connect(survivor, 2, nursery)
        reply = await door.execute(OperationKind.READ, number=1, offset=0, size=4096)
        assert (reply.outcome, bytes(reply.data)) == (Outcome.DONE, b"w" * 4096)
        door.close()
    await pair.start(victim)
    await pair.wait_protected()
