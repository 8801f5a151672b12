//! The addresses of one sandbox: several may run on a machine, and all of their addresses are loopback ones,
//! which need no set-up.
//!
//! There are sixteen slots. A sandbox keeps the slot it got first, since its Services keep their addresses.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use ipnet::Ipv4Net;

use super::{Error, file};

const SLOTS: u8 = 16;
/// The second part of the first slot's addresses: of pods, of Services, of load balancers.
const PODS: u8 = 64;
const SERVICES: u8 = 96;
const BALANCERS: u8 = 112;
/// Where a sandbox shows that its slot is taken.
const CLAIM_PORT: u16 = 16443;

/// The addresses of a sandbox.
pub(super) struct Ranges {
    /// Of pods.
    pub pods: Ipv4Net,
    /// Of Services.
    pub services: Ipv4Net,
    /// Of load balancers.
    pub balancers: Ipv4Net,
    /// Shows others that they are taken.
    _claim: TcpListener,
}

/// Takes the slot of the sandbox in `directory`.
pub(super) fn claim(directory: &Path) -> Result<Ranges, Error> {
    let path = directory.join("addresses");
    let kept = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<u8>().ok().filter(|slot| *slot < SLOTS),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(file(&path, source)),
    };
    if let Some(slot) = kept {
        return take(slot).map_err(|source| Error::Addresses { range: net(PODS, slot), source });
    }

    // Sandboxes start their search at different places, so that one that stops finds its slot free later.
    let mut hasher = DefaultHasher::new();
    directory.hash(&mut hasher);
    let first = (hasher.finish() % u64::from(SLOTS)) as u8;
    let mut refused = io::Error::other("no addresses");
    for slot in (first..SLOTS).chain(0..first) {
        match take(slot) {
            Ok(ranges) => {
                fs::write(&path, slot.to_string()).map_err(|source| file(&path, source))?;
                return Ok(ranges);
            }
            Err(error) => refused = error,
        }
    }
    Err(Error::Addresses { range: net(PODS, first), source: refused })
}

fn take(slot: u8) -> io::Result<Ranges> {
    let pods = net(PODS, slot);
    // The network's own address is never a pod's.
    let claim = TcpListener::bind((pods.network(), CLAIM_PORT))?;
    Ok(Ranges { pods, services: net(SERVICES, slot), balancers: net(BALANCERS, slot), _claim: claim })
}

fn net(base: u8, slot: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(127, base + slot, 0, 0), 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sandboxes_have_addresses_of_their_own_and_keep_them() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = claim(one.path()).unwrap();
        let second = claim(two.path()).unwrap();
        assert_ne!(first.pods, second.pods);
        assert_ne!(first.services, second.services);

        let before = first.pods;
        assert!(matches!(claim(one.path()), Err(Error::Addresses { .. })), "the slot is taken");
        drop(first);
        assert_eq!(claim(one.path()).unwrap().pods, before);
    }
}
