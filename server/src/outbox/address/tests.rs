use super::*;

fn guard(allowed: &str) -> Guard {
    Guard::new(allowed.parse().unwrap())
}

#[test]
fn every_kind_of_network_that_is_not_global_is_refused() {
    #[rustfmt::skip]
    let cases = [ // the first and the last address, or some; the kind
        ("0.0.0.0", "this-network"), ("0.255.255.255", "this-network"),
        ("10.0.0.0", "private"), ("10.255.255.255", "private"),
        ("172.16.0.0", "private"), ("172.31.255.255", "private"),
        ("192.168.0.0", "private"), ("192.168.255.255", "private"),
        ("100.64.0.0", "shared (carrier-grade NAT)"), ("100.127.255.255", "shared (carrier-grade NAT)"),
        ("127.0.0.1", "loopback"), ("127.255.255.255", "loopback"),
        ("169.254.0.0", "link-local"), ("169.254.169.254", "link-local"), ("169.254.255.255", "link-local"),
        ("192.0.0.1", "protocol-assignment"), ("192.0.0.255", "protocol-assignment"),
        ("192.0.2.0", "documentation"), ("198.51.100.9", "documentation"), ("203.0.113.255", "documentation"),
        ("192.88.99.1", "6to4-relay"),
        ("198.18.0.0", "benchmarking"), ("198.19.255.255", "benchmarking"),
        ("224.0.0.1", "multicast"), ("239.255.255.255", "multicast"),
        ("240.0.0.0", "reserved"), ("255.255.255.254", "reserved"), ("255.255.255.255", "broadcast"),
        ("::", "unspecified"), ("::1", "loopback"),
        ("::7f00:1", "IPv4-compatible"), ("::808:808", "IPv4-compatible"),
        ("::ffff:127.0.0.1", "IPv4-mapped"), ("::ffff:169.254.169.254", "IPv4-mapped"), ("::ffff:8.8.8.8", "IPv4-mapped"),
        ("::ffff:0:127.0.0.1", "IPv4-translated"),
        ("64:ff9b::7f00:1", "NAT64"), ("64:ff9b::808:808", "NAT64"), ("64:ff9b:1::1", "local NAT64"),
        ("64:ff9b:2::1", "reserved"),
        ("100::1", "discard"), ("100:0:0:1::1", "reserved"),
        ("2001::1", "Teredo"), ("2001:0:7f00:1::", "Teredo"),
        ("2001:2::1", "benchmarking"), ("2001:10::1", "ORCHID"), ("2001:1f:ffff::1", "ORCHID"), ("2001:20::1", "ORCHIDv2"),
        ("2001:3::1", "protocol-assignment"), ("2001:1ff::1", "protocol-assignment"),
        ("2001:db8::1", "documentation"), ("3fff:fff::1", "documentation"),
        ("2002:7f00:1::", "6to4"), ("2002:808:808::1", "6to4"),
        ("fc00::1", "unique-local"), ("fdff::1", "unique-local"),
        ("fe80::1", "link-local"), ("febf::1", "link-local"), ("fec0::1", "site-local"), ("feff::1", "site-local"),
        ("ff02::1", "multicast"), ("4000::1", "reserved"), ("5f00::1", "reserved"), ("1fff::1", "reserved"),
    ];
    for (address, kind) in cases {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(not_global(address), Some(kind), "{address}");
        for is_plain in [false, true] {
            assert_eq!(Guard::default().admit(address, is_plain), Err(Refused::NotGlobal { address, kind }));
        }
    }
}

#[test]
fn global_addresses_are_taken_over_https_alone() {
    #[rustfmt::skip]
    let cases = [
        "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
        "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255",
        "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2001:200::1", "2001:db7::1", "2001:db9::1",
        "2606:4700::1111", "2003::1", "3ffe::1", "3fff:1000::1",
    ];
    for address in cases {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(not_global(address), None, "{address}");
        assert_eq!(Guard::default().admit(address, false), Ok(()));
        assert_eq!(Guard::default().admit(address, true), Err(Refused::Plain(address)));
    }
}

#[test]
fn a_network_that_the_setting_names_is_allowed_also_over_http_and_no_other() {
    let guard = guard("127.0.0.0/8, fd00::/8");
    #[rustfmt::skip]
    let cases = [
        ("127.0.0.1", true), ("127.255.0.1", true), ("::ffff:127.0.0.1", true), ("fd12::1", true),
        ("::1", false), ("10.0.0.1", false), ("fc00::1", false), ("169.254.169.254", false),
    ];
    for (address, is_allowed) in cases {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(guard.admit(address, true).is_ok(), is_allowed, "{address}");
    }
}

#[test]
fn an_address_says_how_it_must_be_written() {
    use InvalidTarget::{Address, Fragment, Plain, Port, UserInfo};
    let strict = Guard::default();
    #[rustfmt::skip]
    let cases = [ // address, without networks that are allowed, with 127.0.0.0/8
        ("https://example.com/hooks?x=1",         Ok(()),          Ok(())),
        ("https://example.com:8443/hooks",        Ok(()),          Ok(())),
        ("https://example.com:443",               Ok(()),          Ok(())),
        ("https://93.184.215.14/",                Ok(()),          Ok(())),
        ("http://example.com/hooks",              Err(Plain),      Ok(())),
        ("https://example.com:22/",               Err(Port),       Err(Port)),
        ("https://example.com:0/",                Err(Port),       Err(Port)),
        ("https://example.com:99999/",            Err(Port),       Err(Port)),
        ("https://user:secret@example.com/",      Err(UserInfo),   Err(UserInfo)),
        ("https://user@example.com/",             Err(UserInfo),   Err(UserInfo)),
        ("https://example.com/#part",             Err(Fragment),   Err(Fragment)),
        ("ftp://example.com/",                    Err(Address),    Err(Address)),
        ("example.com",                           Err(Address),    Err(Address)),
        ("/hooks",                                Err(Address),    Err(Address)),
        ("https://",                              Err(Address),    Err(Address)),
        ("https://exa mple.com/",                 Err(Address),    Err(Address)),
        ("https://example.com/\r\nHost: x",       Err(Address),    Err(Address)),
        ("https://\u{fc}.example/",               Err(Address),    Err(Address)),
        ("",                                      Err(Address),    Err(Address)),
    ];
    for (text, without, with) in cases {
        assert_eq!(Target::read(text, &strict).map(drop), without, "{text}");
        assert_eq!(Target::read(text, &guard("127.0.0.0/8")).map(drop), with, "{text}");
    }
    let long = format!("https://example.com/{}", "a".repeat(MOST_URL));
    assert_eq!(Target::read(&long, &strict).map(drop), Err(Address));
    for (text, kind) in [
        ("https://127.0.0.1:8443/", "loopback"),
        ("https://[::1]:8443/", "loopback"),
        ("https://[::ffff:10.0.0.1]/", "IPv4-mapped"),
        ("https://169.254.169.254/latest/meta-data", "link-local"),
    ] {
        let refused = Target::read(text, &strict).unwrap_err();
        assert!(
            matches!(refused, InvalidTarget::Refused(Refused::NotGlobal { kind: found, .. }) if found == kind),
            "{text}: {refused}"
        );
    }
    assert!(Target::read("http://127.0.0.1:8080/hooks", &guard("127.0.0.0/8")).is_ok());
}

#[test]
fn other_spellings_of_an_address_lead_to_the_same_and_are_refused_when_they_are_looked_up() {
    // Whoever looks hosts up takes all of these for 127.0.0.1.
    for host in ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost"] {
        let target = Target::read(&format!("https://{host}/"), &Guard::default()).unwrap();
        let found = target.look_up(&Guard::default(), Duration::from_secs(5));
        assert!(matches!(found, Err(Refused::NotGlobal { kind: "loopback", .. })), "{host}: {found:?}");
        assert_eq!(target.look_up(&guard("127.0.0.0/8,::1"), Duration::from_secs(5)), Ok(()), "{host}");
    }
}
