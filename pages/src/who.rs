//! Who did something to what, as people know them: the audit log names users by their ids and plans and meters by their keys, which
//! never change and say nothing to anybody. Whoever reads a log may see some of them by name; of the others the id is all there is.

use std::collections::BTreeMap;

use crate::answers::{AuditEntry, Member, Meter, Organization, Plan, User, WebhookEndpoint, name_of, unit_of};

/// What the audit log writes before the id of a user.
const USER: &str = "user:";
/// The beginning of an id that is enough to tell people apart by eye: its last part, since ids begin with their time.
const SHORT: usize = 8;

/// Users by their ids, with names and addresses; what else entries name, by its key.
#[derive(Clone, Debug, Default)]
pub struct Names {
    users: BTreeMap<String, (String, String)>,
    meters: Vec<Meter>,
    plans: BTreeMap<String, String>,
    endpoints: BTreeMap<String, String>,
    organizations: BTreeMap<String, String>,
}

impl Names {
    /// With users.
    #[must_use]
    pub fn with_users<'a>(mut self, users: impl IntoIterator<Item = &'a User>) -> Self {
        self.users.extend(users.into_iter().map(|user| (user.id.clone(), (user.name.clone(), user.email.clone()))));
        self
    }

    /// With a member of an organization.
    #[must_use]
    pub fn with_member(mut self, member: &Member) -> Self {
        self.users.insert(member.id.clone(), (member.name.clone(), member.email.clone()));
        self
    }

    /// With meters.
    #[must_use]
    pub fn with_meters(mut self, meters: Vec<Meter>) -> Self {
        self.meters = meters;
        self
    }

    /// With all plans.
    #[must_use]
    pub fn with_plans(mut self, plans: &[Plan]) -> Self {
        self.plans.extend(plans.iter().map(|plan| (plan.key.clone(), plan.title().to_owned())));
        self
    }

    /// With one plan, by its key.
    #[must_use]
    pub fn with_plan(mut self, key: &str, name: &str) -> Self {
        self.plans.insert(key.to_owned(), name.to_owned());
        self
    }

    /// With the plans that entries of the log name, as these say what they are called.
    #[must_use]
    pub fn with_plans_of(mut self, entries: &[AuditEntry]) -> Self {
        let named = entries.iter().flat_map(|entry| &entry.plan_names);
        self.plans.extend(named.map(|(key, name)| (key.clone(), name.clone())));
        self
    }

    /// With webhook endpoints.
    #[must_use]
    pub fn with_endpoints(mut self, endpoints: &[WebhookEndpoint]) -> Self {
        self.endpoints.extend(endpoints.iter().map(|one| (one.id.clone(), one.name().to_owned())));
        self
    }

    /// With an organization, by its id.
    #[must_use]
    pub fn with_organization(mut self, organization: &Organization) -> Self {
        self.organizations.insert(organization.id.clone(), organization.name.clone());
        self
    }

    /// An organization's name; its id where it is not known.
    pub(crate) fn organization<'a>(&'a self, id: &'a str) -> &'a str {
        self.organizations.get(id).map_or(id, String::as_str)
    }

    /// A meter's name; its key where it is not known.
    pub(crate) fn meter<'a>(&'a self, key: &'a str) -> &'a str {
        name_of(&self.meters, key)
    }

    /// What a meter counts, in the singular; nothing where it is not known.
    pub(crate) fn unit(&self, meter: &str) -> &str {
        unit_of(&self.meters, meter)
    }

    /// Whether a meter is a level, which stands and is not counted.
    pub(crate) fn is_level(&self, meter: &str) -> bool {
        self.meters.iter().any(|known| known.key == meter && known.aggregation == "last")
    }

    /// A plan's name; its key where it is not known.
    pub(crate) fn plan<'a>(&'a self, key: &'a str) -> &'a str {
        self.plans.get(key).map_or(key, String::as_str)
    }

    /// What the team calls a webhook endpoint; its id where it is gone.
    pub(crate) fn endpoint<'a>(&'a self, id: &'a str) -> &'a str {
        self.endpoints.get(id).map_or(id, String::as_str)
    }

    /// A user by their id, in one line.
    pub(crate) fn user(&self, id: &str) -> String {
        self.name(&format!("{USER}{id}"))
    }

    /// The ids among actors of which nothing is known yet, each once.
    pub fn unknown<'a>(&self, actors: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let ids = actors.into_iter().filter_map(|actor| actor.strip_prefix(USER));
        let unknown: std::collections::BTreeSet<_> = ids.filter(|id| !self.users.contains_key(*id)).collect();
        unknown.into_iter().map(str::to_owned).collect()
    }

    /// The actor of an address, where somebody with it is known.
    pub fn actor_of(&self, email: &str) -> Option<String> {
        let found = self.users.iter().find(|(_, (_, known))| known.eq_ignore_ascii_case(email.trim()));
        found.map(|(id, _)| format!("{USER}{id}"))
    }

    /// An actor in one line.
    pub(crate) fn name(&self, actor: &str) -> String {
        self.words(actor).0
    }

    /// A name, and what more there is to say of who has it.
    pub(crate) fn words(&self, actor: &str) -> (String, String) {
        let (kind, id) = actor.split_once(':').unwrap_or(("", actor));
        match (kind, self.users.get(id)) {
            ("user", Some((name, email))) if name.is_empty() || name == email => (email.clone(), String::new()),
            ("user", Some((name, email))) => (name.clone(), email.clone()),
            ("user", None) => (format!("User …{}", end(id)), "not among those you see".to_owned()),
            ("key", _) => (id.to_owned(), "API key".to_owned()),
            ("portal", _) => ("Portal link".to_owned(), format!("…{}", end(id))),
            _ if actor == "anonymous" => ("Somebody".to_owned(), "not signed in".to_owned()),
            _ if actor == "stripe" => ("Stripe".to_owned(), String::new()),
            _ if actor == "redacted" => ("Somebody".to_owned(), "forgotten with the organization".to_owned()),
            _ if actor == "system" => ("Metergate".to_owned(), "by itself".to_owned()),
            _ => (actor.to_owned(), String::new()),
        }
    }
}

fn end(id: &str) -> &str {
    let at = id.char_indices().rev().nth(SHORT - 1).map_or(0, |(at, _)| at);
    &id[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let user = |id: &str, name: &str, email: &str| User {
            id: id.to_owned(),
            email: email.to_owned(),
            email_verified: true,
            name: name.to_owned(),
            created_at: String::new(),
        };
        let users = [user("0190-1", "Ada <L>", "ada@example.com"), user("0190-2", "", "eve@example.com")];
        Names::default().with_users(&users)
    }

    #[test]
    fn an_actor_is_shown_by_name_with_what_more_there_is_to_say() {
        #[rustfmt::skip]
        let cases = [ // actor, name, more
            ("user:0190-1", "Ada <L>", "ada@example.com"),
            ("user:0190-2", "eve@example.com", ""),
            ("user:0190-aaaa-bbbbbbbb1234", "User …bbbb1234", "not among those you see"),
            ("key:billing job", "billing job", "API key"),
            ("portal:ps_1", "Portal link", "…ps_1"),
            ("system", "Metergate", "by itself"),
            ("anonymous", "Somebody", "not signed in"),
            ("stripe", "Stripe", ""),
            ("sweep", "sweep", ""),
            ("user:größe-größe", "User …ße-größe", "not among those you see"),
        ];
        for (actor, name, more) in cases {
            assert_eq!(names().words(actor), (name.to_owned(), more.to_owned()), "{actor}");
        }
    }

    #[test]
    fn each_unknown_user_is_asked_for_once_and_an_address_stands_for_its_user() {
        let actors = ["user:b", "system", "user:0190-1", "user:a", "user:b", "key:user:c"];
        assert_eq!(names().unknown(actors), ["a", "b"]);
        assert_eq!(names().actor_of(" Eve@example.com").as_deref(), Some("user:0190-2"));
        assert_eq!(names().actor_of("nobody@example.com"), None);
    }
}
