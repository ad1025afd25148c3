// An application that uses the example's class: publishes each line that it reads, and says so once the broker has it.
//
//   node application.mjs      with publish.mjs beside it
import { createInterface } from "node:readline";
import { EventPublisher } from "./publish.mjs";

const publisher = new EventPublisher(process.env.AMQP_URL);
for await (const line of createInterface({ input: process.stdin })) {
  await publisher.publish(JSON.parse(line));
  console.log("confirmed");
}
await publisher.close();
