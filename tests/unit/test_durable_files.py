"""What is said to be made, or changed, for good is there after a power cut: contents, and each name in its folder."""

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import attrs
import pytest

from ctlha_trio.arbiter import CreatedRecord, EtcdAccess, create_sqlite_arbiter
from ctlha_trio.cli import _init
from ctlha_trio.cli._init import NewPair, create_pair, create_pair_in_etcd, loopback_addresses
from ctlha_trio.door._decisions import DecisionLog
from ctlha_trio.door._forcing import OwedFence, OwedFile
from ctlha_trio.pair import Copy, Metadata, Record
from ctlha_trio.seams import ThreadDisk
from ctlha_trio.store import create_store_file, rewrite_metadata, salvage_copy
from ctlha_trio.store._layout import ACTIVITY_OFFSET, BITMAP_OFFSET
from ctlha_trio.store._slots import HEAD_BYTES, SLOT_BYTES
from ctlha_trio.testing._suites.arbiter_suite import sample_record

SIZE_BYTES = 64 * 1024
CONTENT = bytes(range(1, 256)) * 16
METADATA = Metadata(
    cluster="cluster",
    node="a",
    resource="volume",
    lineage="lineage",
    arbiter="arbiter",
    epoch=7,
    revision=9,
    primary="b",
    members=("a", "b"),
    copy=Copy.MEMBER,
)
SALVAGED = attrs.evolve(METADATA, lineage="other", primary="a", members=("a",))
BY_SQLITE = frozenset({".db"})
"""Endings of files whose contents SQLite syncs, by no call that Python sees; their names count as all do."""

Contents = Mapping[str, bytes | None]
"""By the path below the root; None for a folder, and for a file that was never synced."""
Change = Callable[[Path], Awaitable[object]]


@attrs.define(eq=False)
class PowerCut:
    """What a power cut now would leave of the files below a folder, at worst: only what was synced.

    By inode, as file systems keep it: a name belongs to its folder and not to what it leads to.
    """

    root: Path
    contents: dict[int, list[bytes]] = attrs.field(factory=dict)
    """Of each file, at each of its syncs."""
    names: dict[int, dict[str, int]] = attrs.field(factory=dict)
    """Of each folder, at its last sync."""

    def __attrs_post_init__(self) -> None:
        for path in (self.root, *self.root.rglob("*")):
            self.note(path)

    def synced(self, descriptor: int) -> None:
        number = os.fstat(descriptor).st_ino
        for path in (self.root, *self.root.rglob("*")):
            if path.stat().st_ino == number:
                self.note(path)

    def replacing(self, source: Path) -> None:
        """A name that leads to something else from now on: if that is not durable yet, a power cut leaves neither."""
        assert self.history(source)[-1:] == [source.read_bytes()], f"{source.name} is renamed before it is synced"

    def note(self, path: Path) -> None:
        number = path.stat().st_ino
        if path.is_dir():
            self.names[number] = {each.name: each.stat().st_ino for each in path.iterdir()}
        else:
            self.contents.setdefault(number, []).append(path.read_bytes())

    def history(self, path: Path) -> list[bytes]:
        return self.contents.get(path.stat().st_ino, [])

    def left(self) -> Contents:
        """Whatever would be there."""
        return dict(self._left_in(self.root.stat().st_ino, ""))

    def _left_in(self, folder: int, prefix: str) -> Iterator[tuple[str, bytes | None]]:
        for name, number in self.names.get(folder, {}).items():
            path = prefix + name
            if (self.root / path).is_dir():
                yield path, None
                yield from self._left_in(number, f"{path}/")
            else:
                yield path, next(reversed(self.contents.get(number, [])), None)


def there(root: Path) -> Contents:
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in sorted(root.rglob("*"))
    }


def lost(cut: PowerCut) -> list[str]:
    """In words, what a power cut would leave otherwise than it is. What goes with its folder is not told again."""
    now, left = there(cut.root), cut.left()
    nameless = now.keys() - left.keys()
    unsynced = (path for path in now.keys() & left.keys() if Path(path).suffix not in BY_SQLITE)
    return sorted(
        [
            *(f"{path}: its name is not synced" for path in nameless if str(Path(path).parent) not in nameless),
            *(f"{path}: that it is gone is not synced" for path in left.keys() - now.keys()),
            *(f"{path}: its content is not synced" for path in unsynced if now[path] != left[path]),
        ]
    )


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], PowerCut]:
    """Begin to see what is synced below a folder; all that it holds is durable already."""

    def begin(root: Path) -> PowerCut:
        cut = PowerCut(root)
        plain = {name: getattr(os, name) for name in ("fsync", "fdatasync", "replace")}

        def sync(name: str) -> Callable[[int], None]:
            def call(descriptor: int) -> None:
                plain[name](descriptor)
                cut.synced(descriptor)

            return call

        def replace(source: Path, target: Path) -> None:
            cut.replacing(source)
            plain["replace"](source, target)

        monkeypatch.setattr(os, "fsync", sync("fsync"))
        monkeypatch.setattr(os, "fdatasync", sync("fdatasync"))
        monkeypatch.setattr(os, "replace", replace)
        return cut

    return begin


def new_pair() -> NewPair:
    return NewPair(size_bytes=SIZE_BYTES, link_addresses=loopback_addresses(23_400))


async def nothing(_: Path) -> None:
    """The folder is empty."""


async def pair(root: Path) -> None:
    create_pair(root / "pair", new_pair(), fill=lambda _: [CONTENT])


async def empty_folder(root: Path) -> None:
    (root / "pair").mkdir()


async def pair_in_etcd(root: Path) -> None:
    async def created(_: EtcdAccess, __: Record) -> CreatedRecord:
        return CreatedRecord("x-y", 7)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_init, "create_etcd_record", created)
        await create_pair_in_etcd(root / "pair", new_pair(), EtcdAccess(endpoints=("http://127.0.0.1:1",)))


async def arbiter(root: Path) -> None:
    create_sqlite_arbiter(root / "arbiter.db", sample_record())


async def backing_file(root: Path) -> None:
    create_store_file(str(root / "volume"), METADATA, SIZE_BYTES, [CONTENT])


async def salvage(root: Path) -> None:
    salvage_copy(str(root / "volume"), SALVAGED, size_bytes=SIZE_BYTES)


async def other_metadata(root: Path) -> None:
    await rewrite_metadata(ThreadDisk(), str(root / "volume"), SALVAGED, expected=METADATA)


async def decision(root: Path) -> None:
    await DecisionLog(root / "decisions.jsonl").append(outcome="asked")


async def owed_fence(root: Path) -> None:
    OwedFile(root / "owed-fence.json").write(OwedFence("b", 7, "lineage"))


async def another_owed_fence(root: Path) -> None:
    OwedFile(root / "owed-fence.json").write(OwedFence("b", 9, "other"))


async def fence_owed_no_more(root: Path) -> None:
    OwedFile(root / "owed-fence.json").clear()


CHANGES: tuple[tuple[Change, Change], ...] = (
    (nothing, pair),
    (empty_folder, pair),
    (nothing, pair_in_etcd),
    (nothing, arbiter),
    (nothing, backing_file),
    (backing_file, salvage),
    (backing_file, other_metadata),
    (nothing, decision),
    (decision, decision),
    (nothing, owed_fence),
    (owed_fence, another_owed_fence),
    (owed_fence, fence_owed_no_more),
)
"""What is there, durably, and what is done then."""


@pytest.mark.parametrize(
    ("before", "change"), CHANGES, ids=[f"{change.__name__}-{before.__name__}" for before, change in CHANGES]
)
async def test_what_is_done_survives_a_power_cut(
    tmp_path: Path, watch: Callable[[Path], PowerCut], before: Change, change: Change
) -> None:
    await before(tmp_path)
    cut, was = watch(tmp_path), there(tmp_path)
    await change(tmp_path)
    assert there(tmp_path) != was, "nothing was done"
    assert lost(cut) == []


async def test_a_log_of_decisions_whose_maker_has_failed_is_made_durable_by_the_next_line(
    tmp_path: Path, watch: Callable[[Path], PowerCut]
) -> None:
    cut = watch(tmp_path)
    (tmp_path / "decisions.jsonl").touch()
    await decision(tmp_path)
    assert lost(cut) == []


async def test_a_backing_file_is_no_volume_before_its_content_is_durable(
    tmp_path: Path, watch: Callable[[Path], PowerCut]
) -> None:
    cut = watch(tmp_path)
    await backing_file(tmp_path)
    synced = cut.history(tmp_path / "volume")
    assert len(synced) == 2, "its content, and then its head"
    filled, whole = synced
    assert filled == bytes(BITMAP_OFFSET) + whole[BITMAP_OFFSET:]
    assert CONTENT in filled


def break_activity_log(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:ACTIVITY_OFFSET] + bytes(BITMAP_OFFSET - ACTIVITY_OFFSET) + content[BITMAP_OFFSET:])


async def test_a_salvaged_copy_says_so_behind_all_that_it_makes_believed(
    tmp_path: Path, watch: Callable[[Path], PowerCut]
) -> None:
    await backing_file(tmp_path)
    break_activity_log(tmp_path / "volume")
    cut = watch(tmp_path)
    await salvage(tmp_path)
    synced = cut.history(tmp_path / "volume")
    assert len(synced) == 4, "as it was, what is made believed, and then what it says, in one slot and in the other"
    before, mended, said, whole = synced
    assert mended == before[:HEAD_BYTES] + whole[HEAD_BYTES:]
    assert said == whole[:SLOT_BYTES] + before[SLOT_BYTES:HEAD_BYTES] + whole[HEAD_BYTES:]
    assert before[SLOT_BYTES:HEAD_BYTES] != whole[SLOT_BYTES:HEAD_BYTES]
    assert before[HEAD_BYTES:] != whole[HEAD_BYTES:]
    assert before[:HEAD_BYTES] != whole[:HEAD_BYTES]
