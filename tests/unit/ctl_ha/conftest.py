"""Pairs to run the same tests on: in memory under a virtual clock, and over TLS on loopback under the real one."""

import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from random import Random

import attrs
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ctlha_trio.ha import NodeConfig
from ctlha_trio.seams import Listener, Stream, TlsTransport, Transport, describe_key, parse_pin
from ctlha_trio.testing import Components, MemoryPair, open_pair
from ctlha_trio.testing._pairs.memory_pair import no_components
from ctlha_trio.testing._pairs.open_pair import opened
from ctlha_trio.testing._pairs.pair_faults import NAMES

LIMIT_S = 30


class RealClock(trio.abc.Clock):
    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return time.monotonic()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - self.current_time()


@attrs.define(eq=False)
class CuttableListener:
    inner: Listener
    streams: list[Stream]

    @property
    def address(self) -> str:
        return self.inner.address

    async def serve(self, handler: Callable[[Stream], Awaitable[None]]) -> None:
        async def remember(stream: Stream) -> None:
            self.streams.append(stream)
            await handler(stream)

        await self.inner.serve(remember)

    def close(self) -> None:
        self.inner.close()


@attrs.define(eq=False)
class CuttableTransport:
    inner: Transport
    streams: list[Stream] = attrs.field(factory=list)

    async def dial(self, address: str) -> Stream:
        stream = await self.inner.dial(address)
        self.streams.append(stream)
        return stream

    async def listen(self, address: str) -> CuttableListener:
        return CuttableListener(await self.inner.listen(address), self.streams)

    def cut(self) -> None:
        while self.streams:
            self.streams.pop().close()


def free_addresses() -> dict[str, str]:
    with closing(socket.socket()) as one, closing(socket.socket()) as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return {name: f"127.0.0.1:{each.getsockname()[1]}" for name, each in zip(NAMES, (one, other), strict=True)}


def tls_transports() -> dict[str, CuttableTransport]:
    keys = {name: Ed25519PrivateKey.generate() for name in NAMES}
    pins = {name: parse_pin(describe_key(key)) for name, key in keys.items()}
    return {
        name: CuttableTransport(TlsTransport(key=keys[name], pins=[pins[peer]]))
        for name, peer in zip(NAMES, reversed(NAMES), strict=True)
    }


@attrs.define(eq=False)
class TlsPair(MemoryPair):
    """The same pair, whose nodes meet over TLS on loopback."""

    addresses: dict[str, str] = attrs.field(factory=free_addresses, init=False)
    transports: dict[str, CuttableTransport] = attrs.field(factory=tls_transports, init=False)

    def config(self, name: str) -> NodeConfig:
        config = MemoryPair.config(self, name)
        return attrs.evolve(config, listen=self.addresses[name], peer_address=self.addresses[config.peer])

    def transport(self, name: str) -> Transport:
        return self.transports[name]

    def break_link(self) -> None:
        self.transports[NAMES[0]].cut()

    def _isolate(self, name: str) -> None:
        self.transports[name].cut()
        MemoryPair._isolate(self, name)


@asynccontextmanager
async def open_tls_pair(*, components: Components = no_components) -> AsyncIterator[MemoryPair]:
    with trio.fail_after(LIMIT_S):
        async with opened(lambda nursery: TlsPair(1 << 20, Random(0), components, nursery)) as pair:
            yield pair


@asynccontextmanager
async def open_memory_pair() -> AsyncIterator[MemoryPair]:
    with trio.fail_after(LIMIT_S):
        async with open_pair() as pair:
            yield pair


@pytest.fixture(params=["memory", "tls"])
def network(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock(network: str) -> trio.abc.Clock:
    return trio.testing.MockClock(autojump_threshold=0) if network == "memory" else RealClock()


@pytest.fixture
def open_any(network: str) -> Callable[..., AbstractAsyncContextManager[MemoryPair]]:
    return open_memory_pair if network == "memory" else open_tls_pair


@pytest.fixture
def open_tls() -> Callable[..., AbstractAsyncContextManager[MemoryPair]]:
    return open_tls_pair
