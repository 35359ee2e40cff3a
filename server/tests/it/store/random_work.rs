//! Random work on three organizations: everything that can be asked, in batches and at once, over months.

use metergate::catalogue::change::TeamCommand;
use metergate::catalogue::file::CatalogueFile;
use metergate::store::{Answers, Receipt, Request, StoreError};
use metergate_rules::account::{ExtraQuota, LockCause};
use metergate_rules::command::{
    Adjustment, Command, Commit, Completion, EventName, NewGrant, PeriodLimit, ProfileChange, Reserve, Voiding,
};
use metergate_rules::id::{DecisionId, EventId, EventSource, GrantId, MeterId, ReservationId};
use metergate_rules::period::Zone;
use metergate_rules::plan::{Enforcement, Max};
use metergate_rules::price::{LlmUse, Tokens};
use metergate_rules::time::{DAY, HOUR, MINUTE, SECOND, Time};
use metergate_rules::window::{Window, WindowSet};

use super::asks::{FREE, LARGE, METERS, ask, create, item, make, meter, quantity, tell};
use super::kit::Kit;

/// Numbers from a seed that is printed: xorshift64*, since the sequence must be the same for ever.
pub(crate) struct Random(u64);

impl Random {
    /// From `METERGATE_SEED`, else a new seed, which is printed.
    pub(crate) fn new(test: &str) -> Self {
        let given = std::env::var("METERGATE_SEED").ok().map(|seed| seed.parse().expect("METERGATE_SEED is a number"));
        let seed = given.unwrap_or_else(|| u64::from_le_bytes(metergate::random::bytes()) >> 1 | 1);
        println!("{test}: METERGATE_SEED={seed}");
        Self(seed)
    }

    pub(crate) const fn from_seed(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// From it the same numbers come again, if none was taken before.
    pub(crate) const fn seed(&self) -> u64 {
        self.0
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// From 0, less than `end`.
    pub(crate) fn below(&mut self, end: i64) -> i64 {
        i64::try_from((self.next() >> 1) % end.unsigned_abs()).unwrap()
    }

    pub(crate) fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(i64::try_from(of.len()).unwrap())).unwrap()]
    }
}

pub(super) const ORGANIZATIONS: [&str; 3] = ["acme", "globex", "initech"];

/// What tokens of one model cost, and the meter of that, beside what all tests have.
const PRICED: &str = r#"
prices = [{ model = "w", effectiveFrom = "2020-01-01", input = "1.5", output = "7" }]
[meters.llm_cost]
aggregation = "sum"
decimals = 9
dimensions = ["model", "unpriced"]
"#;

/// Does `steps` times a few things at once; now and then it stops and goes on later.
pub(super) fn work(kit: &mut Kit, random: &mut Random, steps: usize) {
    kit.change_team(TeamCommand::Apply(CatalogueFile::parse(PRICED).unwrap())).unwrap();
    for organization in ORGANIZATIONS {
        if !kit.exists(organization) {
            kit.made(&create(organization));
        }
    }
    for step in 0..steps {
        let calls = 1 + random.below(4);
        let now = kit.now();
        let calls = (0..calls).map(|_| (0..=random.below(6)).map(|_| request(random, step, now)).collect());
        for answers in kit.at_once(calls.collect()) {
            expected(answers);
        }
        if random.below(8) == 0 {
            let later = *random.one_of(&[MINUTE, HOUR, DAY, 12 * DAY]);
            kit.reopen_at(kit.now().plus(random.below(later)));
        }
    }
}

/// Errors of requests are answers; errors of the store are not expected here.
fn expected(answers: Answers) {
    for answer in answers.expect("the store can take it") {
        let fine = match &answer {
            Ok(Receipt::Decided(_) | Receipt::Recorded { .. } | Receipt::Answered { .. }) => true,
            Err(StoreError::Problem(_) | StoreError::Mismatch | StoreError::OrganizationKeyTaken) => true,
            Ok(Receipt::Upkeep(_)) | Err(_) => false,
        };
        assert!(fine, "{answer:?}");
    }
}

fn request(random: &mut Random, step: usize, now: Time) -> Request {
    let organization = *random.one_of(&ORGANIZATIONS);
    let (name, more) = (random.one_of(&METERS).0, random.below(12));
    let request = match random.below(10) {
        0..=2 => (&ask(name, more).of(organization)).into(),
        3 => (&ask(name, more).of(organization).id(&format!("d{}", random.below(200)))).into(),
        4 => {
            let other = random.one_of(&METERS).0;
            (&ask(name, more).and(other, 1).of(organization).id(&format!("t{step}"))).into()
        }
        5..=7 => {
            let time = now.plus(4 * MINUTE - random.below(3 * DAY));
            (&tell(name, more, &format!("e{}", random.below(500))).of(organization).at(time)).into()
        }
        8 => match random.below(4) {
            0 | 1 => (&make(correction(random, name, now)).of(organization)).into(),
            _ => {
                let made = (&make(on_reservations(random)).of(organization)).into();
                return if random.below(2) == 0 { with_model(made, more, random) } else { made };
            }
        },
        _ => (&make(command(random, name, now)).of(organization)).into(),
    };
    if name == "tokens" && random.below(3) > 0 { with_model(request, more, random) } else { request }
}

/// The same with the model whose tokens they are: one that has a price, or one that has none.
fn with_model(mut request: Request, units: i64, random: &mut Random) -> Request {
    let model = *random.one_of(&["w", "w", "of nobody"]);
    let output = random.below(units + 1);
    let input = units - output;
    let kinds = Tokens { input: quantity(input), output: quantity(output), ..Tokens::default() };
    let said = Some(Box::new(LlmUse {
        meter: meter("tokens"),
        model: model.to_owned(),
        provider: String::new(),
        tokens: Some(kinds),
        dimensions: format!("{{\"model\":\"{model}\"}}"),
        charged: None,
    }));
    let properties = format!("{{\"model\":\"{model}\",\"inputTokens\":{input},\"outputTokens\":{output}}}");
    match &mut request {
        Request::Consume(asked) => (asked.consume.llm, asked.consume.properties) = (said, properties),
        Request::Record(told) => (told.event.llm, told.event.data) = (said, properties),
        Request::Change(asked) => {
            if let Command::Reserve(held) = &mut asked.command
                && held.item.meter == meter("tokens")
            {
                (held.llm, held.properties) = (said, properties);
            }
        }
    }
    request
}

/// Holds something of what adds up, or goes on with one of the first reservations.
fn on_reservations(random: &mut Random) -> Command {
    let id = ReservationId(u32::try_from(1 + random.below(40)).unwrap());
    let longest = *random.one_of(&[MINUTE, HOUR, DAY - SECOND]);
    let ttl = SECOND + random.below(longest);
    match random.below(8) {
        0..=3 => {
            let held = (*random.one_of(&["calls", "credits", "hits", "tokens"]), random.below(9));
            Command::Reserve(Reserve { item: item(&held), ttl, properties: String::new(), llm: None })
        }
        4 => Command::Extend { id, ttl },
        5 => Command::Release(id),
        _ => {
            let quantity = random.below(9).to_string().into();
            let (outcome, properties) = (Completion::default(), String::new());
            Command::Commit(Commit { id, quantity, outcome, calls: None, properties, llm: None })
        }
    }
}

/// An amount more or less, or an event or a decision that never was.
fn correction(random: &mut Random, name: &str, now: Time) -> Command {
    let meter = meter(name);
    let asked = |name| Command::Void(Voiding::Asked(String::new(), String::new(), name));
    match random.below(3) {
        0 => {
            let time = (random.below(2) == 0).then(|| now.plus(-random.below(3 * DAY)));
            Command::Adjust(Adjustment { meter, units: random.below(24) - 12, time, room: Vec::new() })
        }
        1 => {
            let id = EventId::new(&format!("e{}", random.below(500))).unwrap();
            asked(EventName::Event(EventSource::new("/test").unwrap(), id))
        }
        _ => asked(EventName::Decision(meter, DecisionId::new(&format!("d{}", random.below(200))).unwrap())),
    }
}

/// Extra quota of one meter or two.
fn extras(random: &mut Random, first: MeterId) -> Command {
    let second = self::meter(random.one_of(&METERS).0);
    let meters = [first, second].into_iter().take(if first == second { 1 } else { 2 });
    Command::SetExtra(meters.map(|meter| ExtraQuota { meter, quantity: quantity(random.below(30)) }).collect())
}

fn command(random: &mut Random, name: &str, now: Time) -> Command {
    let meter = meter(name);
    match random.below(10) {
        0 => extras(random, meter),
        1..=3 => Command::Grant(NewGrant {
            meter,
            amount: quantity(1 + random.below(20)),
            priority: i32::try_from(random.below(3)).unwrap(),
            starts_at: None,
            expires_at: (random.below(2) == 0).then(|| now.plus(1 + random.below(20 * DAY))),
            reason: "work".to_owned(),
        }),
        4 => Command::VoidGrant(GrantId(u32::try_from(1 + random.below(5)).unwrap())),
        5 => Command::Reset {
            meters: (random.below(2) == 0).then(|| vec![meter]),
            windows: WindowSet::NONE.with(*random.one_of(&Window::ALL)).with(Window::BillingPeriod),
        },
        6 => Command::SetOverride {
            meter,
            window: *random.one_of(&Window::COUNTED),
            max: Max::Units(quantity(random.below(60))),
            enforcement: *random.one_of(&[Enforcement::Hard, Enforcement::Soft]),
            until: (random.below(2) == 0).then(|| now.plus(1 + random.below(9 * DAY))),
        },
        7 if random.below(2) == 0 => Command::SetLimits {
            plan: random.one_of(&[None, None, Some(FREE), Some(LARGE)]).to_owned(),
            limits: vec![PeriodLimit { meter, max: Max::Units(quantity(random.below(60))) }],
        },
        7 => Command::ChangePlan {
            plan: *random.one_of(&[FREE, LARGE]),
            keep_overrides: random.below(2) == 0,
            at_period_end: false,
        },
        8 => random
            .one_of(&[Command::Lock { cause: LockCause::Operator, reason: None }, Command::Unlock, Command::Unlock])
            .clone(),
        _ => {
            let zone = Zone::new(random.one_of::<&str>(&["UTC", "Europe/Berlin", "America/New_York"])).unwrap();
            Command::Update(ProfileChange { zone: Some(zone), ..ProfileChange::default() })
        }
    }
}
