// Publishes events from Node, as a back end should. Import `EventPublisher`, or copy it into your application.
//
//     npm install amqplib
//     export AMQP_URL=amqp://user:password@rabbit.internal:5672/%2f
//     node publish.mjs                  one event, made below
//     node publish.mjs events.ndjson    the events of a file: one, or many of them; `-` reads them as they come
//
// Exit codes: 0 the broker has them all; 1 something is no event; 3 the broker cannot be reached, or refuses.

import { createReadStream, realpathSync } from "node:fs";
import { createInterface } from "node:readline";
import amqp from "amqplib";

/** Connects when the first event is published, and keeps the connection: make one for a process. */
export class EventPublisher {
  #url;
  #exchange;
  /** A promise of the channel, so that all who come while it is being made wait for the same. */
  #channel;
  #lost = new WeakSet();

  constructor(url, exchange = "events") {
    this.#url = url;
    this.#exchange = exchange;
  }

  /** Publishes an event, such as `{ data: { type: "deal.moved", ... } }`. Fulfilled once the broker has it. */
  async publish(event) {
    await this.send(JSON.stringify(event));
  }

  /** As `publish`, with what is JSON already. */
  async send(body) {
    // Where the broker cannot be reached, that is said at once.
    const channel = await (this.#channel ??= this.#connect());
    try {
      await this.#sendOn(channel, body);
    } catch (error) {
      if (!this.#lost.has(channel)) throw error;
      // Once more, on a new connection. An event that was under way just then may be published twice: its id tells.
      await this.#sendOn(await (this.#channel ??= this.#connect()), body);
    }
  }

  /** Closes the connection, without which a process does not end by itself. */
  async close() {
    const channel = await this.#channel?.catch(() => undefined);
    await channel?.connection.close();
  }

  async #sendOn(channel, body) {
    // Not mandatory: where nobody listens no queue takes the event, and that is no fault of who sends it.
    const options = { contentType: "application/json", persistent: true };
    await new Promise((resolve, reject) => {
      const late = setTimeout(reject, 5_000, new Error("the broker has not confirmed the event within 5 s"));
      channel.publish(this.#exchange, "", Buffer.from(body), options, (error) => {
        clearTimeout(late);
        error ? reject(error) : resolve();
      });
    });
  }

  async #connect() {
    try {
      const connection = await amqp.connect(this.#url, { timeout: 5_000 });
      // Said by `close` too; but an error that nobody listens to would end the process.
      connection.on("error", () => {});
      const channel = await connection.createConfirmChannel();
      channel.on("error", () => {});
      channel.on("close", () => {
        this.#lost.add(channel);
        this.#channel = undefined;
      });
      // The same words as in Pointsman's configuration: whoever comes first makes it.
      await channel.assertExchange(this.#exchange, "fanout", { durable: true });
      return channel;
    } catch (error) {
      this.#channel = undefined;
      throw error;
    }
  }
}

// The rest is for the command line.

async function main(publisher, path) {
  if (path === undefined) {
    const data = { type: "deal.moved", tenant_id: "acme", id: 1003, deal_id: 42, board: "sales", actor_id: 1 };
    await publisher.publish({ data: { ...data, stage: "won" } });
    return;
  }
  // An event ends where what was read is JSON: so it may stand on one line, or on many.
  let body = "";
  for await (const line of createInterface({ input: path === "-" ? process.stdin : createReadStream(path) })) {
    body = `${body}\n${line}`.trimStart();
    if (isEvent(body)) {
      await publisher.send(body);
      body = "";
    }
  }
  if (body) throw Object.assign(new Error(`this is no JSON object: ${body.split("\n")[0]}`), { exitCode: 1 });
}

function isEvent(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === import.meta.filename) {
  const publisher = new EventPublisher(process.env.AMQP_URL || "amqp://guest:guest@127.0.0.1:5672/%2f");
  try {
    await main(publisher, process.argv[2]);
  } catch (error) {
    console.error(`publish.mjs: ${error.message || error.code}`);
    process.exitCode = error.exitCode ?? 3;
  } finally {
    await publisher.close();
  }
}
