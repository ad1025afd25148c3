// The demo page: five WebSocket clients side by side, and a publisher.
//
// Each person of the demo's database has a connection of their own, exactly as in five browsers. What the page says of
// an event ("reached Ann, Cleo; not Bob") is what these connections received, nothing that the server told it.
"use strict";

const PEOPLE = [
  { id: 1, name: "Ann", tenant: "acme", role: "manager", scene: ["deal:42", "managers:q3"] },
  { id: 2, name: "Bob", tenant: "acme", role: "sales", scene: ["deal:42", "record:r1"] },
  { id: 3, name: "Cleo", tenant: "acme", role: "sales", scene: ["record:r1", "board:*"] },
  { id: 4, name: "Dan", tenant: "globex", role: "manager", scene: ["deal:42", "board:sales"] },
  { id: 5, name: "Eve", tenant: "globex", role: "sales", scene: ["deal:42", "record:r1"] },
];

const EXAMPLES = [
  {
    title: "Deal moved",
    note: "To those at acme who look at deal 42 or its board, but not to Ann (actor 1), who moved it. globex has a deal 42 too, and hears nothing.",
    event: { data: { type: "deal.moved", tenant_id: "acme", deal_id: 42, board: "sales", actor_id: 1, stage: "won" } },
  },
  {
    title: "The other deal 42",
    note: "The same number at globex: another deal, other people.",
    event: { data: { type: "deal.moved", tenant_id: "globex", deal_id: 42, actor_id: 5, stage: "lost" } },
  },
  {
    title: "Note added",
    note: "To those who look at record r1 and have access to it, which a query on the database says; and to its owner, Bob (2), wherever he is.",
    event: { data: { type: "note.added", tenant_id: "acme", record_id: "r1", owner_id: 2, text: "Called back." } },
  },
  {
    title: "Task for Cleo",
    note: "To one person, Cleo (3), whatever she looks at.",
    event: { data: { type: "task.assigned", tenant_id: "acme", assignee_id: 3, title: "Send the offer" } },
  },
  {
    title: "Report for managers",
    note: "To those of globex whose session says role: manager.",
    event: { data: { type: "report.ready", tenant_id: "globex", report: "Q3" } },
  },
  {
    title: "All of acme",
    note: "To everyone of one tenant.",
    event: { data: { type: "announcement.made", tenant_id: "acme", text: "Cake in the kitchen." } },
  },
  {
    title: "Everyone",
    note: "An event of no tenant, to every session there is. Give it a tenant_id, and it reaches nobody: the server holds that, whatever a rule says.",
    event: { send_to_all: true, data: { type: "maintenance", text: "Back in five minutes." } },
  },
];

/** How long to wait for deliveries before saying whom an event did not reach. They take a millisecond or two. */
const SETTLE_MS = 400;
/** Entries of a person's log, and of the history. */
const KEPT = 6;

const $ = (selector, within = document) => within.querySelector(selector);

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

// ---- People ----

class Person {
  constructor(facts) {
    Object.assign(this, facts);
    this.token = `demo-${facts.name.toLowerCase()}`;
    /** Topic → whether the server has confirmed it. */
    this.topics = new Map();
    this.socket = null;
    this.retry = 0;
    this.attempt = 0;
    this.card = $("#person").content.cloneNode(true).firstElementChild;
    this.card.id = `person-${facts.name.toLowerCase()}`;
    this.card.setAttribute("aria-label", `${facts.name} of ${facts.tenant}`);
    $(".avatar", this.card).textContent = facts.name[0];
    $(".name", this.card).textContent = facts.name;
    $(".about", this.card).textContent = `user ${facts.id}, ${facts.role}`;
    $(".toggle", this.card).addEventListener("click", () => (this.socket || this.retry ? this.disconnect() : this.connect()));
    const input = $(".subscribe input", this.card);
    input.setAttribute("aria-label", `A topic for ${facts.name} to look at`);
    $(".subscribe", this.card).addEventListener("submit", (event) => {
      event.preventDefault();
      const topic = input.value.trim();
      if (topic) this.subscribe([topic]);
      input.value = "";
    });
    this.show("offline", "not connected");
  }

  connect() {
    if (this.socket) return;
    clearTimeout(this.retry);
    this.retry = 0;
    this.show("connecting", "connecting");
    const socket = new WebSocket(socketUrl());
    this.socket = socket;
    socket.addEventListener("open", () => {
      this.say({ access_token: this.token, topics: [...this.topics.keys()] });
    });
    socket.addEventListener("message", (message) => this.hear(message.data));
    socket.addEventListener("close", (close) => {
      if (this.socket === socket) this.lost(close);
    });
  }

  disconnect() {
    clearTimeout(this.retry);
    this.retry = 0;
    const socket = this.socket;
    this.socket = null;
    socket?.close(1000);
    this.unconfirm();
    this.show("offline", "not connected");
  }

  /** The connection ended, and nobody here asked for it. */
  lost(close) {
    this.socket = null;
    this.unconfirm();
    if (close.code === 4401 || close.code === 4403) {
      this.show("refused", `the server closed it: ${close.code}`);
      return;
    }
    const wait = this.comeBack ?? Math.min(10_000, 500 * 2 ** this.attempt) * (0.75 + Math.random() / 2);
    this.comeBack = undefined;
    this.attempt += 1;
    this.retry = setTimeout(() => {
      this.retry = 0;
      this.connect();
    }, wait);
    this.show("connecting", `connection lost (${close.code}), trying again in ${Math.ceil(wait / 1000)} s`);
  }

  subscribe(topics) {
    for (const topic of topics) if (!this.topics.has(topic)) this.topics.set(topic, false);
    if (this.isOnline()) this.say({ subscribe: topics });
    this.showTopics();
  }

  unsubscribe(topic) {
    this.topics.delete(topic);
    if (this.isOnline()) this.say({ unsubscribe: [topic] });
    this.showTopics();
  }

  isOnline() {
    return this.card.dataset.state === "online";
  }

  say(words) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(words));
  }

  /** One message of the server. */
  hear(text) {
    const message = JSON.parse(text);
    if ("data" in message) {
      this.hearEvent(message);
    } else if (message.status === "error") {
      this.log("error", message.error);
      if (message.error === "access denied") this.show("refused", "access denied");
    } else if (message.lastEventId !== undefined || message.message === "events ping") {
      this.hearPing(message.lastEventId);
    } else if (message.reconnect_in_ms !== undefined) {
      this.comeBack = message.reconnect_in_ms;
      this.log("system", message.message);
    } else if (message.connected === true) {
      this.attempt = 0;
      this.show("online", message.message);
    }
    for (const topic of message.subscribed ?? []) if (this.topics.has(topic)) this.topics.set(topic, true);
    for (const topic of message.denied ?? []) {
      this.topics.delete(topic);
      this.log("denied", `may not look at ${topic}`);
    }
    if (message.subscribed || message.denied) this.showTopics();
  }

  hearEvent(message) {
    const took = published.received(this, message);
    const head = element("summary");
    if (took !== undefined) head.append(element("time", { textContent: `${took} ms` }));
    head.append(element("strong", { textContent: message.data?.type ?? "event" }));
    head.append(element("code", { textContent: JSON.stringify(message.data) }));
    const details = element("details", {}, head, element("pre", { textContent: JSON.stringify(message, null, 2) }));
    this.log("event", details);
    this.card.classList.remove("flash");
    // Reading a measure makes the browser notice that the class was gone, so that the animation starts again.
    void this.card.offsetWidth;
    this.card.classList.add("flash");
  }

  /** Pings replace each other: they would push everything else out. */
  hearPing(lastEventId) {
    $('.log [data-kind="ping"]', this.card)?.remove();
    this.log("ping", lastEventId === undefined ? "ping" : `ping: the last event is ${lastEventId}`);
  }

  log(kind, content) {
    const log = $(".log", this.card);
    const entry = element("li", {}, content);
    if (kind !== "event") entry.prepend(element("time", { textContent: new Date().toLocaleTimeString([], { hourCycle: "h23" }) }));
    entry.dataset.kind = kind;
    log.prepend(entry);
    while (log.children.length > KEPT) log.lastElementChild.remove();
  }

  unconfirm() {
    for (const topic of this.topics.keys()) this.topics.set(topic, false);
    this.showTopics();
  }

  show(state, words) {
    this.card.dataset.state = state;
    $(".state", this.card).textContent = words;
    const toggle = $(".toggle", this.card);
    const verb = this.socket || this.retry ? "Disconnect" : "Connect";
    toggle.textContent = verb;
    toggle.setAttribute("aria-label", `${verb} ${this.name}`);
  }

  showTopics() {
    const items = [...this.topics].map(([topic, confirmed]) => {
      const remove = element("button", { type: "button", textContent: "×", title: `stop looking at ${topic}` });
      remove.setAttribute("aria-label", `${this.name}: stop looking at ${topic}`);
      remove.addEventListener("click", () => this.unsubscribe(topic));
      const item = element("li", {}, topic, remove);
      item.dataset.topic = topic;
      item.dataset.confirmed = confirmed;
      return item;
    });
    $(".topics", this.card).replaceChildren(...items);
  }
}

// ---- Publishing ----

/** The last event that was published, and whom it reached. */
class Published {
  constructor() {
    this.id = undefined;
    // Another page in another window numbers its events differently.
    this.next = Math.floor(Math.random() * 9000 + 1000) * 1000;
  }

  async publish(text) {
    this.keep();
    const [body, id, type] = this.numbered(text);
    this.id = id;
    this.type = type;
    this.reached = new Set();
    this.online = new Set(people.filter((person) => person.isOnline()));
    this.sent = performance.now();
    for (const person of people) delete person.card.dataset.last;
    this.show("waiting");
    const refusal = await post(body);
    if (this.id !== id) return;
    if (refusal) {
      this.id = undefined;
      this.refuse(refusal);
      return;
    }
    setTimeout(() => {
      if (this.id === id) this.show("settled");
    }, SETTLE_MS);
  }

  /**
   * The text with an id for the event where it has none, so that it is known again when it arrives; the id; the type.
   */
  numbered(text) {
    let event;
    try {
      event = JSON.parse(text);
    } catch {
      // The server shall say what is wrong with it.
      return [text];
    }
    const data = event?.data;
    if (data === null || typeof data !== "object" || Array.isArray(data)) return [text];
    if (data.id !== undefined) return [text, String(data.id), data.type];
    this.next += 1;
    return [JSON.stringify({ ...event, data: { ...data, id: this.next } }), String(this.next), data.type];
  }

  /** A person got an event. Answers how many milliseconds after it was sent, where it is the last one. */
  received(person, message) {
    if (this.id === undefined || String(message.id ?? message.data?.id) !== this.id) return undefined;
    this.reached.add(person);
    const settled = outcome.dataset.state === "settled";
    this.show(settled ? "settled" : "waiting");
    return Math.max(1, Math.round(performance.now() - this.sent));
  }

  show(state) {
    const missed = people.filter((person) => !this.reached.has(person));
    const line = [];
    if (this.reached.size > 0) {
      const reached = names(people.filter((person) => this.reached.has(person)));
      line.push(element("span", { className: "reached", textContent: `Reached ${reached}` }));
    } else {
      line.push(state === "settled" ? "Reached nobody" : "On its way");
    }
    if (state === "settled" && this.reached.size > 0 && missed.length > 0) {
      line.push(element("span", { className: "missed", textContent: `; not ${names(missed, this.online)}` }));
    }
    outcome.replaceChildren(...line);
    outcome.dataset.state = state;
    outcome.dataset.reached = people.filter((person) => this.reached.has(person)).map((person) => person.name).join(",");
    outcome.dataset.missed = missed.map((person) => person.name).join(",");
    for (const person of people) {
      if (this.reached.has(person)) person.card.dataset.last = "reached";
      else if (state === "settled") person.card.dataset.last = "missed";
    }
  }

  refuse(why) {
    outcome.replaceChildren(element("span", { className: "wrong", textContent: `Refused: ${why}` }));
    outcome.dataset.state = "refused";
    outcome.dataset.reached = outcome.dataset.missed = "";
  }

  /** Moves the outcome so far into the history. */
  keep() {
    if (outcome.dataset.state === "none") return;
    const entry = element("li", {}, ...[...outcome.childNodes].map((node) => node.cloneNode(true)));
    if (this.type) entry.prepend(`${this.type}: `);
    const history = $("#history");
    history.prepend(entry);
    while (history.children.length > KEPT) history.lastElementChild.remove();
  }
}

/** Posts a body. Answers why it was refused, or nothing. */
async function post(body) {
  let response;
  try {
    response = await fetch("/demo/publish", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  } catch {
    return "the server cannot be reached";
  }
  if (response.ok) return undefined;
  const answer = await response.json().catch(() => ({}));
  return answer.error ?? `the server answered ${response.status}`;
}

/** "Ann, Bob", with a word on those who could not have got it, where `online` is given. */
function names(some, online) {
  const list = (part) => part.map((person) => person.name).join(", ");
  const offline = online ? some.filter((person) => !online.has(person)) : [];
  const rest = some.filter((person) => !offline.includes(person));
  const parts = [list(rest), offline.length > 0 ? `${list(offline)} (not connected)` : ""];
  return parts.filter((part) => part !== "").join("; ");
}

function socketUrl() {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
}

// ---- The page ----

const outcome = $("#outcome");
const published = new Published();
const people = PEOPLE.map((facts) => new Person(facts));

for (const person of people) $(`[data-tenant="${person.tenant}"] .people`).append(person.card);
$("#socket-url").textContent = socketUrl();

const editor = $("#event");
const buttons = EXAMPLES.map((example) => {
  const button = element("button", { type: "button", textContent: example.title });
  button.addEventListener("click", () => choose(example));
  return button;
});
$("#examples").append(...buttons);

function choose(example) {
  buttons.forEach((button, at) => button.setAttribute("aria-pressed", EXAMPLES[at] === example));
  $("#note").textContent = example.note;
  editor.value = JSON.stringify(example.event, null, 2);
}
choose(EXAMPLES[0]);

$("#publish").addEventListener("submit", (event) => {
  event.preventDefault();
  published.publish(editor.value);
});
editor.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    $("#publish").requestSubmit();
  }
});
$("#scene").addEventListener("click", () => {
  for (const person of people) {
    person.subscribe(person.scene.filter((topic) => !person.topics.has(topic)));
    person.connect();
  }
});
$("#connect-all").addEventListener("click", () => people.forEach((person) => person.connect()));
$("#disconnect-all").addEventListener("click", () => people.forEach((person) => person.disconnect()));
