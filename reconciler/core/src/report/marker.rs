//! Which of our texts stands under a marker.
//!
//! ```text
//! <!-- muster proposal/1/6f1c02b1d4a4f0c9b7e5a3d2c1b0a990/1 -->
//! ```
//!
//! What it is, the version of the format, the state repository, the page. It is the whole first line. Nothing that
//! anybody else wrote ever begins a text of ours, so none of ours carries a marker that was not put above it. Anybody can
//! post a marker of their own: who wrote a text is the forge's to say, and asked first (threats C9).

use crate::forge::Marker;
use crate::release::RepoId;

/// The version of the format that this program writes.
const FORMAT: u32 = 1;

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
pub struct Mark {
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
    Marked(Mark),
    /// It claims to be of a later version of this program: leave it alone, and do not post beside it.
    Newer(u32),
    /// It does not.
    No,
}

/// The marker to put above a page.
pub fn marker(is: &Mark) -> Marker {
    let Mark { sticky, repo, page } = is;
    let name = format!("{}/{FORMAT}/{repo}/{page}", sticky.word());
    name.parse().expect("a word and digits can mark a text")
}

/// Reads the marker above a text. Only the exact spelling that [`marker`] makes counts.
pub fn recognise(text: &str) -> Recognised {
    let line = text.lines().next().unwrap_or_default();
    let name = line
        .strip_prefix("<!-- muster ")
        .and_then(|it| it.strip_suffix(" -->"));
    let mut parts = name.unwrap_or_default().splitn(3, '/');
    let word = parts.next().unwrap_or_default();
    let Some(sticky) = Sticky::ALL.into_iter().find(|it| it.word() == word) else {
        return Recognised::No;
    };
    match parts.next().and_then(number) {
        None => return Recognised::No,
        Some(format) if format > FORMAT => return Recognised::Newer(format),
        Some(_) => {}
    }
    let read = parts
        .next()
        .and_then(|it| it.split_once('/'))
        .and_then(|(repo, page)| Some((repo.parse::<RepoId>().ok()?, number(page)?)))
        .map(|(repo, page)| Mark { sticky, repo, page });
    match read {
        Some(read) if marker(&read).is_above(line) => Recognised::Marked(read),
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

    fn proposal() -> Mark {
        Mark {
            sticky: Sticky::Proposal,
            repo: RepoId([0x6f; 16]),
            page: 1,
        }
    }

    #[test]
    fn a_marker_reads_back_as_itself() {
        for sticky in Sticky::ALL {
            for page in [1, 2, u32::MAX] {
                let is = Mark {
                    sticky,
                    page,
                    ..proposal()
                };
                let text = marker(&is).above("**Nothing to change**.\n");
                assert_eq!(recognise(&text), Recognised::Marked(is));
                let returned = text.replace('\n', "\r\n");
                assert_eq!(recognise(&returned), Recognised::Marked(is));
            }
        }
        assert_eq!(
            marker(&proposal()).line(),
            format!("<!-- muster proposal/1/{}/1 -->", "6f".repeat(16))
        );
    }

    #[test]
    fn only_the_first_line_in_its_one_spelling_counts() {
        let line = marker(&proposal()).line();
        for text in [
            String::new(),
            format!("\n{line}"),
            format!("> {line}"),
            format!("{line} and more"),
            format!("`{line}`"),
            line.replace("/1 ", "/0 "),
            line.replace("/1 ", "/01 "),
            line.replace("/1 ", "/+1 "),
            line.replace("/1 ", "/99999999999 "),
            line.replace("/1 ", " "),
            line.replace("/1 ", "/1/1 "),
            line.replace("6f6f", "6F6f"),
            line.replace("proposal/1", "proposal/0"),
            line.replace("proposal/1", "proposal"),
            line.replace("proposal/1", "comment/1"),
            line.replace("muster", "Muster"),
        ] {
            assert_eq!(recognise(&text), Recognised::No, "{text}");
        }
    }

    #[test]
    fn a_marker_from_the_future_is_neither_ours_nor_nobodys() {
        let later = "<!-- muster proposal/2/whatever -->\n";
        assert_eq!(recognise(later), Recognised::Newer(2));
    }
}
