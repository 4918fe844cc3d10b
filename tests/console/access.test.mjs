// axe on every page, in each way in which a page can look.
import { strict as assert } from "node:assert";
import { test } from "node:test";

import { axeSource, crawl, inBrowser } from "./browser.mjs";

const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
const WIDE = { width: 1280, height: 900 };
const LOOKS = [
  { name: "light", media: { colorScheme: "light", forcedColors: "none" }, viewport: WIDE },
  { name: "dark", media: { colorScheme: "dark", forcedColors: "none" }, viewport: WIDE },
  { name: "forced colours", media: { colorScheme: "light", forcedColors: "active" }, viewport: WIDE },
  // The width that WCAG names, and that of a wide window at 400 %.
  { name: "320 pixels", media: { colorScheme: "light", forcedColors: "none" }, viewport: { width: 320, height: 640 } },
];

test("no page has a barrier", async () => {
  const source = axeSource();
  // What is wrong, and on which pages in which look.
  const found = new Map();
  const add = (problem, place) => found.set(problem, [...(found.get(problem) ?? []), place]);
  await inBrowser({}, async (page) => {
    const visited = await crawl(page, async (path) => {
      await page.evaluate(source);
      for (const { name, media, viewport } of LOOKS) {
        await page.emulateMedia(media);
        await page.setViewportSize(viewport);
        const { violations } = await page.evaluate((tags) => globalThis.axe.run({ runOnly: tags, resultTypes: ["violations"] }), TAGS);
        for (const { id, help, nodes } of violations) {
          for (const { html, failureSummary } of nodes) {
            add(`${id}: ${help}: ${html.slice(0, 200)}: ${failureSummary.replaceAll("\n", " ")}`, `${path} (${name})`);
          }
        }
        const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
        if (wide > seen) add(`a page is ${wide} pixels wide, and ${seen} are seen`, `${path} (${name})`);
      }
    });
    assert.ok(visited.length >= 10, `only ${visited}`);
  });
  const told = [...found].map(([problem, places]) => `${problem}\n    on ${places.slice(0, 4).join(", ")}: ${places.length} in all`);
  assert.equal(told.length, 0, `${told.length} barriers:\n${told.join("\n")}`);
});
