"""An arbiter in an etcd cluster, for pairs that must not lose it with one of their nodes."""

import secrets
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs

from ctlha_trio._errors import ArbiterError, ArbiterSilentError, ConfigError, ForeignArbiterError
from ctlha_trio.arbiter._codec import decode_record, encode_record, require_resource
from ctlha_trio.arbiter._etcd_access import EtcdAccess, load_access, load_credentials
from ctlha_trio.arbiter._etcd_transactions import (
    Answer,
    Found,
    Keys,
    creating,
    parse_answer,
    probing,
    reading,
    removing,
    swapping,
)
from ctlha_trio.arbiter._problems import CallProblems
from ctlha_trio.pair import Record, SwapOutcome
from ctlha_trio.seams import SwapAnswer, Versioned

if TYPE_CHECKING:
    from ctlha_trio.arbiter._etcd_gateway import Gateway

_HTTP_LIBRARY: Final = "httpx2"


@attrs.define(eq=False, kw_only=True)
class EtcdArbiter:
    """The record of one resource in an etcd cluster. Made by ``open``; holds no connection between calls."""

    identity: str
    """The random id beside the record, a dash, and the id of the cluster in 16 hexadecimal digits.

    A cluster that is set up again in the same way has the same id as before, so that alone would not do; a copy of the
    data in another cluster has the same random id.
    """
    _cluster: str
    _resource: str
    _keys: Keys
    _gateway: "Gateway"
    _problems: CallProblems = attrs.field(factory=CallProblems, init=False)

    @staticmethod
    def open(access: EtcdAccess, *, cluster: str, resource: str, identity: str) -> "EtcdArbiter":
        """Bind to the data with this identity. Reads the files of ``access`` and asks nobody, so etcd may be down.

        A group of ``ConfigError`` for files that cannot be used, or if the package was installed without ``etcd``.
        """
        gateway = _open_gateway(access)
        keys = Keys.of(cluster, resource)
        return EtcdArbiter(identity=identity, cluster=cluster, resource=resource, keys=keys, gateway=gateway)

    @staticmethod
    async def discover(access: EtcdAccess, *, cluster: str, resource: str) -> "EtcdArbiter | None":
        """Bind to whatever data lies there, and None if none does: for who does not remember the identity.

        A checkpoint. ``ArbiterSilentError`` if nobody answers, ``ArbiterError`` if etcd declines; else as for ``open``.
        """
        found = EtcdArbiter.open(access, cluster=cluster, resource=resource, identity="")
        answer = parse_answer(await found._gateway.transact(reading(found._keys), repeatable=True), found._keys)
        if answer.found is None:
            return None
        found.identity = _identity(answer.found.identity, answer)
        return found

    async def read(self) -> Versioned:
        """The record as it is now. A checkpoint.

        ``ArbiterSilentError`` if nobody answers; ``ForeignArbiterError`` if what lies there is not the data that this
        arbiter is bound to; another ``ArbiterError`` if etcd declines.
        """
        try:
            answer = parse_answer(await self._gateway.transact(reading(self._keys), repeatable=True), self._keys)
            found = self._require_ours(answer)
            record = decode_record(found.body)
            if (record.cluster, record.resource) != (self._cluster, self._resource):
                raise ForeignArbiterError(f"a record of {record.cluster}/{record.resource} lies at {self._keys.record}")
        except ArbiterError as error:
            self._problems.note("read", str(error))
            raise
        self._problems.note("read", "")
        return Versioned(record, found.revision)

    async def cas(self, expected_revision: int, record: Record) -> SwapAnswer:
        """Replace the record if its revision still is ``expected_revision``. A checkpoint; cancelled: may be applied.

        ``InvalidError`` for a record of another resource or one that cannot be kept.
        """
        require_resource(record, self._cluster, self._resource)
        transaction = swapping(self._keys, self._random_id, expected_revision, encode_record(record))
        try:
            answer = await self._gateway.transact(transaction, repeatable=False)
        except ArbiterError as error:
            self._problems.note("swap", str(error))
            may_be_applied = isinstance(error, ArbiterSilentError) and error.sent
            return SwapAnswer(SwapOutcome.UNKNOWN if may_be_applied else SwapOutcome.REFUSED)
        try:
            swapped = self._judge(expected_revision, parse_answer(answer, self._keys))
        except ArbiterError as error:
            self._problems.note("swap", str(error))
            return SwapAnswer(SwapOutcome.UNKNOWN)
        self._problems.note("swap", "")
        return swapped

    async def probe(self) -> bool:
        """Whether the identity could be put as it is: the record and its revision stay. A checkpoint."""
        try:
            answer = await self._gateway.transact(probing(self._keys, self._random_id), repeatable=True)
            taken = parse_answer(answer, self._keys)
            if not (taken.succeeded and self._is_ours(self._random_id, taken)):
                raise ForeignArbiterError(f"another arbiter's data lies at {self._keys.record}")
        except ArbiterError as error:
            self._problems.note("swap", str(error))
            return False
        self._problems.note("swap", "")
        return True

    def _judge(self, expected_revision: int, answer: Answer) -> SwapAnswer:
        """What an answer to a swap means. ``ArbiterError`` for one that contradicts itself."""
        if answer.succeeded:
            if not self._is_ours(self._random_id, answer):
                raise ArbiterError(f"swapped at another arbiter: cluster {answer.cluster_id:016x}")
            return SwapAnswer(SwapOutcome.WON, answer.revision)
        if answer.found is None or not self._is_ours(answer.found.identity, answer):
            return SwapAnswer(SwapOutcome.REFUSED)
        if answer.found.revision == expected_revision:
            raise ArbiterError("a swap failed although nothing had moved")
        return SwapAnswer(SwapOutcome.LOST)

    @property
    def _random_id(self) -> str:
        return self.identity.rpartition("-")[0]

    def _is_ours(self, random_id: str, answer: Answer) -> bool:
        return _identity(random_id, answer) == self.identity

    def _require_ours(self, answer: Answer) -> Found:
        if answer.found is None:
            raise ForeignArbiterError(f"etcd holds no record at {self._keys.record}")
        if not self._is_ours(answer.found.identity, answer):
            raise ForeignArbiterError(f"another arbiter's data lies at {self._keys.record}")
        return answer.found


@attrs.frozen
class CreatedRecord:
    """A record that was just made."""

    identity: str
    revision: int


async def create_etcd_record(access: EtcdAccess, record: Record) -> CreatedRecord:
    """Put a record where none is, with a new random id beside it, in one transaction. A checkpoint.

    ``ConfigError``, alone or in a group, if a record of this resource is there, or as for ``EtcdArbiter.open``;
    ``ArbiterError`` if etcd declines, ``ArbiterSilentError`` if it does not answer: ``sent`` says if it may be there.
    """
    gateway, keys = _open_gateway(access), Keys.of(record.cluster, record.resource)
    random_id = secrets.token_hex(16)
    transaction = creating(keys, random_id, encode_record(record))
    answer = parse_answer(await gateway.transact(transaction, repeatable=False), keys)
    if not answer.succeeded:
        raise ConfigError("etcd", "arbiter.endpoints", f"{keys.record} exists; it is not overwritten")
    return CreatedRecord(_identity(random_id, answer), answer.revision)


async def remove_etcd_record(access: EtcdAccess, record: Record, created: CreatedRecord) -> None:
    """Take back what was created, if it is still there. A checkpoint. ``ArbiterError`` if that cannot be had."""
    keys = Keys.of(record.cluster, record.resource)
    transaction = removing(keys, created.identity.rpartition("-")[0])
    await _open_gateway(access).transact(transaction, repeatable=True)


def _identity(random_id: str, answer: Answer) -> str:
    return f"{random_id}-{answer.cluster_id:016x}"


def _open_gateway(access: EtcdAccess) -> "Gateway":
    context, credentials = load_access(access)
    try:
        # Only who has an arbiter in etcd needs the library.
        from ctlha_trio.arbiter._etcd_gateway import open_gateway  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != _HTTP_LIBRARY:
            raise
        problem = "etcd needs more than is installed: pip install 'ctlha-trio[etcd]', or in a checkout '.[etcd]'"
        raise ExceptionGroup("etcd cannot be used", [ConfigError("etcd", "arbiter.endpoints", problem)]) from error
    return open_gateway(access.endpoints, context, credentials, partial(load_credentials, access))
