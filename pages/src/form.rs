//! A form as data: what it asks, what it will change, and what was wrong with what was sent. One template shows them all, so
//! every form keeps what was typed, points at the field that is wrong, and works without script.

use askama::Template;

use crate::answers::Problem;
use crate::frame::Frame;

/// The number of a row that script is yet to add.
pub(crate) const BLANK: &str = "new";

mod field;
mod number;
mod said;

pub use field::{Choice, Field, Kind};

/// Fields that belong together, again and again.
#[derive(Clone, Debug)]
pub struct Section {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) hint: &'static str,
    /// What the button says that adds a row.
    pub(crate) add: &'static str,
    pub(crate) rows: Vec<Row>,
    /// An empty row as script adds it, under the number `new`.
    pub(crate) blank: Row,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Row {
    pub(crate) legend: String,
    pub(crate) fields: Vec<Field>,
}

/// Something that will be different afterwards.
#[derive(Clone, Debug)]
pub struct Change {
    pub(crate) what: String,
    pub(crate) before: String,
    pub(crate) after: String,
}

impl Change {
    /// How something stands, where what it will be is still to be typed.
    pub fn now(what: impl Into<String>, stands: impl Into<String>) -> Self {
        Self::new(what, stands, "")
    }

    /// What, from what, to what.
    pub fn new(what: impl Into<String>, before: impl Into<String>, after: impl Into<String>) -> Self {
        Self { what: what.into(), before: before.into(), after: after.into() }
    }
}

/// A form.
#[derive(Clone, Debug, Default)]
pub struct Form {
    pub(crate) title: String,
    /// What it is done to, where the title does not say it.
    pub(crate) of: String,
    pub(crate) action: String,
    pub(crate) intro: Vec<String>,
    pub(crate) changes: Vec<Change>,
    /// What is said where nothing would change, of a form that shows it before it is sent.
    pub(crate) preview: Option<String>,
    pub(crate) fields: Vec<Field>,
    pub(crate) sections: Vec<Section>,
    pub(crate) submit: String,
    pub(crate) is_danger: bool,
    pub(crate) back: Option<String>,
    pub(crate) error: Option<String>,
    /// What is to be known before it is sent.
    pub(crate) note: Option<String>,
    /// What another button says, which sends what was typed as `check`: to hear what would come of it.
    pub(crate) check: Option<&'static str>,
    /// Under which the change is repeated without being made twice.
    pub(crate) key: String,
    pub(crate) links: Vec<(String, String)>,
    /// Whether script sends it as soon as it is seen.
    pub(crate) is_at_once: bool,
    /// The version of what it changes, as it was when the form was shown.
    pub(crate) version: Option<String>,
    /// Whether it has what was typed already.
    is_filled: bool,
    /// Where what was typed differs from what is there.
    differences: Vec<Change>,
}

/// Fields that stand together, with the question and the hint that they have in common.
type Part<'f> = (Option<(&'static str, &'static str)>, &'f [Field]);

impl Form {
    /// A form of this title whose button says what is done. It is sent to the address that shows it.
    pub fn new(title: impl Into<String>, submit: impl Into<String>) -> Self {
        Self { title: title.into(), submit: submit.into(), ..Self::default() }
    }

    /// Its title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// That is done to something of this name.
    #[must_use]
    pub fn of(mut self, name: impl Into<String>) -> Self {
        self.of = name.into();
        self
    }

    /// What a field of it says now; nothing where it has no such field.
    pub fn value_of(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| field.name == name).map(|field| field.value.as_str())
    }

    /// Whether it has a field of this name that has to be filled in.
    pub fn requires(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name && field.is_required)
    }

    /// How it is sent, where it has a file.
    pub(crate) fn has_file(&self) -> bool {
        self.fields.iter().any(|field| field.file().is_some())
    }

    /// Its fields: those of one question together, with that and its hint.
    pub(crate) fn parts(&self) -> Vec<Part<'_>> {
        let together = self.fields.chunk_by(|one, next| one.group.is_some() && one.group == next.group);
        together.map(|fields| (fields.first().and_then(|field| field.group), fields)).collect()
    }

    /// Where what was typed differs from what stood in its fields.
    pub(crate) fn differences(&self) -> &[Change] {
        &self.differences
    }

    /// Sent to another address.
    #[must_use]
    pub fn to(mut self, action: impl Into<String>) -> Self {
        self.action = action.into();
        self
    }

    /// With a paragraph above the fields.
    #[must_use]
    pub fn say(mut self, paragraph: impl Into<String>) -> Self {
        self.intro.push(paragraph.into());
        self
    }

    /// With something that will change.
    #[must_use]
    pub fn change(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// That shows what will change before it is sent; `nothing` is what it says where nothing will.
    #[must_use]
    pub fn previews(mut self, nothing: impl Into<String>) -> Self {
        self.preview = Some(nothing.into());
        self
    }

    /// What stands above what will change; of what is still to be typed it is said how that stands now.
    pub(crate) fn preview_title(&self) -> &'static str {
        if self.changes.iter().all(|change| change.after.is_empty()) { "As it is now" } else { "What changes" }
    }

    /// Whether it shows what will change before it is sent.
    pub const fn has_preview(&self) -> bool {
        self.preview.is_some()
    }

    /// With a field.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// With rows of fields.
    #[must_use]
    pub fn section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// That changes something in this version, and in no other.
    #[must_use]
    pub fn of_version(mut self, version: Option<String>) -> Self {
        self.version = version;
        self
    }

    /// What stands in its fields, as one text.
    pub fn stands(&self) -> String {
        self.fields.iter().map(|field| format!("{}={:?}\n", field.name, field.value)).collect()
    }

    /// The version that it changes something in.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Whether it changes something in one version alone.
    pub const fn has_version(&self) -> bool {
        self.version.is_some()
    }

    /// That has what was typed, which differs so from what is there.
    #[must_use]
    pub fn filled(mut self, differences: Vec<Change>) -> Self {
        (self.is_filled, self.differences) = (true, differences);
        self
    }

    /// Shown again since something else changed what it is about: with what is there now, and what was typed.
    #[must_use]
    pub fn overtaken(mut self) -> Self {
        self.changes.append(&mut self.differences);
        let advice = "Somebody changed this after the form was shown, so nothing was done.";
        self.error = Some(match self.changes.is_empty() {
            true => format!(
                "{advice} The form is as you sent it, and fits what is there now: send it again if you still want it."
            ),
            false => format!(
                "{advice} Beside the fields stands what is there now and what you typed: check both, and send it again."
            ),
        });
        self
    }

    /// That takes something away.
    #[must_use]
    pub const fn danger(mut self) -> Self {
        self.is_danger = true;
        self
    }

    /// With an address to go back to.
    #[must_use]
    pub fn back(mut self, href: impl Into<String>) -> Self {
        self.back = Some(href.into());
        self
    }

    /// With something to be known before it is sent.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// With a button by which one hears what would come of it, and nothing is done.
    #[must_use]
    pub const fn check(mut self, words: &'static str) -> Self {
        self.check = Some(words);
        self
    }

    /// With a link below it.
    #[must_use]
    pub fn link(mut self, href: impl Into<String>, words: impl Into<String>) -> Self {
        self.links.push((href.into(), words.into()));
        self
    }

    /// That script sends as soon as it is seen.
    #[must_use]
    pub const fn at_once(mut self) -> Self {
        self.is_at_once = true;
        self
    }

    /// Under a key by which it is done once, however often it is sent.
    #[must_use]
    pub fn once(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// The same, where it has none yet.
    #[must_use]
    pub fn once_unless_set(self, key: impl Into<String>) -> Self {
        if self.key.is_empty() { self.once(key) } else { self }
    }

    /// With what was typed; passwords are typed again.
    #[must_use]
    pub fn with(mut self, typed: impl Fn(&str) -> Option<String>) -> Self {
        if self.is_filled {
            return self;
        }
        for field in &mut self.fields {
            let (stood, was_empty) = (field.shown(), field.value.is_empty() && !field.is_check());
            let is_secret = matches!(field.kind, Kind::Line("password"));
            match (&field.kind, typed(&field.name)) {
                (Kind::Check, typed) => field.value = typed.map_or_else(String::new, |_| "true".to_owned()),
                (_, Some(value)) if !is_secret => field.value = value,
                _ => {}
            }
            if !was_empty && !field.is_hidden() && field.shown() != stood {
                self.differences.push(Change::new(field.label.clone(), stood, field.shown()));
            }
        }
        self
    }

    /// With why it was refused: at the fields that are wrong, and above them what is about none of them.
    #[must_use]
    pub fn refused(mut self, problem: &Problem) -> Self {
        let mut rest = Vec::new();
        for fault in &problem.errors {
            let detail = said::said(&problem.code, &fault.detail);
            match self.field_at(&fault.pointer) {
                Some(field) => field.error = Some(detail),
                None => rest.push(detail),
            }
        }
        let is_shown = problem.errors.len() > rest.len();
        self.error = match (is_shown, rest.is_empty()) {
            (true, true) => Some("Please check the marked fields. Nothing was changed.".to_owned()),
            (_, false) => Some(rest.join(" ")),
            (false, true) => Some(said::said(&problem.code, &problem.detail)),
        };
        self
    }

    /// The field that a pointer such as `#/limits/0/max` is about: the one of its name, else of the nearest thing around it, else
    /// the first within it, else, where a form asks for a part of a list, what is called as its last part is.
    fn field_at(&mut self, pointer: &str) -> Option<&mut Field> {
        let whole = pointer.trim_start_matches(['#', '?', '/']).replace('/', ".");
        let rows = self.sections.iter().flat_map(|section| &section.rows).flat_map(|row| &row.fields);
        let names: Vec<&str> = self
            .fields
            .iter()
            .chain(rows)
            .filter(|field| !field.is_hidden())
            .map(|field| field.name.as_str())
            .collect();
        let around =
            std::iter::successors(Some(whole.as_str()), |name| name.rsplit_once('.').map(|(around, _)| around));
        let within = format!("{whole}.");
        let exact = around.into_iter().find_map(|name| names.iter().find(|known| **known == name));
        let last = whole.rsplit('.').next();
        let inner = || names.iter().find(|known| known.starts_with(&within));
        let name = exact.or_else(inner).or_else(|| names.iter().find(|known| Some(**known) == last));
        let name = (*name?).to_owned();
        let rows = self.sections.iter_mut().flat_map(|section| &mut section.rows).flat_map(|row| &mut row.fields);
        self.fields.iter_mut().chain(rows).find(|field| field.name == name && !field.is_hidden())
    }
}

/// A page with a form, which script shows as a dialog.
#[derive(Template)]
#[template(path = "form.html")]
pub struct FormPage {
    frame: Frame,
    form: Form,
}

impl FormPage {
    /// The page.
    pub const fn new(frame: Frame, form: Form) -> Self {
        Self { frame, form }
    }
}

/// A page that shows something once, such as a key.
#[derive(Template)]
#[template(path = "shown.html")]
pub struct Shown {
    frame: Frame,
    title: String,
    intro: String,
    secret: String,
    back: String,
}

impl Shown {
    /// The page.
    pub fn new(frame: Frame, title: impl Into<String>, intro: impl Into<String>, secret: String, back: String) -> Self {
        Self { frame, title: title.into(), intro: intro.into(), secret, back }
    }
}

#[cfg(test)]
mod tests;
