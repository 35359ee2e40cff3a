//! The answer in a few sentences.

use metergate_rules::period::date_of;
use metergate_rules::time::Time;

use super::body::dollars;
use super::{AsItWas, Found, Question};

/// The answer as one says it.
pub(super) fn summary(question: &Question, found: &Found) -> String {
    let (tally, guessed) = (&found.exact, found.guessed.counts.refused);
    let date = |time: Time| date_of(time, &question.zone);
    // The last day is the one that the last instant lies in.
    let span = format!("between {} and {}", date(question.from), date(question.to.plus(-1)));
    let span = if question.is_last_month { format!("last month, {span}") } else { span };
    let mut said = match (tally.counts.refused, guessed) {
        (0, 0) => format!("This would have refused nothing that was allowed {span}."),
        (0, _) => format!("This would have refused no request that is on record {span}."),
        (refused, _) => {
            let organizations = count(found.refusing, "organization");
            let least = if found.unreplayed > 0 { "at least " } else { "" };
            format!("This would have refused {least}{} of {organizations} {span}.", count(refused, "request"))
        }
    };
    if found.unreplayed > 0 {
        let all = found.replayed.saturating_add(found.failed).saturating_add(found.unreplayed);
        said.push_str(&format!(
            " Only {} of about {all} organizations were replayed in the time that was given: it may be more.",
            found.replayed
        ));
    }
    if let Some(until) = found.until {
        said.push_str(&format!(
            " Until {} raw records are gone: about {} more would have been refused then, as is estimated from sums.",
            date(until),
            count(guessed, "request")
        ));
    }
    if tally.counts.allowed > 0 {
        said.push_str(&format!(" It would have allowed {} that were refused.", count(tally.counts.allowed, "request")));
    }
    if tally.beyond > tally.beyond_before {
        let (events, before) = (count(tally.beyond, "recorded event"), tally.beyond_before);
        said.push_str(&format!(
            " {events} would have gone beyond a limit, where {before} did; what has happened is never refused."
        ));
    }
    said.push_str(&told_late(found, date));
    if let Some(sentence) = costs(question, found) {
        said.push_str(&sentence);
    }
    if let Some(sentence) = AsItWas::sentence(&found.as_it_was.iter().copied().collect::<Vec<_>>()) {
        said.push(' ');
        said.push_str(&sentence);
    }
    if found.failed > 0 {
        said.push_str(&format!(" Of {} it cannot be said: the log says why.", count(found.failed, "organization")));
    }
    said
}

/// What no limit was asked about, since it was told late.
fn told_late(found: &Found, date: impl Fn(Time) -> metergate_rules::period::Date) -> String {
    let late = &found.late;
    let mut said = String::new();
    if late.facts > 0 {
        let facts = count(late.facts, "event");
        said.push_str(&format!(
            " {facts} of that time came too late for any limit to be asked about them, as an import's do: in time, about {} would have gone beyond a limit.",
            late.beyond
        ));
    }
    if let Some((first, last)) = late.earlier_span {
        let (events, first, last) = (count(late.earlier, "event"), date(first), date(last));
        let days = if first == last { format!("on {first}") } else { format!("between {first} and {last}") };
        said.push_str(&format!(
            " {events} that came then had happened before, {days}: no limit was asked about them here, ask about that time."
        ));
    }
    said
}

/// What calls of language models would have cost, where that is more than they did, or prices are changed.
fn costs(question: &Question, found: &Found) -> Option<String> {
    let charged = found.exact.charged;
    if charged.is <= charged.was && !(question.prices_anew && charged.is != charged.was) {
        return None;
    }
    let shown = |units: i128| dollars(question, units).map(|number| number.to_string());
    let (is, was) = (shown(charged.is)?, shown(charged.was)?);
    let organizations = count(found.charged_otherwise, "organization");
    let what = "would have been charged otherwise for language models";
    Some(format!(" {organizations} {what}: {is} US dollars in all instead of {was}."))
}

/// Such as `1 request`, `2 requests`.
fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
