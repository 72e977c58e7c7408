//! Our decimals against Python's, on generated expressions.

use std::io::Write as _;
use std::process::{Command, Stdio};

use aleph_ledger::Decimal;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

/// How many expressions are compared.
const EXPRESSIONS: usize = 4000;

/// Reads `operation left right` a line; operands are decimal texts or `f` and a double.
const SCRIPT: &str = r#"
import sys
from decimal import Decimal, getcontext, ROUND_FLOOR, InvalidOperation, DivisionByZero
def operand(text):
    return Decimal(float(text[1:])) if text.startswith("f") else Decimal(text)
for line in sys.stdin:
    name, left, right = line.split()
    a, b = operand(left), operand(right)
    try:
        if name == "add": r = a + b
        elif name == "sub": r = a - b
        elif name == "mul": r = a * b
        elif name == "div": r = a / b
        elif name == "cmp": r = (a > b) - (a < b)
        elif name == "floor": r = a.quantize(Decimal("0.000000000000000001"), ROUND_FLOOR)
    except (InvalidOperation, DivisionByZero):
        r = "error"
    if isinstance(r, Decimal) and r.is_zero(): r = abs(r)
    print(format(r, "f") if name == "floor" and r != "error" else r)
"#;

fn python(input: &str) -> Option<String> {
    let mut child = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "python3 failed");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn operand(text: &str) -> Decimal {
    match text.strip_prefix('f') {
        Some(double) => Decimal::from_f64(double.parse().unwrap()).unwrap(),
        None => Decimal::parse(text).unwrap(),
    }
}

fn evaluate(name: &str, left: &Decimal, right: &Decimal) -> String {
    match name {
        "add" => left.plus(right).to_string(),
        "sub" => left.minus(right).to_string(),
        "mul" => left.times(right).to_string(),
        "div" => left.divide(right).map_or_else(|_| "error".to_owned(), |result| result.to_string()),
        "cmp" => (left.cmp(right) as i8).to_string(),
        "floor" => left.floor18().map_or_else(|_| "error".to_owned(), |result| result.to_string()),
        other => panic!("{other}"),
    }
}

fn operands() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "-?[0-9]{1,10}(\\.[0-9]{0,20})?",
        2 => "-?[0-9]{20,40}(\\.[0-9]{1,30})?",
        2 => "-?[0-9](\\.[0-9]{1,8})?e-?[0-9]{1,2}",
        // Halves, where the rounding to even shows.
        2 => "-?[0-9]{27}[0-9]50{0,4}",
        2 => (-1e12..1e12f64).prop_map(|double| format!("f{double:?}")),
        1 => proptest::num::f64::NORMAL.prop_map(|double| format!("f{double:?}")),
        1 => Just("3600".to_owned()),
        1 => Just("0".to_owned()),
    ]
}

#[test]
fn agrees_with_python() {
    let mut runner = TestRunner::new(Config::default());
    let names = prop_oneof![Just("add"), Just("sub"), Just("mul"), Just("div"), Just("cmp"), Just("floor")];
    let strategy = (names, operands(), operands());
    let expressions: Vec<(&str, String, String)> =
        (0..EXPRESSIONS).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    let input: String =
        expressions.iter().map(|(name, left, right)| format!("{name} {left} {right}\n")).collect();
    let Some(output) = python(&input) else {
        println!("skipped: no python3");
        return;
    };
    let answers: Vec<&str> = output.lines().collect();
    assert_eq!(answers.len(), expressions.len());
    for ((name, left, right), expected) in expressions.iter().zip(answers) {
        assert_eq!(evaluate(name, &operand(left), &operand(right)), expected, "{name} {left} {right}");
    }
    println!("{} expressions agree with Python", expressions.len());
}

/// Recorded from Python 3.11, for machines without it.
#[test]
fn agrees_with_recorded_results() {
    for (name, left, right, expected) in [
        ("div", "0.055", "3600", "0.00001527777777777777777777777778"),
        ("div", "1", "7", "0.1428571428571428571428571429"),
        ("div", "100", "8", "12.5"),
        ("div", "0", "3600", "0"),
        ("mul", "f0.05", "20480", "1024.000000000000056843418861"),
        ("mul", "24", "23.95833333333333333333333333", "574.9999999999999999999999999"),
        ("add", "0E-18", "0", "0E-18"),
        ("add", "1E+30", "1", "1.000000000000000000000000000E+30"),
        ("mul", "3.958333333333333333", "86400", "341999.999999999999971200"),
        ("floor", "-0.0000000000000000001", "0", "-0.000000000000000001"),
        ("floor", "9999999999.9999999999999999999", "0", "9999999999.999999999999999999"),
        ("floor", "10000000000", "0", "error"),
    ] {
        assert_eq!(evaluate(name, &operand(left), &operand(right)), expected, "{name} {left} {right}");
    }
}
