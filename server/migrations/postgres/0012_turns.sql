-- A turn of a loop that only adds to accounts which are there, in one call: it costs PostgreSQL and the node half as much as its
-- statements one by one, and as it is a statement alone, all of it happens or nothing (store/postgres/at_once.rs).
CREATE FUNCTION write_turn(
    named text,                 -- whose rows it touches, comma-separated
    -- Accounts, and the versions on which was decided: what stands in their rows from now on, and a block, if there is one.
    ids uuid[], seen bigint[], sequences bigint[], due bigint[], ends bigint[], hashes bytea[], data bytea[], blocks bytea[],
    -- Accounts that do not change, and the versions that they must have still.
    same uuid[], versions bigint[],
    -- Whole rows of rollups.
    rolled uuid[], rolled_meters bigint[], rolled_days integer[], rolled_dimensions text[], rolled_data bytea[],
    -- What is added to use of all organizations together.
    part smallint, meters bigint[], days integer[], counts bigint[], sums bigint[], peaks bigint[],
    -- When that was decided, by the clock of the organizations and by that of PostgreSQL, and how long ago that may be, and how far ahead.
    at bigint, decided bigint, longest bigint, ahead bigint,
    -- On what: numbers of the team's row; the migrations that the program knows; the mark of its connection.
    catalogue bigint, people bigint, known integer, mark text
) RETURNS bigint                -- what PostgreSQL's clock says, in microseconds
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    were bigint;
    said bigint;
    is_so boolean;
BEGIN
    PERFORM set_config('metergate.organizations', named, true);
    IF cardinality(ids) > 0 THEN
        -- They go first: who decides on the same at the same time is in nobody's way with anything else. The rows are found by
        -- their keys whatever the planner thinks of a list.
        UPDATE accounts a SET version = a.version + 1, sequence = k.sequence, next_due = k.due, audit_sequence = k.audit_end,
            audit_hash = k.hash, data = k.data
        FROM unnest(ids, write_turn.seen, sequences, write_turn.due, ends, hashes, write_turn.data)
            AS k(organization, seen, sequence, due, audit_end, hash, data)
        WHERE a.organization = ANY(ids) AND a.organization = k.organization AND a.version = k.seen;
        GET DIAGNOSTICS were = ROW_COUNT;
        IF were <> cardinality(ids) THEN
            RAISE serialization_failure USING MESSAGE = format('%s of %s accounts were as they had been', were, cardinality(ids));
        END IF;
        INSERT INTO blocks (organization, sequence, at, data)
        SELECT k.organization, k.sequence, write_turn.at, k.block
        FROM unnest(ids, sequences, write_turn.blocks) AS k(organization, sequence, block) WHERE k.block IS NOT NULL;
    END IF;
    IF cardinality(same) > 0 THEN
        SELECT count(*) INTO were FROM accounts a JOIN unnest(same, versions) AS k(organization, version)
        ON k.organization = a.organization WHERE a.organization = ANY(same) AND a.version = k.version;
        IF were <> cardinality(same) THEN
            RAISE serialization_failure USING MESSAGE = format('%s of %s accounts were as they had been', were, cardinality(same));
        END IF;
    END IF;
    IF cardinality(rolled) > 0 THEN
        INSERT INTO rollups (organization, meter, day, dimensions, data)
        SELECT * FROM unnest(rolled, rolled_meters, rolled_days, rolled_dimensions, rolled_data)
        ON CONFLICT (organization, meter, day, dimensions) DO UPDATE SET data = excluded.data;
    END IF;
    IF cardinality(meters) > 0 THEN
        INSERT INTO fleet_usage AS f (part, meter, day, count, sum, max)
        SELECT write_turn.part, k.meter, k.day, k.count, k.sum, k.max
        FROM unnest(meters, days, counts, sums, peaks) AS k(meter, day, count, sum, max) ORDER BY k.meter, k.day
        ON CONFLICT (part, meter, day) DO UPDATE
        SET count = f.count + excluded.count, sum = f.sum + excluded.sum, max = greatest(f.max, excluded.max);
    END IF;
    -- Last, behind all that was waited for.
    SELECT c.now, (t.catalogue, t.people) = (write_turn.catalogue, write_turn.people)
            AND (SELECT coalesce(max(oldest), 0) FROM schema_version) <= known
            AND current_setting('metergate.session', true) = mark
            AND c.now BETWEEN decided - ahead AND decided + longest
        INTO said, is_so
        FROM team t, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now) c WHERE t.id = 1;
    IF is_so IS NOT TRUE THEN
        RAISE SQLSTATE 'MG001' USING MESSAGE = 'what was decided on has changed meanwhile';
    END IF;
    RETURN said;
END $$;
-- What is PUBLIC's by default may have been taken away.
GRANT EXECUTE ON FUNCTION write_turn TO metergate_app;
