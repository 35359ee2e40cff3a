//! `kill -9` while rollups are made again: what is left is made right by the next time.

use metergate::store::sqlite::FILE;

use super::fail_points::points;
use super::http::Call;
use super::process::{Faults, Server, was_killed};
use super::run::Run;
use crate::invariant::conservation;

fn aggregate(server: &Server) -> std::io::Result<u64> {
    let answer = server.client().call(&Call::json("POST", "/api/admin/metrics/aggregate", "{}"))?;
    assert_eq!(answer.status, 200, "{answer:?}");
    Ok(answer.value()["rebuilt"].as_u64().unwrap())
}

#[test]
fn a_server_killed_while_it_makes_rollups_again_leaves_them_to_the_next() {
    let mut run = Run::new("a_server_killed_while_it_makes_rollups_again_leaves_them_to_the_next");
    let points: Vec<_> = points().into_iter().filter(|point| point.starts_with("aggregate-")).collect();
    assert_eq!(points.len(), 3, "{points:?}");
    for point in points {
        let server = run.start(&Faults::default());
        run.work(server, 200, Server::stop);
        let database = rusqlite::Connection::open(run.data().join(FILE)).unwrap();
        let spoiled = database.execute("DELETE FROM rollups WHERE length(data) % 2 = 0", []).unwrap();
        assert!(spoiled > 0, "there is nothing to make again");
        drop(database);
        let server = run.start(&Faults { fail_points: format!("{point}=return"), planted: None });
        assert!(aggregate(&server).is_err(), "{point} was not reached");
        assert!(was_killed(server.died()));
        let server = run.start(&Faults::default());
        let rebuilt = aggregate(&server).unwrap();
        assert!(rebuilt > 0 || point == "aggregate-replaced", "after {point} nothing was left to do");
        assert_eq!(aggregate(&server).unwrap(), 0, "after {point}");
        server.kill();
        conservation(&run.data()).unwrap_or_else(|violation| panic!("after {point}: {violation}"));
    }
}
