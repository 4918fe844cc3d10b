// Keys, times that go on, copying, and holding still. Every page works without it.
"use strict";
(() => {
  const root = document.documentElement;
  const find = (selector) => document.querySelector(selector);
  const all = (selector) => document.querySelectorAll(selector);
  const ahead = Date.now() - Date.parse(root.dataset.now);
  const now = () => Date.now() - ahead;

  // Times: how long ago, and in the zone of this browser if that is chosen.
  const UNITS = [["day", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  const age = (seconds) => {
    if (seconds < 10) return seconds.toFixed(1) + "s";
    const parts = [];
    let left = Math.round(seconds);
    for (const [name, size] of UNITS) {
      const many = Math.floor(left / size);
      left -= many * size;
      if (many) parts.push(many + name + (name === "day" && many > 1 ? "s" : ""));
    }
    return parts.slice(0, 2).join(" ");
  };
  const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  // As in ISO 8601, and how far the zone is from UTC then.
  const local = (at) => at.toLocaleString("sv").split(" ");
  const zone = (at) => {
    const minutes = -at.getTimezoneOffset();
    const two = (number) => String(Math.trunc(Math.abs(number))).padStart(2, "0");
    return (minutes < 0 ? "-" : "+") + two(minutes / 60) + ":" + two(minutes % 60);
  };
  const tick = () => {
    for (const one of all("[data-at]")) {
      const seconds = (now() - Date.parse(one.dataset.at)) / 1000;
      put(one, seconds < 0 ? "(in " + age(-seconds) + ")" : "(" + age(seconds) + " ago)");
    }
    if (root.dataset.times !== "local") return;
    const [today] = local(new Date(now()));
    for (const one of all("time, [data-time]")) {
      const at = new Date(one.dateTime || one.dataset.time);
      const [date, time] = local(at);
      // Another day has its date, as the zone counts days.
      const day = date !== today || "dated" in one.dataset ? date + " " : "";
      put(one, day + time + (/\.\d+/.exec(one.textContent) || "") + zone(at));
    }
  };
  tick();
  setInterval(tick, 1000);

  const offer = () => {
    for (const button of all("[data-copy]")) button.hidden = !navigator.clipboard;
  };
  offer();
  const copy = async (button) => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };

  // What changes by itself holds still under the pointer, and when it is told to. What comes meanwhile waits.
  const live = document.getElementById("live");
  const stop = find("[data-live-stop]");
  const said = find("[data-live-said]");
  const held = () => stop.getAttribute("aria-pressed") === "true";
  const isStill = () => held() || (matchMedia("(hover: hover)").matches && live.matches(":hover"));
  let waiting = [];
  const free = () => {
    if (isStill()) return;
    for (const go of waiting) go();
    waiting = [];
  };
  const say = (text, is) => { put(said, text); said.dataset.is = is; };
  const hold = () => {
    const still = !held();
    stop.setAttribute("aria-pressed", String(still));
    put(stop, still ? "Go on" : "Hold still");
    say(still ? "Held still." : "Live.", still ? "held" : "live");
    free();
  };
  if (live && stop) {
    stop.hidden = false;
    say("Live.", "live");
    stop.addEventListener("click", hold);
    live.addEventListener("pointerleave", () => setTimeout(free));
    const hear = (name, then) => document.addEventListener("htmx:" + name, then);
    hear("sse:before:message", (event) => {
      if (!isStill()) return;
      say(held() ? "Held still: something newer waits." : "Something newer waits.", "held");
      event.detail.waitUntil(new Promise((go) => waiting.push(go)));
    });
    hear("sse:after:message", () => { say("Live.", "live"); offer(); tick(); });
    for (const name of ["sse:error", "error"]) {
      hear(name, () => say("The console does not answer; what you see is older.", "late"));
    }
  }

  // Keys: g and a letter opens a page.
  const keys = document.getElementById("keys");
  const help = find("[data-help]");
  help.hidden = false;
  help.addEventListener("click", () => keys.showModal());
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  const move = (by) => {
    const rows = [...all("[data-row]")];
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.matches(":focus-within"));
    const row = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
    (row.querySelector("a") || row.closest("[tabindex]")).focus();
  };
  // In the row with the focus; without one, if the page has it once.
  const here = (selector) => {
    const row = find(":focus")?.closest("[data-row], li");
    const [one, more] = (row || document).querySelectorAll(selector);
    return row || !more ? one : null;
  };
  let g = false;
  const PRESSED = {
    g: () => { g = true; },
    "/": () => find("#q").focus(),
    j: () => move(1),
    k: () => move(-1),
    f: () => find("form.change :is(input:not([type=hidden]), select, button)")?.focus(),
    r: () => here('a[href*="/dead/redrive"]')?.click(),
    p: () => {
      const [field, rpc] = [find("#pause"), here('a[href*="/rpc/"]')];
      if (field) field.focus();
      else if (rpc) location.assign(rpc.href + "#pause");
    },
    c: () => find("[data-copy]:not([hidden])")?.click(),
    t: () => find("[data-next=theme]")?.click(),
    ".": () => { if (live && stop) hold(); },
    "?": () => keys.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || keys.open || root.dataset.keys === "off") return;
    if (event.target.closest("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (g) {
      g = false;
      find('nav a[data-key="' + CSS.escape(event.key) + '"]')?.click();
    } else if (Object.hasOwn(PRESSED, event.key)) {
      event.preventDefault();
      PRESSED[event.key]();
    }
  });
})();
