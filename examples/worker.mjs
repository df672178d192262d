// Score films from Node.js (18 or newer, no packages): one `rella score --jsonl` for the whole program, the model read
// once, any number of requests at a time. Results come in the order of the requests, so a queue of promises is all it
// takes; a bad request rejects its own promise and no other. Run it from the repository's root:
//
//     node examples/worker.mjs [OPTION of rella score]...

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

class Worker {
  #waiting = [];
  #ended = null;

  constructor(options) {
    this.process = spawn("rella", ["score", "--jsonl", ...options], { stdio: ["pipe", "pipe", "inherit"] });
    this.process.stdin.on("error", () => {}); // the worker has gone: "close" tells all who wait
    createInterface({ input: this.process.stdout }).on("line", (line) => this.#settle(JSON.parse(line)));
    this.closed = new Promise((resolve) => {
      this.process.on("error", (error) => this.#end(error)); // there is no rella, say
      this.process.on("close", (code) => {
        this.#end(new Error(`the worker ended with ${code}`));
        resolve(code);
      });
    });
  }

  ask(request) {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.process.stdin.write(JSON.stringify(request) + "\n");
    });
  }

  close() {
    this.process.stdin.end();
    return this.closed;
  }

  #settle(result) {
    const { resolve, reject } = this.#waiting.shift();
    if (result.error) reject(new Error(result.error.message));
    else resolve(result);
  }

  #end(error) {
    this.#ended ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
  }
}

const read = (name) => JSON.parse(readFileSync(new URL(name, import.meta.url), "utf8"));
const { user, history } = read("history.json");
const items = read("items.json");

const worker = new Worker(process.argv.slice(2));
const asked = [
  { id: "all", user, history, items },
  ...items.map((item) => ({ id: item.title, user, history, item, k: 3 })),
  { id: "bad", user, history: [{ title: "Alien", rating: 11 }], items },
];
const answers = await Promise.allSettled(asked.map((request) => worker.ask(request)));
answers.forEach(({ value, reason }, number) => {
  const { id } = asked[number];
  if (reason) console.log(`${id}: ${reason.message}`);
  else if (value.score) console.log(`${id}: ${value.score.probability.toFixed(3)}`);
  else console.log(`${id}: ${value.scores.map(({ item, rank }) => `${rank}. ${item.title}`).join(", ")}`);
});
process.exitCode = await worker.close();
