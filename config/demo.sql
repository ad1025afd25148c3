CREATE TABLE users (id INTEGER PRIMARY KEY, tenant_id TEXT, role TEXT, websocket_token TEXT UNIQUE);
INSERT INTO users VALUES (1, 'acme', 'manager', 'demo-ann'), (2, 'globex', 'sales', 'demo-dan');
CREATE TABLE deals (tenant_id TEXT, id TEXT, PRIMARY KEY (tenant_id, id));
INSERT INTO deals VALUES ('acme', '42'), ('globex', '42');
