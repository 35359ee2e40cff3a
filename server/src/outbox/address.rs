//! Where webhooks may go (N4): to global addresses over https, and to networks that the configuration names. A host is looked
//! up once for each try and the connection goes to what was found and looked at, so an answer that changes between finds nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use axum::http::Uri;
use ureq::Error;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::config::Networks;

/// The longest address of an endpoint in bytes.
pub const MOST_URL: usize = 2048;
/// Below this a port is some other service's, but for those of http and https: what would be said to it might mean something.
const FIRST_FREE_PORT: u16 = 1024;

/// The networks of version 4 that are not global (IANA's special-purpose registry), with the bits that are the same in each.
const V4: [(Ipv4Addr, u32, &str); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this-network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared (carrier-grade NAT)"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol-assignment"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4-relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(255, 255, 255, 255), 32, "broadcast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// The same of version 6; those that hold an address of version 4 are refused whatever it is. The first that fits counts.
const V6: [(Ipv6Addr, u32, &str); 20] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::UNSPECIFIED, 96, "IPv4-compatible"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, "IPv4-mapped"),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, "IPv4-translated"),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, "NAT64"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "local NAT64"),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "discard"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "Teredo"),
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, "benchmarking"),
    (Ipv6Addr::new(0x2001, 0x10, 0, 0, 0, 0, 0, 0), 28, "ORCHID"),
    (Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28, "ORCHIDv2"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "protocol-assignment"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "unique-local"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

/// The kind of network that an address is in, unless it is global.
pub fn not_global(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            let is_in = |base: &Ipv4Addr, bits: u32| (address.to_bits() ^ base.to_bits()).leading_zeros() >= bits;
            V4.iter().find(|(base, bits, _)| is_in(base, *bits)).map(|(.., kind)| *kind)
        }
        IpAddr::V6(address) => {
            let is_in = |base: &Ipv6Addr, bits: u32| (address.to_bits() ^ base.to_bits()).leading_zeros() >= bits;
            let known = V6.iter().find(|(base, bits, _)| is_in(base, *bits)).map(|(.., kind)| *kind);
            // Whatever else lies outside of 2000::/3 has not been given to anybody.
            known.or_else(|| (address.to_bits() >> 125 != 1).then_some("reserved"))
        }
    }
}

/// Why nothing is sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not global.
    #[error(
        "{address} is a {kind} address, and webhooks go to global ones: let webhook_allow name its network to allow it"
    )]
    NotGlobal {
        /// What was found.
        address: IpAddr,
        /// What kind of network it is in.
        kind: &'static str,
    },
    /// Everybody on the way could read and change what is sent.
    #[error("webhooks go over https; http is taken for networks alone that webhook_allow names, and {0} is in none")]
    Plain(IpAddr),
}

/// What says where webhooks may go.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allowed: Networks,
}

impl Guard {
    /// Networks besides the global ones.
    pub const fn new(allowed: Networks) -> Self {
        Self { allowed }
    }

    /// # Errors
    /// [`Refused`] where nothing may be sent to this address, or not without TLS.
    pub fn admit(&self, address: IpAddr, is_plain: bool) -> Result<(), Refused> {
        if self.allowed.contains(address) {
            return Ok(());
        }
        match not_global(address) {
            Some(kind) => Err(Refused::NotGlobal { address, kind }),
            None if is_plain => Err(Refused::Plain(address)),
            None => Ok(()),
        }
    }

    /// Whether `http` may lead anywhere at all.
    fn allows_any(&self) -> bool {
        self.allowed != Networks::default()
    }
}

/// An address that can be an endpoint's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(Uri);

/// Why an address cannot be an endpoint's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// It is none, or too long.
    #[error("Send an https address such as https://example.com/webhooks, of at most {MOST_URL} ASCII characters")]
    Address,
    /// Names and passwords would stand in logs.
    #[error("Send it without user name and password: a receiver knows Metergate by the signature")]
    UserInfo,
    /// What stands behind `#` is never sent.
    #[error("Send it without a fragment (#)")]
    Fragment,
    /// It is some other service's.
    #[error("Send a port that is 80, 443, or 1024 and above")]
    Port,
    /// Not without TLS.
    #[error("Send an https address; http is taken for networks alone that the setting webhook_allow names")]
    Plain,
    /// Nothing may be sent where it leads.
    #[error("{0}")]
    Refused(Refused),
}

impl Target {
    /// Reads an address, and refuses one that says by itself that it leads nowhere where webhooks may go. It is read by what
    /// sends later, so that both see the same host in it.
    ///
    /// # Errors
    /// [`InvalidTarget`] says what is wrong with it.
    pub fn read(text: &str, guard: &Guard) -> Result<Self, InvalidTarget> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}".contains(&byte));
        if text.len() > MOST_URL || !is_plain {
            return Err(InvalidTarget::Address);
        }
        if text.contains('#') {
            return Err(InvalidTarget::Fragment);
        }
        let uri: Uri = text.parse().map_err(|_| InvalidTarget::Address)?;
        let authority = uri.authority().ok_or(InvalidTarget::Address)?;
        if authority.as_str().contains('@') {
            return Err(InvalidTarget::UserInfo);
        }
        let target = Self(uri.clone());
        let known = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => guard.allows_any(),
            _ => return Err(InvalidTarget::Address),
        };
        if authority.host().is_empty() || authority.host().starts_with('.') {
            return Err(InvalidTarget::Address);
        }
        let has_port = authority.as_str().len() > authority.host().len();
        let port = authority.port_u16();
        if has_port && port.is_none_or(|port| port != 80 && port != 443 && port < FIRST_FREE_PORT) {
            return Err(InvalidTarget::Port);
        }
        if !known {
            return Err(InvalidTarget::Plain);
        }
        if let Some(address) = target.literal() {
            guard.admit(address, target.is_plain()).map_err(InvalidTarget::Refused)?;
        }
        Ok(target)
    }

    /// Whether it is without TLS.
    fn is_plain(&self) -> bool {
        self.0.scheme_str() == Some("http")
    }

    /// The address that stands in place of a host.
    fn literal(&self) -> Option<IpAddr> {
        self.0.host()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// Looks its host up, so that whoever writes down one that leads nowhere where webhooks may go hears of it at once. A host
    /// that is not found may be known tomorrow. Waits for the name servers.
    ///
    /// # Errors
    /// [`Refused`] where something was found to which nothing may be sent.
    pub fn look_up(&self, guard: &Guard, patience: Duration) -> Result<(), Refused> {
        let timeout = NextTimeout { after: patience.into(), reason: ureq::Timeout::Resolve, ..NextTimeout::default() };
        let found = DefaultResolver::default().resolve(&self.0, &Config::default(), timeout);
        let mut addresses = found.iter().flat_map(|found| found.iter());
        addresses.try_for_each(|address| guard.admit(address.ip(), self.is_plain()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Looks hosts up for what sends, and answers only addresses to which may be sent: all that a host has must be such.
#[derive(Debug)]
pub(super) struct Guarded<R> {
    names: R,
    guard: Guard,
}

impl<R: Resolver> Guarded<R> {
    pub(super) const fn new(names: R, guard: Guard) -> Self {
        Self { names, guard }
    }
}

impl<R: Resolver> Resolver for Guarded<R> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        let is_plain = uri.scheme_str() != Some("https");
        for address in found.iter() {
            self.guard.admit(address.ip(), is_plain).map_err(|why| Error::Other(Box::new(why)))?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
