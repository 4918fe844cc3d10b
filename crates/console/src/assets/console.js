// Keys, times that go on, copying, and the first page while it is open. Every page works without it.
"use strict";
(() => {
  const root = document.documentElement;
  const ahead = Date.now() - Date.parse(root.dataset.now);

  const age = (seconds) => {
    if (seconds < 10) return seconds.toFixed(1) + "s";
    const units = [["day", 86400], ["h", 3600], ["m", 60], ["s", 1]];
    const parts = [];
    let left = Math.round(seconds);
    for (const [name, size] of units) {
      const many = Math.floor(left / size);
      left -= many * size;
      if (many) parts.push(many + name + (name === "day" && many > 1 ? "s" : ""));
    }
    return parts.slice(0, 2).join(" ");
  };
  const tick = () => {
    const now = Date.now() - ahead;
    for (const time of document.querySelectorAll("time")) {
      const ago = time.querySelector(".ago");
      if (!ago) continue;
      const seconds = (now - Date.parse(time.dateTime)) / 1000;
      ago.textContent = seconds < 0 ? "in " + age(-seconds) : age(seconds) + " ago";
    }
  };
  setInterval(tick, 1000);

  const offer = (within) => {
    for (const button of within.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
  };
  offer(document);
  const copy = async (button) => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });

  // The part of the first page that changes. It holds still under the pointer, and while something in it has the focus.
  const live = document.getElementById("live");
  const stop = document.querySelector("[data-live-stop]");
  const said = document.querySelector("[data-live-said]");
  let held = false;
  let source = null;
  const hold = () => {
    held = !held;
    stop.setAttribute("aria-pressed", String(held));
    stop.textContent = held ? "Go on" : "Hold still";
    listen();
  };
  const show = (html) => {
    if (held || live.matches(":hover") || live.contains(document.activeElement)) {
      said.textContent = "Something newer waits.";
      return;
    }
    const fresh = document.createElement("div");
    fresh.innerHTML = html;
    // What is the same stays, so that a reader aloud says only what is new.
    const parts = [...fresh.children];
    parts.forEach((part, at) => {
      const before = live.children[at];
      if (!before) live.append(part);
      else if (before.outerHTML !== part.outerHTML) before.replaceWith(part);
    });
    while (live.children.length > parts.length) live.lastElementChild.remove();
    offer(live);
    said.textContent = "Live, as of " + new Date().toISOString().slice(11, 19) + "Z.";
  };
  const listen = () => {
    if (source) source.close();
    source = null;
    if (held || document.hidden) { said.textContent = held ? "Held still." : ""; return; }
    source = new EventSource(live.dataset.live);
    source.onmessage = (event) => show(event.data);
    source.onerror = () => { said.textContent = "The console does not answer; what you see is older."; };
  };
  if (live && stop) {
    stop.hidden = false;
    said.textContent = "Live.";
    stop.addEventListener("click", hold);
    document.addEventListener("visibilitychange", listen);
    listen();
  }

  // Keys: g and a letter opens a page.
  let g = false;
  const rows = () => [...document.querySelectorAll("tr[data-row]")];
  const move = (by) => {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.contains(document.activeElement));
    const row = all[Math.min(all.length - 1, Math.max(0, at + by))];
    (row.querySelector("a") || row).focus();
  };
  const help = "g n Now, g d Dead, g e Events, g p Parked, g r Repairs, g l Line, g o Routes, g a Audit\n"
    + "/ search, j and k rows, Enter opens, c copies the first command, . holds still";
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (g) {
      g = false;
      const link = document.querySelector('nav a[data-key="' + CSS.escape(event.key) + '"]');
      if (link) location.href = link.href;
      return;
    }
    const keys = {
      g: () => { g = true; },
      "/": () => { event.preventDefault(); document.getElementById("q").focus(); },
      j: () => move(1),
      k: () => move(-1),
      c: () => { const first = document.querySelector("[data-copy]:not([hidden])"); if (first) copy(first); },
      ".": () => { if (live && stop) hold(); },
      "?": () => alert(help),
    };
    if (Object.hasOwn(keys, event.key)) keys[event.key]();
  });
})();
