//! Rate limits by the generic cell rate algorithm (ITU-T I.371): of each key or address one number is
//! kept, the moment at which everything it has taken would be paid back.
//!
//! Moments are nanoseconds since some fixed one.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Parts of the table of addresses, each with a lock of its own, so that requests seldom meet.
const SHARDS: usize = 16;
/// Addresses of one part.
const SHARD_ADDRESSES: usize = 4_096;
/// Most addresses that are told apart: some 4 MiB. Those who have paid everything back make room; while
/// none has, all further addresses share one more allowance.
pub const MAX_ADDRESSES: usize = SHARDS * SHARD_ADDRESSES;
/// How often a full part is searched for those who have paid everything back.
const SWEEP_EVERY_NS: u64 = 100_000_000;
/// The part of an IPv6 address that a subscriber chooses at will (RFC 4291: 64 bits).
const INTERFACE_BITS: u128 = 0xffff_ffff_ffff_ffff;

/// How often somebody may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    per_s: u32,
    burst: u32,
}

impl Quota {
    /// `per_s` requests a second in the long run, `burst` of them at once; a burst of 0 stands for a
    /// second's worth. `None` when `per_s` is 0: no limit.
    #[must_use]
    pub fn new(per_s: u32, burst: u32) -> Option<Self> {
        let burst = if burst == 0 { per_s } else { burst };
        (per_s > 0).then_some(Self { per_s, burst })
    }

    /// Requests a second.
    #[must_use]
    pub fn per_s(self) -> u32 {
        self.per_s
    }

    fn interval_ns(self) -> u64 {
        (1_000_000_000 / u64::from(self.per_s)).max(1)
    }

    /// The moment of being paid back, after one more request at `now`.
    fn after(self, paid_back: u64, now: u64) -> Result<u64, Duration> {
        let most = now + self.interval_ns() * u64::from(self.burst);
        // What was taken under another quota is owed under this one at most as a whole burst.
        let next = paid_back.clamp(now, most) + self.interval_ns();
        if next <= most {
            Ok(next)
        } else {
            Err(Duration::from_nanos(next - most))
        }
    }
}

/// What one key has used up.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

impl Bucket {
    /// Takes one request.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub fn take(&self, now_ns: u64, quota: Quota) -> Result<(), Duration> {
        let mut paid_back = self.0.load(Ordering::Relaxed);
        loop {
            let next = quota.after(paid_back, now_ns)?;
            let (order, other) = (Ordering::Relaxed, Ordering::Relaxed);
            match self.0.compare_exchange_weak(paid_back, next, order, other) {
                Ok(_) => return Ok(()),
                Err(now_there) => paid_back = now_there,
            }
        }
    }
}

/// What addresses have used up; of IPv6, networks of 64 bits.
#[derive(Debug, Default)]
pub struct Addresses {
    shards: [Mutex<Shard>; SHARDS],
    rest: Bucket,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Shard {
    paid_back: HashMap<IpAddr, u64>,
    swept_ns: Option<u64>,
}

impl Addresses {
    /// Takes one request of `address`.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub fn take(&self, address: IpAddr, now_ns: u64, quota: Quota) -> Result<(), Duration> {
        let address = grouped(address);
        let hash = usize::try_from(self.hasher.hash_one(address) % SHARDS as u64).unwrap_or(0);
        let mut shard = self.shards[hash]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(paid_back) = shard.paid_back.get_mut(&address) {
            *paid_back = quota.after(*paid_back, now_ns)?;
            return Ok(());
        }
        if shard.is_full(now_ns) {
            drop(shard);
            return self.rest.take(now_ns, quota);
        }
        let next = quota.after(0, now_ns)?;
        shard.paid_back.insert(address, next);
        Ok(())
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards
            .map(|shard| shard.lock().unwrap().paid_back.len())
            .sum()
    }
}

impl Shard {
    /// Whether there is no room, after a look for some.
    fn is_full(&mut self, now_ns: u64) -> bool {
        if self.paid_back.len() < SHARD_ADDRESSES {
            return false;
        }
        let is_due = |swept: u64| now_ns.saturating_sub(swept) >= SWEEP_EVERY_NS;
        if self.swept_ns.is_none_or(is_due) {
            self.swept_ns = Some(now_ns);
            self.paid_back.retain(|_, paid_back| *paid_back > now_ns);
        }
        self.paid_back.len() >= SHARD_ADDRESSES
    }
}

fn grouped(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !INTERFACE_BITS)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    const SECOND: u64 = 1_000_000_000;

    fn quota(per_s: u32, burst: u32) -> Quota {
        Quota::new(per_s, burst).unwrap()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let bucket = Bucket::default();
        let ten = quota(10, 3);
        let start = 5 * SECOND;
        for _ in 0..3 {
            bucket.take(start, ten).unwrap();
        }
        assert_eq!(bucket.take(start, ten), Err(Duration::from_millis(100)));
        let later = start + SECOND / 20;
        assert_eq!(bucket.take(later, ten), Err(Duration::from_millis(50)));
        bucket.take(start + SECOND / 10, ten).unwrap();
        assert!(bucket.take(start + SECOND / 10, ten).is_err());
        // Who has waited long has a burst again and no more.
        let much_later = start + 3_600 * SECOND;
        let taken = (0..10).filter(|_| bucket.take(much_later, ten).is_ok());
        assert_eq!(taken.count(), 3);
    }

    #[test]
    fn no_burst_means_a_seconds_worth_and_no_rate_no_limit() {
        assert_eq!(Quota::new(0, 5), None);
        let bucket = Bucket::default();
        let taken = (0..100).filter(|_| bucket.take(0, quota(7, 0)).is_ok());
        assert_eq!(taken.count(), 7);
    }

    #[test]
    fn a_new_quota_forgets_what_is_owed_beyond_its_burst() {
        let bucket = Bucket::default();
        for _ in 0..100 {
            bucket.take(0, quota(1, 100)).unwrap();
        }
        assert_eq!(
            bucket.take(0, quota(1_000, 10)),
            Err(Duration::from_millis(1))
        );
    }

    #[test]
    fn threads_together_get_what_one_would() {
        let bucket = Bucket::default();
        let some = || (0..1_000).filter(|_| bucket.take(9, quota(50, 500)).is_ok());
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| some().count())).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(taken, 500);
    }

    #[test]
    fn addresses_are_told_apart_and_an_ipv6_network_is_one() {
        let addresses = Addresses::default();
        let one = quota(1, 1);
        let take = |text: &str| addresses.take(text.parse().unwrap(), SECOND, one).is_ok();
        assert!(take("10.0.0.1") && take("10.0.0.2") && !take("10.0.0.1"));
        assert!(!take("::ffff:10.0.0.1"), "the same, as a mapped address");
        assert!(take("2001:db8::1") && !take("2001:db8::ffff:2"));
        assert!(take("2001:db8:0:1::1"));
    }

    #[test]
    fn beyond_the_bound_addresses_share_one_allowance_until_there_is_room() {
        let addresses = Addresses::default();
        let one = quota(1, 1);
        let ip = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number));
        let many = u32::try_from(2 * MAX_ADDRESSES).unwrap();
        let taken = (0..many).filter(|number| addresses.take(ip(*number), 0, one).is_ok());
        assert!(taken.count() <= MAX_ADDRESSES + 1);
        assert!(addresses.len() <= MAX_ADDRESSES);
        assert!(addresses.take(ip(many), 0, one).is_err());
        // A second later all have paid back.
        let taken =
            (many..many + 100).filter(|number| addresses.take(ip(*number), SECOND, one).is_ok());
        assert_eq!(taken.count(), 100);
        assert!(addresses.len() < MAX_ADDRESSES);
    }

    proptest! {
        /// Whatever the pattern: never more than a burst and the rate.
        #[test]
        fn never_more_than_the_quota(
            per_s in 1u32..1_000, burst in 1u32..50, mut gaps in prop::collection::vec(0u64..50_000_000, 1..300)
        ) {
            let bucket = Bucket::default();
            let (mut now, mut taken) = (0, 0u64);
            gaps[0] = 0;
            for gap in gaps {
                now += gap;
                taken += u64::from(bucket.take(now, quota(per_s, burst)).is_ok());
                let most = u64::from(burst) + now / quota(per_s, burst).interval_ns() + 1;
                prop_assert!(taken <= most, "{taken} of {most} after {now} ns");
            }
        }
    }
}
