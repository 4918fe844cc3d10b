// Times in the zone of the browser: each has its zone, and its date on another day than today, as that zone counts days.
import { strict as assert } from "node:assert";
import { test } from "node:test";

import { first, inBrowser, origin } from "./browser.mjs";

const base = () => first().replace(/\/$/, "");
const PAGES = ["/", "/line", "/audit", "/repairs", "/dead", "/dead/redrive?rpc=AfterPayService%2FRecordCardTransaction", "/event/01a212d5-a2c4-7f3c-92df-450a9015f239"];
const ZONES = [
  { timezoneId: "UTC", zone: "+00:00" },
  { timezoneId: "Asia/Tokyo", zone: "+09:00" },
  { timezoneId: "Asia/Kolkata", zone: "+05:30" },
  { timezoneId: "America/St_Johns", zone: "-03:30" },
  // Another day than in UTC, at the time of the demo.
  { timezoneId: "Pacific/Kiritimati", zone: "+14:00" },
];

/** The date and the time there, as `Intl` has them. */
function there(instant, timeZone) {
  const parts = new Intl.DateTimeFormat("en-GB", {
    timeZone, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  }).formatToParts(new Date(instant));
  const of = (type) => parts.find((part) => part.type === type).value;
  return [`${of("year")}-${of("month")}-${of("day")}`, `${of("hour")}:${of("minute")}:${of("second")}`];
}

for (const { timezoneId, zone } of ZONES) {
  test(`times in ${timezoneId} have their day and their zone`, async () => {
    await inBrowser({ timezoneId }, async (page) => {
      await page.goto(`${origin()}${base()}/look?to=local&back=${encodeURIComponent(first())}`);
      let days = 0;
      for (const path of PAGES) {
        await page.goto(`${origin()}${base()}${path}`);
        const now = await page.evaluate(() => document.documentElement.dataset.now);
        const shown = await page.locator("time, [data-time]").evaluateAll((all) =>
          all.map((one) => ({ at: one.dateTime || one.dataset.time, text: one.textContent, dated: "dated" in one.dataset })),
        );
        assert.ok(shown.length > 0, `${path} has no time`);
        const [today] = there(now, timezoneId);
        for (const { at, text, dated } of shown) {
          const [date, time] = there(at, timezoneId);
          const exact = /\.\d{3}/.exec(text)?.[0] ?? "";
          const day = dated || date !== today ? `${date} ` : "";
          if (day && !dated) days += 1;
          assert.equal(text, `${day}${time}${exact}${zone}`, `${path} ${at} of ${now}`);
        }
      }
      assert.ok(days > 0, "a time of another day was on no page");
    });
  });
}
