"""What has kept etcd from answering, in words of the system and of TLS, and with what is often behind them."""

import os
import ssl
from typing import Final

import trio

from ctlha_trio.arbiter._etcd_access import HTTPS

_ALERT: Final = "ALERT_"
"""In OpenSSL's name of what the other side said in its last words."""
_OF_CERTIFICATES: Final = ("certificate", "unknown ca", "access denied", "decrypt error")
"""In the names of alerts by which a certificate is declined."""

_NO_TLS: Final = ("UNEXPECTED_EOF_WHILE_READING", "WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""What OpenSSL, as its version has it, makes of who ends the connection or answers in text."""


def root(error: BaseException) -> BaseException:
    """What lies at the bottom of an error of the library: the operating system's or OpenSSL's."""
    while True:
        # The library cuts causes off on their way; the context is still there.
        below = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__
        if below is None:
            return error
        error = below


def why_not_connected(error: BaseException) -> str:
    """Why there is no connection, or no TLS on it."""
    reason = root(error)
    speaks_no_tls = isinstance(reason, ssl.SSLError) and _openssl_name(reason) in _NO_TLS
    return _describe(reason) + ("; is it http there?" if speaks_no_tls else "")


def why_broken(error: BaseException, endpoint: str) -> str:
    """Why there is a connection, with TLS if that is due, and no answer on it."""
    reason = root(error)
    said = _describe(reason)
    if not endpoint.startswith(HTTPS):
        return f"{said}; is it https there?"
    if isinstance(reason, ssl.SSLError) or not isinstance(reason, trio.BrokenResourceError | OSError):
        return said
    # With TLS 1.3 a certificate is declined when the question is on its way, and that may get lost.
    return f"{said}, as where a client certificate is missing or not taken"


def _describe(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        # Its number is OpenSSL's own.
        return _describe_tls(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    if isinstance(error, trio.BrokenResourceError):
        return str(error) or "the connection broke"
    return str(error).rstrip(".") or type(error).__name__


def _describe_tls(error: ssl.SSLError) -> str:
    _, is_alert, name = _openssl_name(error).rpartition(_ALERT)
    words = name.lower().replace("_", " ")
    if not is_alert:
        return f"TLS: {words or error}"
    if any(certain in words for certain in _OF_CERTIFICATES):
        return f"TLS alert: {words}: a client certificate is missing or not taken"
    return f"TLS alert: {words}"


def _openssl_name(error: ssl.SSLError) -> str:
    """Empty if it is not OpenSSL that says it."""
    return getattr(error, "reason", None) or ""
