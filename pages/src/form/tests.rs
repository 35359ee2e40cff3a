//! Forms: what they keep, where they say what is wrong, and how their fields stand together.

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
fn fields_of_one_question_stand_together_under_it() {
    let scope = |name: &str| Field::check(name, name).group("May", "What it is for.");
    let form = Form::new("Key", "Make").field(Field::text("name", "Name")).field(scope("read")).field(scope("consume"));
    let form = form.field(Field::text("until", "Until"));
    let parts: Vec<_> = form.parts().iter().map(|(question, fields)| (question.is_some(), fields.len())).collect();
    assert_eq!(parts, [(false, 1), (true, 2), (false, 1)]);
    let page = FormPage::new(Frame::nobody(), form.of("Acme")).render().unwrap();
    assert_eq!(page.matches("<fieldset").count(), 1, "{page}");
    assert!(page.contains("<legend>May</legend>") && page.contains("What it is for.") && page.contains("Acme"));
}

#[test]
fn what_is_wrong_in_a_row_stands_at_the_field_of_that_row() {
    let row = |at: usize| Row {
        legend: format!("Limit {at}"),
        fields: ["meter", "max", "thresholds"].map(|name| Field::text(&format!("limits.{at}.{name}"), name)).into(),
    };
    let section =
        Section { name: "limits", title: "Limits", hint: "", add: "Add", rows: vec![row(0), row(1)], blank: row(2) };
    let form = Form::new("Plan", "Save").field(Field::text("trial.days", "Days")).section(section);
    #[rustfmt::skip]
    let cases = [ // pointer, the field
        ("#/limits/1/max",          Some("limits.1.max")),
        ("#/limits/1/thresholds/2", Some("limits.1.thresholds")), // of the list in it
        ("#/limits/0",              Some("limits.0.meter")),      // of the row
        ("#/trial/days",            Some("trial.days")),
        ("#/trial",                 Some("trial.days")),
        ("#/limits/2/max",          None),
        ("#/degraded/tokens",       None),
    ];
    for (pointer, name) in cases {
        let errors = vec![Fault { detail: "wrong".to_owned(), pointer: pointer.to_owned() }];
        let form = form.clone().refused(&Problem { errors, ..Problem::default() });
        let rows = form.sections[0].rows.iter().flat_map(|row| &row.fields);
        let marked: Vec<_> = form.fields.iter().chain(rows).filter(|field| field.error.is_some()).collect();
        assert_eq!(
            marked.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(),
            Vec::from_iter(name),
            "{pointer}"
        );
    }
}

#[test]
fn a_form_that_was_overtaken_shows_what_is_there_and_what_was_typed() {
    let shown = Form::new("Edit", "Save")
        .field(Field::text("name", "Name").value("Acme"))
        .field(Field::select("zone", "Zone", [("a", "Alpha"), ("b", "Beta")]).value("a"))
        .field(Field::reason());
    let typed = |name: &str| Some(if name == "zone" { "b" } else { "Acme" }.to_owned());
    let form = shown.of_version(Some("v2".to_owned())).with(typed).overtaken();
    let changes: Vec<_> = form.changes.iter().map(|one| (&*one.what, &*one.before, &*one.after)).collect();
    assert_eq!(changes, [("Zone", "Alpha", "Beta")], "a reason differs from nothing");
    assert!(form.error.is_some() && form.has_version());
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
