"""The arbiter in etcd, over a gateway in this process that answers as no etcd does, or not at all."""

import json
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from ctlha_trio._errors import ArbiterError, ArbiterSilentError, ConfigError
from ctlha_trio.arbiter import EtcdAccess, EtcdArbiter, create_etcd_record
from ctlha_trio.arbiter._etcd_gateway import ANSWER_BYTES_MAX, CALL_LIMIT_S, MESSAGE_CHARACTERS_MAX
from ctlha_trio.ha._disk_work import ARBITER_LIMIT_S
from ctlha_trio.pair import Record, SwapOutcome
from ctlha_trio.seams import Arbiter, SwapAnswer, Versioned
from ctlha_trio.testing._suites.arbiter_suite import ARBITER_CHECKS, ArbiterCheck, sample_record

NEXT = sample_record(epoch=8, proposal="next")
PASSWORD = "a-secret"
TOKEN = "token-of-the-fake"

Say = Callable[[bytes], Awaitable[None]]
Fault = Callable[["FakeEtcd", Callable[[], bytes], Say], Awaitable[None]]
"""Is given what applies the transaction and returns the honest answer, and what sends; then the connection closes."""


@attrs.frozen
class Value:
    text: str
    modified: int


@attrs.define(eq=False)
class Store:
    """What all members of a cluster agree on."""

    values: dict[str, Value] = attrs.field(factory=dict)
    revision: int = 1

    def execute(self, transaction: Mapping[str, Any]) -> dict[str, object]:
        succeeded = all(map(self._holds, transaction.get("compare", [])))
        branch = transaction.get("success" if succeeded else "failure", [])
        self.revision += any("request_range" not in operation for operation in branch)
        responses = [self._execute(operation) for operation in branch]
        # What is false is left out.
        return {"responses": responses} | ({"succeeded": True} if succeeded else {})

    def _holds(self, compare: dict[str, str]) -> bool:
        value = self.values.get(compare["key"])
        match compare["target"]:
            case "VALUE":
                return value is not None and value.text == compare["value"]
            case "MOD":
                return (value.modified if value else 0) == int(compare["mod_revision"])
        assert compare["target"] == "CREATE"
        return (value is not None) == (compare["result"] == "GREATER")

    def _execute(self, operation: Mapping[str, dict[str, str]]) -> object:
        if put := operation.get("request_put"):
            self.values[put["key"]] = Value(put["value"], self.revision)
            return {"response_put": {}}
        key = operation["request_range"]["key"]
        if (value := self.values.get(key)) is None:
            return {"response_range": {}}
        found = {"key": key, "value": value.text, "mod_revision": str(value.modified)}
        return {"response_range": {"kvs": [found], "count": "1"}}


@attrs.define(eq=False)
class FakeEtcd:
    """As much of a member's gateway as the arbiter uses, with faults at will."""

    store: Store = attrs.field(factory=Store)
    password: str = ""
    """If not empty, a token is needed."""
    tokens: list[str] = attrs.field(factory=list)
    port: int = 0
    faults: deque[Fault] = attrs.field(factory=deque)
    """For the next questions at ``faulty_path``, one each; then answers are honest."""
    faulty_path: str = "/v3/kv/txn"
    connections: int = 0
    questions: list[str] = attrs.field(factory=list)
    transactions: list[Mapping[str, Any]] = attrs.field(factory=list)
    """Those that were executed, as they came."""
    hanging: trio.Event = attrs.field(factory=trio.Event)
    """A fault has begun to hang."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, self._converse, 0, host="127.0.0.1"))
            self.port = listener.socket.getsockname()[1]
            task_status.started()

    async def _converse(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        received = b""
        async for piece in stream:
            received += piece
            head, end, body = received.partition(b"\r\n\r\n")
            headers = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
            if end and len(body) == int(headers[b"content-length"]):
                break
        else:
            return
        path = head.split()[1].decode()
        self.questions.append(path)
        apply = partial(self.answer, path, json.loads(body), headers.get(b"authorization", b"").decode())
        fault = self.faults.popleft() if self.faults and path == self.faulty_path else None
        with suppress(trio.BrokenResourceError):
            if fault is None:
                await stream.send_all(apply())
            else:
                await fault(self, apply, stream.send_all)

    def answer(self, path: str, question: Mapping[str, Any], token: str) -> bytes:
        if path == "/v3/auth/authenticate":
            if question != {"name": "node", "password": self.password}:
                return reply(400, {"code": 3, "message": "etcdserver: authentication failed"})
            self.tokens.append(f"{TOKEN}-{len(self.questions)}")
            return reply(200, {"token": self.tokens[-1]})
        if self.password and token not in self.tokens:
            return reply(401, {"code": 16, "message": "etcdserver: invalid auth token"})
        self.transactions.append(question)
        answer = self.store.execute(question)
        return reply(200, {"header": {"cluster_id": "4660", "revision": str(self.store.revision)}, **answer})


def reply(status: int, body: object, kind: str = "application/json") -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content


def instead(status: int, body: object, kind: str = "application/json", *, applied: bool = True) -> Fault:
    async def fault(_: FakeEtcd, apply: Callable[[], bytes], say: Say) -> None:
        if applied:
            apply()
        await say(reply(status, body, kind))

    return fault


async def lost_reply(_: FakeEtcd, apply: Callable[[], bytes], __: Say) -> None:
    apply()


async def truncated(_: FakeEtcd, apply: Callable[[], bytes], say: Say) -> None:
    await say(apply()[:-10])


async def no_http(_: FakeEtcd, apply: Callable[[], bytes], say: Say) -> None:
    apply()
    await say(b"SSH-2.0-OpenSSH\r\n")


async def hang(fake: FakeEtcd, apply: Callable[[], bytes], __: Say) -> None:
    """As during a change of leaders."""
    apply()
    fake.hanging.set()
    await trio.sleep_forever()


async def hang_half_way(fake: FakeEtcd, apply: Callable[[], bytes], say: Say) -> None:
    await say(apply()[:-10])
    fake.hanging.set()
    await trio.sleep_forever()


async def endless(_: FakeEtcd, apply: Callable[[], bytes], say: Say) -> None:
    apply()
    await say(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n")
    while True:
        await say(b" " * 65536)


async def wrong_type(_: FakeEtcd, apply: Callable[[], bytes], say: Say) -> None:
    await say(apply().replace(b"application/json", b"text/html"))


async def redirect(fake: FakeEtcd, apply: Callable[[], bytes], say: Say) -> None:
    apply()
    await say(f"HTTP/1.1 307 X\r\nLocation: {fake.endpoint}/v3/kv/txn\r\nContent-Length: 0\r\n\r\n".encode())


async def nothing_moved(fake: FakeEtcd, apply: Callable[[], bytes], say: Say) -> None:
    """What a swap that failed gets, with the record as it was before the swap: one of the two is not true."""
    both = [{"request_range": {"key": key}} for key in fake.store.values]
    never = [{"key": "", "target": "MOD", "mod_revision": "1"}]
    answer = fake.answer("", {"compare": never, "failure": both}, "")
    apply()
    await say(answer)


HEADER = {"cluster_id": "4660", "revision": "9"}
UNCLEAR = {
    "lost reply": lost_reply,
    "truncated": truncated,
    "no http": no_http,
    "endless": endless,
    "wrong type": wrong_type,
    "redirect": redirect,
    "nothing moved": nothing_moved,
    "not JSON": instead(200, "x"),
    "empty object": instead(200, {}),
    "too deep": instead(200, json.loads("[" * 900 + "]" * 900)),
    "no cluster": instead(200, {"header": {"revision": "9"}, "succeeded": True, "responses": []}),
    "succeeded as text": instead(200, {"header": HEADER, "succeeded": "true", "responses": []}),
    "another cluster": instead(200, {"header": HEADER | {"cluster_id": "1"}, "succeeded": True, "responses": []}),
    "failed, and nothing else": instead(200, {"header": HEADER}),
    "no leader": instead(503, {"code": 14, "message": "etcdserver: no leader"}),
    "timed out": instead(504, {"code": 4, "message": "etcdserver: request timed out"}),
    "proxy error": instead(502, "Bad Gateway", "text/html"),
    "full, and applied": instead(429, {"code": 8, "message": "etcdserver: mvcc: database space exceeded"}),
    "a code of no meaning here": instead(400, {"code": [3]}),
    "a no with a status of doubt": instead(503, {"code": 7, "message": "etcdserver: permission denied"}),
    "not etcd's no": instead(403, "Forbidden", "text/plain"),
}
"""What leaves open whether a swap was applied. Here it always was."""

DECLINED = {
    "invalid": instead(400, {"code": 3, "message": "etcdserver: user name is empty"}, applied=False),
    "denied": instead(403, {"code": 7, "message": "etcdserver: permission denied"}, applied=False),
    "learner": instead(412, {"code": 9, "message": "etcdserver: rpc not supported for learner"}, applied=False),
    "no token": instead(401, {"code": 16, "message": "etcdserver: invalid auth token"}, applied=False),
}


def members(count: int) -> list[FakeEtcd]:
    store = Store()
    return [FakeEtcd(store) for _ in range(count)]


@pytest.fixture
async def fake() -> AsyncIterator[FakeEtcd]:
    async with serving(FakeEtcd()) as etcd:
        yield etcd


@asynccontextmanager
async def serving(*etcds: FakeEtcd) -> AsyncIterator[FakeEtcd]:
    async with trio.open_nursery() as nursery:
        for etcd in etcds:
            await nursery.start(etcd.serve)
        yield etcds[0]
        nursery.cancel_scope.cancel()


async def created(*etcds: FakeEtcd, record: Record | None = None, credentials: Path | None = None) -> EtcdArbiter:
    access = EtcdAccess(endpoints=tuple(etcd.endpoint for etcd in etcds), credentials=credentials)
    made = await create_etcd_record(access, record or sample_record())
    for etcd in etcds:
        etcd.questions.clear()
    return EtcdArbiter.open(access, cluster="cluster", resource="volume", identity=made.identity)


@pytest.mark.parametrize("check", ARBITER_CHECKS, ids=lambda check: check.__name__)
async def test_the_fake_is_an_etcd(check: ArbiterCheck, fake: FakeEtcd) -> None:
    async def make(record: Record) -> Arbiter:
        fake.store.values.clear()
        return await created(fake, record=record)

    await check(make)


def ranges_in(transaction: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    operations = [*transaction.get("success", []), *transaction.get("failure", [])]
    return [operation["request_range"] for operation in operations if "request_range" in operation]


async def test_every_read_follows_all_that_was_written_before_it(fake: FakeEtcd) -> None:
    """A range that says nothing but its key is linearizable, and of now; one may ask to be neither."""
    access, arbiter = EtcdAccess(endpoints=(fake.endpoint,)), await created(fake)
    for call in (
        arbiter.read,
        partial(arbiter.cas, 2, NEXT),
        partial(arbiter.cas, 2, NEXT),
        partial(EtcdArbiter.discover, access, cluster="cluster", resource="volume"),
        partial(create_etcd_record, access, sample_record()),
    ):
        fake.transactions.clear()
        with suppress(ConfigError):
            await call()
        (transaction,) = fake.transactions
        assert [each.keys() for each in ranges_in(transaction)] == [{"key"}, {"key"}]


@pytest.mark.parametrize("fault", UNCLEAR.values(), ids=UNCLEAR.keys())
async def test_what_may_have_been_applied_is_unknown(fake: FakeEtcd, fault: Fault) -> None:
    arbiter = await created(fake)
    fake.faults.append(fault)
    assert (await arbiter.cas(2, NEXT)).outcome is SwapOutcome.UNKNOWN
    assert fake.questions == ["/v3/kv/txn"], "it was sent again, or elsewhere"
    assert (await arbiter.read()).record == NEXT
    fake.faults.append(fault)
    assert not await arbiter.probe()
    if fault is not nothing_moved:
        fake.faults.append(fault)
        with pytest.raises(ArbiterError):
            await arbiter.read()


@pytest.mark.parametrize("fault", DECLINED.values(), ids=DECLINED.keys())
async def test_what_etcd_declined_is_refused(fake: FakeEtcd, fault: Fault) -> None:
    arbiter = await created(fake)
    fake.faults.extend((fault, fault, fault))
    assert (await arbiter.cas(2, NEXT)).outcome is SwapOutcome.REFUSED
    assert not await arbiter.probe()
    with pytest.raises(ArbiterError, match="etcdserver: ") as caught:
        await arbiter.read()
    assert not isinstance(caught.value, ArbiterSilentError)


@pytest.mark.parametrize("fault", [hang, hang_half_way])
@pytest.mark.parametrize("endpoints", [1, 3])
async def test_a_hanging_etcd_is_given_up_before_the_node_would_do_it(
    fault: Fault, endpoints: int, mock_clock: MockClock
) -> None:
    assert CALL_LIMIT_S < ARBITER_LIMIT_S
    first, *others = members(endpoints)
    async with serving(first, *others):
        arbiter = await created(first, *others)
        outcomes = []

        async def swap() -> None:
            outcomes.append((await arbiter.cas(2, NEXT)).outcome)

        first.faults.append(fault)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(swap)
            await first.hanging.wait()
            mock_clock.jump(CALL_LIMIT_S / endpoints)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert outcomes == [SwapOutcome.UNKNOWN]
        assert not any(other.questions for other in others)


async def test_a_reader_goes_on_to_the_next_endpoint(mock_clock: MockClock) -> None:
    first, second = members(2)
    async with serving(first, second):
        arbiter = await created(first, second)
        found = []

        async def read() -> None:
            found.append(await arbiter.read())

        first.faults.append(hang)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await first.hanging.wait()
            mock_clock.jump(CALL_LIMIT_S / 2)
        assert [one.record for one in found] == [sample_record()]
        # It stays with the one that answered.
        await arbiter.read()
        assert (len(first.questions), len(second.questions)) == (1, 2)


async def test_the_call_after_an_unknown_swap_asks_the_next_endpoint() -> None:
    first, second = members(2)
    async with serving(first, second):
        arbiter = await created(first, second)
        first.faults.append(lost_reply)
        assert (await arbiter.cas(2, NEXT)).outcome is SwapOutcome.UNKNOWN
        assert not second.questions
        assert (await arbiter.read()).record == NEXT
        assert (len(first.questions), len(second.questions)) == (1, 1)


async def test_a_swap_goes_on_to_the_next_endpoint_if_the_last_declined() -> None:
    first, second = members(2)
    async with serving(first, second):
        arbiter = await created(first, second)
        first.faults.append(DECLINED["learner"])
        assert (await arbiter.cas(2, NEXT)).outcome is SwapOutcome.WON
        assert (len(first.questions), len(second.questions)) == (1, 1)


async def test_a_machine_that_takes_connections_and_says_nothing(tmp_path: Path, mock_clock: MockClock) -> None:
    """No TLS comes about, so that nothing was sent, and a swap is refused, not unknown."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    connected = trio.Event()

    async def silent(stream: trio.SocketStream) -> None:
        connected.set()
        await trio.sleep_forever()

    outcomes = []
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, silent, 0, host="127.0.0.1"))
        endpoint = f"https://127.0.0.1:{listener.socket.getsockname()[1]}"
        access = EtcdAccess(endpoints=(endpoint,), ca=tmp_path / "ca.pem")
        arbiter = EtcdArbiter.open(access, cluster="cluster", resource="volume", identity="x-y")

        async def swap() -> None:
            outcomes.append((await arbiter.cas(2, NEXT)).outcome)
            nursery.cancel_scope.cancel()

        nursery.start_soon(swap)
        await connected.wait()
        await wait_all_tasks_blocked()
        mock_clock.jump(CALL_LIMIT_S / 2)
    assert outcomes == [SwapOutcome.REFUSED]


async def test_a_cancelled_swap_ends_at_once(fake: FakeEtcd) -> None:
    arbiter = await created(fake)
    fake.faults.append(hang)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(arbiter.cas, 2, NEXT)
            await fake.hanging.wait()
            nursery.cancel_scope.cancel()
        assert (await arbiter.read()).record == NEXT


async def test_an_endless_answer_is_not_read_to_its_end(fake: FakeEtcd) -> None:
    arbiter = await created(fake)
    fake.faults.append(endless)
    with pytest.raises(ArbiterSilentError, match=f"more than {ANSWER_BYTES_MAX} bytes"):
        await arbiter.read()


async def test_each_question_has_a_connection_of_its_own(fake: FakeEtcd) -> None:
    arbiter = await created(fake)
    for _ in range(3):
        await arbiter.read()
    assert fake.connections == 4


async def test_nothing_of_the_environment_counts(fake: FakeEtcd, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    await (await created(fake)).read()


@pytest.mark.parametrize("fault", [lost_reply, truncated])
async def test_a_creation_that_may_have_happened_says_so(fake: FakeEtcd, fault: Fault) -> None:
    fake.faults.append(fault)
    with pytest.raises(ArbiterSilentError) as caught:
        await created(fake)
    assert caught.value.sent


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    path = tmp_path / "credentials"
    write_password(path, PASSWORD)
    return path


def write_password(path: Path, password: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(f"node:{password}\n")


async def test_a_token_that_ran_out_is_renewed_once(fake: FakeEtcd, credentials: Path) -> None:
    fake.password = PASSWORD
    arbiter = await created(fake, credentials=credentials)
    await arbiter.read()
    fake.tokens.clear()
    fake.questions.clear()
    assert (await arbiter.cas(2, NEXT)).outcome is SwapOutcome.WON
    assert fake.questions == ["/v3/kv/txn", "/v3/auth/authenticate", "/v3/kv/txn"]
    fake.questions.clear()
    assert (await arbiter.cas(3, NEXT)).outcome is SwapOutcome.WON
    assert fake.questions == ["/v3/kv/txn"]


async def given_up(
    call: Callable[[], Awaitable[object]], hung: FakeEtcd, clock: MockClock, after_s: float = CALL_LIMIT_S
) -> object:
    """What the call gives, or its error, if an etcd hangs for so long."""
    ended: list[object] = []

    async def make() -> None:
        try:
            ended.append(await call())
        except ArbiterError as error:
            ended.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make)
        await hung.hanging.wait()
        clock.jump(after_s)
    return ended.pop()


@pytest.mark.parametrize("swaps", [False, True])
async def test_a_token_that_etcd_holds_up_is_not_tried_again(
    fake: FakeEtcd, credentials: Path, mock_clock: MockClock, swaps: bool
) -> None:
    """One that was set back waits with a token of its later days, until it has come so far again."""
    fake.password = PASSWORD
    arbiter = await created(fake, credentials=credentials)
    await arbiter.read()
    fake.tokens.clear()
    fake.faults.append(hang)
    ended = await given_up(partial(arbiter.cas, 2, NEXT) if swaps else arbiter.read, fake, mock_clock)
    assert ended == SwapAnswer(SwapOutcome.UNKNOWN) if swaps else isinstance(ended, ArbiterSilentError)
    fake.questions.clear()
    for _ in range(2):
        assert (await arbiter.read()).record == sample_record()
    assert fake.questions == ["/v3/auth/authenticate", "/v3/kv/txn", "/v3/kv/txn"]


ASKED_ANEW = ["/v3/kv/txn", "/v3/auth/authenticate", "/v3/kv/txn"]


@pytest.mark.parametrize(
    ("fault", "error", "questions"),
    [
        (lost_reply, ArbiterSilentError, ASKED_ANEW),
        (instead(504, "Gateway Timeout", "text/html"), ArbiterSilentError, ASKED_ANEW),
        (instead(503, {"code": 14, "message": "etcdserver: no leader"}), ArbiterSilentError, ["/v3/kv/txn"] * 2),
        (DECLINED["denied"], ArbiterError, ["/v3/kv/txn"] * 2),
    ],
    ids=["no reply", "of a proxy", "no leader", "denied"],
)
async def test_a_token_is_given_up_only_if_etcd_does_not_answer(
    fake: FakeEtcd, credentials: Path, fault: Fault, error: type[ArbiterError], questions: list[str]
) -> None:
    fake.password = PASSWORD
    arbiter = await created(fake, credentials=credentials)
    await arbiter.read()
    fake.questions.clear()
    fake.faults.append(fault)
    with pytest.raises(error):
        await arbiter.read()
    await arbiter.read()
    assert fake.questions == questions


async def test_a_reader_goes_on_to_the_next_endpoint_with_a_new_token(credentials: Path, mock_clock: MockClock) -> None:
    first, second = members(2)
    first.password = second.password = PASSWORD
    async with serving(first, second):
        arbiter = await created(first, second, credentials=credentials)
        await arbiter.read()
        first.faults.append(hang)
        found = await given_up(arbiter.read, first, mock_clock, CALL_LIMIT_S / 2)
        assert isinstance(found, Versioned)
        assert second.questions == ["/v3/auth/authenticate", "/v3/kv/txn"]


async def test_a_call_that_hung_with_an_old_token_leaves_the_new_one(
    fake: FakeEtcd, credentials: Path, mock_clock: MockClock
) -> None:
    fake.password = PASSWORD
    arbiter = await created(fake, credentials=credentials)
    await arbiter.read()
    fake.faults.append(hang)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(arbiter.cas, 1, NEXT))
        await fake.hanging.wait()
        fake.tokens.clear()
        await arbiter.read()
        mock_clock.jump(CALL_LIMIT_S)
    fake.questions.clear()
    await arbiter.read()
    assert fake.questions == ["/v3/kv/txn"]


async def rotated(fake: FakeEtcd, credentials: Path) -> EtcdArbiter:
    """It has read the file, and had a token, before etcd was given another password."""
    fake.password = PASSWORD
    arbiter = await created(fake, credentials=credentials)
    await arbiter.read()
    fake.password = "another"
    fake.tokens.clear()
    fake.questions.clear()
    return arbiter


async def test_credentials_that_etcd_does_not_take_are_read_again(fake: FakeEtcd, credentials: Path) -> None:
    arbiter = await rotated(fake, credentials)
    write_password(credentials, "another")
    assert (await arbiter.cas(2, NEXT)).outcome is SwapOutcome.WON
    authenticate, ask = "/v3/auth/authenticate", "/v3/kv/txn"
    assert fake.questions == [ask, authenticate, authenticate, ask]
    fake.tokens.clear()
    fake.questions.clear()
    await arbiter.read()
    assert fake.questions == [ask, authenticate, ask]


async def test_credentials_that_are_still_the_same_are_not_tried_again(fake: FakeEtcd, credentials: Path) -> None:
    arbiter = await rotated(fake, credentials)
    assert (await arbiter.cas(2, NEXT)).outcome is SwapOutcome.REFUSED
    assert fake.questions == ["/v3/kv/txn", "/v3/auth/authenticate"]


def written_half(path: Path) -> None:
    path.write_text("node")


def removed(path: Path) -> None:
    path.unlink()


def opened_to_others(path: Path) -> None:
    path.write_text("node:another\n")
    path.chmod(0o644)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [(written_half, "must be one line"), (removed, "no such file"), (opened_to_others, "chmod 600")],
)
async def test_a_file_of_credentials_that_cannot_be_read_again_is_said_and_asked_for_until_it_can(
    fake: FakeEtcd, credentials: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None], problem: str
) -> None:
    arbiter = await rotated(fake, credentials)
    spoil(credentials)
    assert (await arbiter.cas(2, NEXT)).outcome is SwapOutcome.REFUSED
    with pytest.raises(ArbiterError, match=f"authentication failed; {credentials}: arbiter.credentials: .*{problem}"):
        await arbiter.read()
    assert problem in caplog.text
    write_password(credentials, "another")
    await arbiter.read()


async def test_a_file_of_credentials_on_a_disk_that_hangs_is_not_waited_for(
    fake: FakeEtcd, credentials: Path, mock_clock: MockClock
) -> None:
    arbiter = await rotated(fake, credentials)
    reading, released = trio.Event(), threading.Event()

    def hang_on_disk() -> None:
        trio.from_thread.run_sync(reading.set)
        released.wait()

    arbiter._gateway._load_credentials = hang_on_disk
    outcomes = []

    async def swap() -> None:
        outcomes.append((await arbiter.cas(2, NEXT)).outcome)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(swap)
            await reading.wait()
            mock_clock.jump(CALL_LIMIT_S)
    finally:
        released.set()
    assert outcomes == [SwapOutcome.REFUSED]


@pytest.mark.parametrize("fault", [lost_reply, instead(503, {}), instead(200, {}), instead(200, {"token": "a\nb"})])
async def test_a_swap_that_gets_no_token_was_not_sent(fake: FakeEtcd, credentials: Path, fault: Fault) -> None:
    fake.password = PASSWORD
    arbiter = await created(fake, credentials=credentials)
    fake.faulty_path = "/v3/auth/authenticate"
    fake.faults.append(fault)
    assert (await arbiter.cas(2, NEXT)).outcome is SwapOutcome.REFUSED
    assert fake.questions == ["/v3/auth/authenticate"]
    assert (await arbiter.read()).record == sample_record()


async def test_a_token_that_is_never_taken_ends_the_call(fake: FakeEtcd, credentials: Path) -> None:
    fake.password = PASSWORD
    arbiter = await created(fake, credentials=credentials)
    fake.faults.extend([DECLINED["no token"]] * 2)
    with pytest.raises(ArbiterError, match="invalid auth token"):
        await arbiter.read()


async def test_no_secret_gets_into_the_log(fake: FakeEtcd, credentials: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    fake.password = PASSWORD
    arbiter = await created(fake, credentials=credentials)
    for fault in (lost_reply, DECLINED["no token"], DECLINED["denied"], endless):
        fake.faults.append(fault)
        with suppress(ArbiterError):
            await arbiter.read()
    fake.password = "changed"
    fake.tokens.clear()
    with pytest.raises(ArbiterError, match="authentication failed"):
        await arbiter.read()
    assert "authentication failed" in caplog.text
    for text in (caplog.text, repr(arbiter._gateway)):
        assert PASSWORD not in text
        assert TOKEN not in text


def in_plain_text(text: str) -> Fault:
    async def fault(_: FakeEtcd, __: Callable[[], bytes], say: Say) -> None:
        content = text.encode()
        head = f"HTTP/1.1 400 X\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(content)}\r\n\r\n"
        await say(head.encode() + content)

    return fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("CommonName\nwill be\tignored\n", ": CommonName will be ignored"),
        ("\x1b[2J\x07", ": ?[2J?"),
        ("x" * 1000, ": " + "x" * MESSAGE_CHARACTERS_MAX),
        (" \r\n", ""),
    ],
)
async def test_what_is_answered_in_plain_text_is_said_in_one_short_line(fake: FakeEtcd, text: str, said: str) -> None:
    arbiter = await created(fake)
    fake.faults.append(in_plain_text(text))
    with pytest.raises(ArbiterSilentError) as caught:
        await arbiter.read()
    assert str(caught.value) == f"{fake.endpoint}: HTTP status 400 and no JSON object{said}"


async def test_what_etcd_says_in_json_is_said_in_one_printable_line(fake: FakeEtcd) -> None:
    arbiter = await created(fake)
    fake.faults.append(instead(400, {"code": 3, "message": "no\x1b[2J\n such user"}))
    with pytest.raises(ArbiterError) as caught:
        await arbiter.read()
    assert str(caught.value) == f"{fake.endpoint}: no?[2J such user"


@pytest.mark.parametrize("path", ["/v3/kv/txn", "/v3/auth/authenticate"])
async def test_no_secret_is_said_that_somebody_repeats(fake: FakeEtcd, credentials: Path, path: str) -> None:
    async def repeat(fake: FakeEtcd, apply: Callable[[], bytes], say: Say) -> None:
        secret = fake.tokens[-1] if path == "/v3/kv/txn" else PASSWORD
        await in_plain_text(f"I was asked: {secret}")(fake, apply, say)

    fake.password, fake.faulty_path = PASSWORD, path
    arbiter = await created(fake, credentials=credentials)
    fake.faults.append(repeat)
    with pytest.raises(ArbiterSilentError, match=r"HTTP status 400 and no JSON object$"):
        await arbiter.read()


async def test_a_failure_that_goes_on_is_logged_once(fake: FakeEtcd, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="ctlha_trio")
    arbiter = await created(fake)
    fake.faults.extend([instead(503, {"message": "x" * 1000})] * 3)
    for _ in range(3):
        with pytest.raises(ArbiterSilentError):
            await arbiter.read()
    await arbiter.read()
    await arbiter.read()
    said = [record.getMessage() for record in caplog.records]
    prefix = f"the arbiter: {fake.endpoint}: HTTP status 503: "
    assert said == [prefix + "x" * MESSAGE_CHARACTERS_MAX, "the arbiter answers again"]


async def test_members_that_fail_by_turns_are_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    """As when none leads: a swap that may have been taken goes to one of them only, and the next one to another."""
    caplog.set_level(logging.INFO, logger="ctlha_trio")
    many = members(3)
    async with serving(*many):
        arbiter = await created(*many)
        for member in many:
            member.faults.extend([instead(503, {"message": "no leader"})] * 3)
        for _ in range(3 * len(many)):
            assert (await arbiter.cas(1, NEXT)).outcome is SwapOutcome.UNKNOWN
        assert not any(member.faults for member in many)
        await arbiter.cas(1, NEXT)
    said = [record.getMessage() for record in caplog.records]
    failures = [f"the arbiter: {member.endpoint}: HTTP status 503: no leader" for member in many]
    assert said == [*failures, "the arbiter answers again"]
