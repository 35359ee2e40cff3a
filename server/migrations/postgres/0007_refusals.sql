-- Refusals that nobody was told of yet, as nodes have counted them and handed them over, once a second while there are some: a node
-- that tells of a refusal takes those of the same kind with it, in the transaction of the notice. So its count is that of all nodes.
CREATE TABLE refusals (
    organization uuid NOT NULL,              -- accounts.organization
    meter        bigint NOT NULL,            -- meters.meter
    refused_by   text COLLATE "C" NOT NULL,  -- the window of the limit that refused, such as minute, or the reason that stands before limits, such as trial-expired
    count        bigint NOT NULL,            -- how many
    PRIMARY KEY (organization, meter, refused_by)
);
ALTER TABLE refusals ENABLE ROW LEVEL SECURITY;
CREATE POLICY named ON refusals TO metergate_app USING (
    (SELECT current_setting('metergate.team', true) = 'on')
    OR organization::text COLLATE "C" IN (
        SELECT unnest(string_to_array(current_setting('metergate.organizations', true), ',')) COLLATE "C"));
