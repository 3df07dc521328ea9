//! Proofs of address (PROTOCOL.md 3): a cookie that the server can check without having stored anything.

use core::fmt;
use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{Entropy, Monotonic, PeerId};

/// Bytes of a cookie: the time of issue and a mac.
pub(crate) const COOKIE_LEN: usize = 24;
/// Long enough for a round trip to anywhere and three repeats, short enough that an address taken over later proves nothing.
const VALID_US: u64 = 10_000_000;
/// How long one secret issues cookies.
const SLOT_US: u64 = 120_000_000;
/// How far the cookies' times may run ahead of the clock: a batch of 64 datagrams has one `now`, and each of its cookies a time of its own.
const AHEAD_MAX_US: u64 = 1_000;
/// UDP, in the mac's input; other doors have other numbers (8).
const TRANSPORT_UDP: u8 = 0;

/// The root of a server's cookie secrets. Every shard of one server takes the same, drawn when the process starts, so that no cookie from
/// before a restart is valid.
#[derive(Clone)]
pub struct CookieSecret(Zeroizing<[u8; 32]>);

impl CookieSecret {
    /// Draws a root.
    #[must_use]
    pub fn new(entropy: &mut dyn Entropy) -> Self {
        let mut root = Zeroizing::new([0; 32]);
        entropy.fill(&mut *root);
        Self(root)
    }
}

impl fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieSecret")
    }
}

/// What a cookie binds together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CookieSubject<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) client: PeerId,
    pub(crate) hello_id: &'a [u8; 16],
}

/// Issues and checks cookies; it remembers secrets, never clients.
pub(crate) struct CookieMint {
    root: CookieSecret,
    /// The secrets of the two newest slots, at the place of their parity.
    slots: [(u64, Zeroizing<[u8; 32]>); 2],
    /// The time of the newest cookie: the next one is newer, or two attempts of one client within a moment could not be put in order.
    newest_us: u64,
}

impl CookieMint {
    pub(crate) fn new(root: CookieSecret) -> Self {
        let slots = [0, 1].map(|slot| (slot, slot_secret(&root, slot)));
        Self {
            root,
            slots,
            newest_us: 0,
        }
    }

    pub(crate) fn issue(&mut self, now: Monotonic, subject: CookieSubject<'_>) -> [u8; COOKIE_LEN] {
        let issued_us = now
            .0
            .max(self.newest_us.saturating_add(1))
            .min(now.0.saturating_add(AHEAD_MAX_US));
        self.newest_us = issued_us;
        let mac = mac_of(self.secret_at(issued_us), issued_us, subject);
        let mut cookie = [0; COOKIE_LEN];
        cookie[..8].copy_from_slice(&issued_us.to_be_bytes());
        cookie[8..].copy_from_slice(&mac);
        cookie
    }

    /// When this cookie was issued, if it was, to this subject, and is still valid.
    pub(crate) fn check(
        &mut self,
        now: Monotonic,
        cookie: &[u8; COOKIE_LEN],
        subject: CookieSubject<'_>,
    ) -> Option<u64> {
        let (issued, mac) = cookie.split_first_chunk::<8>()?;
        let issued_us = u64::from_be_bytes(*issued);
        if issued_us.saturating_sub(now.0) > AHEAD_MAX_US
            || now.0.saturating_sub(issued_us) > VALID_US
        {
            return None;
        }
        let right = mac_of(self.secret_at(issued_us), issued_us, subject);
        bool::from(right.ct_eq(mac)).then_some(issued_us)
    }

    fn secret_at(&mut self, issued_us: u64) -> &[u8; 32] {
        let slot = issued_us / SLOT_US;
        let held = &mut self.slots[usize::from(slot % 2 == 1)];
        if held.0 != slot {
            *held = (slot, slot_secret(&self.root, slot));
        }
        &held.1
    }
}

impl fmt::Debug for CookieMint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieMint")
    }
}

fn slot_secret(root: &CookieSecret, slot: u64) -> Zeroizing<[u8; 32]> {
    let mac = keyed(&root.0)
        .chain_update(b"cohnect cookie v1")
        .chain_update(slot.to_be_bytes())
        .finalize();
    Zeroizing::new(mac.into_bytes().into())
}

pub(super) fn mac_of(secret: &[u8; 32], issued_us: u64, subject: CookieSubject<'_>) -> [u8; 16] {
    let ip = match subject.address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let whole: [u8; 32] = keyed(secret)
        .chain_update(issued_us.to_be_bytes())
        .chain_update([TRANSPORT_UDP])
        .chain_update(ip.octets())
        .chain_update(subject.address.port().to_be_bytes())
        .chain_update(subject.client.text())
        .chain_update(subject.hello_id)
        .finalize()
        .into_bytes()
        .into();
    first_half(&whole)
}

pub(super) fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("invariant: HMAC takes a key of any length")
}

pub(super) fn first_half(whole: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(hello_id: &[u8; 16]) -> CookieSubject<'_> {
        CookieSubject {
            address: "192.0.2.7:4000".parse().unwrap(),
            client: PeerId::from_bytes([4; 16]),
            hello_id,
        }
    }

    fn at_us(us: u64) -> Monotonic {
        Monotonic(us)
    }

    #[test]
    fn a_cookie_is_valid_for_ten_seconds_across_a_change_of_secrets() {
        let mut mint = CookieMint::new(CookieSecret(Zeroizing::new([1; 32])));
        for issued in [1, 5, SLOT_US - 1, 7 * SLOT_US - 3] {
            let cookie = mint.issue(at_us(issued), subject(&[0; 16]));
            for (later, valid) in [(0, true), (VALID_US, true), (VALID_US + 1, false)] {
                let checked = mint.check(at_us(issued + later), &cookie, subject(&[0; 16]));
                assert_eq!(checked, valid.then_some(issued), "{issued} + {later}");
            }
        }
    }

    #[test]
    fn a_cookie_from_the_future_is_not_valid() {
        let mut mint = CookieMint::new(CookieSecret(Zeroizing::new([1; 32])));
        let cookie = mint.issue(at_us(50_000), subject(&[0; 16]));
        let before = at_us(50_000 - AHEAD_MAX_US - 1);
        assert_eq!(mint.check(before, &cookie, subject(&[0; 16])), None);
    }

    #[test]
    fn cookies_of_one_moment_are_in_order_and_valid_at_once() {
        let mut mint = CookieMint::new(CookieSecret(Zeroizing::new([1; 32])));
        let times: Vec<_> = (0..2_000)
            .map(|_| {
                let cookie = mint.issue(at_us(70), subject(&[0; 16]));
                mint.check(at_us(70), &cookie, subject(&[0; 16])).unwrap()
            })
            .collect();
        let (apart, rest) = times.split_at(AHEAD_MAX_US as usize);
        assert!(apart.is_sorted_by(|a, b| a < b));
        // Beyond that they are not told apart, but the times never leave the clock behind.
        assert!(rest.iter().all(|time| *time <= 70 + AHEAD_MAX_US));
        mint.issue(at_us(5_000_000), subject(&[0; 16]));
        assert_eq!(mint.newest_us, 5_000_000);
    }

    #[test]
    fn a_cookie_belongs_to_one_address_client_and_attempt() {
        let mut mint = CookieMint::new(CookieSecret(Zeroizing::new([1; 32])));
        let right = subject(&[9; 16]);
        let cookie = mint.issue(at_us(9), right);
        let mut others = vec![
            subject(&[8; 16]),
            CookieSubject {
                client: PeerId::from_bytes([5; 16]),
                ..right
            },
        ];
        for address in ["192.0.2.7:4001", "192.0.2.8:4000", "[2001:db8::1]:4000"] {
            others.push(CookieSubject {
                address: address.parse().unwrap(),
                ..right
            });
        }
        assert_eq!(mint.check(at_us(9), &cookie, right), Some(9));
        for other in others {
            assert_eq!(mint.check(at_us(9), &cookie, other), None, "{other:?}");
        }
        for at in 0..COOKIE_LEN {
            let mut bent = cookie;
            bent[at] ^= 1;
            assert_eq!(mint.check(at_us(9), &bent, right), None, "byte {at}");
        }
    }

    #[test]
    fn shards_that_share_a_root_take_each_others_cookies() {
        let root = CookieSecret(Zeroizing::new([1; 32]));
        let cookie = CookieMint::new(root.clone()).issue(at_us(300_000), subject(&[0; 16]));
        let mut other = CookieMint::new(root);
        assert_eq!(
            other.check(at_us(300_001), &cookie, subject(&[0; 16])),
            Some(300_000)
        );
        let mut stranger = CookieMint::new(CookieSecret(Zeroizing::new([2; 32])));
        assert_eq!(
            stranger.check(at_us(300_001), &cookie, subject(&[0; 16])),
            None
        );
    }
}
