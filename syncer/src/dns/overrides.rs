//! Names that the settings give an answer, or resolvers of their own.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use hickory_proto::rr::Name;

/// What the settings say of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsOverrides {
    names: BTreeMap<String, Target>,
    stubs: BTreeMap<String, Vec<SocketAddr>>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Address(IpAddr),
    /// A name as the host's resolvers know it, even if it looks like one of the virtual cluster.
    Host(Name),
}

impl DnsOverrides {
    /// Reads `names` (a name, or `*.` and a domain, to an address or a name of the host) and `stubs` (a domain to the
    /// addresses of its resolvers). The error lists everything that is wrong.
    pub fn parse(
        names: &BTreeMap<String, String>,
        stubs: &BTreeMap<String, Vec<String>>,
    ) -> Result<Self, Vec<String>> {
        let mut overrides = Self::default();
        let mut wrong = Vec::new();
        for (name, target) in names {
            let plain = name.strip_prefix("*.").unwrap_or(name);
            if !is_name(plain) {
                wrong.push(format!("{name:?} is not a DNS name"));
            }
            match target.parse().map(Target::Address).or_else(|_| host(target)) {
                Ok(target) => drop(overrides.names.insert(canonical(name), target)),
                Err(()) => wrong.push(format!("{target:?} is neither an address nor a DNS name")),
            }
        }
        for (domain, resolvers) in stubs {
            if !is_name(domain) {
                wrong.push(format!("{domain:?} is not a DNS name"));
            }
            let read = |text: &String| {
                let plain = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
                plain
                    .or_else(|_| text.parse::<SocketAddr>())
                    .map_err(|_| format!("{text:?} is not an address"))
            };
            match resolvers.iter().map(read).collect() {
                Ok(resolvers) => drop(overrides.stubs.insert(canonical(domain), resolvers)),
                Err(why) => wrong.push(why),
            }
        }
        if wrong.is_empty() { Ok(overrides) } else { Err(wrong) }
    }

    /// What `name` (lower case, without the last dot) stands for. The name itself counts before wildcards, and of those
    /// the longest.
    pub(super) fn target(&self, name: &str) -> Option<&Target> {
        if self.names.is_empty() {
            return None;
        }
        self.names.get(name).or_else(|| {
            let mut rest = name;
            while let Some((_, domain)) = rest.split_once('.') {
                if let Some(target) = self.names.get(&format!("*.{domain}")) {
                    return Some(target);
                }
                rest = domain;
            }
            None
        })
    }

    /// The resolvers of the domain that `name` lies in, if it has its own.
    pub(super) fn resolvers(&self, name: &str) -> Option<&[SocketAddr]> {
        if self.stubs.is_empty() {
            return None;
        }
        let name = canonical(name);
        let mut rest = name.as_str();
        loop {
            if let Some(resolvers) = self.stubs.get(rest) {
                return Some(resolvers);
            }
            rest = rest.split_once('.')?.1;
        }
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn is_name(text: &str) -> bool {
    let text = text.trim_end_matches('.');
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

fn host(text: &str) -> Result<Target, ()> {
    let mut name = Name::from_str(text).ok().filter(|_| is_name(text)).ok_or(())?;
    name.set_fqdn(true);
    Ok(Target::Host(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides() -> DnsOverrides {
        let names = [
            ("db.shop.svc.cluster.local", "postgres.databases.svc.cluster.local"),
            ("*.corp.example.com", "192.0.2.1"),
            ("www.corp.example.com", "192.0.2.2"),
        ];
        let stubs =
            [("corp.example.com".to_owned(), vec!["192.0.2.53".to_owned(), "192.0.2.54:5353".to_owned()])];
        let names = names.map(|(name, target)| (name.to_owned(), target.to_owned()));
        DnsOverrides::parse(&names.into(), &stubs.into()).unwrap()
    }

    #[test]
    fn the_nearest_name_counts() {
        let address = |text: &str| Some(Target::Address(text.parse().unwrap()));
        assert_eq!(overrides().target("www.corp.example.com").cloned(), address("192.0.2.2"));
        assert_eq!(overrides().target("a.b.corp.example.com").cloned(), address("192.0.2.1"));
        assert_eq!(overrides().target("corp.example.com"), None);
        assert!(matches!(overrides().target("db.shop.svc.cluster.local"), Some(Target::Host(_))));
    }

    #[test]
    fn a_domain_may_have_resolvers_of_its_own() {
        let resolvers = ["192.0.2.53:53", "192.0.2.54:5353"].map(|address| address.parse().unwrap());
        assert_eq!(overrides().resolvers("WWW.corp.example.com."), Some(&resolvers[..]));
        assert_eq!(overrides().resolvers("corp.example.com"), Some(&resolvers[..]));
        assert_eq!(overrides().resolvers("example.com"), None);
    }

    #[test]
    fn what_is_no_name_or_address_is_told() {
        let names = [("bad name".to_owned(), "also bad".to_owned())].into();
        let stubs = [("a.b".to_owned(), vec!["x".to_owned()])].into();
        assert_eq!(DnsOverrides::parse(&names, &stubs).unwrap_err().len(), 3);
    }
}
