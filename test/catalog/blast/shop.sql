CREATE SCHEMA crm;
CREATE SCHEMA odd;
CREATE TYPE crm.mood AS ENUM ('good', 'bad');
CREATE DOMAIN crm.email AS text CHECK (VALUE LIKE '%@%');
CREATE TABLE crm.customers (
  id bigserial PRIMARY KEY, name text NOT NULL, email crm.email UNIQUE, mood crm.mood DEFAULT 'good',
  parent bigint REFERENCES crm.customers, created timestamptz DEFAULT now(),
  shout text GENERATED ALWAYS AS (upper(name)) STORED);
CREATE TABLE crm.orders (
  id bigserial PRIMARY KEY, customer bigint NOT NULL REFERENCES crm.customers ON DELETE CASCADE, total numeric);
CREATE TABLE crm.lines (
  order_id bigint REFERENCES crm.orders ON DELETE CASCADE, n int, what text, PRIMARY KEY (order_id, n));
CREATE TABLE crm.notes (id int PRIMARY KEY, customer bigint REFERENCES crm.customers, body text);
CREATE INDEX orders_customer ON crm.orders (customer);
CREATE INDEX customers_lower ON crm.customers (lower(name));
CREATE VIEW crm.good AS SELECT id, name FROM crm.customers WHERE mood = 'good';
CREATE VIEW crm.best AS SELECT g.*, o.total FROM crm.good g JOIN crm.orders o ON o.customer = g.id;
CREATE MATERIALIZED VIEW crm.totals AS SELECT customer, sum(total) AS total FROM crm.orders GROUP BY 1;
CREATE UNIQUE INDEX totals_customer ON crm.totals (customer);
CREATE VIEW crm.rich AS SELECT * FROM crm.totals WHERE total > 1000;
CREATE FUNCTION crm.name_of(c crm.customers) RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT c.name; END;
CREATE FUNCTION crm.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION crm.half(n numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT n / 2';
CREATE FUNCTION crm.half(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n / 2';
CREATE TRIGGER touch BEFORE UPDATE ON crm.orders FOR EACH ROW EXECUTE FUNCTION crm.touch();
CREATE VIEW crm.halves AS SELECT id, crm.half(total) AS half FROM crm.orders;
CREATE INDEX orders_half ON crm.orders (crm.half(total));
ALTER TABLE crm.customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON crm.customers USING (name = current_user);
CREATE POLICY by_customer ON crm.notes USING (EXISTS (SELECT FROM crm.customers c WHERE c.id = customer));
CREATE RULE keep AS ON DELETE TO crm.notes DO ALSO INSERT INTO crm.lines VALUES (NULL, 1, 'x');
CREATE SEQUENCE crm.numbers;
CREATE TABLE crm.numbered (id int DEFAULT nextval('crm.numbers'), label text);
CREATE TABLE crm.events (at date NOT NULL, what text, id int) PARTITION BY RANGE (at);
CREATE TABLE crm.events_1 PARTITION OF crm.events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE crm.events_2 PARTITION OF crm.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX events_id ON crm.events (id);
CREATE VIEW crm.first_events AS SELECT * FROM crm.events_1;
CREATE TABLE crm.base (a int, b int);
CREATE TABLE crm.derived (c int) INHERITS (crm.base);
CREATE STATISTICS crm.both ON a, b FROM crm.base;
CREATE AGGREGATE crm.total(numeric) (SFUNC = numeric_add, STYPE = numeric);
CREATE VIEW crm.sums AS SELECT crm.total(total) FROM crm.orders;
CREATE TABLE public.customers (id int);
CREATE TABLE odd."we ird,""x" (id int PRIMARY KEY);
CREATE VIEW odd."v‮x" AS SELECT * FROM odd."we ird,""x";
INSERT INTO crm.customers (name, email) SELECT 'n' || g, 'e' || g || '@x' FROM generate_series(1, 500) g;
INSERT INTO crm.orders (customer, total) SELECT 1 + g % 500, g FROM generate_series(1, 2000) g;
ANALYZE;
