-- Subscriptions (P7). Times are microseconds since 1970-01-01T00:00:00Z.

-- By what an organization is found when Stripe tells of it. Filled in the commit of each change, as the other columns are.
ALTER TABLE organizations ADD COLUMN subscription TEXT; -- Stripe's id of its subscription; NULL without one
ALTER TABLE organizations ADD COLUMN customer TEXT;     -- Stripe's id of its customer; NULL without one
CREATE UNIQUE INDEX organizations_by_subscription ON organizations (subscription) WHERE subscription IS NOT NULL;
CREATE INDEX organizations_by_customer ON organizations (customer) WHERE customer IS NOT NULL;

-- What Stripe has told: each id for good, so that nothing counts twice. Those that wait are the queue; of those that are done
-- nothing is left but what they were about.
CREATE TABLE stripe_events (
    id           TEXT PRIMARY KEY,     -- Stripe's, such as evt_…; sync:<subscription> where nobody told, but somebody asks
    type         TEXT NOT NULL,        -- such as customer.subscription.updated
    created_at   INTEGER NOT NULL,     -- by Stripe's clock; orders nothing
    received_at  INTEGER NOT NULL,     -- when it arrived: in this order events are applied
    subscription TEXT,                 -- what it is about
    customer     TEXT,
    hint         TEXT,                 -- the organization that its metadata names, by key or id
    state        TEXT NOT NULL,        -- waiting, unmatched, failed, done, ignored
    due_at       INTEGER NOT NULL,     -- when it is tried next, while it waits or is unmatched
    attempts     INTEGER NOT NULL,     -- how often it was tried in vain
    organization BLOB,                 -- accounts.id: to which it was applied
    note         TEXT NOT NULL,        -- why it failed or what became of it, for operators; '' without a word
    payload      TEXT NOT NULL         -- the event as it came; '' once it is done
) WITHOUT ROWID, STRICT;
CREATE INDEX stripe_events_due ON stripe_events (due_at, received_at) WHERE state IN ('waiting', 'unmatched');
CREATE INDEX stripe_events_by_time ON stripe_events (received_at, id);
CREATE INDEX stripe_events_open ON stripe_events (received_at, id) WHERE state IN ('waiting', 'unmatched', 'failed');
CREATE INDEX stripe_events_created ON stripe_events (created_at);
CREATE INDEX stripe_events_of ON stripe_events (organization) WHERE organization IS NOT NULL;
