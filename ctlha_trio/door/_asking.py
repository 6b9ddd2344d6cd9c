"""The other side of the status socket: for the command line, the demo and tests."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from ctlha_trio._errors import (
    DisconnectError,
    FailedError,
    InvalidError,
    RemoteProtocolError,
    RoleStaysError,
    TurnedAwayError,
    UnknownOutcomeError,
)
from ctlha_trio._parsed_json import parse_json
from ctlha_trio.door._connect import access_denied, connect
from ctlha_trio.door._protocol import TurnedAway
from ctlha_trio.door._streams import PatientReader

STATUS_S: Final = 2.0
"""For an answer to ``status``, which a node gives without asking anybody."""
FORCE_S: Final = 60.0
"""For a forced change, of which an arbiter that leaves the node in doubt has no bound. A fence has its own."""
SWITCHOVER_S: Final = 60.0
"""For a switchover; each of its steps is bounded by the node itself."""
_MAX_ANSWER_BYTES: Final = 256 * 1024
"""A status with its whole list of transitions."""


async def status_of(path: Path, *, timeout_s: float = STATUS_S) -> dict[str, object]:
    """What the node behind a status socket says. ``DisconnectError`` if it does not answer in time.

    ``TurnedAwayError``, which is one, if it does not take the connection; ``ConfigError`` for what is no socket, and
    for one of another user. So have all others that ask.
    """
    return _table(path, await _ask(path, {"request": "status"}, timeout_s), "status")


async def switchover_of(path: Path, *, timeout_s: float = SWITCHOVER_S) -> None:
    """Ask a node to hand its role over.

    ``RoleStaysError`` with its causes if it did not, another ``FailedError`` if it knows none; ``DisconnectError`` if
    it could not be asked, ``UnknownOutcomeError`` if it was and does not answer.
    """
    await _ask_for_change(path, {"request": "switchover"}, timeout_s)


async def switchover_plan_of(path: Path, *, timeout_s: float = STATUS_S) -> dict[str, object]:
    """What ``switchover_of`` would lead to: the fields of ``Rehearsal``.

    ``FailedError`` with the reason if the node cannot tell, ``DisconnectError`` if it does not answer.
    """
    answer = await _ask(path, {"request": "plan-switchover"}, timeout_s)
    _require_ok(answer)
    return _table(path, answer, "plan")


async def failover_plan_of(path: Path, *, timeout_s: float = STATUS_S) -> dict[str, object]:
    """What would follow if the other node died now: the fields of ``FailoverPlan``. Errors as of ``switchover_of``."""
    answer = await _ask(path, {"request": "plan-failover"}, timeout_s)
    _require_ok(answer)
    return _table(path, answer, "plan")


async def verify_of(path: Path, *, timeout_s: float = STATUS_S) -> int:
    """Have a node begin to compare both copies; its number, by which ``status_of`` tells how it goes.

    ``FailedError`` with the reason if it does not, ``DisconnectError`` if it does not answer.
    """
    answer = await _ask(path, {"request": "verify"}, timeout_s)
    _require_ok(answer)
    number = answer.get("number")
    if not isinstance(number, int):
        raise DisconnectError(f"{path}: the answer is no number")
    return number


async def force_plan_of(path: Path, abandon: str, *, timeout_s: float = STATUS_S) -> dict[str, object]:
    """What ``force_primary_of`` would change: the fields of ``Plan``. Errors as of ``switchover_plan_of``.

    And ``fence_command``, which is empty if the node has no way to fence the other one.
    """
    answer = await _ask(path, {"request": "plan-force", "abandon": abandon}, timeout_s)
    _require_ok(answer)
    return _table(path, answer, "plan")


async def force_primary_of(
    path: Path, abandon: str, *, revision: int, fence: bool = False, timeout_s: float = FORCE_S
) -> None:
    """Make the node the only one that counts, if its record still is of that revision, and have the other one fenced.

    ``FailedError`` with the reason if it did not come about; else as ``switchover_of``.
    """
    request = {"request": "force-primary", "abandon": abandon, "revision": revision, "fence": fence}
    await _ask_for_change(path, request, timeout_s)


def _require_ok(answer: dict[str, object]) -> None:
    if answer.get("ok") is True:
        return
    problem, causes = str(answer.get("error", "no reason given")), answer.get("causes")
    if answer.get("unknown") is True:
        raise UnknownOutcomeError(problem)
    if isinstance(causes, list):
        raise RoleStaysError(tuple(map(str, causes)), problem)
    raise FailedError(problem)


def _table(path: Path, answer: dict[str, object], key: str) -> dict[str, object]:
    table = answer.get(key)
    if not isinstance(table, dict):
        raise DisconnectError(f"{path}: the answer is no {key}")
    return table


async def _ask(path: Path, request: Mapping[str, object], timeout_s: float) -> dict[str, object]:
    stream = await _reach(path, timeout_s)
    with stream.socket:
        return await _converse(path, stream, request, timeout_s)


async def _ask_for_change(path: Path, request: Mapping[str, object], timeout_s: float) -> None:
    """Only of a node that answers: a frozen one would be waited for, and do it later.

    From the first byte of the request on, only the node can say that nothing was done.
    """
    stream = await _reach(path, timeout_s)
    with stream.socket:
        await _converse(path, stream, {"request": "status"}, STATUS_S)
        try:
            answer = await _converse(path, stream, request, timeout_s)
        except DisconnectError as error:
            raise UnknownOutcomeError(str(error)) from error
    _require_ok(answer)


async def _reach(path: Path, timeout_s: float) -> trio.SocketStream:
    """For an answer within that time. ``InvalidError`` if it is none."""
    if not timeout_s >= 0:
        raise InvalidError(f"{timeout_s} s for an answer")
    return await connect(path)


async def _converse(
    path: Path, stream: trio.SocketStream, request: Mapping[str, object], timeout_s: float
) -> dict[str, object]:
    try:
        with trio.fail_after(timeout_s):
            with suppress(trio.BrokenResourceError):  # what the node said before it closed says why
                await stream.send_all(json.dumps(request).encode() + b"\n")
            answer = parse_json(await PatientReader(stream).line(_MAX_ANSWER_BYTES))
    except trio.TooSlowError as error:
        raise DisconnectError(f"{path}: no answer within {timeout_s:g} s") from error
    except (trio.BrokenResourceError, RemoteProtocolError, ValueError) as error:
        raise DisconnectError(f"{path}: no usable answer: {error}") from error
    if not isinstance(answer, dict):
        raise DisconnectError(f"{path}: the answer is no object")
    why = answer.get("turned_away")
    if why == str(TurnedAway.ANOTHER_USER):
        raise access_denied(path)
    if why is not None:
        raise TurnedAwayError(str(why), f"{path}: {answer.get('error')}")
    return answer
