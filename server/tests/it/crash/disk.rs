//! Faults of the disk: the power fails, writes and syncs fail or take long, the disk is full, stored bytes change.

mod failing;
mod flipped;
mod full;
mod image;
mod left;
mod power_cut;
mod slices;
mod slow;
mod strace;
mod torn;

pub(super) use image::{Disk, folder};

use super::history::Operation;
use super::process::Faults;
use super::run::Run;
use crate::invariant::{holds, stored};

/// The next start reads what there is; what is unknown is asked for again, and then everything counts exactly.
fn recovers(run: &Run) {
    let held = stored(&run.data()).and_then(|()| {
        let server = run.start(&Faults::default());
        run.check(&run.read(&server))?;
        run.repeat(&server, Operation::is_unknown);
        let unknown = run.history.all().into_iter().find(|one| one.is_repeatable() && one.is_unknown());
        holds("liveness", unknown.is_none(), || format!("a healthy server does not answer {unknown:?}"))?;
        let held = run.check(&run.read(&server));
        server.stop();
        held
    });
    held.unwrap_or_else(|violation| panic!("{violation}"));
}
