// A handler's reports to the benchmark: during the measurement only the number of entered events, and their times at the
// end.

const entered = new Map();

// The machine's monotonic clock, which the publisher reads too.
export function enter(n) {
  const now = process.hrtime.bigint();
  if (!entered.has(n)) entered.set(n, now);
}

// Reports until SIGTERM; then each event's time, and `stop`.
export function tell(stop) {
  setInterval(() => console.log(`count ${entered.size}`), 50);
  process.once("SIGTERM", async () => {
    const lines = [...entered].map(([n, at]) => `at ${n} ${at}\n`);
    // Written completely before the process ends.
    await new Promise((written) => process.stdout.write(lines.join(""), written));
    await stop();
    process.exit(0);
  });
  // The benchmark has ended.
  process.stdout.on("error", () => process.exit(1));
  console.log("ready");
}
