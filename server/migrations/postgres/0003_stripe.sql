-- Subscriptions (P7). Times are microseconds since 1970-01-01T00:00:00Z.

-- By what an organization is found when Stripe tells of it. Filled in the commit of each change, as the other columns are.
ALTER TABLE organizations ADD COLUMN subscription text COLLATE "C"; -- Stripe's id of its subscription; NULL without one
ALTER TABLE organizations ADD COLUMN customer text COLLATE "C";     -- Stripe's id of its customer; NULL without one
CREATE UNIQUE INDEX organizations_by_subscription ON organizations (subscription) WHERE subscription IS NOT NULL;
CREATE INDEX organizations_by_customer ON organizations (customer) WHERE customer IS NOT NULL;

-- What Stripe has told: each id for good, so that nothing counts twice. Those that wait are the queue; of those that are done
-- nothing is left but what they were about. The team's: nobody knows of what comes whose it is.
CREATE TABLE stripe_events (
    id           text COLLATE "C" PRIMARY KEY, -- Stripe's, such as evt_…; sync:<subscription> where nobody told, but somebody asks
    type         text NOT NULL,        -- such as customer.subscription.updated
    created_at   bigint NOT NULL,      -- by Stripe's clock; orders nothing
    received_at  bigint NOT NULL,      -- when it arrived: in this order events are applied
    subscription text COLLATE "C",     -- what it is about
    customer     text COLLATE "C",
    hint         text COLLATE "C",     -- the organization that its metadata names, by key or id
    state        text NOT NULL,        -- waiting, unmatched, failed, done, ignored
    due_at       bigint NOT NULL,      -- when it is tried next, while it waits or is unmatched
    attempts     bigint NOT NULL,      -- how often it was tried in vain
    organization uuid,                 -- accounts.organization: to which it was applied
    note         text NOT NULL,        -- why it failed or what became of it, for operators; '' without a word
    payload      text NOT NULL         -- the event as it came; '' once it is done
);
CREATE INDEX stripe_events_due ON stripe_events (due_at, received_at) WHERE state IN ('waiting', 'unmatched');
CREATE INDEX stripe_events_by_time ON stripe_events (received_at, id);
CREATE INDEX stripe_events_open ON stripe_events (received_at, id) WHERE state IN ('waiting', 'unmatched', 'failed');
CREATE INDEX stripe_events_created ON stripe_events (created_at);
CREATE INDEX stripe_events_of ON stripe_events (organization) WHERE organization IS NOT NULL;
