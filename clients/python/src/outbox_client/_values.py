"""Values that protobuf writes, and that other readers of proto3 JSON refuse, or read as another one."""

from collections.abc import Mapping
from math import isfinite

from google.protobuf.message import Message


def value_problem(message: Message) -> str | None:
    """The reason to refuse a message."""
    if not message.IsInitialized():
        return "a required field is not set"
    return _problem(message)


def _problem(message: Message) -> str | None:
    kind = message.DESCRIPTOR.full_name
    if kind in ("google.protobuf.DoubleValue", "google.protobuf.FloatValue") and not isfinite(message.value):
        return "a wrapped double or float is not finite"
    if kind == "google.protobuf.Any" and not message.type_url:
        return "an Any names no message"
    if kind == "google.protobuf.Value" and message.WhichOneof("kind") is None:
        return "a value of any type has no kind"
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        # A Struct is a Mapping, too.
        is_map = isinstance(value, Mapping) and not isinstance(value, Message)
        for nested in [value] if isinstance(value, Message) else value.values() if is_map else value:
            problem = _problem(nested) if isinstance(nested, Message) else None
            if problem is not None:
                return problem
    return None
