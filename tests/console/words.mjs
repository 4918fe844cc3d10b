// The words of the pages that the journeys read and click. A person finds things by them, so nothing here names a class.

/** Links of each page's head, with the keys that open them. */
export const PLACES = {
  now: { link: "Now", keys: ["g", "n"], heading: "Now" },
  dead: { link: "Dead", keys: ["g", "d"], heading: "Dead letters" },
  events: { link: "Events", keys: ["g", "e"], heading: "Events" },
  repairs: { link: "Repairs", keys: ["g", "r"], heading: "Repairs" },
  line: { link: "Line", keys: ["g", "l"], heading: "Line" },
  audit: { link: "Audit", keys: ["g", "a"], heading: "Audit" },
};

export const NAVIGATION = "Pages";
export const SEARCH = "Search";

/** The first page. */
export const WELL = "Nothing is stuck";
export const HOLD_STILL = "Hold still";
export const GO_ON = "Go on";
export const NEWER_WAITS = "Something newer waits.";
export const COPY = "Copy";

/** Tables, by the names that they have for a reader aloud. */
export const TABLES = {
  rpcs: "RPCs",
  workers: "Workers",
  retrying: "Retrying",
  groups: "Groups",
  repairs: "Repairs",
  processes: "Processes",
};

/** An RPC, and a worker's breaker for it. */
export const AWAY = "open since";
export const PAUSE = "Pause";
export const FOR = /^For/;
export const WHY = /^Why/;
export const RESUME = "Resume";
export const PAUSED = "Paused until";
export const NO_RETRY = "No message waits for another attempt.";

/** Dead letters, and a redrive of them. */
export const NO_LETTERS = "No dead letters.";
export const REDRIVE = "Redrive…";
export const REDRIVE_ALL = /^Redrive \d/;
export const RATE = "A second";
export const CANARY = "Try first";

/** A repair, and its states. */
export const STOP = "Stop";
export const TAKE_BACK = "Take back what has not begun";
export const CONTINUE = "Continue";
export const RUNNING = "running";
export const ENDED = "ended";
export const STOPPED = "stopped";
export const INTERRUPTED = "interrupted";
export const TAKEN_BACK = "Taken back";

/** What is given up becomes a dead letter. */
export const GIVE_UP = "Give up";
export const EVENT = "Event";

/** What can't be taken back: the method's name is typed, and the reason is kept. */
export const DROP_QUEUE = "Drop the queue…";
export const TYPE = /^Type /;
export const DROP_FOR_GOOD = /^Drop \d+ for good/;
