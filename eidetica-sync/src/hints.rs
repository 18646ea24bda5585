//! Owns which addresses that a peer names of itself are worth keeping. A peer can name anything,
//! so none may lead a device to itself, its own network's machinery, or a name that somebody else
//! decides the meaning of. When they are dialled is the engine's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use eidetica_core::PublicKey;
use eidetica_transport::{Address, PeerAddress};

use crate::limits::MAX_ADDRESSES;

/// The schemes whose addresses are `HOST:PORT` with a host that can be judged. Others, Unix
/// sockets among them, are never taken from a peer.
const SCHEMES: [&str; 3] = ["quic", "http", "https"];

/// Of the addresses that a peer names of itself those that may be dialled: IP addresses of other
/// devices, with a port, at most 16. They are asked for the peer's own key, whichever they name.
///
/// Host names are left out: what they resolve to can change between a check and a call. (Tickets
/// and users can name them.)
///
/// One that stands for all addresses of its device, such as `0.0.0.0`, is taken for the one that the
/// peer came from, or was reached at: only others see which that is. (The port that it came from is
/// of no use: who dials does it from a port where nobody listens.)
pub(crate) fn dialable(
    listen: &[String],
    peer: PublicKey,
    seen_at: Option<&Address>,
) -> Vec<PeerAddress> {
    let seen_at = seen_at.and_then(|address| address.rest().parse::<SocketAddr>().ok());
    let mut kept = Vec::new();
    for text in listen {
        let Ok(named) = text.parse::<PeerAddress>() else {
            continue;
        };
        let hint = PeerAddress {
            key: Some(peer),
            address: located(named.address, seen_at),
        };
        let is_own = named.key.is_none_or(|key| key == peer);
        if is_own && is_dialable(&hint.address) && !kept.contains(&hint) {
            kept.push(hint);
        }
        if kept.len() == MAX_ADDRESSES {
            break;
        }
    }
    kept
}

/// The addresses at which this device listens that are worth telling others, at most 16: what they
/// would dial, or can put the right address to.
pub(crate) fn tellable(listen: &[Address]) -> Vec<String> {
    let is_worth_it = |address: &&Address| is_dialable(address) || is_unspecified(address);
    let told = listen.iter().filter(is_worth_it).take(MAX_ADDRESSES);
    told.map(ToString::to_string).collect()
}

fn is_unspecified(address: &Address) -> bool {
    let socket = address.rest().parse::<SocketAddr>();
    SCHEMES.contains(&address.scheme())
        && socket.is_ok_and(|socket| socket.port() != 0 && socket.ip().is_unspecified())
}

/// An address that names no host, with the one that the peer was seen at. `[::]` listens for both
/// families, `0.0.0.0` for its own.
fn located(address: Address, seen_at: Option<SocketAddr>) -> Address {
    let listens = address.rest().parse::<SocketAddr>();
    match (listens, seen_at) {
        (Ok(listens), Some(seen_at)) if listens.ip().is_unspecified() => {
            let host = seen_at.ip().to_canonical();
            match listens.is_ipv6() || host.is_ipv4() {
                true => {
                    let socket = SocketAddr::new(host, listens.port());
                    Address::new(address.scheme(), socket.to_string())
                }
                false => address,
            }
        }
        _ => address,
    }
}

fn is_dialable(address: &Address) -> bool {
    let socket = address.rest().parse::<SocketAddr>();
    SCHEMES.contains(&address.scheme())
        && socket.is_ok_and(|socket| socket.port() != 0 && may_be_a_peer(socket.ip()))
}

/// Whether another device can have this IP address, as far as the address itself tells.
fn may_be_a_peer(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => may_be_a_peer_v4(ip),
        IpAddr::V6(ip) => {
            let is_special = ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unicast_link_local()
                || is_site_local(ip);
            !is_special && embedded(ip).into_iter().all(may_be_a_peer_v4)
        }
    }
}

fn may_be_a_peer_v4(ip: Ipv4Addr) -> bool {
    let is_special = ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.octets()[0] == 0
        || ip.octets()[0] >= 240;
    !is_special
}

/// The predecessor of private IPv6 addresses, `fec0::/10`.
fn is_site_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfec0
}

/// The IPv4 addresses that packets to an IPv6 address may end up at: where it is one mapped,
/// compatible, translated (RFC 6052, RFC 8215), of 6to4 (RFC 3056), Teredo (RFC 4380) or ISATAP
/// (RFC 5214).
fn embedded(ip: Ipv6Addr) -> Vec<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let mut found = Vec::new();
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => {
            found.push(v4(g, h));
        }
        [0x64, 0xff9b, 1, ..] => found.push(v4(g, h)),
        [0x2002, ..] => found.push(v4(b, c)),
        [0x2001, 0, ..] => found.extend([v4(c, d), v4(!g, !h)]),
        _ => {}
    }
    if e & 0xfdff == 0 && f == 0x5efe {
        found.push(v4(g, h));
    }
    found
}

#[cfg(test)]
mod tests {
    use eidetica_core::SecretKey;

    use super::*;

    fn peer() -> PublicKey {
        SecretKey::from_bytes(&[7; 32]).public()
    }

    fn is_kept(text: &str) -> bool {
        !dialable(&[text.to_owned()], peer(), None).is_empty()
    }

    #[test]
    fn addresses_of_other_devices_are_kept() {
        for rest in [
            "192.0.2.1:4433",
            "10.0.0.7:1",
            "192.168.1.20:4433",
            "172.16.0.1:65535",
            "100.64.0.1:80",
            "[2001:db8::1]:4433",
            "[fd00::1]:4433",
            "[::ffff:192.0.2.1]:4433",
            "[2002:c000:201::1]:4433",
            "[64:ff9b::192.0.2.1]:4433",
        ] {
            for scheme in SCHEMES {
                assert!(is_kept(&format!("{scheme}://{rest}")), "{scheme}://{rest}");
            }
        }
    }

    #[test]
    fn addresses_that_lead_elsewhere_are_not_kept() {
        for (what, addresses) in [
            ("loopback", &["127.0.0.1:1", "127.9.9.9:1", "[::1]:1"][..]),
            ("this host", &["0.0.0.0:1", "0.1.2.3:1", "[::]:1"]),
            (
                "link-local",
                &["169.254.169.254:80", "[fe80::1]:1", "[febf::1]:1"],
            ),
            ("a zone", &["[fe80::1%1]:1", "[fe80::1%eth0]:1"]),
            ("site-local", &["[fec0::1]:1"]),
            ("multicast", &["224.0.0.1:1", "239.1.2.3:1", "[ff02::1]:1"]),
            (
                "broadcast and reserved",
                &["255.255.255.255:1", "240.0.0.1:1"],
            ),
            (
                "mapped",
                &[
                    "[::ffff:127.0.0.1]:1",
                    "[::ffff:169.254.1.1]:1",
                    "[::ffff:0:0]:1",
                ],
            ),
            ("compatible", &["[::127.0.0.1]:1", "[::169.254.1.1]:1"]),
            (
                "translated",
                &["[::ffff:0:127.0.0.1]:1", "[64:ff9b::7f00:1]:1"],
            ),
            ("translated at a site", &["[64:ff9b:1::7f00:1]:1"]),
            ("6to4", &["[2002:7f00:1::1]:1", "[2002:a9fe:a9fe::1]:1"]),
            (
                "Teredo",
                &["[2001:0:7f00:1::]:1", "[2001:0:c000:201::80ff:fffe]:1"],
            ),
            (
                "ISATAP",
                &["[2001:db8::5efe:7f00:1]:1", "[2001:db8::200:5efe:7f00:1]:1"],
            ),
            ("port 0", &["192.0.2.1:0", "[2001:db8::1]:0"]),
            ("no port", &["192.0.2.1", "[2001:db8::1]", "2001:db8::1"]),
            (
                "a name",
                &["localhost:1", "example.org:1", "ip6-localhost:1"],
            ),
            (
                "other ways to write a number",
                &["2130706433:1", "0x7f.1:1", "127.1:1", "0177.0.0.1:1"],
            ),
            ("a path", &["192.0.2.1:1/", "/run/docker.sock"]),
        ] {
            for rest in addresses {
                for scheme in SCHEMES {
                    assert!(!is_kept(&format!("{scheme}://{rest}")), "{what}: {rest}");
                }
            }
        }
    }

    #[test]
    fn other_kinds_of_address_are_not_kept() {
        for text in [
            "http+unix:/run/eidetica.sock",
            "http+unix:///run/eidetica.sock",
            "unix://192.0.2.1:1",
            "memory://192.0.2.1:1",
            "file:///etc/passwd",
            "QUIC://192.0.2.1:1",
            "192.0.2.1:1",
            "://192.0.2.1:1",
            "",
        ] {
            assert!(!is_kept(text), "{text}");
        }
    }

    #[test]
    fn a_hint_is_asked_for_the_key_of_who_gave_it_and_no_other() {
        let text = "quic://192.0.2.1:1".to_owned();
        assert_eq!(dialable(&[text], peer(), None)[0].key, Some(peer()));
        let other = SecretKey::from_bytes(&[8; 32]).public();
        let named = PeerAddress {
            address: Address::new("quic", "192.0.2.1:1"),
            key: Some(other),
        };
        assert!(!is_kept(&named.to_string()));
        let own = PeerAddress {
            key: Some(peer()),
            ..named
        };
        assert!(is_kept(&own.to_string()));
    }

    #[test]
    fn no_more_than_sixteen_are_kept_and_each_once() {
        let many: Vec<_> = (0..40).map(|n| format!("quic://192.0.2.{n}:1")).collect();
        assert_eq!(dialable(&many, peer(), None).len(), 16);
        let twice = vec![many[0].clone(); 3];
        assert_eq!(dialable(&twice, peer(), None).len(), 1);
    }

    /// What is kept of `0.0.0.0` and `[::]` of a peer that was seen at an address.
    fn located_at(seen_at: &str) -> Vec<String> {
        let listen = ["quic://0.0.0.0:7", "http://[::]:8"].map(ToOwned::to_owned);
        let seen_at = Address::new("quic", seen_at);
        let kept = dialable(&listen, peer(), Some(&seen_at));
        kept.iter().map(|hint| hint.address.to_string()).collect()
    }

    #[test]
    fn all_addresses_of_a_device_are_the_one_that_it_was_seen_at() {
        let both = ["quic://192.0.2.1:7", "http://192.0.2.1:8"];
        assert_eq!(located_at("192.0.2.1:40000"), both);
        assert_eq!(located_at("[::ffff:192.0.2.1]:40000"), both);
        assert_eq!(
            located_at("[2001:db8::1]:40000"),
            ["http://[2001:db8::1]:8"]
        );
        // A peer on this device, or one whose transport has no addresses, says nothing by it.
        assert_eq!(located_at("127.0.0.1:40000"), [""; 0]);
        assert_eq!(located_at("name"), [""; 0]);
    }

    #[test]
    fn what_others_cannot_dial_is_not_told() {
        let listen = [
            ("quic", "0.0.0.0:7"),
            ("http", "192.168.1.20:80"),
            ("http", "127.0.0.1:80"),
            ("http+unix", "/run/eidetica.sock"),
            ("memory", "name"),
        ];
        let listen = listen.map(|(scheme, rest)| Address::new(scheme, rest));
        let told = ["quic://0.0.0.0:7", "http://192.168.1.20:80"];
        assert_eq!(tellable(&listen), told);
    }
}
