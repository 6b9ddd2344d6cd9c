"""Memory that a caller hands over, as bytes in one piece."""

from ctlha_trio._errors import InvalidError
from ctlha_trio.seams._types import Buffer


def byte_view(buffer: Buffer) -> memoryview:
    """The bytes of ``buffer``, where they lie. ``TypeError`` for what is no buffer.

    ``InvalidError`` for one whose bytes cannot be had as they are: a view that has gaps, or was released.
    """
    try:
        return memoryview(buffer).cast("B")
    except (TypeError, ValueError) as error:
        if not isinstance(buffer, memoryview):
            raise
        raise InvalidError("memory must be in one piece, and not released") from error
