"""A process of strangers: so many connections to a port, each opened again whenever it is closed.

``python flood.py SOURCE HOST PORT COUNT``. Says "twice" once as many were closed as there are, two times over.
"""

import resource
import selectors
import socket
import sys
import time
from collections import deque

PAUSE_S = 0.05
"""Before one comes back."""
WORDS = b"\x16\x03\x01"


def main(source: str, host: str, port: str, count: str) -> None:
    """Until it is killed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    strangers = selectors.DefaultSelector()
    absent: deque[float] = deque([0.0] * min(int(count), hard - 50))
    limit, closed = 2 * len(absent), 0
    while True:
        now = time.monotonic()
        while absent and absent[0] <= now:
            absent.popleft()
            one = socket.socket()
            one.setblocking(False)
            one.bind((source, 0))
            one.connect_ex((host, int(port)))
            strangers.register(one, selectors.EVENT_WRITE)
        for key, events in strangers.select(PAUSE_S):
            stranger = key.fileobj
            assert isinstance(stranger, socket.socket)
            try:
                if events & selectors.EVENT_WRITE:
                    stranger.send(WORDS)
                    strangers.modify(stranger, selectors.EVENT_READ)
                    continue
                stranger.recv(1000)
            except OSError:
                pass  # turned away
            strangers.unregister(stranger)
            stranger.close()
            absent.append(time.monotonic() + PAUSE_S)
            closed += 1
            if closed == limit:
                sys.stdout.write("twice\n")
                sys.stdout.flush()


main(*sys.argv[1:])
