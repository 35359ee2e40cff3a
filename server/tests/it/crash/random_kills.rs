//! `kill -9` at random times.

use super::process::Faults;
use super::run::Run;
use metergate::store::sqlite::Sqlite;

use crate::invariant::{Journal, conservation, stored};

const KILLS: usize = 60;

#[test]
fn a_server_killed_at_random_times_loses_and_doubles_nothing() {
    let mut run = Run::new("a_server_killed_at_random_times_loses_and_doubles_nothing");
    let mut behind = 0;
    for kill in 1..=KILLS {
        // Now and then commits fail, too: one in fifty.
        let fail_points = if kill % 4 == 0 { "commit-fails=2%return" } else { "" };
        let server = run.start(&Faults { fail_points: fail_points.to_owned(), planted: None });
        let most = usize::try_from(1 + run.random.below(200)).unwrap();
        run.work(server, most, super::process::Server::kill);
        behind += usize::from(rows_are_behind(&run));
        if kill % 10 == 0 {
            stored(&run.data()).unwrap_or_else(|violation| panic!("{violation}"));
        }
    }
    run.finish().unwrap_or_else(|violation| panic!("{violation}")).all();
    println!("after {behind} of {KILLS} kills rows were behind the journal");
    assert!(behind > 0, "no start had to catch up with the journal");
}

/// Whether the journal goes beyond what every row holds.
fn rows_are_behind(run: &Run) -> bool {
    let sqlite = Sqlite::open_to_read(&run.data()).unwrap();
    let last = Journal::of(&run.data()).records.last().map_or(0, |(sequence, ..)| *sequence);
    let folded_to = sqlite.setting("folded_to").unwrap().map_or(0, |text| text.parse().unwrap());
    folded_to < last
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
    let rows = "DELETE FROM accounts; DELETE FROM organizations; DELETE FROM rollups; DELETE FROM day_totals; DELETE FROM unique_values; DELETE FROM fleet_usage;
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
