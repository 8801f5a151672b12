//! Durations as Go writes them.

/// The whole seconds of a duration such as `30s`, `1m0s` or `1h2m3.5s`.
pub(crate) fn seconds(duration: &str) -> Option<i64> {
    let (mut total, mut number) = (0.0, String::new());
    let mut characters = duration.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_ascii_digit() || character == '.' {
            number.push(character);
            continue;
        }
        let amount: f64 = std::mem::take(&mut number).parse().ok()?;
        total += match (character, characters.peek()) {
            ('h', _) => amount * 3600.0,
            ('m', Some('s')) => {
                characters.next();
                amount / 1000.0
            }
            ('n' | 'u' | 'µ', Some('s')) => {
                characters.next();
                0.0
            }
            ('m', _) => amount * 60.0,
            ('s', _) => amount,
            _ => return None,
        };
    }
    number.is_empty().then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, expected) in [
            ("30s", Some(30)),
            ("1m0s", Some(60)),
            ("1h2m3.5s", Some(3723)),
            ("1500ms", Some(1)),
            ("x", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
