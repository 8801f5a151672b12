//! As much of DER as a certificate takes.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Any value: tag, length, content.
pub(super) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let significant: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | significant.len() as u8);
            out.extend(significant);
        }
    }
    out.extend_from_slice(content);
    out
}

/// A sequence of encoded values.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(0x30, &parts.concat())
}

/// A positive integer.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let significant: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    let sign = if significant.first().is_none_or(|first| *first >= 0x80) { vec![0] } else { Vec::new() };
    value(0x02, &[sign, significant].concat())
}

/// An object identifier of two or more arcs.
pub(super) fn identifier(arcs: &[u32]) -> Vec<u8> {
    let [first, second, rest @ ..] = arcs else { return Vec::new() };
    let mut content = Vec::new();
    for arc in std::iter::once(first * 40 + second).chain(rest.iter().copied()) {
        let mut groups = vec![(arc & 0x7f) as u8];
        let mut left = arc >> 7;
        while left > 0 {
            groups.push(0x80 | (left & 0x7f) as u8);
            left >>= 7;
        }
        content.extend(groups.into_iter().rev());
    }
    value(0x06, &content)
}

/// A string of whole bytes.
pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    value(0x03, &[&[0], bytes].concat())
}

/// Numbered flags, the lowest first, without trailing zeros.
pub(super) fn flags(set: u16) -> Vec<u8> {
    let mirrored = set.reverse_bits().to_be_bytes();
    let used = if set > 0xff { 2 } else { usize::from(set != 0) };
    let content = mirrored.get(..used).unwrap_or_default();
    let unused = content.last().map_or(0, |last| last.trailing_zeros() as u8);
    value(0x03, &[&[unused], content].concat())
}

/// A moment; the form depends on the century, as RFC 5280 asks.
pub(super) fn moment(at: Timestamp) -> Vec<u8> {
    let zoned = at.to_zoned(TimeZone::UTC);
    if zoned.year() < 2050 {
        value(0x17, zoned.strftime("%y%m%d%H%M%SZ").to_string().as_bytes())
    } else {
        value(0x18, zoned.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
    }
}

/// An extension of a certificate.
pub(super) fn extension(arcs: &[u32], critical: bool, content: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
    sequence(&[&identifier(arcs), critical, &value(0x04, content)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        assert_eq!(value(4, &[7; 3]), [4, 3, 7, 7, 7]);
        assert_eq!(value(4, &[7; 200])[..3], [4, 0x81, 200]);
        assert_eq!(value(4, &[7; 300])[..4], [4, 0x82, 1, 44]);
    }

    #[test]
    fn numbers_identifiers_and_flags_are_as_the_standard_shows_them() {
        assert_eq!(integer(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[5]), [2, 1, 5]);
        assert_eq!(identifier(&[1, 2, 840, 113_549]), [6, 6, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]);
        assert_eq!(flags(0b101), [3, 2, 5, 0b1010_0000]);
        assert_eq!(flags(1 << 8), [3, 3, 7, 0, 0b1000_0000]);
    }

    #[test]
    fn moments_after_2049_have_four_digits() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(&moment(at("2026-01-02T03:04:05Z"))[2..], b"260102030405Z");
        assert_eq!(&moment(at("2050-01-02T03:04:05Z"))[2..], b"20500102030405Z");
    }
}
