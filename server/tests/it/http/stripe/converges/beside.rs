//! The same of two subscriptions of one customer, of which one may end while the other lives: the organization ends where the better
//! one of those that live puts it, in whatever order it was told of the two.

use std::collections::HashSet;

use super::*;

/// Organizations in a run. What becomes of their two subscriptions goes around among four ends.
const PAIRS: usize = 24;
/// Statuses of one that lives. Which of two rules does not depend on them.
const LIVING: [&str; 5] = ["trialing", "active", "past_due", "unpaid", "paused"];

/// Two subscriptions of an organization, each after each of its changes.
struct Pair {
    key: String,
    states: [Vec<Value>; 2],
}

impl Pair {
    /// The older one is of plan silver, the younger one of plan gold, or of a price that no plan has: then the older one rules while
    /// it lives, which it does to the end.
    fn new(nth: usize, random: &mut Random) -> Self {
        let (key, began) = (format!("p-{nth}"), now() - 200 * DAY);
        let ends = [(false, true), (true, false), (false, false), (true, true)][nth % 4];
        let is_odd = !ends.0 && nth.is_multiple_of(3);
        let one = |name: &str, plan: &str, (created, is_over): (i64, bool), random: &mut Random| {
            let (mut states, mut period) = (Vec::new(), 0);
            for change in 0..CHANGES {
                period += i64::from(random.below(4) == 0);
                let is_last = change + 1 == CHANGES;
                let status = if is_last && is_over { one_of(random, &OVER) } else { one_of(random, &LIVING) };
                let start = created + period * 30 * DAY;
                let mut state = subscription(&key, status, plan, (start, start + 30 * DAY));
                state["id"] = json!(format!("sub_{key}_{name}"));
                state["created"] = json!(created);
                states.push(state);
            }
            states
        };
        let older = one("older", "silver", (began, ends.0), random);
        let younger = one("younger", if is_odd { "of_nobody" } else { "gold" }, (began + 9 * DAY, ends.1), random);
        Self { key, states: [older, younger] }
    }
}

/// What is known of one of them without a key.
#[derive(Clone, Default)]
struct Last {
    state: Option<Value>,
    /// Whether it was told of while it lived.
    lived: bool,
}

impl Last {
    /// Its end comes whenever it does, and nothing after it; an older period is late.
    fn told(&mut self, state: &Value) {
        let is_late = self.state.as_ref().is_some_and(|last| start_of(state) < start_of(last));
        let has_ended = self.state.as_ref().is_some_and(is_over);
        if !has_ended && (!is_late || is_over(state)) {
            self.lived |= !is_over(state);
            self.state = Some(state.clone());
        }
    }
}

/// Whether an organization stands where the better one of these puts it: one of a plan before one without, then the younger. Where
/// both have ended it has none any more, unless it heard of none before its end; where it must have, that is known.
fn stands(server: &Server, key: &str, known: [&Value; 2], must_have_had: bool) -> Held {
    let has_plan = |state: &Value| state["items"]["data"][0]["price"]["id"] != "price_of_nobody";
    let order = |state: &&Value| (has_plan(state), state["created"].as_i64());
    let rules = known.into_iter().filter(|state| !is_over(state)).max_by_key(order);
    let found = seen(server, key);
    let Some(rules) = rules else {
        let never_had = !must_have_had && found["subscriptionStatus"].is_null();
        let stands = json!([found["status"] == "canceled", found["plan"], found["locked"]]);
        return equal(NAME, format!("{key} stands at"), &stands, &json!([!never_had, "free", false]));
    };
    equal(NAME, format!("{key} is ruled by"), &found["subscription"], &rules["id"])?;
    let plan = if rules["id"].as_str().unwrap().ends_with("older") { "silver" } else { "gold" };
    let known = Known { last: Some(rules.clone()), plan: Some(plan.to_owned()), ..Known::default() };
    known.is_where(server, key)
}

/// Whether one of them ended while it ruled, and the other took over.
fn was_taken_over(server: &Server, key: &str) -> bool {
    let is_it = |entry: &Value| {
        let (before, after) = (&entry["before"]["subscription"], &entry["after"]["subscription"]);
        before != after && !before.is_null() && entry["after"]["endedSubscription"] == *before
    };
    entries(server, key, "webhook.state_change").iter().any(is_it)
}

/// A run: events of both on their way at once, each up to three times and in any order; with a key some are lost, too.
fn both(server: &mut Server, stripe: Option<&Stripe>, random: &mut Random, patience: usize) -> Held {
    let pairs: Vec<Pair> = (0..PAIRS).map(|nth| Pair::new(nth, random)).collect();
    pairs.iter().for_each(|pair| drop(create(server, &pair.key)));
    let mut on_their_way: Vec<(usize, usize, Value)> = Vec::new();
    let mut known: Vec<[Last; 2]> = vec![Default::default(); PAIRS];
    let (client, mut taken) = (server.stranger(), HashSet::new());
    let mut deliver = |random: &mut Random, on_their_way: &mut Vec<(usize, usize, Value)>| {
        let (nth, which, made) = draw(random, on_their_way);
        send(&client, &made).is(200);
        if taken.insert(made["id"].to_string()) {
            known[nth][which].told(&made["data"]["object"]);
        }
    };
    for change in 0..CHANGES {
        for (nth, pair) in pairs.iter().enumerate() {
            for (which, states) in pair.states.iter().enumerate() {
                let (kind, made_at) = ("customer.subscription.updated", now() - random.below(60));
                let made = match stripe {
                    Some(stripe) => {
                        stripe.put(&states[change]);
                        stripe.event(kind, made_at, &states[change])
                    }
                    None => event(&format!("evt_{nth}_{which}_{change}"), kind, made_at, &states[change]),
                };
                let is_lost = stripe.is_some() && random.below(100) < 30;
                let times = if is_lost { 0 } else { 1 + random.below(3) };
                (0..times).for_each(|_| on_their_way.push((nth, which, made.clone())));
            }
            // With a key what Stripe has by then is taken; without one all of them are mixed.
            while stripe.is_some() && on_their_way.len() > 10 {
                deliver(random, &mut on_their_way);
            }
        }
    }
    while !on_their_way.is_empty() {
        deliver(random, &mut on_their_way);
    }
    if stripe.is_some() {
        server.kill();
        server.start_again();
    }
    in_time(patience, || {
        pairs.iter().zip(&known).try_for_each(|(pair, known)| {
            let last = |which: usize| match stripe {
                Some(_) => pair.states[which].last(),
                None => known[which].state.as_ref(),
            };
            let must_have_had = stripe.is_none() && known.iter().any(|known| known.lived);
            stands(server, &pair.key, [last(0).unwrap(), last(1).unwrap()], must_have_had)
        })
    })?;
    let reached = pairs.iter().filter(|pair| was_taken_over(server, &pair.key)).count();
    holds(NAME, reached > 0, || "no subscription took over from another".to_owned())?;
    pairs.iter().try_for_each(|pair| told_in_full(server, &pair.key))
}

#[test]
fn webhook_converges_with_two_subscriptions_of_a_customer() {
    let mut random = Random::new(NAME);
    let mut server = without_key();
    both(&mut server, None, &mut random, 100).unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn webhook_converges_with_two_subscriptions_of_a_customer_and_a_key() {
    let mut random = Random::new(NAME);
    let stripe = Stripe::start();
    let mut server = with_plans(Server::with(&stripe.settings()));
    stripe.refuse(10);
    stripe.delay(15);
    both(&mut server, Some(&stripe), &mut random, 300).unwrap_or_else(|violation| panic!("{violation}"));
}
