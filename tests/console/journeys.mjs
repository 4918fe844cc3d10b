// What a person does in each drill: only what the pages show is read, and only what they show is pressed.
import { strict as assert } from "node:assert";

import { PLACES } from "./hands.mjs";
import * as words from "./words.mjs";

const table = (page, name) => page.getByRole("region", { name: new RegExp(`^${name}(, table)?$`) });
const row = (page, name, text) => table(page, name).getByRole("row").filter({ hasText: text });
const heading = (page, name) => page.getByRole("heading", { name });
const button = (page, name) => page.getByRole("button", { name, exact: typeof name === "string" });
/** The form with this button, and its fields. */
const form = (page, name) => page.locator("form").filter({ has: button(page, name) });
const field = (part, name) => part.getByLabel(name);
/** The problem, or what operators have set, that has all these words. */
const named = (page, ...texts) =>
  texts.reduce((items, hasText) => items.filter({ hasText }), page.getByRole("listitem"));

async function open(hands, page, rpc) {
  await hands.press(table(page, words.TABLES.rpcs).getByRole("link", { name: rpc, exact: true }));
  await heading(page, rpc).waitFor();
}

/** Fills in a form, presses its button, and sees that it was not refused. */
async function send(hands, page, name, fields = []) {
  for (const [label, text] of fields) await hands.write(field(form(page, name), label), text);
  const answered = page.waitForResponse((response) => response.request().method() === "POST");
  await hands.press(button(page, name));
  const status = (await answered).status();
  await page.waitForLoadState();
  assert.ok(status < 400, `${name} was refused: ${await page.getByRole("main").innerText()}`);
}

async function isWell(hands, page) {
  await hands.go(PLACES.now);
  await hands.see(heading(page, words.WELL), "the line is well");
}

/** Opens the only group of dead letters, and sends its form. */
async function redrive(hands, page, { rate, canary }) {
  await hands.go(PLACES.dead);
  await hands.redrive(page.getByRole("link", { name: words.REDRIVE }));
  await send(hands, page, words.REDRIVE_ALL, [[words.RATE, rate], [words.CANARY, canary]]);
  await hands.at(PLACES.repairs);
}

/** Drill 1: the server of an RPC is away, and comes back. */
export async function serverIsAway(hands, page, stage) {
  const { address } = await stage.reached("the console is open");
  const problem = named(page, "the server of Test/One is away", `can't connect to ${address}`);
  await hands.see(problem, "the server is named with its address");
  await open(hands, page, "Test/One");
  const worker = row(page, words.TABLES.workers, `can't connect to ${address}`).filter({ hasText: words.AWAY });
  await hands.see(worker, "its breaker and the error are shown");
  await stage.reached("the server is named");
  await isWell(hands, page);
  assert.equal(await problem.count(), 0, "the problem is gone");
}

/** Drill 4: a bad deploy. The RPC is paused, its reason is read, and after the repair all dead letters are redriven. */
export async function badDeploy(hands, page, stage) {
  await stage.reached("the console is open");
  await hands.see(named(page, "Test/One is held", "no column amount"), "the RPC is held");
  await hands.see(named(page, "of Test/One", "dead letter"), "its dead letters are named");
  await open(hands, page, "Test/One");
  await send(hands, page, words.PAUSE, [[words.WHY, "a bad deploy"]]);
  await hands.see(page.getByText(words.PAUSED).filter({ hasText: "a bad deploy" }), "the pause is shown");
  await hands.go(PLACES.dead);
  await hands.see(row(page, words.TABLES.groups, "no column amount"), "the reason is one group");
  await stage.reached("the RPC is paused, and its reason is known");

  await hands.go(PLACES.now);
  await hands.see(named(page, "Test/One is paused until", "a bad deploy"), "the pause is named");
  await open(hands, page, "Test/One");
  await send(hands, page, words.RESUME);
  await hands.seeNoMore(page.getByText(words.PAUSED), "the pause");
  await hands.go(PLACES.now);
  // What waited proves that the server is well, before the dead ones come.
  await hands.seeNoMore(named(page, "Test/One is held"), "the hold");
  await redrive(hands, page, { rate: "50", canary: "1" });
  await hands.see(row(page, words.TABLES.repairs, words.ENDED), "the redrive has ended");
  await hands.go(PLACES.dead);
  await hands.see(page.getByText(words.NO_LETTERS), "no letter is left");
  await isWell(hands, page);
}

/** Drill 5: a redrive of the wrong letters is stopped, and taken back as far as no call has begun. */
export async function wrongRedrive(hands, page, stage) {
  await stage.reached("the console is open");
  await hands.see(named(page, "60 dead letters of Test/Slow"), "the letters are named");
  await redrive(hands, page, { rate: "5", canary: "0" });
  await hands.see(row(page, words.TABLES.repairs, words.RUNNING), "the redrive runs");
  await stage.reached("the wrong redrive runs");
  await hands.press(row(page, words.TABLES.repairs, words.RUNNING).getByRole("link").first());
  await send(hands, page, words.STOP);
  await hands.see(page.getByText(words.STOPPED), "it is stopped");
  await send(hands, page, words.TAKE_BACK);
  await hands.see(page.getByText(words.TAKEN_BACK), "it is taken back");
  await hands.go(PLACES.dead);
  await hands.see(row(page, words.TABLES.groups, "Test/Slow"), "the letters are dead again");
  await stage.reached("the redrive is taken back");
  await redrive(hands, page, { rate: "1000", canary: "0" });
  await hands.go(PLACES.dead);
  await hands.see(page.getByText(words.NO_LETTERS), "no letter is left");
  await isWell(hands, page);
}

/** Drill 6: a transaction stays open. It is named, and the statement that ends it is copied. */
export async function idleTransaction(hands, page, stage) {
  const { pid } = await stage.reached("the console is open");
  const problem = named(page, "a transaction in ", `pid ${pid} (publisher_`, "card batch", "its own events wait");
  await hands.see(problem, "the transaction is named");
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  const copy = problem.first().getByRole("button", { name: words.COPY, exact: true });
  // A remedy may be text alone: then it is selected, and not copied with a button.
  const shown = (await copy.count()) ? await copied(hands, page, copy) : await problem.first().innerText();
  await stage.reached("the statement is there", shown);
  await isWell(hands, page);
}

async function copied(hands, page, copy) {
  await hands.press(copy);
  return page.evaluate(() => navigator.clipboard.readText());
}

/** Drill 11: two processes have different routes. The one that is behind is named, and so is what it lacks. */
export async function twoRouters(hands, page, stage) {
  const { relay } = await stage.reached("the console is open");
  await hands.see(named(page, "relay ", relay, "has the routes", "lacks Test/New (event_one)"), "the relay is named");
  await hands.go(PLACES.line);
  await hands.see(page.getByText("2 versions of event_router.yaml are in use"), "the line says so, too");
  await hands.see(row(page, words.TABLES.processes, relay), "the relay is in the table");
  await stage.reached("the relay is named");
  await hands.see(page.getByText("all have the same routes"), "all have the same");
  await isWell(hands, page);
}

/** Drill 12: a subscriber was removed, and its queue has messages. One who may drop them does. */
export async function removedSubscriber(hands, page, stage) {
  await stage.reached("the console is open");
  const problem = named(page, "20 messages for Test/Old, which event_router.yaml does not have");
  await hands.see(problem, "the queue is named");
  await open(hands, page, "Test/Old");
  await hands.press(page.getByRole("link", { name: words.DROP_QUEUE }));
  await send(hands, page, words.DROP_FOR_GOOD, [[words.TYPE, "Old"], [words.WHY, "it is no longer subscribed"]]);
  await isWell(hands, page);
  assert.equal(await problem.count(), 0, "the problem is gone");
}

/** Drill 14: a long replay was interrupted. It is continued to its end. */
export async function interruptedReplay(hands, page, stage) {
  await stage.reached("the console is open");
  await hands.go(PLACES.repairs);
  const replay = row(page, words.TABLES.repairs, "replay").filter({ hasText: words.INTERRUPTED });
  await hands.see(replay.filter({ hasText: "of 600" }), "the replay is shown with how far it came");
  await hands.press(replay.getByRole("link").first());
  await send(hands, page, words.CONTINUE);
  await hands.go(PLACES.repairs);
  // What goes on is a repair of its own, by who sent the form.
  const rest = row(page, words.TABLES.repairs, "replay").filter({ hasText: ", console" });
  await hands.see(rest.filter({ hasText: words.ENDED }), "the rest is sent");
  await isWell(hands, page);
}

/** Drill 15: a week later a customer asks what became of two events. */
export async function aWeekLater(hands, page, stage) {
  const { locked, unknown } = await stage.reached("the console is open");
  await hands.search(locked);
  await heading(page, `Event ${locked}`).waitFor();
  const told = await page.getByRole("main").innerText();
  let rest = told;
  for (const text of ["attempt 1", "the ledger is locked", "attempt 2", "redriven", "operator-a@", "done"]) {
    assert.ok(rest.includes(text), `${text} comes next in: ${told}`);
    rest = rest.slice(rest.indexOf(text) + text.length);
  }
  await hands.search(unknown);
  await heading(page, `Event ${unknown}`).waitFor();
  for (const text of ["no such card", "dropped", "operator-a@"]) {
    await page.getByRole("main").getByText(text).first().waitFor();
  }
  await hands.go(PLACES.audit);
  for (const command of ["dlq redrive", "dlq drop"]) {
    await hands.see(row(page, "Audit", command), `${command} is in the audit`);
  }
}

/** Drill 17: an RPC was paused, and forgotten. */
export async function forgottenPause(hands, page, stage) {
  await stage.reached("the console is open");
  await hands.see(named(page, "Test/One is paused until", "operator-a@", "a bad deploy"), "the pause is named");
  await open(hands, page, "Test/One");
  await hands.see(page.getByText(words.PAUSED), "the pause is shown");
  await send(hands, page, words.RESUME);
  await hands.seeNoMore(page.getByText(words.PAUSED), "the pause");
  await stage.reached("the RPC is resumed");
  await isWell(hands, page);
}

/** Drill 3b: one event fails for ever. It is found with its error, given up, and redriven after the repair. */
export async function failsForEver(hands, page, stage) {
  const { event } = await stage.reached("the console is open");
  await hands.see(named(page, event, "of Test/One failed at attempt", "the ledger is locked"), "the event is named");
  await open(hands, page, "Test/One");
  const retried = row(page, words.TABLES.retrying, event).filter({ hasText: "the ledger is locked" });
  await hands.see(retried, "it is listed with its error");
  await send(hands, page, words.GIVE_UP, [[words.EVENT, event], [words.WHY, "the card is closed"]]);
  await hands.go(PLACES.dead);
  await hands.see(row(page, words.TABLES.groups, "given_up"), "it is a dead letter");
  await stage.reached("the event is given up");
  await redrive(hands, page, { rate: "50", canary: "0" });
  await hands.go(PLACES.dead);
  await hands.see(page.getByText(words.NO_LETTERS), "no letter is left");
  await isWell(hands, page);
}

/** While numbers change on the first page, what has the focus keeps it. The keys hold the page still, and let it go on. */
export async function focusStays(hands, page, stage) {
  await stage.reached("the console is open");
  const link = table(page, words.TABLES.rpcs).getByRole("link", { name: "Test/One", exact: true });
  await hands.reach(link);
  const shown = await row(page, words.TABLES.rpcs, "Test/One").innerText();
  await stage.reached("a link has the focus");
  const hasChanged = async () =>
    (await row(page, words.TABLES.rpcs, "Test/One").innerText()) !== shown ||
    (await page.getByText(words.NEWER_WAITS).isVisible());
  const end = Date.now() + 60_000;
  while (!(await hasChanged())) {
    assert.ok(Date.now() < end, "the page does not change by itself");
    await page.waitForTimeout(100);
  }
  assert.ok(await link.evaluate((element) => element === document.activeElement), "the link has lost the focus");
  await page.keyboard.press(".");
  await button(page, words.GO_ON).waitFor();
  await page.keyboard.press(".");
  await button(page, words.HOLD_STILL).waitFor();
  await page.keyboard.press("Enter");
  await heading(page, "Test/One").waitFor();
  await stage.reached("the link is open");
  await isWell(hands, page);
  // The key leads from the row to the form of its pause, and on that page to the form again.
  await hands.reach(link);
  await page.keyboard.press("p");
  await heading(page, "Test/One").waitFor();
  const duration = field(form(page, words.PAUSE), words.FOR);
  for (const press of [async () => {}, () => page.keyboard.press("p")]) {
    await page.waitForLoadState();
    await press();
    const end = Date.now() + 15_000;
    while (!(await duration.evaluate((element) => element === document.activeElement))) {
      assert.ok(Date.now() < end, "the form of the pause has not the focus");
      await page.waitForTimeout(50);
    }
    await hands.reach(button(page, words.PAUSE));
  }
}
