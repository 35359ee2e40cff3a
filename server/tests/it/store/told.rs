//! A node is told at once of what others have changed of the team's, and finds out by itself where it is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use metergate::catalogue::change::{NewKey, TeamCommand};
use metergate::catalogue::key::KeyScope;
use metergate_rules::command::Command;
use tokio::runtime::Runtime;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::asks::{ask, create, make, meter, quantity};
use super::kit::{Kit, Open};

/// A fail point, until this goes. Whoever sets one is alone in the process.
pub(super) struct FailPoint(&'static str);

impl FailPoint {
    pub(super) fn set(name: &'static str, action: &str) -> Self {
        fail::cfg(name, action).unwrap();
        Self(name)
    }
}

impl Drop for FailPoint {
    fn drop(&mut self) {
        fail::remove(self.0);
    }
}

/// The sessions over which nodes are told.
const LISTENING: &str =
    "FROM pg_stat_activity WHERE query LIKE '%LISTEN metergate_team' AND datname = current_database()";
/// Long enough for all that goes by itself when a node has begun.
const SETTLED: Duration = Duration::from_secs(3);

/// Whether it becomes so, on a busy machine too: a node that cannot listen rests before it tries again.
fn soon(holds: impl Fn() -> bool) -> bool {
    (0..2000).any(|_| {
        thread::sleep(Duration::from_millis(10));
        holds()
    })
}

/// How many nodes are told.
fn listening(kit: &Kit) -> i64 {
    kit.server().number(&format!("SELECT count(*) {LISTENING}"))
}

/// A key is made on the first node. Its id.
fn make_key(kit: &Kit, name: &str) -> String {
    let (scopes, organization, expires_at) = (vec![KeyScope::Read], None, None);
    let new = NewKey { name: name.to_owned(), scopes, organization, expires_at };
    kit.change_team(TeamCommand::CreateKey(new)).unwrap();
    let catalogue = kit.open().store.catalogue();
    let mut named = catalogue.stored.keys.values().filter(|key| key.name == name);
    named.next().expect("it was made").id.clone()
}

/// Whether a node knows the key; and whether that is revoked.
fn known(node: &Open, id: &str) -> Option<bool> {
    node.store.catalogue().stored.keys.get(id).map(|key| key.revoked_at.is_some())
}

#[test]
fn a_node_that_never_looks_by_itself_is_told_of_each_change() {
    let kit = Kit::alone();
    let _never = FailPoint::set("nobody-looks", "return");
    let second = kit.another();
    assert!(soon(|| listening(&kit) == 2), "each node listens");
    let deaf = FailPoint::set("listening-fails", "return");
    let third = kit.another();
    thread::sleep(SETTLED);
    for name in ["one", "two", "three"] {
        let id = make_key(&kit, name);
        assert!(soon(|| known(&second, &id) == Some(false)), "it knows {name}");
        kit.change_team(TeamCommand::RevokeKey(id.clone())).unwrap();
        assert!(soon(|| known(&second, &id) == Some(true)), "it knows that {name} is revoked");
        assert_eq!(known(&third, &id), None, "whoever neither looks nor is told knows nothing");
    }
    drop(deaf);
    assert!(soon(|| listening(&kit) == 3), "the third listens as soon as it can");
    // A connection that ends is made again.
    kit.server().number(&format!("SELECT count(pg_terminate_backend(pid)) {LISTENING}"));
    assert!(soon(|| listening(&kit) == 3), "all listen again");
    let id = make_key(&kit, "four");
    assert!(soon(|| known(&second, &id) == Some(false) && known(&third, &id) == Some(false)));
}

#[test]
fn a_node_that_is_not_told_finds_out_by_itself() {
    let kit = Kit::alone();
    let deaf = FailPoint::set("listening-fails", "return");
    let second = kit.another();
    thread::sleep(SETTLED);
    for name in ["one", "two"] {
        let id = make_key(&kit, name);
        assert!(soon(|| known(&second, &id) == Some(false)), "it knows {name}");
    }
    assert_eq!(listening(&kit), 1, "only the first listens");
    drop(deaf);
    assert!(soon(|| listening(&kit) == 2), "it listens as soon as it can");
}

/// Counts what is told in a database.
struct Ear {
    runtime: Runtime,
    client: Client,
    heard: Arc<AtomicUsize>,
}

impl Ear {
    fn at(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (client, mut connection) = runtime.block_on(tokio_postgres::connect(url, NoTls)).unwrap();
        let heard = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&heard);
        runtime.spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                counted.fetch_add(usize::from(matches!(message, AsyncMessage::Notification(_))), Ordering::Relaxed);
            }
        });
        runtime.block_on(client.batch_execute("LISTEN metergate_team")).unwrap();
        Self { runtime, client, heard }
    }

    /// What was told by now: it comes before the answer to what is asked later.
    fn heard(&self) -> usize {
        (0..3).for_each(|_| self.runtime.block_on(self.client.batch_execute("SELECT 1")).unwrap());
        self.heard.load(Ordering::Relaxed)
    }
}

/// Whoever tells something waits at the commit for others who do.
#[test]
fn only_changes_of_the_team_tell_something() {
    let kit = Kit::new();
    let ear = Ear::at(kit.server().url());
    assert!((0..10).all(|number| kit.allows(&ask("tokens", 1).id(&number.to_string()))));
    kit.made(&create("other"));
    kit.made(&make(Command::extra(meter("calls"), quantity(3))));
    assert_eq!(ear.heard(), 0);
    make_key(&kit, "one");
    assert_eq!(ear.heard(), 1);
}
