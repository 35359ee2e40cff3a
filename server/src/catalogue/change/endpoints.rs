//! Changes of webhook endpoints, and what is sent to one because somebody asks for it. No secret stands in the audit log.

use metergate_rules::audit::{Fields, Value};
use metergate_rules::time::Time;

use super::{Changing, Decided, TeamReply, TeamRow, conflict, unknown};
use crate::catalogue::endpoint::{EndpointEntry, EndpointId, EndpointState, MOST_ENDPOINTS, Secrets, Stopped, TEST};
use crate::store::StoreError;
use crate::store::message::{MessageId, MessageRow};
use crate::store::outbox::{DeliveryKey, OF_TEAM};

/// What is asked of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointCommand {
    /// Makes one.
    Create(NewEndpoint),
    /// Changes it.
    Change(EndpointId, EndpointChange),
    /// Takes it away. What waits for it is not sent any more.
    Delete(EndpointId),
    /// Another secret takes the place of its newest, by which messages go on to be signed for so many microseconds.
    Rotate(EndpointId, i64),
    /// It is disabled, by what it answers.
    Stop(EndpointId, Stopped),
    /// Something is sent to it for a try.
    Test(EndpointId),
    /// A message is sent to it again; whether it was found that is meant.
    Resend(DeliveryKey, bool),
}

/// An endpoint to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEndpoint {
    /// Where it is; checked.
    pub url: String,
    /// Of what it is told, in order; of everything where there is none.
    pub types: Vec<String>,
    /// What the team calls it.
    pub description: String,
}

/// What of an endpoint changes: each that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointChange {
    /// Where it is; checked.
    pub url: Option<String>,
    /// Of what it is told, in order.
    pub types: Option<Vec<String>>,
    /// What the team calls it.
    pub description: Option<String>,
    /// Whether it is told anything.
    pub enabled: Option<bool>,
}

/// An endpoint's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRow {
    /// The endpoint.
    pub entry: EndpointEntry,
    /// Whether how it fared before counts no more.
    pub begins_anew: bool,
}

/// A delivery that is to be sent at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resent {
    /// Which.
    pub key: DeliveryKey,
}

impl Changing<'_> {
    pub(super) fn change_endpoint(&mut self, command: &EndpointCommand) -> Decided {
        match command {
            EndpointCommand::Create(new) => self.create_endpoint(new),
            EndpointCommand::Change(id, change) => self.update_endpoint(id, change),
            EndpointCommand::Delete(id) => self.delete_endpoint(id),
            EndpointCommand::Rotate(id, span) => self.rotate_secret(id, self.now.plus(*span)),
            EndpointCommand::Stop(id, why) => self.stop_endpoint(id, *why),
            EndpointCommand::Test(id) => self.test_endpoint(id),
            EndpointCommand::Resend(key, is_there) => self.resend(key, *is_there),
        }
    }

    fn endpoint(&self, id: &EndpointId) -> Result<EndpointEntry, StoreError> {
        match self.stored.endpoints.get(id) {
            Some(entry) => Ok(entry.clone()),
            None => unknown("unknown-endpoint", "webhook endpoint"),
        }
    }

    fn enabled_endpoint(&self, id: &EndpointId) -> Result<EndpointEntry, StoreError> {
        let entry = self.endpoint(id)?;
        if entry.is_enabled() {
            return Ok(entry);
        }
        conflict("endpoint-disabled", "the endpoint is disabled, and nothing is sent to it: enable it first")
    }

    fn create_endpoint(&mut self, new: &NewEndpoint) -> Decided {
        if self.stored.endpoints.len() >= MOST_ENDPOINTS {
            let detail =
                format!("there are {MOST_ENDPOINTS} webhook endpoints, and no more can be made: delete one first");
            return conflict("too-many-endpoints", &detail);
        }
        let entry = EndpointEntry {
            id: EndpointId::generate(),
            url: new.url.clone(),
            types: new.types.clone(),
            description: new.description.clone(),
            state: EndpointState::Enabled,
            secrets: Secrets::generate(),
            created_at: self.now,
            began_at: self.now,
        };
        Ok(self.written(None, entry, true, true))
    }

    fn update_endpoint(&mut self, id: &EndpointId, change: &EndpointChange) -> Decided {
        let old = self.endpoint(id)?;
        let state = match change.enabled {
            Some(true) => EndpointState::Enabled,
            Some(false) if old.is_enabled() => EndpointState::Disabled { since: self.now, why: Stopped::Operator },
            Some(false) | None => old.state,
        };
        let entry = EndpointEntry {
            url: change.url.clone().unwrap_or_else(|| old.url.clone()),
            types: change.types.clone().unwrap_or_else(|| old.types.clone()),
            description: change.description.clone().unwrap_or_else(|| old.description.clone()),
            state,
            ..old.clone()
        };
        if entry == old {
            return Ok((TeamReply::Endpoint(id.clone(), false), None));
        }
        let begins_anew = entry.url != old.url || entry.is_enabled() && !old.is_enabled();
        let entry = if begins_anew { EndpointEntry { began_at: self.now, ..entry } } else { entry };
        Ok(self.written(Some(&old), entry, begins_anew, false))
    }

    fn delete_endpoint(&mut self, id: &EndpointId) -> Decided {
        let old = self.endpoint(id)?;
        self.stored.endpoints.remove(id);
        self.rows.push(TeamRow::EndpointGone(id.clone()));
        let draft = self.draft("endpoint.change", "config", fields(&old), named(id));
        Ok((TeamReply::Gone, draft))
    }

    /// Three secrets in force would be one more than receivers are told of.
    fn rotate_secret(&mut self, id: &EndpointId, until: Time) -> Decided {
        let old = self.endpoint(id)?;
        if old.secrets.older(self.now).is_some() && until > self.now {
            let detail = "the secret before this one is still in force: wait for its end, or send \"oldEndsInSeconds\": 0 to \
                          end both at once";
            return conflict("rotation-under-way", detail);
        }
        let entry = EndpointEntry { secrets: old.secrets.rotated(self.now, until), ..old.clone() };
        let ends = |at: Option<Time>, fields: Fields| fields.with("oldSecretEndsAt", at);
        let (before, after) = (old.secrets.older(self.now), entry.secrets.older(self.now));
        let before = ends(before.map(|(_, end)| end), named(id));
        let after = ends(after.map(|(_, end)| end), named(id).with("secret", "another"));
        let (reply, _) = self.written(Some(&old), entry, false, true);
        Ok((reply, self.draft("endpoint.change", "config", before, after)))
    }

    fn stop_endpoint(&mut self, id: &EndpointId, why: Stopped) -> Decided {
        let old = self.endpoint(id)?;
        // An operator was quicker.
        if !old.is_enabled() {
            return Ok((TeamReply::Endpoint(id.clone(), false), None));
        }
        let entry = EndpointEntry { state: EndpointState::Disabled { since: self.now, why }, ..old.clone() };
        Ok(self.written(Some(&old), entry, false, false))
    }

    fn test_endpoint(&mut self, id: &EndpointId) -> Decided {
        let entry = self.enabled_endpoint(id)?;
        let body = format!(r#"{{"type":"{TEST}","timestamp":"{}","data":{{"endpoint":"{id}"}}}}"#, self.now);
        let key = DeliveryKey { organization: OF_TEAM, message: MessageId::new(self.now, 0), endpoint: entry.id };
        let endpoints = vec![id.to_string()];
        self.messages.push(MessageRow { organization: OF_TEAM, id: key.message, kind: TEST, body, endpoints });
        self.rows.push(TeamRow::Resent(Resent { key: key.clone() }));
        let after = named(id).with("tested", key.message.to_string());
        Ok((TeamReply::Delivery(key), self.draft("endpoint.change", "config", Fields::default(), after)))
    }

    fn resend(&mut self, key: &DeliveryKey, is_there: bool) -> Decided {
        self.endpoint(&key.endpoint)?;
        if !is_there {
            return unknown("unknown-delivery", "delivery to this webhook endpoint");
        }
        self.enabled_endpoint(&key.endpoint)?;
        self.rows.push(TeamRow::Resent(Resent { key: key.clone() }));
        let after = named(&key.endpoint).with("sentAgain", key.message.to_string());
        let draft = self.draft("endpoint.change", "config", Fields::default(), after);
        Ok((TeamReply::Delivery(key.clone()), draft))
    }

    fn written(
        &mut self,
        old: Option<&EndpointEntry>,
        entry: EndpointEntry,
        begins_anew: bool,
        shows_secret: bool,
    ) -> (TeamReply, Option<metergate_rules::audit::Draft>) {
        let draft = self.draft("endpoint.change", "config", old.map(fields).unwrap_or_default(), fields(&entry));
        let reply = TeamReply::Endpoint(entry.id.clone(), shows_secret);
        self.stored.endpoints.insert(entry.id.clone(), entry.clone());
        self.rows.push(TeamRow::Endpoint(EndpointRow { entry, begins_anew }));
        (reply, draft)
    }
}

fn named(id: &EndpointId) -> Fields {
    Fields::default().with("id", id.as_str())
}

fn fields(entry: &EndpointEntry) -> Fields {
    let (state, why): (&str, Value) = match entry.state {
        EndpointState::Enabled => ("enabled", Value::Null),
        EndpointState::Disabled { why, .. } => ("disabled", why.as_str().into()),
    };
    named(&entry.id)
        .with("url", entry.url.as_str())
        .with("types", entry.types.clone())
        .with("description", entry.description.as_str())
        .with("state", state)
        .with("disabledReason", why)
}
