"""Questions to etcd's JSON gateway over HTTP: several endpoints, a limit on each call, and what a failure leaves open.

Each question has a connection of its own. On one that was kept, a member's restart would be found out only after the
question was sent, and a swap be in doubt for nothing. Only the library's transport is used: no redirects, no cookies,
no proxies, and nothing of the environment.
"""

import ssl
from collections.abc import Callable, Sequence, Set
from typing import Final

import attrs
import httpx2
import trio

from ctlha_trio._errors import ArbiterError, ArbiterSilentError, ConfigError, NoThreadError
from ctlha_trio._parsed_json import parse_json
from ctlha_trio._printable import printable
from ctlha_trio.arbiter._codec import RECORD_CHARACTERS_MAX
from ctlha_trio.arbiter._etcd_access import Credentials
from ctlha_trio.arbiter._etcd_failures import root, why_broken, why_not_connected
from ctlha_trio.arbiter._etcd_transactions import Json
from ctlha_trio.seams import is_lack_of_threads, run_in_thread

CALL_LIMIT_S: Final = 2.75
"""For one call, over all endpoints. While a leader is elected etcd does not answer, with its default times for up to
2.5 s; whoever asks gives up after 3 s, and should hear from here before that."""
CONNECT_SHARE: Final = 0.25
"""Of an endpoint's time, for the connection and again for its TLS: less than half is gone when a dead machine is known
to be one, which is a certain no, and the rest is for the answer."""
ANSWER_BYTES_MAX: Final = 8 * RECORD_CHARACTERS_MAX
"""The longest record, at up to four bytes a character, in base64, and some hundred bytes around it."""
MESSAGE_CHARACTERS_MAX: Final = 200
"""Of what etcd says in its own words; goes into logs."""

_OK: Final = 200
_CLIENT_ERROR: Final = 4
"""The hundreds of an HTTP status."""
_DECLINED: Final = frozenset({3, 7, 9, 16})
"""gRPC's codes for an invalid argument, no permission, a wrong state and no authentication, which etcd finds out before
it changes anything. Not so that for exhausted resources: a transaction that fills the store is applied and refused."""
_NOT_AUTHENTICATED: Final = "authentication failed"
_STALE_TOKENS: Final = ("invalid auth token", "revision of auth store is old")


class _DeclinedError(ArbiterError):
    """It was certainly not done, and will not be before somebody has changed something."""


class _UnansweredError(ArbiterSilentError):
    """It was sent, and nothing came that an etcd says, in time or at all."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, sent=True)


@attrs.define(eq=False)
class Gateway:
    """The endpoints of one cluster. Holds no connection between calls."""

    _endpoints: Sequence[str]
    _transport: httpx2.AsyncHTTPTransport
    _credentials: Credentials | None
    _load_credentials: Callable[[], Credentials | None]
    """Reads their file, once more, and may block."""
    _threads: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)
    """For that file, which may be on a disk that hangs."""
    _preferred: int = attrs.field(default=0, init=False)
    """The endpoint that is asked first: always the one after the last that failed."""
    _token: str = attrs.field(default="", init=False, repr=False)

    async def transact(self, transaction: Json, *, repeatable: bool) -> Json:
        """The answer to a transaction, from whichever endpoint gives one. A checkpoint; cancelled: may be applied.

        One that is not ``repeatable`` goes to another endpoint only if the last one certainly did not take it.
        ``ArbiterSilentError`` if there is no answer; ``ArbiterError`` if etcd declined: it was certainly not applied.
        """
        ends_s = trio.current_time() + CALL_LIMIT_S
        failures: list[ArbiterError] = []
        first = self._preferred
        for tried in range(len(self._endpoints)):
            index = (first + tried) % len(self._endpoints)
            now_s = trio.current_time()
            limit_s = (ends_s - now_s) / (len(self._endpoints) - tried)
            try:
                return await self._ask(self._endpoints[index], transaction, now_s + limit_s)
            except ArbiterError as error:
                self._preferred = (index + 1) % len(self._endpoints)
                failures.append(error)
                if _may_be_applied(error) and not repeatable:
                    break
        raise _summary(failures)

    async def _ask(self, endpoint: str, transaction: Json, ends_s: float) -> Json:
        if self._credentials is None:
            return await self._post(endpoint, "kv/txn", transaction, ends_s)
        token = self._token or await self._authenticate(endpoint, self._credentials, ends_s)
        try:
            return await self._post_known(endpoint, transaction, ends_s, token)
        except _DeclinedError as error:
            if not any(stale in str(error) for stale in _STALE_TOKENS):
                raise
        token = await self._authenticate(endpoint, self._credentials, ends_s)
        return await self._post_known(endpoint, transaction, ends_s, token)

    async def _post_known(self, endpoint: str, transaction: Json, ends_s: float, token: str) -> Json:
        """Forgets a token that nothing came of. Where etcd was set back to before it gave it, it says nothing of it.

        A member waits with a token until its log is as long as where the token was given.
        """
        try:
            return await self._post(endpoint, "kv/txn", transaction, ends_s, token)
        except _UnansweredError:
            # Another call may have got a newer one meanwhile.
            if self._token == token:
                self._token = ""
            raise

    async def _authenticate(self, endpoint: str, credentials: Credentials, ends_s: float) -> str:
        """A new token, with what the file of credentials has by then if etcd does not take those that were read."""
        try:
            return await self._new_token(endpoint, credentials, ends_s)
        except _DeclinedError as error:
            if _NOT_AUTHENTICATED not in str(error):
                raise
            replaced = await self._reread(str(error), ends_s)
            if replaced is None or replaced == credentials:
                raise
        self._credentials = replaced
        return await self._new_token(endpoint, replaced, ends_s)

    async def _reread(self, declined: str, ends_s: float) -> Credentials | None:
        try:
            with trio.fail_at(ends_s):
                return await run_in_thread(self._load_credentials, abandon_on_cancel=True, limiter=self._threads)
        except NoThreadError as error:
            raise _DeclinedError(f"{declined}; the file of credentials: {error}") from error
        except ConfigError as error:
            raise _DeclinedError(f"{declined}; {error}") from error
        except trio.TooSlowError as error:
            raise _DeclinedError(f"{declined}; the file of credentials cannot be read in time") from error

    async def _new_token(self, endpoint: str, credentials: Credentials, ends_s: float) -> str:
        question = {"name": credentials.user, "password": credentials.password}
        try:
            answer = await self._post(endpoint, "auth/authenticate", question, ends_s)
        except ArbiterSilentError as error:
            # What may have been sent is this question, not the one that waits for it.
            raise ArbiterSilentError(str(error), sent=False) from error
        token = answer.get("token")
        if not isinstance(token, str) or not token or not (token.isascii() and token.isprintable()):
            raise ArbiterSilentError(f"{endpoint}: authenticated without a token", sent=False)
        self._token = token
        return token

    async def _post(self, endpoint: str, path: str, question: Json, ends_s: float, token: str = "") -> Json:
        connect_s = max(0.0, ends_s - trio.current_time()) * CONNECT_SHARE
        request = httpx2.Request(
            "POST",
            f"{endpoint}/v3/{path}",
            # Identity: what is compressed has no bound that can be seen from outside.
            headers={"Accept-Encoding": "identity"} | ({"Authorization": token} if token else {}),
            json=question,
            extensions={"timeout": httpx2.Timeout(None, connect=connect_s).as_dict()},
        )
        try:
            with trio.fail_at(ends_s):
                status, kind, content = await self._exchange(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            reason = root(error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise _DeclinedError(f"{endpoint}: its certificate is not trusted: {reason.verify_message}") from error
            raise ArbiterSilentError(f"{endpoint}: no connection: {why_not_connected(error)}", sent=False) from error
        except httpx2.HTTPError as error:
            raise _UnansweredError(f"{endpoint}: {why_broken(error, endpoint)}") from error
        except RuntimeError as error:
            if not is_lack_of_threads(error):
                raise
            # As of a dial: the library needs a thread only to look up the host, before anything is sent.
            raise ArbiterSilentError(f"{endpoint}: no connection: {error}", sent=False) from error
        except trio.TooSlowError as error:
            raise _UnansweredError(f"{endpoint}: no answer in time") from error
        return _judge(endpoint, status, kind, content, secrets={token, str(question.get("password", ""))})

    async def _exchange(self, request: httpx2.Request) -> tuple[int, str, bytes]:
        """Status, media type and body; of a body that is too long only so much that this can be seen."""
        response = await self._transport.handle_async_request(request)
        content = bytearray()
        try:
            async for piece in response.aiter_raw():
                content += piece
                if len(content) > ANSWER_BYTES_MAX:
                    # Ends the loop with an error. Left by itself, it would leave generators of the library unfinished.
                    await response.aclose()
        except httpx2.HTTPError:
            if len(content) <= ANSWER_BYTES_MAX:
                raise
        finally:
            await response.aclose()
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return response.status_code, kind, bytes(content)


def open_gateway(
    endpoints: Sequence[str],
    context: ssl.SSLContext,
    credentials: Credentials | None,
    load_credentials: Callable[[], Credentials | None],
) -> Gateway:
    """Connects to nothing yet."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    transport = httpx2.AsyncHTTPTransport(verify=context, limits=limits)
    return Gateway(endpoints, transport, credentials, load_credentials)


def _judge(endpoint: str, status: int, kind: str, content: bytes, *, secrets: Set[str]) -> Json:
    """The body, if it is the answer of an etcd that did as asked."""
    if len(content) > ANSWER_BYTES_MAX:
        raise ArbiterSilentError(f"{endpoint}: an answer of more than {ANSWER_BYTES_MAX} bytes", sent=True)
    try:
        answer = parse_json(content) if kind == "application/json" else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        said = _in_plain_text(content, secrets) if kind == "text/plain" else ""
        raise _UnansweredError(f"{endpoint}: HTTP status {status} and no JSON object{said and f': {said}'}")
    if status == _OK:
        return answer
    message = _in_short(str(answer.get("message", "")))
    code = answer.get("code")
    if status // 100 == _CLIENT_ERROR and isinstance(code, int) and code in _DECLINED:
        raise _DeclinedError(f"{endpoint}: {message}")
    raise ArbiterSilentError(f"{endpoint}: HTTP status {status}: {message}", sent=True)


def _in_plain_text(content: bytes, secrets: Set[str]) -> str:
    """In short; empty if one of the secrets is in it, for whoever answers may repeat what it was asked."""
    text = content.decode(errors="replace")
    return "" if any(secret in text for secret in secrets if secret) else _in_short(text)


def _in_short(text: str) -> str:
    return printable(" ".join(text.split()))[:MESSAGE_CHARACTERS_MAX]


def _may_be_applied(error: ArbiterError) -> bool:
    return isinstance(error, ArbiterSilentError) and error.sent


def _summary(failures: Sequence[ArbiterError]) -> ArbiterError:
    """All of them as one. What may have been taken outweighs a refusal, and that somebody refused a silence."""
    # In an order that does not depend on who was asked first, so that a failure that goes on reads the same.
    text = "; ".join(sorted(map(str, failures)))
    if any(map(_may_be_applied, failures)):
        return ArbiterSilentError(text, sent=True)
    if any(isinstance(error, _DeclinedError) for error in failures):
        return ArbiterError(text)
    return ArbiterSilentError(text, sent=False)
