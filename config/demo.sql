-- The demo's data: two customers of one application, their people, and who may see what.
-- Pointsman runs this in a fresh SQLite database in memory each time it starts.

CREATE TABLE users (
  id              INTEGER PRIMARY KEY,
  tenant_id       TEXT NOT NULL,
  name            TEXT NOT NULL,
  role            TEXT NOT NULL,
  websocket_token TEXT NOT NULL UNIQUE
);

INSERT INTO users (id, tenant_id, name, role, websocket_token) VALUES
  (1, 'acme',   'Ann',  'manager', 'demo-ann'),
  (2, 'acme',   'Bob',  'sales',   'demo-bob'),
  (3, 'acme',   'Cleo', 'sales',   'demo-cleo'),
  (4, 'globex', 'Dan',  'manager', 'demo-dan'),
  (5, 'globex', 'Eve',  'sales',   'demo-eve');

-- Both tenants have a deal 42, and they are not the same deal.
CREATE TABLE deals (
  tenant_id TEXT NOT NULL,
  id        TEXT NOT NULL,
  title     TEXT NOT NULL,
  PRIMARY KEY (tenant_id, id)
);

INSERT INTO deals (tenant_id, id, title) VALUES
  ('acme',   '42', 'Anvils for the coyote'),
  ('acme',   '77', 'Rocket skates'),
  ('globex', '42', 'A weather machine');

-- Who may open which deal, and its topic `deal:ID`.
CREATE TABLE deal_access (
  tenant_id TEXT NOT NULL,
  deal_id   TEXT NOT NULL,
  user_id   INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, deal_id, user_id)
);

INSERT INTO deal_access (tenant_id, deal_id, user_id) VALUES
  ('acme',   '42', 1),
  ('acme',   '42', 2),
  ('acme',   '42', 3),
  ('acme',   '77', 1),
  ('globex', '42', 4),
  ('globex', '42', 5);

-- Who may read which record's notes, whether they look at it or not.
CREATE TABLE record_access (
  tenant_id TEXT NOT NULL,
  record_id TEXT NOT NULL,
  user_id   INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, record_id, user_id)
);

INSERT INTO record_access (tenant_id, record_id, user_id) VALUES
  ('acme',   'r1', 1),
  ('acme',   'r1', 3),
  ('globex', 'r1', 4);

-- What has happened already: the newest id is what pings carry, so that a client sees what it has missed.
CREATE TABLE events (
  id        INTEGER PRIMARY KEY,
  tenant_id TEXT NOT NULL
);

INSERT INTO events (id, tenant_id) VALUES (1000, 'acme'), (1001, 'globex'), (1002, 'acme');
