//! Addresses and networks, such as those of proxies that are trusted.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Networks at most in one setting.
const MOST: usize = 100;

/// Some networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// How many bits of the address an address of the network shares with it.
    bits: u8,
}

impl Networks {
    /// Whether an address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let apart = width.saturating_sub(u32::from(self.bits));
            a.checked_shr(apart).unwrap_or(0) == b.checked_shr(apart).unwrap_or(0)
        };
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { address, bits })
    }
}

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        networks(text)
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Network { address, bits }) in self.0.iter().enumerate() {
            write!(f, "{}{address}/{bits}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// Addresses and networks, separated by commas.
pub(super) fn networks(text: &str) -> Result<Networks, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let read: Option<Vec<Network>> = parts.iter().map(|part| Network::read(part)).collect();
    match read {
        Some(networks) if networks.len() <= MOST => Ok(Networks(networks)),
        _ => Err(format!(
            "must be at most {MOST} addresses or networks separated by commas, such as 127.0.0.1,10.0.0.0/8,fd00::/8"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_network_by_the_bits_that_it_shares() {
        let cases = [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("fd00::/8, 192.0.2.1", "fdff::1", true),
            ("fd00::/8, 192.0.2.1", "fe00::1", false),
            ("", "127.0.0.1", false),
        ];
        for (given, address, expected) in cases {
            let networks = networks(given).unwrap();
            assert_eq!(networks.contains(address.parse().unwrap()), expected, "{given} {address}");
        }
        for bad in ["proxy.example.com", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0.0/8/8"] {
            assert!(networks(bad).is_err(), "{bad}");
        }
        assert_eq!(networks("127.0.0.1, fd00::/8").unwrap().to_string(), "127.0.0.1/32,fd00::/8");
    }
}
