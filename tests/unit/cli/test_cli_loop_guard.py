"""What becomes of a process whose event loop stands still: the real thing, in a process of its own."""

import os
import subprocess
import sys
import threading

import trio
from trio.testing import MockClock

from ctlha_trio.cli._loop_guard import LoopGuard
from ctlha_trio.cli._run import EXIT_LOOP_DEAD

PROGRAM = """
import sys, time, trio
from ctlha_trio.cli._loop_guard import LoopGuard
from ctlha_trio.cli._queued_stderr import queued_stderr

def compute_for_ever():
    while True:
        time.sleep(0.01)

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(LoopGuard(look_s=0.02, looks_max=50).run)
        await trio.sleep(0.1)
        print("serving", flush=True)
        {what}

with queued_stderr():
    trio.run(main)
"""


def run(what: str, *launcher: str, stderr: int = subprocess.PIPE) -> "subprocess.CompletedProcess[str]":
    program = [*launcher, sys.executable, "-c", PROGRAM.format(what=what)]
    return subprocess.run(program, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=60, check=False)


def test_a_loop_that_does_not_come_back_is_shown_and_ends_its_process() -> None:
    ended = run("compute_for_ever()")
    assert (ended.returncode, ended.stdout) == (EXIT_LOOP_DEAD, "serving\n")
    assert "the event loop has done nothing for 1 s" in ended.stderr
    assert "in compute_for_ever" in ended.stderr, "where it stands"


def test_it_ends_its_process_though_nobody_takes_what_it_says() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb"):
        os.set_blocking(writing, False)
        os.write(writing, bytes(1 << 20))
        os.set_blocking(writing, True)
        ended = run("compute_for_ever()", stderr=writing)
    assert (ended.returncode, ended.stdout) == (EXIT_LOOP_DEAD, "serving\n")


def test_it_ends_its_process_though_the_loop_stands_where_others_wait_to_say_something() -> None:
    ended = run("with sys.stderr.buffer.queue._changed: compute_for_ever()")
    assert (ended.returncode, ended.stdout) == (EXIT_LOOP_DEAD, "serving\n")


def test_it_ends_its_process_though_there_is_no_standard_error() -> None:
    ended = run("compute_for_ever()", "sh", "-c", 'exec "$@" 2>&-', "sh")
    assert (ended.returncode, ended.stdout) == (EXIT_LOOP_DEAD, "serving\n")


def test_a_loop_that_turns_is_left_alone() -> None:
    ended = run("await trio.sleep(1.5); nursery.cancel_scope.cancel()")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "serving\n", "")


def test_the_thread_ends_with_the_guard() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(LoopGuard().run)
            await trio.testing.wait_all_tasks_blocked()
            (thread,) = (each for each in threading.enumerate() if each.name == "loop-guard")
            threads.append(thread)
            nursery.cancel_scope.cancel()

    threads: list[threading.Thread] = []
    trio.run(main, clock=MockClock())
    threads[0].join(10)
    assert not threads[0].is_alive()
