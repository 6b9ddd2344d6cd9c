"""How an etcd cluster is reached and trusted: its endpoints, and the files with certificates and credentials."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import attrs

from ctlha_trio._errors import ConfigError
from ctlha_trio.seams import is_loopback, parse_address, read_key_file

ENDPOINTS_MAX = 7
"""The largest cluster that etcd advises. The time of a call is shared among them."""
HTTP = "http://"
HTTPS = "https://"


@attrs.frozen(kw_only=True)
class EtcdAccess:
    """Where an etcd cluster is, and the files by which it and we know each other. No secrets, only their places."""

    endpoints: tuple[str, ...]
    """As ``parse_endpoint`` takes them."""
    ca: Path | None = None
    """Certificates of the authorities that sign etcd's, in PEM; no other is trusted."""
    certificate: Path | None = None
    """Our own certificate, in PEM, if etcd asks for one; with ``key``."""
    key: Path | None = None
    credentials: Path | None = None
    """One line ``USER:PASSWORD``, if etcd asks for them."""


@attrs.frozen
class Credentials:
    """What etcd gives a token for."""

    user: str
    password: str = attrs.field(repr=False)


def parse_endpoint(text: str) -> str:
    """``https://HOST:PORT``, or ``http://`` on loopback, as it is; ``ValueError`` that says what is wrong with it."""
    if "@" in text:
        # Not repeated: a secret may be in it.
        raise ValueError("user and password have no place in an endpoint, but in the file of credentials")
    scheme = next((scheme for scheme in (HTTPS, HTTP) if text.startswith(scheme)), None)
    if scheme is None:
        raise ValueError(f"{text!r}: expected https://HOST:PORT")
    address = text.removeprefix(scheme)
    _, port = parse_address(address)
    if port == 0:
        raise ValueError(f"{text!r}: the port must be a number from 1 on")
    if scheme == HTTP and not is_loopback(address):
        raise ValueError(f"{text!r}: http is for loopback only")
    return text


def contradictions(access: EtcdAccess) -> Iterator[tuple[str, str]]:
    """Field and problem of everything that does not fit together. Looks at no file."""
    secure = any(endpoint.startswith(HTTPS) for endpoint in access.endpoints)
    if not 1 <= len(access.endpoints) <= ENDPOINTS_MAX:
        yield "endpoints", f"must be 1 to {ENDPOINTS_MAX}"
    if len(set(access.endpoints)) != len(access.endpoints):
        yield "endpoints", "one comes twice"
    if secure and access.ca is None:
        yield "ca", "is missing: https trusts nobody but the authority in this file"
    if (access.certificate is None) != (access.key is None):
        missing = "key" if access.key is None else "certificate"
        yield missing, "is missing: certificate and key go together"
    if access.endpoints and not secure:
        for name in ("ca", "certificate", "key"):
            if getattr(access, name) is not None:
                yield name, "is for https, which no endpoint has"


def load_access(access: EtcdAccess) -> tuple[ssl.SSLContext, Credentials | None]:
    """Read the files. A group of ``ConfigError``, one for each fault, with the file and ``arbiter.`` and the field."""
    faults = [ConfigError("etcd", f"arbiter.{field}", problem) for field, problem in contradictions(access)]
    # Trusts nobody until it is told whom; what it needs for that is all that it reads.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    credentials = None
    for load in (_load_authority, _load_certificate):
        try:
            load(context, access)
        except ConfigError as error:
            faults.append(error)
    try:
        credentials = load_credentials(access)
    except ConfigError as error:
        faults.append(error)
    if faults:
        raise ExceptionGroup("etcd cannot be reached like this", faults)
    return context, credentials


def _load_authority(context: ssl.SSLContext, access: EtcdAccess) -> None:
    if access.ca is None:
        return
    content = read_key_file(access.ca, "arbiter.ca", private=False)
    try:
        context.load_verify_locations(cadata=content.decode("ascii"))
    except (ValueError, ssl.SSLError) as error:
        raise ConfigError(access.ca, "arbiter.ca", "holds no certificate in PEM") from error


def _load_certificate(context: ssl.SSLContext, access: EtcdAccess) -> None:
    if access.certificate is None or access.key is None:
        return
    read_key_file(access.certificate, "arbiter.certificate", private=False)
    read_key_file(access.key, "arbiter.key")
    try:
        # Without a password to try, OpenSSL would ask for one at the terminal.
        context.load_cert_chain(access.certificate, access.key, password="")
    except (ValueError, OSError) as error:
        raise ConfigError(
            access.certificate, "arbiter.certificate", f"does not go with the key in {access.key}: {error}"
        ) from error


def load_credentials(access: EtcdAccess) -> Credentials | None:
    """Read the file with user and password, if there is one. ``ConfigError`` if it cannot be used."""
    if access.credentials is None:
        return None
    content = read_key_file(access.credentials, "arbiter.credentials")
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(access.credentials, "arbiter.credentials", "is not text in UTF-8") from error
    user, _, password = lines[0].partition(":") if len(lines) == 1 else ("", "", "")
    if not user or not password:
        raise ConfigError(access.credentials, "arbiter.credentials", "must be one line, USER:PASSWORD")
    return Credentials(user, password)
