//! Past records under other plans (O10): read from a store that works, and nothing written.

use metergate::backup::Unwatched;
use metergate::catalogue::change::TeamCommand;
use metergate::catalogue::file::CatalogueFile;
use metergate::catalogue::spec::LimitSpec;
use metergate::report::what_if::{Changed, Question, answer};
use metergate::store::StoreError;
use metergate::store::reader::ReadError;
use metergate_rules::command::{Adjustment, Command, EventName, Voiding};
use metergate_rules::id::{EventId, EventSource};
use metergate_rules::outcome::What;
use metergate_rules::period::Zone;
use metergate_rules::time::{DAY, Time};
use serde_json::{Value, json};

use super::asks::{CATALOGUE, ask, create, make, meter, organization, tell};
use super::kit::{Kit, closed, record, start};
use super::random_work::{ORGANIZATIONS, Random, work};

/// What would have been in a range, of all organizations on the plans that are changed or of some.
fn asked(kit: &Kit, changed: Changed, named: Option<&[&str]>, span: (Time, Time)) -> Result<Value, ReadError> {
    let store = &kit.open().store;
    let named = named.map(|named| named.iter().map(|key| organization(key)).collect());
    let question = Question::new(&store.catalogue(), changed, named, span, Zone::utc(), false)?;
    let report = answer(store.reader(), &question, kit.now(), &Unwatched)?;
    Ok(serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap())
}

fn all_of(kit: &Kit) -> (Time, Time) {
    (start().plus(-DAY), kit.now().plus(DAY))
}

/// The plans as they are, under other names: a file that changes nothing of somebody leaves them out.
fn file() -> Changed {
    let renamed = CATALOGUE.replace("[plans.free]\n", "[plans.free]\nname = \"Free\"\n");
    let renamed = renamed.replace("[plans.large]\n", "[plans.large]\nname = \"Large\"\n");
    Changed::File(CatalogueFile::parse(&renamed).unwrap())
}

fn limits(plan: &str, limits: &Value) -> Changed {
    let limits: Vec<LimitSpec> = serde_json::from_value(limits.clone()).unwrap();
    Changed::Limits(plan.parse().unwrap(), limits)
}

/// Refusals that are on record, and the newest block.
fn on_record(kit: &Kit, from: Time) -> (u64, Vec<u64>) {
    let ids: Vec<_> = ORGANIZATIONS.iter().map(|key| kit.account(key).id).collect();
    let read = kit.read(move |view, _| {
        let (mut refused, mut newest) = (0, Vec::new());
        for id in ids {
            view.records(id, u64::MAX, |_, _, record| {
                let is_refusal = matches!(&record.entry.what, What::Decided(decided) if !decided.refused.is_empty());
                refused += u64::from(is_refusal && from <= record.entry.at);
                true
            })?;
            newest.push(view.rows().newest_block(id)?);
        }
        Ok((refused, newest))
    });
    read.unwrap()
}

#[test]
fn under_the_same_plans_exactly_what_was_refused_is_and_nothing_is_written() {
    let mut random = Random::new("under_the_same_plans_exactly_what_was_refused_is_and_nothing_is_written");
    let mut reached = 0;
    for _ in 0..3 {
        let mut kit = Kit::new();
        work(&mut kit, &mut random, 120);
        let (begin, end) = all_of(&kit);
        let middle = begin.plus(random.below(end.since(begin)));
        for from in [begin, middle] {
            let (refused, newest) = on_record(&kit, from);
            let report = asked(&kit, file(), None, (from, end)).unwrap();
            let found = ["failed", "refused", "refusedBefore", "allowed", "replayed"].map(|name| report[name].as_u64());
            assert_eq!(found, [0, 0, refused, 0, 3].map(Some), "{report}");
            assert_eq!(report["beyond"], report["beyondBefore"]);
            for meter in report["meters"].as_array().unwrap() {
                assert_eq!(meter["overage"], meter["overageBefore"], "{meter}");
            }
            assert_eq!(report["estimate"], Value::Null);
            assert_eq!(on_record(&kit, from), (refused, newest), "something was written");
            reached += refused;
        }
        kit.check().unwrap();
    }
    assert!(reached > 0, "nothing was ever refused");
}

#[test]
fn a_lower_limit_says_who_would_have_been_refused_when_and_how_much() {
    let kit = Kit::new();
    kit.made(&create("globex"));
    for (organization, quantities) in [("acme", [4, 4, 1]), ("globex", [2, 1, 1])] {
        for quantity in quantities {
            assert!(kit.allows(&ask("calls", quantity).of(organization)));
        }
    }
    assert!(!kit.allows(&ask("calls", 7).of("globex").id("seven")), "beyond ten");
    assert!(kit.records(&tell("credits", 8000, "event")));
    let lower = json!([{"meter": "calls", "window": "billingPeriod", "max": 5}]);
    let report = asked(&kit, limits("free", &lower), None, all_of(&kit)).unwrap();
    let found = ["replayed", "refusedOrganizations", "calls", "facts", "refused", "refusedBefore", "allowed"];
    assert_eq!(found.map(|name| report[name].as_u64().unwrap()), [2, 1, 7, 1, 1, 1, 0], "{report}");
    let limit = &report["limits"][0];
    let expected = json!({"meter": "calls", "window": "billingPeriod", "reason": "quota-exceeded", "refused": 1, "refusedQuantity": 4,
        "refusedBefore": 1, "refusedQuantityBefore": 7, "allowed": 0, "allowedQuantity": 0});
    assert_eq!(*limit, expected);
    assert_eq!((&report["beyond"], &report["beyondBefore"]), (&json!(1), &json!(1)), "a soft limit that is as it was");
    let first = &report["organizations"][0];
    assert_eq!((&first["organization"], &first["refused"]), (&json!("acme"), &json!(1)));
    assert_eq!(
        (&first["firstRefusedAt"], &first["firstRefusedAt"]),
        (&first["lastRefusedAt"], &report["lastRefusedAt"])
    );
    assert_eq!(
        report["days"][0],
        json!({"date": "2026-03-10", "start": "2026-03-10T00:00:00Z", "refused": 1, "refusedBefore": 1, "allowed": 0})
    );
    let summary = report["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("This would have refused 1 request of 1 organization between 2026-03-09 and"),
        "{summary}"
    );
    // On the large plan, all that was refused passes.
    let report = asked(&kit, Changed::Plan("large".parse().unwrap(), None), Some(&["globex"]), all_of(&kit)).unwrap();
    assert_eq!(
        ["refused", "refusedBefore", "allowed"].map(|name| report[name].as_u64().unwrap()),
        [0, 1, 1],
        "{report}"
    );
    // Before it happened there was nothing, and of others nothing is said.
    let before = asked(&kit, limits("free", &lower), None, (start().plus(-9 * DAY), start().plus(-DAY))).unwrap();
    assert_eq!((&before["calls"], &before["replayed"]), (&json!(0), &json!(2)));
    let large = asked(&kit, limits("large", &lower), None, all_of(&kit)).unwrap();
    assert_eq!(large["replayed"], 0);
}

#[test]
fn whom_a_file_leaves_as_they_are_is_not_asked_about() {
    let kit = Kit::new();
    assert!(kit.allows(&ask("calls", 8)));
    let unchanged = || Changed::File(CatalogueFile::parse(CATALOGUE).unwrap());
    assert_eq!(asked(&kit, unchanged(), None, all_of(&kit)).unwrap()["replayed"], 0);
    assert_eq!(asked(&kit, file(), None, all_of(&kit)).unwrap()["replayed"], 1);
    // Who stayed on an older version is moved by the file, and so is asked about.
    let lower = CATALOGUE.replace("window = \"billingPeriod\", max = 10 }", "window = \"billingPeriod\", max = 5 }");
    let lower = CatalogueFile::parse(&lower).unwrap();
    let free = lower.plans["free"].clone();
    kit.change_team(TeamCommand::PutPlan("free".parse().unwrap(), free)).unwrap();
    let report = asked(&kit, Changed::File(lower), None, all_of(&kit)).unwrap();
    assert_eq!((&report["replayed"], &report["refused"]), (&json!(1), &json!(1)), "{report}");
}

#[test]
fn what_makes_no_sense_is_refused_and_what_does_not_exist_is_not_there() {
    let kit = Kit::new();
    let code = |changed: Changed, named: Option<&[&str]>| match asked(&kit, changed, named, all_of(&kit)) {
        Err(ReadError::Store(StoreError::Catalogue { status, .. })) => status.to_string(),
        Err(error) => error.to_string(),
        Ok(report) => report["summary"].to_string(),
    };
    let free = |key: &str| Changed::Plan(key.parse().unwrap(), None);
    assert_eq!(code(free("nobody"), None), "there is no such plan or version of it");
    assert_eq!(code(limits("free", &json!([{"meter": "nothing", "window": "day", "max": 1}])), None), "422");
    assert_eq!(code(limits("free", &json!([{"meter": "peak", "window": "minute", "max": 1}])), None), "422");
    assert!(code(free("free"), Some(&["nobody"])).contains("organization"));
    let new =
        Changed::Plan("new".parse().unwrap(), Some(Box::new(serde_json::from_value(json!({"limits": []})).unwrap())));
    assert_eq!(code(new.clone(), None), "there is no such plan or version of it", "nobody is on it");
    assert!(code(new, Some(&["acme"])).contains("nothing that was allowed"));
}

#[test]
fn a_moved_organization_is_asked_about_as_what_it_was_on_then() {
    let kit = Kit::new();
    assert!(kit.allows(&ask("calls", 8)));
    let large = super::asks::LARGE;
    kit.made(&make(Command::ChangePlan { plan: large, keep_overrides: true, at_period_end: false }));
    assert!(kit.allows(&ask("calls", 8)));
    // It follows the large plan now; before, the free one had its limits, which are as they were.
    let lower = json!([{"meter": "calls", "window": "billingPeriod", "max": 5}]);
    let report = asked(&kit, limits("large", &lower), None, all_of(&kit)).unwrap();
    assert_eq!((&report["calls"], &report["refused"]), (&json!(2), &json!(1)), "{report}");
    let moved = asked(&kit, limits("large", &lower), Some(&["acme"]), all_of(&kit)).unwrap();
    assert_eq!((&moved["calls"], &moved["refused"]), (&json!(2), &json!(2)), "{moved}");
}

/// Of what the records tell first.
fn tells_from(kit: &Kit) -> Time {
    let id = kit.account("acme").id;
    let oldest = kit.read(move |view, _| {
        let mut oldest = Time::MIN;
        view.records(id, u64::MAX, |_, _, record| {
            oldest = record.entry.at;
            true
        })?;
        Ok(oldest)
    });
    oldest.unwrap()
}

#[test]
fn where_records_are_gone_it_is_estimated_and_said_until_when() {
    let mut kit = Kit::with_slices(10, 40);
    for month in 0..5 {
        kit.reopen_at(start().plus(month * 32 * DAY));
        assert!(kit.allows(&ask("calls", 1 + month)));
        assert!(kit.allows(&ask("calls", 2)));
        let first = usize::try_from(month).unwrap() * 12;
        record(&kit, first..first + 12);
        closed(&kit, 1);
    }
    kit.wait_until("the records of three months have gone", |kit| tells_from(kit) > start().plus(63 * DAY));
    let lower = json!([{"meter": "calls", "window": "billingPeriod", "max": 1},
        {"meter": "peak", "window": "day", "max": 1}]);
    let report = asked(&kit, limits("free", &lower), None, all_of(&kit)).unwrap();
    let (exact, guessed) = (report["refused"].as_u64().unwrap(), report["estimate"]["refused"].as_u64().unwrap());
    // Of each month both calls: of the first only as an estimate, which does not know that they were two.
    assert_eq!(exact + guessed, 10, "{report}");
    assert!(exact >= 2 && guessed >= 6, "{report}");
    let until: Time = report["estimate"]["until"].as_str().unwrap().parse().unwrap();
    assert!(start().plus(63 * DAY) < until && until < kit.now(), "{until}");
    let left_out = report["estimate"]["leftOut"].as_array().unwrap();
    assert!(left_out.contains(&json!("peak")) && !left_out.contains(&json!("calls")), "{left_out:?}");
    assert!(report["summary"].as_str().unwrap().contains("raw records are gone"), "{report}");
    assert_eq!(report["organizations"][0]["refusedEstimated"].as_u64(), Some(guessed));
    // What is kept whole needs no estimate.
    let kept = asked(&kit, limits("free", &lower), None, (until.plus(DAY), kit.now().plus(DAY))).unwrap();
    assert_eq!((&kept["estimate"], kept["refused"].as_u64()), (&Value::Null, Some(exact)), "{kept}");
}

#[test]
fn what_is_told_too_late_for_a_limit_stands_apart_by_when_it_had_happened() {
    let mut kit = Kit::new();
    assert!(kit.allows(&ask("tokens", 4)));
    kit.reopen_at(start().plus(40 * DAY));
    // History of a year before it was created, 300 days before it, and of the day before.
    let then = start().plus(-300 * DAY);
    for (day, quantity, id) in [(0, 900, "a"), (0, 250, "b"), (1, 300, "c")] {
        assert!(kit.records(&tell("tokens", quantity, id).at(then.plus(day * DAY))));
    }
    assert!(kit.records(&tell("peak", 70, "peak").at(then)));
    assert!(kit.records(&tell("hits", 1, "without a limit").at(then)));
    assert!(kit.records(&tell("tokens", 5, "now")));
    let free = || Changed::Plan("free".parse().unwrap(), None);
    let range = (then.plus(-DAY), then.plus(9 * DAY));
    let report = asked(&kit, free(), None, range).unwrap();
    assert_eq!(["calls", "facts", "refused", "beyond"].map(|name| report[name].as_u64()), [Some(0); 4], "{report}");
    let late = &report["late"];
    // 300 a day and 1,000 a period: of the first day 850 are beyond, and by then the period is used up, too.
    let tokens = json!({"meter": "tokens", "facts": 3, "quantity": 1450, "beyond": 3, "beyondQuantity": 1150});
    let peak = json!({"meter": "peak", "facts": 1, "quantity": 70, "beyond": 0, "beyondQuantity": 0});
    assert_eq!((&late["facts"], &late["beyond"], &late["earlier"]), (&json!(4), &json!(3), &json!(0)), "{late}");
    assert_eq!((&late["meters"], &late["leftOut"]), (&json!([tokens, peak]), &json!(["peak"])), "{late}");
    let one = &report["organizations"][0];
    assert_eq!((&one["organization"], &one["lateFacts"], &one["lateBeyond"]), (&json!("acme"), &json!(4), &json!(3)));
    let summary = report["summary"].as_str().unwrap();
    assert!(summary.contains("4 events of that time came too late for any limit"), "{summary}");
    assert!(summary.contains("about 3 would have gone beyond"), "{summary}");
    // Whoever asks about the days of the import hears that it was about other days.
    let report = asked(&kit, free(), None, (start().plus(39 * DAY), kit.now().plus(DAY))).unwrap();
    let late = &report["late"];
    assert_eq!((&late["facts"], &late["earlier"], &report["facts"]), (&json!(0), &json!(4), &json!(6)), "{report}");
    let spanned = [&late["earliestAt"], &late["latestAt"]].map(|at| at.as_str().unwrap().parse::<Time>().unwrap());
    assert_eq!(spanned, [then, then.plus(DAY)]);
    assert!(report["summary"].as_str().unwrap().contains("4 events that came then had happened before"), "{report}");
    // A higher limit, one that is not there, and what is void.
    let higher = json!([{"meter": "tokens", "window": "day", "unlimited": true},
        {"meter": "tokens", "window": "billingPeriod", "max": 1200}]);
    let report = asked(&kit, limits("free", &higher), None, range).unwrap();
    assert_eq!(report["late"]["meters"][0]["beyondQuantity"], 250, "{report}");
    assert_eq!(
        asked(&kit, Changed::Plan("large".parse().unwrap(), None), Some(&["acme"]), range).unwrap()["late"],
        Value::Null
    );
    let name = EventName::Event(EventSource::new("/test").unwrap(), EventId::new("a").unwrap());
    kit.made(&make(Command::Void(Voiding::Asked("/test".to_owned(), "a".to_owned(), name))));
    let report = asked(&kit, free(), None, range).unwrap();
    assert_eq!(report["late"]["meters"][0]["quantity"], 550, "{report}");
    // What was taken off since is not told any more: 50 and 300 are within the day's 300.
    let less = Adjustment { meter: meter("tokens"), units: -200, time: Some(then), room: Vec::new() };
    kit.made(&make(Command::Adjust(less)));
    let report = asked(&kit, free(), None, range).unwrap();
    let told = &report["late"]["meters"][0];
    assert_eq!((&told["quantity"], &told["beyondQuantity"]), (&json!(350), &json!(0)), "{report}");
    kit.check().unwrap();
}

#[test]
fn what_takes_longer_than_it_may_says_how_many_are_left() {
    let kit = Kit::new();
    kit.made(&create("globex"));
    assert!(kit.allows(&ask("calls", 9)));
    let store = &kit.open().store;
    let lower = json!([{"meter": "calls", "window": "billingPeriod", "max": 5}]);
    let question = |seconds: u32| {
        let question =
            Question::new(&store.catalogue(), limits("free", &lower), None, all_of(&kit), Zone::utc(), false).unwrap();
        let report = answer(store.reader(), &question.within(Some(seconds)), kit.now(), &Unwatched).unwrap();
        serde_json::from_str::<Value>(&serde_json::to_string(&report).unwrap()).unwrap()
    };
    let none = question(0);
    assert_eq!((&none["replayed"], &none["unreplayed"]), (&json!(0), &json!(2)), "{none}");
    assert!(none["summary"].as_str().unwrap().contains("Only 0 of about 2 organizations"), "{none}");
    let all = question(3600);
    assert_eq!((&all["replayed"], &all["unreplayed"], &all["refused"]), (&json!(2), &json!(0), &json!(1)), "{all}");
}
