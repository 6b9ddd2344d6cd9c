import base64
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ctlha_trio._errors import ConfigError
from ctlha_trio.seams import Pin, describe_key, load_key, make_key, parse_pin


def private_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "node.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def problem_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_key(path)
    assert caught.value.file == str(path)
    assert caught.value.key == "link.key"
    return caught.value.problem


def test_a_made_key_is_loaded_and_described(tmp_path: Path) -> None:
    content = make_key()
    assert content.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert make_key() != content
    key = load_key(private_file(tmp_path, content))
    text = describe_key(key)
    assert text.startswith("ed25519:")
    assert len(text) == len("ed25519:") + 44
    assert parse_pin(text) == Pin(key.public_key().public_bytes_raw())
    assert str(parse_pin(text)) == text


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o601, 0o620, 0o610, 0o602, 0o777])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    assert f"mode {mode:04o}" in problem_of(private_file(tmp_path, make_key(), mode))


def test_a_key_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = private_file(tmp_path, make_key())
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert "another user" in problem_of(path)


def test_what_is_not_there_or_not_a_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in problem_of(tmp_path / "missing")
    assert "not a file" in problem_of(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "not a file" in problem_of(tmp_path / "pipe")


def test_a_key_that_cannot_be_opened_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = private_file(tmp_path, make_key())

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert "Permission denied" in problem_of(path)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "not a private key" in problem_of(private_file(tmp_path, content))


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    other = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert "not an Ed25519 key" in problem_of(private_file(tmp_path, other))


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    key = load_pem_private_key(make_key(), None)
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    assert "encrypted" in problem_of(private_file(tmp_path, content))


def text_of(number: int) -> str:
    return "ed25519:" + base64.b64encode(number.to_bytes(32, "little")).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ed25519",
        "ed25519:",
        "rsa:AAAA",
        "ed25519:AAAA",
        "ed25519:" + "A" * 44,
        "ed25519:" + "!" * 43 + "=",
        "ed25519:" + base64.b64encode(b"\xaa" * 33).decode(),
        "ed25519:" + base64.b64encode(b"\xaa" * 32).decode().rstrip("="),
        "ed25519:" + base64.b64encode(b"\xaa" * 32).decode() + "\n",
        "ed25519: " + base64.b64encode(b"\xaa" * 32).decode(),
        "ed25519:" + base64.b64encode(b"\xaa" * 32).decode().replace("o=", "p="),
        "ed25519:ä",
    ],
)
def test_what_is_no_pin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="pin"):
        parse_pin(text)


PRIME = 2**255 - 19
SIGN = 2**255


@pytest.mark.parametrize("number", [0, 1, PRIME - 1, PRIME, PRIME + 1, SIGN, SIGN + 1, SIGN + PRIME - 1])
def test_a_pin_that_anybody_can_sign_for_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="anybody could sign"):
        parse_pin(text_of(number))


def test_a_pin_of_order_eight_is_refused() -> None:
    number = 2707385501144840649318225287225658788936804267575313519463743609750303402022
    for weak in (number, PRIME - number, SIGN + number):
        with pytest.raises(ValueError, match="anybody could sign"):
            parse_pin(text_of(weak))


def test_the_private_half_shows_nowhere() -> None:
    key = Ed25519PrivateKey.generate()
    assert base64.b64encode(key.private_bytes_raw()).decode() not in repr(parse_pin(describe_key(key)))
