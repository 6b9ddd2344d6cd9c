"""The values of a configuration, each read by itself: from what TOML gives to a type of its own, or ``ValueError``."""

import re
from collections.abc import Callable, Sequence
from typing import Final, NewType, TypeVar

from ctlha_trio.arbiter import parse_endpoint
from ctlha_trio.ha import HOLD_DOWN_S
from ctlha_trio.seams import MAX_PINS, Pin, parse_address, parse_pin

BLOCK_BYTES: Final = 4096
"""A volume's size is a multiple of it: the page of every machine this runs on."""
MAX_VOLUME_BYTES: Final = 64 * 1024**4
"""64 TiB, what common file systems hold in one file."""
MAX_HOLD_DOWN_S: Final = 24 * 3600
"""A day: whoever wants to wait longer wants to decide."""
MAX_FENCE_TIMEOUT_S: Final = 600
"""The slowest power switches take a minute."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Item = TypeVar("Item")

Name = NewType("Name", str)
Address = NewType("Address", str)
PathText = NewType("PathText", str)
Size = NewType("Size", int)
Pins = NewType("Pins", tuple[Pin, ...])
Endpoints = NewType("Endpoints", tuple[str, ...])
Command = NewType("Command", tuple[str, ...])
GiveBackMode = NewType("GiveBackMode", str)
HoldDown = NewType("HoldDown", int)
FenceTimeout = NewType("FenceTimeout", int)

MANUAL: Final = GiveBackMode("manual")
AUTOMATIC: Final = GiveBackMode("automatic")
GIVE_BACK_MODES: Final = (MANUAL, AUTOMATIC)
DEFAULT_HOLD_DOWN: Final = HoldDown(int(HOLD_DOWN_S))
DEFAULT_FENCE_TIMEOUT: Final = FenceTimeout(30)
"""A power switch answers within seconds, a hypervisor that is busy within half a minute."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text in quotes")
    return value


def _read_each(items: Sequence[object], read: Callable[[str], Item]) -> tuple[Item, ...]:
    """``ValueError`` with the faults of all, by their places if there are several items."""
    found, problems = list[Item](), list[str]()
    for number, item in enumerate(items, 1):
        try:
            found.append(read(_text(item)))
        except ValueError as error:
            problems.append(f"number {number}: {error}" if len(items) > 1 else str(error))
    if problems:
        raise ValueError("; ".join(problems))
    return tuple(found)


def read_name(value: object) -> Name:
    """Of a cluster, a node or a resource."""
    text = _text(value)
    if not _NAME.fullmatch(text):
        raise ValueError("must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit")
    return Name(text)


def read_address(value: object) -> Address:
    """``HOST:PORT``."""
    text = _text(value)
    _, port = parse_address(text)
    if port == 0:
        raise ValueError(f"{text!r}: the port must be a number from 1 on")
    return Address(text)


def read_path(value: object) -> PathText:
    """Of a file."""
    text = _text(value)
    if not text or "\0" in text:
        raise ValueError("must be the path of a file")
    return PathText(text)


def read_whole(value: object) -> int:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


def read_size(value: object) -> Size:
    """Bytes of a volume."""
    size = read_whole(value)
    if not BLOCK_BYTES <= size <= MAX_VOLUME_BYTES or size % BLOCK_BYTES:
        raise ValueError(f"must be a multiple of {BLOCK_BYTES}, up to 64 TiB")
    return Size(size)


def read_pins(value: object) -> Pins:
    """One key or two."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_PINS:
        raise ValueError("must be a list of one or two keys")
    return Pins(_read_each(value, parse_pin))


def read_give_back_mode(value: object) -> GiveBackMode:
    """One of ``GIVE_BACK_MODES``."""
    if value not in GIVE_BACK_MODES:
        raise ValueError(f"must be one of {', '.join(GIVE_BACK_MODES)}")
    return GiveBackMode(_text(value))


def read_hold_down(value: object) -> HoldDown:
    """Seconds."""
    return HoldDown(_seconds(value, MAX_HOLD_DOWN_S))


def read_fence_timeout(value: object) -> FenceTimeout:
    """Seconds."""
    return FenceTimeout(_seconds(value, MAX_FENCE_TIMEOUT_S))


def _seconds(value: object, most: int) -> int:
    seconds = read_whole(value)
    if not 1 <= seconds <= most:
        raise ValueError(f"must be 1 to {most} seconds")
    return seconds


def read_command(value: object) -> Command:
    """A program by its whole path, and its arguments."""
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list: the path of a program, and its arguments")
    words = tuple(_text(item) for item in value)
    if not words[0].startswith("/") or any("\0" in word for word in words):
        raise ValueError("must begin with the whole path of a program")
    return Command(words)


def read_endpoints(value: object) -> Endpoints:
    """URLs."""
    if not isinstance(value, list):
        raise ValueError("must be a list of addresses such as https://HOST:PORT")
    return Endpoints(_read_each(value, parse_endpoint))
