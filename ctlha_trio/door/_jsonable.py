"""Records in the JSON of the status socket and of the log of decisions."""

from enum import Enum, Flag

import attrs


def jsonable(record: attrs.AttrsInstance) -> dict[str, object]:
    """The record as JSON knows it; enums by their value, flags by the names in them."""

    def serialize(_: type, __: "attrs.Attribute[object]", value: object) -> object:
        if isinstance(value, Flag):
            return value.name
        return value.value if isinstance(value, Enum) else value

    return attrs.asdict(record, value_serializer=serialize)
