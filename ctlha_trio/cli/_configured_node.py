"""A configured node inside a program: the real parts put together, and the door through which commands reach it."""

import errno
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import trio

from ctlha_trio._errors import ConfigError, RefusedError, UntrustedPeerError
from ctlha_trio._vocabulary import ctl_ha_component
from ctlha_trio.cli._checks import load_checked, prepare
from ctlha_trio.cli._config import LoadedConfig
from ctlha_trio.cli._remedies import SEE_STATUS, remedy_for
from ctlha_trio.cli._shared_settings import shared_settings
from ctlha_trio.door import BootDoor, Door, Fencing
from ctlha_trio.ha import (
    HALT,
    KEYS_OF_REFUSALS,
    Node,
    NodeConfig,
    Note,
    Notice,
    Reason,
    booting_status,
    no_components,
    run_node,
)
from ctlha_trio.seams import CommandFencer, Seams, TrioClock

_LOG: Final = logging.getLogger(__name__)
_ERRORS_OF_BIND: Final = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES})

Components = Callable[[Node], Sequence[ctl_ha_component]]


@asynccontextmanager
async def open_configured_node(file: Path | str, components: Components = no_components) -> AsyncIterator[Node]:
    """Run the node of a ``node.toml`` for the length of a block, as ``ctlha node`` does, with components of your own.

    Leaving the block says goodbye and waits for it; a checkpoint each way. ``ctlha status`` and the other commands
    reach it. ``ConfigError``, alone or in a group, for whatever only the user can put right: nothing was written then.
    Other errors are those of ``run_node``. Signals are the program's. Cancelled: ends without a goodbye, like a crash.
    """
    loaded = load_checked(Path(file))
    with faults_of(loaded):
        async with trio.open_nursery() as nursery:
            node: Node = await nursery.start(run_loaded_node, loaded, components)
            try:
                yield node
            finally:
                node.stop("closed")


async def run_loaded_node(
    loaded: LoadedConfig, components: Components, *, task_status: "trio.TaskStatus[Node]" = trio.TASK_STATUS_IGNORED
) -> None:
    """``run_node`` with the real parts that a configuration names, and with its door."""
    config = _node_config(loaded)
    boot = BootDoor(loaded.folder, TrioClock(), booting_status(config.node, config.notes, Reason.DISK_HANGS))
    fencing = _fencing(loaded)
    door = Door(loaded.folder, TrioClock(), fencing)

    def tell(notice: Notice) -> None:
        if notice.what == HALT:
            helps = remedy_for(notice.why, **loaded.names) or SEE_STATUS.format(**loaded.names)
            _LOG.warning("serves nothing until a person has looked: %s: %s", notice.why, helps)

    def with_door(node: Node) -> Sequence[ctl_ha_component]:
        boot.close()
        node.follow_notices(tell)
        return [door.component(node), *components(node)]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(boot.run)
        prepared = await prepare(loaded)
        seams = Seams(
            clock=TrioClock(),
            entropy=os.urandom,
            disk=prepared.disk,
            transport=prepared.transport,
            arbiter=prepared.arbiter,
            fencer=None if fencing is None else fencing.fencer,
        )
        nursery.start_soon(door.run)
        await run_node(config, seams, with_door, task_status=task_status)
        nursery.cancel_scope.cancel(reason="the node has left")


def _fencing(loaded: LoadedConfig) -> Fencing | None:
    fence = loaded.content.fence
    if fence is None:
        return None
    return Fencing(CommandFencer(fence.command, timeout_s=float(fence.timeout_s)), TrioClock())


@contextmanager
def faults_of(loaded: LoadedConfig) -> Iterator[None]:
    """Errors of a node that never served, as faults of its configuration where they are that."""
    try:
        yield
    except Exception as error:
        faults = [*_faults(loaded, error)]
        if not faults:
            raise
        raise ExceptionGroup("the configuration cannot be used", faults) from error


def fault_of_link(loaded: LoadedConfig, error: BaseException) -> ConfigError | None:
    """The key of the link or of the peer that an error stands for, if it does."""
    match error:
        case UntrustedPeerError():
            peer = loaded.content.peer
            helps = f"if it is not node {peer.node} that is at {peer.address}, correct peer.address"
            return loaded.fault("peer.pins", f"{error}; {helps}")
        case OSError() if error.errno in _ERRORS_OF_BIND:
            return loaded.fault("link.listen", f"cannot listen on {loaded.content.link.listen}: {error.strerror}")
    return None


def _node_config(loaded: LoadedConfig) -> NodeConfig:
    content = loaded.content
    return NodeConfig(
        cluster=content.cluster,
        node=content.node,
        peer=content.peer.node,
        resource=content.resource,
        listen=content.link.listen,
        peer_address=content.peer.address,
        volume_path=os.fspath(loaded.volume_path),
        size_bytes=content.volume.size_bytes,
        channels=loaded.channels,
        give_back=loaded.give_back,
        settings=shared_settings(content),
        notes=(Note.SHARED_FAILURE_DOMAIN.value,) if loaded.arbiter_on_this_machine else (),
    )


def _faults(loaded: LoadedConfig, error: BaseException) -> Iterator[ConfigError]:
    """What in the configuration the errors of a node that never served stand for."""
    match error:
        case BaseExceptionGroup():
            for inner in error.exceptions:
                yield from _faults(loaded, inner)
        case ConfigError():
            yield error
        case RefusedError() if error.reason in KEYS_OF_REFUSALS:
            yield loaded.fault(KEYS_OF_REFUSALS[error.reason], str(error))
        case _:
            fault = fault_of_link(loaded, error)
            if fault is not None:
                yield fault
