// The test in Rust that started this journey: it makes what happens in the drill, between the steps of the person.
import { connect } from "node:net";
import { createInterface } from "node:readline";

import { given } from "./browser.mjs";

/** A connection on which one side says a line, and waits for the other. */
export class Stage {
  static async open() {
    const [host, port] = given("STAGE").split(":");
    const socket = connect({ host, port: Number(port) });
    await new Promise((done, failed) => socket.once("connect", done).once("error", failed));
    return new Stage(socket);
  }

  constructor(socket) {
    this.socket = socket;
    this.lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  /** Says where the person is, and waits until the test lets the journey go on. Returns what the test said. */
  async reached(point, shown = "") {
    this.socket.write(`${JSON.stringify({ point, shown })}\n`);
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`the test ended at: ${point}`);
    return JSON.parse(value);
  }

  close() {
    this.socket.destroy();
  }
}
