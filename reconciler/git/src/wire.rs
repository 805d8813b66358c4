//! How a request to the notes writer crosses into its process: a list of byte strings, each as `<length>:<bytes>,`.

/// One list of byte strings as bytes.
pub(crate) fn encode<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(format!("{}:", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.push(b',');
    }
    bytes
}

/// The list in `bytes`, or `None` when they are not exactly one.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let colon = bytes.iter().take(12).position(|byte| *byte == b':')?;
        let len: usize = std::str::from_utf8(&bytes[..colon]).ok()?.parse().ok()?;
        let rest = &bytes[colon + 1..];
        if len >= rest.len() || rest[len] != b',' {
            return None;
        }
        parts.push(&rest[..len]);
        bytes = &rest[len + 1..];
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_sent_arrives() {
        let parts: [&[u8]; 4] = [b"", b"a,b:c", b"\0\xff\n", b"3:abc,"];
        assert_eq!(decode(&encode(parts)).unwrap(), parts);
        assert_eq!(decode(b"").unwrap(), Vec::<&[u8]>::new());
    }

    #[test]
    fn a_torn_list_is_no_list() {
        let whole = encode([b"hello".as_slice(), b"world"]);
        for len in 1..whole.len() {
            let torn = decode(&whole[..len]);
            assert!(torn.is_none() || torn == Some(vec![b"hello"]), "{len}");
        }
        for wrong in [
            b"5:hello".as_slice(),
            b"-1:,",
            b"99999999999999999999:,",
            b"x:,",
        ] {
            assert!(decode(wrong).is_none());
        }
    }
}
