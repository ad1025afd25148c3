-- What Pointsman asks of an application's own database, as a small example: people and their tokens, who may see what,
-- and what has happened. An application has such tables already; its queries then name those.
--
--   createdb app && psql --dbname app --file examples/database/postgresql.sql
--   DATABASE_URL=postgres://pointsman:change-me@127.0.0.1/app
--
-- Pointsman only reads. What a query binds takes the type of what it is compared with, whether that is a text, an
-- integer or a uuid: `WHERE id = :id` needs no cast. Each row belongs to a tenant, and each query but the one that
-- looks a token up says `tenant_id = :tenant`.

BEGIN;

CREATE TABLE users (
  id              bigint PRIMARY KEY,
  tenant_id       text NOT NULL,
  name            text NOT NULL,
  role            text NOT NULL,
  -- What a browser proves itself by: long, random, for this purpose alone. NULL: may not connect.
  websocket_token text UNIQUE,
  -- The session ends then: seconds since 1970. NULL: it does not. Where it is a timestamp, a query asks for
  --   extract(epoch FROM expires_at)::bigint AS expires_at
  expires_at      bigint
);

INSERT INTO users (id, tenant_id, name, role, websocket_token, expires_at) VALUES
  (1, 'acme',   'Ann',  'manager', 'demo-ann',  NULL),
  (2, 'acme',   'Bob',  'sales',   'demo-bob',  NULL),
  (3, 'acme',   'Cleo', 'sales',   'demo-cleo', extract(epoch FROM now() + interval '30 days')),
  (4, 'globex', 'Dan',  'manager', 'demo-dan',  NULL),
  (5, 'globex', 'Eve',  'sales',   'demo-eve',  extract(epoch FROM now() + interval '30 days')),
  (6, 'globex', 'Fay',  'sales',   'demo-fay',  extract(epoch FROM now() - interval '1 day'));

-- Who is logged in to the application: what its cookie names, and until when, in seconds since 1970. Only where browsers
-- prove themselves by that cookie (plugins/cookies.lua).
CREATE TABLE sessions (
  id         text PRIMARY KEY,
  user_id    bigint NOT NULL REFERENCES users (id),
  expires_at bigint NOT NULL
);

INSERT INTO sessions (id, user_id, expires_at) VALUES
  ('demo-session-ann', 1, extract(epoch FROM now() + interval '1 day')),
  ('demo-session-bob', 2, extract(epoch FROM now() + interval '1 day')),
  ('demo-session-eve', 5, extract(epoch FROM now() - interval '1 day'));

-- Both tenants have a deal 42, and they are not the same deal.
CREATE TABLE deals (
  tenant_id text NOT NULL,
  id        bigint NOT NULL,
  title     text NOT NULL,
  stage     text NOT NULL,
  PRIMARY KEY (tenant_id, id)
);

INSERT INTO deals (tenant_id, id, title, stage) VALUES
  ('acme',   42, 'Anvils for the coyote', 'offer'),
  ('acme',   77, 'Rocket skates',         'lead'),
  ('globex', 42, 'A weather machine',     'won');

-- Who may see which record; a deal is one. The key answers both questions that are asked of it: who may see this
-- record, and whether this person may.
CREATE TABLE record_access (
  tenant_id text NOT NULL,
  record_id bigint NOT NULL,
  user_id   bigint NOT NULL REFERENCES users (id),
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
  tenant_id text NOT NULL,
  team_id   bigint NOT NULL,
  user_id   bigint NOT NULL REFERENCES users (id),
  PRIMARY KEY (tenant_id, team_id, user_id)
);

INSERT INTO team_members (tenant_id, team_id, user_id) VALUES
  ('acme',   7, 2),
  ('globex', 7, 5);

-- What has happened, as it was published: the newest id is what pings carry, and a client that was away asks for what
-- came after the last one it has seen. `json`, and not `jsonb`, keeps a body byte for byte.
CREATE TABLE events (
  id         bigint PRIMARY KEY,
  tenant_id  text NOT NULL,
  body       json NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX events_of_a_tenant ON events (tenant_id, id);

INSERT INTO events (id, tenant_id, body) VALUES
  (1000, 'acme',   '{"data":{"type":"deal.moved","tenant_id":"acme","id":1000,"deal_id":42,"actor_id":1,"stage":"lead"}}'),
  (1001, 'globex', '{"data":{"type":"deal.moved","tenant_id":"globex","id":1001,"deal_id":42,"actor_id":4,"stage":"won"}}'),
  (1002, 'acme',   '{"data":{"type":"deal.moved","tenant_id":"acme","id":1002,"deal_id":42,"actor_id":2,"stage":"offer"}}');

COMMIT;

-- A login of its own that can read, and no more:
--
--   CREATE ROLE pointsman LOGIN PASSWORD 'change-me';
--   GRANT SELECT ON users, sessions, deals, record_access, team_members, events TO pointsman;
