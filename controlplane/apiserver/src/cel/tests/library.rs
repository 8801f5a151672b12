//! Every function and macro that Kubernetes 1.36 gives to expressions: what it makes, and in which words it fails.

use crate::cel::{Budget, Program, Scope, Type, Value, Variables};

/// Far more than anything here costs.
const PLENTY: u64 = 1 << 40;

fn evaluated(text: &str) -> Result<String, String> {
    let program = Program::parse(text).map_err(|why| why.to_string())?;
    let value = program.evaluate(&Variables::default(), &mut Budget::new(PLENTY));
    value.map(|value| value.to_text()).map_err(|why| why.to_string())
}

#[track_caller]
fn hold(expressions: &[&str]) {
    for text in expressions {
        assert_eq!(evaluated(text), Ok("true".into()), "{text}");
    }
}

#[track_caller]
fn fail(expressions: &[(&str, &str)]) {
    for (text, why) in expressions {
        assert_eq!(evaluated(text), Err((*why).into()), "{text}");
    }
}

/// What is refused before it is evaluated, with the first line of why and where.
#[track_caller]
fn refused(expressions: &[(&str, &str)]) {
    let authorizer = Type::Named("kubernetes.authorization.Authorizer".into());
    let variables = [("authorizer", authorizer), ("any", Type::Dyn)];
    let scope = Scope { variables: &variables, patches: true, ..Scope::default() };
    for (text, why) in expressions {
        let found = match Program::parse(text) {
            Ok(program) => program.check(text, &scope).unwrap_err().to_string(),
            Err(why) => why.to_string(),
        };
        assert_eq!(found.lines().next(), Some(*why), "{text}: {found}");
    }
}

#[test]
fn texts() {
    hold(&[
        "'tacocat'.charAt(3) == 'o' && 'tacocat'.charAt(7) == '' && '©αT'.charAt(0) == '©'",
        "'tacocat'.indexOf('') == 0 && 'tacocat'.indexOf('ac') == 1 && 'tacocat'.indexOf('none') == -1",
        "'tacocat'.indexOf('a', 3) == 5 && 'tacocat'.indexOf('', 3) == 3 && 'tacocat'.indexOf('a', 99) == -1",
        "'ta©o©αT'.indexOf('©') == 2 && 'ta©o©αT'.indexOf('©', 3) == 4",
        "'tacocat'.lastIndexOf('at') == 5 && 'tacocat'.lastIndexOf('') == 7 && 'a'.lastIndexOf('aa') == -1",
        "'tacocat'.lastIndexOf('a', 3) == 1 && 'tacocat'.lastIndexOf('', 3) == 3 && 'tacocat'.lastIndexOf('t', 9) == -1",
        "'ta©o©αT'.lastIndexOf('©', 3) == 2 && 'ta©o©αT'.lastIndexOf('©') == 4",
        "'TacoCÆt'.lowerAscii() == 'tacocÆt' && 'TacoCæt'.upperAscii() == 'TACOCæT'",
        "'12 days 12 hours'.replace('12', '22') == '22 days 22 hours'",
        "'12 days 12 hours'.replace('12', '22', 1) == '22 days 12 hours' && 'ab'.replace('a', 'c', 0) == 'ab'",
        "'12 days'.replace('', '_', 2) == '_1_2 days' && 'aa'.replace('a', 'b', -1) == 'bb'",
        "'hello world'.split(' ') == ['hello', 'world'] && ''.split(',') == [''] && 'ab'.split('') == ['a', 'b']",
        "'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'a,b'.split(',', 0) == [] && 'a,b'.split(',', -1) == ['a', 'b']",
        "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(7) == '' && 'tacocat'.substring(0, 4) == 'taco'",
        "'ta©o©αT'.substring(2, 6) == '©o©α' && 'x'.substring(1, 1) == ''",
        "' \\f\\n\\r\\t\\vtext \\u2003'.trim() == 'text'",
        "['x', 'y'].join() == 'xy' && ['x', 'y'].join('-') == 'x-y' && [].join() == ''",
        "strings.quote('a\"b\\\\c\\n\\t\\u0007 é\\u0001') == '\"a\\\\\"b\\\\\\\\c\\\\n\\\\t\\\\a é\\u0001\"'",
        "'abc'.contains('b') && 'abc'.startsWith('ab') && 'abc'.endsWith('bc') && matches('abc', 'b.')",
        "'abc'.size() == 3 && size('φ') == 1 && size(b'φ') == 2",
    ]);
    fail(&[
        ("'tacocat'.charAt(30)", "index out of range: 30"),
        ("'tacocat'.indexOf('a', -1)", "index out of range: -1"),
        ("'tacocat'.lastIndexOf('a', -1)", "index out of range: -1"),
        ("'tacocat'.substring(40)", "index out of range: 40"),
        ("'tacocat'.substring(-1)", "index out of range: -1"),
        ("'tacocat'.substring(1, 50)", "index out of range: 50"),
        ("'tacocat'.substring(49, 50)", "index out of range: 49"),
        ("'tacocat'.substring(4, 3)", "invalid substring range. start: 4, end: 3"),
        ("dyn(['x', 1]).join()", "join: invalid input: 1"),
        ("dyn(1).startsWith('a')", "no such overload: startsWith(int, string)"),
        ("size(1)", "no such overload: size"),
    ]);
    refused(&[
        (
            "'abc'.reverse()",
            "ERROR: <input>:1:14: found no matching overload for 'reverse' applied to 'string.()'",
        ),
        ("math.abs(-1)", "ERROR: <input>:1:1: undeclared reference to 'math' (in container '')"),
        ("math.greatest(1, 2) == 2", "ERROR: <input>:1:1: undeclared reference to 'math' (in container '')"),
        ("cel.bind(x, 1, x)", "ERROR: <input>:1:1: undeclared reference to 'cel' (in container '')"),
        ("base64.encode(b'a')", "ERROR: <input>:1:1: undeclared reference to 'base64' (in container '')"),
        ("[1].all(x)", "ERROR: <input>:1:8: undeclared reference to 'all' (in container '')"),
        ("[1].all(1 + 1, true)", "ERROR: <input>:1:11: argument must be a simple name"),
        ("[1].map(1, true)", "ERROR: <input>:1:9: argument is not an identifier"),
        ("'a'.matches('(')", "ERROR: <input>:1:13: invalid matches argument"),
    ]);
}

#[test]
fn formats_of_texts() {
    hold(&[
        "'%s and %s'.format(['a', 1]) == 'a and 1' && '100%%'.format([]) == '100%'",
        "'%s'.format([[1, 'a', 2.5, null, true, b'x']]) == '[1, \"a\", 2.500000, null, true, b\"x\"]'",
        "'%s'.format([{'b': 1, 'a': 'x', 3: duration('1h')}]) == '{\"a\":\"x\", \"b\":1, 3:duration(\"3600s\")}'",
        "'%s %s'.format([duration('90m'), timestamp('2024-01-01T00:00:00Z')]) == '5400s 2024-01-01T00:00:00Z'",
        "'%s %s %s'.format([2.5, type(1), b'abc']) == '2.5 int abc'",
        "'%d %d'.format([-5, 7u]) == '-5 7' && '%b %b %b'.format([5, -5, true]) == '101 -101 1'",
        "'%x %X %x %o'.format([255, 'hi', b'hi', 8]) == 'ff 6869 6869 10'",
        "'%.2f %f'.format([1234567.891, 2.0]) == '1,234,567.89 2.000000' && '%.0f'.format([-1234.4]) == '-1,234'",
        "'%.3e'.format([1052.0329]) == '1.052033\u{202f}×\u{202f}10⁰³' && '%e'.format([0.00015]) == '1.500000\u{202f}×\u{202f}10⁻⁰⁴'",
        "'%f %f %e'.format([double('NaN'), 'Infinity', '-Infinity']) == 'NaN ∞ -∞'",
    ]);
    fail(&[
        ("'%s %s'.format(['a'])", "index 1 out of range"),
        ("'%'.format(['a'])", "unexpected end of string"),
        ("'%z'.format(['a'])", "could not parse formatting clause: unrecognized formatting clause \"z\""),
        (
            "'%.'.format([1.0])",
            "could not parse formatting clause: error while parsing precision: could not find end of precision specifier",
        ),
        (
            "'%d'.format(['a'])",
            "error during formatting: decimal clause can only be used on integers, was given string",
        ),
        (
            "'%f'.format([1])",
            "error during formatting: fixed-point clause can only be used on doubles, was given int",
        ),
        (
            "'%s'.format([quantity('1')])",
            "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given kubernetes.Quantity",
        ),
    ]);
    refused(&[
        (
            "'%d'.format(['a'])",
            "ERROR: <input>:1:14: error during formatting: decimal clause can only be used on integers, was given string",
        ),
        (
            "'%s'.format([1, 2])",
            "ERROR: <input>:1:12: too many arguments supplied to string.format (expected 1, got 2)",
        ),
        ("'%s %s'.format([1])", "ERROR: <input>:1:15: index 1 out of range"),
        (
            "'%s'.format([[ip('::1')]])",
            "ERROR: <input>:1:17: error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given net.IP",
        ),
    ]);
}

#[test]
fn lists_and_sets() {
    hold(&[
        "[1, 2, 3].isSorted() && !['b', 'a'].isSorted() && [].isSorted() && [duration('1s'), duration('1m')].isSorted()",
        "[1, 3].sum() == 4 && [1u, 2u].sum() == 3u && [1.5, 2.0].sum() == 3.5 && [].sum() == 0",
        "[duration('1m'), duration('1s')].sum() == duration('1m1s')",
        "[1, 3].max() == 3 && ['a', 'b'].min() == 'a' && [true, false].max() && [b'a', b'b'].max() == b'b'",
        "[1, 2, 2].indexOf(2) == 1 && ['a', 'b', 'b'].lastIndexOf('b') == 2 && [1.0].indexOf(1.1) == -1",
        "[1, 2, 3, 4].slice(1, 3) == [2, 3] && [].slice(0, 0) == []",
        "[[1], [2, [3]]].flatten() == dyn([1, 2, [3]]) && [1, [2, [3, [4]]]].flatten(2) == dyn([1, 2, 3, [4]])",
        "[3, 1, 2].sort() == [1, 2, 3] && ['b', 'a'].sort() == ['a', 'b'] && ['aaa', 'b'].sortBy(x, size(x)) == ['b', 'aaa']",
        "lists.range(3) == [0, 1, 2] && lists.range(-1) == [] && [1, 2].reverse() == [2, 1]",
        "[1, 2, 1, 2.0].distinct() == [1, 2] && [1, 2].first() == optional.of(1) && [].last() == optional.none()",
        "sets.contains([1, 2], []) && sets.contains([1], [1.0, 1u]) && !sets.contains([1], [2])",
        "sets.equivalent([1], [1, 1u, 1.0]) && !sets.equivalent([1], [1, 2])",
        "sets.intersects([1, 2], [2, 3]) && !sets.intersects([], [])",
    ]);
    fail(&[
        ("[].max()", "max called on empty list"),
        ("[].min()", "min called on empty list"),
        ("[1, 2].flatten(-1)", "level must be non-negative"),
        ("[1, 2].slice(0, 3)", "cannot slice(0, 3), list is length 2"),
        ("[1, 2].slice(-1, 2)", "cannot slice(-1, 2), negative indexes not supported"),
        ("[1][5]", "index out of bounds: 5"),
        ("dyn([1]).a", "unsupported index type 'string' in list"),
        ("{'a': 1}.b", "no such key: b"),
        ("dyn(null).a", "no such key: a"),
        ("dyn(1).a", "no such key: a"),
    ]);
    refused(&[
        (
            "[[1]].sort()",
            "ERROR: <input>:1:11: found no matching overload for 'sort' applied to 'list(list(int)).()'",
        ),
        (
            "['a'].sum()",
            "ERROR: <input>:1:10: found no matching overload for 'sum' applied to 'list(string).()'",
        ),
        ("[1, 'a'].size() == 2", "ERROR: <input>:1:5: expected type 'int' but found 'string'"),
    ]);
}

#[test]
fn patterns_and_urls() {
    hold(&[
        "'abc 123'.find('[0-9]*') == '' && 'abc 123'.find('[0-9]+') == '123' && 'abc'.find('x') == ''",
        "'123 abc 456'.findAll('[0-9]+') == ['123', '456'] && '123 456'.findAll('[0-9]+', 1) == ['123']",
        "'abc'.findAll('x') == [] && 'a1a2'.findAll('a[0-9]', 0) == [] && 'a1a2'.findAll('a', -1).size() == 2",
        "url('https://user:pw@example.com:80/a/b?x=1&x=2#f').getHost() == 'example.com:80'",
        "url('https://[::1]:80/').getHostname() == '::1' && url('https://[::1]:80/').getPort() == '80'",
        "url('/path').getScheme() == '' && url('https://a/b c/é').getEscapedPath() == '/b%20c/%C3%A9'",
        "url('https://a/?k1=a&k2=b&k2=c').getQuery() == {'k1': ['a'], 'k2': ['b', 'c']}",
        "isURL('https://a') && isURL('/abs') && !isURL('../rel') && !isURL('')",
    ]);
    fail(&[("'abc'.find('(' + '')", "Illegal regex: error parsing regexp: missing closing ): `(`")]);
}

#[test]
fn addresses() {
    hold(&[
        "ip('127.0.0.1').family() == 4 && ip('::1').family() == 6 && string(ip('0:0::1')) == '::1'",
        "ip.isCanonical('::1') && !ip.isCanonical('::0:1') && isIP('1.2.3.4') && !isIP('1.2.3') && !isIP('::ffff:1.2.3.4')",
        "ip('0.0.0.0').isUnspecified() && ip('127.0.0.1').isLoopback() && ip('224.0.0.1').isLinkLocalMulticast()",
        "ip('fe80::1').isLinkLocalUnicast() && ip('1.2.3.4').isGlobalUnicast() && !ip('255.255.255.255').isGlobalUnicast()",
        "ip('1.2.3.4') == ip('1.2.3.4') && ip('::1') != ip('::2')",
        "cidr('192.168.0.0/24').containsIP('192.168.0.1') && !cidr('192.168.0.0/24').containsIP(ip('192.168.1.1'))",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !cidr('10.1.0.0/16').containsCIDR(cidr('10.0.0.0/8'))",
        "cidr('192.168.1.5/24').ip() == ip('192.168.1.5') && string(cidr('192.168.1.5/24').masked()) == '192.168.1.0/24'",
        "cidr('::1/128').prefixLength() == 128 && isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/33') && !isCIDR('10.0.0.0')",
    ]);
    fail(&[
        ("ip('::ffff:1.2.3.4')", "IPv4-mapped IPv6 address \"::ffff:1.2.3.4\" is not allowed"),
        (
            "ip('a')",
            "IP Address \"a\" parse error during conversion from string: ParseAddr(\"a\"): unable to parse IP",
        ),
        (
            "cidr('10.0.0.0')",
            "network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix(\"10.0.0.0\"): no '/'",
        ),
    ]);
}

#[test]
fn amounts_versions_and_named_formats() {
    hold(&[
        "quantity('50k').asInteger() == 50000 && quantity('1.5').asApproximateFloat() == 1.5 && sign(quantity('-1')) == -1",
        "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1').isLessThan(quantity('2')) && quantity('1').compareTo(quantity('1')) == 0",
        "quantity('1k').add(quantity('1')) == quantity('1001') && quantity('1k').sub(1) == quantity('999') && quantity('1').add(1) == quantity('2')",
        "isQuantity('1Ki') && !isQuantity('Three') && quantity('50k').isInteger() && !quantity('50m').isInteger()",
        "semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('1.2.3-a.1+b').patch() == 3",
        "semver('1.0.0-alpha').isLessThan(semver('1.0.0')) && semver('1.0.0').isGreaterThan(semver('1.0.0-rc.1'))",
        "semver('1.0.0').compareTo(semver('1.0.1')) == -1 && isSemver('1.0.0') && !isSemver('1.0') && !isSemver('v1.0.0')",
        "isSemver('v1.0', true) && semver('v01.01', true) == semver('1.1.0') && !isSemver('1.0-a', true) && isSemver('1.0.0-a', true)",
        "format.dns1123Label().validate('my-name') == optional.none() && format.dns1123Label().validate('A').hasValue()",
        "format.named('dns1123Subdomain').value().validate('a.b') == optional.none() && !format.named('x').hasValue()",
        "!format.dns1123LabelPrefix().validate('a-').hasValue() && !format.dns1035Label().validate('a1').hasValue()",
        "!format.qualifiedName().validate('a.b/c').hasValue() && !format.labelValue().validate('').hasValue()",
        "format.uuid().validate('x').value() == ['does not match the UUID format'] && !format.uri().validate('https://a').hasValue()",
        "format.byte().validate('*').value() == ['invalid base64'] && format.date().validate('x').value() == ['invalid date']",
        "format.datetime().validate('x').value() == ['invalid datetime'] && !format.datetime().validate('2024-01-01T00:00:00Z').hasValue()",
    ]);
    fail(&[("quantity('1.5').asInteger()", "cannot convert value to integer")]);
    refused(&[(
        "quantity('1').sign()",
        "ERROR: <input>:1:19: found no matching overload for 'sign' applied to 'kubernetes.Quantity.()'",
    )]);
}

#[test]
fn times_and_conversions() {
    hold(&[
        "duration('1h') + duration('1s') == duration('3601s') && duration(1000000000) == duration('1s')",
        "duration('1.5s').getMilliseconds() == 500 && string(duration('1m30.5s')) == '90.5s'",
        "timestamp(0) == timestamp('1970-01-01T00:00:00Z') && int(timestamp('1970-01-01T00:01:00Z')) == 60",
        "timestamp('2024-07-01T12:00:00Z').getHours('America/New_York') == 8 && timestamp('2024-07-01T12:00:00Z').getHours('-02:30') == 9",
        "timestamp('2024-01-01T00:00:00Z').getDayOfWeek() == 1 && timestamp('2024-01-01T00:00:00Z').getDate() == 1",
        "string(timestamp('9999-12-31T23:59:59.9Z')) == '9999-12-31T23:59:59.9Z' && int(timestamp('1969-12-31T23:59:59.5Z')) == -1",
        "int('-5') == -5 && uint('5') == 5u && double('1e3') == 1000.0 && string(1u) == '1' && bool('t') && int(2.9) == 2",
        "string(b'abc') == 'abc' && bytes('é') == b'é' && string(true) == 'true' && type(1) == int && dyn(1) == 1",
    ]);
    fail(&[
        ("int('a')", "type conversion error from 'string' to 'int'"),
        ("uint(-1)", "unsigned integer overflow"),
        ("uint('+1')", "type conversion error from 'string' to 'uint'"),
        ("1u - 2u", "unsigned integer overflow"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("timestamp('x')", "type conversion error from 'string' to 'google.protobuf.Timestamp'"),
        (
            "timestamp('2024-01-01 00:00:00Z')",
            "type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        ("timestamp(-62135596801)", "timestamp overflow"),
        ("timestamp('0001-01-01T00:00:00Z') - duration('1ns')", "timestamp overflow"),
        ("timestamp('9999-12-31T23:59:59Z') + duration('1s')", "timestamp overflow"),
        ("timestamp(0).getHours('Nowhere')", "unknown time zone Nowhere"),
        ("timestamp(0).getHours('a:00')", "strconv.Atoi: parsing \"a\": invalid syntax"),
        ("dyn('a') + 1", "no such overload"),
        ("dyn(true) + 1", "no such overload: _+_"),
        ("dyn([1]) < [2]", "no such overload: _<_"),
        ("!dyn(1)", "no such overload"),
        ("-dyn('a')", "no such overload: -_"),
    ]);
}

#[test]
fn macros_and_optionals() {
    hold(&[
        "[1, 2].all(i, x, x == i + 1) && {'a': 1}.exists(k, v, k == 'a' && v == 1) && [1, 2].existsOne(i, x, x == 2)",
        "[1, 2].exists_one(i, x, i == 0) && [1, 2].existsOne(x, x == 1) && {'a': 1, 'b': 2}.all(k, v, v > 0)",
        "[1, 2].transformList(i, x, i + x) == [1, 3] && [1, 2].transformList(i, x, x > 1, x) == [2]",
        "{'a': 1, 'b': 2}.transformMap(k, v, v + 1) == {'a': 2, 'b': 3} && {'a': 1, 'b': 2}.transformMap(k, v, v > 1, v) == {'b': 2}",
        "{'a': 'x'}.transformMapEntry(k, v, {v: k}) == {'x': 'a'} && ['a'].transformMapEntry(i, v, {v: i}) == {'a': 0}",
        "[1, 2].map(x, x > 1, x * 2) == [4] && [1, 2].filter(x, x > 1) == [2] && has({'a': 1}.a) && !has({'a': 1}.b)",
        "optional.of(1).optMap(x, x + 1) == optional.of(2) && optional.of(1).optFlatMap(x, optional.none()) == optional.none()",
        "optional.ofNonZeroValue(0) == optional.none() && optional.unwrap([optional.of(1), optional.none()]) == [1]",
        "[optional.of(1), optional.none()].unwrapOpt() == [1] && {'a': {'b': 1}}.?a.?b.orValue(2) == 1 && [1][?3].orValue(2) == 2",
        "{'a': 1, 'a': 2} == {'a': 2}",
        "jsonpatch.escapeKey('a/b~c') == 'a~1b~0c' && dyn(1).?a == optional.none()",
    ]);
    fail(&[
        ("optional.none().value()", "optional.none() dereference"),
        ("['a', 'b'].transformMapEntry(i, v, {'x': v})", "insert failed: key x already exists"),
    ]);
    refused(&[
        ("[1].all(x, x, true)", "ERROR: <input>:1:12: duplicate variable name: x"),
        (
            "{'a': 1}.transformMap(k, v)",
            "ERROR: <input>:1:22: undeclared reference to 'transformMap' (in container '')",
        ),
        (
            "authorizer.group('').resource('pods').check(1).allowed()",
            "ERROR: <input>:1:44: found no matching overload for 'check' applied to 'kubernetes.authorization.ResourceCheck.(int)'",
        ),
    ]);
}

fn spent(text: &str, variables: &[(&'static str, Value<'static>)]) -> u64 {
    let program = Program::parse(text).unwrap();
    let mut known = Variables::default();
    for (name, value) in variables {
        known.set(name, value.clone());
    }
    let mut budget = Budget::new(PLENTY);
    program.evaluate(&known, &mut budget).unwrap();
    budget.spent()
}

#[test]
fn evaluations_cost_what_they_cost_the_real_server() {
    let list = || Value::list((1..=5).map(Value::Int).collect());
    let text = || Value::text("x".repeat(500));
    let map = || Value::Map([(Value::text("key"), list())].into());
    let variables = [("list", list()), ("text", text()), ("map", map()), ("yes", Value::Bool(true))];
    for (expression, cost) in [
        ("'Hello World!'", 0),
        ("text", 1),
        ("map['key']", 2),
        ("map.key[0]", 3),
        ("map['ke' + 'y']", 3),
        ("list[3 - 3]", 3),
        ("map.all(k, map[k].size() == 5)", 1 + 3 + (2 + 1 + 1) + 1),
        ("has(map.key)", 1),
        ("has(map.key) && has(map.other)", 2),
        // What is constant is there before anything is evaluated.
        ("[1, 2, 3]", 0),
        ("{'a': 1}", 0),
        ("[1, 2, 3].all(x, true)", 10),
        ("2 in [1, 2, 3]", 0),
        ("timestamp('2024-01-01T00:00:00Z')", 0),
        ("[1, list[0]]", 12),
        ("text in [text]", 13),
        ("text.matches('[0-9]')", 103),
        ("'123'.matches('[0-9]')", 2),
        ("yes || false", 1),
        ("yes && yes && yes", 3),
        ("true ? 1 : 2", 0),
        // The beginning of a path that is chosen is free.
        ("(yes ? list : list).all(x, true)", 1 + 15 + 1),
        ("yes ? map.key : list", 2),
        ("1 < 2 && 1 == 2", 2),
        ("'12345678901234567890' == '123456789012345678901234567890'", 2),
        ("string(bytes(text))", 101),
        ("text.contains(text)", 2502),
        ("text.startsWith(text)", 52),
        ("(list + list).all(x, true)", 3 + 30 + 1),
        ("list.filter(x, x % 2 == 0)", 1 + 15 + 26 + 1),
        ("list.map(x, x)", 1 + 65 + 1),
        ("list.exists(x, x == 2)", 1 + 12 + 3 + 1),
        ("list.exists_one(x, x == 2)", 1 + 10 + 2 + 2),
        ("optional.of(list).optMap(l, l.size())", 2 * 2 + 2 + 2 + 1),
        ("map.?other.orValue([])", 1),
        ("'ABCDEFGHIJ abcdefghij'.lowerAscii()", 3),
        ("'abc 123 def 123'.split(' ', 1)", 3),
        ("['aa', 'bb', 'cc', 'd', 'e', 'f', 'g', 'h', 'i', 'j'].join(' ')", 5),
        ("'abc 123 def 123'.find('123')", 2),
        ("quantity('50k').add(quantity('20')) == quantity('50.02k')", 5),
        ("ip('192.168.0.1') == ip('192.168.0.1')", 5),
        ("cidr('192.168.0.0/16').containsIP('192.168.0.1')", 5),
        ("format.named('dns1123Subdomain').value().validate('my-name')", 17),
        ("sets.contains([1, 2, 3, 4], [2, 3])", 9),
        ("sets.equivalent([1, 2, 3], [3u, 2.0, 1])", 19),
        ("list.slice(1, 3)", 1 + 13),
        ("list.distinct()", 1 + 61),
        ("['a', 'b'].sort()", 19),
    ] {
        assert_eq!(spent(expression, &variables), cost, "{expression}");
    }
}

#[test]
fn selectors_of_devices_may_bind_variables() {
    let program = Program::parse_with_bindings("cel.bind(x, 5, x + x) == 10").unwrap();
    let mut budget = Budget::new(PLENTY);
    let value = program.evaluate(&Variables::default(), &mut budget).unwrap();
    assert!(value.equals(&Value::Bool(true)));
    assert_eq!(budget.spent(), 4);
}

#[test]
fn what_costs_nothing_there_cannot_keep_the_server_busy() {
    let doubled = |n: usize| {
        let mut variables = Variables::default();
        let programs: Vec<Program> = (0..n).map(|_| Program::parse("l + l").unwrap()).collect();
        let mut list = Value::list(vec![Value::Int(1); 1000]);
        let mut budget = Budget::new(1_000);
        for program in &programs {
            variables = Variables::default();
            variables.set("l", list.clone());
            match program.evaluate(&variables, &mut budget) {
                Ok(value) => list = value,
                Err(why) => return why.to_string(),
            }
        }
        drop(variables);
        list.size().unwrap_or_default().to_string()
    };
    assert_eq!(doubled(2), "4000");
    assert_eq!(doubled(40), "operation cancelled: actual cost limit exceeded");
}
