//! One organization's records, read from where they tell how it stood, and replayed.

use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::catalogue::Catalogue;
use metergate_rules::outcome::{Change, Entry, Hold, VoidedEvent, What};
use metergate_rules::price::{LlmUse, TOKENS};
use metergate_rules::time::{HOUR, Time};
use metergate_rules::what_if::{self, Replay, Terms};

use super::estimated::{self, Guess};
use super::late::{Gathered, ToldLate};
use super::tally::Tally;
use super::{Question, stopped};
use crate::llm;
use crate::store::StoreError;
use crate::store::reader::{ReadError, View};

/// Records between two looks at whether to go on.
const STRIDE: u64 = 1024;

/// What was found of an organization.
pub(super) struct Looked {
    /// As it is now.
    pub(super) account: Account,
    /// By its records.
    pub(super) exact: Tally,
    /// Where they are gone.
    pub(super) guess: Option<Guess>,
    /// What was told only after windows in which it had happened were closed.
    pub(super) late: ToldLate,
    /// Whether the first billing period is the one that was, since the records from the beginning of another are gone.
    pub(super) keeps_periods: bool,
}

impl Looked {
    fn nothing(account: Account) -> Self {
        Self { account, exact: Tally::default(), guess: None, late: ToldLate::default(), keeps_periods: false }
    }
}

/// From where the records tell how it stood.
enum Begin {
    /// From its creation.
    Creation,
    /// From how it stood in this block, at a time that is not after the range's start.
    Image(u64),
    /// What went before is gone; from then on they tell again, if at all.
    Gone(Option<(u64, Time)>),
}

impl Begin {
    /// Until when the range has to be estimated, where it has to be.
    fn estimated_until(&self, question: &Question) -> Option<Time> {
        match self {
            Self::Gone(Some((_, at))) if *at <= question.from => None,
            Self::Gone(known) => Some(known.map_or(question.to, |(_, at)| at.min(question.to))),
            Self::Creation | Self::Image(_) => None,
        }
    }
}

/// Replays what an organization did in the range that is asked about.
///
/// # Errors
/// [`ReadError`] where it cannot be read or does not fit the terms; [`StoreError::Unavailable`] where it is not
/// to go on.
pub(super) fn look(
    view: &View<'_>,
    question: &Question,
    account: Account,
    goes_on: &dyn Fn() -> bool,
) -> Result<Looked, ReadError> {
    let from = question.from;
    // Of who has done nothing since then nothing is asked. An event may lie a little ahead of when it was told.
    if !account.profile.test && account.time.plus(HOUR) < from {
        return Ok(Looked::nothing(account));
    }
    // The period that would have been open then began earlier.
    let needed = if question.has_other_periods() { what_if::needed_from(&account, from) } else { from };
    let begin = begin(view, &account, needed, goes_on)?;
    let (first, exact_from) = match begin {
        Begin::Creation => (1, Some(question.from)),
        Begin::Image(block) => (block, Some(question.from)),
        Begin::Gone(Some((block, at))) => (block, Some(at)),
        Begin::Gone(None) => (u64::MAX, None),
    };
    let voided = std::sync::Arc::clone(&account.voided);
    let mut following = Following {
        question,
        voided: &voided,
        is_test: account.profile.test,
        from: exact_from.map_or(Time::MAX, |at| at.max(question.from)),
        stage: Stage::Waiting,
        tally: Tally::default(),
        late: Gathered::default(),
        stood: None,
        keeps_periods: false,
        read: 0,
    };
    let mut failed = None;
    if let Some(last) = first.checked_sub(1).filter(|_| exact_from.is_some()) {
        let newest = view.rows().newest_block(account.id)?;
        view.blocks_between(account.id, (last, newest), |sequence, records| {
            records.into_iter().all(|(offset, record)| {
                let taken = following.take((sequence, offset), &record.entry, &account, goes_on);
                taken.unwrap_or_else(|error| {
                    failed = Some(error);
                    false
                })
            })
        })?;
    }
    failed.map_or(Ok(()), Err)?;
    let Following { tally: exact, late, stood, keeps_periods, .. } = following;
    let late = late.judged(view, question, &account, goes_on)?;
    let until = begin.estimated_until(question);
    let stands = stood.as_ref().unwrap_or(&account);
    let guess = until.map(|until| estimated::guess(view, question, stands, until, goes_on)).transpose()?;
    Ok(Looked { account, exact, guess, late, keeps_periods })
}

fn begin(view: &View<'_>, account: &Account, from: Time, goes_on: &dyn Fn() -> bool) -> Result<Begin, ReadError> {
    // Its clock may have been set back, so that its times say nothing of the order of its entries.
    if account.profile.test {
        return Ok(Begin::Creation);
    }
    let (mut begin, mut read, mut is_stopped) = (Begin::Gone(None), 0_u64, false);
    view.records(account.id, u64::MAX, |sequence, _, record| {
        read += 1;
        is_stopped = read.is_multiple_of(STRIDE) && !goes_on();
        match &record.entry.what {
            What::Image(stood) if stood.time <= from => begin = Begin::Image(sequence),
            What::Image(stood) => {
                begin = Begin::Gone(Some((sequence, stood.time)));
                return !is_stopped;
            }
            What::Changed(change) if matches!(**change, Change::Created { .. }) => begin = Begin::Creation,
            _ => return !is_stopped,
        }
        false
    })?;
    if is_stopped { stopped() } else { Ok(begin) }
}

enum Stage<'q> {
    /// Until an entry says how it stood.
    Waiting,
    /// What came before the range.
    Before(Box<Account>),
    /// In it.
    Within(Box<Replay<'q>>),
    /// What came after it: read for what it tells late of the range.
    After(Box<Account>),
}

/// What is made of the records as they come.
struct Following<'q> {
    question: &'q Question,
    voided: &'q [VoidedEvent],
    is_test: bool,
    from: Time,
    stage: Stage<'q>,
    tally: Tally,
    late: Gathered,
    /// How it stood where its records begin to tell.
    stood: Option<Account>,
    keeps_periods: bool,
    read: u64,
}

impl<'q> Following<'q> {
    /// Takes the next entry. Whether it could take more.
    fn take(
        &mut self,
        place: (u64, u32),
        entry: &Entry,
        live: &Account,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<bool, ReadError> {
        self.read += 1;
        if self.read.is_multiple_of(STRIDE) && !goes_on() {
            return stopped();
        }
        if rebases(entry) {
            self.begin_anew(entry);
            return Ok(true);
        }
        if matches!(self.stage, Stage::Waiting) {
            self.stand(entry, live);
            return Ok(true);
        }
        if self.question.to <= entry.at {
            if self.is_test {
                return Ok(true);
            }
            self.end();
        }
        self.begin(entry.at);
        self.note_late(place, entry, live);
        match &mut self.stage {
            Stage::Waiting => {}
            Stage::Before(account) | Stage::After(account) => apply::apply(account, entry),
            Stage::Within(replay) => {
                let taken = match self.question.prices_anew {
                    true => replay.take_priced(place, entry, said(entry, &self.question.catalogue.rules)),
                    false => replay.take(place, entry),
                };
                let (taken, charged) = (taken.map_err(StoreError::Problem)?, replay.take_charged());
                if entry.at < self.from {
                    return Ok(true);
                }
                self.tally.charge(charged);
                if let Some(found) = taken {
                    self.tally.take(&found, &self.question.zone);
                }
            }
        }
        Ok(true)
    }

    /// Begins the replay before the first entry of the range; where billing periods are others, with the one that would have been open.
    fn begin(&mut self, at: Time) {
        let Stage::Before(account) = &self.stage else { return };
        let terms = Terms { catalogue: &self.question.catalogue.rules, moved: &self.question.moved };
        let begins = if self.question.has_other_periods() { terms.begins(account, self.from) } else { self.from };
        if at < begins {
            return;
        }
        let account = (**account).clone();
        self.stage = Stage::Within(Box::new(if self.question.in_course() {
            self.keeps_periods |= begins < account.time && account.profile.created_at < begins;
            Replay::in_course(account, terms, self.voided, begins)
        } else {
            Replay::new(account, terms, self.voided)
        }));
    }

    /// From here on the organization goes on as it was.
    fn end(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Within(replay) => Stage::After(Box::new(replay.into_was())),
            Stage::Before(account) => Stage::After(account),
            stage => stage,
        };
    }

    /// Notes what an entry tells late, unless it has become void since.
    fn note_late(&mut self, place: (u64, u32), entry: &Entry, live: &Account) {
        let open = match &self.stage {
            Stage::Waiting => return,
            Stage::Before(account) | Stage::After(account) => &account.windows,
            Stage::Within(replay) => replay.was_open(),
        };
        if entry.at < self.from {
            return;
        }
        let terms = Terms { catalogue: &self.question.catalogue.rules, moved: &self.question.moved };
        let told = terms.late(entry, live, open);
        let is_void = || self.voided.iter().any(|event| (event.sequence, event.offset) == place);
        if !told.is_empty() && !is_void() {
            self.late.take(&told, self.from, entry.at < self.question.to, self.question);
        }
    }

    fn stand(&mut self, entry: &Entry, live: &Account) {
        let stood = match &entry.what {
            What::Image(stood) => Some((**stood).clone()),
            _ => apply::create(live.id, entry),
        };
        if let Some(stood) = stood {
            self.stood = Some(stood.clone());
            self.stage = Stage::Before(Box::new(stood));
        }
    }

    /// A test organization whose clock is set for the first time is as if it had been created then.
    fn begin_anew(&mut self, entry: &Entry) {
        (self.tally, self.late) = (Tally::default(), Gathered::default());
        self.stage = match std::mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Waiting => Stage::Waiting,
            Stage::Before(mut account) | Stage::After(mut account) => {
                apply::apply(&mut account, entry);
                Stage::Before(account)
            }
            Stage::Within(replay) => {
                let mut account = replay.into_was();
                apply::apply(&mut account, entry);
                Stage::Before(Box::new(account))
            }
        };
    }
}

/// What an entry says of a language model's tokens, where it used some or asked for some.
fn said(entry: &Entry, rules: &Catalogue) -> Option<Box<LlmUse>> {
    let meter = rules.meter_by_key(TOKENS)?;
    let used = || entry.what.uses().iter().any(|used| used.meter == meter.id && used.follows.is_none());
    match &entry.what {
        What::Decided(decided) => {
            let asked = || decided.refused.iter().any(|asked| asked.item.meter == meter.id && asked.follows.is_none());
            (used() || asked()).then(|| llm::stored(meter, &decided.properties, rules)).flatten()
        }
        What::Recorded(recorded) => used().then(|| llm::stored(meter, &recorded.event.data, rules)).flatten(),
        What::Reservation(hold) => match &**hold {
            Hold::Settled(settled) if used() => {
                llm::settled(meter, &settled.properties, settled.quantity(), rules).unwrap_or(None)
            }
            Hold::Made { reservation, properties } if reservation.meter == meter.id => {
                llm::stored(meter, properties, rules)
            }
            _ => None,
        },
        _ => None,
    }
}

fn rebases(entry: &Entry) -> bool {
    let What::Changed(change) = &entry.what else { return false };
    matches!(**change, Change::Clock { rebased: Some(_), .. })
}
