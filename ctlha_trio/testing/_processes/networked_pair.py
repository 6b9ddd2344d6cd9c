"""A pair by its commands whose nodes are each in a network of their own, with its arbiter in an etcd in a third."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs

from ctlha_trio.testing._processes.etcd_server import EtcdMember, started_etcd
from ctlha_trio.testing._processes.hand_pair import NODE_PROGRAM, NODES, SIZE_BYTES, HandPair, made_pair
from ctlha_trio.testing._processes.node_networks import ARBITER_HOST, HOSTS, NodeNetworks, opened_networks


@attrs.frozen
class Site:
    """The networks and the etcd, for one pair after the other."""

    networks: NodeNetworks
    etcd: EtcdMember
    etcd_folder: Path
    """All that the etcd has on disk."""

    @property
    def certificate(self) -> Path:
        """By which the etcd, which signs it itself, is known."""
        return self.etcd_folder / "fixtures" / "client" / "cert.pem"

    def start_etcd_again(self) -> None:
        """After it was killed. Blocks the thread until it is ready. ``FailedError`` if it does not come up."""
        self.etcd.start()
        self.etcd.wait_ready()


@contextmanager
def opened_site(etcd_program: str, folder: Path) -> Iterator[Site]:
    """For the length of a block. ``FailedError`` if something of it cannot be had. Blocks until the etcd is ready."""
    with (
        opened_networks() as networks,
        started_etcd(
            etcd_program,
            folder,
            scheme="https",
            host=ARBITER_HOST,
            launcher=networks.launcher("arbiter"),
            arguments=["--auto-tls"],
        ) as (etcd,),
    ):
        yield Site(networks, etcd, folder / "m0")


@asynccontextmanager
async def networked_pair(
    site: Site, folder: Path, *, size_bytes: int = SIZE_BYTES, program: Sequence[str] = NODE_PROGRAM
) -> AsyncIterator[HandPair]:
    """A pair whose nodes run and are in sync. Afterwards the networks are whole again."""
    launchers = {node: site.networks.launcher(node) for node in NODES}
    arbiter = ("--arbiter", site.etcd.endpoint, "--arbiter-ca", str(site.certificate))
    try:
        async with made_pair(folder, *arbiter, size_bytes=size_bytes, hosts=HOSTS, launchers=launchers) as pair:
            await pair.start_protected(program)
            yield pair
    finally:
        await site.networks.heal()
