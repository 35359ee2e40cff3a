//! A form as data: what it asks, what it will change, and what was wrong with what was sent. One template shows them all, so
//! every form keeps what was typed, points at the field that is wrong, and works without script.

use askama::Template;

use crate::answers::Problem;
use crate::frame::Frame;

/// One choice among several.
#[derive(Clone, Debug)]
pub struct Choice {
    pub(crate) value: String,
    pub(crate) label: String,
}

/// How something is asked for.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A line of text, by the browser's name for what it is: `text`, `email`, `password`, `date`, `datetime-local`.
    Line(&'static str),
    /// An amount, as decimal text.
    Amount,
    /// Several lines.
    Area,
    /// One of several.
    Select(Vec<Choice>),
    /// Yes or no.
    Check,
    /// Sent along, and not shown.
    Hidden,
}

/// One thing that a form asks for.
#[derive(Clone, Debug)]
pub struct Field {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) hint: String,
    pub(crate) kind: Kind,
    pub(crate) value: String,
    pub(crate) error: Option<String>,
    pub(crate) is_required: bool,
    pub(crate) autocomplete: &'static str,
    pub(crate) most: Option<u32>,
}

impl Field {
    /// A field; required unless it is said otherwise.
    pub fn new(name: &str, label: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            hint: String::new(),
            is_required: !matches!(kind, Kind::Check | Kind::Hidden),
            kind,
            value: String::new(),
            error: None,
            autocomplete: "off",
            most: None,
        }
    }

    /// A line of text.
    pub fn text(name: &str, label: &str) -> Self {
        Self::new(name, label, Kind::Line("text"))
    }

    /// A quantity.
    pub fn amount(name: &str, label: &str) -> Self {
        Self::new(name, label, Kind::Amount)
    }

    /// Why something is done: it stands in the audit log.
    pub fn reason() -> Self {
        Self::new("reason", "Reason", Kind::Area).hint("Stands in the audit log, and cannot be changed later.")
    }

    /// One of several.
    pub fn select<V: Into<String>, L: Into<String>>(
        name: &str,
        label: &str,
        choices: impl IntoIterator<Item = (V, L)>,
    ) -> Self {
        let choice = |(value, label): (V, L)| Choice { value: value.into(), label: label.into() };
        Self::new(name, label, Kind::Select(choices.into_iter().map(choice).collect()))
    }

    /// Yes or no.
    pub fn check(name: &str, label: &str) -> Self {
        Self::new(name, label, Kind::Check)
    }

    /// Sent along, and not shown.
    pub fn hidden(name: &str, value: &str) -> Self {
        Self::new(name, "", Kind::Hidden).value(value)
    }

    /// With words below it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// With a value to begin with.
    #[must_use]
    pub fn value(mut self, value: impl Into<String>) -> Self {
        self.value = value.into();
        self
    }

    /// That may be left empty.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.is_required = false;
        self
    }

    /// That the browser may complete, by its name for what is asked.
    #[must_use]
    pub const fn autocomplete(mut self, what: &'static str) -> Self {
        self.autocomplete = what;
        self
    }

    /// Of at most so many characters.
    #[must_use]
    pub const fn most(mut self, characters: u32) -> Self {
        self.most = Some(characters);
        self
    }

    /// The browser's name for it, where it is a line.
    pub(crate) const fn line(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Line(kind) => Some(kind),
            _ => None,
        }
    }

    pub(crate) const fn is_amount(&self) -> bool {
        matches!(self.kind, Kind::Amount)
    }

    pub(crate) const fn is_area(&self) -> bool {
        matches!(self.kind, Kind::Area)
    }

    pub(crate) const fn is_check(&self) -> bool {
        matches!(self.kind, Kind::Check)
    }

    pub(crate) const fn is_hidden(&self) -> bool {
        matches!(self.kind, Kind::Hidden)
    }

    pub(crate) fn choices(&self) -> &[Choice] {
        match &self.kind {
            Kind::Select(choices) => choices,
            _ => &[],
        }
    }

    /// What names the words that belong to it.
    pub(crate) fn described_by(&self) -> String {
        let hint = (!self.hint.is_empty()).then(|| format!("field-{}-hint", self.name));
        let error = self.error.is_some().then(|| format!("field-{}-error", self.name));
        [hint, error].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// Something that will be different afterwards.
#[derive(Clone, Debug)]
pub struct Change {
    pub(crate) what: String,
    pub(crate) before: String,
    pub(crate) after: String,
}

impl Change {
    /// What, from what, to what.
    pub fn new(what: impl Into<String>, before: impl Into<String>, after: impl Into<String>) -> Self {
        Self { what: what.into(), before: before.into(), after: after.into() }
    }
}

/// A form.
#[derive(Clone, Debug, Default)]
pub struct Form {
    pub(crate) title: String,
    pub(crate) action: String,
    pub(crate) intro: Vec<String>,
    pub(crate) changes: Vec<Change>,
    pub(crate) fields: Vec<Field>,
    pub(crate) submit: String,
    pub(crate) is_danger: bool,
    pub(crate) back: Option<String>,
    pub(crate) error: Option<String>,
    /// Under which the change is repeated without being made twice.
    pub(crate) key: String,
    pub(crate) links: Vec<(String, String)>,
    /// Whether script sends it as soon as it is seen.
    pub(crate) is_at_once: bool,
}

impl Form {
    /// A form of this title whose button says what is done. It is sent to the address that shows it.
    pub fn new(title: impl Into<String>, submit: impl Into<String>) -> Self {
        Self { title: title.into(), submit: submit.into(), ..Self::default() }
    }

    /// Its title.
    pub fn title(&self) -> &str {
        &self.title
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

    /// With a field.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        self.fields.push(field);
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
        for field in &mut self.fields {
            let is_secret = matches!(field.kind, Kind::Line("password"));
            match (&field.kind, typed(&field.name)) {
                (Kind::Check, typed) => field.value = typed.map_or_else(String::new, |_| "true".to_owned()),
                (_, Some(value)) if !is_secret => field.value = value,
                _ => {}
            }
        }
        self
    }

    /// With why it was refused: at the fields that are wrong, and above them what is about none of them.
    #[must_use]
    pub fn refused(mut self, problem: &Problem) -> Self {
        let mut rest = Vec::new();
        for fault in &problem.errors {
            let name = fault.pointer.trim_start_matches(['#', '?', '/']);
            let name = name.split('/').next().unwrap_or(name);
            match self.fields.iter_mut().find(|field| field.name == name && !field.is_hidden()) {
                Some(field) => field.error = Some(fault.detail.clone()),
                None => rest.push(fault.detail.clone()),
            }
        }
        let is_shown = problem.errors.len() > rest.len();
        self.error = match (is_shown, rest.is_empty()) {
            (true, true) => Some("Please check the marked fields. Nothing was changed.".to_owned()),
            (_, false) => Some(rest.join(" ")),
            (false, true) => Some(problem.detail.clone()),
        };
        self
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
mod tests {
    use super::*;
    use crate::answers::Fault;

    fn form() -> Form {
        Form::new("Grant credit", "Grant")
            .field(Field::amount("amount", "Amount"))
            .field(Field::check("urgent", "Urgent").value("true"))
            .field(Field::new("password", "Password", Kind::Line("password")))
    }

    #[test]
    fn a_refused_form_keeps_what_was_typed_but_for_passwords() {
        let form = form().with(|name| (name != "urgent").then(|| format!("{name}!")));
        let values: Vec<_> = form.fields.iter().map(|field| field.value.as_str()).collect();
        assert_eq!(values, ["amount!", "", ""]);
    }

    #[test]
    fn what_is_wrong_stands_at_its_field_or_above_all() {
        let fault = |pointer: &str| Fault { detail: format!("wrong {pointer}"), pointer: pointer.to_owned() };
        #[rustfmt::skip]
        let cases = [ // faults, at the amount, above
            (vec!["#/amount"],       Some("wrong #/amount"), "Please check the marked fields. Nothing was changed."),
            (vec!["#/amount", "#/x"], Some("wrong #/amount"), "wrong #/x"),
            (vec!["?"],              None,                   "wrong ?"),
            (vec![],                 None,                   "No such meter."),
        ];
        for (pointers, at, above) in cases {
            let errors = pointers.iter().map(|pointer| fault(pointer)).collect();
            let problem = Problem { detail: "No such meter.".to_owned(), errors, ..Problem::default() };
            let form = form().refused(&problem);
            assert_eq!((form.fields[0].error.as_deref(), form.error.as_deref()), (at, Some(above)), "{pointers:?}");
        }
    }
}
