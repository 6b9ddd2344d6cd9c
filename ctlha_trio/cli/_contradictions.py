"""What cannot be in a configuration although each value by itself could: judged on whatever of it can be read."""

from collections.abc import Callable, Iterator
from typing import Any

from ctlha_trio._errors import InvalidError
from ctlha_trio.arbiter import EtcdAccess, contradictions as contradictions_of_etcd
from ctlha_trio.link import check_channel_size
from ctlha_trio.seams import is_loopback, parse_address

Part = Callable[[str], Any]
"""The value at a key, its default where nothing is said, or None if it cannot be read."""
Fault = tuple[str, str]
"""A key, and what is wrong with what stands there."""


def contradictions(part: Part, etcd: EtcdAccess | None) -> Iterator[Fault]:
    """Every one. ``etcd``: how that arbiter would be reached, if it is one and can be read."""
    yield from _of_nodes(part)
    yield from _of_channels(part)
    if etcd is not None:
        yield from ((f"arbiter.{field}", problem) for field, problem in contradictions_of_etcd(etcd))
    if part("arbiter.sqlite") is not None and part("arbiter.endpoints") is None:
        yield from _of_one_machine(part)
    yield from _of_policy(part)


def _of_nodes(part: Part) -> Iterator[Fault]:
    node, listen, address = part("node"), part("link.listen"), part("peer.address")
    if node is not None and node == part("peer.node"):
        yield "peer.node", f"is {node!r}, the same as node: two nodes cannot have one id"
    if listen and address and parse_address(listen) == parse_address(address):
        yield "peer.address", "is the same as link.listen"


def _of_channels(part: Part) -> Iterator[Fault]:
    for name in ("ctl", "zfs"):
        size_bytes, slots = part(f"channels.{name}.message_size_bytes"), part(f"channels.{name}.slots")
        if size_bytes is None or slots is None:
            continue
        try:
            check_channel_size(size_bytes, slots)
        except InvalidError as error:
            yield f"channels.{name}", str(error)


def _of_one_machine(part: Part) -> Iterator[Fault]:
    for key in ("link.listen", "peer.address"):
        address = part(key)
        if address is not None and not is_loopback(address):
            problem = f"{address} is not loopback, but arbiter.sqlite is an arbiter for two nodes on one machine"
            yield key, problem


def _of_policy(part: Part) -> Iterator[Fault]:
    preferred, node, peer = part("policy.preferred"), part("node"), part("peer.node")
    if preferred is None:
        if part("policy.give_back") == "automatic":
            yield "policy.preferred", "is missing: an automatic give-back needs to know to which node"
    elif node and node == peer and preferred != node:
        yield "policy.preferred", f"is {preferred!r}, which is no node of the pair"
    elif node and peer and preferred not in {node, peer}:
        yield "policy.preferred", f"is {preferred!r}, which is neither {node!r} nor {peer!r}"
