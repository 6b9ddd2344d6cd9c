"""A node's configuration: TOML to frozen records, with every fault of the text named at once."""

import os
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import attrs
import cattrs
from cattrs.errors import ForbiddenExtraKeysError

from ctlha_trio._errors import ConfigError
from ctlha_trio._vocabulary import CTL_HA_CHAN_CTL, CTL_HA_CHAN_ZFS, ctl_ha_channel
from ctlha_trio.arbiter import EtcdAccess
from ctlha_trio.cli import _config_values as values
from ctlha_trio.cli._config_values import (
    Address,
    Command,
    Endpoints,
    FenceTimeout,
    GiveBackMode,
    HoldDown,
    Name,
    PathText,
    Pins,
    Size,
)
from ctlha_trio.cli._contradictions import Part, contradictions
from ctlha_trio.cli._remedies import ITSELF
from ctlha_trio.cli._shell import quote_path
from ctlha_trio.ha import DEFAULT_CHANNEL, ChannelConfig, GiveBackPolicy
from ctlha_trio.seams import is_loopback, is_there

CONFIG_FORMAT: Final = 1
MAX_CONFIG_BYTES: Final = 64 * 1024
"""A configuration has some 400 bytes; anything long is another file."""

ETCD_FILES: Final = ("ca", "certificate", "key", "credentials")
"""Fields of ``EtcdTable`` that are paths."""

_UNKNOWN_KEYS: Final = "unknown: "
_BOTH_ARBITERS: Final = "stands beside arbiter.endpoints: a pair has one arbiter, so take one of the two away"


@attrs.frozen(kw_only=True)
class LinkTable:
    """``[link]``: this node's end of the link."""

    listen: Address
    key: PathText
    """This node's private key, in a file of mode 0600."""


@attrs.frozen(kw_only=True)
class PeerTable:
    """``[peer]``: the other node."""

    node: Name
    address: Address
    pins: Pins
    """The keys that are trusted, one or two."""


@attrs.frozen(kw_only=True)
class VolumeTable:
    """``[volume]``: this node's copy."""

    file: PathText
    size_bytes: Size


@attrs.frozen(kw_only=True)
class SqliteTable:
    """``[arbiter]``, the third vote, in a file: for two nodes on one machine."""

    sqlite: PathText


@attrs.frozen(kw_only=True)
class EtcdTable:
    """``[arbiter]``, the third vote, in an etcd cluster. The fields of ``EtcdAccess``."""

    endpoints: Endpoints
    ca: PathText | None = None
    certificate: PathText | None = None
    key: PathText | None = None
    credentials: PathText | None = None


ArbiterTable = SqliteTable | EtcdTable


@attrs.frozen(kw_only=True)
class ChannelTable:
    """``[channels.ctl]`` or ``[channels.zfs]``: both nodes must say the same. The fields of ``ChannelConfig``."""

    message_size_bytes: int = DEFAULT_CHANNEL.message_size_bytes
    slots: int = DEFAULT_CHANNEL.slots


@attrs.frozen(kw_only=True)
class ChannelsTable:
    """``[channels]``: of the consumers of the header."""

    ctl: ChannelTable = ChannelTable()
    zfs: ChannelTable = ChannelTable()


@attrs.frozen(kw_only=True)
class PolicyTable:
    """``[policy]``: what the supervisor does by itself that is a matter of taste."""

    give_back: GiveBackMode = values.MANUAL
    """``manual`` or ``automatic``: whether the preferred node gets its role back by itself."""
    preferred: Name | None = None
    """The node that is to be primary."""
    hold_down_s: HoldDown = values.DEFAULT_HOLD_DOWN


@attrs.frozen(kw_only=True)
class FenceTable:
    """``[fence]``: how this node can have the other one fenced."""

    command: Command
    """A program by its whole path, and its first arguments."""
    timeout_s: FenceTimeout = values.DEFAULT_FENCE_TIMEOUT


@attrs.frozen(kw_only=True)
class Configuration:
    """The whole file. Paths in it are relative to the folder that it lies in."""

    format: int
    cluster: Name
    node: Name
    resource: Name
    link: LinkTable
    peer: PeerTable
    volume: VolumeTable
    arbiter: ArbiterTable
    channels: ChannelsTable = ChannelsTable()
    policy: PolicyTable = PolicyTable()
    fence: FenceTable | None = None


@attrs.frozen
class LoadedConfig:
    """A configuration and where it was read."""

    file: Path
    """As the user named it, for messages."""
    content: Configuration

    @property
    def folder(self) -> Path:
        """The node's own folder."""
        return self.file.absolute().parent

    @property
    def quoted(self) -> str:
        """The file in a command that is printed, so that it can be copied into a shell as it is."""
        return quote_path(self.file)

    @property
    def names(self) -> dict[str, str]:
        """What a text about what helps names: the configuration, in a command, and both nodes."""
        return {"config": self.quoted, "node": self.content.node, "peer": self.content.peer.node}

    @property
    def key_path(self) -> Path:
        """The node's private key."""
        return self.folder / self.content.link.key

    @property
    def volume_path(self) -> Path:
        """The backing file of the node's copy."""
        return self.folder / self.content.volume.file

    @property
    def arbiter_on_this_machine(self) -> bool:
        """Whether the arbiter is lost with this machine."""
        table = self.content.arbiter
        return isinstance(table, SqliteTable) or all(is_loopback(one.partition("://")[2]) for one in table.endpoints)

    @property
    def give_back(self) -> GiveBackPolicy | None:
        """By which the role goes back; None if only a person moves it."""
        policy = self.content.policy
        if policy.give_back != values.AUTOMATIC or policy.preferred is None:
            return None
        return GiveBackPolicy(preferred=policy.preferred, hold_down_s=float(policy.hold_down_s))

    def etcd_access(self, table: EtcdTable) -> EtcdAccess:
        """How the arbiter in etcd is reached."""
        return _etcd_access(self.folder, table)

    @property
    def channels(self) -> dict[ctl_ha_channel, ChannelConfig]:
        """Sizes of the consumers' channels."""
        table = self.content.channels
        return {
            channel: ChannelConfig(message_size_bytes=one.message_size_bytes, slots=one.slots)
            for channel, one in ((CTL_HA_CHAN_CTL, table.ctl), (CTL_HA_CHAN_ZFS, table.zfs))
        }

    def require_volume_file(self) -> None:
        """``ConfigError`` that says what helps if there is no backing file."""
        if not self.exists("volume.file", self.volume_path):
            node, peer = self.content.node, self.content.peer.node
            raise self.fault(
                "volume.file",
                f"there is no {self.volume_path}: mount the disk that it is on, or put the file back, {ITSELF}; if "
                f"the file is lost and node {peer} has a copy that counts: ctlha replace {self.quoted} {node}",
            )

    def exists(self, key: str, path: Path) -> bool:
        """Whether anything is at a path that stands at ``key``. ``ConfigError`` if nobody can tell."""
        try:
            return is_there(path)
        except OSError as error:
            raise self.fault(key, f"{path}: {error.strerror}") from error

    def fault(self, key: str, problem: str) -> ConfigError:
        """Something that is wrong with what stands at ``key``."""
        return ConfigError(self.file, key, problem)


def load_config(file: Path) -> LoadedConfig:
    """Read a configuration and judge its text; the world around it is not looked at.

    Raises a group of ``ConfigError``, one for each fault.
    """
    table = _read_table(file)
    found = table.get("format")
    told = isinstance(found, int) and not isinstance(found, bool)
    unknown = ConfigError(file, "format", f"must be {CONFIG_FORMAT}, the format that this version reads")
    if not table or (told and found != CONFIG_FORMAT):
        # Whatever else seems wrong may be right in that format.
        _raise([unknown])
    faults = [] if told else [unknown]
    faults += [
        ConfigError(file, key, problem)
        for key, problem in contradictions(partial(_part_of, table), _etcd_of(file, table))
    ]
    try:
        content = _CONVERTER.structure(table, Configuration)
    except cattrs.ClassValidationError as errors:
        lines = cattrs.transform_error(errors, format_exception=_describe)
        read = (fault for line in lines for fault in _faults_of_line(file, line))
        _raise([*(fault for fault in read if fault.key != "format"), *faults])
    if faults:
        _raise(faults)
    return LoadedConfig(file, content)


def parts_of(file: Path) -> tuple[Part, EtcdAccess | None]:
    """What can be read of a configuration that has faults, and how an arbiter in etcd would be reached.

    Raises a group of ``ConfigError`` if nothing can.
    """
    table = _read_table(file)
    return partial(_part_of, table), _etcd_of(file, table)


def _raise(faults: list[ConfigError]) -> NoReturn:
    raise ExceptionGroup("the configuration cannot be used", faults)


def _read_table(file: Path) -> dict[str, object]:
    try:
        # Not blocking, or a named pipe in the file's place would hold up every command for good.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            content = os.read(descriptor, MAX_CONFIG_BYTES + 1) if regular else b""
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        _raise([ConfigError(file, "", f"cannot be read: {reason}")])
    if not regular:
        _raise([ConfigError(file, "", "cannot be read: it is no file")])
    if len(content) > MAX_CONFIG_BYTES:
        _raise([ConfigError(file, "", f"is longer than {MAX_CONFIG_BYTES} bytes: not a configuration")])
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError:
        _raise([ConfigError(file, "", "is not text in UTF-8")])
    except tomllib.TOMLDecodeError as error:
        _raise([ConfigError(file, "", f"is not TOML: {error}")])
    except RecursionError:
        _raise([ConfigError(file, "", "is not TOML: nested too deeply")])


def _describe(error: BaseException, _: type | None) -> str:
    if isinstance(error, KeyError):
        return "is missing"
    if isinstance(error, ForbiddenExtraKeysError):
        return _UNKNOWN_KEYS + ", ".join(sorted(error.extra_fields))
    if isinstance(error, TypeError | AttributeError):
        return "must be a table"
    return str(error)


def _faults_of_line(file: Path, line: str) -> Iterator[ConfigError]:
    """Take ``problem @ $.table.key`` apart; of keys that are not known there may be several in one line."""
    problem, _, path = line.rpartition(" @ ")
    key = path.removeprefix("$").removeprefix(".")
    if not problem.startswith(_UNKNOWN_KEYS):
        yield ConfigError(file, key, problem)
        return
    for unknown in problem.removeprefix(_UNKNOWN_KEYS).split(", "):
        unknown_key = f"{key}.{unknown}".removeprefix(".")
        # Known by itself: with endpoints beside it, the table was read as that of an etcd.
        beside = unknown_key == "arbiter.sqlite"
        yield ConfigError(file, unknown_key, _BOTH_ARBITERS if beside else "is not known here")


def _part_of(table: Mapping[str, object], key: str) -> Any:
    """What stands at a key, its default where nothing is said, None where it cannot be read: that is told elsewhere."""
    *tables, name = key.split(".")
    kind: Any = Configuration
    for each in tables:
        kind = attrs.fields_dict(attrs.resolve_types(kind))[each].type
        found = table.get(each, {})
        if not isinstance(found, Mapping):
            return None
        table = found
    if kind == ArbiterTable:
        kind = SqliteTable if name == "sqlite" else EtcdTable
    field = attrs.fields_dict(attrs.resolve_types(kind))[name]
    if name not in table:
        return None if field.default is attrs.NOTHING else field.default
    wanted: Any = field.type
    try:
        return _CONVERTER.structure(table[name], wanted)
    except ValueError:
        return None


def _etcd_of(file: Path, table: Mapping[str, object]) -> EtcdAccess | None:
    """How an arbiter in etcd would be reached; None if it is another one, or cannot be read."""
    arbiter = table.get("arbiter")
    if not isinstance(arbiter, Mapping) or "endpoints" not in arbiter:
        return None
    try:
        return _etcd_access(file.absolute().parent, _CONVERTER.structure(arbiter, EtcdTable))
    except cattrs.BaseValidationError:
        return None


def _etcd_access(folder: Path, table: EtcdTable) -> EtcdAccess:
    files = {name: getattr(table, name) for name in ETCD_FILES}
    paths = {name: folder / text for name, text in files.items() if text is not None}
    return EtcdAccess(endpoints=table.endpoints, **paths)


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    hooks: Mapping[object, Callable[[object], object]] = {
        int: values.read_whole,
        Name: values.read_name,
        Address: values.read_address,
        PathText: values.read_path,
        Size: values.read_size,
        Pins: values.read_pins,
        Endpoints: values.read_endpoints,
        Command: values.read_command,
        GiveBackMode: values.read_give_back_mode,
        HoldDown: values.read_hold_down,
        FenceTimeout: values.read_fence_timeout,
    }
    for kind, hook in hooks.items():
        converter.register_structure_hook(kind, _ignoring_type(hook))

    def arbiter(value: object, _: object) -> ArbiterTable:
        if isinstance(value, dict) and "endpoints" in value:
            return converter.structure(value, EtcdTable)
        return converter.structure(value, SqliteTable)

    converter.register_structure_hook(ArbiterTable, arbiter)
    return converter


def _ignoring_type(hook: Callable[[object], object]) -> Callable[[object, object], object]:
    return lambda value, _: hook(value)


_CONVERTER: Final = _make_converter()
