//! Live traffic: decisions asked for by threads, until told to stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::screen::Screen;
use super::organizations::{ALL, Profile};
use super::random::Random;

/// What was answered so far.
#[derive(Default)]
struct Counts {
    allowed: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    fn text(&self) -> String {
        let [allowed, refused, failed] =
            [&self.allowed, &self.refused, &self.failed].map(|n| n.load(Ordering::Relaxed));
        format!("{} decisions: {allowed} allowed, {refused} refused, {failed} failed", allowed + refused + failed)
    }
}

/// From one question of a thread to the next, in milliseconds. All threads together ask some ten times a minute: figures move while
/// somebody looks, and after hours today is still a day like those of the history.
const PAUSES: [u64; 2] = [12_000, 24_000];
/// How often a thread looks whether it is to end, in milliseconds.
const LOOKS: u64 = 100;

/// Asks for about ten decisions a minute until `stop` is set.
pub(super) fn run(client: &Client, stop: &AtomicBool, screen: &dyn Screen) -> anyhow::Result<()> {
    screen.note("live traffic runs until Ctrl-C");
    let counts = Counts::default();
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}")?);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let counts = &counts;
            scope.spawn(move || ask(client, &format!("thread {thread}"), stop, counts));
        }
        while !stop.load(Ordering::Relaxed) {
            bar.set_message(counts.text());
            bar.tick();
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    bar.finish_and_clear();
    screen.note(&counts.text());
    Ok(())
}

#[derive(serde::Deserialize)]
struct Answer {
    allowed: bool,
}

fn ask(client: &Client, name: &str, stop: &AtomicBool, counts: &Counts) {
    let mut random = Random::of(&[name]);
    rest(random.between(0, PAUSES[0]), stop);
    while !stop.load(Ordering::Relaxed) {
        let answer = client.post("/v1/consume", &question(&mut random));
        let answer = answer.and_then(|body| client.read::<Answer>("/v1/consume", &body));
        let count = match answer {
            Ok(Answer { allowed: true }) => &counts.allowed,
            Ok(Answer { allowed: false }) => &counts.refused,
            Err(_) => &counts.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        rest(random.between(PAUSES[0], PAUSES[1]), stop);
    }
}

/// Waits so many milliseconds, or until it is to end.
fn rest(milliseconds: u64, stop: &AtomicBool) {
    for _ in 0..milliseconds / LOOKS {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        std::thread::sleep(Duration::from_millis(LOOKS));
    }
}

/// What somebody asks for next: mostly calls, sometimes tokens, a conversation or a message.
fn question(random: &mut Random) -> Value {
    let organization = pick(random).key;
    match random.below(10) {
        0..=5 => json!({"organization": organization, "meter": "api_calls", "quantity": 1}),
        6..=7 => json!({"organization": organization, "meter": "messages", "quantity": 1}),
        8 => json!({"organization": organization, "meter": "conversations", "quantity": 1}),
        _ => tokens(organization, random),
    }
}

fn tokens(organization: &str, random: &mut Random) -> Value {
    let (input, output) = (random.between(20, 160), random.between(5, 50));
    let model = ["gpt-4o", "gpt-4o-mini"][usize::from(random.below(2) == 1)];
    json!({"organization": organization, "meter": "tokens", "quantity": input + output,
           "properties": {"model": model, "inputTokens": input, "outputTokens": output}})
}

/// An organization, by its weight.
fn pick(random: &mut Random) -> &'static Profile {
    let all: u64 = ALL.iter().map(|profile| profile.weight).sum();
    let mut left = random.below(all);
    for profile in ALL {
        if left < profile.weight {
            return profile;
        }
        left -= profile.weight;
    }
    &ALL[0]
}
