//! The data types of the SSH protocol (RFC 4251), each in its one spelling.

/// Reads a blob from its beginning. Every method is `None` when what it reads is not there.
#[derive(Clone)]
pub(crate) struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|it| it[0])
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        let bytes = self.take(4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    /// Bytes behind their own length.
    pub(crate) fn string(&mut self) -> Option<&'b [u8]> {
        let length = self.u32()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// A number that is not negative, without the leading zero that says so; `None` also when it is written with more
    /// bytes than it needs.
    pub(crate) fn number(&mut self) -> Option<&'b [u8]> {
        match self.string()? {
            [] => Some(&[]),
            [0, rest @ ..] => rest.first().filter(|it| **it >= 0x80).map(|_| rest),
            bytes => (bytes[0] < 0x80).then_some(bytes),
        }
    }

    /// `value`, if nothing is left.
    pub(crate) fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

/// Appends bytes behind their own length.
pub(crate) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    // Nothing that is signed here comes near four gigabytes.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        let read = |bytes: &[u8]| {
            let mut blob = Vec::new();
            put_string(&mut blob, bytes);
            let mut reader = Reader::new(&blob);
            reader.number().map(<[u8]>::to_vec)
        };
        assert_eq!(read(&[]), Some(vec![]));
        assert_eq!(read(&[1, 0]), Some(vec![1, 0]));
        assert_eq!(read(&[0, 0x80]), Some(vec![0x80]));
        for other in [&[0][..], &[0, 1], &[0, 0, 0x80], &[0x80]] {
            assert_eq!(read(other), None);
        }
    }

    #[test]
    fn a_length_beyond_the_end_reads_nothing() {
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 1]).string(), None);
        assert_eq!(Reader::new(&[0, 0, 0]).u32(), None);
        assert_eq!(Reader::new(&[1]).end(()), None);
    }
}
