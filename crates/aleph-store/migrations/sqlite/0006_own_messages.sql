-- Nearly all messages are sent by their owner: those are in one index for both, the others in two.
DROP INDEX messages_sender;
DROP INDEX messages_owner;
CREATE INDEX messages_own ON messages (sender, time, item_hash) WHERE sender = owner;
CREATE INDEX messages_sender ON messages (sender, time, item_hash) WHERE sender <> owner;
CREATE INDEX messages_owner ON messages (owner, time, item_hash) WHERE sender <> owner;
