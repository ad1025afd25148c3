-- What Pointsman asks of an application's own database, as a small example: people and their tokens, who may see what,
-- and what has happened. For MySQL 8 and MariaDB. An application has such tables already; its queries then name those.
--
--   mysql --execute 'CREATE DATABASE app' && mysql app < examples/database/mysql.sql
--   DATABASE_URL=mysql://pointsman:change-me@127.0.0.1/app
--
-- Pointsman only reads. Each row belongs to a tenant, and each query but the one that looks a token up says
-- `tenant_id = :tenant`.
--
-- `utf8mb4_bin`: by the collation that these servers take by themselves, `ACME` is the tenant `acme`, and a token is
-- as good in capitals.

CREATE TABLE users (
  id              BIGINT PRIMARY KEY,
  tenant_id       VARCHAR(64) NOT NULL,
  name            VARCHAR(200) NOT NULL,
  role            VARCHAR(64) NOT NULL,
  -- What a browser proves itself by: long, random, for this purpose alone. NULL: may not connect.
  websocket_token VARCHAR(200) UNIQUE,
  -- The session ends then: seconds since 1970. NULL: it does not. Where it is a DATETIME in UTC, a query asks for
  --   UNIX_TIMESTAMP(expires_at) AS expires_at
  -- since Pointsman's connections are in UTC.
  expires_at      BIGINT
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT INTO users (id, tenant_id, name, role, websocket_token, expires_at) VALUES
  (1, 'acme',   'Ann',  'manager', 'demo-ann',  NULL),
  (2, 'acme',   'Bob',  'sales',   'demo-bob',  NULL),
  (3, 'acme',   'Cleo', 'sales',   'demo-cleo', UNIX_TIMESTAMP() + 30 * 86400),
  (4, 'globex', 'Dan',  'manager', 'demo-dan',  NULL),
  (5, 'globex', 'Eve',  'sales',   'demo-eve',  UNIX_TIMESTAMP() + 30 * 86400),
  (6, 'globex', 'Fay',  'sales',   'demo-fay',  UNIX_TIMESTAMP() - 86400);

-- Who is logged in to the application: what its cookie names, and until when, in seconds since 1970. Only where browsers
-- prove themselves by that cookie (plugins/cookies.lua).
CREATE TABLE sessions (
  id         VARCHAR(128) PRIMARY KEY,
  user_id    BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  FOREIGN KEY (user_id) REFERENCES users (id)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT INTO sessions (id, user_id, expires_at) VALUES
  ('demo-session-ann', 1, UNIX_TIMESTAMP() + 86400),
  ('demo-session-bob', 2, UNIX_TIMESTAMP() + 86400),
  ('demo-session-eve', 5, UNIX_TIMESTAMP() - 86400);

-- Both tenants have a deal 42, and they are not the same deal.
CREATE TABLE deals (
  tenant_id VARCHAR(64) NOT NULL,
  id        BIGINT NOT NULL,
  title     VARCHAR(200) NOT NULL,
  stage     VARCHAR(64) NOT NULL,
  PRIMARY KEY (tenant_id, id)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT INTO deals (tenant_id, id, title, stage) VALUES
  ('acme',   42, 'Anvils for the coyote', 'offer'),
  ('acme',   77, 'Rocket skates',         'lead'),
  ('globex', 42, 'A weather machine',     'won');

-- Who may see which record; a deal is one. The key answers both questions that are asked of it: who may see this
-- record, and whether this person may.
CREATE TABLE record_access (
  tenant_id VARCHAR(64) NOT NULL,
  record_id BIGINT NOT NULL,
  user_id   BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, record_id, user_id),
  FOREIGN KEY (user_id) REFERENCES users (id)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT INTO record_access (tenant_id, record_id, user_id) VALUES
  ('acme',   42, 1),
  ('acme',   42, 2),
  ('acme',   42, 3),
  ('acme',   77, 1),
  ('globex', 42, 4),
  ('globex', 42, 5);

-- Who is of which team: a team's reports are its members'.
CREATE TABLE team_members (
  tenant_id VARCHAR(64) NOT NULL,
  team_id   BIGINT NOT NULL,
  user_id   BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, team_id, user_id),
  FOREIGN KEY (user_id) REFERENCES users (id)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT INTO team_members (tenant_id, team_id, user_id) VALUES
  ('acme',   7, 2),
  ('globex', 7, 5);

-- What has happened, as it was published: the newest id is what pings carry, and a client that was away asks for what
-- came after the last one it has seen. A text, and not MySQL's `JSON`, keeps a body byte for byte.
CREATE TABLE events (
  id         BIGINT PRIMARY KEY,
  tenant_id  VARCHAR(64) NOT NULL,
  body       LONGTEXT NOT NULL,
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
  INDEX events_of_a_tenant (tenant_id, id)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT INTO events (id, tenant_id, body) VALUES
  (1000, 'acme',   '{"data":{"type":"deal.moved","tenant_id":"acme","id":1000,"deal_id":42,"actor_id":1,"stage":"lead"}}'),
  (1001, 'globex', '{"data":{"type":"deal.moved","tenant_id":"globex","id":1001,"deal_id":42,"actor_id":4,"stage":"won"}}'),
  (1002, 'acme',   '{"data":{"type":"deal.moved","tenant_id":"acme","id":1002,"deal_id":42,"actor_id":2,"stage":"offer"}}');

-- A login of its own that can read, and no more:
--
--   CREATE USER pointsman IDENTIFIED BY 'change-me';
--   GRANT SELECT ON app.* TO pointsman;
