"""What can be seen of a pair of whole nodes in one process, and waited for."""

from collections.abc import Callable, Mapping
from inspect import isawaitable, iscoroutine
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError, FailedError, InvalidError
from ctlha_trio.arbiter import MemoryArbiter
from ctlha_trio.ha import Node
from ctlha_trio.pair import Metadata, Record
from ctlha_trio.seams import TrioClock
from ctlha_trio.store import choose_slot, records_in, volume_in
from ctlha_trio.testing._pairs.pair_faults import NAMES, ByNode, PairFaults, check_name
from ctlha_trio.testing._pairs.plain_nursery import plain

VOLUME: Final = "volume"
LOOK_S: Final = 0.01
"""Between two looks at a condition: a tenth of the shortest time in the protocol."""

WAIT_LIMIT_S: Final = 120.0
"""For a condition to come true: far more than the protocol's longest wait, and no time at all on a mock clock."""


class RunningNodes(ByNode[Node]):
    """Nodes by name. ``DisconnectError`` for one that is down."""

    def __missing__(self, name: str) -> Node:
        """It does not run, or is none of the pair's."""
        check_name(name)
        raise DisconnectError(f"node {name} is down")


@attrs.define(eq=False)
class PairView(PairFaults):
    """Two nodes, whether they run or not, for a ``MemoryPair``, which starts and ends them."""

    size_bytes: int
    look_s: float = attrs.field(default=LOOK_S, kw_only=True)
    """Between two looks at a condition that is waited for."""
    arbiter: MemoryArbiter = attrs.field(init=False)
    """The arbiter's own client; each node has another one in ``arbiters``."""
    nodes: RunningNodes = attrs.field(factory=RunningNodes, init=False)
    """Those that run."""
    _failures: dict[str, BaseException] = attrs.field(factory=dict, init=False)
    _noted: set[str] = attrs.field(factory=set, init=False)
    """Nodes whose failure somebody has looked at."""
    _failed_last: set[str] = attrs.field(factory=set, init=False)
    """Nodes that failed when they last ran."""
    _closed: bool = attrs.field(default=False, init=False)

    @property
    def record(self) -> Record:
        """What the arbiter has at this moment."""
        return self.arbiter.record

    @property
    def failures(self) -> dict[str, BaseException]:
        """What ended a node that was not crashed, or what a handler or component raised, however it ended, by node.

        Who has looked knows: closing the pair does not raise it.
        """
        found = self._found_failures()
        self._noted.update(found)
        return found

    @property
    def unnoted_failures(self) -> dict[str, BaseException]:
        """Those that nobody has looked at."""
        return {name: failure for name, failure in self._found_failures().items() if name not in self._noted}

    def _found_failures(self) -> dict[str, BaseException]:
        raised = {name: program_failure(node) for name, node in self.nodes.items()}
        return ByNode(self._failures | {name: failure for name, failure in raised.items() if failure is not None})

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds. A checkpoint. Under a mock clock the time until then passes at once.

        The condition looks and does not wait: ``TypeError`` for one that is async, or no function at all.
        ``trio.TooSlowError``, with where the nodes stand, if it does not hold within ``WAIT_LIMIT_S``; from what made
        nodes fail, if any did.
        """
        clock = TrioClock()
        give_up_s = clock.now() + WAIT_LIMIT_S
        await trio.lowlevel.checkpoint()
        while not holds(condition):
            self._check_open(NAMES[0])
            if clock.now() >= give_up_s:
                late = trio.TooSlowError(f"not so after {WAIT_LIMIT_S:g} s; {'; '.join(map(self._stand_of, NAMES))}")
                raise late from causes_of(self._found_failures())
            await clock.sleep_until(clock.now() + self.look_s)

    async def wait_serving(self, name: str) -> Node:
        """Return that node once it serves the volume, alone or as primary of two. ``FailedError`` if it has failed."""
        await self._wait_for((name,), lambda: self._serves(name, "protected", "degraded"))
        return self.nodes[name]

    async def wait_alone(self, name: str) -> Node:
        """Return that node once it serves the volume without its peer. ``FailedError`` if it has failed."""
        await self._wait_for((name,), lambda: self._serves(name, "degraded") and self.record.members == (name,))
        return self.nodes[name]

    async def wait_protected(self) -> None:
        """Return once both nodes say ``protected`` and nothing parts them. ``FailedError`` if one has failed.

        A node says so until it misses the other one: what a crash or a broken link costs is over if it says so again,
        but behind a fault that makes no noise ``wait_unprotected`` comes first.
        """
        await self._wait_for(NAMES, lambda: not self._parted and self._is_protected())

    async def wait_unprotected(self) -> None:
        """Return once no node says ``protected``: those that run have noticed what is wrong, or something is."""
        self._check_open(NAMES[0])
        await self.wait_until(lambda: all(node.status().verdict != "protected" for node in self.nodes.values()))

    async def _wait_for(self, names: tuple[str, ...], condition: Callable[[], bool]) -> None:
        """Or for one of these nodes to have failed: that is raised."""
        for name in names:
            self._check_open(name)
        await self.wait_until(lambda: not self._failed_last.isdisjoint(names) or condition())
        failed = {name: self._failures[name] for name in names if name in self._failed_last}
        self._noted.update(failed)
        raise_failures(failed)

    def _serves(self, name: str, *verdicts: str) -> bool:
        if name not in self.nodes:
            return False
        status = self.nodes[name].status()
        return status.role == "primary" and status.verdict in verdicts

    def copy(self, name: str) -> bytes:
        """The volume as that node's disk would give it now, flushed or not."""
        check_name(name)
        return volume_in(self.disks[name].content(VOLUME), self.size_bytes)

    def durable_copy(self, name: str) -> bytes:
        """The volume as that node's disk would give it after a power cut now that keeps only what was flushed."""
        return volume_in(self._durable(name), self.size_bytes)

    def durable_metadata(self, name: str) -> Metadata:
        """The metadata that would be found after such a cut."""
        return choose_slot(VOLUME, self._durable(name))[1].metadata

    def durable_records(self, name: str) -> dict[str, bytes]:
        """The records that would be found after such a cut: values by key."""
        return {key: record.value for key, record in records_in(self._durable(name)).items()}

    def _durable(self, name: str) -> bytes:
        check_name(name)
        return self.disks[name].durable_content(VOLUME)

    def close(self) -> None:
        """Its block has ended: nothing of it is of use any more."""
        self._closed = True

    def _check_open(self, name: str) -> None:
        """``InvalidError`` for a name that is no node's, or when the block of the pair has ended."""
        check_name(name)
        if self._closed:
            raise InvalidError("the pair is closed: its block has ended")

    def _stand_of(self, name: str) -> str:
        """One node in a line."""
        if name in self._failed_last:
            return f"{name} has failed"
        if name not in self.nodes:
            return f"{name} is down"
        status = self.nodes[name].status()
        parted = ", and nothing that it sends arrives" if name in self._parted else ""
        return f"{name} is {status.role}, {status.verdict}: {', '.join(status.reasons) or 'no reason'}{parted}"

    def _is_protected(self) -> bool:
        verdicts = [node.status().verdict for node in self.nodes.values()]
        return verdicts == ["protected"] * len(NAMES)


def holds(condition: Callable[[], object]) -> bool:
    """What the condition says. ``TypeError`` if that is no answer."""
    if not callable(condition):
        raise TypeError(f"the condition is {condition!r}: give the function that looks, such as a lambda")
    held = condition()
    if isawaitable(held):
        if iscoroutine(held):
            held.close()
        raise TypeError("the condition is async: it must be a plain function, which looks at what is there")
    return bool(held)


def program_failure(node: Node) -> Exception | None:
    """What its handlers, callbacks and components raised, if any did."""
    raised: list[Exception] = list(node.component_errors)
    if node.handler_errors:
        raised.append(ExceptionGroup("handlers raised", node.handler_errors))
    return ExceptionGroup("the program raised", raised) if len(raised) > 1 else next(iter(raised), None)


def raise_failures(failures: Mapping[str, BaseException]) -> None:
    """``FailedError`` that names each node of these, from what ended it. Nothing if there are none."""
    if failures:
        said = "; ".join(f"node {name} failed: {failure!r}" for name, failure in failures.items())
        raise FailedError(said) from causes_of(failures)


def causes_of(failures: Mapping[str, BaseException]) -> BaseException | None:
    """The one exception there is, or a group of several."""
    return plain(BaseExceptionGroup("nodes failed", [*failures.values()])) if failures else None
