from pathlib import Path

import pytest

from ctlha_trio import ChannelConfig
from ctlha_trio._errors import ConfigError
from ctlha_trio.arbiter import EtcdAccess
from ctlha_trio.cli._config import EtcdTable, SqliteTable, load_config
from ctlha_trio.cli._config_values import PathText
from ctlha_trio.cli._shared_settings import shared_settings
from ctlha_trio.ctl_ha import CTL_HA_CHAN_CTL, CTL_HA_CHAN_ZFS
from ctlha_trio.ha import GiveBackPolicy
from ctlha_trio.seams import describe_key, is_loopback, load_key, make_key


@pytest.fixture(scope="module")
def pins(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("keys")
    found = []
    for name in ("1", "2", "3"):
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(make_key())
        found.append(describe_key(load_key(path)))
    return found


@pytest.fixture
def good(pins: list[str]) -> str:
    return f"""\
format = 1
cluster = "c"
node = "a"
resource = "volume"
[link]
listen = "127.0.0.1:7900"
key = "node.key"
[peer]
node = "b"
address = "localhost:7902"
pins = ["{pins[0]}"]
[volume]
file = "sub/volume.img"
size_bytes = 65536
[arbiter]
sqlite = "../arbiter.db"
"""


def faults_of(tmp_path: Path, text: str | bytes) -> list[str]:
    """Each fault as ``key: problem``; the file is named in all of them."""
    file = tmp_path / "node.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ExceptionGroup) as caught:
        load_config(file)
    errors = caught.value.exceptions
    assert all(isinstance(error, ConfigError) for error in errors)
    lines = [str(error) for error in errors]
    assert all(line.startswith(f"{file}: ") for line in lines)
    return [line.removeprefix(f"{file}: ") for line in lines]


def test_a_good_configuration(tmp_path: Path, good: str, pins: list[str]) -> None:
    file = tmp_path / "node.toml"
    file.write_text(good)
    loaded = load_config(file)
    assert loaded.content.link.listen == "127.0.0.1:7900"
    assert [str(pin) for pin in loaded.content.peer.pins] == pins[:1]
    assert loaded.volume_path == tmp_path / "sub" / "volume.img"
    assert loaded.key_path == tmp_path / "node.key"
    assert loaded.content.arbiter == SqliteTable(sqlite=PathText("../arbiter.db"))
    assert loaded.arbiter_on_this_machine


def test_channels_have_the_defaults_unless_something_is_said(tmp_path: Path, good: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(good)
    assert set(load_config(file).channels.values()) == {ChannelConfig()}
    file.write_text(good + "[channels.ctl]\nmessage_size_bytes = 432\n[channels.zfs]\nslots = 8\n")
    assert load_config(file).channels == {
        CTL_HA_CHAN_CTL: ChannelConfig(message_size_bytes=432),
        CTL_HA_CHAN_ZFS: ChannelConfig(slots=8),
    }


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ("[channels.ctl]\nslots = 0", "channels.ctl: a channel cannot have 0 slots"),
        ("[channels.zfs]\nmessage_size_bytes = 65537", "channels.zfs: a channel cannot have 64 slots of 65537 bytes"),
        ("[channels.ctl]\nslots = 4096\nmessage_size_bytes = 2048", "channels.ctl: a channel cannot have 4096 slots"),
        ('[channels.ctl]\nslots = "8"', "channels.ctl.slots: must be a whole number"),
        ("[channels.nfs]", "channels.nfs: is not known here"),
    ],
)
def test_channels_that_cannot_be(tmp_path: Path, good: str, table: str, fault: str) -> None:
    (line,) = faults_of(tmp_path, good + table)
    assert line.startswith(fault)


def test_relative_configuration_paths_are_relative_to_the_file(
    tmp_path: Path, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "node.toml").write_text(good)
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("a/node.toml")).key_path == tmp_path / "a" / "node.key"


def test_two_pins_for_rotation(tmp_path: Path, good: str, pins: list[str]) -> None:
    file = tmp_path / "node.toml"
    file.write_text(good.replace(f'["{pins[0]}"]', f'["{pins[0]}", "{pins[1]}"]'))
    assert len(load_config(file).content.peer.pins) == 2


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    text = """\
format = 1
cluster = 5
node = "a"
strange = 1
[link]
listen = "127.0.0.1:x"
other = 2
[peer]
node = "-"
address = "127.0.0.1:0"
pins = []
[volume]
file = ""
size_bytes = true
"""
    assert {fault.partition(": ")[0] for fault in faults_of(tmp_path, text)} == {
        "cluster",
        "resource",
        "strange",
        "link.listen",
        "link.key",
        "link.other",
        "peer.node",
        "peer.address",
        "peer.pins",
        "volume.file",
        "volume.size_bytes",
        "arbiter",
    }


def test_faults_of_values_and_of_values_together_are_named_at_once(tmp_path: Path, good: str) -> None:
    """One value that cannot be read hides no contradiction between the others, not even in its own table."""
    text = good.replace('node = "a"', 'node = "b"', 1).replace('"127.0.0.1:7900"', '"192.0.2.1:7900"')
    text = text.replace('key = "node.key"', "key = 5").replace("size_bytes = 65536", "size_bytes = 1")
    text += """\
[channels.ctl]
slots = 0
[channels.zfs]
message_size_bytes = "x"
[policy]
preferred = "c"
hold_down_s = 0
[fence]
command = ["fence"]
"""
    assert sorted(fault.partition(": ")[0] for fault in faults_of(tmp_path, text)) == [
        "channels.ctl",
        "channels.zfs.message_size_bytes",
        "fence.command",
        "link.key",
        "link.listen",
        "peer.node",
        "policy.hold_down_s",
        "policy.preferred",
        "volume.size_bytes",
    ]


@pytest.mark.parametrize("missing", ["cluster", "node", "resource"])
def test_what_is_missing_hides_no_contradiction(tmp_path: Path, good: str, missing: str) -> None:
    text = "\n".join(line for line in good.splitlines() if not line.startswith(f"{missing} ="))
    text = text.replace("127.0.0.1:7900", "192.0.2.1:7900")
    keys = {fault.partition(": ")[0] for fault in faults_of(tmp_path, text)}
    assert keys >= {missing, "link.listen"}


@pytest.mark.parametrize("table", ["link", "peer", "volume", "arbiter", "channels", "policy", "fence"])
def test_what_is_no_table_is_told(tmp_path: Path, good: str, table: str) -> None:
    lines, kept = [], True
    for line in good.splitlines():
        kept = not line.startswith(f"[{table}]") if line.startswith("[") else kept
        lines += [line] if kept else []
    faults = faults_of(tmp_path, f"{table} = 5\n" + "\n".join(lines))
    assert any(fault.startswith(table) for fault in faults)


def test_a_policy_and_a_fence(tmp_path: Path, good: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(good)
    assert load_config(file).give_back is None
    assert load_config(file).content.fence is None
    tables = """\
[policy]
give_back = "automatic"
preferred = "a"
hold_down_s = 90
[fence]
command = ["/usr/sbin/fence", "--off"]
timeout_s = 40
"""
    file.write_text(good + tables)
    loaded = load_config(file)
    assert loaded.give_back == GiveBackPolicy(preferred="a", hold_down_s=90.0)
    assert loaded.content.fence is not None
    assert (loaded.content.fence.command, loaded.content.fence.timeout_s) == (("/usr/sbin/fence", "--off"), 40)
    file.write_text(good + tables.replace("automatic", "manual"))
    assert load_config(file).give_back is None, "the preferred node alone moves nothing"


def test_what_both_nodes_are_to_say_alike(tmp_path: Path, good: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(good)
    defaults = {
        "channels.ctl.message_size_bytes": "512",
        "channels.ctl.slots": "64",
        "channels.zfs.message_size_bytes": "512",
        "channels.zfs.slots": "64",
        "policy.give_back": "manual",
        "policy.preferred": "",
        "policy.hold_down_s": "60",
    }
    assert shared_settings(load_config(file).content) == defaults
    said = '[channels.zfs]\nslots = 8\n[policy]\ngive_back = "automatic"\npreferred = "b"\n[fence]\ncommand = ["/f"]\n'
    file.write_text(good + said)
    changed = {"channels.zfs.slots": "8", "policy.give_back": "automatic", "policy.preferred": "b"}
    assert shared_settings(load_config(file).content) == defaults | changed


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ('[policy]\ngive_back = "automatic"', "policy.preferred: is missing"),
        ('[policy]\ngive_back = "always"', "policy.give_back: must be one of manual, automatic"),
        ("[policy]\ngive_back = true", "policy.give_back: must be one of manual, automatic"),
        ('[policy]\npreferred = "c"', "policy.preferred: is 'c', which is neither 'a' nor 'b'"),
        ("[policy]\nhold_down_s = 0", "policy.hold_down_s: must be 1 to 86400 seconds"),
        ("[policy]\nhold_down_s = 86401", "policy.hold_down_s: must be 1 to 86400 seconds"),
        ("[policy]\nhold_down_s = 1.5", "policy.hold_down_s: must be a whole number"),
        ("[fence]", "fence.command: is missing"),
        ("[fence]\ncommand = []", "fence.command: must be a list"),
        ('[fence]\ncommand = "/bin/fence --off"', "fence.command: must be a list"),
        ('[fence]\ncommand = ["fence"]', "fence.command: must begin with the whole path"),
        ('[fence]\ncommand = ["/bin/fence", 5]', "fence.command: must be text"),
        ('[fence]\ncommand = ["/bin/fence"]\ntimeout_s = 601', "fence.timeout_s: must be 1 to 600 seconds"),
    ],
)
def test_policies_and_fences_that_cannot_be(tmp_path: Path, good: str, table: str, fault: str) -> None:
    (line,) = faults_of(tmp_path, good + table)
    assert line.startswith(fault)


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ("format = 1", "format = 2", "format", "must be 1"),
        ("format = 1", "format = true", "format", "must be 1"),
        ("format = 1", "", "format", "must be 1"),
        ('cluster = "c"', 'cluster = ""', "cluster", "letters"),
        ('cluster = "c"', 'cluster = "a/b"', "cluster", "letters"),
        ('cluster = "c"', f'cluster = "{"x" * 65}"', "cluster", "letters"),
        ('node = "a"', 'node = "b"', "peer.node", "one id"),
        ('"localhost:7902"', '"127.0.0.1:7900"', "peer.address", "same as link.listen"),
        ('"127.0.0.1:7900"', '"10.0.0.1:7900"', "link.listen", "not loopback"),
        ('"127.0.0.1:7900"', '"0.0.0.0:7900"', "link.listen", "not loopback"),
        ('"localhost:7902"', '"example.org:7902"', "peer.address", "not loopback"),
        ('"localhost:7902"', '"localhost.example.org:7902"', "peer.address", "not loopback"),
        ('"localhost:7902"', '"localhost"', "peer.address", "HOST:PORT"),
        ('"localhost:7902"', '"localhost:99999"', "peer.address", "65535"),
        ("size_bytes = 65536", "size_bytes = 65537", "volume.size_bytes", "multiple of 4096"),
        ("size_bytes = 65536", "size_bytes = 0", "volume.size_bytes", "multiple of 4096"),
        ("size_bytes = 65536", "size_bytes = -4096", "volume.size_bytes", "multiple of 4096"),
        ("size_bytes = 65536", 'size_bytes = "64K"', "volume.size_bytes", "whole number"),
        ('key = "node.key"', 'key = "a\\u0000b"', "link.key", "path"),
        ('sqlite = "../arbiter.db"', 'etcd = "https://x"', "arbiter.sqlite", "missing"),
    ],
)
def test_a_fault_names_its_key(tmp_path: Path, good: str, *, old: str, new: str, key: str, says: str) -> None:
    assert old in good
    faults = faults_of(tmp_path, good.replace(old, new, 1))
    assert any(fault.startswith(f"{key}: ") and says in fault for fault in faults), faults


@pytest.fixture
def with_etcd(good: str) -> str:
    table = """\
endpoints = ["https://etcd1.example:2379", "https://192.0.2.1:2379"]
ca = "ca.pem"
certificate = "/etc/node.pem"
key = "/etc/node.key"
credentials = "credentials"
"""
    return good.replace('sqlite = "../arbiter.db"\n', table)


def test_an_arbiter_in_etcd(tmp_path: Path, with_etcd: str) -> None:
    """It may be anywhere, and so may the nodes."""
    file = tmp_path / "node.toml"
    file.write_text(with_etcd.replace("127.0.0.1:7900", "192.0.2.7:7900"))
    loaded = load_config(file)
    assert isinstance(loaded.content.arbiter, EtcdTable)
    assert loaded.etcd_access(loaded.content.arbiter) == EtcdAccess(
        endpoints=("https://etcd1.example:2379", "https://192.0.2.1:2379"),
        ca=tmp_path / "ca.pem",
        certificate=Path("/etc/node.pem"),
        key=Path("/etc/node.key"),
        credentials=tmp_path / "credentials",
    )
    assert not loaded.arbiter_on_this_machine


def test_an_etcd_on_this_machine_is_lost_with_it(tmp_path: Path, good: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(good.replace('sqlite = "../arbiter.db"', 'endpoints = ["http://127.0.0.1:1", "http://[::1]:1"]'))
    assert load_config(file).arbiter_on_this_machine


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ("etcd1.example:2379", "etcd1.example", "arbiter.endpoints", "HOST:PORT"),
        ("https://192", "http://192", "arbiter.endpoints", "loopback only"),
        ("https://192.0.2.1", "https://u:p@192.0.2.1", "arbiter.endpoints", "no place"),
        ("192.0.2.1:2379", "etcd1.example:2379", "arbiter.endpoints", "twice"),
        (
            'endpoints = ["https://etcd1.example:2379", "https://192.0.2.1:2379"]',
            "endpoints = []",
            "arbiter.endpoints",
            "1",
        ),
        ('["https://etcd1.example:2379", "https://192.0.2.1:2379"]', '"https://e:1"', "arbiter.endpoints", "a list"),
        ('["https://etcd1.example:2379", "https://192.0.2.1:2379"]', "[1]", "arbiter.endpoints", "text in quotes"),
        ('ca = "ca.pem"', "", "arbiter.ca", "missing"),
        ('ca = "ca.pem"', 'ca = ""', "arbiter.ca", "path"),
        ('ca = "ca.pem"', "ca = 1", "arbiter.ca", "text in quotes"),
        ('key = "/etc/node.key"', "", "arbiter.key", "go together"),
        ("credentials = ", "password = ", "arbiter.password", "not known here"),
    ],
)
def test_a_fault_of_an_arbiter_in_etcd(
    tmp_path: Path, with_etcd: str, *, old: str, new: str, key: str, says: str
) -> None:
    assert old in with_etcd
    (fault,) = faults_of(tmp_path, with_etcd.replace(old, new, 1))
    assert fault.startswith(f"{key}: ")
    assert says in fault
    assert "u:p" not in fault


def test_two_arbiters_are_none(tmp_path: Path, with_etcd: str) -> None:
    both = with_etcd.replace("endpoints = ", 'sqlite = "x"\nendpoints = ')
    told = "arbiter.sqlite: stands beside arbiter.endpoints: a pair has one arbiter, so take one of the two away"
    assert faults_of(tmp_path, both) == [told]
    wrong = faults_of(tmp_path, both.replace('ca = "ca.pem"', "ca = 1"))
    assert sorted(wrong) == ["arbiter.ca: must be text in quotes", told]
    assert faults_of(tmp_path, both.replace('sqlite = "x"', "sqlite = 5")) == [told]


def test_several_faults_of_an_arbiter_in_etcd_at_once(tmp_path: Path, with_etcd: str) -> None:
    text = with_etcd.replace('ca = "ca.pem"\ncertificate = "/etc/node.pem"\n', "")
    assert [fault.partition(":")[0] for fault in faults_of(tmp_path, text)] == ["arbiter.ca", "arbiter.certificate"]
    text = text.replace('key = "/etc/node.key"', "key = 1").replace("https://192", "http://192")
    assert {fault.partition(":")[0] for fault in faults_of(tmp_path, text)} == {"arbiter.endpoints", "arbiter.key"}


def test_both_ends_off_loopback_are_two_faults(tmp_path: Path, good: str) -> None:
    text = good.replace("127.0.0.1", "192.0.2.1").replace("localhost", "192.0.2.2")
    assert [fault.partition(":")[0] for fault in faults_of(tmp_path, text)] == ["link.listen", "peer.address"]


@pytest.mark.parametrize("value", ["5", '"x"', "[1]"])
def test_a_table_that_is_none(tmp_path: Path, good: str, value: str) -> None:
    assert "link: must be a table" in faults_of(tmp_path, good.replace("[link]", f"link = {value}\n[other]"))


@pytest.mark.parametrize("value", ['["x"]', '"x"', "[5]", '["ed25519:AAAA"]', f'["ed25519:{"A" * 43}="]'])
def test_pins_that_are_none(tmp_path: Path, good: str, pins: list[str], value: str) -> None:
    (fault,) = faults_of(tmp_path, good.replace(f'["{pins[0]}"]', value))
    assert fault.startswith("peer.pins: ")


def test_of_two_pins_both_faults_are_told(tmp_path: Path, good: str, pins: list[str]) -> None:
    (fault,) = faults_of(tmp_path, good.replace(f'["{pins[0]}"]', '["ed25519:xx", 3]'))
    told = "number 1: the part of the pin behind the colon is not base64; number 2: must be text in quotes"
    assert fault == f"peer.pins: {told}"
    (fault,) = faults_of(tmp_path, good.replace(f'["{pins[0]}"]', f'["{pins[0]}", 3]'))
    assert fault == "peer.pins: number 2: must be text in quotes"


def test_who_is_preferred_is_not_compared_with_one_name_twice(tmp_path: Path, good: str) -> None:
    text = good.replace('node = "b"', 'node = "a"') + '[policy]\npreferred = "c"\n'
    assert "policy.preferred: is 'c', which is no node of the pair" in faults_of(tmp_path, text)


def test_three_pins_are_too_many(tmp_path: Path, good: str, pins: list[str]) -> None:
    (fault,) = faults_of(tmp_path, good.replace(f'["{pins[0]}"]', str(pins).replace("'", '"')))
    assert fault == "peer.pins: must be a list of one or two keys"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"format = ", "TOML"),
        (b"x = " + b"[" * 2000, "TOML"),
        (b"\xff\xfe", "UTF-8"),
        (b"#" * 70_000, "longer"),
        (b"", "format"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: bytes, says: str) -> None:
    (fault,) = faults_of(tmp_path, text)
    assert says in fault


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_configuration_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "node.toml"
    if kind == "folder":
        file.mkdir()
    with pytest.raises(ExceptionGroup) as caught:
        load_config(file)
    (error,) = caught.value.exceptions
    assert str(error).startswith(f"{file}: cannot be read: ")


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("[::]:1", False),
        ("0.0.0.0:1", False),
        ("10.1.1.1:1", False),
        ("ip6-localhost:1", False),
        ("[fe80::1]:1", False),
    ],
)
def test_what_is_loopback(address: str, answer: bool) -> None:
    assert is_loopback(address) is answer
