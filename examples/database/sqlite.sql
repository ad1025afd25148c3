-- What Pointsman asks of an application's own database, as a small example: people and their tokens, who may see what,
-- and what has happened. An application has such tables already; its queries then name those.
--
--   sqlite3 app.db < examples/database/sqlite.sql
--   DATABASE_URL=sqlite:app.db
--
-- Pointsman only reads. Each row belongs to a tenant, and each query but the one that looks a token up says
-- `tenant_id = :tenant`.

CREATE TABLE users (
  id              INTEGER PRIMARY KEY,
  tenant_id       TEXT NOT NULL,
  name            TEXT NOT NULL,
  role            TEXT NOT NULL,
  -- What a browser proves itself by: long, random, for this purpose alone. NULL: may not connect.
  websocket_token TEXT UNIQUE,
  -- The session ends then: seconds since 1970. NULL: it does not.
  expires_at      INTEGER
);

INSERT INTO users (id, tenant_id, name, role, websocket_token, expires_at) VALUES
  (1, 'acme',   'Ann',  'manager', 'demo-ann',  NULL),
  (2, 'acme',   'Bob',  'sales',   'demo-bob',  NULL),
  (3, 'acme',   'Cleo', 'sales',   'demo-cleo', unixepoch('now', '+30 days')),
  (4, 'globex', 'Dan',  'manager', 'demo-dan',  NULL),
  (5, 'globex', 'Eve',  'sales',   'demo-eve',  unixepoch('now', '+30 days')),
  (6, 'globex', 'Fay',  'sales',   'demo-fay',  unixepoch('now', '-1 day'));

-- Who is logged in to the application: what its cookie names, and until when, in seconds since 1970. Only where browsers
-- prove themselves by that cookie (plugins/cookies.lua).
CREATE TABLE sessions (
  id         TEXT PRIMARY KEY,
  user_id    INTEGER NOT NULL REFERENCES users (id),
  expires_at INTEGER NOT NULL
);

INSERT INTO sessions (id, user_id, expires_at) VALUES
  ('demo-session-ann', 1, unixepoch('now', '+1 day')),
  ('demo-session-bob', 2, unixepoch('now', '+1 day')),
  ('demo-session-eve', 5, unixepoch('now', '-1 day'));

-- Both tenants have a deal 42, and they are not the same deal.
CREATE TABLE deals (
  tenant_id TEXT NOT NULL,
  id        INTEGER NOT NULL,
  title     TEXT NOT NULL,
  stage     TEXT NOT NULL,
  PRIMARY KEY (tenant_id, id)
);

INSERT INTO deals (tenant_id, id, title, stage) VALUES
  ('acme',   42, 'Anvils for the coyote', 'offer'),
  ('acme',   77, 'Rocket skates',         'lead'),
  ('globex', 42, 'A weather machine',     'won');

-- Who may see which record; a deal is one. The key answers both questions that are asked of it: who may see this
-- record, and whether this person may.
CREATE TABLE record_access (
  tenant_id TEXT NOT NULL,
  record_id INTEGER NOT NULL,
  user_id   INTEGER NOT NULL REFERENCES users (id),
  PRIMARY KEY (tenant_id, record_id, user_id)
);

INSERT INTO record_access (tenant_id, record_id, user_id) VALUES
  ('acme',   42, 1),
  ('acme',   42, 2),
  ('acme',   42, 3),
  ('acme',   77, 1),
  ('globex', 42, 4),
  ('globex', 42, 5);

-- Who is of which team: a team's reports are its members'.
CREATE TABLE team_members (
  tenant_id TEXT NOT NULL,
  team_id   INTEGER NOT NULL,
  user_id   INTEGER NOT NULL REFERENCES users (id),
  PRIMARY KEY (tenant_id, team_id, user_id)
);

INSERT INTO team_members (tenant_id, team_id, user_id) VALUES
  ('acme',   7, 2),
  ('globex', 7, 5);

-- What has happened, as it was published: the newest id is what pings carry, and a client that was away asks for what
-- came after the last one it has seen.
CREATE TABLE events (
  id         INTEGER PRIMARY KEY,
  tenant_id  TEXT NOT NULL,
  body       TEXT NOT NULL,
  created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX events_of_a_tenant ON events (tenant_id, id);

INSERT INTO events (id, tenant_id, body) VALUES
  (1000, 'acme',   '{"data":{"type":"deal.moved","tenant_id":"acme","id":1000,"deal_id":42,"actor_id":1,"stage":"lead"}}'),
  (1001, 'globex', '{"data":{"type":"deal.moved","tenant_id":"globex","id":1001,"deal_id":42,"actor_id":4,"stage":"won"}}'),
  (1002, 'acme',   '{"data":{"type":"deal.moved","tenant_id":"acme","id":1002,"deal_id":42,"actor_id":2,"stage":"offer"}}');
