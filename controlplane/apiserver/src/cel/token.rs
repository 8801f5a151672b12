//! The tokens of expressions.

use super::parse::SyntaxError;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A name; also the words `true`, `false`, `null` and `in`.
    Name(String),
    /// A name in backticks.
    Quoted(String),
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

/// The tokens of a text, each with its offset; the last is the end.
pub fn tokens(text: &str) -> Result<Vec<(usize, Token)>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_ascii_whitespace() {
            at += 1;
        } else if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if let Some((token, length)) = string(rest, at, text)? {
            tokens.push((at, token));
            at += length;
        } else if c.is_ascii_alphabetic() || c == '_' {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push((at, Token::Name(rest[..length].into())));
            at += length;
        } else if let Some((token, length)) = number(rest).map_err(|why| SyntaxError::new(text, at, why))? {
            tokens.push((at, token));
            at += length;
        } else if let Some(name) =
            rest.strip_prefix('`').and_then(|r| r.split_once('`')).map(|(name, _)| name)
        {
            tokens.push((at, Token::Quoted(name.into())));
            at += name.len() + 2;
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push((at, Token::Sign(sign)));
            at += sign.len();
        } else {
            return Err(SyntaxError::new(text, at, format!("token recognition error at: '{c}'")));
        }
    }
    tokens.push((text.len(), Token::End));
    Ok(tokens)
}

fn number(text: &str) -> Result<Option<(Token, usize)>, String> {
    let bytes = text.as_bytes();
    let fraction = bytes[0] == b'.' && bytes.get(1).is_some_and(u8::is_ascii_digit);
    if !bytes[0].is_ascii_digit() && !fraction {
        return Ok(None);
    }
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let length = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
        let value = u64::from_str_radix(&digits[..length], 16).map_err(|_| "invalid int literal")?;
        return whole(value, &digits[length..], length + 2).map(Some);
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
        let value = text[..length].parse().map_err(|_| "invalid double literal")?;
        return Ok(Some((Token::Double(value), length)));
    }
    let value = text[..length].parse().map_err(|_| "invalid int literal")?;
    whole(value, &text[length..], length).map(Some)
}

fn whole(value: u64, rest: &str, length: usize) -> Result<(Token, usize), String> {
    if rest.starts_with(['u', 'U']) {
        return Ok((Token::Uint(value), length + 1));
    }
    // The magnitude of the smallest number only exists with its sign, which the parser puts before it.
    let value =
        if value == 1 << 63 { i64::MIN } else { i64::try_from(value).map_err(|_| "invalid int literal")? };
    Ok((Token::Int(value), length))
}

/// A text or bytes, with its prefixes and quotes.
fn string(rest: &str, at: usize, text: &str) -> Result<Option<(Token, usize)>, SyntaxError> {
    // Marks are two at most: looking no further keeps long texts linear.
    let Some(prefix) = rest.bytes().take(3).position(|b| matches!(b, b'"' | b'\'')) else { return Ok(None) };
    let marks = rest[..prefix].to_ascii_lowercase();
    let (raw, bytes) = match marks.as_str() {
        "" => (false, false),
        "r" => (true, false),
        "b" => (false, true),
        "rb" | "br" => (true, true),
        _ => return Ok(None),
    };
    let body = &rest[prefix..];
    let one = &body[..1];
    let triple = one.repeat(3);
    let quote = if body.starts_with(&triple) { triple.as_str() } else { one };
    let mut out = Vec::new();
    let mut position = quote.len();
    loop {
        let here = &body[position..];
        let Some(c) = here.chars().next() else {
            return Err(SyntaxError::new(text, at, "unterminated string literal".to_owned()));
        };
        if here.starts_with(quote) {
            position += quote.len();
            break;
        }
        if c == '\n' && quote.len() == 1 {
            return Err(SyntaxError::new(text, at, "unterminated string literal".to_owned()));
        }
        if c == '\\' && !raw {
            let length = escape(&here[1..], bytes, &mut out).ok_or_else(|| {
                SyntaxError::new(text, at + prefix + position, "invalid escape sequence".to_owned())
            })?;
            position += 1 + length;
        } else {
            out.extend_from_slice(&here.as_bytes()[..c.len_utf8()]);
            position += c.len_utf8();
        }
    }
    let token = if bytes {
        Token::Bytes(out)
    } else {
        let invalid = || SyntaxError::new(text, at, "invalid UTF-8".to_owned());
        Token::Text(String::from_utf8(out).map_err(|_| invalid())?)
    };
    Ok(Some((token, prefix + position)))
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
