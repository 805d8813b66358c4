//! Makes text that is not ours harmless before it stands in ours.
//!
//! Everything that a repository, a host or a person wrote passes through one of these functions. Whatever they are
//! given, what comes out is one line that opens no heading, list, fence, link, image, HTML or mention, and hides no
//! character (threats C7; invariant 8).

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::executor::Executor;

/// Characters of a value, a name or a place that are shown; the rest is counted. The words of a step are never cut.
const VALUE: usize = 60;

/// Characters of a sentence that are shown; the rest is counted.
const SENTENCE: usize = 400;

/// A text in which every character shows, as [`visible`] writes it: nearly always the text itself.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if is_visible(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    visible(&mut out, text);
    Cow::Owned(out)
}

/// Whether a text is printable ASCII.
fn is_visible(text: &str) -> bool {
    /// So many bytes are looked at in a few instructions, and none is asked about alone.
    const AT_ONCE: usize = 32;
    let mut pieces = text.as_bytes().chunks(AT_ONCE);
    pieces.all(|piece| {
        piece
            .iter()
            .fold(true, |all, b| all & matches!(b, b' '..=b'~'))
    })
}

/// Shows every character: what is not printable ASCII becomes `\u{…}`. Our own dash and ellipsis stay.
pub(crate) fn visible(out: &mut String, text: &str) {
    // Nearly every text is printable ASCII, and goes over in one piece.
    if is_visible(text) {
        out.push_str(text);
        return;
    }
    for c in text.chars() {
        if matches!(c, ' '..='~' | '…' | '—') {
            out.push(c);
        } else {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    }
}

/// The text up to `most` characters, and how many were left out.
fn cut(text: &str, most: usize) -> (&str, usize) {
    match text.char_indices().nth(most) {
        Some((end, _)) => (&text[..end], text[end..].chars().count()),
        None => (text, 0),
    }
}

fn left_out(out: &mut String, left: usize) {
    if left > 0 {
        let _ = write!(out, " … ({left} more characters)");
    }
}

/// A code span around `text`, whole. Its fence is longer than any run of backticks inside.
pub(crate) fn code(out: &mut String, text: &str) {
    // Two spans side by side would read as one fence.
    if out.ends_with('`') {
        out.push(' ');
    }
    let plain = |b: u8| matches!(b, b' '..=b'~') && b != b'`';
    let padded = text.starts_with([' ', '`']) || text.ends_with([' ', '`']);
    if !text.is_empty() && !padded && text.bytes().all(plain) {
        out.push('`');
        out.push_str(text);
        out.push('`');
        return;
    }
    if text.is_empty() {
        out.push_str("`\"\"`");
        return;
    }
    let fence = "`".repeat(1 + longest_run(text));
    out.push_str(&fence);
    // Of a span that begins and ends with a space, the reader's renderer takes one off at each end.
    if padded {
        out.push(' ');
    }
    visible(out, text);
    if padded {
        out.push(' ');
    }
    out.push_str(&fence);
}

fn longest_run(text: &str) -> usize {
    let (mut longest, mut run) = (0, 0);
    for b in text.bytes() {
        run = if b == b'`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

/// Markdown as a cell of a table has it: there a pipe ends the cell, in a code span too, unless a backslash stands before it.
pub(crate) fn in_cell(markdown: &str) -> String {
    markdown.replace('|', "\\|")
}

/// A code span around a value that may be long.
pub(crate) fn value(out: &mut String, text: &str) {
    let (shown, left) = cut(text, VALUE);
    code(out, shown);
    left_out(out, left);
}

/// A code span around an executor, whole as long as it is a name that a host can have.
pub(crate) fn executor(out: &mut String, executor: &Executor) {
    /// `host/` and the longest DNS name.
    const NAME: usize = 260;
    let text = executor.to_string();
    let (shown, left) = cut(&text, NAME);
    code(out, shown);
    left_out(out, left);
}

/// A person's name in bold.
pub(crate) fn name(out: &mut String, text: &str) {
    let (shown, left) = cut(text, VALUE);
    out.push_str("**");
    if is_plain_name(shown) {
        out.push_str(shown);
    } else {
        code(out, shown);
    }
    out.push_str("**");
    left_out(out, left);
}

fn is_plain_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && !is_like_a_commit(text)
}

/// Forges make links of words that could be abbreviated commits.
fn is_like_a_commit(word: &str) -> bool {
    word.len() >= 7 && word.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A sentence that may quote anything: ordinary words stay, every other word becomes a code span. What stands between
/// backticks was meant as code and stays together.
pub(crate) fn prose(out: &mut String, text: &str) {
    let (shown, left) = cut(text, SENTENCE);
    let mut pieces = shown.split('`');
    if let Some(first) = pieces.next() {
        words(out, first);
    }
    while let Some(quoted) = pieces.next() {
        match pieces.next() {
            Some(after) => {
                code(out, quoted);
                words(out, after);
            }
            None => {
                code(out, "`");
                words(out, quoted);
            }
        }
    }
    left_out(out, left);
}

/// A list in brackets stays together, as one code span.
fn words(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some((before, list)) = rest.split_once('[')
        && let Some((list, after)) = list.split_once(']')
    {
        each_word(out, before);
        code(out, &format!("[{list}]"));
        rest = after;
    }
    each_word(out, rest);
}

fn each_word(out: &mut String, text: &str) {
    for (i, word) in text.split(' ').enumerate() {
        if i > 0 && !out.ends_with(' ') {
            out.push(' ');
        }
        let start = word.trim_start_matches(['(', '"', '\'']);
        let core = start.trim_end_matches([')', '"', '\'', ',', '.', ';', ':', '!', '?']);
        if core.is_empty() || is_plain_word(core) {
            out.push_str(word);
        } else {
            out.push_str(&word[..word.len() - start.len()]);
            code(out, core);
            out.push_str(&start[core.len()..]);
        }
    }
}

/// Whether a word means nothing to Markdown or to a forge: letters and digits, with single marks inside. A number of
/// seven digits or seven hex digits would become a link to a commit, and `GH-7` one to an issue.
fn is_plain_word(word: &str) -> bool {
    let number = word.len() <= 6 && word.bytes().all(|b| b.is_ascii_digit());
    let plain = word
        .split(['-', '\'', '_'])
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    let begins = word.starts_with(|c: char| c.is_ascii_alphabetic());
    let lower = word.to_ascii_lowercase();
    let linked = is_like_a_commit(word) || lower.starts_with("www") || lower.starts_with("gh-");
    word == "%" || number || (plain && begins && !linked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(f: fn(&mut String, &str), text: &str) -> String {
        let mut out = String::new();
        f(&mut out, text);
        out
    }

    #[test]
    fn a_span_is_fenced_by_more_backticks_than_it_holds() {
        assert_eq!(through(code, "a b"), "`a b`");
        assert_eq!(through(code, "a`b"), "``a`b``");
        assert_eq!(through(code, "``"), "``` `` ```");
        assert_eq!(through(code, ""), "`\"\"`");
        assert_eq!(through(code, " x"), "`  x `");
    }

    #[test]
    fn what_hides_is_shown() {
        assert_eq!(
            through(code, "a\u{202e}b\nc\u{430}"),
            "`a\\u{202e}b\\u{a}c\\u{430}`"
        );
    }

    #[test]
    fn a_name_is_bold_and_never_a_link() {
        assert_eq!(through(name, "emo"), "**emo**");
        assert_eq!(through(name, "deadbeef"), "**`deadbeef`**");
        assert_eq!(through(name, "@emo"), "**`@emo`**");
        assert_eq!(through(name, "a_b"), "**`a_b`**");
    }

    #[test]
    fn a_sentence_keeps_its_words_and_quotes_the_rest() {
        assert_eq!(
            through(
                prose,
                "add `adopt: {uid: 7}` to the row; ask @emo, see https://x.example/#1 (25 %)"
            ),
            "add `adopt: {uid: 7}` to the row; ask `@emo`, see `https://x.example/#1` (25 %)"
        );
        assert_eq!(
            through(prose, "one ` left, deadbeef"),
            "one `` ` `` left, `deadbeef`"
        );
        assert_eq!(through(prose, "`a``b`@c"), "`a` `b` `@c`");
    }

    #[test]
    fn a_long_sentence_says_how_much_it_leaves_out() {
        assert!(through(prose, &"ab ".repeat(1_000)).ends_with("… (2600 more characters)"));
    }
}
