"""The commands and their arguments."""

import re
import sys
from pathlib import Path
from typing import Final

import click

from ctlha_trio.cli._config import BLOCK_BYTES, MAX_VOLUME_BYTES
from ctlha_trio.cli._demo_command import show_demo
from ctlha_trio.cli._init import NODES, PORTS_PER_NODE, NewPair, create_pair, loopback_addresses
from ctlha_trio.cli._node import run_configured_node
from ctlha_trio.cli._run import run_command
from ctlha_trio.cli._sim import DEFAULT_COUNT, fresh_seed, replay, sweep
from ctlha_trio.cli._status import show_status, switch_over

_SIZE: Final = re.compile(r"([0-9]{1,20})([KMGT]?)", re.IGNORECASE)
_UNITS: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_MAX_PORT: Final = 65535


def _parse_size(_: click.Context, __: click.Parameter, text: str) -> int:
    """Bytes of ``64M``, ``1G``, or of a plain number of bytes."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no size; write it as 64M, 1G or bytes")
    size_bytes = int(found[1]) * _UNITS[found[2].upper()]
    if not BLOCK_BYTES <= size_bytes <= MAX_VOLUME_BYTES or size_bytes % BLOCK_BYTES:
        raise click.BadParameter(f"{text!r} must be a multiple of {BLOCK_BYTES} bytes, up to 64T")
    return size_bytes


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
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
@click.option("--arbiter", default="sqlite", show_default=True, help="Who decides which node serves.")
def init(folder: Path, size: int, base_port: int, arbiter: str) -> None:
    """Make a pair of nodes in DIR, for this machine."""
    if arbiter != "sqlite":
        raise click.BadParameter(
            f"{arbiter!r}: this version knows only 'sqlite', an arbiter for two nodes on one machine",
            param_hint="--arbiter",
        )
    run_command(_init, folder, NewPair(size_bytes=size, link_addresses=loopback_addresses(base_port)))


async def _init(folder: Path, new: NewPair) -> int:
    create_pair(folder, new)
    for node in NODES:
        click.echo(f"ctlha node {folder / node / 'node.toml'}")
    return 0


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
def node(config: Path) -> None:
    """Run the node of CONFIG until SIGTERM or SIGINT."""
    run_command(run_configured_node, config)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(config: Path, as_json: bool) -> None:
    """Ask the node of CONFIG. Exit code 0: protected, 1: anything else, 2: no answer."""
    run_command(show_status, config, as_json)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
def switchover(config: Path) -> None:
    """Have the node of CONFIG, the primary, hand its role to the other."""
    run_command(switch_over, config)


@main.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def demo(file: Path | None, as_json: bool) -> None:
    """Kill one of two nodes while FILE is written, and show that nothing is lost.

    Two nodes as processes of their own, over TLS on this machine. FILE is the largest file of Python's standard
    library, unless given. Exit code 0: everything held, 1: the verdict says what did not, 2: FILE cannot be used.
    """
    run_command(show_demo, file, as_json)


@main.command()
@click.option("--seed", type=click.IntRange(0), help="Show this one as a timeline.")
@click.option("--count", type=click.IntRange(1), help=f"How many seeds, from 0 on.  [default: {DEFAULT_COUNT}]")
@click.option("--fresh", is_flag=True, help="From a random seed on instead.")
def sim(seed: int | None, count: int | None, fresh: bool) -> None:
    """Simulate pairs in trouble, each from one number, and check that they keep every promise.

    Both nodes' pair cores and an arbiter among crashes, partitions, failing disks and clocks, in simulated time. The
    same seed is the same on every machine, down to the digest of its events. Exit code 0: all passed, 1: some did not.
    """
    if seed is not None:
        if count is not None or fresh:
            raise click.UsageError("--seed shows one seed; --count and --fresh run many")
        sys.exit(replay(seed))
    first = fresh_seed() if fresh else 0
    sys.exit(sweep(range(first, first + (count or DEFAULT_COUNT))))
