//! What is mounted where.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The first mount point at or below a real path, if there is one.
///
/// # Errors
/// When the kernel does not tell: then nothing below may be taken for one file system.
pub(crate) fn at_or_below(path: &Path) -> io::Result<Option<String>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    Ok(find(&table, path.as_os_str().as_bytes()))
}

fn find(table: &[u8], path: &[u8]) -> Option<String> {
    let points = table.split(|byte| *byte == b'\n').filter_map(|line| {
        let field = line.split(|byte| *byte == b' ').nth(4)?;
        Some(unescaped(field))
    });
    let mut inside = points.filter(|point| {
        point
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    });
    inside
        .next()
        .map(|point| String::from_utf8_lossy(&point).into_owned())
}

/// `\040` and the like are how the kernel writes what would end a field.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut left = field;
    while let Some((first, rest)) = left.split_first() {
        let digit = |byte: u8| {
            (b'0'..=b'7')
                .contains(&byte)
                .then(|| u32::from(byte - b'0'))
        };
        let code = match rest {
            [a, b, c, ..] if *first == b'\\' => digit(*a)
                .zip(digit(*b))
                .zip(digit(*c))
                .and_then(|((a, b), c)| u8::try_from(a * 64 + b * 8 + c).ok()),
            _ => None,
        };
        match code {
            Some(byte) => {
                out.push(byte);
                left = &rest[3..];
            }
            None => {
                out.push(*first);
                left = rest;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_at_and_below_a_path_and_not_beside_it() {
        let table = b"22 1 8:1 / / rw - ext4 /dev/a rw\n23 22 8:2 / /home/emo/my\\040disk rw - ext4 /dev/b rw\n";
        assert_eq!(
            find(table, b"/home/emo"),
            Some("/home/emo/my disk".to_owned())
        );
        assert_eq!(
            find(table, b"/home/emo/my disk"),
            Some("/home/emo/my disk".to_owned())
        );
        assert_eq!(find(table, b"/home/em"), None);
        assert_eq!(find(table, b"/home/ada"), None);
    }
}
