//! Changes of people: alone in their commit, with the organization that comes of them, then in force everywhere.

use std::sync::Arc;

use metergate_rules::account::Profile;
use metergate_rules::audit::Fields;
use metergate_rules::command::NewOrganization;
use metergate_rules::decide::Problem;
use metergate_rules::id::{OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::period::Zone;
use metergate_rules::role::Role;

use super::alone::{Alone, Force};
use super::audit::{TEAM, chain_of};
use super::batch::{Batch, Stop};
use super::decided::Decided;
use super::{Answer, Caller, KeptAnswer, StoreError};
use crate::catalogue::change::{Ended, end_made_by};
use crate::catalogue::{SIGN_UP_PLAN, Snapshot};
use crate::hex::hex;
use crate::people::change::{
    Ground, Joins, PeopleAfter, PeopleCommand, PeopleOutcome, PeopleReply, PeopleRequest, Wish, WishedKey, decide,
};
use crate::people::portal::Stage;
use crate::people::{Opens, People, User, UserId};

/// Why keys end whose maker is not whose address it is.
const TAKEN_OVER: &str = "made before the address of its maker was known to be theirs";

/// Decides a change of people.
pub(super) fn decide_people(mut batch: Batch<'_>, request: &PeopleRequest) -> Result<Alone, Stop> {
    match batch.decide_people(request)? {
        Known::Before(answer) => Ok(Alone::Before(answer)),
        Known::Not(outcome, ended, answer) => {
            let mut decided = Decided::of(batch);
            decided.people = outcome.rows;
            let mut force = Force { people: Some(outcome.people), ..Force::default() };
            if let Some(ended) = ended {
                let Ended { rows, stored, .. } = *ended;
                decided.team = rows;
                force.catalogue = Some(Snapshot::new(stored).map_err(|_| StoreError::Internal)?);
            }
            Ok(Alone::now(decided, force, answer))
        }
    }
}

/// Whether a change was made before under its key.
enum Known {
    Before(Answer),
    Not(Box<PeopleOutcome>, Option<Box<Ended>>, Answer),
}

impl Batch<'_> {
    fn decide_people(&mut self, request: &PeopleRequest) -> Result<Known, Stop> {
        let existing = self.concerned(request)?;
        let scope = match &request.command {
            // A link is used up when the call is repeated: it tells the organization no more.
            PeopleCommand::Accept(..) | PeopleCommand::Register(..) => TEAM,
            _ => existing.map_or(TEAM, chain_of),
        };
        if let Some(answer) = self.kept(scope, request.receipt.as_ref())? {
            return Ok(Known::Before(answer));
        }
        let organization = match (&request.command, existing) {
            (PeopleCommand::Register(user, Joins::New(wish), ..), _) => Some(self.found(request, wish, Some(user))?),
            (PeopleCommand::Found(user, wish), _) => {
                let user = self.ledger.people.user(*user).cloned();
                Some(self.found(request, wish, user.as_ref())?)
            }
            (_, existing) => existing,
        };
        let people = Arc::clone(&self.ledger.people);
        let role = organization.and_then(|organization| request.caller.scope.role(organization, &people));
        let (role, mails) = (role.unwrap_or(Role::Owner), self.settings.mails);
        let (by, actor) = (request.caller.scope.member(), &request.caller.actor);
        let ground = Ground { people: &people, organization, role, by, actor, now: self.now, mails };
        let outcome = decide(&ground, &request.command)?;
        for (chain, draft) in &outcome.audit {
            self.append_audit(*chain, draft, &request.caller.actor, &request.reason)?;
        }
        let ended = outcome.taken_over.map(|user| self.end_keys(user, &request.caller.actor)).transpose()?;
        let answer = self.answer_people(request, organization, scope, &outcome.people, &outcome.reply)?;
        Ok(Known::Not(Box::new(outcome), ended, answer))
    }

    /// The keys of somebody whose account was taken over, each noted where it was bound to.
    fn end_keys(&mut self, user: UserId, actor: &str) -> Result<Box<Ended>, Stop> {
        let ended = end_made_by(&self.ledger.catalogue, &user.actor(), self.now)?;
        for (organization, draft) in &ended.audit {
            self.append_audit(organization.map_or(TEAM, chain_of), draft, actor, TAKEN_OVER)?;
        }
        Ok(Box::new(ended))
    }

    /// The organization that a command names, or that a link leads to.
    fn concerned(&mut self, request: &PeopleRequest) -> Result<Option<OrganizationId>, Stop> {
        use PeopleCommand::{
            Accept, AddMember, ChangeMember, ChooseMails, ClosePortal, Invite, InviteAgain, MakePortal, OpenPortal,
            RefuseMails, Register, RemoveMember, Withdraw,
        };
        match &request.command {
            AddMember(organization, ..)
            | ChangeMember(organization, ..)
            | ChooseMails(organization, ..)
            | RemoveMember(organization, _)
            | Invite(organization, ..)
            | InviteAgain(organization, ..)
            | Withdraw(organization, _)
            | MakePortal(organization, _)
            | ClosePortal(organization, _) => Ok(Some(self.admitted(&request.caller, organization)?)),
            // By a link that the server has made for this organization.
            RefuseMails(of) => Ok(self.resolve(&OrganizationRef::Id(of.organization))?),
            Accept(link, _) | Register(_, Joins::Invitation(link), ..) => {
                let link = self.ledger.people.link(link, self.now).cloned();
                match link.as_deref().map(|link| &link.opens) {
                    Some(Opens::Invitation { organization, .. }) => {
                        self.refuse_if_locked(*organization)?;
                        Ok(Some(*organization))
                    }
                    _ => Ok(None),
                }
            }
            OpenPortal(link, _) => {
                let portal = self.ledger.people.portal(link, Stage::Link, self.now);
                Ok(portal.map(|(portal, _)| portal.organization))
            }
            _ => Ok(None),
        }
    }

    /// The organization of a reference, if the caller may there what was asked for.
    pub(super) fn admitted(&mut self, caller: &Caller, organization: &OrganizationRef) -> Result<OrganizationId, Stop> {
        let id = self.resolve(organization)?.ok_or(StoreError::UnknownOrganization)?;
        caller.scope.admits(id, &self.ledger.people)?;
        if caller.scope.stops_at_locks() {
            self.refuse_if_locked(id)?;
        }
        Ok(id)
    }

    fn refuse_if_locked(&mut self, organization: OrganizationId) -> Result<(), Stop> {
        let (account, catalogue) = (self.account(organization)?, Arc::clone(&self.ledger.catalogue));
        let now = account.own_time(self.now);
        let settled = account.at(&catalogue.rules, now)?;
        if settled.account.locks.is_empty() { Ok(()) } else { Err(Problem::Locked.into()) }
    }

    fn answer_people(
        &mut self,
        request: &PeopleRequest,
        organization: Option<OrganizationId>,
        scope: [u8; 16],
        people: &People,
        reply: &PeopleReply,
    ) -> Result<Answer, Stop> {
        let account = organization.map(|id| self.account(id)).transpose()?;
        let (account, catalogue) = (account.as_deref(), &self.ledger.catalogue);
        let after = |shows_secrets| PeopleAfter { people, account, catalogue, reply, now: self.now, shows_secrets };
        let answer = (request.respond)(&after(true));
        if let Some(receipt) = &request.receipt {
            let kept = (request.respond)(&after(false));
            let about = organization.filter(|_| scope == TEAM);
            self.receipts.push(KeptAnswer { scope, about, key: receipt.clone(), answer: kept });
        }
        Ok(answer)
    }

    /// Makes the organization that somebody wishes for. Its entry in the audit log says who owns it.
    fn found(
        &mut self,
        request: &PeopleRequest,
        wish: &Wish,
        owner: Option<&Arc<User>>,
    ) -> Result<OrganizationId, Stop> {
        let plan = self.ledger.catalogue.plan_entry(SIGN_UP_PLAN).ok_or(Problem::UnknownPlan)?.id;
        let profile = Profile {
            key: self.free_key(&wish.key)?,
            name: wish.name.clone(),
            zone: Zone::utc(),
            test: false,
            metadata: "{}".to_owned(),
            created_at: self.now,
        };
        let owner = Fields::default()
            .with("owner", owner.map(|user| user.id.to_string()))
            .with("ownerEmail", owner.map(|user| user.email.to_string()));
        self.create(&request.caller, &NewOrganization { profile, plan, first_used: None }, "", owner)
    }

    fn free_key(&mut self, wished: &WishedKey) -> Result<OrganizationKey, Stop> {
        let free = |batch: &mut Self, key: OrganizationKey| {
            let taken = batch.resolve(&OrganizationRef::Key(key.clone()))?.is_some();
            Ok::<_, Stop>((!taken).then_some(key))
        };
        match wished {
            WishedKey::Exactly(key) => Ok(free(self, key.clone())?.ok_or(StoreError::OrganizationKeyTaken)?),
            WishedKey::Like(stem) => {
                if let Ok(key) = OrganizationKey::new(stem)
                    && let Some(key) = free(self, key)?
                {
                    return Ok(key);
                }
                let apart = format!("{stem}-{}", hex(&crate::random::bytes::<4>()));
                let key = OrganizationKey::new(&apart).map_err(Problem::from)?;
                Ok(free(self, key)?.ok_or(StoreError::OrganizationKeyTaken)?)
            }
        }
    }
}
