//! What can stand as an entry's action and category: Metergate's own, and the application's.

/// Metergate's own actions, each with the other name under which it is shown and found, where it has one.
const OWN: [(&str, &str); 39] = [
    ("organization.create", ""),
    ("organization.update", ""),
    ("organization.delete", ""),
    ("trial.start", ""),
    ("trial.extend", ""),
    ("trial.end", ""),
    ("plan.change", "plan_change"),
    ("limit.change", "limit_change"),
    ("quota.grant", "limit_change"),
    ("credit.grant", "credit_grant"),
    ("credit.void", "credit_void"),
    ("usage.reset", "usage_reset"),
    ("usage.adjust", "usage_adjust"),
    ("usage.void", "usage_void"),
    ("billing.lock", ""),
    ("billing.unlock", ""),
    ("billing.cycle", ""),
    ("webhook.state_change", ""),
    ("subscription.link", ""),
    ("member.add", ""),
    ("member.change", ""),
    ("member.remove", ""),
    ("member.invite", ""),
    ("session.sign_in", ""),
    ("session.sign_in_failed", ""),
    ("session.sign_out", ""),
    ("key.create", ""),
    ("key.rotate", ""),
    ("key.revoke", ""),
    ("portal.link", ""),
    ("catalog.apply", ""),
    ("meter.change", ""),
    ("price.change", ""),
    ("endpoint.change", ""),
    ("setting.change", ""),
    ("clock.move", ""),
    ("backup.create", ""),
    (RESOLVE, ""),
    (CHECKPOINT, ""),
];

/// The action that marks another entry as dealt with.
pub const RESOLVE: &str = "audit.resolve";

/// The action by which the team's chain holds the ends of others.
pub const CHECKPOINT: &str = "audit.checkpoint";

/// The categories of the application's own entries.
pub const CATEGORIES: [&str; 10] =
    ["trial", "quota", "billing", "usage", "knowledge_base", "chat", "config", "auth", "webhook", "error"];

/// The longest action of the application's own, in bytes.
pub const LONGEST: usize = 128;

/// Metergate's own actions.
pub fn own() -> impl Iterator<Item = &'static str> {
    OWN.iter().map(|(own, _)| *own)
}

/// Whether this is an action of Metergate's own, under either name and in whatever case: nobody else may write it.
pub fn is_own(action: &str) -> bool {
    let names = OWN.iter().flat_map(|(own, other)| [own, other]);
    names.filter(|name| !name.is_empty()).any(|name| name.eq_ignore_ascii_case(action))
}

/// Whether the application may name an action so: 1 to [`LONGEST`] letters, digits, `.`, `_`, `:` and `-`.
pub fn is_name(action: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=LONGEST).contains(&action.len()) && action.bytes().all(allowed)
}

/// Whether somebody who asks for `asked` means this action: by its name, or by the other one, which may stand for several.
pub fn is_meant(action: &str, asked: &str) -> bool {
    action == asked || OWN.iter().any(|(own, other)| *own == action && *other == asked && !asked.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_an_action_are_metergates_own() {
        for own in ["plan.change", "plan_change", "Plan_Change", "usage_void", "audit.resolve", "backup.create"] {
            assert!(is_own(own), "{own}");
        }
        for free in ["", "plan", "plan.changed", "document.upload", "trial.reminded"] {
            assert!(!is_own(free), "{free}");
        }
    }

    #[test]
    fn the_other_name_may_stand_for_several_actions() {
        let found = |asked: &str| -> Vec<&str> {
            OWN.iter().map(|(own, _)| *own).filter(|action| is_meant(action, asked)).collect()
        };
        assert_eq!(found("limit_change"), ["limit.change", "quota.grant"]);
        assert_eq!(found("plan_change"), ["plan.change"]);
        assert_eq!(found("limit.change"), ["limit.change"]);
        assert!(found("").is_empty() && found("plan.chang").is_empty());
        assert!(is_meant("document.upload", "document.upload"));
    }

    #[test]
    fn an_action_has_a_bounded_plain_name() {
        let long = "a".repeat(LONGEST);
        for good in ["a", "document.upload", "kb:sync_2-b", long.as_str()] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a b", "ä", "a/b", "a\n", &format!("{long}a")] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
