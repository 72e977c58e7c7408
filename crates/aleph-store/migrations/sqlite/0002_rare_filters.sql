-- Nearly all messages are of ETH and name no payment: these indexes hold the others only, and cost little.
CREATE INDEX messages_chain ON messages (chain, time, item_hash) WHERE chain <> 'ETH';
CREATE INDEX messages_payment ON messages (payment_type, time, item_hash) WHERE payment_type IS NOT NULL;
