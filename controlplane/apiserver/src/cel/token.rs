//! The tokens of expressions.

use super::parse::SyntaxError;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A name; also the words `true`, `false`, `null` and `in`.
    Name(String),
    /// A name in backticks, which Kubernetes does not enable.
    Quoted,
    /// A whole number.
    Int(i64),
    /// A whole number with `u`.
    Uint(u64),
    /// A number with a fraction or exponent.
    Double(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Punctuation.
    Sign(&'static str),
    /// The end of the text.
    End,
}

const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "(", ")", "[", "]", "{", "}", ".", ",", ":", "?", "<", ">", "+", "-",
    "*", "/", "%", "!",
];

/// So many errors are told.
const MAX_ERRORS: usize = 30;

/// The tokens of a text, each with its offset, of which the last is the end; and what is no token. That is left out, or
/// is another literal in its place, so that what follows can be judged.
pub fn tokens(text: &str) -> (Vec<(usize, Token)>, Vec<SyntaxError>) {
    let (mut tokens, mut errors) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let found = if let Some(read) = string(rest) {
            read.map(|(token, length)| (Some(token), length))
        } else if c.is_ascii_alphabetic() || c == '_' {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            Ok((Some(Token::Name(rest[..length].into())), length))
        } else if let Some((token, length)) = number(rest) {
            if let Err(why) = &token
                && errors.len() < MAX_ERRORS
            {
                errors.push(SyntaxError::new(text, at, *why));
            }
            Ok((Some(token.unwrap_or(Token::Int(0))), length))
        } else if let Some(name) =
            rest.strip_prefix('`').and_then(|r| r.split_once('`')).map(|(name, _)| name)
        {
            Ok((Some(Token::Quoted), name.len() + 2))
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            Ok((Some(Token::Sign(sign)), sign.len()))
        } else {
            // What could have begun a sign of two characters takes the next one along.
            let unknown = rest.chars().take(if matches!(c, '=' | '&' | '|') { 2 } else { 1 });
            Err(Fault::Unrecognized(unknown.map(char::len_utf8).sum()))
        };
        match found {
            Ok((token, length)) => {
                tokens.extend(token.map(|token| (at, token)));
                at += length;
            }
            Err(Fault::Unrecognized(length)) => {
                if errors.len() < MAX_ERRORS {
                    let why = format!("Syntax error: token recognition error at: '{}'", &rest[..length]);
                    errors.push(SyntaxError::new(text, at, why));
                }
                at += length;
            }
            Err(Fault::Wrong(offset, length, why)) => {
                if errors.len() < MAX_ERRORS {
                    errors.push(SyntaxError::new(text, at + offset, why));
                }
                tokens.push((at, Token::Int(0)));
                at += length;
            }
        }
    }
    tokens.push((text.len(), Token::End));
    (tokens, errors)
}

/// Why something is no token.
enum Fault {
    /// So many bytes cannot be the beginning of one.
    Unrecognized(usize),
    /// Something in it, from an offset on, has no meaning; it takes so many bytes.
    Wrong(usize, usize, &'static str),
}

type Number = (Result<Token, &'static str>, usize);

fn number(text: &str) -> Option<Number> {
    let bytes = text.as_bytes();
    let fraction = bytes[0] == b'.' && bytes.get(1).is_some_and(u8::is_ascii_digit);
    if !bytes[0].is_ascii_digit() && !fraction {
        return None;
    }
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    if let Some(digits) = hex.filter(|digits| digits.starts_with(|c: char| c.is_ascii_hexdigit())) {
        let length = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
        let value = u64::from_str_radix(&digits[..length], 16).ok();
        return Some(whole(value, &digits[length..], length + 2));
    }
    let count = |from: usize| bytes[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    let mut length = count(0);
    let mut double = false;
    if bytes.get(length) == Some(&b'.') && bytes.get(length + 1).is_some_and(u8::is_ascii_digit) {
        double = true;
        length += 1 + count(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let digits = bytes.get(length + 1 + sign..).map_or(0, |_| count(length + 1 + sign));
        if digits > 0 {
            double = true;
            length += 1 + sign + digits;
        }
    }
    if double {
        let value = text[..length].parse().ok().filter(|value: &f64| value.is_finite());
        return Some((value.map(Token::Double).ok_or("invalid double literal"), length));
    }
    Some(whole(text[..length].parse().ok(), &text[length..], length))
}

fn whole(value: Option<u64>, rest: &str, length: usize) -> Number {
    if rest.starts_with(['u', 'U']) {
        return (value.map(Token::Uint).ok_or("invalid uint literal"), length + 1);
    }
    // The magnitude of the smallest number only exists with its sign, which the parser puts before it.
    let value =
        value.and_then(|value| if value == 1 << 63 { Some(i64::MIN) } else { i64::try_from(value).ok() });
    (value.map(Token::Int).ok_or("invalid int literal"), length)
}

/// A text or bytes, with its prefixes and quotes; nothing if there is none.
fn string(rest: &str) -> Option<Result<(Token, usize), Fault>> {
    // Marks are two at most: looking no further keeps long texts linear.
    let prefix = rest.bytes().take(3).position(|b| matches!(b, b'"' | b'\''))?;
    let marks = rest[..prefix].to_ascii_lowercase();
    let (raw, bytes) = match marks.as_str() {
        "" => (false, false),
        "r" => (true, false),
        "b" => (false, true),
        "rb" | "br" => (true, true),
        _ => return None,
    };
    Some(quoted(rest, prefix, raw, bytes))
}

fn quoted(rest: &str, prefix: usize, raw: bool, bytes: bool) -> Result<(Token, usize), Fault> {
    let body = &rest[prefix..];
    let one = &body[..1];
    let triple = one.repeat(3);
    let quote = if body.starts_with(&triple) { triple.as_str() } else { one };
    let (mut out, mut wrong) = (Vec::new(), None);
    let mut position = quote.len();
    loop {
        let here = &body[position..];
        let Some(c) = here.chars().next() else { return Err(Fault::Unrecognized(rest.len())) };
        if here.starts_with(quote) {
            position += quote.len();
            break;
        }
        if c == '\n' && quote.len() == 1 {
            return Err(Fault::Unrecognized(prefix + position + 1));
        }
        if c == '\\' && !raw {
            let length = escape_length(&here[1..]).map_err(|failing| {
                let failing = failing.min(here.len() - 1);
                let last = here[1 + failing..].chars().next().map_or(0, char::len_utf8);
                Fault::Unrecognized(prefix + position + 1 + failing + last)
            })?;
            if escape(&here[1..], bytes, &mut out).is_none() {
                wrong.get_or_insert(prefix + position);
            }
            position += 1 + length;
        } else {
            out.extend_from_slice(&here.as_bytes()[..c.len_utf8()]);
            position += c.len_utf8();
        }
    }
    let length = prefix + position;
    if let Some(offset) = wrong {
        return Err(Fault::Wrong(offset, length, "invalid escape sequence"));
    }
    let token = if bytes {
        Token::Bytes(out)
    } else {
        Token::Text(String::from_utf8(out).map_err(|_| Fault::Wrong(0, length, "invalid UTF-8"))?)
    };
    Ok((token, length))
}

/// How long an escape is after its backslash; or where the first character is that cannot be in it.
fn escape_length(text: &str) -> Result<usize, usize> {
    let (start, length, is_digit): (_, _, fn(&u8) -> bool) = match text.bytes().next() {
        Some(b'x' | b'X') => (1, 2, u8::is_ascii_hexdigit),
        Some(b'u') => (1, 4, u8::is_ascii_hexdigit),
        Some(b'U') => (1, 8, u8::is_ascii_hexdigit),
        Some(b'0'..=b'3') => (0, 3, |byte| (b'0'..=b'7').contains(byte)),
        Some(c) if b"ntrabfv\\'\"`?".contains(&c) => return Ok(1),
        _ => return Err(0),
    };
    let digits = text.bytes().skip(start).take(length).take_while(is_digit).count();
    if digits == length { Ok(start + length) } else { Err(start + digits) }
}

/// Appends what an escape stands for; the number of bytes that it takes after the backslash.
fn escape(text: &str, bytes: bool, out: &mut Vec<u8>) -> Option<usize> {
    let code = |digits: &str, radix: u32| u32::from_str_radix(digits, radix).ok();
    let mut push = |code: u32, raw: bool| -> Option<()> {
        if raw && bytes {
            out.push(u8::try_from(code).ok()?);
        } else {
            out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Some(())
    };
    let first = text.chars().next()?;
    let simple = match first {
        'n' => Some(10),
        't' => Some(9),
        'r' => Some(13),
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'v' => Some(11),
        '\\' | '\'' | '"' | '`' | '?' => Some(first as u32),
        _ => None,
    };
    if let Some(code) = simple {
        push(code, false)?;
        return Some(1);
    }
    let (start, length, radix, raw) = match first {
        'x' | 'X' => (1, 2, 16, true),
        'u' => (1, 4, 16, false),
        'U' => (1, 8, 16, false),
        '0'..='3' => (0, 3, 8, true),
        _ => return None,
    };
    push(code(text.get(start..start + length)?, radix)?, raw)?;
    Some(start + length)
}
