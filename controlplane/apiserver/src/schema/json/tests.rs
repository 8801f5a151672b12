use super::*;

fn error(text: &str) -> String {
    parse(text.as_bytes(), None).unwrap_err().to_string()
}

fn notes(text: &str, name: &str) -> Vec<String> {
    parse(text.as_bytes(), Type::builtin(name)).unwrap().1
}

#[test]
fn errors_are_those_of_go() {
    assert_eq!(error("{nope"), "invalid character 'n' looking for beginning of object key string");
    assert_eq!(error(""), "unexpected end of JSON input");
    assert_eq!(error("a: b"), "invalid character 'a' looking for beginning of value");
    assert_eq!(error("{} {"), "invalid character '{' after top-level value");
    assert_eq!(error("{\"a\":1"), "unexpected end of JSON input");
    assert_eq!(error("{\"a\" 1}"), "invalid character '1' after object key");
    assert_eq!(error("[1 2]"), "invalid character '2' after array element");
    assert_eq!(error("\"a\nb\""), "invalid character '\\n' in string literal");
    assert_eq!(error("\u{c7}"), "invalid character 'Ã' looking for beginning of value");
    let text = [0x9e];
    let hidden = parse(&text, None).unwrap_err().to_string();
    assert_eq!(hidden, "invalid character '\\u009e' looking for beginning of value");
    assert_eq!(error("1.x"), "invalid character 'x' after decimal point in numeric literal");
    assert_eq!(error(&"[".repeat(200)), "exceeded max depth");
}

#[test]
fn the_last_duplicate_wins_and_all_are_noted() {
    let text = r#"{"data":{"a":"1","a":"2"},"data":{"a":"3"}}"#;
    let (value, notes) = parse(text.as_bytes(), Type::builtin("io.k8s.api.core.v1.ConfigMap")).unwrap();
    assert_eq!(value, serde_json::json!({"data": {"a": "3"}}));
    assert_eq!(notes, [r#"duplicate field "data.a""#, r#"duplicate field "data""#]);
}

#[test]
fn unknown_fields_are_noted_in_the_order_of_the_text() {
    let text = r#"{"metadata":{"name":"d4","name":"d5"},"x":1,"Data":{}}"#;
    assert_eq!(
        notes(text, "io.k8s.api.core.v1.ConfigMap"),
        [r#"duplicate field "metadata.name""#, r#"unknown field "x""#, r#"unknown field "Data""#]
    );
    let text =
        r#"{"spec":{"template":{"spec":{"containers":[{"ports":[{"proto":"TCP"}]}],"bar":{"a":1,"a":2}}}}}"#;
    assert_eq!(
        notes(text, "io.k8s.api.apps.v1.Deployment"),
        [
            r#"unknown field "spec.template.spec.containers[0].ports[0].proto""#,
            r#"unknown field "spec.template.spec.bar""#
        ]
    );
}

#[test]
fn invalid_utf8_is_replaced_byte_by_byte() {
    let (value, _) = parse(b"\"\xff\xfe\"", None).unwrap();
    assert_eq!(value, "\u{fffd}\u{fffd}");
    let (value, _) = parse(br#""\ud83d\ude00 \ud83d x \u00e9""#, None).unwrap();
    assert_eq!(value, "😀 \u{fffd} x é");
}

#[test]
fn reading_agrees_with_serde_json() {
    for text in [
        r#"{"a":[1,-2,3.5,1e3,true,false,null,"x\"y\\z\/\b\f\n\r\t"],"b":{},"c":[]}"#,
        "18446744073709551615",
        "-9223372036854775808",
        " [ ] ",
    ] {
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(parse(text.as_bytes(), None).unwrap().0, expected);
    }
}

#[test]
fn writing_keeps_the_order_of_the_go_struct_and_escapes_html() {
    let value = serde_json::json!({
        "apiVersion": "v1",
        "data": {"html": "<a href=\"x\">&</a>", "ctl": "tab\tnl\n\u{1}", "sep": "\u{2028} 😀 é"},
        "kind": "ConfigMap",
        "metadata": {"creationTimestamp": "t", "labels": {"b": "1", "a": "2"}, "name": "n", "namespace": "ns", "uid": "u"}
    });
    let mut out = Vec::new();
    write(&value, Type::builtin("io.k8s.api.core.v1.ConfigMap"), &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        concat!(
            r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"n","namespace":"ns","uid":"u","#,
            r#""creationTimestamp":"t","labels":{"a":"2","b":"1"}},"#,
            r#""data":{"ctl":"tab\tnl\n\u0001","html":"\u003ca href=\"x\"\u003e\u0026\u003c/a\u003e","sep":"\u2028 😀 é"}}"#
        )
    );
}

#[test]
fn numbers_are_written_as_go_writes_them() {
    let text = "[1.0,1e0,1.5,1e21,1e20,1.5e-7,0.00001,-0.0,1e-6,0.1,9007199254740993]";
    let (mut value, _) = parse(text.as_bytes(), None).unwrap();
    let written = |value: &Value| {
        let mut out = Vec::new();
        write(value, None, &mut out);
        String::from_utf8(out).unwrap()
    };
    let shown = "[1,1,1.5,1e+21,100000000000000000000,1.5e-7,0.00001,-0,0.000001,0.1,9007199254740993]";
    assert_eq!(written(&value), shown);
    settle_numbers(&mut value);
    assert_eq!(written(&value), shown.replace("-0,", "0,"));
    assert_eq!(value[0], serde_json::json!(1));
    assert_eq!(error("1e400"), "json: cannot unmarshal number 1e400 into Go value of type float64");
}

#[test]
fn a_quantity_keeps_the_text_of_its_number() {
    let name = "io.k8s.api.core.v1.ResourceRequirements";
    let limits = parse(br#"{"limits": {"cpu": 1e3, "memory": 1.0}}"#, Type::builtin(name)).unwrap().0;
    assert_eq!(limits["limits"], serde_json::json!({"cpu": "1e3", "memory": "1.0"}));
}
