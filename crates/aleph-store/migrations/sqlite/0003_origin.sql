-- Where a message came from: a word of the pipeline, NULL for messages that were stored before.
ALTER TABLE messages ADD COLUMN origin TEXT;
