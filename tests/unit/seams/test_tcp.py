import errno
import socket
from typing import cast

import pytest
import trio
from trio.socket import SocketType
from trio.testing import MockClock

from ctlha_trio._errors import CtlHaError, InvalidError
from ctlha_trio.seams import SocketListener, Stream, TcpTransport, format_address, parse_address
from ctlha_trio.seams._kernel_queue import UNSENT_BYTES
from ctlha_trio.seams._serve import MAX_CONNECTIONS
from ctlha_trio.seams._tcp import ACCEPT_PAUSE_S, connect
from ctlha_trio.seams._tcp_stream import TcpStream


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("10.0.0.1:7900", ("10.0.0.1", 7900)),
        ("[::1]:7900", ("::1", 7900)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("node-a.example.org:0", ("node-a.example.org", 0)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_an_address_is_taken_apart_and_put_together(text: str, parts: tuple[str, int]) -> None:
    assert parse_address(text) == parts
    assert format_address(*parts) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected HOST:PORT"),
        ("host", "expected HOST:PORT"),
        ("host:", "expected HOST:PORT"),
        ("host:x", "expected HOST:PORT"),
        ("host:-1", "expected HOST:PORT"),
        ("host:²", "expected HOST:PORT"),
        ("host:٣", "expected HOST:PORT"),
        ("host:65536", "above 65535"),
        (":7900", "neither a name nor an address"),
        ("a host:7900", "neither a name nor an address"),
        ("höst:7900", "neither a name nor an address"),
        ("h" * 300 + ":7900", "neither a name nor an address"),
        ("host:" + "9" * 5000, "above 65535"),
        ("::1:7900", "brackets"),
        ("[::1:7900", "brackets"),
        ("[host]:7900", "not an IPv6 address"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_address(text)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:7900", "[::]:0", "example.org:7900"])
async def test_plain_tcp_stays_within_the_machine(address: str) -> None:
    with pytest.raises(InvalidError, match="within one machine"):
        await TcpTransport().dial(address)
    with pytest.raises(InvalidError, match="within one machine"):
        await TcpTransport().listen(address)


async def test_nothing_waits_to_be_sent_together() -> None:
    with trio.fail_after(10):
        listener = await TcpTransport().listen("127.0.0.1:0")
        stream = await connect(listener.address)
        assert stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        stream.close()
        listener.close()


async def test_no_message_waits_behind_much_that_was_not_sent() -> None:
    with trio.fail_after(10):
        listener = await TcpTransport().listen("127.0.0.1:0")
        stream = await connect(listener.address)
        assert stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNSENT_BYTES
        stream.close()
        listener.close()


async def test_after_little_has_come_it_waits_before_it_looks_again() -> None:
    """Else each message would cost a call that finds nothing."""

    async def say(stream: Stream) -> None:
        await stream.send_all(b"word")
        await heard.wait()
        await stream.send_all(b"more")
        await trio.sleep_forever()

    heard, buffer = trio.Event(), memoryview(bytearray(10))
    with trio.fail_after(10):
        listener = await TcpTransport().listen("127.0.0.1:0")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, say)
            stream = await connect(listener.address)
            assert await stream.receive_into(buffer) == 4
            heard.set()
            await trio.lowlevel.wait_readable(stream._socket)
            assert (stream._read_into(buffer), stream._read_into(buffer)) == (None, 4)
            stream.close()
            nursery.cancel_scope.cancel()
        listener.close()


async def test_a_closed_end_receives_nothing_however_little_came_last() -> None:
    async def say(stream: Stream) -> None:
        await stream.send_all(b"word")
        await trio.sleep_forever()

    with trio.fail_after(10):
        listener = await TcpTransport().listen("127.0.0.1:0")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, say)
            stream = await connect(listener.address)
            assert await stream.receive_into(memoryview(bytearray(10))) == 4
            stream.close()
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_into(memoryview(bytearray(10)))
            nursery.cancel_scope.cancel()
        listener.close()


async def test_only_so_many_connections_are_served_and_the_next_when_one_ends() -> None:
    dialled: list[Stream] = []

    async def serve(stream: Stream) -> None:
        await stream.send_all(b"x")
        await stream.receive_into(memoryview(bytearray(1)))

    async def is_served() -> bool:
        """One more."""
        dialled.append(await TcpTransport().dial(listener.address))
        return await dialled[-1].receive_into(memoryview(bytearray(1))) == 1

    with trio.fail_after(10):
        listener = await TcpTransport().listen("127.0.0.1:0")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, serve)
            assert [await is_served() for _ in range(MAX_CONNECTIONS + 1)] == [True] * MAX_CONNECTIONS + [False]
            for ended in dialled[:2]:
                ended.close()
                while not await is_served():  # the end of the other takes some turns of the loop
                    pass
            assert not await is_served()
            nursery.cancel_scope.cancel()
        for stream in dialled:
            stream.close()
        listener.close()


class FailingSocket:
    """A listening socket that cannot accept."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls = 0

    async def accept(self) -> tuple[SocketType, object]:
        await trio.lowlevel.checkpoint()
        self.calls += 1
        if self.calls > 1000:
            raise OSError(errno.EBADF, "enough")
        raise OSError(self.number, "made by the test")

    def close(self) -> None:
        self.number = errno.EBADF


def listener_on(failing: FailingSocket, reports: list[CtlHaError]) -> SocketListener:
    async def admit(stream: TcpStream) -> Stream:
        await trio.lowlevel.checkpoint()
        return stream

    return SocketListener(
        sockets=[cast("SocketType", failing)], admit=admit, report=reports.append, address="127.0.0.1:1"
    )


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINVAL])
async def test_errors_that_stay_do_not_make_accept_spin(number: int, autojump_clock: MockClock) -> None:
    failing = FailingSocket(number)
    with trio.move_on_after(10 * ACCEPT_PAUSE_S):
        await listener_on(failing, []).serve(hold)
    assert 5 <= failing.calls <= 12


async def test_errors_of_one_connection_do_not_delay_the_next(autojump_clock: MockClock) -> None:
    failing = FailingSocket(errno.ECONNABORTED)
    began = trio.current_time()
    with pytest.raises(ExceptionGroup) as caught:
        await listener_on(failing, []).serve(hold)
    assert caught.group_contains(trio.ClosedResourceError)
    assert trio.current_time() == began


async def hold(_: Stream) -> None:
    await trio.sleep_forever()


async def test_a_closed_listener_ends_its_serve() -> None:
    with trio.fail_after(10):
        listener = await TcpTransport().listen("localhost:0")
        listener.close()
        with pytest.raises(ExceptionGroup) as caught:
            await listener.serve(hold)
        assert caught.group_contains(trio.ClosedResourceError)
