//! What is said of expressions that are none, as `cel-go` says it.

use super::*;

const OPERAND: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// Where something is wrong, and why.
fn told(error: &str) -> Vec<String> {
    error.lines().filter_map(|line| line.strip_prefix("ERROR: <input>:")).map(str::to_owned).collect()
}

#[track_caller]
fn wrong(text: &str, errors: &[&str]) {
    let error = Program::parse(text).unwrap_err().to_string();
    let errors: Vec<String> = errors.iter().map(|error| error.replace("OPERAND", OPERAND)).collect();
    assert_eq!(told(&error), errors, "{text}");
}

#[test]
fn what_is_no_token_is_left_out_and_the_rest_is_judged() {
    let end = "Syntax error: mismatched input '<EOF>' expecting OPERAND";
    wrong("1 + $", &["1:5: Syntax error: token recognition error at: '$'", &format!("1:6: {end}")]);
    wrong(
        "a | b",
        &[
            "1:3: Syntax error: token recognition error at: '| '",
            "1:5: Syntax error: extraneous input 'b' expecting <EOF>",
        ],
    );
    wrong(
        "self.a = 'b'",
        &[
            "1:8: Syntax error: token recognition error at: '= '",
            "1:10: Syntax error: extraneous input ''b'' expecting <EOF>",
        ],
    );
    wrong("'abc", &["1:1: Syntax error: token recognition error at: ''abc'", &format!("1:5: {end}")]);
    wrong(
        r#""\xFh""#,
        &[
            r#"1:1: Syntax error: token recognition error at: '"\xFh'"#,
            r#"1:6: Syntax error: token recognition error at: '"'"#,
            &format!("1:7: {end}"),
        ],
    );
    wrong("1.99e90000009", &["1:1: invalid double literal"]);
    wrong("0xFFFFFFFFFFFFFFFFF", &["1:1: invalid int literal"]);
    wrong("18446744073709551616u", &["1:1: invalid uint literal"]);
    wrong("self.`a-b`", &["1:6: unsupported syntax: '`'"]);
}

#[test]
fn a_token_too_many_is_left_out_and_one_too_few_is_thought_to_be_there() {
    wrong("true and false", &["1:6: Syntax error: mismatched input 'and' expecting <EOF>"]);
    wrong("1 + 2\n3 +", &["2:1: Syntax error: mismatched input '3' expecting <EOF>"]);
    wrong("a b", &["1:3: Syntax error: extraneous input 'b' expecting <EOF>"]);
    wrong("a <> 'b'", &["1:4: Syntax error: extraneous input '>' expecting OPERAND"]);
    wrong(
        "1 + +",
        &[
            "1:5: Syntax error: mismatched input '+' expecting OPERAND",
            "1:6: Syntax error: mismatched input '<EOF>' expecting OPERAND",
        ],
    );
    wrong(
        "*@a | b",
        &[
            "1:1: Syntax error: extraneous input '*' expecting OPERAND",
            "1:2: Syntax error: token recognition error at: '@'",
            "1:5: Syntax error: token recognition error at: '| '",
            "1:7: Syntax error: extraneous input 'b' expecting <EOF>",
        ],
    );
    wrong(
        "in",
        &[
            "1:1: Syntax error: mismatched input 'in' expecting OPERAND",
            "1:3: Syntax error: mismatched input '<EOF>' expecting OPERAND",
        ],
    );
    wrong("has(self)", &["1:5: invalid argument to has() macro"]);
}

#[test]
fn what_is_wrong_all_over_is_told_in_bounds() {
    for text in ["+ ".repeat(40_000), "] - ".repeat(20_000), "@".repeat(90_000)] {
        let error = Program::parse(&text).unwrap_err().to_string();
        assert!(told(&error).len() <= 61, "{}", told(&error).len());
    }
}

#[test]
fn literals_are_of_one_type_each() {
    let told = |text: &str| told(&of(text).replacen("error: ", "", 1));
    assert_eq!(
        told("[1, 2u, 3.0, 'x'].size() == 4"),
        ["1:5: expected type 'int' but found 'uint'"],
        "of a list, the first is told"
    );
    assert_eq!(
        told("{1: 2, true: 3, 'x': null}.size() == 3"),
        [
            "1:8: expected type 'int' but found 'bool'",
            "1:17: expected type 'int' but found 'string'",
            "1:22: expected type 'int' but found 'null'",
        ]
    );
    assert_eq!(told("[1, dyn(2)].size() == 2"), ["1:8: expected type 'int' but found 'dyn'"]);
    assert_eq!(of("[[], [1], []].size() == 3 && [{}, {'a': 1}].size() == 2"), "true");
    assert_eq!(told("[[], 'a'].size() == 2"), ["1:6: expected type 'list(dyn)' but found 'string'"]);
}

#[test]
fn functions_that_do_not_exist_in_a_namespace_leave_it_a_name() {
    assert_eq!(
        told(&of("sets.foo([1])").replacen("error: ", "", 1)),
        [
            "1:1: undeclared reference to 'sets' (in container '')",
            "1:9: undeclared reference to 'foo' (in container '')",
        ]
    );
}

#[test]
fn doubles_are_written_as_go_writes_them() {
    assert_eq!(
        of("string(123456.5) + ' ' + string(1234567.0) + ' ' + string(1e-5)"),
        "123456.5 1.234567e+06 1e-05"
    );
}
