//! Whatever the server says, a commit is on its disk before it is answered; and the log tells of a server that need not put it
//! there.

use serde_json::json;

use super::super::http::Call;
use super::super::process::Server;
use super::nodes::Node;
use super::{Cluster, within};
use crate::store::Database;

/// Notes under which setting each commit is made.
const NOTES: &str = "
    CREATE TABLE public.noted (setting text);
    GRANT INSERT ON public.noted TO PUBLIC;
    CREATE FUNCTION public.notes() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN INSERT INTO public.noted VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
    CREATE TRIGGER notes BEFORE INSERT ON metergate.blocks FOR EACH ROW EXECUTE FUNCTION public.notes()";

/// How often the log has told of it.
fn told(node: &Node) -> usize {
    node.log().matches("runs with synchronous_commit = off").count()
}

/// Something is recorded, soon. Under which other settings than `on` anything has been by now, and how often under that.
fn recorded(node: &Node, database: &Database, id: &str) -> (i64, i64) {
    let body = json!({"organization": "acme", "meter": "calls", "quantity": 1, "id": id});
    let mut client = node.with(Server::client);
    let call = Call::json("POST", "/v1/consume", body);
    assert!(within(10, || client.call(&call).is_ok_and(|told| told.status == 200)), "{id} is not recorded");
    let noted = |condition: &str| database.number(&format!("SELECT count(*) FROM public.noted WHERE {condition}"));
    (noted("setting <> 'on'"), noted("setting = 'on'"))
}

#[test]
fn commits_are_durable_where_the_database_says_they_need_not_be_and_the_log_says_so() {
    let database = Database::new();
    let name = database.url().rsplit('/').next().unwrap();
    let test = "commits_are_durable_where_the_database_says_they_need_not_be_and_the_log_says_so";
    let cluster = Cluster::new(test, 1, database.url(), None);
    let node = &cluster.nodes.all[0];
    database.run(NOTES);
    let (others, before) = recorded(node, &database, "before");
    assert_eq!((others, told(node)), (0, 0));

    // It is turned off while the node runs, for the database and for the user; connections that are made anew would have it.
    database.run(&format!("ALTER DATABASE {name} SET synchronous_commit = off"));
    database.run(&format!("ALTER ROLE CURRENT_USER IN DATABASE {name} SET synchronous_commit = off"));
    database.number(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE application_name = 'metergate' AND datname = current_database()",
    );
    assert!(within(10, || told(node) == 1), "nobody was told: {}", node.log());
    let (others, meanwhile) = recorded(node, &database, "meanwhile");
    assert!(others == 0 && meanwhile > before, "{others} commits were not safe");

    // It is off when the node starts.
    node.kill();
    node.start(0);
    assert!(within(5, || told(node) == 2), "the start did not say so: {}", node.log());
    let (others, after) = recorded(node, &database, "after");
    assert!(others == 0 && after > meanwhile, "{others} commits were not safe");
}

#[test]
fn a_server_that_has_commits_wait_for_more_than_its_own_disk_is_taken_at_its_word() {
    let database = Database::new();
    let name = database.url().rsplit('/').next().unwrap();
    let test = "a_server_that_has_commits_wait_for_more_than_its_own_disk_is_taken_at_its_word";
    // Without a standby it waits for nobody.
    database.run(&format!("ALTER DATABASE {name} SET synchronous_commit = remote_apply"));
    let cluster = Cluster::new(test, 1, database.url(), None);
    let node = &cluster.nodes.all[0];
    database.run(NOTES);
    let (stronger, usual) = recorded(node, &database, "one");
    assert!(stronger > 0 && usual == 0, "{usual} commits waited for less than the database says");
    let weaker = database.number("SELECT count(*) FROM public.noted WHERE setting <> 'remote_apply'");
    assert_eq!((weaker, told(node)), (0, 0));
    // What is weaker than that is raised.
    for setting in ["local", "remote_write"] {
        database.run(&format!("ALTER DATABASE {name} SET synchronous_commit = {setting}; DELETE FROM public.noted"));
        node.kill();
        node.start(0);
        let (others, usual) = recorded(node, &database, setting);
        assert!(others == 0 && usual > 0, "{others} commits under {setting}");
    }
}
