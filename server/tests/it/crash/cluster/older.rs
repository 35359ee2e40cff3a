//! A schema says which programs may use it: the release before the newest goes on beside it, an older one does not begin.

use super::Cluster;
use crate::store::Database;

#[test]
fn a_node_that_is_older_than_the_schema_admits_does_not_begin_and_the_release_before_goes_on() {
    let database = Database::new();
    let test = "a_node_that_is_older_than_the_schema_admits_does_not_begin_and_the_release_before_goes_on";
    let cluster = Cluster::new(test, 2, database.url(), None);
    // A newer program has brought the schema up to date, and admits the one before it.
    database.run("UPDATE metergate.schema_version SET version = 9, oldest = 1");
    cluster.serve().unwrap_or_else(|violation| panic!("{violation}"));
    let node = &cluster.nodes.all[1];
    node.kill();
    node.start(0);
    cluster.serve().unwrap_or_else(|violation| panic!("{violation}"));
    // A release later it does not.
    database.run("UPDATE metergate.schema_version SET oldest = 9");
    node.kill();
    let Err(status) = node.try_to_start(0) else { panic!("it began") };
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    let log = node.log();
    assert!(log.contains("programs that know version 9 or later may use") && log.contains("newer metergate"), "{log}");
    database.run("UPDATE metergate.schema_version SET oldest = 1");
    node.start(0);
    cluster.finish().unwrap_or_else(|violation| panic!("{violation}"));
}
