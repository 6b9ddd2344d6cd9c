"""Makes a new pair: two folders with keys, pins, backing files and configurations, and the record of an arbiter."""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs
import trio

from ctlha_trio._errors import ArbiterError, ConfigError
from ctlha_trio.arbiter import (
    CreatedRecord,
    EtcdAccess,
    create_etcd_record,
    create_sqlite_arbiter,
    remove_etcd_record,
)
from ctlha_trio.cli._config import CONFIG_FORMAT, ETCD_FILES
from ctlha_trio.cli._new_files import write_new
from ctlha_trio.cli._node_folder import path_excess
from ctlha_trio.ha import FIRST_EPOCH
from ctlha_trio.pair import Copy, Metadata, Record
from ctlha_trio.seams import describe_key, load_key, make_key, sync_folder
from ctlha_trio.store import create_store_file

NODES: Final = ("a", "b")
CONFIG_FILE: Final = "node.toml"
ARBITER_FILE: Final = "arbiter.db"
PORTS_PER_NODE: Final = 2
"""The link's, and behind it the one kept for a front end."""

_KEY_FILE: Final = "node.key"
_VOLUME_FILE: Final = "volume.img"
_RESOURCE: Final = "volume"

Fill = Callable[[str], Iterable[bytes]]
"""The first content of a node's copy; what it leaves out is zero."""


@attrs.frozen(kw_only=True)
class NewPair:
    """What a new pair is made from."""

    size_bytes: int
    link_addresses: tuple[str, str]
    """Of node a and node b."""
    cluster: str = attrs.field(factory=lambda: f"ctlha-{secrets.token_hex(4)}")


def loopback_addresses(base_port: int) -> tuple[str, str]:
    """The links of two nodes on one machine."""
    first, second = (base_port + PORTS_PER_NODE * index for index in range(len(NODES)))
    return f"127.0.0.1:{first}", f"127.0.0.1:{second}"


def create_pair(folder: Path, new: NewPair, *, fill: Fill | None = None) -> None:
    """Make the pair in ``folder``, which must be empty or not exist, with a SQLite arbiter beside the nodes.

    ``fill`` gives contents other than zeros. All of it is durable when this returns; after any error everything that
    was made is gone again. ``ConfigError`` for a folder that cannot be used, ``StoreError`` or ``ArbiterError`` if a
    file cannot be written.
    """
    with _new_folder(folder):
        record = _first_record(new)
        identity = create_sqlite_arbiter(folder / ARBITER_FILE, record)
        _create_nodes(folder, new, record, CreatedRecord(identity, 1), table=f'sqlite = "../{ARBITER_FILE}"', fill=fill)


async def create_pair_in_etcd(folder: Path, new: NewPair, access: EtcdAccess) -> None:
    """Make the pair in ``folder``, and its record in an etcd cluster. Otherwise like ``create_pair``. A checkpoint.

    ``ConfigError``, alone or in a group, also if the record cannot be made. If etcd does not answer any more when what
    was made is taken back, the record stays there; its name is random and never used again.
    """
    with _new_folder(folder):
        table = _etcd_table(access)
        record = _first_record(new)
        try:
            created = await create_etcd_record(access, record)
        except ArbiterError as error:
            raise ConfigError("--arbiter", "", str(error)) from error
        try:
            _create_nodes(folder, new, record, created, table=table)
        except BaseException:
            with trio.CancelScope(shield=True), suppress(ArbiterError):
                await remove_etcd_record(access, record, created)
            raise


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """An empty folder, which is as it was before if the block fails."""
    try:
        folder.absolute()
    except FileNotFoundError as error:
        raise ConfigError(
            folder, "", "the working directory is gone: give a whole path, or go to another one"
        ) from error
    for node in NODES:
        if excess := path_excess(folder / node):
            raise ConfigError(folder / node, "", f"{excess}; make the pair in a folder with a shorter path")
    existed = _require_empty(folder)
    try:
        if not existed:
            folder.mkdir(mode=0o700)
            sync_folder(folder.parent)
        yield
    except BaseException as error:
        _remove(folder, existed=existed)
        if isinstance(error, OSError):
            raise ConfigError(folder, "", f"cannot be used: {error.strerror}") from error
        raise


def _require_empty(folder: Path) -> bool:
    """Whether the folder exists."""
    try:
        if os.listdir(folder):
            raise ConfigError(folder, "", "exists and is not empty; nothing is ever overwritten")
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(folder, "", f"cannot be used: {error.strerror}") from error
    return True


def _remove(folder: Path, *, existed: bool) -> None:
    for node in NODES:
        shutil.rmtree(folder / node, ignore_errors=True)
    for name in (ARBITER_FILE, f"{ARBITER_FILE}-journal"):
        (folder / name).unlink(missing_ok=True)
    if not existed and folder.is_dir():
        folder.rmdir()


def _first_record(new: NewPair) -> Record:
    return Record(
        cluster=new.cluster,
        resource=_RESOURCE,
        epoch=FIRST_EPOCH,
        lineage=secrets.token_hex(16),
        primary=NODES[0],
        members=NODES,
        proposal=secrets.token_hex(16),
    )


def _create_nodes(
    folder: Path, new: NewPair, record: Record, created: CreatedRecord, *, table: str, fill: Fill | None = None
) -> None:
    """``table`` is the text of ``[arbiter]``."""
    pins = {node: _create_node_folder(folder / node) for node in NODES}
    for index, node in enumerate(NODES):
        peer = NODES[1 - index]
        metadata = Metadata(
            cluster=record.cluster,
            node=node,
            resource=record.resource,
            lineage=record.lineage,
            arbiter=created.identity,
            epoch=record.epoch,
            revision=created.revision,
            primary=record.primary,
            members=record.members,
            copy=Copy.MEMBER,
        )
        volume = os.fspath(folder / node / _VOLUME_FILE)
        create_store_file(volume, metadata, new.size_bytes, fill(node) if fill else None)
        text = _config_text(new, node=node, peer=peer, pin=pins[peer], arbiter=table)
        write_new(folder / node / CONFIG_FILE, text.encode(), mode=0o644)
        sync_folder(folder / node)
    sync_folder(folder)


def _create_node_folder(folder: Path) -> str:
    """The folder and its key; returns the pin for the other node."""
    folder.mkdir(mode=0o700)
    write_new(folder / _KEY_FILE, make_key(), mode=0o600)
    return describe_key(load_key(folder / _KEY_FILE))


def _config_text(new: NewPair, *, node: str, peer: str, pin: str, arbiter: str) -> str:
    addresses = dict(zip(NODES, new.link_addresses, strict=True))
    return f"""\
# Node {node} of a pair. Paths are relative to this file.
format = {CONFIG_FORMAT}
cluster = "{new.cluster}"
node = "{node}"
resource = "{_RESOURCE}"

[link]
listen = "{addresses[node]}"
key = "{_KEY_FILE}"

[peer]
node = "{peer}"
address = "{addresses[peer]}"
pins = ["{pin}"]

[volume]
file = "{_VOLUME_FILE}"
size_bytes = {new.size_bytes}

[arbiter]
{arbiter}
"""


def _etcd_table(access: EtcdAccess) -> str:
    lines = [f"endpoints = [{', '.join(map(_quoted, access.endpoints))}]"]
    for name in ETCD_FILES:
        path = getattr(access, name)
        if path is not None:
            lines.append(f"{name} = {_quoted(os.fspath(path.absolute()))}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    if not text.isprintable():
        raise ConfigError("--arbiter", "", f"{text!r} cannot be written to a configuration")
    return json.dumps(text, ensure_ascii=False)
