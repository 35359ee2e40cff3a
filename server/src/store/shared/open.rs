//! The store over PostgreSQL, as the rest of the program has it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use metergate_rules::time::Time;
use parking_lot::{Mutex, RwLock};

use super::news::News;
use super::pace::Pace;
use super::shown::Shown;
use super::team::Team;
use super::tend::{Role, Tending};
use super::{DEADLINE, Memory, PARTS, Shared};
use crate::catalogue::Snapshot;
use crate::clock::Clock;
use crate::config::Secret;
use crate::people::People;
use crate::store::dirty::Dirty;
use crate::store::error::{EngineError, unreadable};
use crate::store::feed::Feed;
use crate::store::inbox::Inbox;
use crate::store::known::{IdHasher, Known};
use crate::store::ledger::{Kept, Ledger, Map};
use crate::store::open::{Engine, Given, Outdating, Settings, Store, spawned};
use crate::store::postgres::ids::tend_partitions;
use crate::store::postgres::listen::Listening;
use crate::store::postgres::lock::{Epochs, TeamRow};
use crate::store::postgres::pool::Pool;
use crate::store::postgres::{self, Address, BEGIN, Postgres};
use crate::store::reader::Reader;
use crate::store::refusals::Refusals;
use crate::store::rows::Rows as _;

/// What the loops of a node have in common.
#[derive(Clone)]
struct Common {
    address: Address,
    settings: Settings,
    clock: Clock,
    ahead: Arc<AtomicI64>,
    shown: Arc<Shown>,
    inbox: Arc<Inbox>,
    given: Arc<Given>,
    outdated: Outdating,
    /// The part of the use of all together to which the first adds.
    part: u8,
}

impl Common {
    fn new(address: Address, settings: Settings, clock: Clock, shown: Shown) -> Self {
        let inbox = Arc::new(Inbox::with_patience(deciding(&settings), DEADLINE));
        let (ahead, given, outdated) = (Arc::default(), Arc::default(), Outdating::new(None));
        let part = crate::random::bytes::<1>()[0];
        Self { address, settings, clock, ahead, shown: Arc::new(shown), inbox, given, outdated, part }
    }
}

impl Shared {
    /// One of a node's loops, with a connection of its own. The last does the upkeep.
    fn new(lane: usize, common: Common, session: Postgres, ledger: Ledger, epochs: (i64, i64)) -> Self {
        let Common { address, settings, clock, ahead, shown, inbox, given, outdated, part } = common;
        let part = (usize::from(part) + lane) % PARTS;
        let memory = Memory { part: part as i16, team: Team::new(epochs), ..Memory::default() };
        let role = match lane {
            0 => Role::First,
            lane if lane < deciding(&settings) => Role::Decides,
            _ => Role::Upkeep,
        };
        Self {
            address,
            session: Some(session),
            ledger,
            settings,
            clock,
            ahead,
            lane,
            role,
            shown,
            inbox,
            given,
            outdated,
            memory,
            put_off: Vec::new(),
            apart: VecDeque::new(),
            waited: None,
            failed: None,
            is_told: false,
            pace: Pace::default(),
            tending: Tending::default(),
            listening: None,
        }
    }
}

/// How many of a node's loops decide.
fn deciding(settings: &Settings) -> usize {
    settings.lanes.max(1)
}

/// What a start reads of the database.
struct Found {
    keys: [[u8; 16]; 3],
    catalogue: Arc<Snapshot>,
    people: Arc<People>,
    epochs: Epochs,
}

impl Store {
    /// Opens a store on PostgreSQL, whose schema it brings up to date.
    ///
    /// # Errors
    /// [`EngineError`] where it does not answer, would lose what it acknowledged, or cannot be read.
    pub(in crate::store) fn open_shared(url: &Secret, settings: Settings, clock: Clock) -> Result<Self, EngineError> {
        let address = postgres::address(url.expose())?;
        let weak = postgres::prepare(&address)?;
        let session = Postgres::connect_to_decide(&address)?;
        let Found { keys: [values_key, audit_key, ids_key], catalogue, people, epochs } = found(&session)?;
        let now = epochs.now.plus(clock.shift());
        tend_partitions(&address, now, now.plus(-settings.keeps_ids()))?;
        let feed = Arc::new(Feed::new(now));
        let ledger = || ledger(&catalogue, &people, IdHasher::new(&ids_key), &feed);
        let known = (epochs.catalogue, epochs.people);
        let common = Common::new(address.clone(), settings, clock, Shown::new(&catalogue, &people, known));
        let mut loops = vec![Shared::new(0, common.clone(), session, ledger(), known)];
        for lane in 1..=deciding(&common.settings) {
            let session = Postgres::connect_to_decide(&address)?;
            loops.push(Shared::new(lane, common.clone(), session, ledger(), known));
        }
        loops[0].time(epochs.now);
        let inbox = Arc::clone(&common.inbox);
        loops[0].listening = Some(Listening::start(address.clone(), move || inbox.wake_first())?);
        loops.iter_mut().for_each(|shared| shared.tending.weak.clone_from(&weak));
        let remembered = loops.iter().map(|shared| Arc::clone(&shared.memory.remembered)).collect();
        let threads = loops.into_iter().map(|shared| spawned(move || shared.run())).collect::<Result<_, _>>()?;
        let Common { inbox, shown, ahead, given, outdated, .. } = common;
        let outdated = outdated.subscribe();
        let pool = Arc::new(Pool::new(address, outdated.clone()));
        let (catalogue, people) = (Arc::clone(&shown.catalogue), Arc::clone(&shown.people));
        let news = Some(News::new(shown, Arc::clone(&pool), Arc::clone(&inbox)));
        let reader = Reader::of_rows_alone(Arc::clone(&pool), Arc::clone(&people));
        Ok(Self {
            inbox,
            catalogue,
            people,
            clock,
            ahead,
            threads: Mutex::new(threads),
            reader,
            feed,
            values_key,
            audit_key,
            // Time is PostgreSQL's: no clock of a node moves it.
            last_commit: Time::MIN,
            engine: Engine::Postgres(pool),
            given,
            remembered,
            news,
            outdated,
        })
    }
}

fn found(session: &Postgres) -> Result<Found, EngineError> {
    session.begin(BEGIN);
    let has_journal = session.has_journal()?;
    let key = |name: &str| installation_key(session, name, has_journal);
    let keys = [key("values_key")?, key("audit_key")?, key("ids_key")?];
    session.commit()?;
    session.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    let epochs = session.epochs(TeamRow::Seen)?;
    let catalogue = Snapshot::new(session.stored()?).map_err(|error| unreadable("the catalogue", error))?;
    let people = session.people()?;
    session.roll_back();
    Ok(Found { keys, catalogue: Arc::new(catalogue), people: Arc::new(people), epochs })
}

/// A key made once for an installation, by whichever node is first.
fn installation_key(session: &Postgres, name: &str, has_journal: bool) -> Result<[u8; 16], EngineError> {
    // Under another key nothing that is known would be known again.
    if has_journal && session.setting(name)?.is_none() {
        return Err(unreadable(format!("the setting {name}"), "it is missing, though there is a journal"));
    }
    let made = format!("{:032x}", u128::from_be_bytes(crate::random::bytes()));
    let kept = session.keep_setting(name, &made)?;
    let key = u128::from_str_radix(&kept, 16).map_err(|error| unreadable(name, error))?;
    Ok(key.to_be_bytes())
}

/// What the loop begins with. Accounts, ids and ends of chains are in the rows.
fn ledger(catalogue: &Arc<Snapshot>, people: &Arc<People>, hasher: IdHasher, feed: &Arc<Feed>) -> Ledger {
    Ledger {
        accounts: Map::default(),
        carried: Map::default(),
        dirty: Arc::new(RwLock::new(Dirty::default())),
        keys: Map::default(),
        known: Known::new(hasher, Vec::new(), 1),
        closed: Vec::new(),
        blocks: Kept::default(),
        chunks: Kept::default(),
        heads: Map::default(),
        // Each organization counts its own.
        sequence: u64::MAX,
        last: Time::MIN,
        catalogue: Arc::clone(catalogue),
        people: Arc::clone(people),
        feed: Arc::clone(feed),
        refusals: Refusals::default(),
        deleted: [].into(),
        cut: [].into(),
    }
}
