//! How Python shows text: the messages and the JSON of the roster engine that came before are kept byte for byte.

use std::fmt::{self, Write};

/// `text` as Python's `repr` shows it: single quotes, unless only the text itself has some (R8).
///
/// Beyond ASCII, characters that hide are escaped and all others are shown.
pub fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        let code = u32::from(c);
        let _ = match c {
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            c if c == quote => write!(out, "\\{c}"),
            ' '..='~' => out.write_char(c),
            c if crate::diagnostic::is_hidden(c) || c.is_whitespace() => match code {
                0..=0xff => write!(out, "\\x{code:02x}"),
                0x100..=0xffff => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            },
            c => out.write_char(c),
        };
    }
    out.push(quote);
    out
}

/// Writes `text` as a JSON string with all of it in ASCII, as Python's `json` does (R20).
///
/// # Errors
/// Those of `out`.
pub fn write_json_string(out: &mut (impl Write + ?Sized), text: &str) -> fmt::Result {
    out.write_char('"')?;
    // Runs that need no escape are written as one.
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| !matches!(c, ' '..='~') || c == '"' || c == '\\') {
        out.write_str(&rest[..at])?;
        let Some(c) = rest[at..].chars().next() else {
            break;
        };
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\u{8}' => out.write_str("\\b")?,
            '\u{c}' => out.write_str("\\f")?,
            // Python's encoder leaves DEL as it is.
            '\u{7f}' => out.write_char(c)?,
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        rest = &rest[at + c.len_utf8()..];
    }
    out.write_str(rest)?;
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repr_quotes_as_python_does() {
        for (text, shown) in [
            ("emo", "'emo'"),
            ("it's", "\"it's\""),
            ("a'b\"c", "'a\\'b\"c'"),
            ("a\\b\n\t\r\u{1}\u{7f}", "'a\\\\b\\n\\t\\r\\x01\\x7f'"),
            ("é\u{a0}\u{202e}", "'é\\xa0\\u202e'"),
            ("\u{e0001}", "'\\U000e0001'"),
            ("", "''"),
        ] {
            assert_eq!(repr(text), shown);
        }
    }

    #[test]
    fn json_strings_are_ascii() {
        let mut out = String::new();
        write_json_string(&mut out, "a\"\\\n\u{8}\u{1}—é😀\u{7f}z").unwrap();
        assert_eq!(
            out,
            "\"a\\\"\\\\\\n\\b\\u0001\\u2014\\u00e9\\ud83d\\ude00\u{7f}z\""
        );
    }
}
