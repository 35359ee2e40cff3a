//! The fields of a form that are numbers.

use super::{BLANK, Field, Form, Section};
use crate::answers::Fault;
use crate::format;

impl Form {
    /// Whether a field of this name is a number, also in a row that script has added.
    pub fn is_number(&self, name: &str) -> bool {
        let is_it = |field: &Field, name: &str| field.is_number && field.name == name;
        let in_row = |section: &Section| {
            let mut parts = name.splitn(3, '.');
            let (of, at, rest) = (parts.next(), parts.next(), parts.next());
            let blank = of.filter(|of| *of == section.name && at.is_some()).zip(rest);
            blank.is_some_and(|(of, rest)| {
                section.blank.fields.iter().any(|field| is_it(field, &format!("{of}.{BLANK}.{rest}")))
            })
        };
        self.fields.iter().any(|field| is_it(field, name)) || self.sections.iter().any(in_row)
    }

    /// The fields of which it is not clear which number they mean.
    pub fn unclear(&self) -> Vec<Fault> {
        let rows = self.sections.iter().flat_map(|section| &section.rows).flat_map(|row| &row.fields);
        let numbers = self.fields.iter().chain(rows).filter(|field| field.is_number);
        let fault = |field: &Field| {
            let detail = format::unclear(&field.value)?.to_owned();
            Some(Fault { detail, pointer: format!("#/{}", field.name.replace('.', "/")) })
        };
        numbers.filter_map(fault).collect()
    }
}
