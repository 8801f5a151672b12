//! Addresses for pods and Services from the loopback range, which Linux lets anybody bind without set-up.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::Ipv4Net;

/// A pool of addresses; clones share it.
#[derive(Clone)]
pub(crate) struct Pool {
    range: Ipv4Net,
    state: Arc<Mutex<Leased>>,
}

#[derive(Default)]
struct Leased {
    taken: BTreeSet<Ipv4Addr>,
    /// Where to look next, so that an address rests before it is used again.
    cursor: u32,
}

/// An address that returns to its pool when dropped.
pub(crate) struct Lease {
    address: Ipv4Addr,
    pool: Pool,
}

impl Pool {
    /// A pool over a range; its first and last address are not given out.
    pub fn new(range: Ipv4Net) -> Self {
        Self { range, state: Arc::default() }
    }

    /// A free address; `None` when all are taken.
    pub fn lease(&self) -> Option<Lease> {
        let (first, count) = self.bounds();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let start = state.cursor;
        let address = (0..count)
            .map(|step| Ipv4Addr::from(first + (start + step) % count))
            .find(|address| !state.taken.contains(address))?;
        state.cursor = (u32::from(address) - first + 1) % count;
        state.taken.insert(address);
        Some(Lease { address, pool: self.clone() })
    }

    /// This very address, if it belongs to the pool and is free.
    pub fn lease_exactly(&self, address: IpAddr) -> Option<Lease> {
        let IpAddr::V4(address) = address else { return None };
        let (first, count) = self.bounds();
        let inside = u32::from(address).checked_sub(first).is_some_and(|offset| offset < count);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (inside && state.taken.insert(address)).then(|| Lease { address, pool: self.clone() })
    }

    fn bounds(&self) -> (u32, u32) {
        let first = u32::from(self.range.network()) + 1;
        (first, u32::from(self.range.broadcast()).saturating_sub(first).max(1))
    }
}

impl Lease {
    /// The address.
    pub fn address(&self) -> IpAddr {
        self.address.into()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.state.lock().unwrap_or_else(PoisonError::into_inner).taken.remove(&self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_pool() -> Pool {
        Pool::new("127.64.0.0/30".parse().unwrap())
    }

    #[test]
    fn gives_every_address_once_and_takes_it_back() {
        let pool = mk_pool();
        let first = pool.lease().unwrap();
        let second = pool.lease().unwrap();
        assert_eq!(first.address().to_string(), "127.64.0.1");
        assert_eq!(second.address().to_string(), "127.64.0.2");
        assert!(pool.lease().is_none());
        drop(first);
        assert_eq!(pool.lease().unwrap().address().to_string(), "127.64.0.1");
    }

    #[test]
    fn keeps_the_address_that_a_pod_already_had() {
        let pool = mk_pool();
        let kept = pool.lease_exactly("127.64.0.1".parse().unwrap());
        assert!(kept.is_some());
        assert!(pool.lease_exactly("127.64.0.1".parse().unwrap()).is_none());
        assert!(pool.lease_exactly("127.65.0.1".parse().unwrap()).is_none());
        assert_eq!(pool.lease().unwrap().address().to_string(), "127.64.0.2");
    }
}
