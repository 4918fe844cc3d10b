// One journey of a person through a drill, with one kind of hands. A test in tests/it/seen/browser starts it.
import { test } from "node:test";

import { given, inBrowser } from "./browser.mjs";
import { HANDS } from "./hands.mjs";
import * as journeys from "./journeys.mjs";
import { Stage } from "./stage.mjs";

const [name, hands] = [given("JOURNEY"), given("HANDS")];

test(`${name}, by ${hands}`, { timeout: 240_000 }, async () => {
  const { of: Of, options } = HANDS[hands];
  const stage = await Stage.open();
  try {
    await inBrowser(options, (page) => journeys[name](new Of(page), page, stage));
  } finally {
    stage.close();
  }
});
