//! Whether PostgreSQL keeps what it says it has: settings under which a crash takes what was acknowledged.

use super::{Postgres, at};
use crate::store::error::{EngineError, unreadable};

/// Has the commits of a connection be on the disk before they are acknowledged, also after the server's default is turned off.
/// Where that says more (`remote_apply`: that standbys show them, too) it stays so; else `on` is the most there is.
pub(super) const COMMITS: &str = "
    SELECT set_config('synchronous_commit',
                      CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)";

/// What is wrong with a server's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Weakness {
    /// Nothing is ever forced to the disk.
    Fsync,
    /// A page of which half was written stays torn.
    FullPageWrites,
    /// Commits are acknowledged before they are on the disk, unless who commits says otherwise, which this program does.
    SynchronousCommit,
}

impl Weakness {
    /// A node does not begin on such a server.
    const fn is_refused(self) -> bool {
        !matches!(self, Self::SynchronousCommit)
    }
}

impl std::fmt::Display for Weakness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Self::Fsync => "fsync",
            Self::FullPageWrites => "full_page_writes",
            Self::SynchronousCommit => {
                return f.write_str(
                    "PostgreSQL runs with synchronous_commit = off, by its own settings or those of this database or user: \
                     Metergate sets it to on for its own transactions, since others would be lost in a crash",
                );
            }
        };
        write!(
            f,
            "PostgreSQL runs with {name} = off: a power cut would lose or tear what it has acknowledged. Set {name} = on in \
             postgresql.conf and reload it"
        )
    }
}

/// Tells the log.
pub(in crate::store) fn tell(weakness: Weakness) {
    if weakness.is_refused() {
        tracing::error!("{weakness}");
    } else {
        tracing::warn!("{weakness}");
    }
}

/// What a start makes sure of, and says. What is wrong with the server although it may be used.
///
/// # Errors
/// [`EngineError::Unusable`] where it would lose what it has acknowledged.
pub(super) fn check(owner: &Postgres) -> Result<Vec<Weakness>, EngineError> {
    let weak = owner.weaknesses()?;
    if let Some(refused) = weak.iter().find(|weakness| weakness.is_refused()) {
        return Err(EngineError::Unusable(refused.to_string()));
    }
    weak.iter().for_each(|weakness| tell(*weakness));
    Ok(weak)
}

impl Postgres {
    /// What is wrong with the server's settings as they are now. Of `synchronous_commit` what a connection has that says
    /// nothing of it.
    pub(in crate::store) fn weaknesses(&self) -> Result<Vec<Weakness>, EngineError> {
        let sql = "SELECT current_setting('fsync'), current_setting('full_page_writes'),
                   (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit')";
        let row = self.together(&[(sql, Vec::new())])?.pop().and_then(|mut rows| rows.pop());
        let row = row.ok_or_else(|| unreadable("the server's settings", "no row"))?;
        let all = [Weakness::Fsync, Weakness::FullPageWrites, Weakness::SynchronousCommit];
        let mut weak = Vec::new();
        for (column, weakness) in all.into_iter().enumerate() {
            if at::<Option<&str>>(&row, column)? == Some("off") {
                weak.push(weakness);
            }
        }
        Ok(weak)
    }
}
