//! What rules are estimated to cost, as the real server does.

use serde_json::{Value as Json, json};

use crate::cel::{Measured, Program, Scope, Type};

fn weighed(schema: &Json, rule: &str) -> Result<(String, u64), String> {
    let declared = Measured::read(schema, false).ok_or("nothing is declared")?;
    let variables = [("self", declared.ty()), ("oldSelf", declared.ty())];
    let scope = Scope { variables: &variables, measured: Some(&declared), ..Scope::default() };
    let program = Program::parse(rule).map_err(|e| e.to_string())?;
    program.weigh(rule, &scope).map(|(ty, cost)| (ty.to_string(), cost)).map_err(|e| e.to_string())
}

#[track_caller]
fn costs(schema: &Json, rule: &str, cost: u64) {
    assert_eq!(weighed(schema, rule).map(|(_, cost)| cost), Ok(cost), "{rule} {schema}");
}

fn list(items: Json) -> Json {
    json!({"type": "array", "items": items})
}

fn map(values: Json) -> Json {
    json!({"type": "object", "additionalProperties": values})
}

/// The same, with a bound.
fn bounded(mut schema: Json, bound: &str, max: u64) -> Json {
    schema[bound] = max.into();
    schema
}

fn of(kind: &str) -> Json {
    match kind {
        "duration" | "date" | "date-time" | "byte" => json!({"type": "string", "format": kind}),
        "int-or-string" => json!({"x-kubernetes-int-or-string": true}),
        kind => json!({ "type": kind }),
    }
}

#[test]
fn lists_are_as_long_as_a_request_allows_or_their_bound() {
    for (items, cost) in [
        ("number", 4_718_591),
        ("string", 3_145_727),
        ("boolean", 1_887_437),
        ("int-or-string", 4_718_591),
        ("duration", 2_359_295),
        ("date", 725_936),
        ("date-time", 428_963),
    ] {
        costs(&list(of(items)), "self.all(x, true)", cost);
        costs(&bounded(list(of(items)), "maxItems", 10), "self.all(x, true)", 32);
    }
    costs(&list(list(of("number"))), "self.all(x, true)", 3_145_727);
    costs(&bounded(list(of("number")), "maxItems", 3 * 1024 * 2048), "self.all(x, x == 0.0)", 25_165_826);
    costs(&list(map(of("number"))), "self.all(x, x.y == 25.2)", 6_291_452);
    let nested = json!({"type": "object", "required": ["required"],
        "properties": {"required": of("string"), "optional": of("string")}});
    costs(&list(map(nested)), "self.all(x, x[\"y\"].required == \"z\")", 7_340_027);
}

#[test]
fn maps_are_as_large_as_a_request_allows_or_their_bound() {
    for (values, cost) in [
        (of("number"), 1_348_169),
        (of("string"), 1_179_647),
        (of("boolean"), 943_718),
        (of("duration"), 1_048_577),
        (of("date"), 524_288),
        (of("date-time"), 349_526),
        (of("int-or-string"), 1_348_169),
        (map(of("number")), 1_179_647),
        (list(of("number")), 1_179_647),
    ] {
        costs(&map(values.clone()), "self.all(x, true)", cost);
        costs(&bounded(map(values), "maxProperties", 3), "self.all(x, true)", 11);
    }
    costs(&map(of("string")), "self.all(x, x.contains(self[x]))", 2_752_507);
    costs(&map(of("integer")), "oldSelf.size() == self.size()", 5);
    costs(&map(of("date-time")), "self[\"a\"] == self[\"b\"]", 8);
}

#[test]
fn texts_are_as_long_as_a_request_allows_or_their_bound() {
    let (text, short) = (of("string"), bounded(of("string"), "maxLength", 10));
    for (rule, cost, of_short) in [
        ("self.contains('test')", 314_574, 5),
        ("self.startsWith('test')", 2, 2),
        ("self.endsWith('test')", 2, 2),
        ("size(self + \"hello\") > size(\"hello\")", 314_578, 9),
        ("self.matches(\"x\")", 314_574, 6),
        ("\"\".matches(\"(((((((((())))))))))[0-9]\")", 7, 7),
        ("self.matches(\"\")", 1, 1),
        ("self.find('[0-9]+') == ''", 629_147, 11),
        ("self.lowerAscii() == 'lower!'", 314_575, 6),
    ] {
        costs(&text, rule, cost);
        costs(&short, rule, of_short);
    }
    costs(&bounded(of("string"), "maxLength", 0), "self == \"x\"", 1);
    costs(&bounded(of("byte"), "maxLength", 0), "self == b\"x\"", 1);
    let one_of = json!({"type": "string", "enum": ["A", "B", "C", "LongValue"]});
    costs(&one_of, "self.contains('A')", 2);
    costs(&bounded(one_of, "maxLength", 1000), "self.contains('A')", 401);
    costs(&of("int-or-string"), "isQuantity(self)", 314_574);
    costs(&bounded(of("int-or-string"), "maxLength", 20), "isQuantity(self)", 9);
}

#[test]
fn parts_of_lists_are_found_at_once() {
    for (items, rule, cost) in [
        (of("number"), "self[1] == 0.0", 2),
        (of("string"), "self[1] == self[1]", 314_577),
        (of("int-or-string"), "self[0] == 5", 3),
        (of("boolean"), "self[0] == false", 2),
        (list(of("number")), "self[0][0] == -1.0", 3),
        (map(of("number")), "self[0].x > 2.0", 4),
        (of("duration"), "self[0].getHours() == 2", 4),
        (of("date"), "self[2].getDayOfMonth() == 13", 4),
    ] {
        costs(&list(items), rule, cost);
    }
}

#[test]
fn functions_of_lists_go_through_all_that_is_in_them() {
    let texts = |max| {
        let items = bounded(of("string"), "maxLength", max);
        bounded(list(items), "maxItems", max)
    };
    costs(&list(of("string")), "self.join(' ') == 'aa bb'", 329_853_068_905);
    costs(&texts(10), "self.join(' ') == 'aa bb'", 43);
    costs(&list(of("string")), "self.isSorted() == true", 329_854_432_052);
    costs(&texts(10), "self.isSorted() == true", 52);
    costs(&bounded(list(of("number")), "maxItems", 10), "self.all(x, self.all(y, true))", 352);
    costs(&bounded(list(of("number")), "maxItems", 10), "self.all(x, self.all(y, self.all(z, true)))", 3_552);
}

#[test]
fn results_are_as_long_as_what_they_are_made_of() {
    let object = |properties: Json| json!({"type": "object", "properties": properties});
    let short = |max| bounded(of("string"), "maxLength", max);
    let replaced = |text: Json| object(json!({"str": text, "before": short(2), "after": short(4)}));
    let rule = "self.str.replace(self.before, self.after) == 'does not matter'";
    costs(&replaced(of("string")), rule, 629_154);
    costs(&replaced(short(4)), rule, 12);
    let split = |text: Json| object(json!({"str": text.clone(), "separator": text}));
    costs(&split(of("string")), "self.str.split(self.separator) == []", 629_160);
    costs(&split(short(10)), "self.str.split(self.separator) == []", 22);
}

#[test]
fn rules_know_the_types_of_what_they_speak_of() {
    let schema = json!({"type": "object", "properties": {
        "my-field": of("string"), "in": of("integer"), "free": {"x-kubernetes-preserve-unknown-fields": true},
        "list": list(json!({"type": "object", "properties": {"a": of("string")}})), "any": of("int-or-string"),
    }});
    let ty = |rule| weighed(&schema, rule).map(|(ty, _)| ty);
    assert_eq!(ty("self.my__dash__field"), Ok("string".into()));
    assert_eq!(ty("self.__in__ + 1"), Ok("int".into()));
    assert_eq!(ty("self.list.map(x, x.a)"), Ok("list(string)".into()));
    assert_eq!(ty("self.list.sortBy(x, x.a)[0].a"), Ok("string".into()));
    assert_eq!(ty("self.any"), Ok("dyn".into()));
    for (rule, why) in [
        ("self.nope", "undefined field 'nope'"),
        ("self.free", "undefined field 'free'"),
        ("has(self.nope)", "undefined field 'nope'"),
        ("self.list[0].b == 'a'", "undefined field 'b'"),
        ("self.__in__ == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("self.list.all(x, x == 'a')", "found no matching overload for '_==_' applied to"),
        ("[1, 'a'].size() == 2", "expected type 'int' but found 'string'"),
        ("duration('nope') == duration('1s')", "invalid duration argument"),
        ("timestamp('nope') == timestamp(0)", "invalid timestamp argument"),
        ("self.my__dash__field.matches('[')", "invalid matches argument"),
    ] {
        let told = ty(rule).unwrap_err();
        assert!(told.contains(why), "{rule}: {told}");
    }
    assert_eq!(ty("'%s %d'.format(['a', 1])"), Ok("string".into()));
}

#[test]
fn the_name_and_kind_of_a_whole_object_are_always_declared() {
    let declared =
        Measured::read(&json!({"type": "object", "properties": {"spec": {"type": "object"}}}), true);
    let declared = declared.unwrap();
    let variables = [("self", declared.ty())];
    let scope = Scope { variables: &variables, measured: Some(&declared), ..Scope::default() };
    let ty = |rule: &str| Program::parse(rule).unwrap().check(rule, &scope).map_err(|e| e.to_string());
    assert_eq!(ty("self.metadata.name + self.kind + self.apiVersion"), Ok(Type::TEXT));
    assert!(ty("self.metadata.labels").unwrap_err().contains("undefined field 'labels'"));
    assert!(ty("self.status").unwrap_err().contains("undefined field 'status'"));
}

#[test]
fn lists_are_sorted_by_keys() {
    let value = |text: &str| {
        let program = Program::parse(text).unwrap();
        let value = program.evaluate(&super::Variables::default(), &mut super::Budget::new(1_000));
        value.map(|value| value.equals(&super::Value::Bool(true))).map_err(|e| e.to_string())
    };
    assert_eq!(value("[3, 1, 2].sort() == [1, 2, 3]"), Ok(true));
    assert_eq!(value("['bb', 'a', 'ccc'].sortBy(x, -size(x)) == ['ccc', 'bb', 'a']"), Ok(true));
    assert_eq!(value("[].sortBy(x, x) == []"), Ok(true));
    assert_eq!(value("[1, 'a'].sort() == []"), Err("list elements must have the same type".into()));
    assert_eq!(value("[[1], [2]].sort() == []"), Err("list elements must be comparable".into()));
    assert_eq!(
        value("[1, 2].slice(2, 1) == []"),
        Err("cannot slice(2, 1), start index must be less than or equal to end index".into())
    );
    assert_eq!(
        value("[1, 2].slice(-1, 1) == []"),
        Err("cannot slice(-1, 1), negative indexes not supported".into())
    );
    assert_eq!(value("[1, 2].slice(0, 3) == []"), Err("cannot slice(0, 3), list is length 2".into()));
}
