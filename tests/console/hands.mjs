// The ways in which a person acts: with a mouse, with keys alone, and in a browser that runs no script.
import { strict as assert } from "node:assert";

import { NAVIGATION, PLACES, SEARCH } from "./words.mjs";

const PATIENCE_MS = 60_000;
/** So long the page may show something by itself, before it is loaded again. */
const GLANCE_MS = 2_500;
const TABS_MAX = 300;

class Hands {
  constructor(page) {
    this.page = page;
  }

  /** Waits until a part of the page is there. A page that does not change by itself is loaded again, as a person does. */
  async see(part, what = "it") {
    return this.until(`${what} is there`, part, (shown) => shown.first().isVisible());
  }

  async seeNoMore(part, what = "it") {
    const isGone = async (shown) => (await this.page.getByRole("main").isVisible()) && !(await shown.first().isVisible());
    return this.until(`${what} is gone`, part, isGone);
  }

  async until(what, part, isSo) {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      const glance = Date.now() + GLANCE_MS;
      do {
        // After a form was sent, there may be no page for a moment.
        await this.page.waitForLoadState();
        if (await isSo(part)) return part.first();
        await this.page.waitForTimeout(50);
      } while (Date.now() < glance);
      assert.ok(Date.now() < end, `waited in vain until ${what}: ${part} on ${this.page.url()}`);
      await this.look();
    }
  }

  async look() {
    await this.page.reload();
  }

  async at(place) {
    await this.page.getByRole("heading", { level: 1, name: place.heading }).waitFor();
  }
}

/** A mouse, and keys where something is written. */
export class Mouse extends Hands {
  async press(part) {
    await part.click();
    // The first page holds still under the pointer.
    await this.page.mouse.move(0, 0);
  }

  async write(field, text) {
    await field.click();
    await field.fill(text);
  }

  async go(place) {
    await this.press(this.page.getByRole("navigation", { name: NAVIGATION }).getByRole("link", { name: place.link, exact: true }));
    await this.at(place);
  }

  /** Opens the redrive of the only row. */
  async redrive(link) {
    await this.press(link);
  }

  async search(text) {
    const field = this.page.getByRole("searchbox", { name: SEARCH });
    await this.write(field, text);
    await field.press("Enter");
  }
}

/** A browser without scripts. */
export class Plain extends Mouse {}

/** Keys alone: Tab reaches everything, and what has the focus is seen. */
export class Keyboard extends Hands {
  async press(part) {
    await this.reach(part.first());
    await this.page.keyboard.press("Enter");
  }

  async write(field, text) {
    await this.reach(field);
    await this.page.keyboard.press("ControlOrMeta+a");
    await this.page.keyboard.type(text);
  }

  async go(place) {
    await this.page.waitForLoadState();
    for (const key of place.keys) await this.page.keyboard.press(key);
    await this.at(place);
  }

  async redrive() {
    await this.page.waitForLoadState();
    for (const key of ["j", "r"]) await this.page.keyboard.press(key);
  }

  async search(text) {
    await this.page.waitForLoadState();
    await this.page.keyboard.press("/");
    await this.page.keyboard.type(text);
    await this.page.keyboard.press("Enter");
  }

  async reach(part) {
    await part.waitFor();
    for (let tabs = 0; tabs < TABS_MAX; tabs += 1) {
      const focus = await part.evaluate((wanted) => {
        if (document.activeElement !== wanted) return "";
        const { outlineStyle } = getComputedStyle(wanted);
        const box = wanted.getBoundingClientRect();
        const isOnScreen = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
        return isOnScreen && outlineStyle !== "none" ? "seen" : "hidden";
      });
      if (focus) {
        assert.equal(focus, "seen", `${part} has the focus, and nothing shows it`);
        return;
      }
      await this.page.keyboard.press("Tab");
    }
    assert.fail(`Tab does not reach ${part} on ${this.page.url()}`);
  }
}

export const HANDS = {
  mouse: { of: Mouse, options: {} },
  keyboard: { of: Keyboard, options: {} },
  plain: { of: Plain, options: { javaScriptEnabled: false } },
};

export { PLACES };
