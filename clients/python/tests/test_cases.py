"""Runs ../cases.json on the database of DATABASE_URL, which needs the schema `outbox`. PYTHONPATH has the generated code.

The committed events stay in the table, so that their rows can be compared with those of the Rust library.
"""

import asyncio
import json
import os
import unittest
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import outbox_events
import psycopg
from every.v1 import every_event_pb2
from card.v1 import card_event_pb2
from google.protobuf import json_format
from hoge.v1.hoge_event_pb2 import HogeUpdatedEvent
from outbox_client import Event, RefusedError, enqueue, enqueue_async
from outbox_events import EVENT_CARD_TRANSACTION_SETTLED, EVENT_HOGE_UPDATED
from psycopg.rows import dict_row

MODULES = {"card.v1": card_event_pb2, "every.v1": every_event_pb2}
URL = os.environ["DATABASE_URL"]


def expand(value):
    """`{"repeat": ["x", 3]}` stands for "xxx"."""
    return value["repeat"][0] * value["repeat"][1] if set(value) == {"repeat"} else value


def new_message(message_type):
    package, _, name = message_type.rpartition(".")
    return HogeUpdatedEvent() if package == "hoge.v1" else getattr(MODULES[package], name)()


def enqueue_case(connection, case):
    events = [event for event in vars(outbox_events).values() if isinstance(event, Event)]
    (event,) = (event for event in events if event.name == case["event"])
    message = json_format.ParseDict(case["message"], new_message(event.message_type))
    return enqueue(connection, event, message, key=case.get("key"), headers=case.get("headers"))


class Cases(unittest.TestCase):
    def setUp(self):
        path = Path(os.environ.get("OUTBOX_CASES", "../cases.json"))
        self.cases = json.loads(path.read_text(encoding="utf-8"), object_hook=expand)
        self.connection = psycopg.connect(URL, autocommit=True, row_factory=dict_row)
        self.addCleanup(self.connection.close)

    def count(self):
        return self.connection.execute("select count(*) as n from outbox.event").fetchone()["n"]

    def refuses(self, expected, call):
        with self.assertRaises(RefusedError) as caught:
            call()
        self.assertIn(expected, str(caught.exception))

    def test_accepted_cases_are_published(self):
        self.assertGreater(len(self.cases["accepted"]), 10)
        before = self.count()
        with self.connection.transaction():
            for case in self.cases["accepted"]:
                self.assertIsInstance(enqueue_case(self.connection, case), UUID)
        self.assertEqual(self.count(), before + len(self.cases["accepted"]))

    def test_refused_cases_leave_the_transaction_usable(self):
        self.assertGreater(len(self.cases["refused"]), 10)
        before = self.count()
        with self.connection.transaction(force_rollback=True):
            for case in self.cases["refused"]:
                self.refuses(case["error"], lambda: enqueue_case(self.connection, case))
            enqueue(self.connection, EVENT_HOGE_UPDATED, HogeUpdatedEvent(hoge_id="rolled back"))
        self.assertEqual(self.count(), before)

    def test_what_no_case_can_say(self):
        one = HogeUpdatedEvent(hoge_id="1")
        misnamed, other_key = replace(EVENT_HOGE_UPDATED, name="EventOne"), replace(EVENT_HOGE_UPDATED, key="id")
        for expected, event, key in [
            ("event name `EventOne` is not lower_snake_case", misnamed, None),
            ("has no field id: run `outbox codegen`", other_key, None),
            ("holds half of a surrogate pair", EVENT_HOGE_UPDATED, "a\ud800"),
            ("carries card.v1.CardTransactionSettledEvent, and not hoge", EVENT_CARD_TRANSACTION_SETTLED, None),
            ("outside a transaction", EVENT_HOGE_UPDATED, None),
        ]:
            self.refuses(expected, lambda: enqueue(self.connection, event, one, key=key))

    def test_values_that_readers_refuse(self):
        every = every_event_pb2.EveryKindHappenedEvent
        event = outbox_events.EVENT_EVERY_KIND_HAPPENED
        nothing = every()
        nothing.any.SetInParent()
        kindless = every()
        kindless.any_json.SetInParent()
        nested = every()
        nested.itself.float_wrapper.value = float("inf")
        for message in [
            every(double_wrapper={"value": float("nan")}),
            nested,
            nothing,
            kindless,
            every(struct_value={"a": float("nan")}),
            every(duration={"seconds": 1, "nanos": -1}),
            every(timestamp={"nanos": -1}),
            every(field_mask={"paths": ["card_"]}),
        ]:
            with self.connection.transaction(force_rollback=True):
                self.refuses("failed to encode event_every_kind_happened", lambda: enqueue(self.connection, event, message))

    def test_no_message_is_refused(self):
        self.refuses("and not NoneType", lambda: enqueue(self.connection, EVENT_HOGE_UPDATED, None))

    def test_other_cursors_publish(self):
        with psycopg.connect(URL, cursor_factory=psycopg.RawCursor) as connection:
            self.assertIsInstance(enqueue(connection, EVENT_HOGE_UPDATED, HogeUpdatedEvent(hoge_id="1")), UUID)
            connection.rollback()

    def test_an_asynchronous_connection_publishes(self):
        async def publish():
            async with await psycopg.AsyncConnection.connect(URL) as connection:
                done = await enqueue_async(connection, EVENT_HOGE_UPDATED, HogeUpdatedEvent(hoge_id="1"))
                await connection.rollback()
                return done

        before = self.count()
        self.assertIsInstance(asyncio.run(publish()), UUID)
        self.assertEqual(self.count(), before)


if __name__ == "__main__":
    unittest.main()
