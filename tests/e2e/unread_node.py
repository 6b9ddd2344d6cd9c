"""``ctlha`` whose standard error is a full pipe that nobody reads. From SIGUSR1 on its event loop stands still."""

import fcntl
import os
import signal
from types import FrameType

from ctlha_trio.cli import _node, main
from ctlha_trio.cli._loop_guard import LoopGuard

ROOM = 4096

guard = LoopGuard()


def compute_for_ever(_: int, __: FrameType | None) -> None:
    guard.look_s, guard.looks_max = 0.02, 5
    while True:
        signal.pause()


reading, writing = os.pipe()
fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, ROOM)
os.write(writing, bytes(ROOM))
os.dup2(writing, 2)
signal.signal(signal.SIGUSR1, compute_for_ever)
_node.LoopGuard = lambda: guard  # type: ignore[assignment, attr-defined, misc]
main(prog_name="ctlha")
