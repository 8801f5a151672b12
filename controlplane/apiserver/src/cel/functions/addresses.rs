//! Addresses and networks as Go's `net/netip` reads them, and what it says of those that it cannot read.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::field::quoted;

/// An address, and whether there was a zone with it.
pub struct Zoned {
    pub address: IpAddr,
    pub zone: bool,
}

/// Reads an address.
pub fn parse(text: &str) -> Result<Zoned, String> {
    let (plain, zone) = match text.split_once('%') {
        Some((plain, zone)) if plain.contains(':') && !zone.is_empty() => (plain, true),
        _ => (text, false),
    };
    match plain.parse() {
        Ok(address) => Ok(Zoned { address, zone }),
        Err(_) => {
            let (why, at) = fault(text, plain);
            let at = at.map(|at| format!(" (at {})", quoted(at))).unwrap_or_default();
            Err(format!("ParseAddr({}): {why}{at}", quoted(text)))
        }
    }
}

/// Reads an address and how many of its bits name the network.
pub fn parse_prefix(text: &str) -> Result<IpNet, String> {
    let failed = |why: String| format!("netip.ParsePrefix({}): {why}", quoted(text));
    let (address, bits) = text.rsplit_once('/').ok_or_else(|| failed("no '/'".into()))?;
    let Zoned { address, zone } = parse(address).map_err(failed)?;
    if zone {
        return Err(failed("IPv6 zones cannot be present in a prefix".into()));
    }
    let strict = bits.len() == 1 || !bits.starts_with(['0', '+', '-']);
    let Some(length) = bits.parse::<i64>().ok().filter(|_| strict) else {
        return Err(failed(format!("bad bits after slash: {}", quoted(bits))));
    };
    let network = u8::try_from(length).ok().and_then(|length| IpNet::new(address, length).ok());
    network.ok_or_else(|| failed("prefix length out of range".into()))
}

type Fault<'t> = (&'static str, Option<&'t str>);

/// What is wrong with an address, and from where on.
fn fault<'t>(text: &'t str, plain: &'t str) -> Fault<'t> {
    match text.find(['.', ':', '%']).map(|at| &text[at..=at]) {
        Some(".") => fault_of_v4(text).unwrap_or(("unable to parse IP", None)),
        Some(":") if text.ends_with('%') && !text[..text.len() - 1].contains('%') => {
            ("zone must be a non-empty string", None)
        }
        Some(":") => fault_of_v6(plain),
        Some(_) => ("missing IPv6 address", None),
        None => ("unable to parse IP", None),
    }
}

fn fault_of_v4(text: &str) -> Option<Fault<'_>> {
    let (mut value, mut digits, mut fields) = (0_u32, 0, 1);
    for (at, byte) in text.bytes().enumerate() {
        let here = Some(&text[at..]);
        match byte {
            b'0'..=b'9' => {
                if digits == 1 && value == 0 {
                    return Some(("IPv4 field has octet with leading zero", None));
                }
                value = value * 10 + u32::from(byte - b'0');
                digits += 1;
                if value > 255 {
                    return Some(("IPv4 field has value >255", None));
                }
            }
            b'.' if digits == 0 || at + 1 == text.len() => {
                return Some(("IPv4 field must have at least one digit", here));
            }
            b'.' if fields == 4 => return Some(("IPv4 address too long", None)),
            b'.' => (value, digits, fields) = (0, 0, fields + 1),
            _ => return Some(("unexpected character", here)),
        }
    }
    (fields < 4).then_some(("IPv4 address too short", None))
}

fn fault_of_v6(text: &str) -> Fault<'_> {
    let (mut rest, mut bytes) = (text.strip_prefix("::").unwrap_or(text), 0);
    let mut shortened = rest.len() < text.len();
    while bytes < 16 && !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        let after = &rest[digits..];
        match digits {
            0 => return ("each colon-separated field must have at least one digit", Some(rest)),
            5.. => return ("each group must have 4 or less digits", Some(rest)),
            _ => {}
        }
        if after.starts_with('.') {
            return if !shortened && bytes != 12 {
                let why = "embedded IPv4 address must replace the final 2 fields of the address";
                (why, Some(rest))
            } else if bytes > 12 {
                let why = "too many hex fields to fit an embedded IPv4 at the end of the address";
                (why, Some(rest))
            } else {
                fault_of_v4(rest).unwrap_or(("unable to parse IP", None))
            };
        }
        bytes += 2;
        rest = match after.strip_prefix(':') {
            None if after.is_empty() => after,
            None => return ("unexpected character, want colon", Some(after)),
            Some("") => return ("colon must be followed by more characters", Some(after)),
            Some(next) if next.starts_with(':') && shortened => {
                return ("multiple :: in address", Some(next));
            }
            Some(next) => {
                shortened |= next.starts_with(':');
                next.strip_prefix(':').unwrap_or(next)
            }
        };
    }
    match (rest, shortened) {
        (rest, _) if !rest.is_empty() => ("trailing garbage after address", Some(rest)),
        (_, true) => ("the :: must expand to at least one field of zeros", None),
        (_, false) => ("address string too short", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_read_are_told_as_go_tells_them() {
        for (text, why) in [
            ("x", "unable to parse IP"),
            ("", "unable to parse IP"),
            ("1.2.3", "IPv4 address too short"),
            ("1.2.3.4.5", "IPv4 address too long"),
            ("01.2.3.4", "IPv4 field has octet with leading zero"),
            ("1.2.3.256", "IPv4 field has value >255"),
            ("1..2.3", "IPv4 field must have at least one digit (at \".2.3\")"),
            ("1.2.3.", "IPv4 field must have at least one digit (at \".\")"),
            ("a.b.c.d", "unexpected character (at \"a.b.c.d\")"),
            ("fe80", "unable to parse IP"),
            ("1:2", "address string too short"),
            ("1:2:3:4:5:6:7:8:9", "trailing garbage after address (at \"9\")"),
            ("1::2::3", "multiple :: in address (at \":3\")"),
            ("::g", "each colon-separated field must have at least one digit (at \"g\")"),
            ("::12345", "each group must have 4 or less digits (at \"12345\")"),
            ("1:", "colon must be followed by more characters (at \":\")"),
            ("1::2:3:4:5:6:7:8", "the :: must expand to at least one field of zeros"),
            ("fe80::1%", "zone must be a non-empty string"),
            ("%eth0", "missing IPv6 address"),
            (
                "1:1.2.3.4",
                "embedded IPv4 address must replace the final 2 fields of the address (at \"1.2.3.4\")",
            ),
        ] {
            assert_eq!(parse(text).err(), Some(format!("ParseAddr({text:?}): {why}")));
        }
        assert!(parse("fe80::1%eth0").is_ok_and(|read| read.zone));
    }

    #[test]
    fn networks_that_cannot_be_read_are_told_as_go_tells_them() {
        for (text, why) in [
            ("10.0.0.0", "no '/'"),
            ("10.0.0/8", "ParseAddr(\"10.0.0\"): IPv4 address too short"),
            ("10.0.0.0/33", "prefix length out of range"),
            ("10.0.0.0/-1", "bad bits after slash: \"-1\""),
            ("10.0.0.0/08", "bad bits after slash: \"08\""),
            ("10.0.0.0/", "bad bits after slash: \"\""),
            ("fe80::1%a/64", "IPv6 zones cannot be present in a prefix"),
        ] {
            assert_eq!(parse_prefix(text).err(), Some(format!("netip.ParsePrefix({text:?}): {why}")));
        }
        assert_eq!(parse_prefix("10.1.2.3/8").unwrap().to_string(), "10.1.2.3/8");
    }
}
