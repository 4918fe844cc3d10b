// pg-boss, woken by NOTIFY and in large batches.

import { PgBoss } from "pg-boss";
import { enter, tell } from "./entered.mjs";

const [what, connectionString] = process.argv.slice(2);
const boss = new PgBoss({ connectionString, useListenNotify: true });
boss.on("error", (error) => console.error(error.message));
await boss.start();

if (what === "setup") {
  await boss.createQueue("bench", { notify: true });
  const [sql, json] = await sent();
  // One job of its JSON array, split at its data.
  const [before, after] = json.slice(1, -1).split('"DATA"');
  const jobs = (list) => sql.replace("$1::text::json", () => `(${list})::json`);
  const quoted = (text) => `'${text.replaceAll("'", "''")}'`;
  const job = (data) => `${quoted(before)} || ${data} || ${quoted(after)}`;
  const { table } = await boss.getQueue("bench");
  console.log(
    JSON.stringify({
      enqueue: jobs(`'[' || ${job("$1::text")} || ']'`),
      fill: jobs(`select '[' || string_agg(${job("data")}, ',') || ']' from unnest($1::text[]) as data`),
      empty: `truncate pgboss.${table}`,
    }),
  );
  await boss.stop({ graceful: false });
  process.exit(0);
} else {
  const options = { batchSize: 500, pollingIntervalSeconds: 0.5, burstWhenBatchFull: true };
  await boss.work("bench", options, async (jobs) => {
    for (const { data } of jobs) enter(data.n);
  });
  tell(() => boss.stop({ graceful: false }));
}

// The statement that its own send() would execute in a publisher's transaction.
async function sent() {
  let statement;
  const db = {
    executeSql: async (sql, values) => {
      statement = [sql, values[0]];
      return { rows: [{ id: "" }] };
    },
  };
  await boss.send("bench", "DATA", { db });
  return statement;
}
