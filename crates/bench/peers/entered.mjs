// What the benchmark hears of a handler: while it is measured only how many events have entered, and when at the end.

const entered = new Map();

// The machine's monotonic clock, which the publisher reads too.
export function enter(n) {
  const now = process.hrtime.bigint();
  if (!entered.has(n)) entered.set(n, now);
}

// Tells until SIGTERM; then each event's time, and `stop`.
export function tell(stop) {
  setInterval(() => console.log(`count ${entered.size}`), 50);
  process.once("SIGTERM", async () => {
    const lines = [...entered].map(([n, at]) => `at ${n} ${at}\n`);
    // All of it, before there is no process any more.
    await new Promise((written) => process.stdout.write(lines.join(""), written));
    await stop();
    process.exit(0);
  });
  // Nobody reads any more: the benchmark is gone.
  process.stdout.on("error", () => process.exit(1));
  console.log("ready");
}
