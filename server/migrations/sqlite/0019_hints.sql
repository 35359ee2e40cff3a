-- Events that wait for an organization are found by the name that their metadata has for it: an organization that is created, or
-- gets another key, has them tried at once. An event that is over has no hint any more, so there are few.
CREATE INDEX stripe_events_hinted ON stripe_events (hint) WHERE hint IS NOT NULL;
