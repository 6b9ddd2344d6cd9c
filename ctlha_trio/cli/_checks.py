"""Whether the world around a configuration is as it says. Looks, and changes nothing."""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

import attrs

from ctlha_trio._errors import (
    ArbiterError,
    ArbiterSilentError,
    ConfigError,
    CtlHaError,
    ForeignArbiterError,
    NoThreadError,
    StoreError,
)
from ctlha_trio.arbiter import EtcdAccess, EtcdArbiter, SqliteArbiter
from ctlha_trio.cli._config import EtcdTable, LoadedConfig, SqliteTable, load_config, parts_of
from ctlha_trio.cli._contradictions import Part
from ctlha_trio.cli._lost_files import ADOPT, another_arbiter, needing_arbiter_file, needing_whole_volume
from ctlha_trio.cli._node_folder import free_sockets, problems_of_folder
from ctlha_trio.cli._run import leaves_of
from ctlha_trio.cli._stopped_node import find_arbiter, gives_up
from ctlha_trio.door import is_answered
from ctlha_trio.pair import Metadata
from ctlha_trio.seams import (
    Arbiter,
    Disk,
    Pin,
    ThreadDisk,
    TlsTransport,
    TrioClock,
    describe_key,
    is_there,
    load_key,
    read_key_file,
    run_in_thread,
)
from ctlha_trio.store import BlockStore, read_head

_ETCD_FILES: Final = (("ca", False), ("certificate", False), ("key", True), ("credentials", True))
"""Keys of the arbiter's table, and whether nobody else may read the file."""
_ANOTHER_CLUSTER: Final = (
    f"correct the addresses, or restore the cluster that has the pair's own data; if that is lost, {ADOPT}"
)


@attrs.frozen
class Prepared:
    """What the checks had to open anyway, for the node that runs next."""

    transport: TlsTransport
    arbiter: Arbiter
    disk: Disk


@attrs.define(eq=False)
class Faults:
    """Collects what is wrong, in the words of the configuration."""

    loaded: LoadedConfig
    found: list[ConfigError] = attrs.field(factory=list)

    def add(self, key: str, problem: str) -> None:
        """Note one fault."""
        self.found.append(self.loaded.fault(key, problem))

    def at(self, key: str) -> "Noting":
        """Within it an error of the part that ``key`` belongs to is noted, and ends only the block.

        A lack of threads is none: no configuration mends it, and a later start may.
        """
        return Noting(self, key)


@attrs.frozen
class Noting:
    """Turns errors into faults of one key."""

    faults: Faults
    key: str

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        """Whether the error was noted."""
        if isinstance(error, ConfigError):
            self.faults.add(self.key, f"{error.file}: {error.problem}")
            return True
        if isinstance(error, CtlHaError | OSError) and not isinstance(error, NoThreadError):
            self.faults.add(self.key, str(error))
            return True
        return False


def load_checked(file: Path) -> LoadedConfig:
    """As ``load_config``, for a node that is to start: with faults of the text those of the files that it names."""
    try:
        return load_config(file)
    except ExceptionGroup as found:
        try:
            part, etcd = parts_of(file)
        except ExceptionGroup:
            raise found from None
        raise ExceptionGroup(found.message, [*found.exceptions, *_faults_of_files(file, part, etcd)]) from found


def _faults_of_files(file: Path, part: Part, etcd: EtcdAccess | None) -> Iterator[ConfigError]:
    folder = file.absolute().parent
    if (key := part("link.key")) is not None:
        yield from _faults_of_keys(file, folder / key, part)
    for name, private in _ETCD_FILES:
        path = None if etcd is None else getattr(etcd, name)
        if path is not None:
            yield from _fault_of(file, f"arbiter.{name}", partial(read_key_file, path, name, private=private))
    for key in ("volume.file", "arbiter.sqlite"):
        named = part(key)
        if named is not None:
            yield from _fault_of_state(file, key, folder / named)
    for problem in problems_of_folder(folder):
        yield ConfigError(file, "", problem)


def _faults_of_keys(file: Path, path: Path, part: Part) -> Iterator[ConfigError]:
    try:
        own = describe_key(load_key(path))
    except ConfigError as error:
        yield ConfigError(file, "link.key", f"{error.file}: {error.problem}")
        return
    if problem := _own_among(part("peer.pins") or (), own, path):
        yield ConfigError(file, "peer.pins", problem)


def _own_among(pins: Iterable[Pin], own: str, path: Path) -> str:
    """What is wrong if this node has the key that it is to know its peer by; else nothing.

    Such a node meets nobody, for the peer has another key, or pins another one.
    """
    if own not in map(str, pins):
        return ""
    return f"has {own}, which is the key of this node itself, in {path}: pin that of the other node, which has its own"


def _fault_of_state(file: Path, key: str, path: Path) -> Iterator[ConfigError]:
    try:
        if not is_there(path):
            yield ConfigError(file, key, f"{path}: there is no such file")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        yield ConfigError(file, key, f"{path}: {reason}")


def _fault_of(file: Path, key: str, read: Callable[[], object]) -> Iterator[ConfigError]:
    try:
        read()
    except ConfigError as error:
        yield ConfigError(file, key, f"{error.file}: {error.problem}")


async def prepare(loaded: LoadedConfig) -> Prepared:
    """Check everything that a node needs before anything is written. Raises a group of ``ConfigError``."""
    faults = Faults(loaded)
    await _check_folder(faults)
    disk = ThreadDisk()
    transport = await _check_link(faults)
    metadata = await _check_volume(faults, disk)
    arbiter = await _check_arbiter(faults, metadata)
    await _check_fence(faults)
    if faults.found or transport is None or arbiter is None:
        raise ExceptionGroup("the node cannot start", faults.found)
    return Prepared(transport, arbiter, disk)


async def _check_folder(faults: Faults) -> None:
    folder = faults.loaded.folder
    for problem in await run_in_thread(lambda: [*problems_of_folder(folder)]):
        faults.add("", problem)
    for path in free_sockets(folder):
        with faults.at(""):
            if await run_in_thread(partial(is_answered, path)):
                faults.add(
                    "node",
                    f"{faults.loaded.content.node} is already running: its process listens at {path}, "
                    "and where it answers nothing it is stopped or hangs: let it go on, or kill it",
                )


async def _check_link(faults: Faults) -> TlsTransport | None:
    loaded = faults.loaded
    with faults.at("link.key"):
        key = load_key(loaded.key_path)
        pins = loaded.content.peer.pins
        if problem := _own_among(pins, describe_key(key), loaded.key_path):
            faults.add("peer.pins", problem)
        transport = TlsTransport(key=key, pins=pins)
        try:
            (await transport.listen(loaded.content.link.listen)).close()
        except OSError as error:
            faults.add("link.listen", f"cannot listen on {loaded.content.link.listen}: {error.strerror or error}")
        return transport
    return None


async def _check_volume(faults: Faults, disk: Disk) -> Metadata | None:
    content = faults.loaded.content
    with faults.at("volume.file"):
        try:
            faults.loaded.require_volume_file()
        except ConfigError as missing:
            faults.found.append(missing)
            return None
        path = os.fspath(faults.loaded.volume_path)
        try:
            with needing_whole_volume(faults.loaded):
                store = await BlockStore.open(disk, path, size_bytes=content.volume.size_bytes, clock=TrioClock())
        except (StoreError, ConfigError) as error:
            helps = _what_helps(faults.loaded, path)
            if not helps:
                raise
            problem = f"{error.file}: {error.problem}" if isinstance(error, ConfigError) else str(error)
            raise StoreError(f"{problem}; {helps}") from error
        metadata = store.metadata
        store.close()
        owner = {"cluster": metadata.cluster, "node": metadata.node, "resource": metadata.resource}
        for key, name in owner.items():
            if getattr(content, key) != name:
                faults.add(key, f"is {getattr(content, key)!r}, but the volume {path} belongs to {name!r}")
        return metadata
    return None


def _what_helps(loaded: LoadedConfig, path: str) -> str:
    """If it is the beginning of the file that cannot be believed, for which no node starts; else nothing."""
    node, peer = loaded.content.node, loaded.content.peer.node
    try:
        problems = read_head(path, size_bytes=loaded.content.volume.size_bytes).problems
    except (StoreError, ConfigError):
        return ""
    if not problems:
        return ""
    return (
        f"if node {peer} has a copy that counts, move the file away, then: ctlha replace {loaded.quoted} {node}; "
        f"if no other copy counts: ctlha force-primary {loaded.quoted} --abandon {peer} --salvage"
    )


async def _check_fence(faults: Faults) -> None:
    fence = faults.loaded.content.fence
    if fence is not None and not await run_in_thread(partial(os.access, fence.command[0], os.X_OK)):
        faults.add("fence.command", f"{fence.command[0]} is no program that this user can run")


async def _check_arbiter(faults: Faults, metadata: Metadata | None) -> Arbiter | None:
    table = faults.loaded.content.arbiter
    if isinstance(table, SqliteTable):
        return await _check_sqlite(faults, table, metadata)
    return await _check_etcd(faults, table, metadata)


async def _check_sqlite(faults: Faults, table: SqliteTable, metadata: Metadata | None) -> Arbiter | None:
    content, path = faults.loaded.content, faults.loaded.folder / table.sqlite
    with faults.at("arbiter.sqlite"):
        with needing_arbiter_file(faults.loaded, path):
            arbiter = await SqliteArbiter.open(path, cluster=content.cluster, resource=content.resource)
        if metadata is not None and arbiter.identity != metadata.arbiter:
            helps = await _if_given_up(faults.loaded, metadata, arbiter) or another_arbiter(foreign=False)
            faults.add("arbiter.sqlite", f"{path} is not the arbiter that this node belongs to; {helps}")
        return arbiter
    return None


async def _if_given_up(loaded: LoadedConfig, metadata: Metadata, found: Arbiter | None) -> str:
    """What helps a node whose copy the other one has abandoned as it was bound to the arbiter that lies there.

    Else nothing. ``ArbiterError`` if the record cannot be had.
    """
    if found is None or not gives_up((await found.read()).record, metadata):
        return ""
    node, peer = metadata.node, loaded.content.peer.node
    return (
        f"node {peer} was bound to it without node {node}, whose copy was abandoned by that: ctlha resolve "
        f"{loaded.quoted} --discard {node}; if that was a mistake, correct the [arbiter]"
    )


async def _check_etcd(faults: Faults, table: EtcdTable, metadata: Metadata | None) -> Arbiter | None:
    """A silent etcd is no fault of the configuration: the node starts, and asks until there is an answer."""
    content = faults.loaded.content
    try:
        arbiter = EtcdArbiter.open(
            faults.loaded.etcd_access(table),
            cluster=content.cluster,
            resource=content.resource,
            identity="" if metadata is None else metadata.arbiter,
        )
    except* ConfigError as found:
        for error in leaves_of(found):
            assert isinstance(error, ConfigError)
            faults.add(error.key, f"{error.file}: {error.problem}")
        arbiter = None
    if arbiter is None or metadata is None:
        return arbiter
    with faults.at("arbiter.endpoints"):
        try:
            await arbiter.read()
        except ArbiterSilentError:
            pass  # no fault
        except ForeignArbiterError as error:
            helps = await _if_given_up(faults.loaded, metadata, await find_arbiter(faults.loaded)) or _ANOTHER_CLUSTER
            raise ArbiterError(f"{error}; {helps}") from error
        return arbiter
    return None
