-- Keys by which nearly every message changes a page of its own are made short, so that many rows share a
-- page and a million of them the writer's cache.

-- A number for each owner of messages: the place of its first one, which is never used twice.
CREATE TABLE owners (
    address TEXT PRIMARY KEY,
    id      INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO owners (address, id) SELECT owner, min(seq) FROM messages GROUP BY owner;

DROP INDEX messages_own;
ALTER TABLE messages ADD COLUMN own INTEGER;     -- owners.id, of messages that their owner sent
UPDATE messages SET own = (SELECT o.id FROM owners o WHERE o.address = owner) WHERE sender = owner;
CREATE INDEX messages_own ON messages (own, time) WHERE own IS NOT NULL;

DROP INDEX posts_owner;
ALTER TABLE posts ADD COLUMN owner_id INTEGER;   -- owners.id
UPDATE posts SET owner_id = (SELECT o.id FROM owners o WHERE o.address = owner);
CREATE INDEX posts_owner ON posts (owner_id, last_updated);

-- Rows of the same time are put in order when they are read.
DROP INDEX messages_channel;
DROP INDEX messages_content_type;
DROP INDEX messages_reference;
DROP INDEX posts_type;
DROP INDEX posts_reference;
CREATE INDEX messages_channel ON messages (channel, time) WHERE channel IS NOT NULL;
CREATE INDEX messages_content_type ON messages (content_type, time) WHERE content_type IS NOT NULL;
CREATE INDEX messages_reference ON messages (reference, time) WHERE reference IS NOT NULL;
CREATE INDEX posts_type ON posts (post_type, last_updated);
CREATE INDEX posts_reference ON posts (reference, last_updated) WHERE reference IS NOT NULL;

-- A message that was processed at once needs no row in `statuses`: it is found by the start of its hash.
CREATE INDEX messages_hash ON messages (substr(item_hash, 1, 12));
CREATE TABLE statuses_left (
    item_hash      TEXT PRIMARY KEY,
    status         TEXT NOT NULL,
    reception_time INTEGER NOT NULL,
    message        INTEGER                       -- messages.seq while the message is stored
) WITHOUT ROWID;
INSERT INTO statuses_left (item_hash, status, reception_time, message)
    SELECT s.item_hash, s.status, s.reception_time, s.message
    FROM statuses s LEFT JOIN messages m ON m.seq = s.message
    WHERE m.seq IS NULL OR s.status <> 'processed' OR s.reception_time <> m.reception_time;
DROP TABLE statuses;
ALTER TABLE statuses_left RENAME TO statuses;
CREATE INDEX statuses_removing ON statuses (item_hash) WHERE status = 'removing';
