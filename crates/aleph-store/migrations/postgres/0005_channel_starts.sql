-- An entry of an index holds 2,704 bytes at most, and a channel may be longer: its start is what is indexed.
DROP INDEX messages_channel;
CREATE INDEX messages_channel ON messages (substr(channel, 1, 512), time, item_hash) WHERE channel IS NOT NULL;
