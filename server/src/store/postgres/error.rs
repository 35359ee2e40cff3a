//! What PostgreSQL says, told apart by what can be done about it.

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use super::at_once::OUTRUN;
use crate::store::error::EngineError;

impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        let Some(state) = error.code() else {
            return if error.is_closed() || std::error::Error::source(&error).is_some_and(is_io) {
                Self::Unreachable(told(&error))
            } else {
                Self::Postgres(told(&error))
            };
        };
        let (told, class) = (told(&error), state.code().get(..2).unwrap_or_default());
        match class {
            _ if *state == SqlState::UNIQUE_VIOLATION || *state == SqlState::LOCK_NOT_AVAILABLE => {
                Self::Contended(told)
            }
            // Serialization failures and deadlocks.
            "40" => Self::Contended(told),
            _ if state.code() == OUTRUN => Self::Outrun,
            _ if *state == SqlState::DISK_FULL => Self::ServerFull(told),
            // A statement that was prepared stays for as long as its session.
            _ if *state == SqlState::INVALID_SQL_STATEMENT_NAME => Self::Pooled,
            // Data that no column takes: the fault of one request.
            "22" | "23" => Self::Refused(told),
            // It took the locks away from whom it had not heard of for too long: nothing has happened.
            _ if *state == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Self::Unreachable(told),
            // The connection, resources, somebody who stopped it, the system.
            "08" | "53" | "57" | "58" => Self::Unreachable(told),
            // It only reads for now, by its settings: nothing has happened.
            _ if *state == SqlState::READ_ONLY_SQL_TRANSACTION => Self::Unreachable(told),
            "XX" if *state != SqlState::INTERNAL_ERROR => Self::ServerDamaged(told),
            _ => Self::Postgres(told),
        }
    }
}

/// Whether a statement has failed, and nothing of it has happened. Whom PostgreSQL, or a pooler, sends away with an error may have been
/// sent away behind a commit.
pub(super) fn has_failed(error: &Error) -> bool {
    let is_of_connection =
        |said: &DbError| ["08", "57P", "58"].iter().any(|class| said.code().code().starts_with(class));
    let said = error.as_db_error().filter(|said| !is_of_connection(said));
    said.and_then(DbError::parsed_severity) == Some(Severity::Error)
}

fn is_io(source: &(dyn std::error::Error + 'static)) -> bool {
    source.is::<std::io::Error>()
}

/// With what PostgreSQL itself says, which the error alone leaves out.
fn told(error: &Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}
