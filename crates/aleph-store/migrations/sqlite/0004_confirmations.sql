-- Transactions of chains that carry a message. A message that waits may have some already; they go when it
-- is rejected or forgotten.
CREATE TABLE confirmations (
    item_hash TEXT NOT NULL,
    chain     TEXT NOT NULL,
    tx_hash   TEXT NOT NULL,
    height    INTEGER NOT NULL,            -- block of the transaction
    time      INTEGER NOT NULL,            -- of that block
    publisher TEXT NOT NULL,               -- who sent the transaction
    PRIMARY KEY (item_hash, chain, tx_hash)
) WITHOUT ROWID;

-- The least over a message's confirmations, each for itself; NULL while it has none.
ALTER TABLE messages ADD COLUMN confirmed_at INTEGER;
ALTER TABLE messages ADD COLUMN confirmed_height INTEGER;
CREATE INDEX messages_confirmed ON messages (confirmed_at, time, item_hash) WHERE confirmed_at IS NOT NULL;
