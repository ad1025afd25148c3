// A client for the browser and for Node 22 or later (Node 20: with --experimental-websocket).
//
//     node examples/client.mjs ws://127.0.0.1:8080/ demo-bob deal:42
//
// In a browser, import `connect` and hand it what shall happen with an event.

/**
 * Connects, and connects again whenever the connection is lost, until the function that it returns is called.
 * `onEvent` gets each event's payload; `onState` hears "connected", "lost", "denied".
 */
export function connect(url, token, topics, onEvent, onState = () => {}) {
  let socket;
  let timer;
  let attempt = 0;
  let ended = false;

  const open = () => {
    // The server says when to come back where it leaves on purpose; else wait longer each time, and not all at once.
    let wait = Math.min(30_000, 500 * 2 ** attempt++) * (0.5 + Math.random());
    socket = new WebSocket(url);
    socket.onopen = () => socket.send(JSON.stringify({ access_token: token, topics }));
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if ("data" in message) onEvent(message.data, message.id);
      else if (message.error === "access denied") end("denied");
      else if (message.reconnect_in_ms !== undefined) wait = message.reconnect_in_ms;
      else if (message.retry_in_ms !== undefined) wait = message.retry_in_ms;
      else if (message.connected === true && message.lastEventId === undefined) {
        attempt = 0;
        onState("connected");
      }
    };
    socket.onclose = () => {
      if (ended) return;
      onState("lost");
      timer = setTimeout(open, wait);
    };
  };
  const end = (state) => {
    ended = true;
    clearTimeout(timer);
    socket.close();
    if (state) onState(state);
  };

  open();
  return () => end();
}

// Called from a shell: print what arrives.
if (globalThis.process?.argv[1]?.endsWith("client.mjs")) {
  const [url, token, ...topics] = process.argv.slice(2);
  connect(url, token, topics, (event) => console.log(JSON.stringify(event)), (state) => console.error(state));
}
