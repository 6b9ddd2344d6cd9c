"""``ctlha node``: puts the real parts together and runs one node until a signal."""

import errno
import logging
import os
import signal
import sys
from collections.abc import AsyncIterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from ctlha_trio._errors import ConfigError, RefusedError, UntrustedPeerError
from ctlha_trio._vocabulary import ctl_ha_component
from ctlha_trio.cli._checks import Prepared, prepare
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.cli._run import EXIT_INTERRUPTED
from ctlha_trio.door import Door
from ctlha_trio.ha import Node, NodeConfig, run_node
from ctlha_trio.seams import Seams, TrioClock

SHARED_FAILURE_DOMAIN: Final = "shared-failure-domain"
"""The note of a pair whose arbiter dies with one of its nodes."""

_LOG: Final = logging.getLogger(__name__)
_LOG_FORMAT: Final = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)-28s %(message)s"
_ERRORS_OF_BIND: Final = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES})
_KEYS_OF_REFUSALS: Final = {
    "same-node": "node",
    "foreign-cluster": "cluster",
    "wrong-peer": "peer.node",
    "resource": "resource",
    "size": "volume.size_bytes",
}


async def run_configured_node(file: Path) -> int:
    """Run the node of a configuration until SIGTERM or SIGINT.

    It leaves with a goodbye. At a second signal the process ends at once, whatever it waits for.
    ``ConfigError``, alone or in a group, for whatever only the user can put right; nothing was written then.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=_LOG_FORMAT, datefmt="%H:%M:%S")
    loaded = load_config(file)
    try:
        await _Running(loaded).run()
    except Exception as error:
        faults = [*_faults(loaded, error)]
        if not faults:
            raise
        raise ExceptionGroup("the configuration cannot be used", faults) from error
    return 0


@attrs.define(eq=False)
class _Running:
    """One node between its start and its end."""

    loaded: LoadedConfig
    _node: Node | None = attrs.field(default=None, init=False)
    _stopping: bool = attrs.field(default=False, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    async def run(self) -> None:
        """Until a signal, or until it is clear that the configuration is wrong."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_on_signal, signals)
                with self._scope:
                    await self._run_prepared(await prepare(self.loaded))
                nursery.cancel_scope.cancel()

    async def _run_prepared(self, prepared: Prepared) -> None:
        door = Door(self.loaded.folder)
        seams = Seams(
            clock=TrioClock(),
            entropy=os.urandom,
            disk=prepared.disk,
            transport=prepared.transport,
            arbiter=prepared.arbiter,
        )

        def components(node: Node) -> Sequence[ctl_ha_component]:
            self._node = node
            return [door.component(node)]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.run)
            await run_node(_node_config(self.loaded), seams, components)
            nursery.cancel_scope.cancel()

    async def _stop_on_signal(self, signals: AsyncIterable[int]) -> None:
        async for number in signals:
            reason = signal.Signals(number).name
            if self._stopping:
                _LOG.warning("stopping at once, without a goodbye: %s", reason)
                # A disk call that hangs can be neither cancelled nor left behind. To the peer this is a crash.
                os._exit(EXIT_INTERRUPTED)
            self._stopping = True
            _LOG.info("stopping: %s", reason)
            if self._node is None:
                self._scope.cancel()
            else:
                self._node.stop(reason)


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
        notes=(SHARED_FAILURE_DOMAIN,) if loaded.arbiter_on_this_machine else (),
    )


def _faults(loaded: LoadedConfig, error: BaseException) -> Iterator[ConfigError]:
    """What in the configuration the errors of a node that never served stand for."""
    match error:
        case BaseExceptionGroup():
            for inner in error.exceptions:
                yield from _faults(loaded, inner)
        case ConfigError():
            yield error
        case UntrustedPeerError():
            yield loaded.fault("peer.pins", str(error))
        case RefusedError() if error.reason in _KEYS_OF_REFUSALS:
            yield loaded.fault(_KEYS_OF_REFUSALS[error.reason], str(error))
        case OSError() if error.errno in _ERRORS_OF_BIND:
            yield loaded.fault("link.listen", f"cannot listen on {loaded.content.link.listen}: {error.strerror}")
