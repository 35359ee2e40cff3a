//! Numbers as the API takes them, in place of what was typed: thousands may be grouped, and of bytes a form takes `10 GB`. A meter
//! and its quantity are two fields, so what a field means is found by the field of its meter.

use metergate_pages::answers::{Meter, Problem};
use metergate_pages::form::Form;
use metergate_pages::format::Amount;
use metergate_pages::typed::number::ungrouped;

use super::sent::Typed;

impl Typed {
    /// The same with the numbers of a form without what groups their thousands.
    ///
    /// # Errors
    /// At which fields it is not clear which number is meant.
    pub(super) fn counted(&self, form: &Form) -> Result<Self, Problem> {
        let errors = form.clone().with(|name| self.raw(name).map(str::to_owned)).unclear();
        if !errors.is_empty() {
            return Err(Problem { errors, ..Problem::default() });
        }
        Ok(self.each(|name, value| {
            let number = form.is_number(name).then(|| ungrouped(value).ok()).flatten();
            number.unwrap_or_else(|| value.to_owned())
        }))
    }

    /// The same with every size in bytes. What is none stays as it is, for the API to refuse.
    pub(super) fn measured(&self, meters: &[Meter]) -> Self {
        self.each(|name, value| {
            let meter = self.meter_of(name).and_then(|key| meters.iter().find(|meter| meter.key == key));
            let size = meter.and_then(|meter| Amount::typed(value, meter.unit()));
            size.map_or_else(|| value.to_owned(), Amount::plain)
        })
    }

    /// The meter of which a field has a quantity.
    fn meter_of<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        if let Some(limit) = name.strip_suffix(".max").filter(|limit| limit.starts_with("limits.")) {
            return self.text(&format!("{limit}.meter"));
        }
        match name {
            "max" | "quantity" | "amount" => self.text("meter"),
            "moreMax" => self.text("moreMeter"),
            name => name.strip_prefix("limit.").and_then(|limit| limit.rsplit_once('.')).map(|(meter, _)| meter),
        }
    }
}

#[cfg(test)]
mod tests {
    use metergate_pages::forms::plan::PlanDraft;

    use super::*;

    #[test]
    fn numbers_of_a_form_are_read_without_their_groups_and_nothing_else_is_touched() {
        let form = PlanDraft::new().form(None, &[], &[]);
        #[rustfmt::skip]
        let cases = [ // field, what was typed, what is sent
            ("graceDays",           "1,000",     "1000"),
            ("name",                "1,000",     "1,000"),
            ("limits.0.max",        "2 000.5",   "2000.5"),
            ("limits.7.max",        "3_000",     "3000"), // of a row that script has added
            ("limits.0.thresholds", "80,100",    "80,100"),
            ("others.0.max",        "1,000",     "1,000"),
        ];
        let typed: Vec<_> = cases.iter().map(|(name, typed, _)| (*name, *typed)).collect();
        let counted = Typed::of(&typed).counted(&form).ok().unwrap();
        for (name, typed, expected) in cases {
            assert_eq!(counted.raw(name), Some(expected), "{name} {typed}");
        }
        let wrong = Typed::of(&[("trial.days", "1,5"), ("name", "1,5")]).counted(&form).err().unwrap();
        let pointers: Vec<_> = wrong.errors.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["#/trial/days"]);
        assert!(wrong.errors[0].detail.contains("as in 1.5"), "{}", wrong.errors[0].detail);
    }

    #[test]
    fn sizes_become_bytes_where_their_meter_counts_bytes() {
        let meter = |key: &str, unit: &str| {
            let meter = serde_json::json!({"key": key, "name": key, "unit": unit, "eventType": key, "aggregation": "sum",
                "decimals": 0, "valueProperty": "quantity", "dimensions": [], "record": true});
            serde_json::from_value::<Meter>(meter).unwrap()
        };
        let meters = [meter("storage.hot", "byte"), meter("calls", "call")];
        #[rustfmt::skip]
        let cases = [ // field, what was typed, what is sent
            ("limits.0.max",            "10 GB",     "10737418240"),
            ("limits.1.max",            "10 GB",     "10 GB"), // calls
            ("limits.2.max",            "1 KB",      "1 KB"),  // no meter
            ("limit.storage.hot.day",   "2 KB",      "2048"),
            ("limit.storage.hot.month", "unlimited", "unlimited"),
            ("moreMax",                 "1 MB",      "1048576"),
            ("quantity",                "3 KB",      "3 KB"),  // nothing is chosen
            ("reason",                  "10 GB",     "10 GB"),
        ];
        let chosen = [("limits.0.meter", "storage.hot"), ("limits.1.meter", "calls"), ("moreMeter", "storage.hot")];
        let typed: Vec<_> = cases.iter().map(|(name, typed, _)| (*name, *typed)).chain(chosen).collect();
        let measured = Typed::of(&typed).measured(&meters);
        for (name, typed, expected) in cases {
            assert_eq!(measured.raw(name), Some(expected), "{name} {typed}");
        }
        let measured = Typed::of(&[("meter", "storage.hot"), ("quantity", "-3 KB")]).measured(&meters);
        assert_eq!(measured.raw("quantity"), Some("-3072"));
    }
}
