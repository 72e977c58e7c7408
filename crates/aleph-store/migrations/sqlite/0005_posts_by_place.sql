-- A post is found by the place of its message: new posts are appended to the table, where a key of hashes
-- would touch a page of its own for each. `statuses` leads from a hash to the place.
CREATE TABLE posts_by_place (
    original       TEXT NOT NULL,
    message        INTEGER PRIMARY KEY,    -- messages.seq of the original
    owner          TEXT NOT NULL,
    post_type      TEXT NOT NULL,
    reference      TEXT,
    channel        TEXT,
    created        INTEGER NOT NULL,       -- content.time of the original
    latest         TEXT NOT NULL,          -- item hash of the shown version
    latest_message INTEGER NOT NULL,       -- its messages.seq
    last_updated   INTEGER NOT NULL        -- its content.time
);
INSERT INTO posts_by_place (original, message, owner, post_type, reference, channel, created, latest,
                            latest_message, last_updated)
    SELECT original, message, owner, post_type, reference, channel, created, latest, latest_message,
           last_updated
    FROM posts ORDER BY message;
DROP TABLE posts;
ALTER TABLE posts_by_place RENAME TO posts;
CREATE INDEX posts_updated ON posts (last_updated, original);
CREATE INDEX posts_owner ON posts (owner, last_updated, original);
CREATE INDEX posts_type ON posts (post_type, last_updated, original);
CREATE INDEX posts_reference ON posts (reference, last_updated, original) WHERE reference IS NOT NULL;
