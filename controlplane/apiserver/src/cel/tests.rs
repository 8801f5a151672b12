use serde_json::{Value as Json, json};

use super::*;
use crate::custom::checks::Checks;

mod costs;
mod errors;
mod library;

fn evaluate(text: &str, this: &Json, schema: &Json) -> Result<String, String> {
    let checks = Checks::compile(schema);
    let program = Program::parse(text).map_err(|e| e.to_string())?;
    program
        .check(text, &Scope { variables: &[("self", Type::Dyn)], ..Scope::default() })
        .map_err(|e| e.to_string())?;
    let mut variables = Variables::default();
    variables.set("self", json::value(this, Some(&checks)));
    let value = program.evaluate(&variables, &mut Budget::new(100_000)).map_err(|e| e.to_string())?;
    Ok(match value {
        Value::Text(text) => text.into_owned(),
        other => functions::call("format", &[Value::text("%s"), Value::list(vec![other])])
            .map_or_else(|e| e.to_string(), |v| v.to_text()),
    })
}

fn of(text: &str) -> String {
    evaluate(text, &json!({"a": 1, "s": "x", "l": [1, 2], "m": {"k": "v"}}), &json!({}))
        .unwrap_or_else(|why| format!("error: {why}"))
}

#[track_caller]
fn holds(expressions: &[&str]) {
    for expression in expressions {
        assert_eq!(of(expression), "true", "{expression}");
    }
}

#[test]
fn operators_bind_as_in_the_specification() {
    holds(&[
        "1 + 2 * 3 == 7",
        "(1 + 2) * 3 == 9",
        "-2 + 5 == 3 && !(1 > 2)",
        "7 / 2 == 3 && 7 % 2 == 1 && 7.0 / 2.0 == 3.5",
        "dyn(1) == 1.0 && dyn(1u) == 1 && dyn(1) != '1'",
        "'a' + 'b' == \"ab\" && [1] + [2] == [1, 2]",
        "true ? 1 == 1 : 1 == 2",
        "2 in [1, 2] && 'k' in self.m && !('z' in {'a': 1})",
        "r'\\d' == '\\\\d' && '\\u0041' == 'A' && b'ab' == bytes('ab')",
        "-9223372036854775808 < 0 && 0x10 == 16",
        "[1, 2, 3][1] == 2 && {'a': 1}['a'] == 1 && {'a': 1}.a == 1",
        "type(1) == int && type('') == string && type([]) == list",
    ]);
}

#[test]
fn one_side_may_decide_whatever_the_other_is() {
    holds(&[
        "1 / 0 == 1 || true",
        "!(1 / 0 == 1 && false)",
        "[1, 0].exists(x, 1 / x == 1)",
        "![0, 1].all(x, 1 / x == 2)",
    ]);
    assert_eq!(of("1 / 0 == 1 || false"), "error: division by zero");
    assert_eq!(of("self.zzz == 1"), "error: no such key: zzz");
    assert_eq!(of("[1][3]"), "error: index out of bounds: 3");
    assert_eq!(of("dyn(1) + 'a'"), "error: no such overload");
    assert_eq!(of("9223372036854775807 + 1"), "error: integer overflow");
}

#[test]
fn macros_go_through_lists_and_maps() {
    holds(&[
        "has(self.a) && !has(self.b) && has(self.m.k)",
        "self.l.all(x, x > 0) && self.l.exists(x, x == 2) && self.l.exists_one(x, x == 1)",
        "self.l.map(x, x * 2) == [2, 4] && self.l.map(x, x > 1, x) == [2]",
        "self.l.filter(x, x > 1) == [2] && self.m.all(k, k == 'k')",
        "self.l.all(i, x, x == i + 1) && self.m.exists(k, v, k == 'k' && v == 'v')",
        "self.l.transformList(i, x, i + x) == [1, 3] && self.m.transformMap(k, v, v + k) == {'k': 'vk'}",
        "self.l.map(x, self.l.map(y, x * y)) == [[1, 2], [2, 4]]",
    ]);
}

#[test]
fn optionals_have_a_value_or_not() {
    holds(&[
        "self.?b.hasValue() == false && self.?a.value() == 1",
        "self.?b.orValue(7) == 7 && self.?m.?k.orValue('') == 'v' && self.?m.k.hasValue()",
        "optional.none().or(optional.of(1)).value() == 1",
        "self.l[?5].orValue(0) == 0 && self.?a.optMap(x, x + 1).value() == 2",
        "[?self.?a, ?self.?b] == [1] && {?'x': self.?a, ?'y': self.?b} == {'x': 1}",
        "optional.ofNonZeroValue('') == optional.none()",
    ]);
    assert_eq!(of("optional.none().value()"), "error: optional.none() dereference");
}

#[test]
fn texts_and_lists_have_functions() {
    holds(&[
        "'Hello'.lowerAscii() == 'hello' && 'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b'",
        "'tacocat'.indexOf('c') == 2 && 'tacocat'.lastIndexOf('c') == 4 && 'tacocat'.substring(1, 3) == 'ac'",
        "'abc 123'.find('[0-9]+') == '123' && 'a1b2'.findAll('[0-9]') == ['1', '2']",
        "'abc'.matches('^[a-c]+$') && ' a '.trim() == 'a' && 'aaa'.replace('a', 'b', 2) == 'bba'",
        "'%s has %d, %.2f and %x'.format(['x', 3, 1.5, 255]) == 'x has 3, 1.50 and ff'",
        "'%s'.format([['a', 1]]) == '[\"a\", 1]'",
        "[1, 2, 3].sum() == 6 && [3, 1].min() == 1 && [1, 2].isSorted() && !['b', 'a'].isSorted()",
        "[1, 2, 1].lastIndexOf(1) == 2 && [1, 1].distinct() == [1] && [[1], [2]].flatten() == [1, 2]",
        "sets.contains([1, 2], [1]) && sets.equivalent([1, 1], [1]) && !sets.intersects([1], [2])",
        "size('héé') == 3 && 'x'.size() == 1 && [1].size() == 1",
        "int('5') == 5 && string(1.5) == '1.5' && double('2') == 2.0 && uint(3) == 3u",
        "duration('1h30m') == duration('90m') && duration('90m').getMinutes() == 90",
        "timestamp('2024-02-29T12:00:00Z').getDayOfYear() == 59 && timestamp('2024-01-01T23:00:00Z').getHours('+02:00') == 1",
        "timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z') == duration('24h')",
    ]);
}

#[test]
fn kubernetes_adds_functions() {
    holds(&[
        "quantity('1Gi').isGreaterThan(quantity('1Mi')) && quantity('1k').asInteger() == 1000",
        "quantity('50m').add(quantity('50m')) == quantity('100m') && !isQuantity('zzz')",
        "ip('10.0.0.1').family() == 4 && isIP('::1') && !isIP('1.2.3') && ip('127.0.0.1').isLoopback()",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')",
        "cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16')) && isCIDR('::/0')",
        "url('https://example.com:80/a?b=c').getHostname() == 'example.com' && isURL('/x') && !isURL('x')",
        "url('https://example.com/?b=c').getQuery()['b'] == ['c']",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
        "semver('v1.2', true).minor() == 2 && !isSemver('v1.2')",
        "!format.dns1123Label().validate('abc').hasValue() && format.dns1123Label().validate('A').hasValue()",
        "format.named('uuid').hasValue() && !format.named('nope').hasValue()",
    ]);
}

#[test]
fn schemas_decide_what_documents_are() {
    let schema = json!({"type": "object", "properties": {
        "n": {"type": "number"}, "t": {"type": "string", "format": "date-time"},
        "d": {"type": "string", "format": "duration"}, "my-field": {"type": "string"}, "in": {"type": "string"},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    }});
    let this = json!({"n": 1, "t": "2024-01-01T00:00:00Z", "d": "5m", "my-field": "x", "in": "y", "set": ["a", "b"]});
    for expression in [
        "self.n / 2.0 == 0.5",
        "self.t < timestamp('2025-01-01T00:00:00Z')",
        "self.d == duration('300s')",
        "self.my__dash__field == 'x' && self.__in__ == 'y'",
        "self.set == ['b', 'a'] && (self.set + ['a', 'c']).size() == 3",
    ] {
        assert_eq!(evaluate(expression, &this, &schema).as_deref(), Ok("true"), "{expression}");
    }
}

#[test]
fn wrong_expressions_are_told_where_they_are_wrong() {
    let error = |text: &str| Program::parse(text).unwrap_err().to_string();
    assert!(error("self.").starts_with("ERROR: <input>:1:6: Syntax error: no viable alternative"));
    assert!(error("self.").contains("no viable alternative at input '.'\n"));
    assert!(error("1 +").contains("mismatched input '<EOF>' expecting {'[', '{', '(', '.', "));
    assert!(error("nope(").contains("mismatched input '<EOF>' expecting {'[', '{', '(', ')', '.', "));
    assert!(error("(1").contains("expecting ')'"));
    assert!(error(&"(".repeat(300)).contains("recursion limit"));
    assert!(error(&format!("x{}", ".x".repeat(300))).contains("recursion limit"));
    assert!(Program::parse(&vec!["x"; 10_000].join(" || ")).is_ok());
    assert_eq!(
        of("self.a ==\n zzz"),
        "error: ERROR: <input>:2:2: undeclared reference to 'zzz' (in container '')\n |  zzz\n | .^"
    );
    assert!(of("self.nope()").contains("undeclared reference to 'nope'"));
}

#[test]
fn too_much_work_is_cancelled() {
    let nested = "[1,2,3,4,5,6,7,8,9,10]";
    let text = format!(
        "{nested}.all(a, {nested}.all(b, {nested}.all(c, {nested}.all(d, {nested}.all(e, a + b + c + d + e > 0)))))"
    );
    assert_eq!(of(&text), "error: operation cancelled: actual cost limit exceeded");
}

fn typed(text: &str, variables: &[(&str, Type)]) -> String {
    let scope = Scope { variables, composed: Some(&[("n", Type::INT)]), patches: true, ..Scope::default() };
    match Program::parse(text).unwrap().check(text, &scope) {
        Ok(ty) => ty.to_string(),
        Err(issues) => issues.to_string(),
    }
}

#[test]
fn types_are_known_as_far_as_they_can_be() {
    let object = [("object", Type::Dyn), ("request", Type::Named("kubernetes.AdmissionRequest".into()))];
    for (text, ty) in [
        ("object.spec.replicas", "dyn"),
        ("object.a + 1", "int"),
        ("object.a == 1 && has(object.b.c)", "bool"),
        ("object.items.map(i, i.name)", "list(dyn)"),
        ("object.items.filter(i, true).size()", "int"),
        ("{'a': 1}.map(k, k)", "list(string)"),
        ("[1, 2].all(i, x, i < x)", "bool"),
        ("object.?a.orValue('x')", "dyn"),
        ("optional.of(1).orValue(2)", "int"),
        ("object.a ? 1 : 2", "int"),
        ("request.userInfo.groups", "list(string)"),
        ("request.userInfo.extra['a']", "list(string)"),
        ("quantity('1').add(2).compareTo(quantity('3'))", "int"),
        ("url('https://a').getQuery()['a'].join(',')", "string"),
        ("format.named('uuid').value().validate('a').hasValue()", "bool"),
        ("timestamp(object.a) - timestamp(object.b)", "google.protobuf.Duration"),
        ("null", "null_type"),
        ("variables.n + 1", "int"),
        ("Object{metadata: Object.metadata{labels: {'a': 'b'}}}", "Object"),
        ("[JSONPatch{op: 'add', path: '/a', value: 1}]", "list(JSONPatch)"),
    ] {
        assert_eq!(typed(text, &object), ty, "{text}");
    }
}

#[test]
fn what_cannot_fit_is_told_before_it_is_evaluated() {
    let object = [("object", Type::Dyn), ("request", Type::Named("kubernetes.AdmissionRequest".into()))];
    for (text, why) in [
        (
            "1 + 'a'",
            "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a'\n | ..^",
        ),
        (
            "'a'.startsWith(1)",
            "ERROR: <input>:1:15: found no matching overload for 'startsWith' applied to 'string.(int)'\n | 'a'.startsWith(1)\n | ..............^",
        ),
        (
            "nope(1)",
            "ERROR: <input>:1:5: undeclared reference to 'nope' (in container '')\n | nope(1)\n | ....^",
        ),
        ("request.uid", "ERROR: <input>:1:8: undefined field 'uid'\n | request.uid\n | .......^"),
        (
            "'a' != null",
            "ERROR: <input>:1:5: found no matching overload for '_!=_' applied to '(string, null)'\n | 'a' != null\n | ....^",
        ),
        (
            "1.all(x, true)",
            "ERROR: <input>:1:1: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)\n | 1.all(x, true)\n | ^",
        ),
        ("variables.m", "ERROR: <input>:1:10: undefined field 'm'\n | variables.m\n | .........^"),
        ("'a'.b", "ERROR: <input>:1:4: type 'string' does not support field selection\n | 'a'.b\n | ...^"),
        (
            "x + y",
            "ERROR: <input>:1:1: undeclared reference to 'x' (in container '')\n | x + y\n | ^\nERROR: <input>:1:5: undeclared reference to 'y' (in container '')\n | x + y\n | ....^",
        ),
        (
            "JSONPatch{op: 1}",
            "ERROR: <input>:1:15: expected type of field 'op' is 'string' but provided type is 'int'\n | JSONPatch{op: 1}\n | ..............^",
        ),
    ] {
        assert_eq!(typed(text, &object), why, "{text}");
    }
}
