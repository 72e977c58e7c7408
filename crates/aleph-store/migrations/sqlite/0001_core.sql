-- Times are microseconds since the epoch. Hashes, addresses and JSON are text. A portable subset of SQL.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- The fate of every item hash this node has met; `message` is messages.seq while the message is stored.
CREATE TABLE statuses (
    item_hash      TEXT PRIMARY KEY,
    status         TEXT NOT NULL,
    reception_time INTEGER NOT NULL,
    message        INTEGER
) WITHOUT ROWID;
CREATE INDEX statuses_removing ON statuses (item_hash) WHERE status = 'removing';

-- Processed (and removing) messages, in the order in which this node applied them.
CREATE TABLE messages (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: other nodes read on from it
    item_hash      TEXT NOT NULL,
    message_type   TEXT NOT NULL,
    chain          TEXT NOT NULL,
    sender         TEXT NOT NULL,
    owner          TEXT NOT NULL,          -- content.address
    signature      TEXT,
    item_type      TEXT NOT NULL,
    item_content   TEXT,                   -- inline: the exact text that was hashed
    content        TEXT,                   -- not inline: the content document; NULL when item_content is it
    size           INTEGER NOT NULL,       -- bytes of the content
    time           INTEGER NOT NULL,       -- envelope time
    content_time   INTEGER NOT NULL,
    channel        TEXT,
    content_type   TEXT,                   -- content.type of POST and PROGRAM
    reference      TEXT,                   -- content.ref of POST and STORE
    content_key    TEXT,                   -- content.key of AGGREGATE
    content_hash   TEXT,                   -- content.item_hash of STORE
    payment_type   TEXT,                   -- as sent; NULL when the content names none
    reception_time INTEGER NOT NULL
);
CREATE INDEX messages_time ON messages (time, item_hash);
CREATE INDEX messages_sender ON messages (sender, time, item_hash);
CREATE INDEX messages_owner ON messages (owner, time, item_hash);
CREATE INDEX messages_type ON messages (message_type, time, item_hash);
CREATE INDEX messages_channel ON messages (channel, time, item_hash) WHERE channel IS NOT NULL;
CREATE INDEX messages_content_type ON messages (content_type, time, item_hash) WHERE content_type IS NOT NULL;
CREATE INDEX messages_reference ON messages (reference, time, item_hash) WHERE reference IS NOT NULL;
CREATE INDEX messages_content_key ON messages (content_key, owner, content_time) WHERE content_key IS NOT NULL;
CREATE INDEX messages_reception ON messages (reception_time, item_hash);
CREATE INDEX messages_content_hash ON messages (content_hash, time, item_hash) WHERE content_hash IS NOT NULL;

CREATE TABLE message_tags (
    tag     TEXT NOT NULL,
    message INTEGER NOT NULL,              -- messages.seq
    PRIMARY KEY (tag, message)
) WITHOUT ROWID;
CREATE INDEX message_tags_message ON message_tags (message);

-- Messages that wait for something: content, file, another message. One row a distinct copy.
CREATE TABLE pending (
    id             INTEGER PRIMARY KEY,
    item_hash      TEXT NOT NULL,
    sender         TEXT NOT NULL,
    signature      TEXT NOT NULL,
    envelope       TEXT NOT NULL,          -- JSON
    origin         TEXT NOT NULL,
    waits_on       TEXT NOT NULL,          -- a dependency key, see aleph-rules
    deadline       INTEGER NOT NULL,       -- when patience ends
    error_code     INTEGER NOT NULL,       -- the refusal that then applies
    details        TEXT,
    reception_time INTEGER NOT NULL,
    UNIQUE (item_hash, sender, signature)
);
CREATE INDEX pending_waits_on ON pending (waits_on);
CREATE INDEX pending_deadline ON pending (deadline);

CREATE TABLE rejected (
    item_hash  TEXT PRIMARY KEY,
    message    TEXT NOT NULL,              -- JSON, as it came
    error_code INTEGER NOT NULL,
    details    TEXT,                       -- JSON or NULL
    at         INTEGER NOT NULL
) WITHOUT ROWID;

-- What stays of forgotten and removed messages.
CREATE TABLE skeletons (
    item_hash    TEXT PRIMARY KEY,
    status       TEXT NOT NULL,            -- forgotten | removed
    message_type TEXT NOT NULL,
    chain        TEXT NOT NULL,
    sender       TEXT NOT NULL,
    owner        TEXT NOT NULL,
    signature    TEXT,
    item_type    TEXT NOT NULL,
    time         INTEGER NOT NULL,
    channel      TEXT,
    payment_type TEXT NOT NULL,            -- hold when the message named none
    size         INTEGER,                  -- of the stored file, for STORE
    gone_at      INTEGER NOT NULL,         -- time of the FORGET, or of the removal
    forgotten_by TEXT NOT NULL             -- JSON list of FORGET hashes
) WITHOUT ROWID;
CREATE INDEX skeletons_gone ON skeletons (status, gone_at, item_hash);

-- Posts as readers see them: the original, and which message holds the latest text.
CREATE TABLE posts (
    original     TEXT PRIMARY KEY,
    message      INTEGER NOT NULL,         -- messages.seq of the original
    owner        TEXT NOT NULL,
    post_type    TEXT NOT NULL,
    reference    TEXT,
    channel      TEXT,
    created      INTEGER NOT NULL,         -- content.time of the original
    latest       TEXT NOT NULL,            -- item hash of the shown version
    latest_message INTEGER NOT NULL,       -- its messages.seq
    last_updated INTEGER NOT NULL          -- its content.time
) WITHOUT ROWID;
CREATE INDEX posts_updated ON posts (last_updated, original);
CREATE INDEX posts_owner ON posts (owner, last_updated, original);
CREATE INDEX posts_type ON posts (post_type, last_updated, original);
CREATE INDEX posts_reference ON posts (reference, last_updated, original) WHERE reference IS NOT NULL;

CREATE TABLE amends (
    original TEXT NOT NULL,
    time     INTEGER NOT NULL,             -- content.time
    amend    TEXT NOT NULL,
    message  INTEGER NOT NULL,             -- messages.seq
    PRIMARY KEY (original, time, amend)
) WITHOUT ROWID;

-- Aggregates field by field: the newest element wins each top-level key on its own, so that the cost of
-- an element does not depend on how many there are.
CREATE TABLE aggregates (
    owner      TEXT NOT NULL,
    key        TEXT NOT NULL,
    created    INTEGER NOT NULL,           -- content.time of the oldest element
    first_hash TEXT NOT NULL,
    updated    INTEGER NOT NULL,           -- content.time of the newest element
    last_hash  TEXT NOT NULL,
    elements   INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) WITHOUT ROWID;
CREATE INDEX aggregates_updated ON aggregates (updated, key, owner);
CREATE INDEX aggregates_created ON aggregates (created, key, owner);
CREATE INDEX aggregates_key ON aggregates (key, updated, owner);

CREATE TABLE aggregate_fields (
    owner TEXT NOT NULL,
    key   TEXT NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,                   -- JSON
    time  INTEGER NOT NULL,                -- content.time of the element that set it
    hash  TEXT NOT NULL,                   -- that element
    PRIMARY KEY (owner, key, field)
) WITHOUT ROWID;

CREATE TABLE files (
    hash TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    kind TEXT NOT NULL                     -- file | dir
) WITHOUT ROWID;

CREATE TABLE file_pins (
    file      TEXT NOT NULL,
    kind      TEXT NOT NULL,               -- message | content | tx | grace_period
    pinned_by TEXT NOT NULL,               -- message hash; for grace pins the reason's key
    owner     TEXT,
    reference TEXT,
    tag       TEXT,                        -- of message pins: the tag whose version this is
    created   INTEGER NOT NULL,
    delete_by INTEGER,                     -- of grace pins
    PRIMARY KEY (file, kind, pinned_by)
) WITHOUT ROWID;
CREATE INDEX file_pins_message ON file_pins (pinned_by, kind);
CREATE INDEX file_pins_owner ON file_pins (owner, created, pinned_by) WHERE kind = 'message';
CREATE INDEX file_pins_tag ON file_pins (tag, created, pinned_by) WHERE tag IS NOT NULL;
CREATE INDEX file_pins_delete ON file_pins (delete_by) WHERE delete_by IS NOT NULL;

CREATE TABLE file_tags (
    tag     TEXT PRIMARY KEY,
    owner   TEXT NOT NULL,
    file    TEXT NOT NULL,
    message TEXT NOT NULL,                 -- STORE that set it
    time    INTEGER NOT NULL               -- its content.time
) WITHOUT ROWID;

CREATE TABLE vms (
    item_hash    TEXT PRIMARY KEY,
    message_type TEXT NOT NULL,
    owner        TEXT NOT NULL,
    created      INTEGER NOT NULL,
    replaces     TEXT,
    allow_amend  INTEGER NOT NULL,
    on_message   INTEGER NOT NULL,
    persistent   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX vms_replaces ON vms (replaces, created, item_hash) WHERE replaces IS NOT NULL;

-- STORE messages that a VM needs: they can't be forgotten while it exists.
CREATE TABLE vm_references (
    reference TEXT NOT NULL,
    vm        TEXT NOT NULL,
    PRIMARY KEY (reference, vm)
) WITHOUT ROWID;
CREATE INDEX vm_references_vm ON vm_references (vm);

CREATE TABLE balances (
    address TEXT NOT NULL,
    chain   TEXT NOT NULL,
    dapp    TEXT NOT NULL,                 -- empty: none
    amount  TEXT NOT NULL,                 -- decimal
    height  INTEGER NOT NULL,
    PRIMARY KEY (address, chain, dapp)
) WITHOUT ROWID;

-- Where this node, as the responsible one, placed programs.
CREATE TABLE allocations (
    program  TEXT PRIMARY KEY,
    document TEXT NOT NULL,                -- JSON, signed
    at       INTEGER NOT NULL
) WITHOUT ROWID;
