//! `webhook_converges`: whatever becomes of events on their way (twice, late, in another order, not at all), organizations end
//! where their subscriptions are. With an API key always; without one each event counts once, and what has ended stays so.

use metergate_rules::time::SECOND;
use serde_json::{Value, json};

use super::fake::{Stripe, event};
use super::{DAY, Server, create, entries, now, seen, send, subscription, with_plans, without_key, without_metadata};
use crate::invariant::{Held, equal, holds};
use crate::store::Random;

#[path = "converges/beside.rs"]
mod beside;

const NAME: &str = "webhook_converges";
/// Organizations in a run, and changes of the subscription of each.
const ORGANIZATIONS: usize = 12;
const CHANGES: usize = 6;

/// A status that Metergate does not know: the last one stays.
const UNKNOWN: &str = "under_review";
/// Those that may be followed by others, and those that nothing follows: Stripe's eight, and the unknown one.
const OPEN: [&str; 7] = ["trialing", "active", "past_due", "unpaid", "paused", "incomplete", UNKNOWN];
const OVER: [&str; 2] = ["canceled", "incomplete_expired"];

/// A history: the subscription after each change, the last one last.
struct History {
    key: String,
    states: Vec<Value>,
}

fn one_of<'a, T: ?Sized>(random: &mut Random, all: &[&'a T]) -> &'a T {
    all[usize::try_from(random.below(i64::try_from(all.len()).unwrap())).unwrap()]
}

impl History {
    /// The `nth` of a run: among as many as there are statuses each is somebody's.
    fn new(nth: usize, changes: usize, random: &mut Random) -> Self {
        let key = format!("o-{nth}");
        let began = now() - 100 * DAY;
        let (mut status, mut plan, mut period) = ("active", "silver", 0);
        let mut states = Vec::new();
        for change in 0..changes {
            // Events of the same second, and several that are alike, are among them.
            match random.below(6) {
                0 => period += 1,
                1 => plan = one_of(random, &["silver", "gold", "of_nobody"]),
                _ => status = one_of(random, &OPEN),
            }
            if change == changes / 2 {
                status = OPEN.get(nth).copied().unwrap_or(status);
            }
            if change + 1 == changes && (nth.wrapping_sub(OPEN.len()) < OVER.len() || random.below(4) == 0) {
                status = OVER[nth % OVER.len()];
            }
            let start = began + period * 30 * DAY;
            states.push(subscription(&key, status, plan, (start, start + 30 * DAY)));
        }
        Self { key, states }
    }
}

/// What is known of an organization without a key: the last that was told, but for what is late or comes after the end.
#[derive(Default)]
struct Known {
    last: Option<Value>,
    /// Whether it is linked with the subscription, although nothing is known of its status.
    is_linked: bool,
    has_ended: bool,
    /// The plan that followed from what was told.
    plan: Option<String>,
}

fn status_of(state: &Value) -> &str {
    state["status"].as_str().unwrap()
}

fn is_over(state: &Value) -> bool {
    OVER.contains(&status_of(state))
}

fn is_unknown(state: &Value) -> bool {
    status_of(state) == UNKNOWN
}

fn is_live(state: &Value) -> bool {
    !is_over(state) && !is_unknown(state) && status_of(state) != "incomplete"
}

fn start_of(state: &Value) -> i64 {
    state["items"]["data"][0]["current_period_start"].as_i64().unwrap()
}

impl Known {
    fn told(&mut self, state: &Value) {
        let is_late = self.last.as_ref().is_some_and(|last| start_of(state) < start_of(last));
        if self.has_ended || (is_late && !is_over(state)) {
            return;
        }
        self.has_ended = is_over(state);
        let mut state = state.clone();
        match &self.last {
            None if is_unknown(&state) => {
                self.is_linked = true;
                return;
            }
            // Of one that the organization never had.
            None if !is_live(&state) && (!self.is_linked || !is_over(&state)) => return,
            Some(last) if is_unknown(&state) => state["status"] = last["status"].clone(),
            _ => {}
        }
        let state = &state;
        let priced = match state["items"]["data"][0]["price"]["id"].as_str().unwrap() {
            "price_silver" => Some("silver"),
            "price_gold" => Some("gold"),
            _ => None,
        };
        match (is_live(state), priced) {
            (true, Some(plan)) => self.plan = Some(plan.to_owned()),
            (true, None) => {}
            (false, _) => self.plan = Some("free".to_owned()),
        }
        self.last = Some(state.clone());
    }

    /// Whether an organization stands where what is known puts it.
    fn is_where(&self, server: &Server, key: &str) -> Held {
        let Some(last) = &self.last else { return Ok(()) };
        let found = seen(server, key);
        let status = match status_of(last) {
            "trialing" => "trial",
            "active" => "active",
            "past_due" | "unpaid" | "paused" => "past_due",
            _ => "canceled",
        };
        let is_locked = ["unpaid", "paused"].contains(&status_of(last));
        let paid = &last["items"]["data"][0];
        let time =
            |seconds: &Value| metergate_rules::time::Time::from_micros(seconds.as_i64().unwrap() * SECOND).to_string();
        let expected = json!([
            status_of(last),
            status,
            self.plan,
            is_locked,
            time(&paid["current_period_start"]),
            time(&paid["current_period_end"])
        ]);
        let period = &found["subscriptionPeriod"];
        let stands = json!([
            found["subscriptionStatus"],
            found["status"],
            found["plan"],
            found["locked"],
            period["start"],
            period["end"]
        ]);
        equal(NAME, format!("{key} stands at"), &stands, &expected)
    }
}

/// Every entry says what stood before as the one before it has left it, and each says something.
fn told_in_full(server: &Server, key: &str) -> Held {
    let mut told = entries(server, key, "webhook.state_change");
    told.reverse();
    for pair in told.windows(2) {
        equal(
            NAME,
            format!("what stood before entry {} of {key}", pair[1]["seq"]),
            &pair[1]["before"],
            &pair[0]["after"],
        )?;
    }
    for entry in &told {
        holds(NAME, entry["before"] != entry["after"], || format!("{key}: {entry} says nothing"))?;
    }
    Ok(())
}

/// Looks again and again whether all stand where they should, and says what does not at the end.
fn in_time(patience: usize, mut all: impl FnMut() -> Held) -> Held {
    for _ in 0..patience {
        if all().is_ok() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    all()
}

/// Takes one at random.
fn draw<T>(random: &mut Random, from: &mut Vec<T>) -> T {
    let at = usize::try_from(random.below(i64::try_from(from.len()).unwrap())).unwrap();
    from.swap_remove(at)
}

/// A run with a key: subscriptions change while events of them are on their way, twice, late, and in any order; of a hundred
/// events so many never come. Whether all come to where Stripe has them within so many looks.
fn with_key(server: &mut Server, stripe: &Stripe, random: &mut Random, lost: i64, patience: usize) -> Held {
    let histories: Vec<History> = (0..ORGANIZATIONS).map(|i| History::new(i, CHANGES, random)).collect();
    for (i, history) in histories.iter().enumerate() {
        create(server, &history.key);
        if i % 2 == 1 {
            let link = json!({"customer": format!("cus_{}", history.key)});
            server.admin().put(&format!("/v1/organizations/{}/subscription", history.key), link).is(200);
        }
    }
    let (client, base) = (server.stranger(), now());
    let mut on_its_way: Vec<Value> = Vec::new();
    for change in 0..CHANGES {
        for (i, history) in histories.iter().enumerate() {
            let state = &history.states[change];
            let state = if i % 2 == 1 { without_metadata(state.clone()) } else { state.clone() };
            stripe.put(&state);
            // Clocks of Stripe's own differ: a later change may have been made earlier.
            let made = stripe.event("customer.subscription.updated", base - random.below(60), &state);
            if random.below(100) >= lost {
                on_its_way.push(made.clone());
            }
            if random.below(3) == 0 {
                on_its_way.push(made);
            }
            while on_its_way.len() > 8 || (!on_its_way.is_empty() && random.below(3) > 0) {
                send(&client, &draw(random, &mut on_its_way)).is(200);
            }
        }
    }
    while !on_its_way.is_empty() {
        send(&client, &draw(random, &mut on_its_way)).is(200);
    }
    if lost > 0 {
        server.kill();
        server.start_again();
    }
    let truth = |history: &History| {
        let mut known = Known::default();
        // What follows from the last state alone, and from the plans before it where its price says none.
        history.states.iter().for_each(|state| known.told(state));
        known.last = history.states.last().cloned();
        known
    };
    let is_known = |history: &&History| known_price(history.states.last().unwrap());
    in_time(patience, || {
        let each = |history: &History| {
            if never_had(server, history) { Ok(()) } else { truth(history).is_where(server, &history.key) }
        };
        histories.iter().filter(is_known).try_for_each(each)
    })?;
    histories.iter().try_for_each(|history| told_in_full(server, &history.key))
}

/// Whether nobody saw a subscription while it was live, which is not any more: then the organization has lost nothing by it.
fn never_had(server: &Server, history: &History) -> bool {
    let last = history.states.last().unwrap();
    if is_live(last) || !seen(server, &history.key)["subscriptionStatus"].is_null() {
        return false;
    }
    let told = entries(server, &history.key, "webhook.state_change");
    !is_over(last) || told.first().is_some_and(|entry| entry["after"]["endedSubscription"] == last["id"])
}

/// Whether plan and status follow from a state alone; else they depend on which of the states before it somebody saw.
fn known_price(state: &Value) -> bool {
    !is_unknown(state) && (!is_live(state) || state["items"]["data"][0]["price"]["id"] != "price_of_nobody")
}

#[test]
fn webhook_converges_with_a_key() {
    let mut random = Random::new(NAME);
    let stripe = Stripe::start();
    let mut server = with_plans(Server::with(&stripe.settings()));
    stripe.refuse(15);
    stripe.delay(30);
    with_key(&mut server, &stripe, &mut random, 0, 300).unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn webhook_converges_with_a_key_where_events_are_lost() {
    let mut random = Random::new(NAME);
    let stripe = Stripe::start();
    let mut server = with_plans(Server::with(&stripe.settings()));
    stripe.refuse(10);
    stripe.delay(15);
    with_key(&mut server, &stripe, &mut random, 40, 300).unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn webhook_converges_without_a_key() {
    let mut random = Random::new(NAME);
    let server = without_key();
    without(&server, &mut random).unwrap_or_else(|violation| panic!("{violation}"));
}

/// A run without a key: all events of whole histories, each once to three times, in any order.
fn without(server: &Server, random: &mut Random) -> Held {
    let histories: Vec<History> = (0..ORGANIZATIONS).map(|i| History::new(i, CHANGES, random)).collect();
    histories.iter().for_each(|history| drop(create(server, &history.key)));
    let mut on_their_way: Vec<(usize, String, Value)> = Vec::new();
    for (i, history) in histories.iter().enumerate() {
        for (change, state) in history.states.iter().enumerate() {
            let id = format!("evt_{i}_{change}");
            let made = event(&id, "customer.subscription.updated", now() - random.below(60), state);
            (0..=random.below(3)).for_each(|_| on_their_way.push((i, id.clone(), made.clone())));
        }
    }
    let client = server.stranger();
    let (mut known, mut taken) = (Vec::new(), std::collections::HashSet::new());
    known.resize_with(histories.len(), Known::default);
    while !on_their_way.is_empty() {
        let (i, id, made) = draw(random, &mut on_their_way);
        send(&client, &made).is(200);
        if taken.insert(id) {
            known[i].told(&made["data"]["object"]);
        }
    }
    let has_plan = |known: &Known| known.plan.is_some();
    let each = || histories.iter().zip(&known).filter(|(_, known)| has_plan(known));
    in_time(100, || each().try_for_each(|(history, known)| known.is_where(server, &history.key)))?;
    // What has ended stays so, whatever comes now.
    for (i, history) in histories.iter().enumerate().filter(|(i, _)| known[*i].has_ended) {
        for status in ["active", "past_due", "incomplete", "trialing"] {
            let period = (now(), now() + 30 * DAY);
            let revived = subscription(&history.key, status, "gold", period);
            send(
                &client,
                &event(&format!("evt_late_{i}_{status}"), "customer.subscription.updated", now() + 9, &revived),
            )
            .is(200);
        }
    }
    in_time(100, || {
        let waiting = server.admin().list("/v1/stripe-events?state=waiting");
        holds(NAME, waiting.is_empty(), || format!("{} events wait", waiting.len()))
    })?;
    each().try_for_each(|(history, known)| known.is_where(server, &history.key))?;
    histories.iter().try_for_each(|history| told_in_full(server, &history.key))
}

#[cfg(feature = "faults")]
#[test]
fn webhook_converges_sees_events_that_are_ordered_by_when_they_were_made() {
    let mut random = Random::new("webhook_converges_sees_events_that_are_ordered_by_when_they_were_made");
    let stripe = Stripe::start();
    let settings = [&stripe.settings()[..], &[("METERGATE_PLANTED", "webhook-by-created")]].concat();
    let mut server = with_plans(Server::with(&settings));
    let violation = with_key(&mut server, &stripe, &mut random, 0, 30).expect_err("the planted bug was not seen");
    assert_eq!(violation.invariant, NAME, "{violation}");
    assert!(violation.detail.contains("stands at"), "{violation}");
    let server = with_plans(Server::with(&[
        ("METERGATE_STRIPE_WEBHOOK_SECRET", super::SECRET),
        ("METERGATE_PLANTED", "webhook-by-created"),
    ]));
    let violation = without(&server, &mut random).expect_err("the planted bug was not seen");
    assert_eq!(violation.invariant, NAME, "{violation}");
}
