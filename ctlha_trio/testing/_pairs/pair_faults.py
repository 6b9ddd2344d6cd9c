"""What two nodes in one process stand on, and what of it a test can make fail: network, disks, power."""

import math
from collections.abc import Iterable
from typing import Final, TypeVar

import attrs

from ctlha_trio._errors import InvalidError
from ctlha_trio.seams import MemoryNetwork
from ctlha_trio.testing._power.disk import PowerDisk

NAMES: Final = ("a", "b")
Part = TypeVar("Part")


def other(name: str) -> str:
    """The peer of that node."""
    return NAMES[1] if name == NAMES[0] else NAMES[0]


class ByNode(dict[str, Part]):
    """What there is of nodes, by name. ``InvalidError`` for a name that is neither's."""

    def __missing__(self, name: str) -> Part:
        """There is nothing of that node."""
        check_name(name)
        raise KeyError(f"nothing of node {name}")


@attrs.define(eq=False)
class PairFaults:
    """Faults around the nodes of a pair, for a ``MemoryPair``, which adds ``crash`` and ``restart`` of the nodes.

    Each fault is legal anywhere, returns at once and stays until it is undone, whatever becomes of the nodes meanwhile.
    A name stands for one node and what it sends, no name for both. ``InvalidError`` for a name that is neither's.
    """

    disk_call_s: ByNode[float] = attrs.field(factory=ByNode, kw_only=True)
    """By node: what each disk call takes. Without latency an answer can never overtake a flush."""
    network: MemoryNetwork = attrs.field(factory=MemoryNetwork, init=False)
    disks: ByNode[PowerDisk] = attrs.field(factory=ByNode, init=False)
    _parted: set[str] = attrs.field(factory=set, init=False)
    """Nodes of whose sending nothing arrives, though both have power."""

    def partition(self, name: str | None = None) -> None:
        """Let nothing that the node sends arrive. No connection breaks: what is lost is noticed by what does not come.

        It is kept as TCP keeps it: a connection that is still there after ``heal`` delivers it then, whole.
        """
        self._parted.update(named(name))
        self.connect_powered()

    def heal(self, name: str | None = None) -> None:
        """Undo ``partition``. A node without power stays cut off."""
        self._parted.difference_update(named(name))
        self.connect_powered()

    def break_link(self) -> None:
        """Break the connection of the two at once; nothing keeps them from making another."""
        self.network.reset(*NAMES)

    def slow(
        self, name: str | None = None, *, network_s: float | None = None, disk_call_s: float | None = None
    ) -> None:
        """Let what the node sends arrive ``network_s`` seconds later, and each of its disk calls take ``disk_call_s``.

        What is left out stays as it is, 0 ends it. Bytes and disk calls that are under way keep the delay they had.
        ``InvalidError`` for what is no time.
        """
        for seconds_s in (network_s, disk_call_s):
            if seconds_s is not None:
                check_delay(seconds_s)
        for node in named(name):
            if network_s is not None:
                self.network.delay(node, other(node), network_s)
            if disk_call_s is not None:
                self.disk_call_s[node] = disk_call_s

    def connect_powered(self) -> None:
        """Let arrive what is sent by a node and to a node that have power, unless they are parted; nothing else."""
        for node in NAMES:
            peer = other(node)
            if node in self._parted or self.disks[node].is_cut or self.disks[peer].is_cut:
                self.network.cut(node, peer)
            else:
                self.network.heal(node, peer)


def named(name: str | None) -> Iterable[str]:
    """The nodes that a name stands for, None for both. ``InvalidError`` for a name that is neither's."""
    if name is None:
        return NAMES
    check_name(name)
    return (name,)


def check_name(name: str) -> None:
    """``InvalidError`` for a name that is neither's."""
    if name not in NAMES:
        raise InvalidError(f"no node {name!r}: the pair has {' and '.join(NAMES)}")


def check_delay(seconds_s: float) -> None:
    """``InvalidError`` for what is no time."""
    if not 0 <= seconds_s < math.inf:
        raise InvalidError(f"a delay of {seconds_s} s: it is 0 or more, and ends")
