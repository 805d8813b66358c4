//! Pages of a bounded size. A block is never cut: what does not fit goes to the next page, under the same headings.

use std::fmt::Write as _;

/// The smallest limit: one step, with whatever stands above it, always fits.
pub(super) const MIN_LIMIT: usize = 16_384;

/// Room for `page N of M`.
const NUMBERING: usize = 64;

/// A piece of Markdown that stands or moves as a whole.
pub(super) struct Block {
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// What a block is to those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A heading that holds until the next of its kind, and is repeated on a new page.
    Host,
    /// A heading below that.
    Section,
    /// Content.
    Body,
}

impl Block {
    pub(super) fn host(text: String) -> Self {
        Self {
            kind: Kind::Host,
            text,
        }
    }
    pub(super) fn section(text: String) -> Self {
        Self {
            kind: Kind::Section,
            text,
        }
    }
    pub(super) fn body(text: String) -> Self {
        Self {
            kind: Kind::Body,
            text,
        }
    }
}

/// How long the blocks are on one page.
pub(super) fn length(blocks: &[Block]) -> usize {
    blocks.iter().map(|it| it.text.len()).sum()
}

/// Lays blocks out on pages of at most `limit` bytes, so at most as many characters; each begins with `head`.
pub(super) fn pages(head: &str, blocks: &[Block], limit: usize) -> Vec<String> {
    if head.len() + length(blocks) <= limit {
        let mut page = head.to_owned();
        page.extend(blocks.iter().map(|it| it.text.as_str()));
        return vec![page];
    }
    let room = limit.saturating_sub(head.len() + NUMBERING);
    let mut bodies: Vec<String> = Vec::new();
    let mut body = String::new();
    // The headings that hold now, and those of them that wait for their first content: none ends a page.
    let mut holding: [Option<&str>; 2] = [None; 2];
    let mut waiting: [Option<&str>; 2] = [None; 2];
    for Block { kind, text } in blocks {
        match kind {
            Kind::Host => {
                holding = [Some(text), None];
                waiting = holding;
            }
            Kind::Section => {
                holding[1] = Some(text);
                waiting[1] = Some(text);
            }
            Kind::Body => {
                let above: usize = waiting.iter().flatten().map(|it| it.len()).sum();
                if !body.is_empty() && body.len() + above + text.len() > room {
                    bodies.push(std::mem::take(&mut body));
                    waiting = holding;
                }
                body.extend(waiting.iter_mut().filter_map(Option::take));
                body.push_str(text);
            }
        }
    }
    bodies.push(body);
    let of = bodies.len();
    let numbered = bodies.into_iter().enumerate().map(|(i, body)| {
        let mut page = head.to_owned();
        let _ = write!(page, "\nPage {} of {of}.\n", i + 1);
        page.push_str(&body);
        page
    });
    numbered.collect()
}

/// One page: as many of `items` as fit between `head` and `foot`, and a line that counts the others.
pub(super) fn one_page(
    head: &str,
    items: &[String],
    rest: impl Fn(usize) -> String,
    foot: &str,
    limit: usize,
) -> String {
    let whole: usize = items.iter().map(String::len).sum();
    let room = limit.saturating_sub(head.len() + foot.len());
    let mut page = head.to_owned();
    if whole <= room {
        page.extend(items.iter().map(String::as_str));
    } else {
        let room = room.saturating_sub(rest(items.len()).len());
        let mut used = 0;
        let shown = items.iter().take_while(|it| {
            used += it.len();
            used <= room
        });
        let shown = shown.count();
        page.extend(items[..shown].iter().map(String::as_str));
        page.push_str(&rest(items.len() - shown));
    }
    page.push_str(foot);
    page
}
