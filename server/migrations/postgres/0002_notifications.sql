-- What is told to others by webhooks: an outbox, written in the commit of what it tells. What is the team's own stands under
-- an organization of zeros.

-- What is told.
CREATE TABLE messages (
    organization uuid NOT NULL,
    id           uuid NOT NULL,        -- of version 7, of the commit's time; later ones are greater
    type         text NOT NULL,        -- such as usage.threshold (rules/src/notice.rs)
    at           bigint NOT NULL,      -- the commit's time
    body         text NOT NULL,        -- the JSON text that is sent, byte for byte
    PRIMARY KEY (organization, id)
);
CREATE INDEX messages_by_time ON messages (at);

-- To whom: one for each endpoint that wanted the type when it was written.
CREATE TABLE deliveries (
    organization uuid NOT NULL,
    message      uuid NOT NULL,        -- messages.id
    endpoint     text COLLATE "C" NOT NULL, -- webhook_endpoints.id
    state        text NOT NULL,        -- pending, delivered, failed, canceled
    due_at       bigint NOT NULL,      -- when it is tried next, while it is pending
    attempts     integer NOT NULL DEFAULT 0, -- how often it was tried in all
    tried        integer NOT NULL DEFAULT 0, -- how often since it was to be sent, or sent again
    began_at     bigint,               -- when the first of those tries was; NULL before it
    PRIMARY KEY (organization, message, endpoint)
);
CREATE INDEX deliveries_pending ON deliveries (endpoint, due_at) WHERE state = 'pending';
CREATE INDEX deliveries_by_endpoint ON deliveries (endpoint, message);
CREATE INDEX deliveries_by_state ON deliveries (endpoint, state, message);

-- How each try went.
CREATE TABLE delivery_attempts (
    organization uuid NOT NULL,
    message      uuid NOT NULL,        -- deliveries.message
    endpoint     text COLLATE "C" NOT NULL, -- deliveries.endpoint
    number       integer NOT NULL,     -- from 1
    at           bigint NOT NULL,      -- when it began
    status       integer,              -- the HTTP status of the answer; NULL without one
    error        text,                 -- why there is none, in a few words
    duration_ms  bigint NOT NULL,      -- milliseconds until the answer, or until it was given up
    response     text NOT NULL,        -- the beginning of the answer's body; '' without one
    PRIMARY KEY (organization, message, endpoint, number)
);

-- Where the team wants to be told, and how that goes. The team's own: no organization.
CREATE TABLE webhook_endpoints (
    id           text PRIMARY KEY,     -- ep_ and 32 hexadecimal digits
    data         bytea NOT NULL,       -- sealed: JSON, catalogue/endpoint.rs; its secrets are in it
    last_at      bigint,               -- when something was sent to it last
    delivered_at bigint,               -- when it last took something
    failing_at   bigint                -- since when it took nothing; NULL where it took the last
);

-- The second wall, as around the tables of the first migration.
DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY['messages', 'deliveries', 'delivery_attempts'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format(
            'CREATE POLICY named ON %I TO metergate_app USING (
                 (SELECT current_setting(''metergate.team'', true) = ''on'')
                 OR organization = ANY ((SELECT string_to_array(current_setting(''metergate.organizations'', true), '','')::uuid[])::uuid[]))',
            walled);
    END LOOP;
END $$;
