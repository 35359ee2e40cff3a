//! Portals: made by the application, opened once, closed.

use metergate_rules::audit::Fields;

use super::{Changing, PeopleReply, conflict, spent, unknown};
use crate::people::PersonRow;
use crate::people::portal::{PORTAL_SESSION, Portal, PortalId, Stage};
use crate::people::token::TokenHash;
use crate::store::StoreError;

/// Portals of an organization at most that are in force.
const MOST_PORTALS: usize = 10_000;

impl Changing {
    /// Those of the organization that are over go.
    pub(super) fn make_portal(&mut self, asked: &Portal) -> Result<PeopleReply, StoreError> {
        let portal = Portal { organization: self.organization()?, ..*asked };
        if portal.role(&self.people).is_none() {
            let detail = "#/member: Name somebody who is an active member of the organization.".to_owned();
            return Err(StoreError::Catalogue { code: "validation", status: 422, detail });
        }
        let all: Vec<Portal> = self.people.portals_of(portal.organization).copied().collect();
        let (over, living): (Vec<_>, Vec<_>) = all.into_iter().partition(|old| old.expires_at <= self.now);
        over.iter().for_each(|old| self.put(PersonRow::PortalGone(old.token)));
        if living.len() >= MOST_PORTALS {
            return conflict(
                "too-many-portal-sessions",
                "As many portal sessions of the organization are open as may be.",
            );
        }
        self.put(PersonRow::Portal(portal));
        self.note("portal.link", Fields::default(), fields(&portal));
        Ok(PeopleReply::Portal(portal))
    }

    /// The row of the link goes in the commit in which that of the session comes: of two who open it, one finds it.
    pub(super) fn open_portal(&mut self, link: TokenHash, session: TokenHash) -> Result<PeopleReply, StoreError> {
        let (portal, _) = self.people.portal(&link, Stage::Link, self.now).ok_or_else(spent)?;
        let expires_at = self.now.plus(PORTAL_SESSION);
        let opened = Portal { token: session, stage: Stage::Session, expires_at, ..*portal };
        self.put(PersonRow::PortalGone(link));
        self.put(PersonRow::Portal(opened));
        self.organization = Some(opened.organization);
        self.note("session.sign_in", Fields::default(), fields(&opened));
        Ok(PeopleReply::Portal(opened))
    }

    pub(super) fn close_portal(&mut self, id: PortalId) -> Result<PeopleReply, StoreError> {
        let organization = self.organization()?;
        let portal = self.people.portals_of(organization).find(|portal| portal.id == id).copied();
        let portal = portal.ok_or_else(unknown)?;
        self.put(PersonRow::PortalGone(portal.token));
        self.note("portal.link", fields(&portal), Fields::default());
        Ok(PeopleReply::Done)
    }
}

fn fields(portal: &Portal) -> Fields {
    Fields::default()
        .with("portalSession", portal.id.to_string())
        .with("member", portal.member.map(|user| user.to_string()))
        .with("expiresAt", portal.expires_at)
}
