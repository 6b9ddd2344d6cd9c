"""Addresses as text: ``HOST:PORT``, with an IPv6 address in brackets."""

import ipaddress

MAX_HOST_LENGTH = 253
"""Characters; the longest name that DNS has."""

MAX_PORT = 65535


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[IPV6]:PORT``; ``ValueError`` that says what is wrong with it."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()):
        raise ValueError(f"{text!r}: expected HOST:PORT, with a number for the port")
    if len(port) > len(str(MAX_PORT)) or int(port) > MAX_PORT:
        raise ValueError(f"{text!r}: the port is above {MAX_PORT}")
    if host.startswith("[") and host.endswith("]"):
        return _ipv6(text, host[1:-1]), int(port)
    if ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address goes in brackets, as in [::1]:7900")
    if (
        not host
        or len(host) > MAX_HOST_LENGTH
        or not host.isascii()
        or not all(c.isalnum() or c in ".-_" for c in host)
    ):
        raise ValueError(f"{text!r}: the host is neither a name nor an address")
    return host, int(port)


def format_address(host: str, port: int) -> str:
    """Text that ``parse_address`` takes apart again."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(address: str) -> bool:
    """Whether ``HOST:PORT`` stays on this machine for certain: a loopback address, or the name ``localhost``."""
    host, _ = parse_address(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _ipv6(text: str, host: str) -> str:
    try:
        ipaddress.IPv6Address(host)
    except ValueError as error:
        raise ValueError(f"{text!r}: what stands in brackets is not an IPv6 address") from error
    return host
