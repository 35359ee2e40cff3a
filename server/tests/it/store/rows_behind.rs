//! Rows may be behind the journal: nobody who asks or reads sees it, and a start finds what they lack.

use metergate::store::Pace;
use metergate::store::sqlite::Sqlite;
use metergate_rules::window::Window;

use super::asks::{METERS, ask, create, tell};
use super::kit::Kit;
use super::random_work::{ORGANIZATIONS, Random, work};
use crate::invariant::{conservation, folded};

/// What readers are told of every organization: its account and what each meter counted.
fn told(kit: &Kit) -> Vec<String> {
    let of_one = |key: &&str| {
        let reported: Vec<_> = METERS.iter().map(|(name, _)| kit.reported(key, name)).collect();
        format!("{:?} {reported:?}", kit.account(key))
    };
    ORGANIZATIONS.iter().map(of_one).collect()
}

/// Up to where every row is, and the last block.
fn folded_to(kit: &Kit) -> (u64, u64) {
    let sqlite = Sqlite::open_to_read(kit.folder()).unwrap();
    let folded_to = sqlite.setting("folded_to").unwrap().map_or(0, |text| text.parse().unwrap());
    let last = sqlite.connection().query_row("SELECT max(sequence) FROM blocks", [], |row| row.get::<_, i64>(0));
    (folded_to, last.unwrap().unsigned_abs())
}

#[test]
fn whoever_reads_sees_what_the_rows_lack() {
    for pace in [0, 1, 2] {
        let mut random = Random::new("whoever_reads_sees_what_the_rows_lack");
        let mut kit = Kit::with_rows(Pace::Accounts(pace));
        for _ in 0..6 {
            work(&mut kit, &mut random, 20);
            let journal = kit.journal();
            for key in ORGANIZATIONS {
                let account = kit.account(key);
                assert_eq!(account, folded(&journal, account.id), "{key} with {pace} rows a commit");
            }
            kit.check().unwrap();
        }
        let (folded, last) = folded_to(&kit);
        assert!(pace > 0 || folded == 0, "without a pace no round ends");
        assert!(pace == 0 || folded > 0, "with a pace rounds end");
        let before = told(&kit);
        kit.reopen();
        assert_eq!(told(&kit), before, "after a start with rows behind the journal");
        kit.set_pace(Pace::Tenth);
        kit.reopen();
        let now = kit.now();
        kit.close();
        assert_eq!(folded_to(&kit), (last, last), "a store that is closed has written its rows");
        conservation(kit.folder()).unwrap();
        kit.reopen_at(now);
        assert_eq!(told(&kit), before, "from rows alone");
    }
}

#[test]
fn values_that_only_memory_has_count_once() {
    let kit = Kit::with_rows(Pace::Accounts(0));
    for value in [1, 2, 1] {
        assert!(kit.allows(&ask("users", value)));
    }
    assert_eq!(kit.used("acme", "users", Window::Lifetime), 2);
    assert_eq!(kit.reported("acme", "users").count, 3);
}

#[test]
fn an_organization_is_found_at_once_whatever_its_row_lacks() {
    let mut kit = Kit::with_rows(Pace::Accounts(0));
    kit.made(&create("globex"));
    assert!(kit.records(&tell("calls", 3, "e1").of("globex")));
    kit.reopen();
    assert_eq!(kit.used("globex", "calls", Window::Lifetime), 3);
    assert!(!kit.records(&tell("calls", 3, "e1").of("globex")), "its ids are known too");
    assert_eq!(kit.reported("globex", "calls").sum, 3);
}
