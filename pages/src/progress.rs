//! How far a limit is used: a bar with its parts apart, and always the same in words.

use serde::Deserialize;

use crate::format::{Amount, Markup, escape};

/// Pixels: the bar's height, and the band within it that is reserved.
const HEIGHT: i128 = 10;
const HELD_AT: i128 = 3;
const HELD_HEIGHT: i128 = 4;
/// Per cent of a limit from which it is near.
const NEAR: u32 = 80;

/// One limit of an organization and where it stands, as the API says it: a `MeterStanding` of `/entitlements` and `/usage`,
/// or a `QuotaLimit` of `/quota`, each asked with `?numbers=string`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The meter's key.
    pub meter: String,
    /// `minute`, `hour`, `day`, `month`, `billingPeriod` or `lifetime`.
    pub window: String,
    /// All use in the window.
    pub used: Amount,
    /// What reservations hold.
    pub held: Amount,
    /// What was used beyond the limit; where the API does not say it, what is used above it.
    #[serde(default)]
    pub overage: Option<Amount>,
    /// What override or plan allow; `None` where nothing limits the window.
    #[serde(default)]
    pub base: Option<Amount>,
    /// The standing addition.
    pub extra: Amount,
    /// What grants gave and can still give.
    pub granted: Amount,
    /// The limit with extra quota and credits.
    #[serde(default)]
    pub limit: Option<Amount>,
    /// What may still be used.
    #[serde(default)]
    pub remaining: Option<Amount>,
    /// Whether it never refuses.
    pub unlimited: bool,
    /// Whether the plan lets the organization use the meter at all.
    #[serde(default = "entitled")]
    pub entitled: bool,
}

/// A limit in force is one of a meter that may be used.
const fn entitled() -> bool {
    true
}

/// A standing with the names that people know it by.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Where the limit stands.
    pub standing: &'a Standing,
    /// The meter's name.
    pub name: &'a str,
    /// The meter's unit, in the singular.
    pub unit: &'a str,
    /// Whether the meter is a level, such as bytes stored: those are "in use" and not "used".
    pub is_level: bool,
    /// Whether it counts distinct values, such as people: those are "seen".
    pub is_distinct: bool,
}

/// How close a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closeness {
    Far,
    Near,
    Full,
    Over,
}

impl Progress<'_> {
    /// Name, bar and words.
    pub fn markup(&self) -> Markup {
        let (name, window) = (escape(self.name), self.window());
        let body = if self.standing.entitled { self.body() } else { self.not_entitled() };
        let (class, state) = self.state();
        let meter = escape(&self.standing.meter);
        Markup::of(format!(
            r#"<div class="meter {class}" data-meter="{meter}"><p class="meter-head"><span class="meter-name">{name}</span> <span class="meter-window">{window}</span> <span class="meter-state">{state}</span></p>{body}</div>"#
        ))
    }

    fn window(&self) -> String {
        match self.standing.window.as_str() {
            _ if self.is_level => "now".to_owned(),
            "minute" => "this minute".to_owned(),
            "hour" => "this hour".to_owned(),
            "day" => "today".to_owned(),
            "month" => "this month".to_owned(),
            "billingPeriod" => "this billing period".to_owned(),
            "lifetime" => "in all".to_owned(),
            other => escape(other),
        }
    }

    /// The class of the whole and what it says in words.
    fn state(&self) -> (&'static str, String) {
        if !self.standing.entitled {
            return ("is-absent", "not in this plan".to_owned());
        }
        let Some(limit) = self.limit() else { return ("is-unlimited", "unlimited".to_owned()) };
        let percent = self.standing.used.percent_of(limit);
        match self.closeness(limit) {
            Closeness::Far => ("is-far", format!("{percent}%")),
            Closeness::Near => ("is-near", format!("{percent}%, near the limit")),
            Closeness::Full if self.standing.used < limit => ("is-full", format!("{percent}%, the rest is reserved")),
            Closeness::Full => ("is-full", format!("{percent}%, limit reached")),
            Closeness::Over => ("is-full is-over", format!("{percent}%, over the limit")),
        }
    }

    fn limit(&self) -> Option<Amount> {
        self.standing.limit.filter(|_| !self.standing.unlimited)
    }

    fn closeness(&self, limit: Amount) -> Closeness {
        if self.overage(limit) > Amount::ZERO {
            Closeness::Over
        } else if self.standing.used >= limit || self.standing.remaining == Some(Amount::ZERO) {
            Closeness::Full
        } else if self.standing.used.percent_of(limit) >= NEAR {
            Closeness::Near
        } else {
            Closeness::Far
        }
    }

    fn overage(&self, limit: Amount) -> Amount {
        self.standing.overage.unwrap_or_else(|| self.standing.used.minus(limit).max(Amount::ZERO))
    }

    fn not_entitled(&self) -> String {
        let used = self.standing.used;
        if used.is_zero() {
            return String::new();
        }
        format!(r#"<p class="meter-text">{}</p>"#, escape(&format!("{} {}", used.in_unit(self.unit), self.verb())))
    }

    const fn verb(&self) -> &'static str {
        match (self.is_level, self.is_distinct) {
            (true, _) => "in use",
            (_, true) => "seen",
            _ => "used",
        }
    }

    fn body(&self) -> String {
        let text = escape(&self.text());
        match self.limit() {
            None => format!(r#"<p class="meter-text">{text}</p>"#),
            Some(limit) => format!(r#"{}<p class="meter-text">{text}</p>{}"#, self.bar(limit), self.parts()),
        }
    }

    /// "8,200 of 12,500 messages used, 300 reserved, 4,000 left".
    fn text(&self) -> String {
        let (standing, unit) = (self.standing, self.unit);
        let mut text = match self.limit() {
            None => format!("{} {}", standing.used.in_unit(unit), self.verb()),
            Some(limit) => format!("{} of {} {}", standing.used.bare(unit), limit.in_unit(unit), self.verb()),
        };
        if !standing.held.is_zero() {
            text.push_str(&format!(", {} reserved", standing.held.bare(unit)));
        }
        let Some(limit) = self.limit() else { return text };
        let overage = self.overage(limit);
        if overage > Amount::ZERO {
            text.push_str(&format!(", {} over the limit", overage.bare(unit)));
        }
        match standing.remaining {
            Some(left) if left > Amount::ZERO => text.push_str(&format!(", {} left", left.bare(unit))),
            Some(_) if overage.is_zero() => text.push_str(", nothing left"),
            _ => {}
        }
        text
    }

    /// "10,000 plan + 2,000 extra + 500 credits"; nothing where the plan is all there is.
    fn parts(&self) -> String {
        let Standing { base, extra, granted, .. } = self.standing;
        if extra.is_zero() && granted.is_zero() {
            return String::new();
        }
        let part = |class: &str, amount: Amount, name: &str| {
            format!(r#"<span class="part {class}">{} {name}</span>"#, escape(&amount.bare(self.unit)))
        };
        let mut parts = vec![part("plan", base.unwrap_or_default(), "plan")];
        parts.extend((!extra.is_zero()).then(|| part("extra", *extra, "extra")));
        parts.extend((!granted.is_zero()).then(|| part("credits", *granted, "credits")));
        format!(r#"<p class="meter-parts">{}</p>"#, parts.join(" + "))
    }

    /// What may be used in its parts, and over it what was used, what is reserved and what is too much.
    fn bar(&self, limit: Amount) -> String {
        let standing = self.standing;
        let used = standing.used.max(Amount::ZERO);
        let scale = Across { whole: limit.max(used.plus(standing.held)) };
        let plan = standing.base.unwrap_or(limit).min(limit);
        let with_extra = plan.plus(standing.extra).min(limit);
        let mut shapes = scale.band("plan", Amount::ZERO, plan, 0, HEIGHT);
        shapes.push_str(&scale.band("extra", plan, with_extra, 0, HEIGHT));
        shapes.push_str(&scale.band("credits", with_extra, limit, 0, HEIGHT));
        shapes.push_str(&scale.band("used", Amount::ZERO, used.min(limit), 0, HEIGHT));
        shapes.push_str(&scale.band("over", limit, used, 0, HEIGHT));
        shapes.push_str(&scale.band("held", used, used.plus(standing.held), HELD_AT, HELD_HEIGHT));
        for edge in [plan, with_extra, limit] {
            shapes.push_str(&scale.edge(edge));
        }
        let label = escape(&format!("{}, {}", self.name, self.window()));
        let state = escape(&self.state().1);
        let drawing =
            format!(r#"<svg class="meter-bar" width="100%" height="{HEIGHT}" aria-hidden="true">{shapes}</svg>"#);
        if limit <= Amount::ZERO {
            // A meter from nothing to nothing has no place for its value.
            return format!(r#"<div role="img" aria-label="{label}: {state}">{drawing}</div>"#);
        }
        format!(
            r#"<div role="meter" aria-label="{label}" aria-valuemin="0" aria-valuemax="{}" aria-valuenow="{}" aria-valuetext="{state}">{drawing}</div>"#,
            limit.plain(),
            used.min(limit).plain(),
        )
    }
}

/// The bar's width as an amount.
struct Across {
    whole: Amount,
}

impl Across {
    /// Where an amount is, in thousandths of a per cent.
    fn at(&self, amount: Amount) -> i128 {
        amount.billionths() * 100_000 / self.whole.billionths().max(1)
    }

    /// A rectangle between two amounts; none where they are the same.
    fn band(&self, class: &str, from: Amount, to: Amount, y: i128, height: i128) -> String {
        if to <= from {
            return String::new();
        }
        let (x, end) = (self.at(from), self.at(to));
        let (x, width) = (per_cent(x), per_cent((end - x).max(1)));
        format!(r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}"/>"#)
    }

    /// A mark at an amount that is neither the beginning nor the end.
    fn edge(&self, amount: Amount) -> String {
        if amount <= Amount::ZERO || amount >= self.whole {
            return String::new();
        }
        let x = per_cent(self.at(amount));
        format!(r#"<line class="edge" x1="{x}" x2="{x}" y1="0" y2="{HEIGHT}"/>"#)
    }
}

fn per_cent(thousandths: i128) -> String {
    crate::chart::share(thousandths, 100_000)
}

#[cfg(test)]
mod tests;
