"""What of a configuration both nodes are to say alike, and the hello does not compare."""

from collections.abc import Iterator, Mapping

import attrs

from ctlha_trio.cli._config import Configuration


def shared_settings(content: Configuration) -> dict[str, str]:
    """Everything in ``[channels]`` and ``[policy]``, by its key, as text; empty where nothing is said.

    All else is of one node, or no session is had over it: cluster, resource and size of the volume.
    """
    return dict([*_flat(attrs.asdict(content.channels), "channels."), *_flat(attrs.asdict(content.policy), "policy.")])


def _flat(table: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "" if value is None else str(value)
