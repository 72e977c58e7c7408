-- Late credits are settled in pages, and a database that is older than the ledger gets its rows.

-- By owner first: while a transfer is split anew, lots of two accounts may have one place for a while.
ALTER TABLE credit_lots DROP CONSTRAINT credit_lots_pkey;
ALTER TABLE credit_lots ADD PRIMARY KEY (owner, time, credit_ref, credit_index);
DROP INDEX credit_lots_owner;

-- Lots of accounts that are being settled, as of the post that was read last.
CREATE TABLE credit_lots_anew (
    owner        TEXT COLLATE "C" NOT NULL,
    time         BIGINT NOT NULL,
    credit_ref   TEXT COLLATE "C" NOT NULL,
    credit_index BIGINT NOT NULL,
    remaining    BIGINT NOT NULL,
    expiration   BIGINT,
    PRIMARY KEY (owner, time, credit_ref, credit_index)
);

-- The post that was read last; NULL: none yet.
ALTER TABLE credit_deferred ADD COLUMN time BIGINT;
ALTER TABLE credit_deferred ADD COLUMN is_expense BIGINT;
ALTER TABLE credit_deferred ADD COLUMN credit_ref TEXT COLLATE "C";

-- Place of the last message that was looked at; no row: nothing to do.
INSERT INTO meta (key, value) SELECT 'backfill', '0' WHERE EXISTS (SELECT 1 FROM messages);
