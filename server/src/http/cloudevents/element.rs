//! One element of a body: read leniently in one pass, then checked.

use std::borrow::Cow;
use std::fmt;

use metergate_rules::time::Time;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Events, IncomingEvent, MAX_EVENT_BYTES, MAX_EVENTS, Rejected};
use crate::report::events::DECISION_SOURCE;

/// An event's attributes before they are checked. Of a repeated attribute the last one stands.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    pub(super) id: Attribute<'a>,
    pub(super) source: Attribute<'a>,
    pub(super) kind: Attribute<'a>,
    pub(super) subject: Attribute<'a>,
    pub(super) spec_version: Attribute<'a>,
    pub(super) time: Attribute<'a>,
    pub(super) data: Option<&'a RawValue>,
    /// Names and values of everything read.
    pub(super) bytes: usize,
    /// Why it is no event at all.
    pub(super) unreadable: Option<Cow<'static, str>>,
}

/// A value where CloudEvents has a string.
#[derive(Debug, Default)]
pub(super) enum Attribute<'a> {
    /// Absent, or `null`, which CloudEvents takes as absent.
    #[default]
    Absent,
    Text(Cow<'a, str>),
    /// JSON of another type.
    NotText,
}

impl<'a> Draft<'a> {
    /// What is no event at all, and why.
    pub(super) fn unreadable(why: impl Into<Cow<'static, str>>) -> Self {
        Self { unreadable: Some(why.into()), ..Self::default() }
    }

    /// The event, or why not.
    pub(super) fn check(self, index: usize) -> Result<IncomingEvent<'a>, Rejected> {
        match self.problem() {
            Some((reason, detail)) => Err(self.rejected(index, reason, detail)),
            None => match self.time() {
                Ok(time) => Ok(self.into_event(time)),
                Err(detail) => Err(self.rejected(index, "invalid-event", detail.into())),
            },
        }
    }

    /// The first thing that is wrong, apart from the time.
    fn problem(&self) -> Option<(&'static str, Cow<'static, str>)> {
        let invalid = |detail| Some(("invalid-event", detail));
        if let Some(why) = &self.unreadable {
            return invalid(why.clone());
        }
        if self.bytes > MAX_EVENT_BYTES {
            let detail = format!("The event has {} bytes; send at most {MAX_EVENT_BYTES}.", self.bytes);
            return Some(("too-large", detail.into()));
        }
        let names = [("id", &self.id), ("source", &self.source), ("type", &self.kind), ("subject", &self.subject)];
        if let Some((name, attribute)) = names.into_iter().find(|(_, attribute)| !attribute.is_name()) {
            return invalid(attribute.complaint(name));
        }
        match &self.spec_version {
            Attribute::Text(version) if version == "1.0" => {}
            _ => return invalid("specversion must be \"1.0\".".into()),
        }
        // Of a decision no event is made: what names one completes it, or is refused where it is looked for.
        let is_reserved = |source: &str| source.starts_with("metergate:") && !source.starts_with(DECISION_SOURCE);
        let reserved = matches!(&self.source, Attribute::Text(source) if is_reserved(source));
        let detail = "Sources that begin with metergate: are for Metergate's own events. Choose another.";
        reserved.then_some(("reserved-source", detail.into()))
    }

    fn time(&self) -> Result<Option<Time>, &'static str> {
        let wrong = "time must be an RFC 3339 time with its offset, such as 2026-11-22T11:06:00Z.";
        match &self.time {
            Attribute::Absent => Ok(None),
            Attribute::Text(text) => text.parse().map(Some).map_err(|_| wrong),
            Attribute::NotText => Err(wrong),
        }
    }

    fn rejected(self, index: usize, reason: &'static str, detail: Cow<'static, str>) -> Rejected {
        // The id is for finding the event again; one that is too long to be an id helps nobody.
        let id = Some(self.id).filter(Attribute::is_name).map(|id| id.text().into_owned());
        Rejected { index, id, reason, detail }
    }

    fn into_event(self, time: Option<Time>) -> IncomingEvent<'a> {
        let (id, source, kind, subject) = (self.id.text(), self.source.text(), self.kind.text(), self.subject.text());
        IncomingEvent { id, source, kind, subject, time, data: self.data }
    }
}

impl<'a> Attribute<'a> {
    /// The rules' test for an `EventId`, `EventSource` or `EventType`.
    fn is_name(&self) -> bool {
        let Self::Text(text) = self else { return false };
        // Without a way out of the loop, so that it takes many bytes at a time.
        let plain_ascii = text.bytes().fold(true, |plain, byte| plain & (0x20..0x7f).contains(&byte));
        (1..=255).contains(&text.len()) && (plain_ascii || !text.chars().any(char::is_control))
    }

    fn complaint(&self, name: &str) -> Cow<'static, str> {
        match self {
            Self::Absent => format!("{name} is required.").into(),
            Self::NotText => format!("{name} must be a string.").into(),
            Self::Text(_) => format!("{name} must have 1 to 255 bytes without control characters.").into(),
        }
    }

    fn text(self) -> Cow<'a, str> {
        if let Self::Text(text) = self { text } else { Cow::Borrowed("") }
    }

    fn len(&self) -> usize {
        if let Self::Text(text) = self { text.len() } else { 0 }
    }
}

/// Reads any JSON as a [`Draft`].
pub(super) struct DraftSeed;

impl<'de> DeserializeSeed<'de> for DraftSeed {
    type Value = Draft<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Draft<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// The methods by which a visitor takes the kinds of JSON that it has no use for.
macro_rules! otherwise {
    ($value:expr => $($method:ident($type:ty)),*) => {$(
        fn $method<E: Error>(self, _: $type) -> Result<Self::Value, E> {
            Ok($value)
        }
    )*};
}

const NOT_AN_OBJECT: &str = "An event must be a JSON object.";

impl<'de> Visitor<'de> for DraftSeed {
    type Value = Draft<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Draft<'de>, A::Error> {
        let mut draft = Draft::default();
        while let Some(name) = map.next_key::<Name<'de>>()? {
            draft.bytes += name.0.len();
            let target = match &*name.0 {
                "id" => &mut draft.id,
                "source" => &mut draft.source,
                "type" => &mut draft.kind,
                "subject" => &mut draft.subject,
                "specversion" => &mut draft.spec_version,
                "time" => &mut draft.time,
                "data" => {
                    draft.data = map.next_value()?;
                    draft.bytes += draft.data.map_or(0, |data| data.get().len());
                    continue;
                }
                other => {
                    if other == "data_base64" {
                        draft.unreadable = Some("data_base64 is not taken; send data as JSON.".into());
                    }
                    draft.bytes += map.next_value::<&RawValue>()?.get().len();
                    continue;
                }
            };
            *target = map.next_value()?;
            draft.bytes += target.len();
        }
        Ok(draft)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Draft<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Draft::unreadable(NOT_AN_OBJECT))
    }

    fn visit_unit<E: Error>(self) -> Result<Draft<'de>, E> {
        Ok(Draft::unreadable(NOT_AN_OBJECT))
    }

    otherwise!(Draft::unreadable(NOT_AN_OBJECT) =>
        visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
}

/// A member's name, borrowed unless it is escaped.
pub(super) struct Name<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(AttributeVisitor)? {
            Attribute::Text(name) => Ok(Self(name)),
            _ => Err(D::Error::custom("a name must be a string")),
        }
    }
}

impl<'de> Deserialize<'de> for Attribute<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AttributeVisitor)
    }
}

struct AttributeVisitor;

impl<'de> Visitor<'de> for AttributeVisitor {
    type Value = Attribute<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Attribute<'de>, E> {
        Ok(Attribute::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Attribute<'de>, E> {
        Ok(Attribute::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Attribute<'de>, E> {
        Ok(Attribute::Absent)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attribute<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Attribute::NotText)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Attribute<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Attribute::NotText)
    }

    otherwise!(Attribute::NotText => visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64));
}

/// Reads one event, or an array of them.
pub(super) struct EventsSeed<'f> {
    /// Set when reading stopped at [`MAX_EVENTS`].
    pub(super) too_many: &'f mut bool,
    /// About how many there will be.
    pub(super) expected: usize,
}

impl<'de> DeserializeSeed<'de> for EventsSeed<'_> {
    type Value = Events<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Events<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EventsSeed<'_> {
    type Value = Events<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event or an array of events")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Events<'de>, A::Error> {
        Ok(vec![DraftSeed.visit_map(map)?.check(0)])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Events<'de>, A::Error> {
        let mut events = Vec::with_capacity(self.expected);
        while let Some(draft) = seq.next_element_seed(DraftSeed)? {
            if events.len() == MAX_EVENTS {
                *self.too_many = true;
                return Err(A::Error::custom("too many events"));
            }
            events.push(draft.check(events.len()));
        }
        Ok(events)
    }
}
