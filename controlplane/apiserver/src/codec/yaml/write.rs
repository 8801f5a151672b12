//! Documents in block style: keys in Go's natural order, long lines folded at spaces, and quotes only where
//! a text would mean something else without them.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::{numbers, resolve::needs_quotes};

/// Lines are folded at the first space beyond this column.
const WIDTH: usize = 80;
/// Keys beyond this length stand behind a question mark.
const SIMPLE_KEY: usize = 128;
const STEP: usize = 2;

/// A document as YAML.
pub fn write(document: &Value) -> String {
    let mut writer = Writer::default();
    writer.node(document, Place::Root, 0);
    writer.line_break();
    writer.out
}

/// Where a node stands, which decides what goes before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    /// Behind `- `, on the same line.
    Item,
    /// Behind `key:`.
    Value,
}

#[derive(Default)]
struct Writer {
    out: String,
    /// How many characters the line has.
    column: usize,
}

impl Writer {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn line_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    fn new_line(&mut self, indent: usize) {
        self.line_break();
        self.put(&" ".repeat(indent));
    }

    /// A node whose collection has its entries at `indent`.
    fn node(&mut self, node: &Value, place: Place, indent: usize) {
        match node {
            Value::Object(map) if !map.is_empty() => self.mapping(map, place, indent),
            Value::Array(items) if !items.is_empty() => {
                // Sequences below a key stand as far left as the key.
                let indent = if place == Place::Value { indent - STEP } else { indent };
                for (at, item) in items.iter().enumerate() {
                    if at > 0 || place == Place::Value {
                        self.new_line(indent);
                    } else if place == Place::Item {
                        self.put(" ");
                    }
                    self.put("-");
                    self.node(item, Place::Item, indent + STEP);
                }
            }
            scalar => {
                if place != Place::Root {
                    self.put(" ");
                }
                let indent = if place == Place::Root { STEP } else { indent };
                match scalar {
                    Value::Object(_) => self.put("{}"),
                    Value::Array(_) => self.put("[]"),
                    Value::Null => self.put("null"),
                    Value::Bool(value) => self.put(if *value { "true" } else { "false" }),
                    Value::Number(value) => self.put(&number(value)),
                    Value::String(text) => self.text(text, Some(indent)),
                }
            }
        }
    }

    fn mapping(&mut self, map: &Map<String, Value>, place: Place, indent: usize) {
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        entries.sort_by(|a, b| natural(a.0, b.0));
        for (at, (key, value)) in entries.into_iter().enumerate() {
            if at > 0 || place == Place::Value {
                self.new_line(indent);
            } else if place == Place::Item {
                self.put(" ");
            }
            if key.len() > SIMPLE_KEY || key.contains('\n') {
                self.put("? ");
                self.text(key, Some(indent + STEP));
                self.new_line(indent);
            } else {
                self.text(key, None);
            }
            self.put(":");
            self.node(value, Place::Value, indent + STEP);
        }
    }

    /// A text; `indent` is that of its further lines, which a simple key cannot have.
    fn text(&mut self, text: &str, indent: Option<usize>) {
        let form = Form::of(text);
        if text.contains('\n') {
            match indent {
                Some(indent) if form.block => self.literal(text, indent),
                _ => self.double_quoted(text, indent),
            }
        } else if needs_quotes(text) {
            self.double_quoted(text, indent);
        } else if form.plain {
            self.folded(text, indent, |c, out| out.push(c));
        } else if form.single_quoted {
            self.put("'");
            self.folded(text, indent, |c, out| {
                out.extend(std::iter::repeat_n(c, 1 + usize::from(c == '\'')));
            });
            self.put("'");
        } else {
            self.double_quoted(text, indent);
        }
    }

    /// Characters, with a line break for a lone space beyond the width.
    fn folded(&mut self, text: &str, indent: Option<usize>, put: impl Fn(char, &mut String)) {
        let mut spaces = false;
        let mut characters = text.chars().enumerate().peekable();
        while let Some((at, c)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            let inner = at > 0 && next.is_some_and(|next| next != ' ');
            match indent {
                Some(indent) if c == ' ' && !spaces && inner && self.column > WIDTH => self.new_line(indent),
                _ => {
                    let before = self.out.len();
                    put(c, &mut self.out);
                    self.column += self.out[before..].chars().count();
                }
            }
            spaces = c == ' ';
        }
    }

    fn double_quoted(&mut self, text: &str, indent: Option<usize>) {
        self.put("\"");
        let mut spaces = false;
        let mut characters = text.chars().enumerate().peekable();
        while let Some((at, c)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            match indent {
                Some(indent) if c == ' ' && !spaces && at > 0 && next.is_some() && self.column > WIDTH => {
                    self.new_line(indent);
                    if next == Some(' ') {
                        self.put("\\");
                    }
                }
                _ => self.put(&escaped(c)),
            }
            spaces = c == ' ';
        }
        self.put("\"");
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.put("|");
        if text.starts_with([' ', '\n']) {
            self.put(&STEP.to_string());
        }
        if !text.ends_with('\n') {
            self.put("-");
        } else if text.len() == 1 || text.ends_with("\n\n") {
            self.put("+");
        }
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            if line.is_empty() {
                self.line_break();
            } else {
                self.new_line(indent);
                self.put(line);
            }
        }
    }
}

/// In which forms a text can be written.
struct Form {
    plain: bool,
    single_quoted: bool,
    block: bool,
}

impl Form {
    fn of(text: &str) -> Self {
        let mut form = Self { plain: true, single_quoted: true, block: true };
        if text.starts_with("---") || text.starts_with("...") {
            form.plain = false;
        }
        let (mut after_blank, mut after_space, mut after_break) = (true, false, false);
        let mut characters = text.chars().enumerate().peekable();
        while let Some((at, c)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            let before_blank = next.is_none_or(|next| matches!(next, ' ' | '\t'));
            let indicates = match c {
                '#' if at > 0 => after_blank,
                ':' => before_blank,
                '?' | '-' if at == 0 => before_blank,
                ',' | '[' | ']' | '{' | '}' | '#' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
                | '`' => at == 0,
                _ => false,
            };
            let special = !is_printable(c);
            let (space, line_break) =
                (c == ' ', matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}'));
            let at_edge = at == 0 || next.is_none();
            if indicates || line_break || space && at_edge {
                form.plain = false;
            }
            if space && next.is_none() {
                form.block = false;
            }
            if space && after_break {
                (form.plain, form.single_quoted) = (false, false);
            }
            if special || line_break && after_space {
                form = Self { plain: false, single_quoted: false, block: false };
                return form;
            }
            after_blank = space || c == '\t' || line_break;
            (after_space, after_break) = (space, line_break);
        }
        form
    }
}

/// Whether a character can stand for itself.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{A0}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}') && c != '\u{FEFF}'
}

fn escaped(c: char) -> String {
    match c {
        '"' => "\\\"".into(),
        '\\' => "\\\\".into(),
        '\0' => "\\0".into(),
        '\u{7}' => "\\a".into(),
        '\u{8}' => "\\b".into(),
        '\t' => "\\t".into(),
        '\n' => "\\n".into(),
        '\u{B}' => "\\v".into(),
        '\u{C}' => "\\f".into(),
        '\r' => "\\r".into(),
        '\u{1B}' => "\\e".into(),
        '\u{85}' => "\\N".into(),
        '\u{2028}' => "\\L".into(),
        '\u{2029}' => "\\P".into(),
        c if is_printable(c) => c.into(),
        c if u32::from(c) <= 0xFF => format!("\\x{:02X}", u32::from(c)),
        c if u32::from(c) <= 0xFFFF => format!("\\u{:04X}", u32::from(c)),
        c => format!("\\U{:08X}", u32::from(c)),
    }
}

fn number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => numbers::shortest(float),
        _ => number.to_string(),
    }
}

/// The order of keys: letters by their code and behind everything else, runs of digits by their value.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut in_digits = false;
    for (at, (left, right)) in a.iter().zip(&b).enumerate() {
        if left == right {
            in_digits = left.is_numeric();
            continue;
        }
        match (left.is_alphabetic(), right.is_alphabetic()) {
            (true, true) => return left.cmp(right),
            (true, false) => return if in_digits { Ordering::Less } else { Ordering::Greater },
            (false, true) => return if in_digits { Ordering::Greater } else { Ordering::Less },
            (false, false) => {}
        }
        // A zero counts only if another digit goes before it.
        let zero = *left == '0' || *right == '0';
        let led = a[..at].iter().rev().take_while(|c| c.is_ascii_digit()).any(|c| *c != '0');
        let start = u64::from(zero && led);
        let run = |text: &[char]| {
            let digits: Vec<u32> = text[at..].iter().map_while(|c| c.to_digit(10)).collect();
            let value = digits.iter().fold(start, |n, d| n.wrapping_mul(10).wrapping_add(u64::from(*d)));
            (value, digits.len())
        };
        return run(&a).cmp(&run(&b)).then_with(|| left.cmp(right));
    }
    a.len().cmp(&b.len())
}
