"""Pairs for the length of a block: whole ones, and two connected nodes for what only uses the header's functions."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Final, Protocol, TypeVar

import attrs
import trio

from ctlha_trio._errors import InvalidError
from ctlha_trio._vocabulary import ctl_ha_channel
from ctlha_trio.ha import ChannelConfig, Node, check_channels
from ctlha_trio.testing._pairs.deterministic_trio import check_seed
from ctlha_trio.testing._pairs.memory_pair import Components, MemoryPair, no_components
from ctlha_trio.testing._pairs.opening import opens
from ctlha_trio.testing._pairs.pair_faults import NAMES, ByNode, check_delay, check_name
from ctlha_trio.testing._pairs.pair_view import raise_failures
from ctlha_trio.testing._pairs.plain_nursery import open_plain_nursery

MIRROR_VOLUME_BYTES: Final = 4096
"""The smallest volume that ``ctlha init`` would make: the pair must have one, whoever uses it."""


AnyPair = TypeVar("AnyPair", bound=MemoryPair)


@opens("ctlha_pair", "pair")
async def open_pair(
    *,
    size_bytes: int = 1 << 20,
    seed: int = 0,
    components: Components = no_components,
    channels: Mapping[ctl_ha_channel, ChannelConfig] | None = None,
    start: bool = True,
    disk_call_s: Mapping[str, float] | None = None,
) -> AsyncIterator[MemoryPair]:
    """A pair for the length of a block: started and ``protected``, unless ``start`` is False. A checkpoint each way.

    The end of the block ends nodes that still run, as a cancellation does: without a goodbye. What the block raised is
    raised as it is, with a note for each node that had failed by itself. If it raised nothing, ``FailedError`` for such
    nodes. In both, those do not count that somebody had looked at, in ``MemoryPair.failures``.

    Use it under Trio's ``MockClock`` with an autojump threshold of 0: then it takes no real time to wait for time-outs.
    ``InvalidError`` for a volume without a byte, and for a name or a time in ``disk_call_s`` that is none.
    ``TypeError`` for ``channels`` and ``disk_call_s`` that are no mappings, for a seed that is no whole number, and for
    ``components`` that make none. ``channels`` are refused as ``NodeConfig`` does it.
    """
    for option, given in (("channels", channels), ("disk_call_s", disk_call_s)):
        if given is not None and not isinstance(given, Mapping):
            raise TypeError(f"{option} is {given!r}: give a dict")
    check_channels(channels or {})
    check_seed(seed)
    if size_bytes < 1:
        raise InvalidError(f"a volume of {size_bytes} bytes")
    for name, call_s in (disk_call_s or {}).items():
        check_name(name)
        check_delay(call_s)

    def make(nursery: trio.Nursery) -> MemoryPair:
        return MemoryPair(
            size_bytes,
            Random(seed),
            components,
            nursery,
            channels=channels or {},
            disk_call_s=ByNode(disk_call_s or {}),
        )

    async with opened(make, start=start) as pair:
        yield pair


@asynccontextmanager
async def opened(make: Callable[[trio.Nursery], AnyPair], *, start: bool = True) -> AsyncIterator[AnyPair]:
    """Any kind of pair for the length of a block, as ``open_pair`` does it."""
    async with open_plain_nursery() as nursery:
        pair = make(nursery)
        if start:
            for name in NAMES:
                await pair.start(name)
            await pair.wait_protected()
        try:
            yield pair
        except BaseException as error:
            for name, failure in pair.unnoted_failures.items():
                error.add_note(f"node {name} failed: {failure!r}")
            raise
        finally:
            pair.close()
        nursery.cancel_scope.cancel(reason="the pair is closed")
    raise_failures(pair.unnoted_failures)


@attrs.frozen(eq=False)
class Mirrors:
    """Two connected nodes. In ``with mirrors.a.current():`` the header's functions mean node a."""

    pair: MemoryPair
    """What they are: for faults, and to wait."""

    @property
    def a(self) -> Node:
        """The node a that runs now. ``DisconnectError`` if it is down."""
        return self.pair.nodes["a"]

    @property
    def b(self) -> Node:
        """The node b that runs now. ``DisconnectError`` if it is down."""
        return self.pair.nodes["b"]


@opens("ctlha_mirrors", "mirrors")
async def open_mirrors(
    *,
    seed: int = 0,
    components: Components = no_components,
    channels: Mapping[ctl_ha_channel, ChannelConfig] | None = None,
) -> AsyncIterator[Mirrors]:
    """Two nodes that have a session with each other, with a volume as small as can be: ``open_pair`` in all else."""
    async with open_pair(size_bytes=MIRROR_VOLUME_BYTES, seed=seed, components=components, channels=channels) as pair:
        yield Mirrors(pair)


class OpenPair(Protocol):
    """The type of ``open_pair``, and of the fixture ``ctlha_pair``."""

    def __call__(
        self,
        *,
        size_bytes: int = ...,
        seed: int = ...,
        components: Components = ...,
        channels: Mapping[ctl_ha_channel, ChannelConfig] | None = ...,
        start: bool = ...,
        disk_call_s: Mapping[str, float] | None = ...,
    ) -> AbstractAsyncContextManager[MemoryPair]:
        """Open a pair."""


class OpenMirrors(Protocol):
    """The type of ``open_mirrors``, and of the fixture ``ctlha_mirrors``."""

    def __call__(
        self,
        *,
        seed: int = ...,
        components: Components = ...,
        channels: Mapping[ctl_ha_channel, ChannelConfig] | None = ...,
    ) -> AbstractAsyncContextManager[Mirrors]:
        """Open two connected nodes."""
