-- The sample shop: enough rows that a bulk export is one. Everything is made by generate_series; nobody in it exists.

CREATE TABLE countries (
  code char(2) PRIMARY KEY,
  name text NOT NULL UNIQUE
);

CREATE TABLE customers (
  id integer PRIMARY KEY,
  name text NOT NULL,
  email text NOT NULL UNIQUE,
  country char(2) NOT NULL REFERENCES countries (code),
  segment text NOT NULL CHECK (segment IN ('consumer', 'business', 'education')),
  created_at timestamptz NOT NULL
);

CREATE TABLE products (
  id integer PRIMARY KEY,
  sku text NOT NULL UNIQUE,
  name text NOT NULL,
  price numeric(10, 2) NOT NULL CHECK (price > 0),
  stock integer NOT NULL CHECK (stock >= 0)
);

CREATE TABLE orders (
  id integer PRIMARY KEY,
  customer_id integer NOT NULL REFERENCES customers (id),
  product_id integer NOT NULL REFERENCES products (id),
  quantity integer NOT NULL CHECK (quantity > 0),
  status text NOT NULL CHECK (status IN ('new', 'paid', 'shipped', 'returned')),
  ordered_at timestamptz NOT NULL
);

CREATE TABLE payments (
  id integer PRIMARY KEY,
  order_id integer NOT NULL UNIQUE REFERENCES orders (id),
  amount numeric(10, 2) NOT NULL,
  method text NOT NULL CHECK (method IN ('card', 'transfer', 'invoice')),
  card_last4 char(4),
  paid_at timestamptz
);

INSERT INTO countries (code, name) VALUES
  ('AT', 'Austria'), ('BR', 'Brazil'), ('CA', 'Canada'), ('DE', 'Germany'), ('ES', 'Spain'), ('FR', 'France'),
  ('GB', 'United Kingdom'), ('IN', 'India'), ('IT', 'Italy'), ('JP', 'Japan'), ('KE', 'Kenya'), ('MX', 'Mexico'),
  ('NL', 'Netherlands'), ('NO', 'Norway'), ('NZ', 'New Zealand'), ('PL', 'Poland'), ('SE', 'Sweden'),
  ('US', 'United States'), ('UY', 'Uruguay'), ('ZA', 'South Africa');

INSERT INTO customers (id, name, email, country, segment, created_at)
SELECT n,
       'Customer ' || lpad(n::text, 5, '0'),
       'customer' || n || '@example.com',
       (ARRAY['AT','BR','CA','DE','ES','FR','GB','IN','IT','JP','KE','MX','NL','NO','NZ','PL','SE','US','UY','ZA'])
         [1 + (n * 7) % 20],
       (ARRAY['consumer', 'consumer', 'consumer', 'business', 'education'])[1 + n % 5],
       timestamptz '2022-01-01 00:00:00+00' + n * interval '53 minutes'
FROM generate_series(1, 20000) AS n;

INSERT INTO products (id, sku, name, price, stock)
SELECT n,
       'SKU-' || lpad(n::text, 4, '0'),
       (ARRAY['Lamp', 'Chair', 'Desk', 'Shelf', 'Clock', 'Rug'])[1 + n % 6] || ' no. ' || n,
       round((5 + (n * 37) % 495 + (n % 100) / 100.0)::numeric, 2),
       (n * 13) % 250
FROM generate_series(1, 300) AS n;

INSERT INTO orders (id, customer_id, product_id, quantity, status, ordered_at)
SELECT n,
       1 + (n * 7919) % 20000,
       1 + (n * 101) % 300,
       1 + n % 4,
       (ARRAY['new', 'paid', 'paid', 'shipped', 'shipped', 'shipped', 'shipped', 'returned'])[1 + n % 8],
       timestamptz '2024-01-01 00:00:00+00' + n * interval '17 minutes'
FROM generate_series(1, 60000) AS n;

INSERT INTO payments (id, order_id, amount, method, card_last4, paid_at)
SELECT o.id,
       o.id,
       o.quantity * p.price,
       (ARRAY['card', 'card', 'transfer', 'invoice'])[1 + o.id % 4],
       CASE WHEN o.id % 4 IN (0, 1) THEN lpad(((o.id * 6151) % 10000)::text, 4, '0') END,
       CASE WHEN o.status <> 'new' THEN o.ordered_at + interval '2 hours' END
FROM orders AS o JOIN products AS p ON p.id = o.product_id;

CREATE INDEX orders_customer_id ON orders (customer_id);
CREATE INDEX orders_product_id ON orders (product_id);

ANALYZE countries, customers, products, orders, payments;
