"""Real etcd on this machine, for tests: processes whose data lies in a folder, and that end with the block."""

import json
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Final

import attrs

from ctlha_trio._errors import FailedError
from ctlha_trio.testing._processes.free_ports import free_etcd_ports

START_LIMIT_S: Final = 30.0
"""For a member to have a leader, on a machine that is busy with something else."""
ANSWER_LIMIT_S: Final = 10.0
"""For a member to say how it stands."""
_READY: Final = b"ready to serve client requests"


@attrs.define(eq=False)
class EtcdMember:
    """One process of a cluster, which can be killed, stopped, and started again with what it had on disk."""

    endpoint: str
    _command: Sequence[str]
    _membership: Sequence[str]
    """Of its command: who it is in which cluster, and where its data lies."""
    _process: "subprocess.Popen[bytes] | None" = attrs.field(default=None, init=False)
    _reader: threading.Thread | None = attrs.field(default=None, init=False)
    _ready: bool = attrs.field(default=False, init=False)
    _last_words: bytes = attrs.field(default=b"", init=False)
    _decided: threading.Event = attrs.field(factory=threading.Event, init=False)
    """It is ready, or has ended."""

    def start(self) -> None:
        """Returns at once; ``wait_ready`` waits."""
        self._ready = False
        self._decided.clear()
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603
        self._reader = threading.Thread(target=self._read_log, args=(self._process.stderr,), daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        """Until there is a leader. Blocks the thread. ``FailedError`` with its last words if that does not happen."""
        if not self._decided.wait(START_LIMIT_S) or not self._ready:
            raise FailedError(f"etcd is not ready: {self._last_words.decode(errors='replace').strip()}")

    def _read_log(self, log: IO[bytes]) -> None:
        """To its end, or a full pipe would stop the process."""
        with log:
            for line in log:
                self._last_words = line
                if _READY in line:
                    self._ready = True
                    self._decided.set()
        self._decided.set()

    def led_term(self) -> int:
        """The term in which it leads the others; 0 if it does not. Blocks the thread; only for clients by ``http``."""
        connection = HTTPConnection(self.endpoint.removeprefix("http://"), timeout=ANSWER_LIMIT_S)
        try:
            connection.request("POST", "/v3/maintenance/status", "{}")
            status = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        # What is zero is left out: as long as there is no leader.
        return int(status["raftTerm"]) if status["header"]["member_id"] == status.get("leader") else 0

    def send_signal(self, number: signal.Signals) -> None:
        """Such as SIGSTOP, after which it takes connections and answers nothing."""
        self._running().send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        process = self._running()
        process.kill()
        process.wait()
        if self._reader is not None:
            self._reader.join()
        self._process = None

    def end(self) -> None:
        """Kill it if it runs."""
        if self._process is not None:
            self.kill()

    def restore(self, etcdctl: str, snapshot: Path) -> None:
        """Give it the data of a snapshot, as the same member of the same cluster. It must not run, and have no data.

        Blocks the thread. ``FailedError`` with what ``etcdctl`` says if that cannot be done.
        """
        run_etcdctl(etcdctl, "snapshot", "restore", str(snapshot), *self._membership)

    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process


def run_etcdctl(program: str, *arguments: str, entered: str = "") -> None:
    """One command, to its end. Blocks the thread. ``FailedError`` with its last words if it fails."""
    done = subprocess.run(  # noqa: S603
        [program, *arguments],
        env={"ETCDCTL_API": "3"},
        input=entered,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise FailedError(f"etcdctl {arguments[0]}: {done.stderr.strip()}")


def leader_of(members: Sequence[EtcdMember]) -> EtcdMember:
    """Of a cluster whose members all run and are ready. Blocks the thread. ``FailedError`` if there is none."""
    # One that was stopped leads the others, as far as it knows, until it hears of their next term.
    term, leader = max(((member.led_term(), member) for member in members), key=lambda found: found[0])
    if not term:
        raise FailedError("no etcd leads the others")
    return leader


@contextmanager
def started_etcd(
    program: str,
    folder: Path,
    *,
    members: int = 1,
    scheme: str = "http",
    host: str = "127.0.0.1",
    launcher: Sequence[str] = (),
    arguments: Sequence[str] = (),
) -> Iterator[list[EtcdMember]]:
    """A new cluster, ready. ``scheme`` is that of its clients; ``arguments`` go to each member.

    ``launcher`` is put before each command, to run it where ``host`` is an address.
    """
    ports = free_etcd_ports(2 * members)
    peers = [f"http://{host}:{port}" for port in ports[members:]]
    cluster = ",".join(f"m{index}={peer}" for index, peer in enumerate(peers))
    made = []
    for index, port in enumerate(ports[:members]):
        endpoint = f"{scheme}://{host}:{port}"
        membership = ["--name", f"m{index}", "--data-dir", str(folder / f"m{index}")]
        membership += ["--initial-advertise-peer-urls", peers[index], "--initial-cluster", cluster]
        command = [*launcher, program, *membership, "--listen-peer-urls", peers[index]]
        command += ["--listen-client-urls", endpoint, "--advertise-client-urls", endpoint, *arguments]
        made.append(EtcdMember(endpoint, command, membership))
    try:
        for member in made:
            member.start()
        for member in made:
            member.wait_ready()
        yield made
    finally:
        for member in made:
            member.end()
