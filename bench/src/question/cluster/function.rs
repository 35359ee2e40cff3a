//! What users would write themselves: a function that checks and counts in PostgreSQL, and records what happened.

use super::{Figures, HOT, ORGANIZATIONS};
use crate::error::BenchError;
use crate::postgres::Postgres;
use crate::suite::Suite;

const DATABASE: &str = "by_hand";

/// Limits that are never reached, in rows of which half a page is free, so that no index has to follow them: as good as it gets.
const TABLES: &str = "
CREATE TABLE counters (
  organization integer NOT NULL,
  span text NOT NULL,
  most bigint NOT NULL,
  used bigint NOT NULL,
  PRIMARY KEY (organization, span)
) WITH (fillfactor = 50);
CREATE TABLE events (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  organization integer NOT NULL,
  happened timestamptz NOT NULL,
  quantity bigint NOT NULL
);
CREATE FUNCTION consume(org integer, amount bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  UPDATE counters SET used = used + amount WHERE organization = org AND span = 'month' AND used + amount <= most;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  UPDATE counters SET used = used + amount WHERE organization = org AND span = 'day' AND used + amount <= most;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the day is full';
  END IF;
  INSERT INTO events (organization, happened, quantity) VALUES (org, now(), amount);
  RETURN true;
END
$$;
";

/// Makes the function, and its counters.
pub(super) async fn prepare(postgres: &Postgres) -> Result<(), BenchError> {
    postgres.tell("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    postgres.tell(DATABASE, TABLES).await?;
    let last = ORGANIZATIONS - 1;
    let counters = format!(
        "INSERT INTO counters SELECT organization, span, 1000000000000, 0 \
         FROM generate_series(0, {last}) AS organization, unnest(ARRAY['month', 'day']) AS span"
    );
    postgres.tell(DATABASE, &counters).await?;
    postgres.tell(DATABASE, "VACUUM ANALYZE counters").await
}

/// Measures it once, after a warm-up.
pub(super) async fn measure(
    suite: &Suite,
    postgres: &Postgres,
    clients: u64,
    hot: bool,
) -> Result<Figures, BenchError> {
    let script = script(hot);
    let warm_up = suite.warm_up.as_secs();
    if warm_up > 0 {
        postgres.pgbench(DATABASE, &script, clients, warm_up).await?;
    }
    let done = postgres.pgbench(DATABASE, &script, clients, suite.window.as_secs().max(1)).await?;
    let cpu = [f64::NAN, done.cpu, f64::NAN];
    Ok(Figures { rate: done.rate, p50: done.p50, p99: done.p99, cpu, amiss: done.failed })
}

fn script(hot: bool) -> String {
    let last = ORGANIZATIONS - 1;
    let spread = format!("\\set organization random(0, {last})\n");
    let choice = if hot {
        format!("\\set share random(1, 100)\n\\if :share <= {HOT}\n\\set organization 0\n\\else\n{spread}\\endif\n")
    } else {
        spread
    };
    choice + "SELECT consume(:organization, 1);\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hot_script_asks_for_one_organization_most_of_the_time() {
        assert_eq!(script(false), "\\set organization random(0, 999)\nSELECT consume(:organization, 1);\n");
        let lines: Vec<String> = script(true).lines().map(str::to_owned).collect();
        assert_eq!(
            (lines.len(), lines[1].as_str(), lines[2].as_str()),
            (7, "\\if :share <= 90", "\\set organization 0")
        );
    }
}
