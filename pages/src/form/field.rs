//! One thing that a form asks for.

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
    /// The same, which may have a unit where it is one of bytes: `10 GB`.
    Size,
    /// A file of one of these media types, with commas between them.
    File(&'static str),
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
    /// The question and the hint of the fields beside it that it belongs to.
    pub(crate) group: Option<(&'static str, &'static str)>,
    /// Whether the form shows what would change as soon as this is chosen.
    pub(crate) is_previewed: bool,
    /// Whether it is a number, which may be grouped by thousands.
    pub(crate) is_number: bool,
}

impl Field {
    /// A field; required unless it is said otherwise.
    pub fn new(name: &str, label: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            hint: String::new(),
            is_required: !matches!(kind, Kind::Check | Kind::Hidden),
            is_number: matches!(kind, Kind::Amount | Kind::Size),
            kind,
            value: String::new(),
            error: None,
            autocomplete: "off",
            most: None,
            group: None,
            is_previewed: false,
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

    /// That belongs with its neighbours under one question, with a hint below that.
    #[must_use]
    pub const fn group(mut self, legend: &'static str, hint: &'static str) -> Self {
        self.group = Some((legend, hint));
        self
    }

    /// Of a number, though a word can stand there too.
    #[must_use]
    pub const fn number(mut self) -> Self {
        self.is_number = true;
        self
    }

    /// Of which the form shows what it would change, as soon as it is chosen.
    #[must_use]
    pub const fn previewed(mut self) -> Self {
        self.is_previewed = true;
        self
    }

    /// The browser's name for it, where it is a line.
    pub(crate) const fn line(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Line(kind) => Some(kind),
            _ => None,
        }
    }

    /// The media types of a file.
    pub(crate) const fn file(&self) -> Option<&'static str> {
        match self.kind {
            Kind::File(types) => Some(types),
            _ => None,
        }
    }

    pub(crate) const fn is_amount(&self) -> bool {
        matches!(self.kind, Kind::Amount)
    }

    pub(crate) const fn is_size(&self) -> bool {
        matches!(self.kind, Kind::Size)
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

    /// What it says now, as people read it: the words of what is chosen.
    pub(crate) fn shown(&self) -> String {
        let chosen = self.choices().iter().find(|choice| choice.value == self.value);
        match (self.is_check(), self.value.is_empty()) {
            (true, true) => "no".to_owned(),
            (true, false) => "yes".to_owned(),
            (false, true) => "nothing".to_owned(),
            (false, false) => chosen.map_or_else(|| self.value.clone(), |choice| choice.label.clone()),
        }
    }

    /// What names the words that belong to it.
    pub(crate) fn described_by(&self) -> String {
        let hint = (!self.hint.is_empty()).then(|| format!("field-{}-hint", self.name));
        let error = self.error.is_some().then(|| format!("field-{}-error", self.name));
        [hint, error].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}
