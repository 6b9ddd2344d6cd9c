"""A pool that both nodes reach, and that the component of one of them at a time imports, in whole nodes."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random

import attrs
import pytest
import trio
from trio.testing import MockClock

from ctlha_trio import NeedsFence, NotYet, Record, Released, StartAnswer, TakeOverComponent, Yes
from ctlha_trio._errors import ComponentError, FailedError
from ctlha_trio._vocabulary import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state
from ctlha_trio.ha import Node, Notice
from ctlha_trio.seams import FenceAnswer, FenceOutcome
from ctlha_trio.testing import MemoryPair, open_pair

OK = ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK


@attrs.define(eq=False)
class Disks:
    """A pool that both nodes reach, and that must never be imported twice."""

    owner: str = ""
    """That imported it last, by what is written on it."""
    writers: set[str] = attrs.Factory(set)
    """That would write to it now."""
    power_off: Callable[[str], None] = lambda _: None
    """What a fence does."""
    takes_s: Callable[[], float] = lambda: 0.0
    """To look at the disks, to import the pool, or to let go of it."""
    at_release: Released = Released.PROOF
    blocked: StartAnswer | None = None
    """What every import is answered."""
    importing: trio.Event | None = None
    """An import waits for this, and cannot be cancelled."""
    fenced: list[str] = attrs.Factory(list)

    @property
    def description(self) -> str:
        return "the power of a node"

    async def fence(self, node: str, resource: str, epoch: int) -> FenceAnswer:
        await trio.lowlevel.checkpoint()
        self.fenced.append(node)
        self.power_off(node)
        self.writers.discard(node)
        self.owner = "" if self.owner == node else self.owner
        return FenceAnswer(FenceOutcome.CONFIRMED, f"{node} is off")

    def components(self, node: Node) -> Sequence[ctl_ha_component]:
        me = node.config.node

        async def agree(_: ctl_ha_component) -> ctl_ha_comp_status:
            await trio.lowlevel.checkpoint()
            return OK

        async def init(_: ctl_ha_component) -> ctl_ha_comp_status:
            await trio.lowlevel.checkpoint()
            self.writers.discard(me)
            self.owner = "" if self.owner == me else self.owner
            return OK

        async def may_start(record: Record) -> StartAnswer:
            await trio.sleep(self.takes_s())
            assert record.primary == me
            if self.blocked is not None:
                return self.blocked
            if self.owner in {"", me}:
                return Yes()
            return NeedsFence(f"{self.owner} has it") if len(record.members) == 1 else NotYet("it is let go", 0.2)

        async def start(_: ctl_ha_component, __: ctl_ha_state) -> ctl_ha_comp_status:
            assert self.writers <= {me}, "it is imported twice"
            self.owner = me
            self.writers.add(me)
            await trio.sleep(self.takes_s())
            if self.importing is not None:
                with trio.CancelScope(shield=True):
                    await self.importing.wait()
            return OK

        async def released() -> Released:
            await trio.sleep(self.takes_s())
            if self.at_release is Released.PROOF and self.owner == me:
                self.owner = ""
                self.writers.discard(me)
            return self.at_release

        return [
            TakeOverComponent("pool", init=init, start=start, quiesce=agree, may_start=may_start, released=released)
        ]


def followed(node: Node) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []

    def follow(notice: Notice) -> None:
        found.append((notice.what, notice.outcome, notice.why))

    node.follow_notices(follow)
    return found


def owned_by(disks: Disks, name: str) -> Callable[[], bool]:
    return lambda: disks.owner == name


async def test_the_pool_goes_with_the_role(autojump_clock: MockClock) -> None:
    disks = Disks()
    async with open_pair(components=disks.components) as pair:
        await pair.wait_protected()
        assert disks.owner == "a"
        told = followed(pair.nodes["a"])
        await pair.nodes["a"].switchover()
        await pair.wait_protected()
        assert disks.owner == "b"
        assert ("release", "done", "pool") in told
        await pair.stop("b")
        await pair.wait_until(owned_by(disks, "a"))
        assert disks.fenced == []


async def test_a_pool_that_is_not_let_go_of_stays_where_it_is(autojump_clock: MockClock) -> None:
    disks = Disks(at_release=Released.UNKNOWN)
    async with open_pair(components=disks.components) as pair:
        await pair.wait_protected()
        a, b = pair.nodes["a"], pair.nodes["b"]
        told = followed(a)
        await a.switchover()
        await pair.wait_serving("b")
        await trio.sleep(30.0)
        assert disks.owner == "a"
        assert a.status().reasons == ("component-not-released", "peer-components")
        assert (b.status().verdict, b.status().reasons) == ("degraded", ("component-waits",))
        assert [(wait.component, wait.why) for wait in b.status().component_waits] == [("pool", "it is let go")]
        assert [line[:2] for line in told if line[0] == "release"] == [("release", "unknown")]
        disks.at_release = Released.PROOF
        await pair.wait_protected()
        assert disks.owner == "b"


async def test_the_role_goes_back_to_the_node_that_holds_the_pool(autojump_clock: MockClock) -> None:
    disks = Disks(at_release=Released.UNKNOWN)
    async with open_pair(components=disks.components) as pair:
        await pair.wait_protected()
        await pair.nodes["a"].switchover()
        await pair.wait_until(lambda: pair.nodes["b"].status().reasons == ("component-waits",))
        await pair.nodes["b"].switchover()
        await pair.wait_protected()
        assert (pair.record.primary, disks.owner) == ("a", "a")


@pytest.mark.parametrize("fences", [False, True])
async def test_a_survivor_has_the_other_node_fenced_before_it_takes_the_pool(
    fences: bool, autojump_clock: MockClock
) -> None:
    disks = Disks()
    async with open_pair(components=disks.components, start=False) as pair:
        if fences:
            pair.fencers["b"] = disks
        for name in "ab":
            await pair.start(name)
        await pair.wait_protected()
        told = followed(pair.nodes["b"])
        pair.crash("a", silently=True)
        b = await pair.wait_alone("b")
        await b.volume.write(0, b"x" * 512)
        if not fences:
            await trio.sleep(60.0)
            assert (b.status().verdict, b.status().reasons) == ("degraded", ("peer-lost", "component-needs-fence"))
            assert [wait.why for wait in b.status().component_waits] == ["a has it"]
            disks.owner = ""
            disks.writers.clear()
        await pair.wait_until(lambda: disks.owner == "b" and b.status().reasons == ("peer-lost",))
        fenced = [("fence", "asked", "node a, for a component"), ("fence", "done", "node a: confirmed: a is off")]
        assert [line for line in told if line[0] == "fence"] == (fenced if fences else [])
        await pair.restart("a")
        await pair.wait_protected()
        assert (disks.owner, disks.fenced) == ("b", ["a"] * fences)


async def test_a_node_whose_import_cannot_be_cancelled_leaves_and_is_fenced(autojump_clock: MockClock) -> None:
    imported = trio.Event()
    disks = Disks(importing=imported)
    async with open_pair(components=disks.components, start=False) as pair:
        pair.fencers["b"] = disks
        try:
            for name in "ab":
                await pair.start(name)
            a, b = pair.nodes["a"], pair.nodes["b"]
            await pair.wait_until(lambda: "component-failed" in a.status().reasons)
            disks.importing = None
            await pair.wait_until(owned_by(disks, "b"))
            assert (pair.record.members, disks.fenced) == (("b",), ["a"])
            await pair.wait_until(lambda: b.status().reasons == ("peer-lost",))
            assert pair.is_up("a"), "its process ends when the import has"
        finally:
            imported.set()
        await pair.wait_until(lambda: not pair.is_up("a"))
        assert isinstance(pair.failures["a"], ComponentError)


async def test_a_node_that_waits_with_its_component_hands_nothing_away(autojump_clock: MockClock) -> None:
    """It is no fault of this node's: the other one would wait likewise."""
    disks = Disks(blocked=NotYet("the disks are not there", 5.0))
    async with open_pair(components=disks.components, start=False) as pair:
        for name in "ab":
            await pair.start(name)
        await trio.sleep(120.0)
        assert pair.record.primary == "a"
        a = pair.nodes["a"].status()
        assert (a.verdict, a.reasons) == ("degraded", ("component-waits",))
        disks.blocked = None
        await pair.wait_protected()
        assert disks.owner == "a"


def heal(pair: MemoryPair) -> None:
    pair.heal()
    for name in "ab":
        pair.arbiters[name].unavailable = False


async def do_something(pair: MemoryPair, disks: Disks, random: Random) -> None:
    """What happens to nodes and networks, or what a person does."""
    name = random.choice("ab")
    match random.choice(("crash", "die", "stop", "cut off", "heal", "break", "doubt", "switch", "start", "start")):
        case "crash" | "die" as how if name in pair.nodes:
            disks.writers.discard(name)
            pair.crash(name, silently=how == "die")
        case "stop" if name in pair.nodes:
            await pair.stop(name)
        case "cut off":
            pair.partition(name)
            pair.arbiters[name].unavailable = True
        case "heal":
            heal(pair)
        case "doubt":
            disks.at_release = random.choice([*Released])
        case "break":
            pair.break_link()
        case "switch" if name in pair.nodes:
            with suppress(FailedError):
                await pair.nodes[name].switchover()
        case "start" if name not in pair.nodes:
            await pair.restart(name)


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_happens_no_two_nodes_write_to_the_pool(seed: int, autojump_clock: MockClock) -> None:
    random, disks = Random(seed), Disks()
    async with open_pair(components=disks.components, start=False, seed=seed) as pair:
        disks.power_off = lambda name: pair.crash(name, silently=True)
        disks.takes_s = lambda: random.expovariate(2.0)
        for name in "ab":
            pair.fencers[name] = disks
            await pair.start(name)
        for _ in range(16):
            await do_something(pair, disks, random)
            await trio.sleep(random.expovariate(0.7))
        heal(pair)
        disks.at_release = Released.PROOF
        for name in "ab":
            if name not in pair.nodes:
                await pair.restart(name)
        await pair.wait_protected()
        assert disks.writers == {disks.owner} == {pair.record.primary}
        assert dict(pair.failures) == {}
