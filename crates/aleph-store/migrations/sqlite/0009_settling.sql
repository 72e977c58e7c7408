-- Late credits are settled in pages, and a database that is older than the ledger gets its rows.

-- By owner first: while a transfer is split anew, lots of two accounts may have one place for a while.
CREATE TABLE lots (
    owner        TEXT NOT NULL,
    time         INTEGER NOT NULL,
    credit_ref   TEXT NOT NULL,
    credit_index INTEGER NOT NULL,
    remaining    INTEGER NOT NULL,
    expiration   INTEGER,
    PRIMARY KEY (owner, time, credit_ref, credit_index)
) WITHOUT ROWID;
INSERT INTO lots SELECT owner, time, credit_ref, credit_index, remaining, expiration FROM credit_lots;
DROP TABLE credit_lots;
ALTER TABLE lots RENAME TO credit_lots;

-- Lots of accounts that are being settled, as of the post that was read last.
CREATE TABLE credit_lots_anew (
    owner        TEXT NOT NULL,
    time         INTEGER NOT NULL,
    credit_ref   TEXT NOT NULL,
    credit_index INTEGER NOT NULL,
    remaining    INTEGER NOT NULL,
    expiration   INTEGER,
    PRIMARY KEY (owner, time, credit_ref, credit_index)
) WITHOUT ROWID;

-- The post that was read last; NULL: none yet.
ALTER TABLE credit_deferred ADD COLUMN time INTEGER;
ALTER TABLE credit_deferred ADD COLUMN is_expense INTEGER;
ALTER TABLE credit_deferred ADD COLUMN credit_ref TEXT;

-- Place of the last message that was looked at; no row: nothing to do.
INSERT INTO meta (key, value) SELECT 'backfill', '0' WHERE EXISTS (SELECT 1 FROM messages);
