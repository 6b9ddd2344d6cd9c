"""What a person says of the other node, word for word: no command can know it."""

import sys

import click

from ctlha_trio._errors import ConfigError, FailedError
from ctlha_trio.cli._output import output_failure


def check_abandoned(node: str, peer: str) -> None:
    """``ConfigError`` if the node that is to be abandoned is not the other one."""
    if node != peer:
        raise ConfigError("--abandon", "", f"the other node is {peer}, not {node}")


def check_statement(node: str, statement: str | None) -> None:
    """``ConfigError`` if something else was said beforehand than that the node is powered off."""
    if statement not in {None, _expected(node)}:
        raise ConfigError("--statement", "", f"must be {_expected(node)!r}")


def require_statement(node: str, statement: str | None) -> None:
    """Have it said now unless it was before. ``FailedError`` if something else is said, or nothing.

    ``KeyboardInterrupt`` for an interrupt instead of an answer.
    """
    check_statement(node, statement)
    if statement is None and _asked_for(node) != _expected(node):
        raise FailedError("nothing was changed: that is not the statement")


def _asked_for(node: str) -> str:
    if sys.stdin is None or sys.stdout is None:  # closed by whoever started the command
        raise FailedError("nothing was changed: there is nobody to ask; --statement says it beforehand")
    _require_shown()
    try:
        # The empty default: an empty line is an answer too, and is not asked about again.
        answer = str(click.prompt(f"If it is so, write: {_expected(node)}\n", default="", show_default=False))
    except click.Abort as abort:
        click.echo()  # nobody ended the line of the question
        not_given = FailedError("nothing was changed: the statement was not given")
        if isinstance(abort.__context__, KeyboardInterrupt):
            # Told here: of an interrupt nothing else is said.
            click.echo(not_given, err=True)
            raise KeyboardInterrupt from abort
        raise not_given from abort
    _require_shown()
    return answer


def _require_shown() -> None:
    """Nobody states anything about what was not seen."""
    if output_failure() is not None:
        raise FailedError("nothing was changed: what would change could not be shown")


def _expected(node: str) -> str:
    return f"{node} is powered off"
