//! What an unquoted value could mean to one reader of YAML or another.

/// What some reader of YAML 1.1 or 1.2 would take the unquoted `text` for, when that is not a string.
///
/// Wide on purpose: who writes such a value into a text field is asked to quote it, and no two readers differ.
pub fn taken_for(text: &str) -> Option<&'static str> {
    let first = *text.as_bytes().first().unwrap_or(&b'~');
    match first {
        b'0'..=b'9' | b'+' | b'-' | b'.' => number_like(text),
        b'~' | b'=' | b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O'
        | b'i' | b'I' => word(text),
        _ => None,
    }
}

/// Whether `text` is one of the ways to write "nothing".
pub fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn word(text: &str) -> Option<&'static str> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if text.len() > 8 {
        None
    } else if text.is_empty() || is(&["~", "null"]) {
        Some("null")
    } else if is(&[
        "y", "n", "yes", "no", "on", "off", "true", "false", "t", "f",
    ]) {
        Some("a boolean")
    } else if is(&["inf", "nan", "infinity"]) {
        Some("a number")
    } else if text == "=" {
        Some("a special value")
    } else {
        None
    }
}

fn number_like(text: &str) -> Option<&'static str> {
    let bare = text.trim_start_matches(['+', '-']);
    if is_date_like(text) {
        return Some("a date");
    }
    let lower = bare.to_ascii_lowercase();
    let digits_of = |digits: &str, allowed: fn(&char) -> bool| {
        !digits.is_empty() && digits.chars().all(|c| c == '_' || allowed(&c))
    };
    let radix = |prefix: &str, allowed: fn(&char) -> bool| {
        lower
            .strip_prefix(prefix)
            .is_some_and(|digits| digits_of(digits, allowed))
    };
    let number = radix("0x", char::is_ascii_hexdigit)
        || radix("0o", char::is_ascii_digit)
        || radix("0b", char::is_ascii_digit)
        || matches!(lower.as_str(), ".inf" | ".nan" | "inf" | "nan" | "infinity")
        || is_decimal(&lower)
        || lower.split(':').all(|part| {
            part.chars()
                .all(|c| c.is_ascii_digit() || matches!(c, '_' | '.'))
        }) && lower.contains(':');
    number.then_some("a number")
}

/// Digits with `_`, at most one point, at most one exponent.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit() || c == '_');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digit = mantissa.chars().any(|c| c.is_ascii_digit());
    let exponent = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    has_digit && digits(whole) && digits(fraction) && exponent
}

/// Something that starts like `2026-11-22`.
fn is_date_like(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let digits = |part: Option<&str>, from: usize, to: usize| {
        part.is_some_and(|part| {
            (from..=to).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
        })
    };
    digits(parts.next(), 4, 4)
        && digits(parts.next(), 1, 2)
        && parts
            .next()
            .is_some_and(|rest| rest.bytes().next().is_some_and(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_readers_disagree_about_are_named() {
        for (text, meaning) in [
            ("", "null"),
            ("~", "null"),
            ("NULL", "null"),
            ("no", "a boolean"),
            ("y", "a boolean"),
            ("On", "a boolean"),
            ("12", "a number"),
            ("-12", "a number"),
            ("0x10", "a number"),
            ("0o17", "a number"),
            ("0b1", "a number"),
            ("1_0", "a number"),
            ("010", "a number"),
            ("1e3", "a number"),
            ("1.5", "a number"),
            (".5", "a number"),
            ("1.", "a number"),
            ("+.inf", "a number"),
            (".NaN", "a number"),
            ("1:30", "a number"),
            ("190:20:30.15", "a number"),
            ("2026-11-22", "a date"),
            ("2026-1-2T10:00:00Z", "a date"),
            ("=", "a special value"),
        ] {
            assert_eq!(taken_for(text), Some(meaning), "{text:?}");
        }
    }

    #[test]
    fn ordinary_names_are_text() {
        for text in [
            "emo", "node", "yes-man", "on.call", "1a", "0xg", "1.2.3", "-x", "...", "12-34",
            "2026-11", "u1", "e3", "1e", ".",
        ] {
            assert_eq!(taken_for(text), None, "{text:?}");
        }
    }
}
