// graphile-worker, with the settings that its documentation gives for performance.

import { Logger, run, runMigrations } from "graphile-worker";
import { enter, tell } from "./entered.mjs";

const [what, connectionString] = process.argv.slice(2);
const logger = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") console.error(message);
});

if (what === "setup") {
  await runMigrations({ connectionString, logger });
  const enqueue = "select graphile_worker.add_job('bench', $1::text::json)";
  // As its own add_jobs does, in one statement.
  const fill = `select count(*) from graphile_worker.add_jobs(array(
      select row('bench', payload::json, null, null, null, null, null, null)::graphile_worker.job_spec
      from unnest($1::text[]) as payload))`;
  console.log(JSON.stringify({ enqueue, fill, empty: "truncate graphile_worker._private_jobs" }));
} else {
  const worker = {
    connectionString,
    concurrentJobs: 24,
    maxPoolSize: 25,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    logger,
  };
  const bench = ({ n }) => enter(n);
  const runner = await run({ preset: { worker }, taskList: { bench }, noHandleSignals: true });
  tell(() => runner.stop());
}
