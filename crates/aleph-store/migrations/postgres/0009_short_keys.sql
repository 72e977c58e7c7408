-- A number for each owner of messages: the place of its first one, which is never used twice.
CREATE TABLE owners (
    address TEXT COLLATE "C" PRIMARY KEY,
    id      BIGINT NOT NULL
);
INSERT INTO owners (address, id) SELECT owner, min(seq) FROM messages GROUP BY owner;

DROP INDEX messages_own;
ALTER TABLE messages ADD COLUMN own BIGINT;      -- owners.id, of messages that their owner sent
UPDATE messages SET own = o.id FROM owners o WHERE o.address = owner AND sender = owner;
CREATE INDEX messages_own ON messages (own, time, item_hash) WHERE own IS NOT NULL;

DROP INDEX posts_owner;
ALTER TABLE posts ADD COLUMN owner_id BIGINT;    -- owners.id
UPDATE posts SET owner_id = o.id FROM owners o WHERE o.address = owner;
CREATE INDEX posts_owner ON posts (owner_id, last_updated, original);

-- A message that was processed at once needs no row in `statuses`: it is found by the start of its hash.
CREATE INDEX messages_hash ON messages (substr(item_hash, 1, 12));
DELETE FROM statuses s USING messages m
    WHERE m.seq = s.message AND s.status = 'processed' AND s.reception_time = m.reception_time;
