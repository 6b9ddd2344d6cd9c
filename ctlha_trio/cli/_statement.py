"""What a person says of the other node, word for word: no command can know it."""

import click

from ctlha_trio._errors import ConfigError, FailedError


def check_statement(node: str, statement: str | None) -> None:
    """``ConfigError`` if something else was said beforehand than that the node is powered off."""
    if statement not in {None, _expected(node)}:
        raise ConfigError("--statement", "", f"must be {_expected(node)!r}")


def require_statement(node: str, statement: str | None) -> None:
    """Have it said now unless it was before. ``FailedError`` if something else is said."""
    check_statement(node, statement)
    if statement is None and click.prompt(f"If it is so, write: {_expected(node)}\n") != _expected(node):
        raise FailedError("nothing was changed: that is not the statement")


def _expected(node: str) -> str:
    return f"{node} is powered off"
