"""The commands and their arguments."""

import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from click.core import ParameterSource

from ctlha_trio.arbiter import EtcdAccess, contradictions, parse_endpoint
from ctlha_trio.bench import Sizes
from ctlha_trio.cli._adopt import adopt_arbiter as adopt_configured_arbiter
from ctlha_trio.cli._adopt_together import adopt_together
from ctlha_trio.cli._bench import BenchPlan, bench_here, bench_pair, serve_pair
from ctlha_trio.cli._config import ETCD_FILES
from ctlha_trio.cli._config_values import BLOCK_BYTES, MAX_VOLUME_BYTES, read_address
from ctlha_trio.cli._copies import show_copy
from ctlha_trio.cli._demo_command import show_demo
from ctlha_trio.cli._force import Forced, force_primary as force_configured_primary
from ctlha_trio.cli._full_copy import replace_copy, resolve_copy
from ctlha_trio.cli._init import (
    CONFIG_FILE,
    NODES,
    PORTS_PER_NODE,
    NewPair,
    create_pair,
    create_pair_in_etcd,
    loopback_addresses,
)
from ctlha_trio.cli._key import make_new_key, show_key
from ctlha_trio.cli._node import run_configured_node
from ctlha_trio.cli._output import unfailing_output
from ctlha_trio.cli._queued_stderr import queued_stderr
from ctlha_trio.cli._run import EXIT_INTERRUPTED, run_command
from ctlha_trio.cli._salvage import salvage_copy_of
from ctlha_trio.cli._shell import quote_path
from ctlha_trio.cli._status import show_status, watch_status
from ctlha_trio.cli._stopped_node import Arguments, log_refusals
from ctlha_trio.cli._switchover import show_failover, switch_over
from ctlha_trio.cli._verify import verify_copies

_SIZE: Final = re.compile(r"([0-9]{1,20})([KMGT]?)", re.IGNORECASE)
_UNITS: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_MAX_PORT: Final = 65535
_SQLITE: Final = "sqlite"
_FILE: Final = click.Path(path_type=Path)
_OTHER: Final = click.option(
    "--other", type=_FILE, help="The other node's node.toml, or what ctlha copy --json has said there."
)


def _run_logged(
    decision: str,
    dry_run: bool,
    command: Callable[[Path, *Arguments], Awaitable[int]],
    config: Path,
    *arguments: *Arguments,
) -> NoReturn:
    """What a command of a stopped node refuses is logged there, unless it only shows what would be."""
    if dry_run:
        run_command(command, config, *arguments)
    run_command(log_refusals, decision, command, config, *arguments)


def _parse_addresses(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, str] | None:
    """Of the links of node a and of node b; None if not given."""
    if text is None:
        return None
    try:
        found = tuple(map(read_address, text.split(",")))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if len(found) != len(NODES) or len(set(found)) != len(NODES):
        raise click.BadParameter(f"{text!r}: expected two addresses, of nodes a and b, not alike: HOST:PORT,HOST:PORT")
    return found[0], found[1]


def _parse_size(_: click.Context, __: click.Parameter, text: str) -> int:
    """Bytes of ``64M``, ``1G``, or of a plain number of bytes."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no size; write it as 64M, 1G or bytes")
    size_bytes = int(found[1]) * _UNITS[found[2].upper()]
    if not BLOCK_BYTES <= size_bytes <= MAX_VOLUME_BYTES or size_bytes % BLOCK_BYTES:
        raise click.BadParameter(f"{text!r} must be a multiple of {BLOCK_BYTES} bytes, up to 64T")
    return size_bytes


class _Commands(click.Group):
    def main(self, *arguments: Any, **options: Any) -> Any:
        with unfailing_output():
            return super().main(*arguments, **options)

    def invoke(self, context: click.Context) -> Any:
        """An interrupt that no command awaits, as while one loads what it needs, ends it as quietly as any other."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            sys.exit(EXIT_INTERRUPTED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ctlha-trio", prog_name="ctlha")
def main() -> None:
    """Two nodes, one volume: either may die and nothing acknowledged is lost."""


@main.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--size", callback=_parse_size, default="64M", show_default=True, help="Size of the volume.")
@click.option(
    "--base-port",
    type=click.IntRange(1, _MAX_PORT - PORTS_PER_NODE * len(NODES) + 1),
    default=7900,
    show_default=True,
    help="The link of node a; node b's is two above.",
)
@click.option(
    "--addresses",
    callback=_parse_addresses,
    metavar="HOST:PORT,HOST:PORT",
    help="Two machines, with an arbiter in etcd: the links of node a and of node b.",
)
@click.option(
    "--arbiter",
    default=_SQLITE,
    show_default=True,
    metavar="sqlite|https://HOST:PORT,...",
    help="Who decides which node serves: a file in DIR, or an etcd cluster.",
)
@click.option("--arbiter-ca", "ca", type=_FILE, help="etcd: the authority that signs its certificates.")
@click.option("--arbiter-certificate", "certificate", type=_FILE, help="etcd: our certificate, if it asks for one.")
@click.option("--arbiter-key", "key", type=_FILE, help="etcd: the key of that, of mode 0600.")
@click.option("--arbiter-credentials", "credentials", type=_FILE, help="etcd: USER:PASSWORD, in a file of mode 0600.")
def init(
    folder: Path, size: int, base_port: int, addresses: tuple[str, str] | None, arbiter: str, **files: Path | None
) -> None:
    """Make a pair of nodes in DIR, for this machine, or with --addresses for two, of which each gets its folder."""
    access = _parse_arbiter(arbiter, files)
    if addresses is not None:
        if access is None:
            raise click.UsageError("--addresses is for two machines, whose arbiter is in etcd: give --arbiter")
        if click.get_current_context().get_parameter_source("base_port") is not ParameterSource.DEFAULT:
            raise click.UsageError("--addresses have their ports: no --base-port")
    new = NewPair(size_bytes=size, link_addresses=addresses or loopback_addresses(base_port))
    run_command(_init, folder, new, access)


def _parse_arbiter(arbiter: str, files: Mapping[str, Path | None]) -> EtcdAccess | None:
    """None for the SQLite arbiter."""
    given = [f"--arbiter-{name}" for name in ETCD_FILES if files[name] is not None]
    if arbiter == _SQLITE:
        if given:
            raise click.BadParameter("is for an arbiter in etcd", param_hint=given[0])
        return None
    try:
        access = EtcdAccess(endpoints=tuple(map(parse_endpoint, arbiter.split(","))), **files)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--arbiter") from error
    for field, problem in contradictions(access):
        raise click.BadParameter(problem, param_hint="--arbiter" if field == "endpoints" else f"--arbiter-{field}")
    return access


async def _init(folder: Path, new: NewPair, access: EtcdAccess | None) -> int:
    if access is None:
        create_pair(folder, new)
    else:
        await create_pair_in_etcd(folder, new, access)
    for node in NODES:
        click.echo(f"ctlha node {quote_path(folder / node / CONFIG_FILE)}")
    return 0


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
def node(config: Path) -> None:
    """Run the node of CONFIG until SIGTERM, or SIGINT unless that is ignored."""
    with queued_stderr():
        run_command(run_configured_node, config)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--new", is_flag=True, help="Make a new key beside it; print its pin, and the steps until it is in use.")
def key(config: Path, new: bool) -> None:
    """Print the pin of the key of CONFIG's node, by which the other node knows it: for peer.pins there.

    Exit code 0: printed, or made; 1: not made; 2: CONFIG or the key cannot be used.
    """
    run_command(make_new_key if new else show_key, config)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--watch", is_flag=True, help="A line for every change, until interrupted.")
def status(config: Path, as_json: bool, watch: bool) -> None:
    """Ask the node of CONFIG. Exit code 0: protected, 1: anything else, 2: no answer."""
    run_command(watch_status if watch else show_status, config, as_json)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say whether it would be accepted and what would change; change nothing.")
@click.option("--as-failover", is_flag=True, help="With --dry-run: what would follow if the other node died now.")
def switchover(config: Path, dry_run: bool, as_failover: bool) -> None:
    """Have the node of CONFIG, the primary, hand its role to the other.

    Exit code 0: done, or it would be; 1: not, or it would not be; 2: CONFIG cannot be used; 3: nobody knows, the node
    was asked and does not answer.
    """
    if as_failover:
        if not dry_run:
            raise click.UsageError("--as-failover only shows what would follow: give it with --dry-run")
        run_command(show_failover, config)
    run_command(switch_over, config, dry_run)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would be read, and read nothing.")
def verify(config: Path, dry_run: bool) -> None:
    """Have the node of CONFIG, the primary, compare both copies while they are in use, and repair damaged blocks.

    Interrupt it as you like: the node goes on. Exit code 0: everything was compared and is equal, repaired blocks
    included; 1: it is not, or not everything was compared; 2: no answer.
    """
    run_command(verify_copies, config, dry_run)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--abandon", required=True, metavar="NODE", help="The other node, which is powered off.")
@click.option("--statement", metavar="'NODE is powered off'", help="Say so here instead of being asked.")
@click.option("--fence", is_flag=True, help="Have NODE fenced by [fence] of CONFIG, instead of saying that it is off.")
@click.option("--salvage", is_flag=True, help="Of a node that is stopped and whose own copy is not whole either.")
@_OTHER
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
def force_primary(  # noqa: PLR0917 (each option of a command is a parameter)
    config: Path, abandon: str, statement: str | None, fence: bool, salvage: bool, other: Path | None, dry_run: bool
) -> None:
    """Make the node of CONFIG, which runs, the primary and the only one that counts, whatever the other copy holds.

    For a pair whose only whole copy is lost for ever: what was acknowledged without this node is lost with it. Both
    copies are shown, if the other one can be had, and which is the later one, if they tell. The abandoned copy is
    overwritten when its node returns. With --salvage there is no whole copy at all: what is left of this one becomes
    the volume, and what is damaged in it is shown. Exit code 0: done or shown; 1: not done; 2: CONFIG cannot be used;
    3: nobody knows, the node or the arbiter was asked and does not answer; 4, with --salvage: done, but not logged.
    """
    if fence and statement is not None:
        raise click.UsageError("--fence takes the place of --statement")
    if salvage and fence:
        raise click.UsageError("a node that is stopped fences nobody: --salvage and --fence exclude each other")
    if salvage and other is not None:
        raise click.UsageError("a salvage takes what is left of this copy, whatever the other one is: no --other")
    if salvage:
        _run_logged("salvage", dry_run, salvage_copy_of, config, abandon, statement, dry_run)
    run_command(force_configured_primary, config, Forced(abandon, statement, fence=fence, other=other), dry_run)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("node")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
def replace(config: Path, node: str, dry_run: bool) -> None:
    """Make an empty copy for NODE, the node of CONFIG, whose disk is new. Started, it is filled by the other node.

    Exit code 0: done or shown; 1: not done; 2: CONFIG cannot be used; 4: done, but not logged.
    """
    _run_logged("replace", dry_run, replace_copy, config, node, dry_run)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--discard", required=True, metavar="NODE", help="The node of CONFIG, whose copy is to be overwritten.")
@_OTHER
@click.option("--dry-run", is_flag=True, help="Show both copies and the record, and change nothing.")
def resolve(config: Path, discard: str, other: Path | None, dry_run: bool) -> None:
    """Show how the copy of CONFIG's node has diverged from the record, and discard it: the other node fills it anew.

    Exit code 0: done or shown; 1: not done; 2: CONFIG or FILE cannot be used; 4: done, but not logged.
    """
    _run_logged("resolve", dry_run, resolve_copy, config, discard, other, dry_run)


@main.command("copy")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for --other of a command at the other node.")
def show(config: Path, as_json: bool) -> None:
    """Show what the copy of CONFIG's node says of itself, whether the node runs or not."""
    run_command(show_copy, config, as_json)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--abandon", metavar="NODE", help="The other node, which is powered off, if it cannot take part.")
@click.option("--statement", metavar="'NODE is powered off'", help="Say so here instead of being asked.")
@_OTHER
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
def adopt_arbiter(config: Path, abandon: str | None, statement: str | None, other: Path | None, dry_run: bool) -> None:
    """Bind the node of CONFIG, which is stopped, to an arbiter that is new or was restored from an old copy.

    Given at both nodes, each waits for the other; if both know the same, the arbiter is given that, and nothing is
    lost. With --abandon this node's copy becomes the volume, whatever the other one holds; what that one,
    whose copy is abandoned, needs is told. Exit code 0: done or shown; 1: not done; 2: CONFIG cannot be used; 3:
    nobody knows whether the arbiter took it, give the command again; 4: done, but not logged.
    """
    if abandon is None:
        if statement is not None:
            raise click.UsageError("--statement is about the node of --abandon")
        if other is not None:
            raise click.UsageError("--other is of the node of --abandon: without that both nodes tell each other")
        _run_logged("adopt-arbiter", dry_run, adopt_together, config, dry_run)
    _run_logged("adopt-arbiter", dry_run, adopt_configured_arbiter, config, abandon, statement, other, dry_run)


@main.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def demo(file: Path | None, as_json: bool) -> None:
    """Kill one of two nodes while FILE is written, and show that nothing is lost.

    Two nodes as processes of their own, over TLS on this machine. FILE is the largest file of Python's standard
    library, unless given. Exit code 0: everything held, 1: the verdict says what did not, 2: FILE cannot be used.
    """
    with queued_stderr():
        run_command(show_demo, file, as_json)


@main.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--serve", is_flag=True, help="Do the other machine's half, until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Some four seconds each.")
def bench(config: Path | None, serve: bool, as_json: bool, rounds: int) -> None:
    """Measure the link, beside bare sockets in the same run: message rate, round trip, DMA.

    Without CONFIG on this machine, two processes over TLS and over plain TCP on loopback. With CONFIG, whose node is
    stopped, between two machines over TLS, with the nodes' addresses and keys: --serve at one, then without it at the
    other. No copy, role or record of the pair is touched. Exit code 0: measured; 1: not; 2: CONFIG cannot be used.
    """
    plan = BenchPlan(rounds, Sizes(), as_json)
    if config is None and serve:
        raise click.UsageError("--serve is for two machines: give the CONFIG of this one's node")
    with queued_stderr():
        if config is None:
            run_command(bench_here, plan)
        if serve:
            run_command(serve_pair, config)
        run_command(bench_pair, config, plan)


@main.command()
@click.option("--seed", type=click.IntRange(0), help="Show this one as a timeline.")
@click.option("--count", type=click.IntRange(1), help="From 0 on.  [default: as many as must reach everything]")
@click.option("--fresh", is_flag=True, help="From a random seed on instead.")
@click.option("--drivers", is_flag=True, help="Whole nodes instead of their cores: a second or two each.")
@click.option("--link", is_flag=True, help="The link alone, with all that uses it: a part of a second each.")
@click.option("--covers", is_flag=True, help="Name what no seed led to, and fail if this depth must.")
def sim(*, seed: int | None, count: int | None, fresh: bool, drivers: bool, link: bool, covers: bool) -> None:
    """Simulate pairs in trouble, each from one number, and check that they keep every promise.

    Both nodes' pair cores and an arbiter among crashes, partitions, failing disks and clocks, in simulated time. The
    same seed is the same on every machine, down to the digest of its events; with --drivers, for one version of Python
    and Trio, with --link, for one of Trio. Exit code 0: all passed, 1: some did not.
    """
    # Nothing else needs the simulators, which take longer to load than all the rest, and load pytest if it is there.
    from ctlha_trio.cli._sim import COVERING, fresh_seed, replay, sweep  # noqa: PLC0415
    from ctlha_trio.testing import Depth  # noqa: PLC0415

    if drivers and link:
        raise click.UsageError("--drivers is of whole nodes, --link of the link alone")
    depth = Depth.LINKS if link else Depth.NODES if drivers else Depth.CORES
    if seed is not None:
        if count is not None or fresh or covers:
            raise click.UsageError("--seed shows one seed; --count, --fresh and --covers are of many")
        sys.exit(replay(seed, depth=depth))
    first = fresh_seed() if fresh else 0
    sys.exit(sweep(range(first, first + (count or COVERING[depth])), depth=depth, covers=covers))
