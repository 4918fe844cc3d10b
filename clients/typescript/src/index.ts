import {
  create,
  isFieldSet,
  isMessage,
  toBinary,
  toJsonString,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
  type Registry,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import type { ClientBase } from "pg";
import {
  HEADERS_BYTES_MAX,
  headerProblem,
  isEventName,
  KEY_BYTES_MAX,
  PAYLOAD_BYTES_MAX,
  payloadProblem,
} from "./rules.js";
import { valueProblem } from "./values.js";

/** An event, as `outbox codegen --lang ts` writes it. */
export interface EventType<Desc extends DescMessage = DescMessage> {
  /** As in event_router.yaml: `event_hoge_updated`. */
  readonly name: string;
  readonly schema: Desc;
  /** The field that proto marks with `(outbox.key)`, as proto names it. */
  readonly key: string | undefined;
}

export interface Options {
  /** Another key than the event's own. Events with one key stay in the order of their transactions. */
  key?: string | undefined;
  /** Headers that travel with the event: `traceparent`, or names with a prefix of your own. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** The messages that a `google.protobuf.Any` in the event may hold. */
  registry?: Registry | undefined;
}

/** The event was refused before SQL was sent, so the transaction is usable. The message does not quote the payload. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
}

/**
 * Publishes an event if the client's transaction commits, and never if it does not. Returns the id of the event.
 *
 * `tx` is a client that has begun a transaction, and not a pool.
 */
export async function enqueue<Desc extends DescMessage>(
  tx: ClientBase,
  event: EventType<Desc>,
  message: MessageShape<Desc> | MessageInitShape<Desc>,
  options: Options = {},
): Promise<string> {
  const row = entry(event, message, options);
  refuseOutsideTransaction(tx, event.name);
  const text = "select outbox.enqueue($1::pg_catalog.text, $2::pg_catalog.text, $3::pg_catalog.text, $4::pg_catalog.text)::pg_catalog.text as id";
  const { rows } = await tx.query<{ id: string }>(text, [event.name, row.payload, row.key, row.headers]);
  return rows[0]!.id;
}

interface Entry {
  payload: string;
  key: string | null;
  headers: string | null;
}

function entry<Desc extends DescMessage>(
  event: EventType<Desc>,
  init: MessageShape<Desc> | MessageInitShape<Desc>,
  options: Options,
): Entry {
  const { name, schema } = event;
  if (!isEventName(name)) {
    throw new RefusedError(
      `event name \`${name}\` is not lower_snake_case of at most 128 characters, as in event_router.yaml`,
    );
  }
  if (isMessage(init) && init.$typeName !== schema.typeName) {
    throw new RefusedError(`${name} carries ${schema.typeName}, and not ${init.$typeName}`);
  }
  refuseOther(event, init);
  const message = create(schema, init as MessageInitShape<Desc>);
  const payload = payloadOf(event, message, options.registry);
  const key = keyOf(event, message, options.key);
  return { payload, key, headers: headersOf(name, options.headers ?? {}) };
}

/** protobuf-es makes an empty message of nothing, and passes over what is no field: a row of the database, for example. */
function refuseOther({ name, schema }: EventType, init: unknown): void {
  if (typeof init !== "object" || init === null || Array.isArray(init)) {
    throw new RefusedError(`${name} carries ${schema.typeName}, and not ${init === null ? "null" : typeof init}`);
  }
  if (isMessage(init)) return;
  const members = new Set(schema.members.map(({ localName }) => localName));
  const isOther = ([key, value]: [string, unknown]) => !members.has(key) && !key.startsWith("$") && value !== undefined;
  const other = Object.entries(init).find(isOther)?.[0];
  if (other !== undefined) {
    throw new RefusedError(`${schema.typeName} has no field \`${other}\`: protobuf-es writes names in lowerCamelCase`);
  }
}

function payloadOf<Desc extends DescMessage>(
  event: EventType<Desc>,
  message: MessageShape<Desc>,
  registry: Registry | undefined,
): string {
  const { name, schema } = event;
  let payload: string;
  try {
    // It refuses numbers that do not fit their fields. JSON would have null for NaN.
    toBinary(schema, message);
    const problem = valueProblem(reflect(schema, message));
    if (problem !== undefined) throw new Error(problem);
    payload = toJsonString(schema, message, registry === undefined ? {} : { registry });
  } catch (cause) {
    throw new RefusedError(`failed to encode ${name}`, { cause });
  }
  const bytes = Buffer.byteLength(payload);
  if (bytes > PAYLOAD_BYTES_MAX) {
    throw new RefusedError(
      `payload of ${name} is ${bytes} bytes; at most ${PAYLOAD_BYTES_MAX} fit on the bus: put large data where the subscriber can fetch it, and its address in the event`,
    );
  }
  const problem = payloadProblem(payload);
  if (problem !== undefined) {
    throw new RefusedError(`payload of ${name} ${problem}: no reader of proto3 JSON takes that`);
  }
  return payload;
}

function keyOf<Desc extends DescMessage>(
  event: EventType<Desc>,
  message: MessageShape<Desc>,
  given: string | undefined,
): string | null {
  const key = given ?? ownKey(event, message);
  if (key === null) return null;
  const bytes = Buffer.byteLength(key);
  if (bytes > KEY_BYTES_MAX) {
    throw new RefusedError(
      `key of ${event.name} is ${bytes} bytes; at most ${KEY_BYTES_MAX} are allowed: use the id of what the event is about`,
    );
  }
  if (key.includes("\0")) {
    throw new RefusedError(`key of ${event.name} holds a null character, which no text in Postgres can hold`);
  }
  if (/\p{Surrogate}/u.test(key)) {
    throw new RefusedError(`key of ${event.name} holds half of a surrogate pair, which no text in Postgres can hold`);
  }
  return key;
}

/** An unset field and an empty text are no key. */
function ownKey<Desc extends DescMessage>(event: EventType<Desc>, message: MessageShape<Desc>): string | null {
  if (event.key === undefined) return null;
  const field = event.schema.fields.find((field) => field.name === event.key);
  if (field === undefined) {
    throw new RefusedError(
      `${event.schema.typeName} has no field ${event.key}: run \`outbox codegen\` for the proto of the messages`,
    );
  }
  if (!isFieldSet(message, field)) return null;
  const value = (message as unknown as Record<string, unknown>)[field.localName];
  return String(value) || null;
}

function headersOf(name: string, headers: Readonly<Record<string, string>>): string | null {
  // In the order of their names, as every client writes them.
  const sorted = Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1));
  if (sorted.length === 0) return null;
  for (const [header, value] of sorted) {
    const problem = headerProblem(header, value);
    if (problem !== undefined) {
      throw new RefusedError(`header \`${header}\` of ${name} ${problem}`);
    }
  }
  const text = JSON.stringify(Object.fromEntries(sorted));
  if (text.length > HEADERS_BYTES_MAX) {
    throw new RefusedError(
      `headers of ${name} are ${text.length} bytes; at most ${HEADERS_BYTES_MAX} are allowed: data belongs in the payload`,
    );
  }
  return text;
}

/** A pool would publish although the change is rolled back. Older versions of pg do not say whether a transaction is open. */
function refuseOutsideTransaction(tx: ClientBase, name: string): void {
  const { totalCount, getTransactionStatus } = tx as { totalCount?: unknown; getTransactionStatus?: () => unknown };
  const isIdle = typeof getTransactionStatus === "function" && getTransactionStatus.call(tx) === "I";
  if (totalCount !== undefined || isIdle) {
    throw new RefusedError(
      `${name} would be published outside a transaction: send \`begin\` on a client of its own, and pass that client`,
    );
  }
}
