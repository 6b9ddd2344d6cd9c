"""How etcd is reached: endpoints, and the files with certificates and credentials."""

import builtins
import os
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trustme
from hypothesis import given, strategies as st

from ctlha_trio._errors import ArbiterError, ConfigError
from ctlha_trio.arbiter import EtcdAccess, EtcdArbiter, contradictions, parse_endpoint
from ctlha_trio.arbiter._etcd_access import ENDPOINTS_MAX, Credentials, load_access
from ctlha_trio.arbiter._etcd_transactions import Answer, Keys, parse_answer

PLAIN = EtcdAccess(endpoints=("http://127.0.0.1:2379",))
CA = Path("ca.pem")


@pytest.mark.parametrize(
    "text", ["https://etcd.example:2379", "https://[2001:db8::1]:2379", "http://localhost:1", "http://[::1]:2379"]
)
def test_endpoints(text: str) -> None:
    assert parse_endpoint(text) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("etcd", "expected https://HOST:PORT"),
        ("", "expected https://HOST:PORT"),
        ("ftp://127.0.0.1:2379", "expected https://HOST:PORT"),
        ("https://127.0.0.1", "expected HOST:PORT"),
        ("https://127.0.0.1:2379/", "expected HOST:PORT"),
        ("https://user:password@etcd:2379", "^user and password have no place in an endpoint"),
        ("https://etcd/x:2379", "neither a name nor an address"),
        ("https://etcd:0", "from 1 on"),
        ("http://192.0.2.1:2379", "http is for loopback only"),
        ("http://localhost.example:2379", "http is for loopback only"),
    ],
)
def test_endpoints_that_are_none(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_endpoint(text)


@pytest.mark.parametrize(
    ("access", "fields"),
    [
        (PLAIN, []),
        (EtcdAccess(endpoints=()), ["endpoints"]),
        (EtcdAccess(endpoints=("https://e:1", "https://e:1"), ca=CA), ["endpoints"]),
        (EtcdAccess(endpoints=tuple(f"https://e:{n + 1}" for n in range(ENDPOINTS_MAX + 1)), ca=CA), ["endpoints"]),
        (EtcdAccess(endpoints=("https://e:1",)), ["ca"]),
        (EtcdAccess(endpoints=("https://e:1", "http://[::1]:1"), ca=CA), []),
        (EtcdAccess(endpoints=("https://e:1",), ca=CA, certificate=CA), ["key"]),
        (EtcdAccess(endpoints=("https://e:1",), ca=CA, key=CA), ["certificate"]),
        (attrs.evolve(PLAIN, ca=CA, certificate=CA, key=CA, credentials=CA), ["ca", "certificate", "key"]),
    ],
)
def test_what_does_not_fit_together(access: EtcdAccess, fields: list[str]) -> None:
    assert [field for field, _ in contradictions(access)] == fields


@pytest.fixture
def access(tmp_path: Path) -> EtcdAccess:
    """With all files, all as they should be."""
    authority = trustme.CA()
    issued = authority.issue_cert("node.example")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "node.pem")
    for name, content in (("node.key", issued.private_key_pem.bytes()), ("credentials", b"node:pass:word\r\n")):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_bytes(content)
    return EtcdAccess(
        endpoints=("https://etcd.example:2379",),
        ca=tmp_path / "ca.pem",
        certificate=tmp_path / "node.pem",
        key=tmp_path / "node.key",
        credentials=tmp_path / "credentials",
    )


def test_files_as_they_should_be(access: EtcdAccess) -> None:
    context, credentials = load_access(access)
    assert context.check_hostname
    assert [certificate["subject"] for certificate in context.get_ca_certs()]
    assert credentials == Credentials("node", "pass:word")
    assert "pass:word" not in repr(credentials)


def test_without_files_nobody_is_trusted() -> None:
    context, credentials = load_access(PLAIN)
    assert (context.get_ca_certs(), credentials) == ([], None)


def remove(path: Path) -> None:
    path.unlink()


def spoil(path: Path) -> None:
    path.write_bytes(b"\xff nothing")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def make_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def open_to_others(path: Path) -> None:
    path.chmod(0o640)


def add_a_line(path: Path) -> None:
    path.write_text("node:password\nmore")


@pytest.mark.parametrize(
    ("field", "damage", "says"),
    [(field, damage, "") for field in ("ca", "certificate", "key", "credentials") for damage in (spoil, empty)]
    + [(field, remove, "no such file") for field in ("ca", "certificate", "key", "credentials")]
    + [(field, make_a_pipe, "not a file") for field in ("ca", "certificate", "key", "credentials")]
    + [(field, open_to_others, "chmod 600") for field in ("key", "credentials")]
    + [("credentials", add_a_line, "one line")],
)
def test_a_file_that_cannot_be_used(access: EtcdAccess, field: str, damage: Callable[[Path], None], says: str) -> None:
    path: Path = getattr(access, field)
    damage(path)
    with pytest.raises(ExceptionGroup) as caught:
        load_access(access)
    (error,) = caught.value.exceptions
    assert isinstance(error, ConfigError)
    assert says in error.problem
    # A certificate and a key are only loaded together, so that one of them has to stand for both.
    assert error.key == f"arbiter.{field}" or (field, damage in (spoil, empty)) == ("key", True)
    assert str(path) in str(error)
    assert "word" not in error.problem


def test_every_file_that_is_missing_is_named_at_once(access: EtcdAccess) -> None:
    for name in ("ca", "key", "credentials"):
        getattr(access, name).unlink()
    with pytest.raises(ExceptionGroup) as caught:
        load_access(access)
    keys = [error.key for error in caught.value.exceptions if isinstance(error, ConfigError)]
    assert keys == ["arbiter.ca", "arbiter.key", "arbiter.credentials"]


def test_without_the_http_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ctlha_trio.arbiter._etcd_gateway", raising=False)
    real_import = builtins.__import__

    def no_httpx2(name: str, *arguments: object, **keywords: object) -> object:
        if name == "httpx2":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real_import(name, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", no_httpx2)
    with pytest.raises(ExceptionGroup) as caught:
        EtcdArbiter.open(PLAIN, cluster="cluster", resource="volume", identity="x-y")
    (error,) = caught.value.exceptions
    assert isinstance(error, ConfigError)
    assert (error.key, error.problem) == (
        "arbiter.endpoints",
        "etcd needs more than is installed: pip install 'ctlha-trio[etcd]', or in a checkout '.[etcd]'",
    )


NAMES = st.sampled_from(
    ["header", "cluster_id", "revision", "succeeded", "responses", "response_range", "kvs", "key", "mod_revision"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.sampled_from(["1", "0", "-1", "9" * 30, "", "\u0661", "eA=="])
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4))


@given(st.dictionaries(NAMES, JSON))
def test_whatever_is_answered_is_an_answer_or_an_arbiters_error(answer: dict[str, object]) -> None:
    header = {"cluster_id": "1", "revision": "2"}
    for question in (answer, answer | {"header": header}, answer | {"header": header, "responses": [answer]}):
        try:
            found = parse_answer(question, Keys.of("cluster", "volume"))
        except ArbiterError:
            continue
        assert isinstance(found, Answer)
        assert found.revision > 0
