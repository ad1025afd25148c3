// A client with Node's `ws`: prints each message of the server as a line.
//
//   node listen.mjs URL TOKEN [TOPIC]...      with NODE_PATH naming the folder of ws
import { createRequire } from "node:module";
import { join } from "node:path";

const WebSocket = createRequire(join(process.env.NODE_PATH, "from-there.js"))("ws");
const [url, token, ...topics] = process.argv.slice(2);

const socket = new WebSocket(url);
socket.on("open", () => socket.send(JSON.stringify({ access_token: token, topics })));
socket.on("message", (message) => console.log(message.toString()));
socket.on("close", (code) => console.log(JSON.stringify({ closed: code })));
