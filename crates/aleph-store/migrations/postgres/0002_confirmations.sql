-- Transactions of chains that carry a message. A message that waits may have some already; they go when it
-- is rejected or forgotten.
CREATE TABLE confirmations (
    item_hash TEXT COLLATE "C" NOT NULL,
    chain     TEXT COLLATE "C" NOT NULL,
    tx_hash   TEXT COLLATE "C" NOT NULL,
    height    BIGINT NOT NULL,            -- block of the transaction
    time      BIGINT NOT NULL,            -- of that block
    publisher TEXT COLLATE "C" NOT NULL,               -- who sent the transaction
    PRIMARY KEY (item_hash, chain, tx_hash)
);

-- The least over a message's confirmations, each for itself; NULL while it has none.
ALTER TABLE messages ADD COLUMN confirmed_at BIGINT;
ALTER TABLE messages ADD COLUMN confirmed_height BIGINT;
CREATE INDEX messages_confirmed ON messages (confirmed_at, time, item_hash) WHERE confirmed_at IS NOT NULL;
