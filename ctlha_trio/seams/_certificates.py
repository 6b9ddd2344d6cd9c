"""Pinned raw keys in the clothes of X.509, so that the standard library's TLS can verify them.

Python's ``ssl`` knows no verification of one's own; it can only follow certificates to an anchor. So each node shows a
certificate that its key signed, issued by a name that spells out that key. Who pinned the key builds an anchor of that
name and that key by itself. Following the certificate to the anchor is then exactly the check that the pinned key made
it, and the handshake proves that the other side holds that key. Nothing but the key is in it: no dates, no authority.
"""

import datetime
import os
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ctlha_trio.seams._identity import Pin, pin_of

NODE_NAME = "ctlha-node"
ORGANISATION = "ctlha"

NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which ``ssl`` does not name. A key is the identity, and clocks may be wrong."""

FIRST_DAY = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
LAST_DAY = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


def make_context(key: Ed25519PrivateKey, pins: Sequence[Pin], *, server_side: bool) -> ssl.SSLContext:
    """TLS 1.3 that shows ``key`` and accepts only certificates of ``pins``; no resumption."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | NO_CHECK_TIME)
    context.options |= ssl.OP_NO_TICKET
    if server_side:
        context.num_tickets = 0
    for pin in pins:
        context.load_verify_locations(cadata=make_anchor(pin).public_bytes(Encoding.DER))
    _load_identity(context, key)
    return context


def make_certificate(key: Ed25519PrivateKey, *, subject_key: Ed25519PublicKey | None = None) -> x509.Certificate:
    """Issue what a node with this key shows. ``subject_key`` is for the test that another one is refused."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NODE_NAME)])
    return (
        _builder(subject=subject, issuer=pin_of(key.public_key()))
        .public_key(subject_key or key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, algorithm=None)
    )


def make_anchor(pin: Pin) -> x509.Certificate:
    """Build what certificates of the pinned key are followed to. Nobody checks its signature: any key makes it."""
    return (
        _builder(subject=_issuer_name(pin), issuer=pin)
        .public_key(Ed25519PublicKey.from_public_bytes(pin.raw))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(Ed25519PrivateKey.generate(), algorithm=None)
    )


def pin_of_certificate(certificate: bytes) -> Pin | None:
    """The pin of the key in a DER certificate; ``None`` if there is no Ed25519 key in it."""
    public = x509.load_der_x509_certificate(certificate).public_key()
    return pin_of(public) if isinstance(public, Ed25519PublicKey) else None


def _issuer_name(pin: Pin) -> x509.Name:
    # Two anchors of one name would hide each other, so the name holds the key: in hexadecimal it has just the 64
    # characters that X.509 allows to a name.
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, pin.raw.hex()),
        ]
    )


def _builder(*, subject: x509.Name, issuer: Pin) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=_issuer_name(issuer),
        serial_number=x509.random_serial_number(),
        not_valid_before=FIRST_DAY,
        not_valid_after=LAST_DAY,
    )


def _load_identity(context: ssl.SSLContext, key: Ed25519PrivateKey) -> None:
    # ``ssl`` reads keys from files only. One in memory, without a name in any folder, is gone with the process.
    with open(os.memfd_create("ctlha-identity"), "wb") as file:
        file.write(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + make_certificate(key).public_bytes(Encoding.PEM)
        )
        file.flush()
        path = Path(f"/proc/self/fd/{file.fileno()}")
        try:
            context.load_cert_chain(path)
        except FileNotFoundError as error:
            problem = "/proc is not mounted, by which TLS is given its key"
            raise FileNotFoundError(error.errno, problem, os.fspath(path)) from error
