// A client for browsers, and for Node 22 or later (Node 20: with --experimental-websocket).
//
//     node client.mjs ws://127.0.0.1:8080/ demo-bob deal:42
//
// In a page, import `connect` and say what shall happen with an event:
//
//     const feed = connect("wss://push.example.com/", fetchToken, {
//       topics: ["deal:42"],
//       onEvent: (data, id) => show(data),
//       onState: (state) => { if (state === "connected") loadWhatIsShown(); },
//     });
//     feed.subscribe("board:sales");

/**
 * Connects, and connects again whenever the connection is lost, until it is closed or denied.
 *
 * `token` is a token, or a function that fetches one: it is asked for each connection, so that one that has expired is
 * followed by a new one. `onState` hears "connected" (each time: what happened before that did not arrive, so load it),
 * "lost", and "denied", which is the end; and "refused" with a topic that one may not look at.
 */
export function connect(url, token, { topics = [], onEvent, onState = () => {} }) {
  const wanted = new Set(topics);
  let socket;
  let timer;
  let attempt = 0;
  let connected = false;
  let ended = false;

  const send = (message) => socket.send(JSON.stringify(message));
  const end = (state) => {
    ended = true;
    clearTimeout(timer);
    socket.close();
    if (state) onState(state);
  };

  const open = () => {
    // Longer each time, and not everyone at once; but where the server says when to come back, then.
    let wait = Math.min(30_000, 500 * 2 ** attempt++) * (0.5 + Math.random());
    const current = (socket = new WebSocket(url));
    socket.onopen = async () => {
      try {
        const access_token = typeof token === "function" ? await token() : token;
        if (current.readyState === WebSocket.OPEN) send({ access_token });
      } catch {
        current.close();
      }
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if ("data" in message) {
        onEvent(message.data, message.id);
      } else if (message.error === "access denied") {
        end("denied");
      } else if (message.connected === true && message.type !== "system") {
        connected = true;
        attempt = 0;
        if (wanted.size > 0) send({ subscribe: [...wanted] });
        onState("connected");
      } else {
        wait = message.reconnect_in_ms ?? message.retry_in_ms ?? wait;
        for (const topic of message.denied ?? []) onState("refused", topic);
      }
    };
    socket.onclose = ({ code }) => {
      connected = false;
      if (ended) return;
      // 4403: the server has put this user out. To come back at once would be no help.
      if (code === 4403) return end("denied");
      timer = setTimeout(open, wait);
      onState("lost");
    };
  };

  open();
  return {
    subscribe(topic) {
      wanted.add(topic);
      if (connected) send({ subscribe: [topic] });
    },
    unsubscribe(topic) {
      wanted.delete(topic);
      if (connected) send({ unsubscribe: [topic] });
    },
    close: () => end(),
  };
}

// Called from a shell: print what arrives.
if (globalThis.process?.argv?.[1]?.endsWith("client.mjs")) {
  const [url, token, ...topics] = process.argv.slice(2);
  connect(url, token, {
    topics,
    onEvent: (data) => console.log(JSON.stringify(data)),
    onState: (state, topic = "") => console.error(`${state} ${topic}`.trim()),
  });
}
