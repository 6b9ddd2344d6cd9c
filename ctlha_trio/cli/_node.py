"""``ctlha node``: puts the real parts together and runs one node until a signal."""

import logging
import os
import signal
import sys
from collections.abc import AsyncIterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import trio

from ctlha_trio._errors import ConfigError, RefusedError, UntrustedPeerError
from ctlha_trio._vocabulary import ctl_ha_component
from ctlha_trio.cli._checks import Prepared, prepare
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.door import Door
from ctlha_trio.ha import Node, NodeConfig, run_node
from ctlha_trio.seams import Seams, TrioClock

SHARED_FAILURE_DOMAIN: Final = "shared-failure-domain"
"""The note of a pair whose arbiter dies with one of its nodes."""

_LOG: Final = logging.getLogger(__name__)
_LOG_FORMAT: Final = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)-28s %(message)s"
_KEYS_OF_REFUSALS: Final = {
    "same-node": "node",
    "foreign-cluster": "cluster",
    "wrong-peer": "peer.node",
    "resource": "resource",
}


async def run_configured_node(file: Path) -> int:
    """Run the node of a configuration until SIGTERM or SIGINT; it leaves with a goodbye, at a second signal without.

    ``ConfigError``, alone or in a group, for whatever only the user can put right; nothing was written then.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=_LOG_FORMAT, datefmt="%H:%M:%S")
    loaded = load_config(file)
    prepared = await prepare(loaded)
    try:
        await _run_until_signal(loaded, prepared)
    except Exception as error:
        faults = [*_faults(loaded, error)]
        if not faults:
            raise
        raise ExceptionGroup("the configuration cannot be used", faults) from error
    return 0


async def _run_until_signal(loaded: LoadedConfig, prepared: Prepared) -> None:
    door = Door(loaded.folder)
    nodes: list[Node] = []

    def components(node: Node) -> Sequence[ctl_ha_component]:
        nodes.append(node)
        return [door.component(node)]

    async def stop_on_signal(signals: AsyncIterable[int]) -> None:
        async for number in signals:
            reason = signal.Signals(number).name
            _LOG.info("stopping: %s", reason)
            if not nodes or nodes[0] in stopped:
                nursery.cancel_scope.cancel()
            else:
                stopped.append(nodes[0])
                nodes[0].stop(reason)

    stopped: list[Node] = []
    seams = Seams(
        clock=TrioClock(),
        entropy=os.urandom,
        disk=prepared.disk,
        transport=prepared.transport,
        arbiter=prepared.arbiter,
    )
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_on_signal, signals)
            nursery.start_soon(door.run)
            await run_node(_node_config(loaded), seams, components)
            nursery.cancel_scope.cancel()


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
        notes=(SHARED_FAILURE_DOMAIN,),
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
        case OSError():
            yield loaded.fault("link.listen", f"cannot listen on {loaded.content.link.listen}: {error.strerror}")
