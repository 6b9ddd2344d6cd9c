"""Every command that is printed for copying goes through a shell as it is, wherever the configuration lies."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ctlha_trio._errors import DisconnectError, FailedError, RoleStaysError
from ctlha_trio.cli import main
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.cli._force import explain_refusal
from ctlha_trio.cli._status import describe_status
from ctlha_trio.cli._switchover import describe_failover, describe_refusal, describe_rehearsal
from ctlha_trio.cli._verify import describe_refusal as describe_refused_verify
from ctlha_trio.ha import Note, Reason
from ctlha_trio.pair import Obstacle, Setback

SOURCES = sorted((Path(__file__).parents[3] / "ctlha_trio" / "cli").glob("*.py"))
ELSEWHERE = "<its node.toml>"
"""Of the other node: what stands there is to be replaced."""
STATUS: dict[str, object] = {"role": "none", "verdict": "at-risk", "link": "unknown", "state": ""}


def ctlha(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "it's a  folder"
    assert ctlha("init", folder, "--size", "64K").exit_code == 0
    return folder / "a" / "node.toml"


@pytest.fixture
def loaded(config: Path) -> LoadedConfig:
    return load_config(config)


def commands_in(text: str) -> Iterator[str]:
    """All that name a configuration, each from its configuration on."""
    yield from re.findall(r"\bctlha [a-z-]+ (?:--watch )?((?:'|/|<its ).*)", text)


def expect_quoted(text: str, config: Path, *, times: int = 1) -> None:
    named = list(commands_in(text))
    assert [each for each in named if not each.startswith((shlex.quote(str(config)), ELSEWHERE))] == []
    assert sum(not each.startswith(ELSEWHERE) for each in named) >= times, text


def test_what_helps_against_every_reason(config: Path, loaded: LoadedConfig) -> None:
    for name in [*Reason, *Note]:
        key = "reasons" if isinstance(name, Reason) else "notes"
        told = describe_status({"verdict": "at-risk", "reasons": [], "notes": [], key: [name.value]}, loaded)
        expect_quoted(told, config, times=0)
    all_of_them: dict[str, object] = {
        "reasons": [each.value for each in Reason],
        "notes": [each.value for each in Note],
    }
    expect_quoted(describe_status(all_of_them, loaded), config, times=8)


def test_what_helps_against_a_role_that_stays(config: Path, loaded: LoadedConfig) -> None:
    names = tuple(each.value for each in (*Obstacle, *Setback))
    expect_quoted("\n".join(describe_refusal(RoleStaysError(names), loaded)), config, times=8)
    for error in (FailedError("no"), DisconnectError("nobody")):
        expect_quoted("\n".join(describe_refusal(error, loaded)), config)
    rehearsal = {"accepted": False, "plan": {"obstacles": list(names)}}
    expect_quoted("\n".join(describe_rehearsal(rehearsal, loaded)), config, times=5)
    failover = {"before": None, "after": None, "obstacle": Obstacle.CHANGE_UNDER_WAY.value}
    expect_quoted("\n".join(describe_failover(failover, loaded)), config)


@pytest.mark.parametrize(
    "status",
    [
        {"role": "primary", "verdict": "at-risk"},
        {"reasons": ["resyncing"]},
        {"reasons": ["outdated"], "role": "outdated"},
        {"reasons": ["outdated"]},
    ],
)
def test_what_helps_where_a_node_refuses(config: Path, loaded: LoadedConfig, status: dict[str, object]) -> None:
    stands = {**STATUS, "reasons": [], **status}
    expect_quoted(explain_refusal("no", stands, loaded, needs_salvage=True), config)
    expect_quoted("\n".join(describe_refused_verify(FailedError("no"), stands, loaded)), config)


def nothing(_: Path) -> None:
    """Sound."""


def lose_volume(folder: Path) -> None:
    (folder / "volume.img").unlink()


def break_head(folder: Path) -> None:
    with (folder / "volume.img").open("r+b") as file:
        file.write(bytes(32 * 1024))


@pytest.mark.parametrize(
    ("damage", "command"),
    [
        (nothing, "status {}"),
        (nothing, "verify {}"),
        (nothing, "switchover {}"),
        (nothing, "switchover {} --dry-run"),
        (nothing, "force-primary {} --abandon b --dry-run"),
        (nothing, "force-primary {} --abandon b --salvage --dry-run"),
        (lose_volume, "node {}"),
        (lose_volume, "replace {} a"),
        (break_head, "node {}"),
    ],
)
def test_what_commands_print(config: Path, damage: Callable[[Path], None], command: str) -> None:
    damage(config.parent)
    done = ctlha(*shlex.split(command.format(shlex.quote(str(config)))))
    expect_quoted(done.output, config)


def test_what_opens_a_folder_or_a_key_to_nobody_else_can_be_copied(config: Path) -> None:
    key = config.parent / "node.key"
    for path in (config.parent, key):
        path.chmod(0o755)
    commands = re.findall(r"\bchmod .*", ctlha("node", config).output)
    assert [shlex.split(command) for command in commands] == [
        ["chmod", "700", str(config.parent)],
        ["chmod", "600", str(key)],
    ]


def test_what_init_prints_can_be_copied(tmp_path: Path) -> None:
    done = ctlha("init", tmp_path / "a folder", "--size", "4K")
    for line, node in zip(done.stdout.splitlines(), ("a", "b"), strict=True):
        assert shlex.split(line) == ["ctlha", "node", str(tmp_path / "a folder" / node / "node.toml")]


def test_a_name_that_begins_with_a_dash_is_no_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = ctlha("init", "--size", "4K", "--", "-dash")
    assert done.stdout.splitlines() == [f"ctlha node ./-dash/{node}/node.toml" for node in ("a", "b")]
    assert load_config(Path("-dash/a/node.toml")).quoted == "./-dash/a/node.toml"
    assert ctlha("status", "--", "-dash/a/node.toml").output.endswith("ctlha node ./-dash/a/node.toml\n")


def test_no_command_of_the_sources_names_an_unquoted_file() -> None:
    """Those that no test here leads to, too."""
    texts = "".join(path.read_text() for path in SOURCES)
    named = re.findall(r"ctlha [a-z-]+ (?:--[a-z-]+ )*\{([^}]*)\}", texts)
    assert len(named) > 30
    assert {
        each for each in named if each != "config" and not each.endswith(".quoted") and "quote_path(" not in each
    } == set()
