//! Request bytes made beforehand: between two requests only an organization, an id or a time is written over.

use std::hash::{BuildHasher, Hasher};
use std::io::Write;
use std::net::SocketAddr;

use jiff::Timestamp;

use crate::workload::{Kind, Workload};

/// Hexadecimal digits of an id: 64 bits.
const ID_DIGITS: usize = 16;
/// An instant to the millisecond, as `2026-11-22T11:06:00.123Z`.
const TIME_DIGITS: usize = 24;

/// What changes between two requests, and where it stands.
#[derive(Clone, Copy)]
struct Slot {
    what: Varying,
    at: usize,
}

#[derive(Clone, Copy)]
enum Varying {
    Organization,
    Id,
    Time,
}

/// The requests of one connection, one after another in the same bytes.
pub struct Requests {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    timed: bool,
    organizations: u64,
    hot: u64,
    organization_digits: usize,
    numbers: u64,
    next_id: u64,
    id_key: u64,
}

impl Requests {
    /// Requests for connection number `connection`. Ids are unique over all connections with the same `seed`.
    pub fn new(workload: &Workload, target: SocketAddr, connection: u64, seed: u64) -> Self {
        let organization_digits = organization_digits(workload.organizations);
        let (body, mut slots) = Body::of(workload, organization_digits);
        let line = ("POST", workload.kind.path());
        let mut bytes = head(line, workload.kind.content_type(), target, &workload.key, body.len()).into_bytes();
        slots.iter_mut().for_each(|slot| slot.at += bytes.len());
        bytes.extend_from_slice(&body);
        Self {
            bytes,
            slots,
            timed: workload.kind == Kind::Events,
            organizations: workload.organizations.max(1),
            hot: workload.hot,
            organization_digits,
            numbers: mix(seed ^ mix(connection)),
            next_id: connection << 40,
            id_key: seed,
        }
    }

    /// The next request, whole.
    pub fn make(&mut self) -> &[u8] {
        let time = if self.timed { now() } else { [0; TIME_DIGITS] };
        for index in 0..self.slots.len() {
            let Slot { what, at } = self.slots[index];
            match what {
                Varying::Organization => self.write_organization(at),
                Varying::Id => self.write_id(at),
                Varying::Time => self.bytes[at..at + TIME_DIGITS].copy_from_slice(&time),
            }
        }
        &self.bytes
    }

    fn write_organization(&mut self, at: usize) {
        self.numbers = self.numbers.wrapping_add(1);
        let drawn = mix(self.numbers);
        let is_hot = self.hot > 0 && below(100, mix(drawn)) < self.hot;
        let mut number = if is_hot { 0 } else { below(self.organizations, drawn) };
        for digit in self.bytes[at..at + self.organization_digits].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }

    /// `mix` permutes the 64-bit numbers, so ids look random, as real ones do, and still never repeat.
    fn write_id(&mut self, at: usize) {
        let mut id = mix(self.id_key ^ self.next_id);
        self.next_id += 1;
        for digit in &mut self.bytes[at..at + ID_DIGITS] {
            *digit = b"0123456789abcdef"[(id & 15) as usize];
            id >>= 4;
        }
    }
}

/// A body under construction, with the places that change.
struct Body {
    text: Vec<u8>,
    slots: Vec<Slot>,
    organization_digits: usize,
}

impl Body {
    fn of(workload: &Workload, organization_digits: usize) -> (Vec<u8>, Vec<Slot>) {
        let mut body = Self { text: Vec::new(), slots: Vec::new(), organization_digits };
        match workload.kind {
            Kind::Consume | Kind::Check => body.decision(workload),
            Kind::ConsumeArray => body.array(workload, Self::decision),
            Kind::Events => body.array(workload, Self::event),
        }
        (body.text, body.slots)
    }

    fn array(&mut self, workload: &Workload, item: impl Fn(&mut Self, &Workload)) {
        for index in 0..workload.batch {
            self.text(if index == 0 { "[" } else { "," });
            item(self, workload);
        }
        self.text("]");
    }

    fn decision(&mut self, workload: &Workload) {
        self.text(r#"{"organization":"org-"#).varying(Varying::Organization);
        self.text(r#"","meter":""#).text(&workload.meter).text(r#"","quantity":1"#);
        if workload.ids {
            self.text(r#","id":"req-"#).varying(Varying::Id).text(r#"""#);
        }
        self.text("}");
    }

    fn event(&mut self, workload: &Workload) {
        self.text(r#"{"specversion":"1.0","id":"e-"#).varying(Varying::Id);
        self.text(r#"","source":"/bench","type":""#).text(&workload.meter);
        self.text(r#"","subject":"org-"#).varying(Varying::Organization);
        self.text(r#"","time":""#).varying(Varying::Time).text(r#"","data":{"quantity":1}}"#);
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.text.extend_from_slice(text.as_bytes());
        self
    }

    fn varying(&mut self, what: Varying) -> &mut Self {
        self.slots.push(Slot { what, at: self.text.len() });
        let width = match what {
            Varying::Organization => self.organization_digits,
            Varying::Id => ID_DIGITS,
            Varying::Time => TIME_DIGITS,
        };
        self.text.resize(self.text.len() + width, b'0');
        self
    }
}

fn head(line: (&str, &str), content_type: &str, target: SocketAddr, key: &str, length: usize) -> String {
    let (method, path) = line;
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {target}\r\nauthorization: Bearer {key}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// A whole request with a JSON body, for preparing a server.
pub fn json_request(method: &str, path: &str, target: SocketAddr, key: &str, body: &str) -> Vec<u8> {
    whole_request((method, path), "application/json", target, key, body)
}

/// A whole request for a page, with the cookies of a browser.
pub fn page_request(path: &str, target: SocketAddr, cookies: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {target}\r\ncookie: {cookies}\r\naccept: text/html\r\n\r\n").into_bytes()
}

/// A whole request: method and path, the body's type, where to and with which key.
pub fn whole_request(
    (method, path): (&str, &str),
    content_type: &str,
    target: SocketAddr,
    key: &str,
    body: &str,
) -> Vec<u8> {
    (head((method, path), content_type, target, key, body.len()) + body).into_bytes()
}

/// The key of organization `number` of `organizations`: `org-00042`, all of them equally long.
pub fn organization_key(number: u64, organizations: u64) -> String {
    format!("org-{number:0width$}", width = organization_digits(organizations))
}

fn organization_digits(organizations: u64) -> usize {
    organizations.saturating_sub(1).to_string().len().max(5)
}

/// A number that differs from run to run, from the randomness that std seeds its hash maps with.
pub fn random_seed() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// The finalizer of splitmix64: a permutation of the 64-bit numbers that leaves no pattern.
const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Maps a uniform 64-bit number to one below `bound`.
const fn below(bound: u64, uniform: u64) -> u64 {
    ((uniform as u128 * bound as u128) >> 64) as u64
}

fn now() -> [u8; TIME_DIGITS] {
    let mut text = [b'0'; TIME_DIGITS];
    // The slot is as wide as every year up to 9999 needs, so the write cannot fall short.
    let _ = write!(&mut text[..], "{:.3}", Timestamp::now());
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn workload(kind: Kind, batch: u64, ids: bool) -> Workload {
        Workload { kind, batch, organizations: 300, meter: "api_calls".into(), ids, hot: 0, key: "k".into() }
    }

    fn body_of(request: &[u8]) -> serde_json::Value {
        let (head, body) = std::str::from_utf8(request).unwrap().split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn a_request_is_the_documented_one_and_changes_in_its_slots() {
        let target = "127.0.0.1:1".parse().unwrap();
        let mut requests = Requests::new(&workload(Kind::Consume, 1, false), target, 0, 7);
        for _ in 0..500 {
            let body = body_of(requests.make());
            let organization = body["organization"].as_str().unwrap().to_owned();
            assert!((0..300).any(|n| organization == organization_key(n, 300)), "{organization}");
            let expected = serde_json::json!({"organization": organization, "meter": "api_calls", "quantity": 1});
            assert_eq!(body, expected);
        }
    }

    #[test]
    fn a_hot_organization_gets_its_share() {
        let target = "127.0.0.1:1".parse().unwrap();
        let hot = Workload { hot: 90, ..workload(Kind::Consume, 1, false) };
        let mut requests = Requests::new(&hot, target, 0, 7);
        let first = (0..10_000).filter(|_| body_of(requests.make())["organization"] == "org-00000").count();
        assert!((8_800..9_300).contains(&first), "{first}");
    }

    #[test]
    fn ids_never_repeat_over_connections_and_batches() {
        let target = "127.0.0.1:1".parse().unwrap();
        let mut seen = HashSet::new();
        for (connection, kind) in [(0, Kind::ConsumeArray), (1, Kind::ConsumeArray), (2, Kind::Events)] {
            let mut requests = Requests::new(&workload(kind, 50, true), target, connection, 7);
            for _ in 0..20 {
                let body = body_of(requests.make());
                for item in body.as_array().unwrap() {
                    assert!(seen.insert(item["id"].as_str().unwrap().split_once('-').unwrap().1.to_owned()));
                }
            }
        }
        assert_eq!(seen.len(), 3 * 20 * 50);
    }

    #[test]
    fn events_are_cloudevents_of_this_moment() {
        let target = "127.0.0.1:1".parse().unwrap();
        let mut requests = Requests::new(&workload(Kind::Events, 2, false), target, 0, 7);
        let body = body_of(requests.make());
        let time: Timestamp = body[1]["time"].as_str().unwrap().parse().unwrap();
        assert!(time.duration_since(Timestamp::now()).abs().as_secs() < 60);
        let names: Vec<&str> = body[1].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names.len(), 7, "{names:?}");
        assert_eq!(body[1]["specversion"], "1.0");
    }
}
