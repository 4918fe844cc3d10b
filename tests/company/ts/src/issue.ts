// Issues a card, and publishes that in the same transaction: node dist/issue.js CARD_ID
import { create, toJsonString } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import pg from "pg";
import { CardIssuedEventSchema, CardKind } from "./gen/acme/card/v1/card_event_pb.js";

const cardId = process.argv[2] ?? "";
const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();
const event = create(CardIssuedEventSchema, {
  cardId,
  issuedAt: timestampFromDate(new Date("2026-11-25T13:02:07.500Z")),
  kind: CardKind.VIRTUAL,
  holder: { case: "person", value: "Jürgen" },
  limitMinor: 9007199254740993n,
  labels: { team: "blue", "plan/a": "gold" },
});
await client.query("begin");
await client.query("insert into card (id) values ($1)", [cardId]);
const published = await client.query("select outbox.enqueue($1, $2, $3) as id", [
  "event_card_issued",
  toJsonString(CardIssuedEventSchema, event),
  cardId,
]);
await client.query("commit");
await client.end();
console.log(`published ${published.rows[0].id}`);
