"""Publishes events of Outbox in a transaction of psycopg.

    with connection.transaction():
        connection.execute("update hoge set name = 'new' where id = '1'")
        enqueue(connection, EVENT_HOGE_UPDATED, HogeUpdatedEvent(hoge_id="1"))
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row

from ._rules import (
    HEADERS_BYTES_MAX,
    KEY_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    header_problem,
    is_event_name,
    payload_problem,
)
from ._values import value_problem

__all__ = ["Event", "RefusedError", "enqueue", "enqueue_async"]

_ENQUEUE = (
    "select outbox.enqueue(%s::pg_catalog.text, %s::pg_catalog.text, %s::pg_catalog.text, %s::pg_catalog.text)"
)


class RefusedError(ValueError):
    """The event was refused before SQL was sent, so the transaction is usable. The message does not quote the payload."""


@dataclass(frozen=True)
class Event:
    """An event, as `outbox codegen --lang python` writes it."""

    name: str
    """As in event_router.yaml: `event_hoge_updated`."""
    message_type: str
    """The full name of its message: `hoge.v1.HogeUpdatedEvent`."""
    key: str | None
    """The field that proto marks with `(outbox.key)`."""


def enqueue(
    connection: Connection[Any],
    event: Event,
    message: Message,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> UUID:
    """Publishes an event if the connection's transaction commits, and never if it does not. Returns the id of the event.

    `key` replaces the event's own. Events with one key stay in the order of their transactions. `headers` travel with the
    event: `traceparent`, or names with a prefix of your own.
    """
    row = _row(event, message, key, headers)
    _refuse_outside_transaction(connection, event)
    # The connection's own class of cursors may have other placeholders.
    with Cursor(connection, row_factory=tuple_row) as cursor:
        return _id(cursor.execute(_ENQUEUE, row).fetchone())


async def enqueue_async(
    connection: AsyncConnection[Any],
    event: Event,
    message: Message,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> UUID:
    """As `enqueue`, for an asynchronous connection."""
    row = _row(event, message, key, headers)
    _refuse_outside_transaction(connection, event)
    async with AsyncCursor(connection, row_factory=tuple_row) as cursor:
        await cursor.execute(_ENQUEUE, row)
        return _id(await cursor.fetchone())


def _id(row: tuple[Any, ...] | None) -> UUID:
    assert row is not None
    return row[0]


def _row(
    event: Event, message: Message, key: str | None, headers: Mapping[str, str] | None
) -> tuple[str, str, str | None, str | None]:
    if not is_event_name(event.name):
        raise RefusedError(
            f"event name `{event.name}` is not lower_snake_case of at most 128 characters, as in event_router.yaml"
        )
    own = message.DESCRIPTOR.full_name if isinstance(message, Message) else type(message).__name__
    if own != event.message_type:
        raise RefusedError(f"{event.name} carries {event.message_type}, and not {own}")
    payload = _payload(event.name, message)
    return event.name, payload, _key(event, message, key), _headers(event.name, headers or {})


def _payload(name: str, message: Message) -> str:
    try:
        problem = value_problem(message)
        written = {} if problem is not None else MessageToDict(message)
        payload = json.dumps(written, ensure_ascii=False, separators=(",", ":"))
        # json.dumps writes a null character as an escape, and half of a surrogate pair as it is.
        payload_bytes = len(payload.encode())
    except (JsonError, ValueError, TypeError, RecursionError) as error:
        # The cause may quote the payload, so it is kept off the message.
        raise RefusedError(f"failed to encode {name}") from error
    if problem is not None:
        raise RefusedError(f"failed to encode {name}: {problem}")
    if payload_bytes > PAYLOAD_BYTES_MAX:
        raise RefusedError(
            f"payload of {name} is {payload_bytes} bytes; at most {PAYLOAD_BYTES_MAX} fit on the bus: "
            "put large data where the subscriber can fetch it, and its address in the event"
        )
    problem = payload_problem(payload)
    if problem is not None:
        raise RefusedError(f"payload of {name} {problem}: no reader of proto3 JSON takes that")
    return payload


def _key(event: Event, message: Message, given: str | None) -> str | None:
    key = _own_key(event, message) if given is None else given
    if key is None:
        return None
    try:
        key_bytes = len(key.encode())
    except UnicodeEncodeError:
        raise RefusedError(
            f"key of {event.name} holds half of a surrogate pair, which no text in Postgres can hold"
        ) from None
    if key_bytes > KEY_BYTES_MAX:
        raise RefusedError(
            f"key of {event.name} is {key_bytes} bytes; at most {KEY_BYTES_MAX} are allowed: "
            "use the id of what the event is about"
        )
    if "\0" in key:
        raise RefusedError(f"key of {event.name} holds a null character, which no text in Postgres can hold")
    return key


def _own_key(event: Event, message: Message) -> str | None:
    """An unset field and an empty text are no key."""
    if event.key is None:
        return None
    field = message.DESCRIPTOR.fields_by_name.get(event.key)
    if field is None:
        raise RefusedError(
            f"{event.message_type} has no field {event.key}: run `outbox codegen` for the proto of the messages"
        )
    value = getattr(message, field.name)
    is_set = message.HasField(field.name) if field.has_presence else value != field.default_value
    return (str(value) or None) if is_set else None


def _headers(name: str, headers: Mapping[str, str]) -> str | None:
    if not headers:
        return None
    # In the order of their names, as every client writes them.
    ordered = dict(sorted(headers.items()))
    for header, value in ordered.items():
        problem = header_problem(header, value)
        if problem is not None:
            raise RefusedError(f"header `{header}` of {name} {problem}")
    text = json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))
    if len(text) > HEADERS_BYTES_MAX:
        raise RefusedError(
            f"headers of {name} are {len(text)} bytes; at most {HEADERS_BYTES_MAX} are allowed: "
            "data belongs in the payload"
        )
    return text


def _refuse_outside_transaction(connection: Connection[Any] | AsyncConnection[Any], event: Event) -> None:
    """With autocommit the event would be published although the change fails."""
    # In a pipeline the answer to `begin` may still be on its way.
    is_known = connection.pgconn.pipeline_status == PipelineStatus.OFF
    if connection.autocommit and is_known and connection.info.transaction_status == TransactionStatus.IDLE:
        raise RefusedError(
            f"{event.name} would be published outside a transaction: call `enqueue` within `with connection.transaction():`"
        )
