//! `reservation`: each is committed, released or lapsed, exactly once, whoever races, and holds until then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use metergate::store::block::Record;
use metergate_rules::account::Account;
use metergate_rules::grant;
use metergate_rules::id::OrganizationId;
use metergate_rules::outcome::{Effect, Entry, Hold, What};
use metergate_rules::reservation::{LONGEST, Reservation, SHORTEST};

use super::image::Image;
use super::{Held, Violation, equal, holds};

const NAME: &str = "reservation";

/// Checks one snapshot of a data folder; the store may be at work meanwhile.
pub(crate) fn reservation(folder: &Path) -> Held {
    reservation_of(&Image::of_folder(folder))
}

/// Checks what is stored.
pub(crate) fn reservation_of(image: &Image) -> Held {
    let Image { journal, rows, folded_to, .. } = image;
    let organizations: BTreeSet<OrganizationId> = journal.records.iter().map(|(_, id, _)| *id).collect();
    for id in organizations {
        Lives::of(id, journal.of_organization(id))?;
    }
    for (id, (held, row)) in rows {
        Lives::of(*id, journal.up_to((*held).max(*folded_to), *id))?.are_in(row)?;
    }
    Ok(())
}

/// The reservations of one organization, as the records tell their lives.
struct Lives {
    made: u32,
    open: BTreeMap<u32, Reservation>,
}

impl Lives {
    fn of<'a>(id: OrganizationId, records: impl Iterator<Item = &'a Record>) -> Result<Self, Violation> {
        let mut lives = Self { made: 0, open: BTreeMap::new() };
        for Record { entry, .. } in records {
            lives.follow(entry).map_err(|Violation { detail, .. }| Violation {
                invariant: NAME,
                detail: format!("organization {id} at {}: {detail}", entry.at),
            })?;
        }
        Ok(lives)
    }

    fn follow(&mut self, entry: &Entry) -> Held {
        if let What::Due(Effect::ReservationLapsed(id)) = entry.what {
            let ended = self.end(id.0, "lapsed")?;
            return equal(NAME, format!("the time at which {} lapsed", id.0), &entry.at, &ended.ends_at);
        } else if !matches!(entry.what, What::Due(_)) {
            let late = self.open.values().find(|held| held.ends_at <= entry.at);
            holds(NAME, late.is_none(), || format!("{late:?} holds on after its time"))?;
        }
        let What::Reservation(hold) = &entry.what else { return Ok(()) };
        let ends_in_time = |ends_at: metergate_rules::time::Time| {
            let ttl = ends_at.since(entry.at);
            holds(NAME, (SHORTEST..=LONGEST).contains(&ttl), || format!("it was to hold for {ttl} µs"))
        };
        match &**hold {
            Hold::Made { reservation, .. } => {
                self.made += 1;
                equal(NAME, "the number of a new one", &reservation.id.0, &self.made)?;
                equal(NAME, "the time at which it was made", &reservation.at, &entry.at)?;
                ends_in_time(reservation.ends_at)?;
                self.open.insert(self.made, reservation.clone());
            }
            Hold::Extended { id, ends_at } => {
                ends_in_time(*ends_at)?;
                let mut held = self.end(id.0, "extended")?;
                held.hold_until(*ends_at);
                self.open.insert(id.0, held);
            }
            Hold::Settled(settled) => {
                let held = self.end(settled.id.0, "committed")?;
                let (counted, made) = (settled.uses.first(), (held.meter, held.at));
                let counted = counted.map(|used| (used.meter, used.time));
                equal(NAME, format!("meter and time of what {} came to", settled.id.0), &counted, &Some(made))?;
            }
            Hold::Released(id) => drop(self.end(id.0, "released")?),
        }
        Ok(())
    }

    /// Takes one away that must hold.
    fn end(&mut self, id: u32, how: &str) -> Result<Reservation, Violation> {
        let detail = || format!("{id} is {how} though it does not hold, of {} that were made", self.made);
        self.open.remove(&id).ok_or_else(|| Violation { invariant: NAME, detail: detail() })
    }

    /// A row has exactly those that hold, and its grants hold what these have of them.
    fn are_in(&self, row: &Account) -> Held {
        let what = |what: &str| format!("{what} in the row of organization {}", row.id);
        equal(NAME, what("how many were made"), &row.reserved, &self.made)?;
        let open: Vec<_> = self.open.values().cloned().collect();
        equal(NAME, what("those that hold"), &row.reservations, &open)?;
        for given in &row.grants {
            let draws = open
                .iter()
                .flat_map(Reservation::parts)
                .flat_map(|part| &part.draws)
                .filter(|draw| draw.grant == given.id);
            let held = grant::total(&draws.copied().collect::<Vec<_>>());
            equal(NAME, what(&format!("what is held of grant {}", given.id.0)), &given.held, &held)?;
        }
        Ok(())
    }
}
