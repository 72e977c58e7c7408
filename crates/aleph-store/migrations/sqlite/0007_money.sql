-- Money: what messages cost, what accounts own, and what follows from a shortfall. Amounts are decimal
-- text, exact; times are microseconds.

ALTER TABLE balances ADD COLUMN source TEXT NOT NULL DEFAULT '';   -- the post; of equal heights the smaller wins
ALTER TABLE balances ADD COLUMN changed INTEGER NOT NULL DEFAULT 0; -- when this node saw the amount change

CREATE TABLE account_costs (
    id           INTEGER PRIMARY KEY,      -- the oldest costs have the smallest
    owner        TEXT NOT NULL,
    item_hash    TEXT NOT NULL,
    line         INTEGER NOT NULL,          -- place among the lines of the message
    cost_type    TEXT NOT NULL,
    name         TEXT NOT NULL,
    ref          TEXT,
    payment_type TEXT NOT NULL,
    cost_hold    TEXT NOT NULL,
    cost_stream  TEXT NOT NULL,
    cost_credit  TEXT NOT NULL,
    size_mib     TEXT,
    workings     TEXT NOT NULL,            -- JSON: what the amounts were computed from
    UNIQUE (item_hash, line)
);
CREATE INDEX account_costs_payment ON account_costs (payment_type, owner, id);

-- The sum of the paid column over all rows of account_costs.
CREATE TABLE account_totals (
    owner        TEXT NOT NULL,
    payment_type TEXT NOT NULL,
    total        TEXT NOT NULL,
    PRIMARY KEY (owner, payment_type)
) WITHOUT ROWID;

CREATE TABLE credit_history (
    credit_ref           TEXT NOT NULL,
    credit_index         INTEGER NOT NULL,
    time                 INTEGER NOT NULL,
    is_expense           INTEGER NOT NULL,
    kind                 TEXT NOT NULL,
    address              TEXT NOT NULL,
    amount               INTEGER NOT NULL,
    expiration           INTEGER,
    requested_expiration INTEGER,
    price                TEXT,
    bonus_amount         TEXT,
    tx_hash              TEXT,
    token                TEXT,
    chain                TEXT,
    provider             TEXT,
    origin               TEXT,
    origin_ref           TEXT,
    payment_method       TEXT,
    expense_count        TEXT,
    expense_size_mib     TEXT,
    changed              INTEGER NOT NULL, -- when this node saw it
    PRIMARY KEY (credit_ref, credit_index)
) WITHOUT ROWID;
CREATE INDEX credit_history_address ON credit_history (address, time, is_expense, credit_ref, credit_index);
CREATE INDEX credit_history_changed ON credit_history (address, changed);
CREATE INDEX credit_history_origin ON credit_history (origin) WHERE origin IS NOT NULL;
CREATE INDEX credit_history_origin_ref ON credit_history (origin_ref) WHERE origin_ref IS NOT NULL;

CREATE TABLE credit_lots (
    time         INTEGER NOT NULL,
    credit_ref   TEXT NOT NULL,
    credit_index INTEGER NOT NULL,
    owner        TEXT NOT NULL,
    remaining    INTEGER NOT NULL,
    expiration   INTEGER,
    PRIMARY KEY (credit_ref, credit_index)
) WITHOUT ROWID;
CREATE INDEX credit_lots_owner ON credit_lots (owner, time, credit_ref, credit_index);

-- Accounts whose lots must be computed anew from their history.
CREATE TABLE credit_deferred (
    address TEXT PRIMARY KEY
) WITHOUT ROWID;

-- Messages on their way out for lack of funds, and those that went.
CREATE TABLE removals (
    item_hash    TEXT PRIMARY KEY,
    owner        TEXT NOT NULL,
    size         INTEGER,                  -- bytes of a STORE's file
    payment_type TEXT NOT NULL,
    since        INTEGER NOT NULL,
    until        INTEGER,                  -- deadline
    removed_at   INTEGER
) WITHOUT ROWID;
CREATE INDEX removals_until ON removals (until) WHERE removed_at IS NULL;

-- How far the hourly jobs are.
CREATE TABLE jobs (
    name          TEXT PRIMARY KEY,
    since         INTEGER,
    started       INTEGER NOT NULL,
    after_account TEXT,
    complete      INTEGER NOT NULL
) WITHOUT ROWID;
