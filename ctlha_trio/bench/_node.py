"""A node that is there to be measured: the real link, channels and transfers, and nothing that could take part."""

import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs

from ctlha_trio._errors import ArbiterSilentError
from ctlha_trio._vocabulary import ctl_ha_channel
from ctlha_trio.bench._greeting import GreetingTransport
from ctlha_trio.ha import ChannelConfig, Node, NodeConfig, open_node
from ctlha_trio.pair import Copy, Metadata, Record
from ctlha_trio.seams import (
    Pin,
    Seams,
    SwapAnswer,
    SwapOutcome,
    TcpTransport,
    ThreadDisk,
    TlsTransport,
    Transport,
    TrioClock,
    Versioned,
    load_key,
)
from ctlha_trio.store import create_store_file

MESSAGE_BYTES: Final = 256
SLOTS: Final = 2048
"""512 KiB of messages each way: what a socket's buffers hold too, so that neither side waits for the other's turn."""

_VOLUME_BYTES: Final = 1024 * 1024
_CLUSTER_SUFFIX: Final = ".bench"
"""So that nothing of it could be taken for the pair's own, not even by a benchmark of another version."""
_NO_ARBITER: Final = "bench"


@attrs.frozen(kw_only=True)
class Side:
    """One of the two sides of a benchmark: who it is, and where."""

    cluster: str
    node: str
    peer: str
    resource: str
    listen: str
    """Address to bind."""
    peer_address: str
    """Address to dial."""
    key: Path | None = None
    """The node's private key; None for plain TCP, which stays on this machine."""
    pins: Sequence[Pin] = ()
    """The other node's keys."""

    @property
    def transport(self) -> Transport:
        """What carries the link. ``ConfigError`` for a key that cannot be used."""
        carrier = TcpTransport() if self.key is None else TlsTransport(key=load_key(self.key), pins=self.pins)
        return GreetingTransport(carrier)


@attrs.frozen
class _SilentArbiter:
    """Nobody decides anything: a node that it belongs to takes no role, and its volume serves nobody."""

    identity: str = _NO_ARBITER

    async def read(self) -> Versioned:
        raise ArbiterSilentError("a benchmark has no arbiter", sent=False)

    async def cas(self, expected_revision: int, record: Record) -> SwapAnswer:
        del expected_revision, record
        return SwapAnswer(SwapOutcome.REFUSED)

    async def probe(self) -> bool:
        return False


@asynccontextmanager
async def open_measured_node(side: Side) -> AsyncIterator[Node]:
    """A node of a pair of its own, with an empty volume in a temporary file, which is gone at the end.

    Its arbiter never answers, so that all it ever does is keep the link: no record, role or copy of the pair that has
    the same keys is looked at or changed. Errors as of ``open_node``.
    """
    with tempfile.TemporaryDirectory(prefix="ctlha-bench-") as folder:
        volume = os.fspath(Path(folder) / "volume.img")
        cluster = side.cluster + _CLUSTER_SUFFIX
        create_store_file(volume, _metadata(side, cluster), _VOLUME_BYTES)
        channel = ChannelConfig(message_size_bytes=MESSAGE_BYTES, slots=SLOTS)
        config = NodeConfig(
            cluster=cluster,
            node=side.node,
            peer=side.peer,
            resource=side.resource,
            listen=side.listen,
            peer_address=side.peer_address,
            volume_path=volume,
            size_bytes=_VOLUME_BYTES,
            channels={ctl_ha_channel.CTL_HA_CHAN_CTL: channel, ctl_ha_channel.CTL_HA_CHAN_ZFS: channel},
        )
        seams = Seams(
            clock=TrioClock(),
            entropy=os.urandom,
            disk=ThreadDisk(),
            transport=side.transport,
            arbiter=_SilentArbiter(),
        )
        async with open_node(config, seams) as node:
            yield node


def _metadata(side: Side, cluster: str) -> Metadata:
    members = (min(side.node, side.peer), max(side.node, side.peer))
    return Metadata(
        cluster=cluster,
        node=side.node,
        resource=side.resource,
        lineage=_NO_ARBITER,
        arbiter=_NO_ARBITER,
        epoch=1,
        revision=1,
        primary=members[0],
        members=members,
        copy=Copy.MEMBER,
    )
