// Every page that a link leads to, as HTML and as JSON, and what is sent while the first page is open: none of it has a secret.
import { strict as assert } from "node:assert";
import { get } from "node:http";
import { test } from "node:test";

import { address, crawl, first, given, inBrowser, origin } from "./browser.mjs";

const LIVE_MS = 7_000;
const ASSETS = ["/console.css", "/console.js"];
/** What has no link, or is refused. */
const OTHERS = ["/no/such/page", "/event/--all", "/event/nothing", "/dead/letter/0", "/dead/redrive", "/repairs/x", "/rpc/No/Such", "/search?q=key:card-7", "/events?key=card-7", "/dead?rpc=No/Such"];

/** What an open page gets, for a few seconds. */
function live(path, cookie) {
  return new Promise((done, failed) => {
    let text = "";
    const request = get(origin() + path, { headers: { cookie, accept: "text/event-stream" } }, (response) => {
      text += `${JSON.stringify(response.headers)}\n`;
      response.on("data", (data) => {
        text += data;
      });
      response.on("error", () => done(text));
    });
    request.on("error", failed);
    setTimeout(() => {
      request.removeListener("error", failed);
      request.on("error", () => {});
      request.destroy();
      done(text);
    }, LIVE_MS);
  });
}

test("no answer has a secret, and no page asks another host", async () => {
  const planted = { ...JSON.parse(given("PLANTED")), token: new URL(address()).searchParams.get("token") };
  const pages = JSON.parse(given("PAGES"));
  const found = [];
  const check = (where, text) => {
    for (const [name, secret] of Object.entries(planted)) {
      if (text.includes(secret)) found.push(`${where} has the ${name}`);
    }
  };
  await inBrowser({}, async (page, context) => {
    const cookies = await context.cookies();
    const session = cookies.map(({ name, value }) => `${name}=${value}`).join("; ");
    for (const { name, value } of cookies) planted[name] = value;
    const read = async (path, response) => {
      check(path, JSON.stringify(await response.allHeaders()));
      check(path, (await response.body()).toString());
      const policy = (await response.allHeaders())["content-security-policy"] ?? "";
      assert.ok(policy.includes("default-src 'none'"), `${path}: ${policy}`);
      const answer = await context.request.get(origin() + path, { headers: { accept: "application/json" } });
      check(`${path} as JSON`, JSON.stringify(answer.headers()) + (await answer.text()));
    };
    // Violations are events of the page, and messages in its console.
    await page.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`the policy forbids ${event.violatedDirective}: ${event.blockedURI}`);
      });
    });
    const visited = await crawl(page, read);
    const base = first().replace(/\/$/, "");
    for (const path of [...ASSETS, ...OTHERS].map((path) => base + path)) {
      const answer = await context.request.get(origin() + path);
      check(path, JSON.stringify(answer.headers()) + (await answer.text()));
    }
    const sent = await live(`${base}/live`, session);
    assert.match(sent, /^data:/m, "nothing was sent");
    check("/live", sent);
    for (const wanted of pages) {
      assert.ok(visited.some((path) => path.startsWith(wanted)), `no link leads to ${wanted}: ${visited.join(" ")}`);
    }
  });
  assert.deepEqual(found, []);
});
