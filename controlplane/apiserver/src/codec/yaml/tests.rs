use serde_json::{Value, json};

use super::{read, write};

fn read_one(text: &str) -> Value {
    read(text.as_bytes()).unwrap().0
}

fn error(text: &str) -> String {
    read(text.as_bytes()).unwrap_err()
}

#[test]
fn plain_scalars_mean_what_yaml_1_1_says() {
    let cases = [
        ("yes", json!(true)),
        ("off", json!(false)),
        ("~", json!(null)),
        ("010", json!(8)),
        ("0x1F", json!(31)),
        ("1_000", json!(1000)),
        ("1.0", json!(1)),
        ("1.5e3", json!(1500)),
        ("0.25", json!(0.25)),
        ("12:30:45", json!("12:30:45")),
        ("2001-01-01", json!("2001-01-01")),
        ("'yes'", json!("yes")),
        ("!!str 5", json!("5")),
        ("!!binary aGk=", json!("hi")),
        ("1.2.3", json!("1.2.3")),
    ];
    for (text, value) in cases {
        assert_eq!(read_one(text), value, "{text}");
    }
}

#[test]
fn keys_become_strings_and_the_last_of_two_counts() {
    let (value, problems) = read(b"n: 1\n5: 2\na: x\na: w\n").unwrap();
    assert_eq!(value, json!({"false": 1, "5": 2, "a": "w"}));
    assert_eq!(problems, ["line 4: key \"a\" already set in map"]);
}

#[test]
fn anchors_and_merges_are_resolved() {
    let text = "base: &b {x: 1, z: 2}\nown:\n  <<: *b\n  z: 3\nsame: *b\n";
    let value = read_one(text);
    assert_eq!(value["own"], json!({"x": 1, "z": 3}));
    assert_eq!(value["same"], value["base"]);
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = String::from("a: &a [x,x,x,x,x,x,x,x,x,x]\n");
    for (last, next) in ["ab", "bc", "cd", "de", "ef", "fg", "gh"].iter().map(|p| p.split_at(1)) {
        let many = vec![format!("*{last}"); 10].join(",");
        text.push_str(&format!("{next}: &{next} [{many}]\n"));
    }
    assert_eq!(error(&text), "yaml: document contains excessive aliasing");
}

#[test]
fn errors_are_in_the_words_of_go() {
    assert_eq!(error("a: [\n"), "yaml: line 1: did not find expected node content");
    assert_eq!(error("a: 1\nb: c: d\n"), "yaml: line 2: mapping values are not allowed in this context");
    assert_eq!(error("a: *x\n"), "yaml: unknown anchor 'x' referenced");
}

#[test]
fn quotes_stand_only_where_they_are_needed() {
    let cases = [
        ("", "\"\""),
        ("y", "\"y\""),
        ("5", "\"5\""),
        ("1e3", "\"1e3\""),
        ("2024-01-01T00:00:00Z", "\"2024-01-01T00:00:00Z\""),
        ("12:30", "\"12:30\""),
        ("nginx:1.27", "nginx:1.27"),
        ("25%", "25%"),
        ("%25", "'%25'"),
        ("a: b", "'a: b'"),
        ("a #b", "'a #b'"),
        ("- a", "'- a'"),
        ("-a", "-a"),
        ("it's", "it's"),
        ("'it", "'''it'"),
        ("*", "'*'"),
        (" a", "' a'"),
        ("a\tb", "\"a\\tb\""),
        ("\u{1F600}", "\"\\U0001F600\""),
        ("\u{e9}", "\u{e9}"),
        ("k:{\"name\":\"c\"}", "k:{\"name\":\"c\"}"),
        (".", "."),
    ];
    for (text, written) in cases {
        assert_eq!(write(&json!({"k": text})), format!("k: {written}\n"), "{text:?}");
        assert_eq!(read_one(&format!("k: {written}\n"))["k"], json!(text), "{text:?}");
    }
}

#[test]
fn long_texts_are_folded_at_a_space() {
    let text = "only the following media types are accepted: application/json;stream=watch, and no other";
    let written = write(&json!({"message": text}));
    assert_eq!(
        written,
        "message: 'only the following media types are accepted: application/json;stream=watch,\n  and no other'\n"
    );
    assert_eq!(read_one(&written)["message"], json!(text));
}

#[test]
fn texts_of_several_lines_stand_in_blocks() {
    let document = json!({"a": "x\ny\n", "b": "x\n\n", "c": "x\n\ny", "d": "  x\ny\n", "e": "x \ny"});
    let written = write(&document);
    let expected = "a: |\n  x\n  y\nb: |+\n  x\n\nc: |-\n  x\n\n  y\nd: |2\n    x\n  y\ne: \"x \\ny\"\n";
    assert_eq!(written, expected);
    assert_eq!(read_one(&written), document);
}

#[test]
fn collections_nest() {
    let document = json!({
        "empty": {}, "none": [], "list": [{"b": 1, "a": [1, [2, 3]]}, "x", null], "a10": 1, "a9": 1.5e7,
    });
    let written = write(&document);
    let expected = "a9: 1.5e+07\na10: 1\nempty: {}\nlist:\n- a:\n  - 1\n  - - 2\n    - 3\n  b: 1\n- x\n- null\nnone: []\n";
    assert_eq!(written, expected);
    assert_eq!(read_one(&written)["list"], document["list"]);
}

#[test]
fn a_long_key_stands_behind_a_question_mark() {
    let key = "k".repeat(200);
    let written = write(&json!({&key: {"a": 1}}));
    assert_eq!(written, format!("? {key}\n:\n  a: 1\n"));
    assert_eq!(read_one(&written)[&key]["a"], 1);
}

#[test]
fn json_is_read_as_what_it_is_in_yaml() {
    let alike = [
        "{}",
        r#"{"a":1,"b":[-1,-0,18446744073709551615,true,null],"c":{"d":"x: y # z","":"yes","<<":{"e":"010"}}}"#,
        "{\n  \"a\": \"\\\"\\\\ \\n\\t\\r\\b\\f \\/\",\n  \"1\": [ { } , [ ] ]\n}\n",
    ];
    for text in alike {
        let value = super::json::read(text.as_bytes()).expect(text);
        assert_eq!(Ok((value, Vec::new())), read::read_yaml(text.as_bytes()), "{text}");
    }
    let long = format!(r#"{{"{}":1}}"#, "k".repeat(1024));
    let others = [
        r#"{"a":1.0}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"a":"\ud83d"}"#,
        "{\"a\":\"\u{7f}\"}",
        r#"{"a":"ä"}"#,
        r#"{"a":b}"#,
        "{} --- {}",
        "[1]",
        &long,
    ];
    for text in others {
        assert_eq!(super::json::read(text.as_bytes()), None, "{text}");
    }
}
