//! Answers as short text, for tables.

use std::fmt::Write;

use metergate_rules::grant::Grant;
use metergate_rules::outcome::{LimitState, Reply, Verdict};
use metergate_rules::window::Window;

use super::World;

/// `ok day 3/5, period 3+2/10`: used, what reservations hold, and limit. What is left is shown only where the base is overdrawn.
pub(crate) fn verdict(verdict: &Verdict) -> String {
    let limits: Vec<String> = verdict.limits.iter().map(limit).collect();
    let reason = verdict.reason.map_or("ok", |reason| reason.as_str());
    let mut text = format!("{reason} {}", limits.join(", ")).trim_end().to_owned();
    if !verdict.overage.is_zero() {
        write!(text, " over {}", verdict.overage.units()).unwrap();
    }
    text
}

fn limit(state: &LimitState) -> String {
    let held = if state.held.is_zero() { String::new() } else { format!("+{}", state.held.units()) };
    let mut text = format!("{} {}{held}/{}", name(state.window), state.used.units(), state.limit.units());
    if state.limit.minus(state.used).minus(state.held) != state.remaining || state.used > state.limit {
        write!(text, " left {}", state.remaining.units()).unwrap();
    }
    text
}

pub(crate) fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Decided(verdicts) => verdicts.iter().map(verdict).collect::<Vec<_>>().join(" & "),
        Reply::Granted(id) => format!("grant {}", id.0),
        Reply::Recorded | Reply::Completed { .. } | Reply::Done => "done".to_owned(),
        Reply::Reserved(reserved) => match &reserved.reservation {
            Some(held) => format!("{} {}: {}", reserved.state.as_str(), held.id.0, verdict(&reserved.verdict)),
            None => verdict(&reserved.verdict),
        },
    }
}

/// The short name of a window in scripts.
pub(crate) const fn name(window: Window) -> &'static str {
    match window {
        Window::BillingPeriod => "period",
        Window::Lifetime => "life",
        other => other.as_str(),
    }
}

/// D6: limit − used − held = remaining, unless the base is overdrawn.
pub(crate) fn assert_adds_up(verdict: &Verdict) {
    for state in &verdict.limits {
        let (limit, used) = (i128::from(state.limit.units()), i128::from(state.used.units()));
        let (held, left) = (i128::from(state.held.units()), i128::from(state.remaining.units()));
        assert!(limit - used - held <= left, "more is shown than is left: {state:?}");
        assert!(verdict.reason.is_some() || !state.violated, "allowed, and yet a limit is passed: {verdict:?}");
    }
}

/// Every grant as `used/amount`, in order of creation.
pub(crate) fn grants(world: &World) -> String {
    let shown = |grant: &Grant| format!("{}/{}", grant.used.units(), grant.amount.units());
    world.settled().grants.iter().map(shown).collect::<Vec<_>>().join(" ")
}
