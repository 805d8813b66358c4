//! The hidden line by which a text of ours is found again on a forge.
//!
//! ```text
//! <!-- muster:proposal/1 repo=6f1c02b1d4a4f0c9b7e5a3d2c1b0a990 page=1 -->
//! ```
//!
//! It is the whole first line. Nothing that anybody else wrote ever begins a text of ours, so none of ours carries a
//! marker that [`marked`] did not put there. Anybody can post a marker of their own: who wrote a text is the forge's to
//! say, and asked first (threats C9).

use crate::release::RepoId;

/// The version of the format that this program writes.
const FORMAT: u32 = 1;

/// Bytes that a marker takes of a forge's limit.
pub const MARKER_ROOM: usize = 128;

/// Which text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sticky {
    /// The comment on a proposal, and the record it becomes.
    Proposal,
    /// The issue about drift.
    Drift,
}

impl Sticky {
    const ALL: [Self; 2] = [Self::Proposal, Self::Drift];

    fn word(self) -> &'static str {
        match self {
            Self::Proposal => "proposal",
            Self::Drift => "drift",
        }
    }
}

/// What a marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Which text it is.
    pub sticky: Sticky,
    /// Of which state repository.
    pub repo: RepoId,
    /// Which page of it, from 1.
    pub page: u32,
}

/// What the first line of a text says about whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// It claims to be ours.
    Marked(Marker),
    /// It claims to be of a later version of this program: leave it alone, and do not post beside it.
    Newer(u32),
    /// It does not.
    No,
}

/// The line itself, without its end.
pub fn marker(marker: &Marker) -> String {
    let Marker { sticky, repo, page } = marker;
    format!(
        "<!-- muster:{}/{FORMAT} repo={repo} page={page} -->",
        sticky.word()
    )
}

/// A page as it is posted: with its marker on top.
pub fn marked(is: &Marker, page: &str) -> String {
    format!("{}\n{page}", marker(is))
}

/// Reads the marker of a text. Only the exact spelling that [`marker`] writes counts.
pub fn recognise(text: &str) -> Recognised {
    let line = text.lines().next().unwrap_or_default();
    let body = line
        .strip_prefix("<!-- muster:")
        .and_then(|it| it.strip_suffix(" -->"));
    let Some((name, fields)) = body.and_then(|it| it.split_once(' ')) else {
        return Recognised::No;
    };
    let Some((word, format)) = name.split_once('/') else {
        return Recognised::No;
    };
    let (Some(sticky), Some(format)) = (
        Sticky::ALL.into_iter().find(|it| it.word() == word),
        number(format),
    ) else {
        return Recognised::No;
    };
    if format > FORMAT {
        return Recognised::Newer(format);
    }
    let fields = fields
        .strip_prefix("repo=")
        .and_then(|it| it.split_once(" page="));
    let read = fields
        .and_then(|(repo, page)| Some((repo.parse::<RepoId>().ok()?, number(page)?)))
        .map(|(repo, page)| Marker { sticky, repo, page });
    match read {
        Some(read) if marker(&read) == line => Recognised::Marked(read),
        _ => Recognised::No,
    }
}

/// A number from 1 as it is written, in one way only.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|it| it.is_ascii_digit()) && !text.starts_with('0');
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal() -> Marker {
        Marker {
            sticky: Sticky::Proposal,
            repo: RepoId([0x6f; 16]),
            page: 1,
        }
    }

    #[test]
    fn a_marker_reads_back_as_itself_and_fits_its_room() {
        for sticky in Sticky::ALL {
            for page in [1, 2, u32::MAX] {
                let is = Marker {
                    sticky,
                    page,
                    ..proposal()
                };
                let text = marked(&is, "**Nothing to change**.\n");
                assert_eq!(recognise(&text), Recognised::Marked(is));
                let returned = text.replace('\n', "\r\n");
                assert_eq!(
                    recognise(&returned),
                    Recognised::Marked(is),
                    "as a browser sends it"
                );
                assert!(marker(&is).len() < MARKER_ROOM);
            }
        }
        assert_eq!(
            marker(&proposal()),
            format!("<!-- muster:proposal/1 repo={} page=1 -->", "6f".repeat(16))
        );
    }

    #[test]
    fn only_the_first_line_in_its_one_spelling_counts() {
        let line = marker(&proposal());
        for text in [
            String::new(),
            format!("\n{line}"),
            format!("> {line}"),
            format!("{line} and more"),
            format!("`{line}`"),
            line.replace("page=1", "page=0"),
            line.replace("page=1", "page=01"),
            line.replace("page=1", "page=+1"),
            line.replace("page=1", "page=99999999999"),
            line.replace("6f6f", "6F6f"),
            line.replace("proposal/1", "proposal/0"),
            line.replace("proposal/1", "proposal"),
            line.replace("proposal/1", "comment/1"),
            line.replace("muster", "Muster"),
            line.replace(" page=1", ""),
            line.replace(" page=1", " page=1 page=1"),
        ] {
            assert_eq!(recognise(&text), Recognised::No, "{text}");
        }
    }

    #[test]
    fn a_marker_from_the_future_is_neither_ours_nor_nobodys() {
        let later = "<!-- muster:proposal/2 repo=whatever it=has -->\n";
        assert_eq!(recognise(later), Recognised::Newer(2));
    }
}
