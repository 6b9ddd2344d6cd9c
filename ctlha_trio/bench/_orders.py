"""What the measuring side orders of the serving one: messages of the channel that is measured, each a JSON object."""

import json
from typing import Any, Final

from ctlha_trio._errors import FailedError
from ctlha_trio._parsed_json import parse_json
from ctlha_trio.bench._node import MESSAGE_BYTES
from ctlha_trio.ha import MessageChannel

MESSAGE: Final = bytes(MESSAGE_BYTES)
"""What is sent where a message's contents do not matter. No order begins like it."""
_FAILED: Final = "failed"


def send_order(channel: MessageChannel, **fields: object) -> None:
    """An order, or the answer to one. There is room for it: nothing else is under way. Not a checkpoint."""
    channel.send_nowait(json.dumps(fields).encode().ljust(MESSAGE_BYTES))


def send_failure(channel: MessageChannel, problem: str) -> None:
    """The answer of who could not do what was ordered. Not a checkpoint."""
    send_order(channel, **{_FAILED: problem[: MESSAGE_BYTES // 2].encode("ascii", "replace").decode()})


async def receive_order(channel: MessageChannel) -> dict[str, Any]:
    """The next one. ``FailedError`` for what is none, or if the other side has failed. A checkpoint."""
    message = await channel.receive()
    try:
        fields = parse_json(message)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise FailedError("the other side does not say what is expected: give the command there anew")
    if _FAILED in fields:
        raise FailedError(f"the other side: {fields[_FAILED]}")
    return fields
