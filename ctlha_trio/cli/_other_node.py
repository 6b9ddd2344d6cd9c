"""Whether the other node answers, asked by a command itself: for those that act on a person's word that it is off."""

from ctlha_trio._errors import FailedError
from ctlha_trio.cli._config import LoadedConfig
from ctlha_trio.pair import NOT_POWERED_OFF
from ctlha_trio.seams import TlsTransport, load_key


async def require_silent(loaded: LoadedConfig) -> None:
    """``FailedError`` if whoever answers at the other node's address has its key: that stands against any statement.

    So does one that does not trust this node's key, as while keys are being changed. One that is not reached within the
    time for a dial may be off, or only cut off: that is for a person to know, and of a stranger there nothing follows.
    ``ConfigError`` if this node's key cannot be used. A checkpoint.
    """
    peer = loaded.content.peer
    if await TlsTransport(key=load_key(loaded.key_path), pins=peer.pins).shows_pinned_key(peer.address):
        raise FailedError(NOT_POWERED_OFF.format(node=peer.node))
