CREATE TABLE orders (
    order_id    INTEGER,
    customer_id INTEGER,
    ordered_on  DATE,
    total       DECIMAL(10, 2),
    note        VARCHAR
);

CREATE TABLE customers (
    customer_id INTEGER NOT NULL,
    name        VARCHAR,
    postcode    VARCHAR,
    newsletter  BOOLEAN
);

CREATE TABLE stock (
    sku      VARCHAR,
    pieces   INTEGER,
    weight   DECIMAL(8, 3)
);
