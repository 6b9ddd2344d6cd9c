"""The arbiter in etcd, over a real one."""

import base64
import re
import shutil
import signal
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import attrs
import httpx2
import pytest
import trio
import trustme

from ctlha_trio._errors import ArbiterError, ArbiterSilentError, ConfigError
from ctlha_trio.arbiter import EtcdAccess, EtcdArbiter, create_etcd_record, remove_etcd_record
from ctlha_trio.arbiter._etcd_access import load_access
from ctlha_trio.pair import Record, SwapOutcome
from ctlha_trio.seams import Arbiter
from ctlha_trio.testing._processes.etcd_server import EtcdMember, leader_of, started_etcd
from ctlha_trio.testing._suites.arbiter_suite import ARBITER_CHECKS, ArbiterCheck, sample_record

RECORD_KEY = "/ctlha/cluster/volume/record"
IDENTITY_KEY = "/ctlha/cluster/volume/identity"
NEXT = sample_record(epoch=8, proposal="next")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def ask(
    endpoint: str, path: str, question: dict[str, object], context: ssl.SSLContext | None = None
) -> dict[str, object]:
    answer = httpx2.post(f"{endpoint}/v3/{path}", json=question, verify=context or True, timeout=10)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert isinstance(found, dict)
    return found


def put(endpoint: str, key: str, value: str) -> None:
    ask(endpoint, "kv/put", {"key": encoded(key), "value": encoded(value)})


def delete(endpoint: str, key: str) -> None:
    ask(endpoint, "kv/deleterange", {"key": encoded(key)})


@pytest.fixture
def endpoint(etcd_endpoint: str) -> str:
    """The shared etcd, with no record in it."""
    ask(etcd_endpoint, "kv/deleterange", {"key": encoded("/ctlha/"), "range_end": encoded("/ctlha0")})
    return etcd_endpoint


def reached(access: EtcdAccess, identity: str) -> EtcdArbiter:
    return EtcdArbiter.open(access, cluster="cluster", resource="volume", identity=identity)


async def created(*endpoints: str, record: Record | None = None) -> EtcdArbiter:
    access = EtcdAccess(endpoints=endpoints)
    return reached(access, (await create_etcd_record(access, record or sample_record())).identity)


@pytest.mark.parametrize("check", ARBITER_CHECKS, ids=lambda check: check.__name__)
async def test_etcd_arbiter_conforms(check: ArbiterCheck, endpoint: str) -> None:
    async def make(record: Record) -> Arbiter:
        delete(endpoint, RECORD_KEY)
        delete(endpoint, IDENTITY_KEY)
        return await created(endpoint, record=record)

    await check(make)


async def test_an_arbiter_is_found_by_who_does_not_remember_it(endpoint: str) -> None:
    access = EtcdAccess(endpoints=(endpoint,))
    assert await EtcdArbiter.discover(access, cluster="cluster", resource="volume") is None
    known = await created(endpoint)
    found = await EtcdArbiter.discover(access, cluster="cluster", resource="volume")
    assert found is not None
    assert found.identity == known.identity
    assert await found.read() == await known.read()


async def test_creating_gives_the_revision_and_never_overwrites(endpoint: str) -> None:
    access = EtcdAccess(endpoints=(endpoint,))
    made = await create_etcd_record(access, sample_record())
    before = await reached(access, made.identity).read()
    assert before.revision == made.revision
    with pytest.raises(ConfigError, match="exists"):
        await create_etcd_record(access, sample_record(proposal="other"))
    assert await reached(access, made.identity).read() == before


@pytest.mark.parametrize("left", [RECORD_KEY, IDENTITY_KEY])
async def test_creating_refuses_half_a_record_too(endpoint: str, left: str) -> None:
    put(endpoint, left, "x")
    with pytest.raises(ConfigError, match="exists"):
        await created(endpoint)


async def test_what_was_created_can_be_taken_back_but_nothing_of_another(endpoint: str) -> None:
    access = EtcdAccess(endpoints=(endpoint,))
    first = await create_etcd_record(access, sample_record())
    await remove_etcd_record(access, sample_record(), first)
    with pytest.raises(ArbiterError, match="no record"):
        await reached(access, first.identity).read()
    second = await create_etcd_record(access, sample_record())
    await remove_etcd_record(access, sample_record(), first)
    assert (await reached(access, second.identity).read()).revision == second.revision


async def test_each_record_has_an_identity_of_its_own_in_one_cluster(endpoint: str) -> None:
    first = await created(endpoint)
    other = await create_etcd_record(EtcdAccess(endpoints=(endpoint,)), sample_record(resource="other"))
    assert first.identity != other.identity
    assert first.identity[-17:] == other.identity[-17:], "the cluster's id differs"


async def test_another_record_in_its_place_is_noticed(endpoint: str) -> None:
    arbiter = await created(endpoint)
    revision = (await arbiter.read()).revision
    put(endpoint, IDENTITY_KEY, "another")
    with pytest.raises(ArbiterError, match="another arbiter's data"):
        await arbiter.read()
    assert (await arbiter.cas(revision, NEXT)).outcome is SwapOutcome.REFUSED
    assert not await arbiter.probe()


async def test_the_same_data_in_another_cluster_is_noticed(endpoint: str) -> None:
    arbiter = await created(endpoint)
    found = await arbiter.read()
    moved = reached(EtcdAccess(endpoints=(endpoint,)), arbiter.identity[:-16] + "0123456789abcdef")
    with pytest.raises(ArbiterError, match="another arbiter's data"):
        await moved.read()
    assert (await moved.cas(found.revision - 1, NEXT)).outcome is SwapOutcome.REFUSED
    assert (await moved.cas(found.revision, NEXT)).outcome is SwapOutcome.UNKNOWN


@pytest.mark.parametrize("lost", [RECORD_KEY, IDENTITY_KEY])
async def test_a_key_that_is_gone(endpoint: str, lost: str) -> None:
    arbiter = await created(endpoint)
    revision = (await arbiter.read()).revision
    delete(endpoint, lost)
    with pytest.raises(ArbiterError, match="no record"):
        await arbiter.read()
    for expected in (revision, 0):
        assert (await arbiter.cas(expected, NEXT)).outcome is SwapOutcome.REFUSED


async def test_the_revision_rises_past_a_deletion(endpoint: str) -> None:
    arbiter = await created(endpoint)
    before = await arbiter.read()
    delete(endpoint, RECORD_KEY)
    put(endpoint, RECORD_KEY, '{"format": 2}')
    with pytest.raises(ArbiterError, match="format 2"):
        await arbiter.read()
    delete(endpoint, RECORD_KEY)
    delete(endpoint, IDENTITY_KEY)
    assert (await (await created(endpoint)).read()).revision > before.revision


async def test_a_record_of_another_resource_at_this_place(endpoint: str) -> None:
    arbiter = await created(endpoint)
    await create_etcd_record(EtcdAccess(endpoints=(endpoint,)), sample_record(resource="other"))
    other = ask(endpoint, "kv/range", {"key": encoded("/ctlha/cluster/other/record")})["kvs"]
    assert isinstance(other, list)
    ask(endpoint, "kv/put", {"key": encoded(RECORD_KEY), "value": other[0]["value"]})
    with pytest.raises(ArbiterError, match="a record of cluster/other"):
        await arbiter.read()


async def test_other_keys_do_not_move_the_revision(endpoint: str) -> None:
    arbiter = await created(endpoint)
    before = await arbiter.read()
    put(endpoint, "/other", "x")
    assert await arbiter.read() == before
    assert (await arbiter.cas(before.revision, NEXT)).outcome is SwapOutcome.WON


async def test_a_dead_endpoint_costs_a_swap_nothing(endpoint: str) -> None:
    arbiter = await created("http://127.0.0.1:1", endpoint)
    swapped = await arbiter.cas((await arbiter.read()).revision, NEXT)
    assert swapped.outcome is SwapOutcome.WON


async def test_nobody_there() -> None:
    arbiter = reached(EtcdAccess(endpoints=("http://127.0.0.1:1", "http://localhost:1")), "x-y")
    with pytest.raises(ArbiterSilentError, match=r"127\.0\.0\.1:1: no connection: .*; .*localhost:1: ") as caught:
        await arbiter.read()
    assert not caught.value.sent
    assert (await arbiter.cas(1, NEXT)).outcome is SwapOutcome.REFUSED


async def restart(member: EtcdMember) -> None:
    member.end()
    member.start()
    await trio.to_thread.run_sync(member.wait_ready)


async def test_a_store_that_was_set_back_shows_an_older_revision(etcd_program: str, tmp_path: Path) -> None:
    """It is the same cluster with the same record, so that only what a node remembers tells it."""
    with started_etcd(etcd_program, tmp_path / "etcd") as (member,):
        arbiter = await created(member.endpoint)
        before = await arbiter.read()
        member.kill()
        shutil.copytree(tmp_path / "etcd", tmp_path / "copy")
        await restart(member)
        assert (await arbiter.cas(before.revision, NEXT)).outcome is SwapOutcome.WON
        member.kill()
        shutil.rmtree(tmp_path / "etcd")
        shutil.copytree(tmp_path / "copy", tmp_path / "etcd")
        await restart(member)
        assert await arbiter.read() == before


def secured(endpoint: str, context: ssl.SSLContext | None = None) -> None:
    """Turn authentication on, with a user who may only use the keys of one cluster."""
    asked = partial(ask, endpoint, context=context)
    for user in ("root", "node"):
        asked("auth/user/add", {"name": user, "password": f"of:{user}"})
        asked("auth/role/add", {"name": user})
        asked("auth/user/grant", {"user": user, "role": user})
    everything = {"permType": "READWRITE", "key": encoded("/ctlha/cluster/"), "range_end": encoded("/ctlha/cluster0")}
    asked("auth/role/grant", {"name": "node", "perm": everything})
    asked("auth/enable", {})


def private_file(path: Path, content: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(content)
    return path


@pytest.fixture
def secured_etcd(etcd_program: str, tmp_path: Path) -> Iterator[EtcdMember]:
    with started_etcd(etcd_program, tmp_path / "etcd") as (member,):
        secured(member.endpoint)
        yield member


async def test_user_and_password_from_a_file(secured_etcd: EtcdMember, tmp_path: Path) -> None:
    endpoints = (secured_etcd.endpoint,)
    access = EtcdAccess(endpoints=endpoints, credentials=private_file(tmp_path / "right", "node:of:node\n"))
    arbiter = reached(access, (await create_etcd_record(access, sample_record())).identity)
    before = await arbiter.read()
    assert (await arbiter.cas(before.revision, NEXT)).outcome is SwapOutcome.WON
    # Tokens live in a member's memory: after its restart the one that we have means nothing.
    await restart(secured_etcd)
    found = await arbiter.read()
    assert (found.record, found.revision > before.revision) == (NEXT, True)
    await restart(secured_etcd)
    assert (await arbiter.cas(found.revision, NEXT)).outcome is SwapOutcome.WON
    for credentials in (None, private_file(tmp_path / "wrong", "node:of:root")):
        other = reached(EtcdAccess(endpoints=endpoints, credentials=credentials), arbiter.identity)
        with pytest.raises(ArbiterError, match=r"user name is empty|authentication failed") as caught:
            await other.read()
        assert not isinstance(caught.value, ArbiterSilentError)
        assert "of:" not in str(caught.value)
        assert (await other.cas(found.revision, NEXT)).outcome is SwapOutcome.REFUSED
    elsewhere = EtcdArbiter.open(access, cluster="other", resource="volume", identity="x-y")
    with pytest.raises(ArbiterError, match="permission denied"):
        await elsewhere.read()


@pytest.fixture
def tls_etcd(etcd_program: str, tmp_path: Path) -> Iterator[tuple[str, EtcdAccess]]:
    """An etcd that speaks TLS and asks for certificates, and the right way to reach it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name, issued in {
        "server": authority.issue_cert("127.0.0.1"),
        "client": authority.issue_cert("client.example"),
        "named": authority.issue_cert("client.example", common_name="node"),
        "expired": authority.issue_cert("client.example", not_after=datetime(2020, 1, 1, tzinfo=UTC)),
        "foreign": trustme.CA().issue_cert("client.example"),
    }.items():
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        private_file(tmp_path / f"{name}.key", issued.private_key_pem.bytes().decode())
    arguments = ["--cert-file", str(tmp_path / "server.pem"), "--key-file", str(tmp_path / "server.key")]
    arguments += ["--client-cert-auth", "--trusted-ca-file", str(tmp_path / "ca.pem")]
    with started_etcd(etcd_program, tmp_path / "etcd", scheme="https", arguments=arguments) as (member,):
        access = EtcdAccess(
            endpoints=(member.endpoint,),
            ca=tmp_path / "ca.pem",
            certificate=tmp_path / "client.pem",
            key=tmp_path / "client.key",
        )
        yield member.endpoint, access


async def test_tls_with_certificates_on_both_sides(tls_etcd: tuple[str, EtcdAccess], tmp_path: Path) -> None:
    endpoint, access = tls_etcd
    arbiter = reached(access, (await create_etcd_record(access, sample_record())).identity)
    revision = (await arbiter.read()).revision
    assert (await arbiter.cas(revision, NEXT)).outcome is SwapOutcome.WON
    # Without a certificate, which TLS 1.3 refuses only after the question was sent.
    nameless = reached(EtcdAccess(endpoints=(endpoint,), ca=access.ca), arbiter.identity)
    with pytest.raises(ArbiterSilentError):
        await nameless.read()
    assert (await nameless.cas(revision, NEXT)).outcome is not SwapOutcome.WON
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    by_name = endpoint.replace("127.0.0.1", "localhost")
    wrong = [EtcdAccess(endpoints=(endpoint,), ca=tmp_path / "other.pem")]
    wrong.append(EtcdAccess(endpoints=(by_name,), ca=access.ca, certificate=access.certificate, key=access.key))
    for stranger in (reached(access, arbiter.identity) for access in wrong):
        with pytest.raises(ArbiterError, match="its certificate is not trusted") as caught:
            await stranger.read()
        assert not isinstance(caught.value, ArbiterSilentError)
        assert (await stranger.cas(revision, NEXT)).outcome is SwapOutcome.REFUSED


@pytest.mark.parametrize(
    ("name", "alert"), [("", "certificate required"), ("expired", "certificate expired"), ("foreign", "unknown ca")]
)
async def test_a_client_certificate_that_is_missing_or_not_taken_is_said(
    tls_etcd: tuple[str, EtcdAccess], tmp_path: Path, name: str, alert: str
) -> None:
    """By whatever etcd's TLS says of it: that of 3.4 has one alert for all three."""
    _, access = tls_etcd
    given = (tmp_path / f"{name}.pem", tmp_path / f"{name}.key") if name else (None, None)
    arbiter = reached(attrs.evolve(access, certificate=given[0], key=given[1]), "x-y")
    # With TLS 1.3 it is a race whether its last words come before the connection breaks.
    for _ in range(5):
        with pytest.raises(ArbiterSilentError, match=r"a client certificate is missing or not taken$") as caught:
            await arbiter.read()
        said = (
            rf": (TLS alert: (bad certificate|{alert}): |the connection broke, as where |Connection reset |Broken pipe)"
        )
        assert re.search(said, str(caught.value))


async def test_the_wrong_scheme_is_asked_about(tls_etcd: tuple[str, EtcdAccess], endpoint: str) -> None:
    secure, access = tls_etcd
    plain = reached(EtcdAccess(endpoints=(secure.replace("https", "http"),)), "x-y")
    with pytest.raises(ArbiterSilentError, match="; is it https there"):
        await plain.read()
    over_tls = reached(attrs.evolve(access, endpoints=(endpoint.replace("http", "https"),)), "x-y")
    with pytest.raises(ArbiterSilentError, match="; is it http there"):
        await over_tls.read()


async def test_with_authentication_a_certificate_with_a_common_name_is_declined_in_words(
    tls_etcd: tuple[str, EtcdAccess], tmp_path: Path
) -> None:
    endpoint, access = tls_etcd
    secured(endpoint, load_access(access)[0])
    access = attrs.evolve(access, credentials=private_file(tmp_path / "credentials", "node:of:node"))
    made = await create_etcd_record(access, sample_record())
    named = attrs.evolve(access, certificate=tmp_path / "named.pem", key=tmp_path / "named.key")
    with pytest.raises(ArbiterError, match="no JSON object: CommonName of client sending a request"):
        await reached(named, made.identity).read()
    await reached(access, made.identity).read()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_three_members_and_their_leader_fails(etcd_program: str, tmp_path: Path, number: signal.Signals) -> None:
    with started_etcd(etcd_program, tmp_path, members=3) as members:
        first = leader_of(members)
        arbiter = await created(first.endpoint, *(m.endpoint for m in members if m is not first))
        before = await arbiter.read()
        first.send_signal(number)
        with trio.fail_after(30):
            # As the pair does: read, swap, and while the outcome is unknown the same swap on the same revision again.
            # That loses to one before it that was taken, and of which nobody was told.
            outcomes: list[SwapOutcome] = []
            while True:
                outcomes.append((await arbiter.cas(before.revision, NEXT)).outcome)
                assert outcomes[-1] is not SwapOutcome.LOST or SwapOutcome.UNKNOWN in outcomes
                try:
                    found = await arbiter.read()
                except ArbiterSilentError:
                    continue
                if found.revision != before.revision:
                    break
        assert found.record == NEXT
        assert (await arbiter.cas(before.revision, NEXT)).outcome is SwapOutcome.LOST
