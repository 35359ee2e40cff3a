//! `kill -9` at random times.

use super::process::Faults;
use super::run::Run;
use crate::invariant::{audit, conservation};

const KILLS: usize = 60;

#[test]
fn a_server_killed_at_random_times_loses_and_doubles_nothing() {
    let mut run = Run::new("a_server_killed_at_random_times_loses_and_doubles_nothing");
    for kill in 1..=KILLS {
        // Now and then commits fail, too: one in fifty.
        let fail_points = if kill % 4 == 0 { "commit-fails=2%return" } else { "" };
        let server = run.start(&Faults { fail_points: fail_points.to_owned(), planted: None });
        let most = usize::try_from(1 + run.random.below(200)).unwrap();
        run.work(server, most, super::process::Server::kill);
        if kill % 10 == 0 {
            conservation(&run.data())
                .and_then(|()| audit(&run.data()))
                .unwrap_or_else(|violation| panic!("{violation}"));
        }
    }
    run.finish().unwrap_or_else(|violation| panic!("{violation}")).all();
}

#[test]
fn a_killed_server_makes_rows_again_that_were_thrown_away() {
    let mut run = Run::new("a_killed_server_makes_rows_again_that_were_thrown_away");
    for fail_points in ["", "start-replaying=return", ""] {
        let server = run.start(&Faults::default());
        run.work(server, 300, super::process::Server::kill);
        throw_away_rows(&run);
        if !fail_points.is_empty() {
            let faults = Faults { fail_points: fail_points.to_owned(), planted: None };
            let died = super::process::Server::start(run.folder(), &faults).err().expect("it dies while it starts");
            assert!(super::process::was_killed(died), "{died}");
        }
        run.start(&Faults::default()).kill();
        conservation(&run.data()).unwrap_or_else(|violation| panic!("{violation}"));
    }
    run.finish().unwrap_or_else(|violation| panic!("{violation}"));
}

/// All that follows from the blocks.
pub(super) fn throw_away_rows(run: &Run) {
    let database = rusqlite::Connection::open(run.data().join(metergate::store::sqlite::FILE)).unwrap();
    let rows = "DELETE FROM accounts; DELETE FROM organizations; DELETE FROM rollups; DELETE FROM unique_values;
                DELETE FROM settings WHERE name = 'folded_to'";
    database.execute_batch(rows).unwrap();
}

#[test]
fn a_server_that_is_stopped_answers_what_is_under_way() {
    let mut run = Run::new("a_server_that_is_stopped_answers_what_is_under_way");
    let server = run.start(&Faults::default());
    run.work(server, 300, super::process::Server::stop);
    run.finish().unwrap_or_else(|violation| panic!("{violation}"));
}
