//! What is written into the audit log and changes nothing else (O6).

use crate::audit::actions::{CATEGORIES, RESOLVE, is_name, is_own};
use crate::audit::{Draft, Fields, Object};
use crate::command::Note;
use crate::outcome::{Outcome, Reply};
use crate::time::Time;

use super::Problem;

/// The application's own entry. It can pass for none of Metergate's.
pub(super) fn append(note: &Note, now: Time) -> Result<Outcome, Problem> {
    if is_own(&note.action) {
        return Err(Problem::OwnAction);
    } else if !is_name(&note.action) {
        return Err(Problem::InvalidAction);
    } else if !CATEGORIES.contains(&&*note.category) {
        return Err(Problem::UnknownCategory);
    }
    let draft = Draft {
        at: now,
        action: note.action.clone().into(),
        category: note.category.clone().into(),
        by_system: false,
        before: Object::Text(note.before.clone()),
        after: Object::Text(note.after.clone()),
        details: Object::Text(note.details.clone()),
    };
    Ok(outcome(vec![draft]))
}

/// An entry dealt with: an entry too, which names the other. The same note again changes nothing.
pub(super) fn resolve(seq: u64, note: &str, before: Option<&str>, now: Time) -> Outcome {
    if before == Some(note) {
        return outcome(Vec::new());
    }
    let noted = |note: Option<&str>| Fields::default().with("note", note);
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    let draft = Draft {
        details: Object::Fields(Fields::default().with("seq", seq)),
        ..Draft::new(now, RESOLVE, "config", noted(before), noted(Some(note)))
    };
    outcome(vec![draft])
}

fn outcome(audit: Vec<Draft>) -> Outcome {
    Outcome { entries: Vec::new(), reply: Reply::Done, audit }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(action: &str, category: &str) -> Note {
        let object = || r#"{"a":1}"#.to_owned();
        Note {
            action: action.to_owned(),
            category: category.to_owned(),
            before: object(),
            after: object(),
            details: object(),
        }
    }

    #[test]
    fn the_application_writes_its_own_actions_in_its_own_categories() {
        let outcome = append(&note("document.upload", "knowledge_base"), Time::from_micros(7)).unwrap();
        assert!(outcome.entries.is_empty());
        let [draft] = outcome.audit.try_into().unwrap();
        assert_eq!((&*draft.action, &*draft.category, draft.by_system), ("document.upload", "knowledge_base", false));
        assert_eq!(draft.before, Object::Text(r#"{"a":1}"#.to_owned()));
        let refused = [
            ("plan.change", "quota", Problem::OwnAction),
            ("PLAN_CHANGE", "quota", Problem::OwnAction),
            ("a b", "quota", Problem::InvalidAction),
            ("", "quota", Problem::InvalidAction),
            ("document.upload", "documents", Problem::UnknownCategory),
            ("document.upload", "", Problem::UnknownCategory),
        ];
        for (action, category, problem) in refused {
            assert_eq!(append(&note(action, category), Time::MIN).unwrap_err(), problem, "{action} {category}");
        }
    }

    #[test]
    fn an_entry_is_dealt_with_by_another_unless_the_note_stands_already() {
        let draft = resolve(3, "done", Some("seen"), Time::from_micros(7)).audit.pop().unwrap();
        assert_eq!((&*draft.action, &*draft.category), ("audit.resolve", "config"));
        let noted = |note: &str| Object::Fields(Fields::default().with("note", note));
        assert_eq!((draft.before, draft.after), (noted("seen"), noted("done")));
        assert_eq!(draft.details, Object::Fields(Fields::default().with("seq", 3_i64)));
        assert!(resolve(3, "done", Some("done"), Time::MIN).audit.is_empty());
    }
}
