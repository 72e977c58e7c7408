-- What elements of aggregates say of fields for which another element counts: a row exactly when an element
-- sets a field and `aggregate_fields` names another one for it. The order is that of who counts next, so
-- that forgetting the one that counts finds its successor with one look. Rows of messages that are there
-- already are filled in by the program, page by page, before a node uses the database.
CREATE TABLE aggregate_hidden (
    owner TEXT COLLATE "C" NOT NULL,
    key   TEXT COLLATE "C" NOT NULL,
    field TEXT COLLATE "C" NOT NULL,
    time  BIGINT NOT NULL,                -- content.time of the element
    hash  TEXT COLLATE "C" NOT NULL       -- the element
);
CREATE UNIQUE INDEX aggregate_hidden_order ON aggregate_hidden (owner, key, field, time DESC, hash);

-- The oldest and the newest element are looked up, with equal times in the order of hashes.
DROP INDEX messages_content_key;
CREATE INDEX messages_content_key ON messages (content_key, owner, content_time, item_hash)
    WHERE content_key IS NOT NULL;
