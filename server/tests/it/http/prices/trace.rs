//! The real trace, priced request by request.

use std::fs;

use serde_json::json;

use super::Server;
use crate::import::{ROWS, files, import, is_trace, tally};

/// Each request of the trace is priced by itself: 2.50 dollars a million for what went in, 10 for what came out.
#[test]
fn a_trace_of_one_model_costs_exactly_what_its_rows_cost_by_hand() {
    let first = Server::start();
    for file in files(first.folder()) {
        let server = Server::start();
        let admin = server.admin();
        admin.post("/v1/organizations", json!({"key": "conv", "plan": "enterprise"})).is(201);
        let price =
            json!({"model": "gpt-4o", "provider": "openai", "effectiveFrom": "2023-11-01", "input": 2.5, "output": 10});
        admin.patch("/v1/prices", json!({"set": [price]})).is(200);
        let output = import(&server, &file, 10_000).args(["--set", "model=gpt-4o"]).output().unwrap();
        assert_eq!(tally(&output), [ROWS, ROWS, 0, 0]);
        let text = fs::read_to_string(&file).unwrap();
        let billionths = |line: &str| {
            let tokens: Vec<u64> = line.split(',').skip(1).map(|cell| cell.trim().parse().unwrap()).collect();
            tokens[0] * 2500 + tokens[1] * 10_000
        };
        let by_hand: u64 = text.lines().skip(1).map(billionths).sum();
        if is_trace(&file) {
            assert_eq!(by_hand, 96_791_325_000, "22,361,870 and 4,088,665 tokens");
        }
        let span = "from=2023-11-01T00:00:00Z&to=2023-12-01T00:00:00Z";
        let path = format!("/v1/usage?organization=conv&meter=llm_cost&groupBy=unpriced&{span}");
        let answer = admin.get(&path).is(200);
        let report = answer.json();
        assert_eq!(report["data"].as_array().unwrap().len(), 1, "all of it has a price: {report}");
        assert_eq!(report["data"][0]["count"], ROWS, "{report}");
        let dollars = format!("{}.{:09}", by_hand / 1_000_000_000, by_hand % 1_000_000_000);
        assert_eq!(answer.raw("/data/0/value"), dollars.trim_end_matches('0'), "{}", file.display());
    }
}
