"""The end of a process whose event loop does not come back.

A loop that stood still and goes on is told of by the node itself. One that does not go on says nothing: its node serves
nobody, and keeps its port and its folder's lock. The other node has taken over by then. Whoever restarts what ends, as
systemd does, can do so only once it has ended.
"""

import _thread
import os
import sys
import threading
from itertools import islice
from traceback import walk_stack
from typing import Final

import attrs
import click

from ctlha_trio.cli._queued_stderr import END_S, end_stderr
from ctlha_trio.cli._run import EXIT_LOOP_DEAD
from ctlha_trio.seams import Clock, TrioClock, start_thread

LOOK_S: Final = 1.0
LOOKS_MAX: Final = 30
"""In a row in which the loop did nothing: far more than a step of a component may take. Looks are counted and not
seconds, for a process that was stopped, or a machine that was suspended, takes none."""
_FRAMES_MAX: Final = 100
"""Of a thread that are shown, the innermost ones."""


@attrs.define(eq=False)
class LoopGuard:
    """A thread that looks after the loop. It can do nothing where one keeps the interpreter's lock for ever."""

    look_s: float = LOOK_S
    looks_max: int = LOOKS_MAX
    _clock: Clock = attrs.field(factory=TrioClock, init=False)
    _turns: int = attrs.field(default=0, init=False)
    _over: threading.Event = attrs.field(factory=threading.Event, init=False)
    _said: threading.Event = attrs.field(factory=threading.Event, init=False)

    async def run(self) -> None:
        """Look until cancelled. If the loop stays away, say where it and all threads are, and end the process."""
        start_thread(self._look, name="loop-guard")
        try:
            while True:
                self._turns += 1
                await self._clock.sleep_until(self._clock.now() + self.look_s / 2)
        finally:
            self._over.set()

    def _look(self) -> None:
        seen, still = 0, 0
        while still < self.looks_max:
            if self._over.wait(self.look_s):
                return
            still = still + 1 if self._turns == seen else 0
            seen = self._turns
        try:
            # The loop may stand anywhere, with any lock, such as each of those that saying something takes, or that a
            # start of a threading.Thread does.
            _thread.start_new_thread(self._say, (still,))
            self._said.wait(2 * END_S)  # one to find the words, one for whoever takes them
        finally:
            os._exit(EXIT_LOOP_DEAD)

    def _say(self, looks: int) -> None:
        try:
            said = f"ctlha: the event loop has done nothing for {self.look_s * looks:g} s; ending at once"
            click.echo("\n".join([said, *_stacks()]), err=True)
            end_stderr()
        finally:
            self._said.set()


def _stacks() -> list[str]:
    """Where all threads are, the most recent call first.

    Not by ``faulthandler``: that writes to a descriptor itself, and while it waits for room there it keeps the
    interpreter's lock, without which nothing can end the process.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines: list[str] = []
    for thread, innermost in sys._current_frames().items():
        lines.append(f"thread {names.get(thread, thread)}:")
        for frame, line in islice(walk_stack(innermost), _FRAMES_MAX):
            lines.append(f'  File "{frame.f_code.co_filename}", line {line} in {frame.f_code.co_qualname}')
    return lines
