-- What is told to others by webhooks: an outbox, written in the commit of what it tells. Times are microseconds since
-- 1970-01-01T00:00:00Z. What is the team's own stands under an organization of sixteen zero bytes.

-- What is told.
CREATE TABLE messages (
    organization BLOB NOT NULL,        -- accounts.id: 16 bytes
    id           BLOB NOT NULL,        -- 16 bytes: a UUID of version 7 of the commit's time; later ones are greater
    type         TEXT NOT NULL,        -- such as usage.threshold (rules/src/notice.rs)
    at           INTEGER NOT NULL,     -- the commit's time
    body         TEXT NOT NULL,        -- the JSON text that is sent, byte for byte
    PRIMARY KEY (organization, id)
) WITHOUT ROWID, STRICT;
CREATE INDEX messages_by_time ON messages (at);

-- To whom: one for each endpoint that wanted the type when it was written.
CREATE TABLE deliveries (
    organization BLOB NOT NULL,        -- messages.organization
    message      BLOB NOT NULL,        -- messages.id
    endpoint     TEXT NOT NULL,        -- webhook_endpoints.id
    state        TEXT NOT NULL,        -- pending, delivered, failed, canceled
    due_at       INTEGER NOT NULL,     -- when it is tried next, while it is pending
    attempts     INTEGER NOT NULL DEFAULT 0, -- how often it was tried in all
    tried        INTEGER NOT NULL DEFAULT 0, -- how often since it was to be sent, or sent again
    began_at     INTEGER,              -- when the first of those tries was; NULL before it
    PRIMARY KEY (organization, message, endpoint)
) WITHOUT ROWID, STRICT;
CREATE INDEX deliveries_pending ON deliveries (endpoint, due_at) WHERE state = 'pending';
CREATE INDEX deliveries_by_endpoint ON deliveries (endpoint, message);
CREATE INDEX deliveries_by_state ON deliveries (endpoint, state, message);

-- How each try went.
CREATE TABLE delivery_attempts (
    organization BLOB NOT NULL,        -- deliveries.organization
    message      BLOB NOT NULL,        -- deliveries.message
    endpoint     TEXT NOT NULL,        -- deliveries.endpoint
    number       INTEGER NOT NULL,     -- from 1
    at           INTEGER NOT NULL,     -- when it began
    status       INTEGER,              -- the HTTP status of the answer; NULL without one
    error        TEXT,                 -- why there is none, in a few words
    duration_ms  INTEGER NOT NULL,     -- milliseconds until the answer, or until it was given up
    response     TEXT NOT NULL,        -- the beginning of the answer's body; '' without one
    PRIMARY KEY (organization, message, endpoint, number)
) WITHOUT ROWID, STRICT;

-- Where the team wants to be told, and how that goes.
CREATE TABLE webhook_endpoints (
    id           TEXT PRIMARY KEY,     -- ep_ and 32 hexadecimal digits
    data         BLOB NOT NULL,        -- sealed: JSON, catalogue/endpoint.rs; its secrets are in it
    last_at      INTEGER,              -- when something was sent to it last
    delivered_at INTEGER,              -- when it last took something
    failing_at   INTEGER               -- since when it took nothing; NULL where it took the last
) WITHOUT ROWID, STRICT;
