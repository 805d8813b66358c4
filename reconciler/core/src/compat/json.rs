//! JSON as Python's `json` reads and writes it, to the byte: what `loads` accepts, and what `dumps(ensure_ascii=False, indent=2,
//! sort_keys=True)` makes of it.
//!
//! Python's text is a row of code points and may hold half a surrogate pair, so [`Text`] is UTF-8 in which those are written as
//! if they were characters (WTF-8). In that form the order of bytes is the order of code points, which is Python's.

use std::borrow::Cow;

use super::unprintable::is_unprintable;
use number::float;

mod number;

/// How deep arrays and objects may lie in one another: CPython gives up beyond, with its default limit of recursion.
const DEPTH: usize = 993;
/// How many digits a whole number may have: CPython's default limit.
const DIGITS: usize = 4_300;

/// Text as Python has it.
pub type Text<'a> = Cow<'a, [u8]>;

/// A value.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number, by its digits: it may be larger than any machine's.
    Int(&'a str),
    /// Any other number, `NaN` and the infinities among them.
    Float(f64),
    /// Text.
    Text(Text<'a>),
    /// An array.
    List(Vec<Value<'a>>),
    /// An object. Keys stand where they came first, with the value that came last.
    Map(Vec<Entry<'a>>),
}

/// One key of an object, and its value.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The key.
    pub key: Text<'a>,
    /// The value that came last.
    pub value: Value<'a>,
    /// Where that value begins, in bytes.
    pub at: usize,
    /// Where an earlier value of the same key begins, which does not count.
    pub repeats: Option<usize>,
}

/// Why Python would not read it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct JsonError {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// In bytes, from 0.
    pub at: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

/// Reads a document. It must be UTF-8 without a byte order mark.
///
/// # Errors
/// With the first place that Python would stop at.
pub fn parse(bytes: &[u8]) -> Result<Value<'_>, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        error_at(
            bytes,
            error.valid_up_to(),
            "this is no UTF-8; save the file as UTF-8",
        )
    })?;
    let mut reader = Reader {
        text,
        at: 0,
        keys: 0,
    };
    reader
        .document()
        .map_err(|(at, problem)| error_at(bytes, at, problem))
}

fn error_at(bytes: &[u8], at: usize, problem: &'static str) -> JsonError {
    let before = &bytes[..at.min(bytes.len())];
    let start = before
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |it| it + 1);
    JsonError {
        line: 1 + before.iter().filter(|&&b| b == b'\n').count(),
        column: 1 + String::from_utf8_lossy(&before[start..]).chars().count(),
        at: before.len(),
        problem,
    }
}

impl<'a> Value<'a> {
    /// Whether Python takes it for true.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Null => false,
            Value::Bool(it) => *it,
            Value::Int(digits) => *digits != "0",
            Value::Float(it) => *it != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Map(entries) => !entries.is_empty(),
        }
    }

    /// What an object has under a key; `None` when it is no object, or has no such key.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        let Value::Map(entries) = self else {
            return None;
        };
        let found = entries.iter().find(|it| *it.key == *key.as_bytes());
        found.map(|it| &it.value)
    }

    /// Whether half a surrogate pair stands in a text of it. A document is UTF-8, so that an escape alone brings one in.
    pub fn has_half_a_pair(&self) -> bool {
        let is_half = |text: &Text<'_>| match text {
            Cow::Borrowed(_) => false,
            Cow::Owned(text) => lone_surrogate(text).is_some(),
        };
        match self {
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => false,
            Value::Text(text) => is_half(text),
            Value::List(items) => items.iter().any(Value::has_half_a_pair),
            Value::Map(entries) => {
                let mut each = entries.iter();
                each.any(|it| is_half(&it.key) || it.value.has_half_a_pair())
            }
        }
    }

    /// What Python calls the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "an object",
        }
    }

    /// Appends what Python's `str` makes of it.
    pub fn write_str(&self, out: &mut Vec<u8>) {
        match self {
            Value::Text(text) => out.extend_from_slice(text),
            other => other.write_repr(out),
        }
    }

    fn write_repr(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.extend_from_slice(b"None"),
            Value::Bool(true) => out.extend_from_slice(b"True"),
            Value::Bool(false) => out.extend_from_slice(b"False"),
            Value::Int(digits) => out.extend_from_slice(digits.as_bytes()),
            Value::Float(it) if it.is_nan() => out.extend_from_slice(b"nan"),
            Value::Float(it) if it.is_infinite() => {
                out.extend_from_slice(if *it > 0.0 { b"inf" } else { b"-inf" });
            }
            Value::Float(it) => out.extend_from_slice(float(*it).as_bytes()),
            Value::Text(text) => write_text_repr(text, out),
            Value::List(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.extend_from_slice(b", ");
                    }
                    item.write_repr(out);
                }
                out.push(b']');
            }
            Value::Map(entries) => {
                out.push(b'{');
                for (index, entry) in entries.iter().enumerate() {
                    if index > 0 {
                        out.extend_from_slice(b", ");
                    }
                    write_text_repr(&entry.key, out);
                    out.extend_from_slice(b": ");
                    entry.value.write_repr(out);
                }
                out.push(b'}');
            }
        }
    }

    /// Appends it as JSON; `indent` is how far in its own line begins.
    pub fn write_json(&self, indent: usize, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            Value::Int(digits) => out.extend_from_slice(digits.as_bytes()),
            Value::Float(it) if it.is_nan() => out.extend_from_slice(b"NaN"),
            Value::Float(it) if it.is_infinite() => {
                out.extend_from_slice(if *it > 0.0 { b"Infinity" } else { b"-Infinity" });
            }
            Value::Float(it) => out.extend_from_slice(float(*it).as_bytes()),
            Value::Text(text) => write_text(text, out),
            Value::List(items) => {
                let items = items.iter();
                write_list(indent, out, items, |item, indent, out| {
                    item.write_json(indent, out)
                });
            }
            Value::Map(entries) if entries.is_empty() => out.extend_from_slice(b"{}"),
            Value::Map(entries) => {
                let mut sorted: Vec<&Entry<'_>> = entries.iter().collect();
                sorted.sort_by(|a, b| a.key.cmp(&b.key));
                out.push(b'{');
                for (index, entry) in sorted.into_iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    new_line(indent + 2, out);
                    write_text(&entry.key, out);
                    out.extend_from_slice(b": ");
                    entry.value.write_json(indent + 2, out);
                }
                new_line(indent, out);
                out.push(b'}');
            }
        }
    }
}

/// Appends an array of whatever `each` writes.
pub fn write_list<T>(
    indent: usize,
    out: &mut Vec<u8>,
    items: impl ExactSizeIterator<Item = T>,
    mut each: impl FnMut(T, usize, &mut Vec<u8>),
) {
    if items.len() == 0 {
        out.extend_from_slice(b"[]");
        return;
    }
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        new_line(indent + 2, out);
        each(item, indent + 2, out);
    }
    new_line(indent, out);
    out.push(b']');
}

/// Begins a line that is `indent` spaces in.
pub fn new_line(indent: usize, out: &mut Vec<u8>) {
    out.push(b'\n');
    out.resize(out.len() + indent, b' ');
}

/// Appends `text` as a JSON string: quotes, backslashes and control characters are escaped, and nothing else.
pub fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    // Runs that need no escape are written as one.
    while let Some(at) = rest
        .iter()
        .position(|&b| b < 0x20 || b == b'"' || b == b'\\')
    {
        out.extend_from_slice(&rest[..at]);
        let byte = rest[at];
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            byte => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// The code points of a text: each with its bytes.
pub fn code_points(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.chunk_by(|_, next| next & 0xc0 == 0x80)
}

/// Where half a surrogate pair stands, if there is one: such text can be written in no encoding.
pub fn lone_surrogate(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr(0xed, &text[from..])?;
        if text.get(at + 1).is_some_and(|&b| b >= 0xa0) {
            return Some(at);
        }
        from = at + 1;
    }
}

fn write_text_repr(text: &[u8], out: &mut Vec<u8>) {
    let quote = if text.contains(&b'\'') && !text.contains(&b'"') {
        b'"'
    } else {
        b'\''
    };
    out.push(quote);
    for bytes in code_points(text) {
        let code = code_of(bytes);
        match code {
            0x5c => out.extend_from_slice(b"\\\\"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0d => out.extend_from_slice(b"\\r"),
            0x09 => out.extend_from_slice(b"\\t"),
            _ if bytes == [quote] => out.extend_from_slice(&[b'\\', quote]),
            0x20..=0x7e => out.extend_from_slice(bytes),
            0x80.. if !is_unprintable(code) => out.extend_from_slice(bytes),
            0..=0xff => out.extend_from_slice(format!("\\x{code:02x}").as_bytes()),
            0x100..=0xffff => out.extend_from_slice(format!("\\u{code:04x}").as_bytes()),
            _ => out.extend_from_slice(format!("\\U{code:08x}").as_bytes()),
        }
    }
    out.push(quote);
}

fn code_of(bytes: &[u8]) -> u32 {
    let lead = match bytes.len() {
        1 => 0x7f,
        2 => 0x1f,
        3 => 0x0f,
        _ => 0x07,
    };
    let first = bytes.first().map_or(0, |b| u32::from(*b) & lead);
    bytes
        .iter()
        .skip(1)
        .fold(first, |code, b| code << 6 | u32::from(b & 0x3f))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// How many keys the last object had: the next one of a list has as many.
    keys: usize,
}

/// For so many keys room is made at once at most.
const ROOM: usize = 32;

type Wrong = (usize, &'static str);

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Value<'a>, Wrong> {
        self.space();
        let value = self.value(0)?;
        self.space();
        match self.peek() {
            None => Ok(value),
            Some(_) => Err((self.at, "something follows after the end of the document")),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, word: &str) -> bool {
        let has = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        if has {
            self.at += word.len();
        }
        has
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, Wrong> {
        match self.peek() {
            Some(b'{' | b'[') if depth == DEPTH => {
                Err((self.at, "arrays and objects lie too deep in one another"))
            }
            Some(b'{') => self.map(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Value::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.take("null") => Ok(Value::Null),
            _ if self.take("true") => Ok(Value::Bool(true)),
            _ if self.take("false") => Ok(Value::Bool(false)),
            _ if self.take("NaN") => Ok(Value::Float(f64::NAN)),
            _ if self.take("Infinity") => Ok(Value::Float(f64::INFINITY)),
            _ => Err((self.at, "a value is expected")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value<'a>, Wrong> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.take("]") {
            return Ok(Value::List(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            if self.take("]") {
                return Ok(Value::List(items));
            }
            if !self.take(",") {
                return Err((self.at, "a comma or the end of the array is expected"));
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value<'a>, Wrong> {
        self.at += 1;
        let mut entries: Vec<Entry<'a>> = Vec::new();
        // Where each key stands, once there are too many to look through.
        let mut places = std::collections::BTreeMap::new();
        self.space();
        if self.take("}") {
            return Ok(Value::Map(entries));
        }
        entries.reserve_exact(self.keys.min(ROOM));
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err((self.at, "a key in double quotes is expected"));
            }
            let key = self.string()?;
            self.space();
            if !self.take(":") {
                return Err((self.at, "a colon is expected"));
            }
            self.space();
            let at = self.at;
            let value = self.value(depth + 1)?;
            let known = if entries.len() < MANY {
                entries.iter().position(|it| it.key == key)
            } else {
                if places.is_empty() {
                    let all = entries.iter().enumerate();
                    places.extend(all.map(|(place, it)| (it.key.clone(), place)));
                }
                let known = places.get(&key).copied();
                if known.is_none() {
                    places.insert(key.clone(), entries.len());
                }
                known
            };
            match known {
                Some(place) => {
                    let entry = &mut entries[place];
                    entry.repeats = Some(entry.at);
                    entry.value = value;
                    entry.at = at;
                }
                None => entries.push(Entry {
                    key,
                    value,
                    at,
                    repeats: None,
                }),
            }
            self.space();
            if self.take("}") {
                self.keys = entries.len();
                return Ok(Value::Map(entries));
            }
            if !self.take(",") {
                return Err((self.at, "a comma or the end of the object is expected"));
            }
        }
    }

    fn number(&mut self) -> Result<Value<'a>, Wrong> {
        let start = self.at;
        let negative = self.take("-");
        if negative && self.take("Infinity") {
            return Ok(Value::Float(f64::NEG_INFINITY));
        }
        let digits = |reader: &mut Self| {
            let from = reader.at;
            while let Some(b'0'..=b'9') = reader.peek() {
                reader.at += 1;
            }
            reader.at - from
        };
        let whole = if self.take("0") { 1 } else { digits(self) };
        if whole == 0 {
            return Err((start, "a value is expected"));
        }
        let mut end = self.at;
        // What follows counts only when it is whole: of `1.` Python reads the 1, and stops at the point.
        if self.take(".") && digits(self) > 0 {
            end = self.at;
        }
        self.at = end;
        if self.take("e") || self.take("E") {
            let _ = self.take("+") || self.take("-");
            if digits(self) > 0 {
                end = self.at;
            }
        }
        self.at = end;
        let text = &self.text[start..end];
        let is_whole = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        if !is_whole {
            let value = text.parse();
            return value
                .map(Value::Float)
                .map_err(|_| (start, "a value is expected"));
        }
        if whole > DIGITS {
            return Err((start, "a whole number has more than 4300 digits"));
        }
        Ok(Value::Int(if text == "-0" { "0" } else { text }))
    }

    fn string(&mut self) -> Result<Text<'a>, Wrong> {
        let (start, bytes) = (self.at, self.text.as_bytes());
        self.at += 1;
        let mut from = self.at;
        // Most texts are as they stand there, up to the next quote.
        if let Some(length) = memchr::memchr(b'"', &bytes[from..]) {
            let whole = &bytes[from..from + length];
            let is_odd = |odd: bool, b: &u8| odd | (*b < 0x20) | (*b == b'\\');
            if !whole.iter().fold(false, is_odd) {
                self.at = from + length + 1;
                return Ok(Cow::Borrowed(whole));
            }
        }
        let mut unescaped: Option<Vec<u8>> = None;
        loop {
            let rest = &bytes[self.at..];
            let Some(run) = rest
                .iter()
                .position(|&b| b < 0x20 || b == b'"' || b == b'\\')
            else {
                return Err((start, "the text has no end"));
            };
            self.at += run;
            match bytes[self.at] {
                b'"' => {
                    let last = &bytes[from..self.at];
                    self.at += 1;
                    return Ok(match unescaped {
                        None => Cow::Borrowed(last),
                        Some(mut text) => {
                            text.extend_from_slice(last);
                            Cow::Owned(text)
                        }
                    });
                }
                b'\\' => {
                    let text = unescaped.get_or_insert_default();
                    text.extend_from_slice(&bytes[from..self.at]);
                    self.escape(start)?;
                    let code = self.escaped(start)?;
                    if let Some(text) = &mut unescaped {
                        push_code(code, text);
                    }
                    from = self.at;
                }
                _ => {
                    return Err((
                        self.at,
                        "text holds a control character; write it as \\u00XX",
                    ));
                }
            }
        }
    }

    /// Passes over the backslash.
    fn escape(&mut self, start: usize) -> Result<(), Wrong> {
        self.at += 1;
        match self.peek() {
            Some(_) => Ok(()),
            None => Err((start, "the text has no end")),
        }
    }

    /// What stands behind a backslash.
    fn escaped(&mut self, start: usize) -> Result<u32, Wrong> {
        let at = self.at;
        let code = match self.peek() {
            Some(b'"') => 0x22,
            Some(b'\\') => 0x5c,
            Some(b'/') => 0x2f,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => 0x0a,
            Some(b'r') => 0x0d,
            Some(b't') => 0x09,
            Some(b'u') => {
                self.at += 1;
                let high = self.hex4()?;
                if !(0xd800..0xdc00).contains(&high) {
                    return Ok(high);
                }
                let here = self.at;
                if self.take("\\u") {
                    match self.hex4()? {
                        low @ 0xdc00..0xe000 => {
                            return Ok(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00));
                        }
                        _ => self.at = here,
                    }
                }
                return Ok(high);
            }
            Some(_) => return Err((at, "there is no such escape in text")),
            None => return Err((start, "the text has no end")),
        };
        self.at += 1;
        Ok(code)
    }

    fn hex4(&mut self) -> Result<u32, Wrong> {
        let problem = "four hexadecimal digits are expected";
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.ok_or((self.at, problem))?;
        let mut code = 0;
        for digit in digits {
            let digit = char::from(*digit).to_digit(16);
            code = code << 4 | digit.ok_or((self.at, problem))?;
        }
        self.at += 4;
        Ok(code)
    }
}

/// From how many keys on an object has an index while it is read.
const MANY: usize = 32;

/// Appends a code point, half a surrogate pair as if it were a character.
fn push_code(code: u32, text: &mut Vec<u8>) {
    match char::from_u32(code) {
        Some(c) => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => {
            let low = |shift: u32| u8::try_from(code >> shift & 0x3f).unwrap_or(0) | 0x80;
            text.extend_from_slice(&[0xed, low(6), low(0)]);
        }
    }
}

#[cfg(test)]
mod tests;
