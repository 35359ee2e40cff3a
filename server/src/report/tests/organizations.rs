use metergate_rules::account::{LockCause, Status};
use metergate_rules::id::PlanKey;
use metergate_rules::time::DAY;

use super::*;
use crate::report::organizations::{OrganizationFilter, Sort};

fn keys(kit: &Kit, now: Time, filter: &OrganizationFilter, limit: usize) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let (asked, from) = (filter.clone(), after.clone());
        let page =
            kit.report_at(now, move |report| report.organizations(&asked, Sort::Key, limit, from.as_deref())).unwrap();
        assert!(page.data.len() <= limit);
        all.extend(page.data.into_iter().map(|one| one.key));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

#[test]
fn organizations_are_listed_by_key_and_filtered_as_they_are_now() {
    let kit = Kit::new();
    for (key, plan) in [("c_1", "free"), ("b", "trial"), ("a", "free"), ("cx1", "closed"), ("D", "trial")] {
        kit.create(key, plan, "UTC");
    }
    kit.change("a", Command::Lock { cause: LockCause::Operator, reason: None });
    let (now, after_trial) = (kit.store.now(), kit.store.now().plus(31 * DAY));
    let none = OrganizationFilter::default;
    let plan = |key| Some(PlanKey::new(key).unwrap());
    let search = |text: &str| Some(text.to_owned());
    #[rustfmt::skip]
    let cases = [ // filter, now, after the trials
        (none(), vec!["D", "a", "b", "c_1", "cx1"], vec!["D", "a", "b", "c_1", "cx1"]),
        (OrganizationFilter { plan: plan("free"), ..none() }, vec!["a", "c_1"], vec!["a", "c_1"]),
        (OrganizationFilter { locked: Some(true), ..none() }, vec!["a"], vec!["D", "a", "b"]),
        (OrganizationFilter { locked: Some(false), plan: plan("trial"), ..none() }, vec!["D", "b"], vec![]),
        (OrganizationFilter { status: Some(Status::Trial), ..none() }, vec!["D", "b"], vec!["D", "b"]),
        (OrganizationFilter { status: Some(Status::PastDue), ..none() }, vec![], vec![]),
        (OrganizationFilter { search: search("C_"), ..none() }, vec!["c_1"], vec!["c_1"]),
        (OrganizationFilter { search: search("name of c"), ..none() }, vec!["c_1", "cx1"], vec!["c_1", "cx1"]),
        (OrganizationFilter { search: search("%"), ..none() }, vec![], vec![]),
        (OrganizationFilter { plan: plan("nope"), ..none() }, vec![], vec![]),
    ];
    for (filter, at_once, later) in cases {
        for limit in [1, 2, 50] {
            assert_eq!(keys(&kit, now, &filter, limit), at_once, "{filter:?}");
            assert_eq!(keys(&kit, after_trial, &filter, limit), later, "later: {filter:?}");
        }
    }
    for sort in [Sort::Key, Sort::NewestFirst] {
        let bad =
            kit.report(move |report| report.organizations(&OrganizationFilter::default(), sort, 5, Some(&[0xff])));
        assert!(refusal(bad).starts_with("cursor: "), "{sort:?}");
    }
}

#[test]
fn who_is_bound_to_one_organization_sees_that_one_alone() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    kit.create("beta", "free", "UTC");
    let seen = kit.report(|report| {
        let own = report.view.account(Scope::Team, &organization("beta"))?.id;
        let bound = Report { scope: Scope::Organization(own), ..*report };
        let foreign = organization("acme");
        assert!(bound.organization(&foreign).is_err() && bound.standing(&foreign).is_err());
        assert!(bound.quota(&foreign).is_err() && bound.entitlements(&foreign).is_err());
        assert!(bound.explain(&foreign, None, None).is_err() && bound.grants(&foreign, 5, None).is_err());
        assert!(bound.events(&foreign, &crate::report::events::EventFilter::default(), 5, None).is_err());
        bound.organizations(&OrganizationFilter::default(), Sort::default(), 50, None)
    });
    let keys: Vec<String> = seen.unwrap().data.into_iter().map(|one| one.key).collect();
    assert_eq!(keys, ["beta"]);
}
