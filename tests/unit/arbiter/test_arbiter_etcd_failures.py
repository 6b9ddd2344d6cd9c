"""What a failure to reach etcd is called."""

import ssl

import httpx2
import pytest
import trio

from ctlha_trio.arbiter._etcd_failures import why_broken, why_not_connected

ASKS = "a client certificate is missing or not taken"


def broken_by(reason: BaseException) -> httpx2.ReadError:
    error = httpx2.ReadError("")
    error.__cause__ = reason
    return error


def of_tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] in OpenSSL's words (_ssl.c:1)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (of_tls("SSLV3_ALERT_BAD_CERTIFICATE"), f"TLS alert: bad certificate: {ASKS}"),
        (of_tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), f"TLS alert: certificate required: {ASKS}"),
        (of_tls("TLSV1_ALERT_UNKNOWN_CA"), f"TLS alert: unknown ca: {ASKS}"),
        (of_tls("TLSV1_ALERT_INTERNAL_ERROR"), "TLS alert: internal error"),
        (of_tls("UNEXPECTED_EOF_WHILE_READING"), "TLS: unexpected eof while reading"),
        (ssl.SSLError(1, "no more"), "TLS: no more"),
        (trio.BrokenResourceError(), f"the connection broke, as where {ASKS}"),
        (ConnectionResetError(104, "reset"), f"Connection reset by peer, as where {ASKS}"),
        (ValueError(), "ValueError"),
    ],
)
def test_what_breaks_a_connection_with_tls(reason: BaseException, said: str) -> None:
    assert why_broken(broken_by(reason), "https://etcd.example:2379") == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx2.RemoteProtocolError("It went."), "It went; is it https there?"),
        (broken_by(ConnectionResetError(104, "reset")), "Connection reset by peer; is it https there?"),
        (broken_by(trio.BrokenResourceError()), "the connection broke; is it https there?"),
    ],
)
def test_what_breaks_a_connection_without_tls(error: httpx2.HTTPError, said: str) -> None:
    assert why_broken(error, "http://127.0.0.1:2379") == said


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (ConnectionRefusedError(111, "refused"), "Connection refused"),
        (of_tls("UNEXPECTED_EOF_WHILE_READING"), "TLS: unexpected eof while reading; is it http there?"),
        (of_tls("WRONG_VERSION_NUMBER"), "TLS: wrong version number; is it http there?"),
        (of_tls("UNSUPPORTED_PROTOCOL"), "TLS: unsupported protocol"),
        (of_tls("TLSV1_ALERT_PROTOCOL_VERSION"), "TLS alert: protocol version"),
    ],
)
def test_what_hinders_a_connection(reason: BaseException, said: str) -> None:
    assert why_not_connected(broken_by(reason)) == said
