//! What may be written into a field: nothing that could end it, hide in it or begin another line.

use super::edit::EditError;

/// What useradd itself takes is far too much (`..`, `a/b`, `0`). The roster's grammar is narrower than this one, which
/// also has to name accounts that a package or a person made.
pub(super) fn check_name(name: &str) -> Result<(), EditError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | '+');
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    if !starts || digits || name.len() > 32 || !name.chars().all(allowed) {
        return Err(EditError::BadName {
            name: name.to_owned(),
        });
    }
    Ok(())
}

pub(super) fn check_gecos(gecos: &str) -> Result<(), EditError> {
    check("comment", gecos, true)
}

/// A path is absolute and goes nowhere by `..`.
pub(super) fn check_path(field: &'static str, path: &str) -> Result<(), EditError> {
    if !path.starts_with('/') || path.split('/').any(|component| component == "..") {
        return Err(EditError::BadField {
            field,
            value: path.to_owned(),
        });
    }
    check(field, path, false)
}

fn check(field: &'static str, value: &str, blanks: bool) -> Result<(), EditError> {
    let hidden = |c: char| c.is_control() || matches!(c, ':' | '\u{2028}' | '\u{2029}' | '\u{85}');
    if value.len() > 1024
        || value
            .chars()
            .any(|c| hidden(c) || (!blanks && c.is_whitespace()))
    {
        return Err(EditError::BadField {
            field,
            value: value.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_that_could_be_something_else() {
        for name in [
            "emo",
            "_apt",
            "a.b",
            "x1",
            "machine$",
            "0x1",
            "a+b",
            &"a".repeat(32),
        ] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
        for name in [
            "",
            "0",
            "-rf",
            "+a",
            "..",
            "a/b",
            "a:b",
            "a\nb",
            "a b",
            "a,b",
            "ä",
            ".a",
            "$a",
            &"a".repeat(33),
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn refuses_fields_that_could_begin_another() {
        for gecos in ["", "Emo Example,,,", "Ünal"] {
            assert!(check_gecos(gecos).is_ok(), "{gecos:?}");
        }
        for gecos in [
            "a:b",
            "a\nb",
            "a\rb",
            "a\u{1b}[2Jb",
            "a\u{9b}b",
            "a\u{2028}b",
        ] {
            assert!(check_gecos(gecos).is_err(), "{gecos:?}");
        }
        assert!(check_path("home", "/home/emo").is_ok());
        for path in ["", "home", "/home/../etc", "/a:b", "/a b", "/a\nb"] {
            assert!(check_path("home", path).is_err(), "{path:?}");
        }
    }
}
