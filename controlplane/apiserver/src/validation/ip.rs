//! Addresses and CIDRs, read as Go reads them: leading zeros and IPv4 addresses inside of IPv6 ones are old
//! habits that are still understood, but no longer accepted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::field::{Errors, Path};

const NO_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const NO_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// Reads an address, with leading zeros if need be. IPv4 addresses in IPv6 form become IPv4.
pub fn parse(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        let address: Ipv6Addr = text.parse().ok()?;
        return Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4));
    }
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part =
            parts.next().filter(|part| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()))?;
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets).into())
}

/// Reads a CIDR: its network address and the length of its prefix.
pub fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let address = parse(address)?;
    let prefix: u8 = prefix.parse().ok()?;
    let max = if address.is_ipv4() && !text.contains(':') { 32 } else { 128 };
    (prefix <= max).then_some((address, prefix))
}

/// The network of a CIDR in its shortest form.
pub fn canonical_cidr(text: &str) -> Option<String> {
    let (address, prefix) = parse_cidr(text)?;
    let network = ipnet::IpNet::new(address, prefix).ok()?.trunc();
    Some(network.to_string())
}

/// A field that takes addresses which all programs read alike (`StrictIPCIDRValidation`, KEP-4858); returns whether
/// this is one.
pub fn address(errors: &mut Errors, path: &Path<'_>, text: &str) -> bool {
    if parse(text).is_none() {
        errors.invalid_str(path, text, NO_ADDRESS);
        return false;
    }
    match text.parse::<IpAddr>() {
        Err(_) => errors.invalid_str(path, text, "must not have leading 0s"),
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
            errors.invalid_str(path, text, "must not be an IPv4-mapped IPv6 address");
        }
        Ok(_) => return true,
    }
    false
}

/// A field that takes addresses in their shortest form only.
pub fn strict_address(errors: &mut Errors, path: &Path<'_>, text: &str) {
    if address(errors, path, text)
        && let Some(parsed) = parse(text).filter(|parsed| parsed.to_string() != text)
    {
        errors.invalid_str(path, text, &format!("must be in canonical form (\"{parsed}\")"));
    }
}

/// A field that takes networks which all programs read alike (`StrictIPCIDRValidation`, KEP-4858); returns whether
/// this is one.
pub fn cidr(errors: &mut Errors, path: &Path<'_>, text: &str) -> bool {
    let Some((address, prefix)) = parse_cidr(text) else {
        errors.invalid_str(path, text, NO_CIDR);
        return false;
    };
    let Some((given, length)) = text.split_once('/') else { return false };
    let zeros = length.len() > 1 && length.starts_with('0');
    match given.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
            errors.invalid_str(path, text, "must not have an IPv4-mapped IPv6 address");
        }
        Ok(_) if !zeros => {
            if ipnet::IpNet::new(address, prefix).is_ok_and(|net| net.addr() == net.network()) {
                return true;
            }
            errors.invalid_str(path, text, "must not have bits set beyond the prefix length");
        }
        _ => errors.invalid_str(path, text, "must not have leading 0s in IP or prefix length"),
    }
    false
}

/// A field that takes CIDRs in their shortest form only.
pub fn strict_cidr(errors: &mut Errors, path: &Path<'_>, text: &str) {
    if cidr(errors, path, text)
        && let Some(canonical) = canonical_cidr(text).filter(|canonical| canonical != text)
    {
        errors.invalid_str(path, text, &format!("must be in canonical form (\"{canonical}\")"));
    }
}

/// The address of a network interface with the length of its network's prefix, in its shortest form.
pub fn interface_address(errors: &mut Errors, path: &Path<'_>, text: &str) {
    let Some((address, prefix)) = parse_cidr(text) else {
        let why = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
        return errors.invalid_str(path, text, why);
    };
    // The bits by which an IPv4 address in IPv6 form is longer.
    const MAPPED: u8 = 96;
    let prefix = if address.is_ipv4() && prefix > 32 { prefix - MAPPED } else { prefix };
    let canonical = format!("{address}/{prefix}");
    if canonical != text {
        errors.invalid_str(path, text, &format!("must be in canonical form (\"{canonical}\")"));
    }
}

/// Whether an address is one of a sandbox's pods, Services or load balancers: 127.64.0.0/10. They are loopback
/// addresses, since those need no set-up, but none at which a machine's own daemons listen.
fn is_sandbox(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 127 && v4.octets()[1] & 0b1100_0000 == 64)
}

/// An address that pods can be reached at.
pub fn endpoint_address(errors: &mut Errors, path: &Path<'_>, text: &str) {
    let Some(address) = parse(text) else {
        return errors.invalid_str(path, text, "must be a valid IP address");
    };
    let (link_local, link_local_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if address.is_unspecified() {
        errors.invalid_str(path, text, &format!("may not be unspecified ({text})"));
    }
    if address.is_loopback() && !is_sandbox(address) {
        errors.invalid_str(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if link_local {
        errors.invalid_str(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if link_local_multicast {
        errors.invalid_str(
            path,
            text,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        );
    }
}

/// What is questionable about an address that is read by old habits.
pub fn address_warnings(path: &Path<'_>, text: &str) -> Option<String> {
    let address = parse(text)?;
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_none() => (v6.to_string() != text).then(|| {
            format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format (\"{v6}\")")
        }),
        Ok(IpAddr::V4(_)) => None,
        _ => Some(format!("{path}: non-standard IP address {text:?} is invalid: use \"{address}\"")),
    }
}

/// What is questionable about a CIDR that is read by old habits.
pub fn cidr_warnings(path: &Path<'_>, text: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    let (Some((address, prefix)), Some(canonical)) = (parse_cidr(text), canonical_cidr(text)) else {
        return warnings;
    };
    let Ok(net) = ipnet::IpNet::new(address, prefix) else { return warnings };
    if net.network() != address {
        let only = format!("{address}/{}", net.max_prefix_len());
        warnings.push(format!(
            "{path}: CIDR value {text:?} is ambiguous in this context (should be \"{canonical}\" or \"{only}\"?)"
        ));
    }
    let given = text.split_once('/').and_then(|(address, _)| address.parse::<IpAddr>().ok());
    match given {
        Some(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_none() => {
            if warnings.is_empty() && canonical != text {
                warnings.push(format!(
                    "{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format (\"{canonical}\")"
                ));
            }
        }
        Some(IpAddr::V4(_)) => {}
        _ => {
            let why = "is invalid: use";
            warnings.push(format!("{path}: non-standard CIDR value {text:?} {why} \"{canonical}\""));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        assert_eq!(parse("010.001.0.1"), parse("10.1.0.1"));
        assert_eq!(parse("::ffff:10.0.0.1"), parse("10.0.0.1"));
        assert_eq!(parse("10.0.0"), None);
        assert_eq!(parse("256.0.0.1"), None);
        assert_eq!(canonical_cidr("10.1.2.3/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(parse_cidr("10.0.0.0/33"), None);
    }

    fn told(check: impl Fn(&mut Errors, &Path<'_>) -> bool) -> Vec<String> {
        let mut errors = Errors::default();
        check(&mut errors, &Path::new("p"));
        errors.0.iter().map(|error| error.detail.clone()).collect()
    }

    #[test]
    fn addresses_that_programs_read_in_different_ways_are_refused() {
        let of = |text: &'static str| told(move |errors, path| address(errors, path, text));
        assert_eq!(of("10.0.0.1"), [""; 0]);
        assert_eq!(of("2001:DB8::1"), [""; 0]);
        assert_eq!(of("010.0.0.1"), ["Invalid value: \"010.0.0.1\": must not have leading 0s"]);
        assert_eq!(
            of("::ffff:10.0.0.1"),
            ["Invalid value: \"::ffff:10.0.0.1\": must not be an IPv4-mapped IPv6 address"]
        );
    }

    #[test]
    fn networks_have_no_bits_beyond_their_prefix() {
        let of = |text: &'static str| told(move |errors, path| cidr(errors, path, text));
        assert_eq!(of("10.0.0.0/8"), [""; 0]);
        assert_eq!(
            of("10.0.0.1/8"),
            ["Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix length"]
        );
        assert_eq!(
            of("10.0.0.0/08"),
            ["Invalid value: \"10.0.0.0/08\": must not have leading 0s in IP or prefix length"]
        );
    }
}
