"""``ctlha adopt-arbiter`` at both nodes: what they must agree on, and what is on their disks when it ends or is cut."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio

from ctlha_trio._errors import ArbiterSilentError, FailedError, StoreError, UnknownOutcomeError
from ctlha_trio.arbiter import SqliteArbiter
from ctlha_trio.cli import _adopt_together, _knowledge, _meeting, _stopped_node
from ctlha_trio.cli._adopt import adopt_arbiter
from ctlha_trio.cli._adopt_together import adopt_together, agreed_record
from ctlha_trio.cli._checks import prepare
from ctlha_trio.cli._config import load_config
from ctlha_trio.cli._full_copy import resolve_copy
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.cli._knowledge import Knowledge, disagreement, hear
from ctlha_trio.cli._stopped_node import divergence
from ctlha_trio.door import DecisionLog
from ctlha_trio.pair import Copy, Metadata, SwapOutcome
from ctlha_trio.seams import ThreadDisk, TrioClock, Versioned
from ctlha_trio.store import BlockStore, rewrite_metadata
from ctlha_trio.testing._processes.free_ports import free_base_port
from ctlha_trio.wire import KnownRecord

SIZE_BYTES = 1 << 20
ENDS_S = 30.0


@attrs.frozen
class Pair:
    """It does not run."""

    path: Path
    cluster: str

    def config(self, node: str) -> Path:
        return self.path / node / "node.toml"

    def volume(self, node: str) -> str:
        return str(self.path / node / "volume.img")

    @property
    def arbiter_file(self) -> Path:
        return self.path / "arbiter.db"

    async def arbiter(self) -> SqliteArbiter:
        return await SqliteArbiter.open(self.arbiter_file, cluster=self.cluster, resource="volume")

    async def found(self) -> Versioned:
        return await (await self.arbiter()).read()

    async def metadata(self, node: str) -> Metadata:
        store = await BlockStore.open(ThreadDisk(), self.volume(node), size_bytes=SIZE_BYTES, clock=TrioClock())
        store.close()
        return store.metadata

    async def change(self, *nodes: str, **fields: Any) -> None:
        for node in nodes:
            before = await self.metadata(node)
            changed = attrs.evolve(before, **fields)
            await rewrite_metadata(ThreadDisk(), self.volume(node), changed, expected=before)

    async def would(self, node: str) -> str:
        """The reason for which the node would stop if it was started, or nothing."""
        identity = (await self.arbiter()).identity
        return divergence(await self.metadata(node), {"a": "b", "b": "a"}[node], identity, await self.found())

    def decided(self, node: str) -> list[tuple[str, str]]:
        file = self.path / node / "decisions.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [(line["decision"], line["outcome"]) for line in lines]

    def contents(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.path.rglob("*") if path.is_file()}

    def changed_since(self, before: dict[Path, bytes]) -> set[str]:
        """Files, from the pair's folder on."""
        after = self.contents()
        paths = before.keys() | after.keys()
        return {str(path.relative_to(self.path)) for path in paths if before.get(path) != after.get(path)}

    async def adopt(self, *dry: str) -> dict[str, Exception]:
        """By both commands at once; the errors of those that failed."""
        failures: dict[str, Exception] = {}

        async def command(node: str) -> None:
            try:
                assert await adopt_together(self.config(node), node in dry) == 0
            except Exception as error:
                failures[node] = error

        with trio.fail_after(ENDS_S):
            async with trio.open_nursery() as nursery:
                for node in ("a", "b"):
                    nursery.start_soon(command, node)
        return failures


METADATA = Metadata(
    cluster="c",
    node="a",
    resource="volume",
    lineage="line",
    arbiter="old",
    epoch=7,
    revision=9,
    primary="b",
    members=("a", "b"),
    copy=Copy.MEMBER,
)


def test_copies_of_different_lines_do_not_agree() -> None:
    one = Knowledge.of(METADATA, "b", None, None, dry_run=False)
    other = Knowledge.of(attrs.evolve(METADATA, node="b"), "a", None, None, dry_run=False)
    assert disagreement(one, other) == ""
    other = attrs.evolve(other, lineage="another")
    assert _knowledge.disagreement(one, other) == "their copies are of different lines"


def test_a_record_that_neither_node_has_seen_is_not_written_over() -> None:
    seen = agreed_record(METADATA, None, "p")
    assert (seen.epoch, seen.primary, seen.members) == (7, "b", ("a", "b"))
    with pytest.raises(FailedError, match="the arbiter holds epoch 8 of lineage line, which neither node has seen"):
        _adopt_together.agreed_record(METADATA, attrs.evolve(seen, epoch=8), "p")


def test_an_arbiter_that_went_back_to_before_a_force_is_given_the_line_of_that() -> None:
    later = attrs.evolve(METADATA, lineage="later", ancestors=("line",))
    for found in (None, attrs.evolve(agreed_record(METADATA, None, "p"), epoch=5)):
        record = agreed_record(later, found, "p")
        assert (record.lineage, record.ancestors, record.epoch) == ("later", ("line",), 7)


@pytest.mark.parametrize(("sent", "raised"), [(True, UnknownOutcomeError), (False, ArbiterSilentError)])
async def test_a_record_that_etcd_may_have_is_not_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch, *, sent: bool, raised: type[Exception]
) -> None:
    async def create(*_: object) -> None:
        raise ArbiterSilentError("no answer", sent=sent)

    monkeypatch.setattr(_adopt_together, "create_etcd_record", create)
    loaded: Any = SimpleNamespace(content=SimpleNamespace(arbiter=None), etcd_access=lambda _: None)
    with pytest.raises(raised, match="no answer"):
        await _adopt_together.create_record(loaded, agreed_record(METADATA, None, "p"))


@pytest.fixture
async def fresh(tmp_path: Path) -> Pair:
    """Both nodes and the arbiter know epoch 1."""
    new = NewPair(size_bytes=SIZE_BYTES, link_addresses=loopback_addresses(free_base_port()))
    create_pair(tmp_path / "p", new)
    return Pair(tmp_path / "p", new.cluster)


@pytest.fixture
async def pair(fresh: Pair) -> Pair:
    """Both nodes know epoch 7."""
    await fresh.change("a", "b", epoch=7, revision=9, primary="b")
    return fresh


async def lose_arbiter(pair: Pair) -> None:
    pair.arbiter_file.unlink()


async def keep_arbiter(_: Pair) -> None:
    """As it is: it shows epoch 1, at revision 1."""


@pytest.mark.parametrize("arbiter", [lose_arbiter, keep_arbiter])
async def test_both_copies_stay_what_they_are(pair: Pair, arbiter: Callable[[Pair], Awaitable[None]]) -> None:
    before = {node: await pair.metadata(node) for node in ("a", "b")}
    await arbiter(pair)
    assert await pair.adopt() == {}
    found = await pair.found()
    record = found.record
    assert (record.epoch, record.lineage, record.primary, record.members) == (7, before["a"].lineage, "b", ("a", "b"))
    identity = (await pair.arbiter()).identity
    for node in ("a", "b"):
        bound = attrs.evolve(before[node], arbiter=identity, revision=found.revision)
        assert await pair.metadata(node) == bound
        assert await pair.would(node) == ""
        assert pair.decided(node) == [("adopt-arbiter", "asked"), ("adopt-arbiter", "done")]
    again = await pair.adopt()
    assert {str(error) for error in again.values()} == {"nothing is wrong with the arbiter: start both nodes"}


async def test_a_copy_that_does_not_count_by_what_both_know_stays_so(pair: Pair) -> None:
    await pair.change("a", "b", members=("b",))
    await pair.change("a", copy=Copy.RESYNCING, base_epoch=5)
    await lose_arbiter(pair)
    assert await pair.adopt() == {}
    assert (await pair.found()).record.members == ("b",)
    metadata = await pair.metadata("a")
    assert (metadata.copy, metadata.base_epoch, metadata.members) == (Copy.RESYNCING, 5, ("b",))


async def test_an_end_that_one_cannot_log_is_told_there_and_all_is_done(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    @attrs.frozen
    class LogWithoutAnEnd(DecisionLog):
        async def append(self, **fields: object) -> None:
            if (fields["outcome"], self.path.parent.name) == ("done", "a"):
                raise StoreError("the disk is full")
            await super().append(**fields)

    monkeypatch.setattr(_stopped_node, "DecisionLog", LogWithoutAnEnd)
    await lose_arbiter(pair)
    codes: dict[str, int] = {}

    async def command(node: str) -> None:
        codes[node] = await adopt_together(pair.config(node), False)

    with trio.fail_after(ENDS_S):
        async with trio.open_nursery() as nursery:
            for node in ("a", "b"):
                nursery.start_soon(command, node)
    assert codes == {"a": 4, "b": 0}
    assert [await pair.would(node) for node in ("a", "b")] == ["", ""]


@pytest.mark.parametrize("dry", [("a",), ("b",), ("a", "b")])
async def test_a_dry_run_at_either_changes_nothing_at_both(pair: Pair, dry: tuple[str, ...]) -> None:
    await lose_arbiter(pair)
    before = pair.contents()
    assert await pair.adopt(*dry) == {}
    assert pair.contents() == before


@pytest.mark.parametrize("dry", [("a",), ("b",), ("a", "b")])
@pytest.mark.parametrize("behind", ["a", "b"])
async def test_a_dry_run_at_either_lets_none_remember_what_it_is_told(
    pair: Pair, dry: tuple[str, ...], behind: str
) -> None:
    await pair.change(behind, epoch=6)
    before = pair.contents()
    assert (await pair.adopt(*dry)).keys() == {"a", "b"}
    assert pair.contents() == before


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"epoch": 6}, "node a knows epoch 6, members a b; node b knows epoch 7, members a b"),
        ({"members": ("a",)}, "node a knows epoch 7, members a; node b knows epoch 7, members a b"),
        ({"primary": "a"}, "node a knows epoch 7"),
        ({"lineage": "another"}, "of different lines"),
        ({"revision": 8}, "node a knows revision 8; node b knows revision 9"),
        ({"copy": Copy.FAILED}, "the copy of node a, which counts, is failed"),
        ({"copy": Copy.RESYNCING}, "the copy of node a, which counts, is resyncing"),
    ],
)
async def test_nodes_that_do_not_agree_change_nothing_but_what_they_remember(
    pair: Pair, change: dict[str, object], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await pair.change("a", **change)
    await lose_arbiter(pair)
    before = pair.contents()
    failures = await pair.adopt()
    assert failures.keys() == {"a", "b"}
    for error in failures.values():
        assert isinstance(error, FailedError)
        assert "the nodes do not agree: " in str(error)
        assert why in str(error)
        assert str(error).split(". ")[1] == "Decide which copy is the volume, and give the command there with --abandon"
    assert pair.changed_since(before) == ({"a/volume.img"} if "epoch" in change else set())
    shown = capsys.readouterr()
    assert all(line.startswith("waiting for the same command") for line in shown.out.splitlines())
    copies = [line.split(":")[0] for line in shown.err.splitlines()]
    assert copies == ["copy     node a", "copy     node b"] * 2, "of both, at both"


async def test_what_one_has_only_heard_of_keeps_them_from_agreeing(pair: Pair) -> None:
    """Of it as of its own: who has heard of it tells it too."""
    known = await pair.metadata("a")
    await pair.change("b", heard=KnownRecord(known.lineage, 8, 12, leads=True))
    before = pair.contents()
    failures = await pair.adopt()
    assert all("node b has heard of epoch 8, which neither has seen" in str(error) for error in failures.values())
    assert failures.keys() == {"a", "b"}
    assert pair.changed_since(before) == {"a/volume.img"}
    assert await pair.metadata("a") == attrs.evolve(known, heard=KnownRecord(known.lineage, 8, 12, leads=False))


async def test_what_a_node_is_told_there_it_does_not_forget(fresh: Pair) -> None:
    """Node a has acted alone, the arbiter was restored to what node b knows, and then node a is gone for ever."""
    known = await fresh.metadata("b")
    await fresh.change("a", epoch=2, revision=2, members=("a",))
    assert await fresh.would("b") == ""
    assert (await fresh.adopt()).keys() == {"a", "b"}
    assert await fresh.would("b") == "arbiter-went-back"
    assert await fresh.metadata("b") == attrs.evolve(known, heard=KnownRecord(known.lineage, 2, 2, leads=True))
    before = fresh.contents()
    assert (await fresh.adopt()).keys() == {"a", "b"}
    assert fresh.contents() == before, "it is remembered once"


@pytest.mark.parametrize(
    ("theirs", "heard"),
    [
        ({"epoch": 8, "revision": 12}, KnownRecord("line", 8, 12, leads=False)),
        ({"epoch": 8, "revision": 12, "primary": "a"}, KnownRecord("line", 8, 12, leads=True)),
        ({"epoch": 8, "revision": 12, "arbiter": "new"}, KnownRecord("line", 8, 0, leads=False)),
        ({"epoch": 8, "heard": KnownRecord("line", 9, 13, leads=False)}, KnownRecord("line", 9, 13, leads=True)),
        ({"epoch": 7}, None),
        ({"epoch": 8, "lineage": "another"}, None),
        (
            {"epoch": 8, "revision": 12, "lineage": "another", "ancestors": ("line",)},
            KnownRecord("another", 8, 12, leads=False),
        ),
    ],
)
def test_what_is_remembered_of_what_the_other_one_tells(theirs: dict[str, Any], heard: KnownRecord | None) -> None:
    mine = attrs.evolve(METADATA, node="b")
    told = Knowledge.of(attrs.evolve(METADATA, **theirs), "b", None, None, dry_run=False)
    assert hear(mine, told) == attrs.evolve(mine, heard=heard)


@pytest.mark.parametrize(
    ("theirs", "heard"),
    [
        # Of the line that ended with that, as an older copy of the other one tells it.
        ({"epoch": 9, "revision": 12}, KnownRecord("later", 8, 8, leads=True)),
        ({"epoch": 9, "revision": 12, "lineage": "later"}, KnownRecord("later", 9, 12, leads=False)),
        ({"epoch": 7, "heard": KnownRecord("later", 9, 13, leads=False)}, KnownRecord("later", 9, 13, leads=True)),
    ],
)
def test_who_knows_of_a_later_line_remembers_what_is_told_of_that_one(
    theirs: dict[str, Any], heard: KnownRecord
) -> None:
    """As a node that runs does: its own line is over, and the arbiter may have gone back to it."""
    mine = attrs.evolve(METADATA, node="b", heard=KnownRecord("later", 8, 8, leads=True))
    told = Knowledge.of(attrs.evolve(METADATA, **theirs), "b", None, None, dry_run=False)
    assert _knowledge.hear(mine, told) == attrs.evolve(mine, heard=heard)


async def test_an_arbiter_that_holds_what_neither_has_seen_is_left_alone(pair: Pair) -> None:
    arbiter = await pair.arbiter()
    found = await arbiter.read()
    newer = attrs.evolve(found.record, epoch=8, proposal="p")
    assert (await arbiter.cas(found.revision, newer)).outcome is SwapOutcome.WON
    before = pair.contents()
    failures = await pair.adopt()
    assert all("which neither node has seen" in str(error) for error in failures.values())
    assert failures.keys() == {"a", "b"}
    assert pair.contents() == before


@pytest.mark.parametrize("persisted", [(), ("a",), ("b",)])
async def test_a_record_that_a_node_had_no_time_to_persist_needs_no_adoption(
    fresh: Pair, persisted: tuple[str, ...]
) -> None:
    """Both were stopped in the moment of a swap: to start them is enough, and abandons nothing."""
    await fresh.change("a", proposed=("p",))
    arbiter = await fresh.arbiter()
    found = await fresh.found()
    record = found.record.succeed(primary="a", members=("a",), proposal="p")
    assert (await arbiter.cas(found.revision, record)).outcome is SwapOutcome.WON
    for node in persisted:
        await fresh.change(node, epoch=2, revision=2, members=("a",))
    before = fresh.contents()
    failures = await fresh.adopt()
    assert {str(error) for error in failures.values()} == {"nothing is wrong with the arbiter: start both nodes"}
    assert failures.keys() == {"a", "b"}
    told = {"a", "b"}.difference(persisted) if persisted else set()
    assert fresh.changed_since(before) == {f"{node}/volume.img" for node in told}
    assert [await fresh.would(node) for node in ("a", "b")] == ["", ""]


async def test_one_alone_with_whom_nothing_is_wrong_is_told_to_start(
    fresh: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be that the other one still has to be bound, which only that one can say."""
    monkeypatch.setattr(_meeting, "MEET_S", 0.3)
    with pytest.raises(FailedError, match="for node a nothing is wrong with the arbiter: start it") as caught:
        await adopt_together(fresh.config("a"), False)
    assert "--abandon" not in str(caught.value)


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("cut", ["a", "b"])
async def test_what_was_cut_off_is_done_by_giving_both_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, cut: str, lost: bool
) -> None:
    async def fail(disk: ThreadDisk, path: str, metadata: Metadata, *, expected: Metadata) -> None:
        if metadata.node == cut:
            raise StoreError("cut off")
        await rewrite_metadata(disk, path, metadata, expected=expected)

    if lost:
        await lose_arbiter(pair)
    with monkeypatch.context() as patch:
        patch.setattr(_adopt_together, "rewrite_metadata", fail)
        assert cut in await pair.adopt()
    assert pair.decided(cut) == [("adopt-arbiter", "asked"), ("adopt-arbiter", "failed: cut off")]
    assert await pair.would(cut)
    assert await pair.adopt() == {}
    assert [await pair.would(node) for node in ("a", "b")] == ["", ""]
    assert (await pair.found()).record.epoch == 7


async def test_a_copy_that_was_used_meanwhile_is_not_bound(pair: Pair) -> None:
    metadata = await pair.metadata("a")
    used = attrs.evolve(metadata, epoch=8)
    await pair.change("a", epoch=8)
    with pytest.raises(StoreError, match="a node has used it meanwhile"):
        await rewrite_metadata(ThreadDisk(), pair.volume("a"), attrs.evolve(metadata, revision=1), expected=metadata)
    assert await pair.metadata("a") == used


async def test_one_alone_is_told_that_it_needs_the_statement(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_meeting, "MEET_S", 0.3)
    await lose_arbiter(pair)
    before = pair.contents()
    with pytest.raises(FailedError, match="one node alone needs --abandon b"):
        await adopt_together(pair.config("a"), False)
    assert pair.contents() == before


async def test_nodes_of_another_pair_do_not_agree(pair: Pair) -> None:
    known = Knowledge.of(await pair.metadata("a"), "b", None, None, dry_run=False)
    assert disagreement(known, attrs.evolve(known, node="b")) == ""
    assert disagreement(known, known) == "they are not the two nodes of one pair"
    assert disagreement(known, attrs.evolve(known, node="b", cluster="x")) == "they are not the two nodes of one pair"
    elsewhere = attrs.evolve(known, node="b", found_identity="x")
    assert disagreement(known, elsewhere) == "they do not find the same at the arbiter"


async def test_a_restored_record_keeps_its_ancestors(pair: Pair) -> None:
    found = attrs.evolve((await pair.found()).record, ancestors=("old",), fence="confirmed", evidence="off")
    record = agreed_record(await pair.metadata("a"), found, "p")
    assert (record.ancestors, record.fence, record.epoch, record.proposal) == (("old",), "none", 7, "p")


async def test_an_abandoned_node_is_told_of_what_helps_by_whatever_it_asks(
    fresh: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another arbiter it does not start, and there is nothing left that both commands could agree on."""
    discard = f"ctlha resolve {fresh.config('b')} --discard b"
    await lose_arbiter(fresh)
    assert await adopt_arbiter(fresh.config("a"), "b", "b is powered off", None, False) == 0
    with pytest.raises(ExceptionGroup) as caught:
        await prepare(load_config(fresh.config("b")))
    (fault,) = caught.value.exceptions
    assert "is not the arbiter that this node belongs to; " in str(fault)
    assert discard in str(fault)
    assert "adopt-arbiter" not in str(fault)
    failures = await fresh.adopt()
    assert failures.keys() == {"a", "b"}
    for error in failures.values():
        assert "at node b: ctlha resolve <its node.toml> --discard b" in str(error)
        assert "if that of node b is, give this command there with --abandon a" in str(error)
    with pytest.raises(FailedError, match="nothing is wrong with the arbiter: start node a") as refused:
        await adopt_arbiter(fresh.config("a"), "b", "b is powered off", None, False)
    assert "if node b does not start, there: ctlha resolve <its node.toml> --discard b" in str(refused.value)
    monkeypatch.setattr(_meeting, "MEET_S", 0.3)
    with pytest.raises(FailedError) as alone:
        await adopt_together(fresh.config("b"), False)
    assert discard in str(alone.value)
    assert await resolve_copy(fresh.config("b"), "b", None, False) == 0
    await prepare(load_config(fresh.config("b")))
