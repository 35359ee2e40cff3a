//! What stands around every page: who looks, where they are, and what was just done.

use crate::answers::{Me, Settings};

/// A place in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Place {
    Overview,
    Organizations,
    Plans,
    Meters,
    Prices,
    WhatIf,
    Webhooks,
    Audit,
    Keys,
    Settings,
    Usage,
    Billing,
    Notifications,
    OwnSettings,
    None,
}

/// A link in the navigation.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) href: String,
    pub(crate) name: String,
    pub(crate) icon: &'static str,
    pub(crate) is_current: bool,
}

/// What stands around a page.
#[derive(Clone, Debug)]
pub struct Frame {
    pub(crate) title: String,
    pub(crate) place: Place,
    /// Who looks; nobody where somebody is yet to sign in.
    pub me: Option<Me>,
    /// The organization that the page is about, where it is one of somebody's own.
    pub organization: Option<String>,
    pub(crate) team: Settings,
    /// Proves that a form was made by this server for this session.
    pub csrf: String,
    /// What was just done.
    pub toast: Option<&'static str>,
    /// The time of the answer, RFC 3339.
    pub now: String,
}

impl Frame {
    /// For whoever looks, or for nobody.
    pub fn new(me: Option<Me>, team: Settings, csrf: String, now: String) -> Self {
        let (title, place) = (String::new(), Place::None);
        Self { title, place, me, organization: None, team, csrf, toast: None, now }
    }

    /// Around a page for nobody in particular.
    pub fn nobody() -> Self {
        Self::new(None, Settings::default(), String::new(), String::new())
    }

    /// With a title, at a place.
    #[must_use]
    pub fn at(mut self, title: impl Into<String>, place: Place) -> Self {
        (self.title, self.place) = (title.into(), place);
        self
    }

    /// The team's name, else the program's.
    pub(crate) fn brand(&self) -> &str {
        self.team.team_name.as_deref().unwrap_or("Metergate")
    }

    /// Its logo, where this server has it: a page loads nothing from elsewhere.
    pub(crate) fn logo(&self) -> Option<&str> {
        self.team.logo_url.as_deref().filter(|url| url.starts_with("/assets/logo?"))
    }

    /// Whether the team has a logo, here or elsewhere.
    pub(crate) const fn has_logo(&self) -> bool {
        self.team.logo_url.is_some()
    }

    /// What whoever looks may do in an organization, of which they are a member.
    pub fn role_in(&self, organization: &str) -> Option<&str> {
        let mine =
            |membership: &&crate::answers::Membership| membership.key == organization || membership.id == organization;
        self.me.as_ref()?.organizations.iter().find(mine).map(|membership| membership.role.as_str())
    }

    pub(crate) fn is_operator(&self) -> bool {
        self.me.as_ref().is_some_and(|me| me.operator)
    }

    /// The navigation of whoever looks.
    pub(crate) fn links(&self) -> Vec<Link> {
        let link = |(href, name, icon, place): (String, &str, &'static str, Place)| Link {
            href,
            name: name.to_owned(),
            icon,
            is_current: place == self.place,
        };
        let fixed = |(href, name, icon, place): (&str, &'static str, &'static str, Place)| {
            link((href.to_owned(), name, icon, place))
        };
        let Some(me) = &self.me else { return Vec::new() };
        if me.operator && self.organization.is_none() {
            let places = [
                ("/admin", "Overview", "overview", Place::Overview),
                ("/admin/organizations", "Organizations", "organizations", Place::Organizations),
                ("/admin/plans", "Plans", "plans", Place::Plans),
                ("/admin/meters", "Meters", "meters", Place::Meters),
                ("/admin/prices", "Prices", "prices", Place::Prices),
                ("/admin/what-if", "What if", "what-if", Place::WhatIf),
                ("/admin/webhooks", "Webhooks", "webhooks", Place::Webhooks),
                ("/admin/audit", "Audit log", "audit", Place::Audit),
                ("/admin/keys", "API keys", "keys", Place::Keys),
                ("/admin/settings", "Settings", "settings", Place::Settings),
            ];
            return places.into_iter().map(fixed).collect();
        }
        let Some(organization) = &self.organization else { return Vec::new() };
        let mut links = vec![
            link((format!("/portal?org={organization}"), "Usage", "meters", Place::Usage)),
            link((format!("/portal/billing?org={organization}"), "Billing", "plans", Place::Billing)),
        ];
        if self.role_in(organization).is_some_and(|role| role != "viewer") {
            let path = format!("/portal/notifications?org={organization}");
            links.push(link((path, "Mails to you", "webhooks", Place::Notifications)));
        }
        if me.user.is_some() {
            let path = format!("/organizations/{organization}/settings");
            links.push(link((path, "Settings", "settings", Place::OwnSettings)));
        }
        links
    }

    /// Other organizations of whoever looks.
    pub(crate) fn organizations(&self) -> Vec<Link> {
        let Some(me) = &self.me else { return Vec::new() };
        let link = |membership: &crate::answers::Membership| Link {
            href: format!("/portal?org={}", membership.key),
            name: membership.name.clone(),
            icon: "organizations",
            is_current: self.organization.as_deref() == Some(&membership.key),
        };
        me.organizations.iter().map(link).collect()
    }

    /// As whom somebody is signed in.
    pub(crate) fn signed_in_as(&self) -> Option<&str> {
        let user = self.me.as_ref()?.user.as_ref()?;
        Some(&user.email)
    }
}

/// What is said of something that was done, by the word for it in the address: a page shows nothing that an address makes up.
pub fn toast(word: &str) -> Option<&'static str> {
    let said = match word {
        "created" => "Organization created",
        "reset" => "Usage reset",
        "extra" => "Extra quota set",
        "granted" => "Credit granted",
        "grant-voided" => "Grant voided",
        "plan" => "Plan changed",
        "override" => "Limit overridden",
        "override-cleared" => "Override removed",
        "locked" => "Organization locked",
        "unlocked" => "Organization unlocked",
        "linked" => "Subscription linked",
        "retried" => "The event is tried again",
        "trial" => "Trial moved",
        "cycle" => "Billing cycle updated",
        "adjusted" => "Usage corrected",
        "clock" => "Clock moved",
        "profile" => "Changes saved",
        "deleted" => "Organization deleted",
        "member-added" => "They have an account, so they are a member now: no invitation was needed",
        "invited" => "Invitation sent",
        "member" => "Member changed",
        "member-removed" => "Member removed",
        "invitation-withdrawn" => "Invitation withdrawn",
        "key-revoked" => "API key revoked",
        "resolved" => "Entry marked as resolved",
        "plan-saved" => "Plan saved as a new version",
        "plan-deleted" => "Plan deleted",
        "meter-saved" => "Meter saved",
        "meter-deleted" => "Meter deleted",
        "price-saved" => "Price saved",
        "price-removed" => "Price removed",
        "webhook-saved" => "Webhook endpoint saved",
        "webhook-enabled" => "Webhook endpoint enabled",
        "webhook-disabled" => "Webhook endpoint disabled",
        "webhook-deleted" => "Webhook endpoint deleted",
        "webhook-tested" => "A test was sent: the deliveries say what it came to",
        "webhook-resent" => "The message is sent again",
        "settings" => "Settings saved",
        "administrator-removed" => "Administrator removed",
        "signed-in" => "Signed in",
        "verified" => "Your address is confirmed",
        "reset-sent" => "If there is an account with this address, a link is on its way",
        "joined" => "You have joined",
        "portal-revoked" => "Portal link revoked",
        _ => return None,
    };
    Some(said)
}
