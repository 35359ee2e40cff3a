-- Until when an endpoint is left alone that cannot keep up, in microseconds since 1970-01-01T00:00:00Z; NULL where it is not.
ALTER TABLE webhook_endpoints ADD COLUMN rests_until bigint;
