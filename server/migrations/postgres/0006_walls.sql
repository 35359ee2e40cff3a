-- The second wall as before, but the list is looked up by hash, as the text that it is: to compare each row with each of a list,
-- and to read the list as ids in each statement, cost a commit of many organizations more than its writes.
DO $$
DECLARE
    walled text;
BEGIN
    FOR walled IN SELECT tablename FROM pg_policies WHERE schemaname = current_schema() AND policyname = 'named' LOOP
        EXECUTE format(
            'ALTER POLICY named ON %I USING (
                 (SELECT current_setting(''metergate.team'', true) = ''on'')
                 OR organization::text COLLATE "C" IN (
                     SELECT unnest(string_to_array(current_setting(''metergate.organizations'', true), '','')) COLLATE "C"))',
            walled);
    END LOOP;
END $$;
