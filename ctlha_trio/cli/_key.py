"""``ctlha key``: the pin of a node's key, and a new key beside it, with the steps from the one to the other."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from ctlha_trio._errors import FailedError
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.cli._new_files import write_new
from ctlha_trio.seams import describe_key, is_there, load_key, make_key, sync_folder


async def show_key(file: Path) -> int:
    """Print the pin of the node's key. ``ConfigError`` if that cannot be read. Not a checkpoint."""
    click.echo(describe_key(load_key(load_config(file).key_path)))
    return 0


async def make_new_key(file: Path) -> int:
    """Make a key beside the node's own, which stays in use; print its pin, and then the steps. Not a checkpoint.

    ``ConfigError`` if the node's own cannot be read, ``FailedError`` if another one is there already, new or old, or
    the new one cannot be written. The new one is durable when its pin is printed.
    """
    loaded = load_config(file)
    old_pin = describe_key(load_key(loaded.key_path))
    path, earlier = _beside(loaded.key_path, "new"), _beside(loaded.key_path, "old")
    if is_there(earlier):
        raise FailedError(f"{earlier} is there still, from an earlier change: end that one, and remove it")
    try:
        write_new(path, make_key(), mode=0o600)
        sync_folder(path.parent)
    except FileExistsError as error:
        pin = describe_key(load_key(path))
        raise FailedError(f"{path} is there already, with the pin {pin}; it is not overwritten") from error
    except OSError as error:
        raise FailedError(f"{path}: {error.strerror}") from error
    new_pin = describe_key(load_key(path))
    click.echo(new_pin)
    for number, step in enumerate(_steps(loaded, old_pin, new_pin), 1):
        click.echo(f" {number}. {step}")
    return 0


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}.{what}")


def _steps(loaded: LoadedConfig, old_pin: str, new_pin: str) -> Iterator[str]:
    node, peer = loaded.content.node, loaded.content.peer.node
    key = loaded.key_path
    new, old = _beside(key, "new"), _beside(key, "old")
    # It is kept as the old one only where there is none, and there is a key at any moment.
    moves = " && ".join(shlex.join(map(str, each)) for each in (("ln", "--", key, old), ("mv", "-f", "--", new, key)))
    yield f'on node {peer}, in its node.toml: pins = ["{old_pin}", "{new_pin}"]; restart it, wait for protected'
    yield f"stop node {node}; {moves}; start it, wait for protected"
    yield f'on node {peer}, in its node.toml: pins = ["{new_pin}"]; restart it, wait for protected'
    yield f"on node {node}: {shlex.join(['rm', '--', str(old)])}"
