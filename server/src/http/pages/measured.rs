//! Quantities that were typed with a unit, as the API takes them: of bytes a form takes `10 GB`. A meter and its quantity are two
//! fields, so what a field means is found by the field of its meter.

use metergate_pages::answers::Meter;
use metergate_pages::format::Amount;

use super::sent::Typed;

impl Typed {
    /// The same with every size in bytes. What is none stays as it is, for the API to refuse.
    pub(super) fn measured(&self, meters: &[Meter]) -> Self {
        let measured = |(name, value): &(String, String)| {
            let meter = self.meter_of(name).and_then(|key| meters.iter().find(|meter| meter.key == key));
            let size = meter.and_then(|meter| Amount::typed(value, meter.unit()));
            (name.clone(), size.map_or_else(|| value.clone(), Amount::plain))
        };
        self.pairs().iter().map(measured).collect()
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
    use super::*;

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
