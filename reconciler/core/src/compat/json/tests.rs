use super::*;

fn dumped(document: &str) -> String {
    let mut out = Vec::new();
    parse(document.as_bytes()).unwrap().write_json(0, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn said(document: &str) -> String {
    let mut out = Vec::new();
    parse(document.as_bytes()).unwrap().write_str(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// A12, C4: each pair was taken from CPython 3.11.
#[test]
fn a12_values_are_written_as_python_writes_them() {
    for (document, written) in [
        ("1e16", "1e+16"),
        ("1E5", "100000.0"),
        ("123456789012345680.0", "1.2345678901234568e+17"),
        ("9999999999999998.0", "9999999999999998.0"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("5e-324", "5e-324"),
        ("1e400", "Infinity"),
        ("-1e400", "-Infinity"),
        ("-0", "0"),
        ("-0.0", "-0.0"),
        // As near to one as to the other: the even digit.
        ("1952153107680.03125", "1952153107680.0312"),
        ("-1952153107680.03125", "-1952153107680.0312"),
        ("9007199254740993.0", "9007199254740992.0"),
        ("5e-05", "5e-05"),
        ("0.00012345", "0.00012345"),
        ("123000.0", "123000.0"),
        ("1.5", "1.5"),
        ("1000000000000000.0", "1000000000000000.0"),
        ("[NaN, -Infinity]", "[\n  NaN,\n  -Infinity\n]"),
        (
            "123456789012345678901234567890",
            "123456789012345678901234567890",
        ),
        ("{}", "{}"),
        ("[[], {}]", "[\n  [],\n  {}\n]"),
        (
            r#""\u2028\u007f\u0000\b\f\/\ud83d\ude00""#,
            "\"\u{2028}\u{7f}\\u0000\\b\\f/😀\"",
        ),
        // By code point: the last of the basic plane before the first beyond it.
        (
            r#"{"\ud83d\ude00": 1, "\uffff": 2, "b": 3, "a": 4, "b": 5}"#,
            "{\n  \"a\": 4,\n  \"b\": 5,\n  \"\u{ffff}\": 2,\n  \"😀\": 1\n}",
        ),
    ] {
        assert_eq!(dumped(document), written, "{document}");
    }
}

#[test]
fn a4_any_type_is_told_as_python_tells_it() {
    for (document, text) in [
        ("null", "None"),
        ("true", "True"),
        ("1.0", "1.0"),
        ("NaN", "nan"),
        (r#""it's""#, "it's"),
        (
            r#"["it's", "a\"'b", "\u00a0\u00ad\u2028\ue000\ud83d\ude00\ud800", 1e22]"#,
            r#"["it's", 'a"\'b', '\xa0\xad\u2028\ue000😀\ud800', 1e+22]"#,
        ),
        (
            r#"{"b": [null, {}], "a": "\n"}"#,
            r"{'b': [None, {}], 'a': '\n'}",
        ),
    ] {
        assert_eq!(said(document), text, "{document}");
    }
}

#[test]
fn what_python_refuses_is_refused_with_its_place() {
    for document in [
        "",
        "[1,]",
        "{\"a\":1,}",
        "01",
        "1.",
        ".5",
        "-",
        "-NaN",
        "nan",
        "tru",
        "\"a\tb\"",
        "\"\\x\"",
        "\"\\u00zz\"",
        "\"a",
        "\u{feff}{}",
        "{1:2}",
        "[1 2]",
        "{} {}",
        "'a'",
        "+1",
        "1e",
        "\"\\",
    ] {
        assert!(parse(document.as_bytes()).is_err(), "{document:?}");
    }
    let error = parse("{\n  \"é\": ?".as_bytes()).unwrap_err();
    assert_eq!((error.line, error.column), (2, 8));
    assert!(parse(b"\"\xff\"").is_err());
}

#[test]
fn limits_are_those_of_python() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(deep(993).as_bytes()).is_ok());
    assert!(parse(deep(994).as_bytes()).is_err());
    assert!(parse("9".repeat(4_300).as_bytes()).is_ok());
    assert!(parse("9".repeat(4_301).as_bytes()).is_err());
}

#[test]
fn of_a_repeated_key_the_last_value_counts_however_many_there_are() {
    let keys: Vec<String> = (0..100).map(|n| format!("\"k{n}\": {n}")).collect();
    let document = format!("{{{}, \"k3\": \"last\"}}", keys.join(", "));
    let value = parse(document.as_bytes()).unwrap();
    assert!(matches!(value.get("k3"), Some(Value::Text(text)) if **text == *b"last"));
}

#[test]
fn half_a_surrogate_pair_is_found() {
    let Value::Text(text) = parse(br#""a\udc80\ud7ff""#).unwrap() else {
        panic!("text");
    };
    assert_eq!(lone_surrogate(&text), Some(1));
    assert_eq!(lone_surrogate("한\u{d7ff}".as_bytes()), None);
}
