//! Indented JSON, as `?pretty=true` asks for.

/// Indents compact JSON by two spaces; empty objects and arrays stay on their line.
pub fn indent(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 3 / 2);
    let mut depth = 0_usize;
    let (mut quoted, mut escaped) = (false, false);
    for (at, &byte) in json.iter().enumerate() {
        if quoted {
            out.push(byte);
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        let next = json.get(at + 1);
        match byte {
            b'"' => {
                quoted = true;
                out.push(byte);
            }
            b'{' | b'[' => {
                out.push(byte);
                if !matches!(next, Some(b'}' | b']')) {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                if !matches!(out.last(), Some(b'{' | b'[')) {
                    depth = depth.saturating_sub(1);
                    line(&mut out, depth);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            b' ' | b'\n' | b'\t' | b'\r' => {}
            other => out.push(other),
        }
    }
    out
}

fn line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', depth * 2));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_indents_and_empty_values_stay_on_their_line() {
        let pretty = indent(br#"{"a":{"b":[1,"x,\"}"],"c":{}}}"#);
        let expected =
            "{\n  \"a\": {\n    \"b\": [\n      1,\n      \"x,\\\"}\"\n    ],\n    \"c\": {}\n  }\n}";
        assert_eq!(String::from_utf8(pretty).unwrap(), expected);
    }
}
