//! Base64, and the armor around a signature: one spelling for each value.

use super::{Code, Refusal};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The first line of a signature, with the line end before it: no signature stands in the middle of a line.
pub(crate) const BEGIN: &[u8] = b"\n-----BEGIN SSH SIGNATURE-----\n";
const END: &[u8] = b"\n-----END SSH SIGNATURE-----\n";

/// Characters in a line of armor, as OpenSSH writes it.
const COLUMNS: usize = 70;

/// Base64 with padding, as one line.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            if at <= chunk.len() {
                let six = group >> (18 - 6 * at) & 63;
                out.push(char::from(ALPHABET[six as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// The bytes of `text`, which must be the one canonical encoding of them.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|b| **b == b'=').count();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let digits = &text[..text.len() - padding];
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in digits.chunks(4) {
        let mut group = 0;
        for b in chunk {
            group = group << 6 | u32::from(value(*b)?);
        }
        group <<= 6 * (4 - chunk.len());
        out.extend_from_slice(&group.to_be_bytes()[1..chunk.len()]);
        // Bits that stand for no byte must be zero, or two texts would mean the same.
        if group & ((1 << (8 * (4 - chunk.len()))) - 1) != 0 {
            return None;
        }
    }
    Some(out)
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// A signature in its armor, as OpenSSH writes it, with the line end after it.
pub(crate) fn wrap(bytes: &[u8]) -> String {
    let text = encode(bytes);
    let mut out = String::from("-----BEGIN SSH SIGNATURE-----\n");
    for line in text.as_bytes().chunks(COLUMNS) {
        out.extend(line.iter().map(|it| char::from(*it)));
        out.push('\n');
    }
    out.push_str("-----END SSH SIGNATURE-----\n");
    out
}

/// The signature in `text`, which follows [`BEGIN`] and must be canonical armor to its last byte (M22).
pub(crate) fn unwrap(text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let end = text
        .windows(END.len())
        .position(|it| it == END)
        .ok_or_else(|| Code::Malformed.because("the signature has no end; sign again"))?;
    if end + END.len() != text.len() {
        return Err(Code::Malformed.because(
            "something follows the signature, which nobody signed; the signature must be the end of the tag",
        ));
    }
    let body = &text[..end];
    let lines = || body.split(|b| *b == b'\n');
    let last = lines().count() - 1;
    let wrapped = lines().enumerate().all(|(at, line)| {
        line.len() == COLUMNS || (at == last && (1..COLUMNS).contains(&line.len()))
    });
    if !wrapped {
        return Err(spelling());
    }
    let joined: Vec<u8> = lines().flatten().copied().collect();
    decode(&joined).ok_or_else(spelling)
}

fn spelling() -> Refusal {
    Code::Malformed.because(
        "the signature is not written as OpenSSH writes it (base64 in lines of 70 characters); use the tag as `git tag -s` made it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_one_spelling_only() {
        for (plain, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"\xff\xfe\xfd", "//79"),
        ] {
            assert_eq!(encode(plain), text);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(plain));
        }
        for other in [
            "Zh==", "Zm9=", "Zg", "Zg=", "Z===", "====", "Zm9v====", "Zg==Zg==", "Zm 9v", "Zm9-",
        ] {
            assert_eq!(decode(other.as_bytes()), None, "{other}");
        }
    }
}
