-- Refusals are counted by the hour in which they were, and told when it is over. Those that were handed over before say nothing of
-- it, and are told to nobody.
DELETE FROM refusals;
ALTER TABLE refusals
    DROP CONSTRAINT refusals_pkey,
    ADD COLUMN hour bigint NOT NULL,         -- its beginning, UTC, by the organization's own clock, in microseconds since 1970-01-01T00:00:00Z
    ADD PRIMARY KEY (organization, meter, refused_by, hour);
