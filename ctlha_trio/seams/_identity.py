"""Who a node is: an Ed25519 key. Who its peer is: the public half of another one."""

import base64
import binascii
from pathlib import Path

import attrs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ctlha_trio._errors import ConfigError
from ctlha_trio.seams._key_files import read_key_file

PIN_SCHEME = "ed25519:"
PIN_BYTES = 32

CONFIG_KEY = "link.key"

_PRIME = 2**255 - 19
_ORDER_EIGHT = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_WEAK_ORDINATES = {0, 1, _PRIME - 1, _ORDER_EIGHT, _PRIME - _ORDER_EIGHT}


@attrs.frozen(repr=False)
class Pin:
    """A public key that is trusted, in 32 bytes. As short as a fingerprint and, unlike one, enough to verify with."""

    raw: bytes

    def __str__(self) -> str:
        """Text for configurations: ``ed25519:`` and base64."""
        return PIN_SCHEME + base64.b64encode(self.raw).decode()

    def __repr__(self) -> str:
        """Show the text."""
        return f"Pin({self})"


def parse_pin(text: str) -> Pin:
    """Read ``ed25519:<base64>``; ``ValueError`` that says what is wrong with it.

    The few keys that verify forged signatures are refused, among them all zeros, which people write as a placeholder.
    """
    if not text.startswith(PIN_SCHEME):
        raise ValueError(f"a pin starts with {PIN_SCHEME}")
    try:
        raw = base64.b64decode(text.removeprefix(PIN_SCHEME), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the part of the pin behind the colon is not base64") from error
    if len(raw) != PIN_BYTES or str(Pin(raw)) != text:
        raise ValueError(f"a pin is {PIN_BYTES} bytes in base64, not {len(raw)}")
    if (int.from_bytes(raw, "little") & (2**255 - 1)) % _PRIME in _WEAK_ORDINATES:
        raise ValueError("this pin is no key of a node: anybody could sign for it")
    return Pin(raw)


def pin_of(public: Ed25519PublicKey) -> Pin:
    """The pin of a public key."""
    return Pin(public.public_bytes_raw())


def describe_key(private: Ed25519PrivateKey) -> str:
    """Text of the pin by which the other node trusts this key."""
    return str(pin_of(private.public_key()))


def make_key() -> bytes:
    """Generate a node key, as PKCS#8 PEM. Goes into a file of mode 0600."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_key(path: str | Path) -> Ed25519PrivateKey:
    """Read a node key that only its owner can read. ``ConfigError`` names the file and what is wrong with it."""
    content = read_key_file(path, CONFIG_KEY)
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError as error:
        raise ConfigError(path, CONFIG_KEY, "encrypted: a node starts without anybody to ask") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(path, CONFIG_KEY, "not a private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(path, CONFIG_KEY, "not an Ed25519 key")
    return key
