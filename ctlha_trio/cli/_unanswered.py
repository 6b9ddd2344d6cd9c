"""What is said where the node does not answer that a command needs."""

from collections.abc import Iterator
from contextlib import contextmanager

from ctlha_trio._errors import DisconnectError
from ctlha_trio.cli._config import LoadedConfig
from ctlha_trio.cli._remedies import START_IT


@contextmanager
def needing_node(loaded: LoadedConfig) -> Iterator[None]:
    """Within, a ``DisconnectError`` of the node's socket also names the command that starts the node."""
    try:
        yield
    except DisconnectError as error:
        raise DisconnectError(f"{error}; {START_IT.format(**loaded.names)}") from error
