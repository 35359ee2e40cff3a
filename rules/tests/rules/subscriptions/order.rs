//! What is told in whatever order, and of which of several subscriptions.

use metergate_rules::command::Command;
use metergate_rules::id::{CustomerId, InvoiceId, PlanId, SubscriptionId};
use metergate_rules::subscription::{Invoice, News, Reported, Snapshot};
use metergate_rules::time::DAY;

use super::{APRIL, MARCH, event, is_told, snapshot, state, tell, world};
use crate::kit::time;

fn invoice(id: &str, paid: bool) -> News {
    of_invoice(Invoice { id: InvoiceId::new(id).unwrap(), until: None, is_extra: false }, paid)
}

fn of_invoice(invoice: Invoice, paid: bool) -> News {
    News::Invoiced { id: SubscriptionId::new("sub_1").unwrap(), invoice, paid }
}

#[test]
fn what_has_ended_does_not_come_back() {
    for end in ["canceled", "incomplete_expired"] {
        let mut world = world();
        is_told(&mut world, event("active", 2, MARCH));
        is_told(&mut world, event(end, 2, MARCH));
        for status in Reported::ALL {
            assert!(!is_told(&mut world, event(status.as_str(), 3, APRIL)), "{end}, then {}", status.as_str());
        }
        assert!(!tell(&mut world, invoice("in_1", true)));
        // Another one takes its place, and it still does not come back.
        is_told(&mut world, snapshot("sub_2", "active", 3, MARCH));
        assert_eq!(state(&world), "Active 3 []");
        is_told(&mut world, snapshot("sub_2", "canceled", 3, MARCH));
        assert!(!is_told(&mut world, event("active", 2, APRIL)));
        assert_eq!(state(&world), "Canceled 1 []");
    }
}

#[test]
fn an_event_with_an_older_period_is_late() {
    let mut world = world();
    is_told(&mut world, event("active", 2, APRIL));
    assert!(!is_told(&mut world, event("past_due", 3, MARCH)));
    assert!(is_told(&mut world, Snapshot { is_current: true, ..event("past_due", 3, MARCH) }), "who asks Stripe knows");
    is_told(&mut world, event("active", 2, APRIL));
    assert!(is_told(&mut world, event("canceled", 2, MARCH)), "its end comes last, whatever else it says");
}

#[test]
fn the_better_of_two_subscriptions_holds_in_whatever_order_they_are_told_of() {
    let newer = || Snapshot { created: time("2026-03-06T00:00:00Z"), ..snapshot("sub_2", "active", 3, MARCH) };
    let older = || snapshot("sub_1", "active", 2, MARCH);
    let addon = || Snapshot { created: time("2026-03-07T00:00:00Z"), ..snapshot("sub_3", "active", 9, MARCH) };
    let orders: [&[&dyn Fn() -> Snapshot]; 4] =
        [&[&older, &newer, &addon], &[&newer, &older, &addon], &[&addon, &older, &newer], &[&addon, &newer, &older]];
    for order in orders {
        let mut world = world();
        order.iter().for_each(|told| _ = is_told(&mut world, told()));
        assert_eq!(state(&world), "Active 3 []");
        assert_eq!(world.account.subscription.as_ref().unwrap().id.as_ref().unwrap().as_str(), "sub_2");
    }
    // The end of one that it no longer has is remembered, and changes nothing else.
    let mut world = world();
    is_told(&mut world, older());
    is_told(&mut world, newer());
    assert!(is_told(&mut world, snapshot("sub_1", "canceled", 2, MARCH)));
    assert_eq!(state(&world), "Active 3 []");
    is_told(&mut world, Snapshot { status: Some(Reported::Canceled), ..newer() });
    assert!(!is_told(&mut world, event("active", 2, APRIL)), "late of one that has ended");
    assert_eq!(state(&world), "Canceled 1 []");
}

#[test]
fn the_end_of_a_subscription_that_it_never_had_takes_nothing() {
    for status in ["canceled", "incomplete_expired", "incomplete"] {
        for is_linked in [false, true] {
            let mut world = world();
            let change = Command::ChangePlan { plan: PlanId(3), keep_overrides: true, at_period_end: false };
            world.run(&change).unwrap();
            if is_linked {
                let customer = Some(CustomerId::new("cus_1").unwrap());
                world.run(&Command::LinkSubscription { id: None, customer }).unwrap();
            }
            is_told(&mut world, event(status, 2, MARCH));
            assert_eq!(state(&world), "Active 3 []", "{status}");
            assert!(world.account.subscribed_as().is_none());
            // One that has ended does not begin later; one whose first payment comes does.
            is_told(&mut world, event("active", 2, MARCH));
            let then = if status == "incomplete" { "Active 2 []" } else { "Active 3 []" };
            assert_eq!(state(&world), then, "{status}");
        }
    }
}

#[test]
fn only_the_payment_that_is_missing_unlocks() {
    let of =
        |id: &str, until: &str| Invoice { id: InvoiceId::new(id).unwrap(), until: Some(time(until)), is_extra: false };
    let (of_march, of_april) = (of("in_1", "2026-03-05T00:00:00Z"), of("in_2", "2026-04-05T00:00:00Z"));
    let mut world = world();
    world.now = time("2026-04-06T00:00:00Z");
    is_told(&mut world, event("active", 2, APRIL));
    assert!(tell(&mut world, of_invoice(of_april.clone(), false)));
    assert!(!tell(&mut world, of_invoice(of_march.clone(), true)), "of the period before, and late");
    assert!(!tell(&mut world, of_invoice(of_march, false)));
    tell(&mut world, of_invoice(of("in_3", "2026-04-06T00:00:00Z"), true));
    assert_eq!(state(&world), "PastDue 2 []", "another one");
    assert!(tell(&mut world, of_invoice(of_april.clone(), true)));
    assert_eq!(state(&world), "Active 2 []");
    // Which one is missing is not known: what a change within the period costs is not it.
    is_told(&mut world, event("unpaid", 2, APRIL));
    tell(&mut world, of_invoice(Invoice { is_extra: true, ..of("in_4", "2026-04-06T00:00:00Z") }, true));
    assert_eq!(state(&world), "PastDue 2 [Billing]");
    tell(&mut world, of_invoice(of_april, true));
    assert_eq!(state(&world), "Active 2 []");
}

#[test]
fn who_is_on_its_own_again_is_neither_past_due_nor_canceled() {
    let unlink = Command::LinkSubscription { id: None, customer: None };
    let change = Command::ChangePlan { plan: PlanId(3), keep_overrides: true, at_period_end: false };
    let mut world = world();
    is_told(&mut world, snapshot("sub_1", "unpaid", 2, MARCH));
    world.play("lock operator");
    let notes = world.audit.len();
    world.run(&unlink).unwrap();
    assert_eq!(state(&world), "Active 2 [Operator]");
    assert_eq!(world.audit.len(), notes + 1, "told in one entry");
    world.assert_folds();
    let mut world = super::world();
    is_told(&mut world, snapshot("sub_1", "active", 2, MARCH));
    is_told(&mut world, snapshot("sub_1", "canceled", 2, MARCH));
    world.run(&change).unwrap();
    assert_eq!(state(&world), "Active 3 []", "an operator has put it on a plan");
    world.assert_folds();
    // While the subscription holds, it says the status.
    let mut world = super::world();
    is_told(&mut world, snapshot("sub_1", "unpaid", 2, MARCH));
    world.run(&change).unwrap();
    assert_eq!(state(&world), "PastDue 3 [Billing]");
}

#[test]
fn invoices_tell_of_payments_where_nothing_else_does() {
    let mut world = world();
    assert!(!tell(&mut world, invoice("in_1", true)), "of a subscription that nobody knows");
    is_told(&mut world, event("active", 2, MARCH));
    assert!(tell(&mut world, invoice("in_1", false)));
    assert_eq!(state(&world), "PastDue 2 []");
    assert!(tell(&mut world, invoice("in_1", true)));
    assert_eq!(state(&world), "Active 2 []");
    assert!(!tell(&mut world, invoice("in_1", true)), "once");
    assert!(!tell(&mut world, invoice("in_1", false)), "what was paid does not fail any more");
    is_told(&mut world, event("unpaid", 2, MARCH));
    assert!(tell(&mut world, invoice("in_2", true)));
    assert_eq!(state(&world), "Active 2 []");
}

#[test]
fn a_checkout_links_and_a_link_can_be_taken_away() {
    let mut world = world();
    let linked = |id: &str| News::Linked {
        id: SubscriptionId::new(id).unwrap(),
        customer: Some(CustomerId::new("cus_1").unwrap()),
    };
    assert!(tell(&mut world, linked("sub_1")));
    assert!(!tell(&mut world, linked("sub_1")));
    assert_eq!(state(&world), "Active 1 []", "nothing is known of it yet");
    assert!(is_told(&mut world, snapshot("sub_2", "active", 3, MARCH)), "it is remembered");
    assert_eq!(state(&world), "Active 1 []", "the one that was bought holds");
    is_told(&mut world, snapshot("sub_1", "past_due", 2, MARCH));
    assert!(!tell(&mut world, linked("sub_2")));
    world.run(&Command::LinkSubscription { id: None, customer: None }).unwrap();
    assert_eq!(world.audit.last().unwrap().action, "subscription.link");
    assert_eq!(world.account.ruling_period(), None);
    let notes = world.audit.len();
    world.run(&Command::LinkSubscription { id: None, customer: None }).unwrap();
    assert_eq!(world.audit.len(), notes, "what changes nothing is not noted");
    world.now = world.now.plus(30 * DAY);
    assert_eq!(state(&world), "Active 2 []", "no grace time ends that is nobody's");
    world.assert_folds();
}
