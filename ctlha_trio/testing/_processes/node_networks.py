"""Three network namespaces of this machine, for two nodes and an arbiter, with a wire between each two to be cut."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Literal

import attrs
import trio

from ctlha_trio._errors import FailedError

PLACES: Final = ("a", "b", "arbiter")
ARBITER_HOST: Final = "192.0.2.1"
"""Of the arbiter, whichever wire leads to it. All addresses are of the ranges kept for documentation."""
HOSTS: Final[Mapping[str, str]] = {"a": "198.51.100.1", "b": "198.51.100.2"}
"""Of the nodes, on the wire between them."""

_WIRES: Final = (
    ("a", f"{HOSTS['a']}/30", "b", f"{HOSTS['b']}/30"),
    ("a", "203.0.113.1/30", "arbiter", "203.0.113.2/30"),
    ("b", "203.0.113.5/30", "arbiter", "203.0.113.6/30"),
)
"""Place and address of both ends."""
_WAYS_TO_ARBITER: Final = {"a": "203.0.113.2", "b": "203.0.113.6"}

Direction = Literal["in", "out"]
BOTH_DIRECTIONS: Final[tuple[Direction, ...]] = ("in", "out")


def missing_for_networks() -> str:
    """Why this process cannot make namespaces and cut their wires; empty if nothing is in the way."""
    if os.geteuid() != 0:
        return "network namespaces are for root only"
    absent = [name for name, package in (("ip", "iproute2"), ("nft", "nftables")) if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed (on Debian: apt install iproute2 nftables)" if absent else ""


@attrs.define(eq=False)
class NodeNetworks:
    """The namespaces, named so that no other process has them too. ``FailedError`` if a command fails."""

    _name: str = attrs.field(factory=lambda: f"ctlha-{secrets.token_hex(4)}", init=False)

    def launcher(self, place: str) -> Sequence[str]:
        """Put before a command it runs it there, in a process that is the command's own."""
        return ("ip", "netns", "exec", self._namespace(place))

    async def cut(self, place: str, other: str, directions: Sequence[Direction] = BOTH_DIRECTIONS) -> None:
        """Drop what comes to ``place`` from the other (in), what it sends there (out), or both."""
        await self._add_rules(place, [(other, direction, "drop") for direction in directions])

    async def isolate(self, place: str) -> None:
        """Drop everything that comes to a place and leaves it."""
        others = [other for other in PLACES if other != place]
        await self._add_rules(place, [(other, direction, "drop") for other in others for direction in BOTH_DIRECTIONS])

    async def reset(self, place: str, other: str) -> None:
        """Close connections between the two as soon as something comes over them, and let no new one be made."""
        await self._add_rules(place, [(other, "in", "meta l4proto tcp reject with tcp reset")])

    async def heal(self) -> None:
        """Let everything through again, everywhere."""
        for place in PLACES:
            await self._filter(place, "flush ruleset\n")

    async def _add_rules(self, place: str, rules: Sequence[tuple[str, Direction, str]]) -> None:
        names = {"in": "iifname", "out": "oifname"}
        texts = dict.fromkeys(BOTH_DIRECTIONS, "")
        for other, direction, verdict in rules:
            texts[direction] += f'{names[direction]} "{_device(other)}" {verdict}\n'
        hooks = {"in": "input", "out": "output"}
        chains = (
            f"chain {hooks[direction]} {{ type filter hook {hooks[direction]} priority 0\n{text}}}\n"
            for direction, text in texts.items()
        )
        await self._filter(place, f"table inet cuts {{\n{''.join(chains)}}}\n")

    async def _filter(self, place: str, script: str) -> None:
        command = [*self.launcher(place), "nft", "-f", "-"]
        done = await trio.run_process(command, stdin=script.encode(), capture_stderr=True, check=False)
        if done.returncode:
            raise FailedError(f"nft: {done.stderr.decode().strip()}")

    def make(self) -> None:
        """Make the namespaces and their wires."""
        for place in PLACES:
            _ip("netns", "add", self._namespace(place))
            _ip("-n", self._namespace(place), "link", "set", "lo", "up")
        for here, address, there, other_address in _WIRES:
            ends = (self._namespace(here), self._namespace(there))
            _ip(
                "link", "add", _device(there), "netns", ends[0], "type", "veth", "peer", _device(here), "netns", ends[1]
            )
            self._raise_device(here, there, address)
            self._raise_device(there, here, other_address)
        _ip("-n", self._namespace("arbiter"), "address", "add", f"{ARBITER_HOST}/32", "dev", "lo")
        for place, way in _WAYS_TO_ARBITER.items():
            _ip("-n", self._namespace(place), "route", "add", ARBITER_HOST, "via", way)

    def remove(self) -> None:
        """Remove what was made, as far as it was. The processes in the namespaces must have ended."""
        for line in _ip("netns", "list").splitlines():
            name = line.split()[0]
            if name in map(self._namespace, PLACES):
                _ip("netns", "delete", name)

    def _raise_device(self, place: str, other: str, address: str) -> None:
        _ip("-n", self._namespace(place), "address", "add", address, "dev", _device(other))
        _ip("-n", self._namespace(place), "link", "set", _device(other), "up")

    def _namespace(self, place: str) -> str:
        return f"{self._name}-{place}"


@contextmanager
def opened_networks() -> Iterator[NodeNetworks]:
    """Namespaces for the length of a block. ``FailedError`` if they cannot be made. Blocks for some 0.1 s."""
    networks = NodeNetworks()
    try:
        networks.make()
        yield networks
    finally:
        networks.remove()


def _device(other: str) -> str:
    """The end of the wire that leads there."""
    return f"to-{other}"


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607
    if done.returncode:
        raise FailedError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
