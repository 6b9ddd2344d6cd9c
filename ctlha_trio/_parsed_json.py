"""JSON that comes from anywhere."""

import json
from typing import Any


def parse_json(text: str | bytes | bytearray) -> Any:
    """The value. ``ValueError`` if it is none, also where it is nested deeper than the interpreter can follow."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
