// Runs ../../cases.json on the database of DATABASE_URL, which needs the schema `outbox`. ../gen has the generated code. The
// committed events stay in the table, so that their rows can be compared with those of the Rust library.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { create, fromJson, type DescMessage, type JsonValue } from "@bufbuild/protobuf";
import pg from "pg";
import { enqueue, RefusedError, type EventType, type Options } from "../src/index.js";
import * as generated from "../gen/outbox_events.js";
import { HogeUpdatedEventSchema } from "../gen/hoge/v1/hoge_event_pb.js";

interface Case {
  event: string;
  message: JsonValue;
  key?: JsonValue;
  headers?: Record<string, JsonValue>;
  error?: string;
}

const events: EventType[] = Object.values(generated);
const { EVENT_CARD_TRANSACTION_SETTLED, EVENT_EVERY_KIND_HAPPENED, EVENT_HOGE_UPDATED } = generated;
const path = process.env["OUTBOX_CASES"] ?? "../cases.json";
const cases: { accepted: Case[]; refused: Case[] } = JSON.parse(readFileSync(path, "utf8"), expand);
const pool = new pg.Pool({ connectionString: process.env["DATABASE_URL"] });
let tx: pg.PoolClient;

before(async () => {
  tx = await pool.connect();
});

after(async () => {
  tx.release();
  await pool.end();
});

/** `{ "repeat": ["x", 3] }` stands for "xxx". */
function expand(_key: string, value: { repeat?: [string, number] } | string | null): unknown {
  return typeof value === "object" && value?.repeat ? value.repeat[0].repeat(value.repeat[1]) : value;
}

function enqueueCase({ event: name, message, key, headers }: Case): Promise<string> {
  const event = events.find((event) => event.name === name);
  assert(event, name);
  return enqueue(tx, event, fromJson(event.schema as DescMessage, message), { key, headers } as Options);
}

async function count(): Promise<number> {
  const { rows } = await tx.query("select count(*)::integer as n from outbox.event");
  return rows[0].n;
}

test("the accepted cases are published", async () => {
  assert(cases.accepted.length > 10);
  await tx.query("begin");
  for (const one of cases.accepted) {
    assert.match(await enqueueCase(one), /^[0-9a-f-]{36}$/);
  }
  await tx.query("commit");
  assert.equal(await count(), cases.accepted.length);
});

test("the refused cases leave the transaction usable", async () => {
  assert(cases.refused.length > 10);
  const others: [() => Promise<string>, string][] = [
    [() => enqueue(tx, { ...EVENT_HOGE_UPDATED, name: "EventOne" }, { hogeId: "1" }), "event name `EventOne` is not lower_snake_case"],
    [() => enqueue(tx, { ...EVENT_HOGE_UPDATED, key: "id" }, { hogeId: "1" }), "has no field id: run `outbox codegen`"],
    [() => enqueue(tx, EVENT_HOGE_UPDATED, { hogeId: "a\ud800" }, { key: "k" }), "has an escape that stands for no character"],
    [() => enqueue(tx, EVENT_HOGE_UPDATED, { hogeId: "1" }, { key: "a\ud800" }), "holds half of a surrogate pair"],
    [
      () => enqueue(tx, EVENT_CARD_TRANSACTION_SETTLED as EventType, create(HogeUpdatedEventSchema)),
      "event_card_transaction_settled carries card.v1.CardTransactionSettledEvent, and not hoge.v1.HogeUpdatedEvent",
    ],
    [() => enqueue(tx, EVENT_HOGE_UPDATED, undefined as never), "carries hoge.v1.HogeUpdatedEvent, and not undefined"],
    [() => enqueue(tx, EVENT_HOGE_UPDATED, null as never), "carries hoge.v1.HogeUpdatedEvent, and not null"],
    [() => enqueue(tx, EVENT_HOGE_UPDATED, [] as never), "carries hoge.v1.HogeUpdatedEvent, and not object"],
    [() => enqueue(tx, EVENT_HOGE_UPDATED, { hoge_id: "1" } as never), "has no field `hoge_id`"],
    ...[
      { int32Value: NaN },
      { int32Value: 1.5 },
      { int32Value: 3e9 },
      { uint32Value: -1 },
      { enumValue: NaN },
      { int64Value: 2n ** 70n },
      { floatValue: 1e300 },
      { int32Wrapper: NaN },
      { doubleWrapper: NaN },
      { itself: { floatWrapper: Infinity } },
      { any: {} },
      { anyJson: {} },
      { structValue: { a: NaN } },
      { duration: { seconds: 1n, nanos: -1 } },
      { timestamp: { seconds: 0n, nanos: -1 } },
      { fieldMask: { paths: ["card_"] } },
    ].map((value): [() => Promise<string>, string] => [
      () => enqueue(tx, EVENT_EVERY_KIND_HAPPENED, value as never),
      "failed to encode event_every_kind_happened",
    ]),
    [() => enqueue(tx, EVENT_HOGE_UPDATED, { hogeId: "1" }), "outside a transaction"],
    [() => enqueue(pool as unknown as pg.Client, EVENT_HOGE_UPDATED, { hogeId: "1" }), "outside a transaction"],
  ];
  for (const [done, expected] of others) {
    await assert.rejects(done, (error) => error instanceof RefusedError && error.message.includes(expected), expected);
  }
  await tx.query("begin");
  for (const one of cases.refused) {
    const isRefusal = (error: unknown) => error instanceof RefusedError && error.message.includes(one.error!);
    await assert.rejects(enqueueCase(one), isRefusal, one.error);
  }
  await enqueue(tx, EVENT_HOGE_UPDATED, { hogeId: "rolled back" });
  await tx.query("rollback");
  assert.equal(await count(), cases.accepted.length);
});

test("a message of another event does not compile", () => {
  // @ts-expect-error: the event has no such field.
  void (() => enqueue(tx, EVENT_HOGE_UPDATED, { cardId: "1" }));
  // @ts-expect-error: this is the message of another event.
  void (() => enqueue(tx, EVENT_CARD_TRANSACTION_SETTLED, create(HogeUpdatedEventSchema)));
});
