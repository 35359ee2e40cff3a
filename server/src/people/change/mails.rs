//! What members want to be told by mail.

use std::sync::Arc;

use metergate_rules::audit::Fields;
use metergate_rules::notice::Topic;

use super::{Changing, PeopleReply, unknown};
use crate::people::choice::{MailChoice, Membership};
use crate::people::{Member, PersonRow, UserId};
use crate::store::StoreError;

impl Changing {
    /// A member chooses for themselves, or an operator for them. What is not named stays.
    pub(super) fn choose_mails(&mut self, user: UserId, chosen: &[(Topic, bool)]) -> Result<PeopleReply, StoreError> {
        if self.by.is_some_and(|by| by != user) {
            return Err(StoreError::Forbidden);
        }
        let member = self.people.member(self.organization()?, user).copied().ok_or_else(unknown)?;
        // What is as they want it already is not chosen: with another role they are told of what is usual for that.
        let is_new = |(topic, wanted): &&(Topic, bool)| self.people.wants(&member, *topic) != *wanted;
        let new = chosen.iter().filter(is_new).copied().collect();
        self.choose(&member, new, None);
        Ok(PeopleReply::User(user, false))
    }

    /// Who got a mail opens its link to get no more about this organization. Where that membership is over, nothing comes by it: another
    /// one that has begun since is not meant.
    pub(super) fn refuse_mails(&mut self, membership: &Membership) -> PeopleReply {
        let member = self.organization.and_then(|_| self.people.member_since(membership)).copied();
        if let Some(member) = member {
            // Whatever their role will be.
            let open = Topic::ALL.into_iter().filter(|topic| !self.people.has_refused(&member, *topic));
            let new = open.map(|topic| (topic, false)).collect();
            self.choose(&member, new, Some("link"));
        }
        PeopleReply::Done
    }

    fn choose(&mut self, member: &Member, new: Vec<(Topic, bool)>, by: Option<&'static str>) {
        if new.is_empty() {
            return;
        }
        let (organization, user) = (member.organization, member.user);
        let before = self.mails_of(member);
        let mut all = self.people.choice(member).map_or_else(Vec::new, |choice| choice.chosen.clone());
        for (topic, wanted) in new {
            all.retain(|(other, _)| *other != topic);
            all.push((topic, wanted));
        }
        self.put(PersonRow::Choice(Arc::new(MailChoice { organization, user, chosen: all })));
        let mut after = self.mails_of(member);
        if let Some(by) = by {
            after = after.with("by", by);
        }
        self.note("member.change", before, after);
    }

    fn mails_of(&self, member: &Member) -> Fields {
        let wanted = Topic::ALL.into_iter().filter(|topic| self.people.wants(member, *topic));
        let names: Vec<String> = wanted.map(|topic| topic.as_str().to_owned()).collect();
        Fields::default().with("user", member.user.to_string()).with("mails", names)
    }
}
