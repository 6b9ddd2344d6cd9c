"""Fencing by a program that the operator names: a power switch's, a hypervisor's, a storage array's."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

import attrs
import trio

from ctlha_trio._errors import InvalidError
from ctlha_trio._printable import printable
from ctlha_trio.seams._run_in_thread import is_lack_of_threads
from ctlha_trio.seams._types import FenceAnswer, FenceOutcome

OUTPUT_BYTES_MAX: Final = 4096
"""Kept of each of its outputs; the rest is read and dropped."""
EVIDENCE_CHARACTERS_MAX: Final = 200
"""It stands in the arbiter's record for as long as the fence counts."""
DRAIN_S: Final = 0.2
"""For what it wrote before it ended. A program that it left behind may hold the pipe open for ever."""
REAP_S: Final = 2.0
"""For a killed one to be gone. One that runs as another user than the node cannot be killed, nor one in a hung call."""
CONFIRMED_CODE: Final = 0
REFUSED_CODE: Final = 1


class _Source(Protocol):
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray: ...


@attrs.frozen
class CommandFencer:
    """Runs ``command`` with node, resource and epoch behind its own arguments. No shell has a part in it.

    Exit code 0 is Confirmed, by the first line that it writes; 1 is Refused; every other end is Unknown, and so are 0
    without a word, a program that cannot be run, and one that takes longer than ``timeout_s``, which is killed. Where
    that cannot be done, as to one that runs as another user, it is left to itself, and the answer says so.
    ``InvalidError`` for a time that none can keep to.
    """

    command: Sequence[str]
    timeout_s: float

    def __attrs_post_init__(self) -> None:
        if not self.timeout_s > 0:
            raise InvalidError(f"a fence that has {self.timeout_s} s")

    @property
    def description(self) -> str:
        """The command, for people."""
        return " ".join(self.command)

    async def fence(self, node: str, resource: str, epoch: int) -> FenceAnswer:
        """As of ``Fencer``. Cancelled: the program and what it has started are killed, if that can be done."""
        names = {"CTLHA_FENCE_NODE": node, "CTLHA_FENCE_RESOURCE": resource, "CTLHA_FENCE_EPOCH": str(epoch)}
        try:
            process = await trio.lowlevel.open_process(
                [*self.command, *names.values()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ | names,
                start_new_session=True,
            )
        except OSError as error:
            await trio.lowlevel.checkpoint()
            return FenceAnswer(FenceOutcome.UNKNOWN, f"cannot be run: {error.strerror}")
        except RuntimeError as error:
            if not is_lack_of_threads(error):
                raise
            # It is the thread in which Trio would begin it that cannot be had.
            await trio.lowlevel.checkpoint()
            return FenceAnswer(FenceOutcome.UNKNOWN, f"cannot be run now: {error}")
        try:
            with trio.move_on_after(self.timeout_s) as limit:
                said = await _run_to_its_end(process)
        finally:
            await _kill(process)
        late = f"no answer within {self.timeout_s:g} s"
        if process.returncode is None:
            left = f"{late}, and it could not be ended: process {process.pid} still runs"
            return FenceAnswer(FenceOutcome.UNKNOWN, left)
        if limit.cancelled_caught:
            return FenceAnswer(FenceOutcome.UNKNOWN, late)
        return _judge(process.returncode, said)


async def _run_to_its_end(process: trio.Process) -> Mapping[str, bytearray]:
    """What it wrote to each output, as much of it as is kept."""
    said = {"stdout": bytearray(), "stderr": bytearray()}

    async def read(source: _Source, kept: bytearray) -> None:
        while chunk := await source.receive_some():
            kept += chunk[: OUTPUT_BYTES_MAX - len(kept)]

    assert process.stdout is not None
    assert process.stderr is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, process.stdout, said["stdout"])
        nursery.start_soon(read, process.stderr, said["stderr"])
        await process.wait()
        nursery.cancel_scope.deadline = trio.current_time() + DRAIN_S
    return said


async def _kill(process: trio.Process) -> None:
    """The program and all that it has started, unless it has ended by itself; then what it left is its own affair.

    It still runs afterwards if it could not be ended.
    """
    if process.returncode is None:
        # Not reaped yet, so that its number is still its own, and so is that of its group.
        with suppress(PermissionError, ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    with trio.CancelScope(shield=True):
        with trio.move_on_after(REAP_S):
            await process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                await stream.aclose()


def _judge(code: int, said: Mapping[str, bytearray]) -> FenceAnswer:
    evidence = _first_line(said["stdout"])
    if code == CONFIRMED_CODE and evidence:
        return FenceAnswer(FenceOutcome.CONFIRMED, evidence)
    if code == CONFIRMED_CODE:
        return FenceAnswer(FenceOutcome.UNKNOWN, "it ended well, but gave no evidence")
    why = evidence or _first_line(said["stderr"])
    if code == REFUSED_CODE:
        return FenceAnswer(FenceOutcome.REFUSED, why or f"exit code {code}")
    return FenceAnswer(FenceOutcome.UNKNOWN, ": ".join(filter(None, (_describe_end(code), why))))


def _describe_end(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def _first_line(output: bytearray) -> str:
    line = output.decode(errors="replace").strip().partition("\n")[0].strip()
    return printable(line)[:EVIDENCE_CHARACTERS_MAX]
