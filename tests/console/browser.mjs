// A browser that has opened the console, and what it complained about.
import { createRequire } from "node:module";
import { join } from "node:path";

// NODE_PATH has the packages: they are installed below target, and not beside these files.
const require = createRequire(import.meta.url);
const { chromium } = require("playwright-core");

/** The source of axe-core, which pages run. */
export const axeSource = () => require("axe-core").source;

/** What the test that started this has passed. */
export const given = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is missing: a test in tests/it/seen/browser starts this`);
  return value;
};

/** The address that `outbox console` printed. */
export const address = () => given("CONSOLE_URL");

/** The beginning of each page's address. */
export const origin = () => new URL(address()).origin;

/** The printed address works once: what it gave to the first browser, the others of this file have, too. */
let cookies;

/** The path of the first page: consoles may begin with another one than `/`. */
export const first = () => new URL(address()).pathname;

/** Runs `visit` with a context of a browser that has opened the console. `options` are playwright's. */
export async function inBrowser(options, visit) {
  const browser = await chromium.launch({
    executablePath: given("CHROMIUM"),
    // Chromium refuses its sandbox to root, as which containers of CI run. It opens nothing but this console.
    args: process.getuid() === 0 ? ["--no-sandbox"] : [],
  });
  try {
    const context = await browser.newContext({ reducedMotion: "reduce", storageState: cookies, ...options });
    context.setDefaultTimeout(15_000);
    const complaints = complaintsOf(context);
    const page = await context.newPage();
    await page.goto(cookies ? origin() + first() : address());
    cookies ??= await context.storageState();
    await visit(page, context).catch(async (error) => {
      await keep(page);
      throw error;
    });
    if (complaints.length) throw new Error(`the browser complained:\n${complaints.join("\n")}`);
  } finally {
    await browser.close();
  }
}

/** Keeps what a person would see at the end of a test that failed. */
async function keep(page) {
  const folder = process.env.SCREENSHOTS;
  if (!folder) return;
  const name = [process.env.JOURNEY ?? "pages", process.env.HANDS ?? "mouse"].join("-");
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true }).catch(() => undefined);
  console.log(`a picture of ${page.url()} is in ${folder}/${name}.png`);
}

/** Errors of scripts, what the policy of the pages forbids, and requests that leave the console. */
function complaintsOf(context) {
  const complaints = [];
  const here = origin();
  context.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${here}/`) && !url.startsWith("data:")) complaints.push(`a request to ${url}`);
  });
  context.on("weberror", (error) => complaints.push(`an error: ${error.error().stack}`));
  context.on("console", (message) => {
    const text = message.text();
    // A refusal is a page like others, and a stopped console is a part of some tests.
    if (text.startsWith("Failed to load resource")) return;
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.type()}: ${text}`);
  });
  return complaints;
}

/** Links that change how pages look: each leads back to its page. */
const LOOKS = "/look";

/** The addresses of all pages that links of other pages lead to, without what follows `#`. */
export async function crawl(page, visit, pagesMax = 200) {
  const seen = new Set([first()]);
  for (const path of seen) {
    if (seen.size > pagesMax) throw new Error(`more than ${pagesMax} pages: ${[...seen].slice(-5).join(" ")}`);
    const response = await page.goto(origin() + path);
    await visit(path, response);
    const links = await page.locator("a[href]").evaluateAll((all) => all.map((link) => link.getAttribute("href")));
    for (const link of links) {
      const url = new URL(link, page.url());
      if (url.origin === origin() && !url.pathname.endsWith(LOOKS)) seen.add(url.pathname + url.search);
    }
  }
  return [...seen];
}
