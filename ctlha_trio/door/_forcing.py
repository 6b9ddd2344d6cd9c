"""What a person forces through the door: logged before and after, and by a fence where one is asked for.

A fence that was asked for is owed until its end is known. It is remembered in a file before the fencer is called, so
that a node which dies meanwhile goes on with it: the fencer is asked once more for the same, which changes nothing if
it was done. The record says nothing of an owed fence, for a living primary must not be disturbed by one that may be
refused; it bears the evidence of the one that was confirmed.
"""

import json
import logging
import os
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from ctlha_trio._errors import CtlHaError, FailedError, InvalidError, StoreError, UnknownOutcomeError
from ctlha_trio._parsed_json import parse_json
from ctlha_trio.door._decisions import DecisionLog
from ctlha_trio.door._node import DoorNode
from ctlha_trio.pair import Plan
from ctlha_trio.seams import Clock, FenceAnswer, FenceOutcome, Fencer, open_regular, run_in_thread, sync_folder

OWED_FILE: Final = "owed-fence.json"
"""In the node's folder, while a fence is owed."""
OWED_BYTES_MAX: Final = 4096
"""It names a node, a revision and a lineage; anything long is another file."""
CHANGED: Final = "the record has changed since it was shown"
RESUME_TRIES: Final = 60
RESUME_S: Final = 1.0
"""Between two tries of a node that has just started to go on with a fence: it asks the arbiter first."""

Refused = Callable[[str, str], None]
"""Is told what was refused, and why."""

_LOG: Final = logging.getLogger(__name__)


@attrs.frozen
class OwedFence:
    """What was asked for."""

    abandon: str
    revision: int
    """Of the record that the person has seen."""
    lineage: str
    """Of the line that is to begin: a record that bears it says that all was done."""


@attrs.frozen
class OwedFile:
    """At most one owed fence, durably."""

    path: Path

    def write(self, owed: OwedFence) -> None:
        """Remember it. Blocks. ``StoreError`` if that cannot be."""
        fresh = self.path.with_suffix(".fresh")
        try:
            with open(open_regular(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
                file.write(json.dumps(attrs.asdict(owed)).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error

    def read(self) -> OwedFence | None:
        """What is owed. ``StoreError`` if that cannot be told."""
        try:
            with open(open_regular(self.path, os.O_RDONLY), "rb") as file:
                fields = parse_json(file.read(OWED_BYTES_MAX))
            return OwedFence(str(fields["abandon"]), int(fields["revision"]), str(fields["lineage"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, OverflowError, TypeError, KeyError) as error:
            raise StoreError(f"{self.path}: cannot be read: {error}") from error

    def clear(self) -> None:
        """Nothing is owed any more. Blocks. ``StoreError`` if that cannot be remembered."""
        try:
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be removed: {error.strerror}") from error


@attrs.frozen
class Fencing:
    """How the other node can be fenced."""

    fencer: Fencer
    clock: Clock
    """For a node that has just started, and cannot go on yet with a fence that is owed."""


@attrs.define(eq=False)
class Forcing:
    """Of one node. One forced change at a time."""

    _node: DoorNode
    _decisions: DecisionLog
    _owed: OwedFile
    _fencing: Fencing | None
    _busy: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _known: OwedFence | None = attrs.field(default=None, init=False)
    """What the file says, as far as this process has written or read it."""
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _unreadable: bool = attrs.field(default=False, init=False)

    @property
    def fence_owed(self) -> str | None:
        """The node of whose fence nobody knows how it ended; empty if nobody knows which; None: none is owed.

        One that was asked for on a record that has changed since is owed no more, even while its file is still there.
        """
        if self._known is None:
            return "" if self._unreadable else None
        return self._known.abandon if self._node.revision in {0, self._known.revision} else None

    @property
    def _take_back(self) -> str:
        """What keeps the next start from asking for the fence. A node that runs keeps it in mind, and tells of it."""
        return f"stop this node and remove {shlex.quote(str(self._owed.path))}"

    @property
    def fence(self) -> str:
        """How the other node would be fenced; empty if there is no way."""
        return "" if self._fencing is None else self._fencing.fencer.description

    async def force(self, abandon: str, revision: int, *, fenced: bool, refused: Refused) -> None:
        """Force what was shown, between two lines of the log. ``CtlHaError`` with the reason why that is not so.

        ``refused`` is told of it if nothing was begun, nor logged.
        """
        async with self._busy:
            try:
                if fenced and self._fencing is None:
                    raise InvalidError("this node has no [fence] in its configuration")
                fencer = self._fencing.fencer if fenced and self._fencing is not None else None
                plan = self._node.plan_force(abandon)
                if plan.revision != revision:
                    raise FailedError(CHANGED)
            except CtlHaError as error:
                refused("force-primary", str(error))
                raise
            await self._carry_out(plan, abandon, fencer)

    def note(self, *_: object) -> None:
        """The node acts on another record. Not a checkpoint."""
        self._changed.unpark_all()

    async def run(self) -> None:
        """Go on with a fence that was owed when the node ended, then end one as soon as it is owed no more."""
        await self.resume()
        while True:
            await self._end_outdated()
            await self._changed.park()

    async def _end_outdated(self) -> None:
        """The record that a person has seen has changed, as when the other node came back."""
        async with self._busy:
            if self._known is None or self.fence_owed is not None:
                return
            done = self._node.lineage == self._known.lineage
            try:
                await self._end("done" if done else f"failed: {CHANGED}", attrs.asdict(self._known))
            except CtlHaError as error:
                _LOG.error("a fence that is owed no more: %s", error)

    async def resume(self) -> None:
        """Go on with a fence that was owed when the node ended, if the record still is the same. Returns at its end."""
        try:
            owed = self._owed.read()
        except StoreError as error:
            _LOG.error("a fence is owed, but nobody knows which: %s", error)
            self._unreadable = True
            return
        if owed is None:
            return
        self._known = owed
        async with self._busy:
            try:
                await self._decisions.append(outcome="resumed", decision="force-primary", **attrs.asdict(owed))
                await self._go_on_with(owed)
            except CtlHaError as error:
                ended = "came to nothing" if self.fence_owed is None else "is still owed"
                _LOG.error("the fence of node %s that was owed %s: %s", owed.abandon, ended, error)

    async def _go_on_with(self, owed: OwedFence) -> None:
        problem = "this node has no [fence] in its configuration any more"
        fencing = self._fencing
        for _ in range(RESUME_TRIES):
            if self._node.lineage == owed.lineage:
                await self._end("done", attrs.asdict(owed))
                return
            if fencing is None:
                break
            try:
                plan = self._node.plan_force(owed.abandon)
            except CtlHaError as error:
                problem = str(error)
                await fencing.clock.sleep_until(fencing.clock.now() + RESUME_S)
                continue
            if plan.revision == owed.revision:
                await self._carry_out(plan, owed.abandon, fencing.fencer)
                return
            problem = CHANGED
            break
        else:
            if not self._node.lineage:
                # The arbiter has not been heard: it may have taken what was forced.
                await self._log_end(f"unknown: {problem}", attrs.asdict(owed))
                raise UnknownOutcomeError(problem)
        await self._end(f"failed: {problem}", attrs.asdict(owed))
        raise FailedError(problem)

    async def _end(self, outcome: str, owed: dict[str, object]) -> None:
        await self._log_end(outcome, owed)
        await _in_thread(self._owed.clear)
        self._known = None

    async def _log_end(self, outcome: str, owed: dict[str, object]) -> None:
        await self._decisions.append(outcome=outcome, decision="force-primary", **owed)

    async def _carry_out(self, plan: Plan, abandon: str, fencer: Fencer | None) -> None:
        decision: dict[str, object] = {
            "decision": "force-primary",
            "abandon": abandon,
            "revision": plan.revision,
            "epoch": plan.before.epoch,
            "before": plan.before,
            "after": plan.after,
            "fence": "none" if fencer is None else "owed",
        }
        await self._decisions.append(outcome="asked", **decision)
        stays_owed = False
        try:
            if fencer is not None:
                answer = await self._fence(fencer, plan, abandon)
                decision["fence"], decision["evidence"] = answer.outcome.value, answer.evidence
                stays_owed = answer.outcome is FenceOutcome.UNKNOWN
                if answer.outcome is not FenceOutcome.CONFIRMED:
                    raise FailedError(f"the fence of node {abandon}: {answer.outcome.value}: {answer.evidence}")
                plan = plan.fenced(answer.evidence)
                decision["after"] = plan.after
                await self._decisions.append(outcome="fenced", **decision)
            await self._node.force_primary(plan)
        except CtlHaError as error:
            unknown = isinstance(error, UnknownOutcomeError)
            await self._decisions.append_end(outcome=f"{'unknown' if unknown else 'failed'}: {error}", **decision)
            was_asked = self._known is not None and self._known.lineage == plan.after.lineage
            if unknown or not was_asked:
                raise
            left = f"give the command again, or {self._take_back}" if stays_owed else await self._forget()
            if left:
                raise FailedError(f"{error}; {left}, or the fence is asked for again when this node starts") from error
            raise
        await self._decisions.append_end(outcome="done", **decision)
        if self._known is not None or self._unreadable:
            # What is done is done: a start finds the line that began, and removes what was left.
            await self._forget()

    async def _forget(self) -> str:
        """Nothing is owed any more. What a person has to do where that cannot be remembered; empty if it is."""
        try:
            await _in_thread(self._owed.clear)
        except StoreError as error:
            _LOG.error("a fence that is owed no more: %s", error)
            return self._take_back
        self._known, self._unreadable = None, False
        return ""

    async def _fence(self, fencer: Fencer, plan: Plan, abandon: str) -> FenceAnswer:
        owed = OwedFence(abandon, plan.revision, plan.after.lineage)
        await _in_thread(partial(self._owed.write, owed))
        self._known, self._unreadable = owed, False
        return await fencer.fence(abandon, plan.before.resource, plan.after.epoch)


async def _in_thread(call: Callable[[], None]) -> None:
    """What ``call`` does. ``StoreError`` also if no thread can be had for it: nothing was begun then."""
    try:
        await run_in_thread(call)
    except OSError as error:
        raise StoreError(f"the file of an owed fence: {error.strerror}") from error
