//! A comment as people see it: Markdown made into a page as a forge does it, by a reader that shares nothing with what wrote it.
//!
//! Of HTML in it only what a forge lets through survives, and of that only what we write: `details`, `summary` and comments, which are
//! seen by nobody. Whatever else is found (other HTML, a mention, a reference to an issue, a link) is a finding, for none of it is
//! meant.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// What became of a comment.
#[derive(Debug, Default)]
pub struct Shown {
    /// The body of a page.
    pub html: String,
    /// What would be more than text.
    pub findings: Vec<String>,
    /// `details` that were not closed.
    open: usize,
    /// What stands above the columns of a table, while that is read.
    headings: Option<Vec<String>>,
}

/// Makes HTML of a comment.
pub fn show(markdown: &str) -> Shown {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_MATH
        | Options::ENABLE_GFM;
    let mut shown = Shown::default();
    let mut fenced = false;
    for event in Parser::new_ext(markdown, options) {
        match &event {
            Event::Start(Tag::CodeBlock(_)) => fenced = true,
            Event::End(TagEnd::CodeBlock) => fenced = false,
            _ => {}
        }
        shown.take(event, fenced);
    }
    if shown.open > 0 {
        shown.findings.push("details that do not end".to_owned());
    }
    shown
}

/// What stands above the columns of our own tables.
const HEADINGS: [&str; 10] = [
    "Host",
    "Hypervisor",
    "Cluster",
    "Executor",
    "Runs at once",
    "Waits",
    "Not by this change",
    "State",
    "Done",
    "Not done",
];

impl Shown {
    fn take(&mut self, event: Event<'_>, fenced: bool) {
        match event {
            Event::Start(Tag::TableHead) => {
                self.headings = Some(Vec::new());
                self.start(&Tag::TableHead);
            }
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => {
                self.headings
                    .iter_mut()
                    .for_each(|it| it.push(text.to_string()));
                if !fenced {
                    self.look_at(&text);
                }
                self.html.push_str(&escaped(&text));
            }
            Event::Code(text) => {
                let _ = write!(self.html, "<code>{}</code>", escaped(&text));
            }
            Event::Html(html) | Event::InlineHtml(html) => self.raw(&html),
            // So do forges in comments.
            Event::SoftBreak | Event::HardBreak => self.html.push_str("<br>\n"),
            Event::Rule => self.html.push_str("<hr>\n"),
            other @ (Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::FootnoteReference(_)
            | Event::TaskListMarker(_)) => self.findings.push(format!("{other:?}")),
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        let html = match tag {
            Tag::Paragraph => "<p>".to_owned(),
            Tag::Heading { level, .. } => format!("<{}>", heading(*level)),
            Tag::BlockQuote(_) => "<blockquote>".to_owned(),
            Tag::CodeBlock(CodeBlockKind::Fenced(language)) if !language.is_empty() => {
                format!("<pre class=\"{}\"><code>", escaped(language))
            }
            Tag::CodeBlock(_) => "<pre><code>".to_owned(),
            Tag::List(None) => "<ul>".to_owned(),
            Tag::List(Some(from)) => format!("<ol start=\"{from}\">"),
            Tag::Item => "<li>".to_owned(),
            Tag::Emphasis => "<em>".to_owned(),
            Tag::Strong => "<strong>".to_owned(),
            Tag::Table(_) => "<table>".to_owned(),
            Tag::TableHead => "<thead><tr>".to_owned(),
            Tag::TableRow => "<tr>".to_owned(),
            Tag::TableCell => "<td>".to_owned(),
            Tag::HtmlBlock => String::new(),
            other => {
                self.findings.push(format!("{other:?}"));
                String::new()
            }
        };
        self.html.push_str(&html);
    }

    fn end(&mut self, tag: TagEnd) {
        let html = match tag {
            TagEnd::Paragraph => "</p>\n".to_owned(),
            TagEnd::Heading(level) => format!("</{}>\n", heading(level)),
            TagEnd::BlockQuote(_) => "</blockquote>\n".to_owned(),
            TagEnd::CodeBlock => "</code></pre>\n".to_owned(),
            TagEnd::List(true) => "</ol>\n".to_owned(),
            TagEnd::List(false) => "</ul>\n".to_owned(),
            TagEnd::Item => "</li>\n".to_owned(),
            TagEnd::Emphasis => "</em>".to_owned(),
            TagEnd::Strong => "</strong>".to_owned(),
            TagEnd::Table => "</table>\n".to_owned(),
            TagEnd::TableHead => {
                let headings = self.headings.take().unwrap_or_default();
                let is_ours = |it: &String| HEADINGS.contains(&it.as_str());
                if !headings.iter().all(is_ours) {
                    self.findings
                        .push(format!("a table of somebody else's: {headings:?}"));
                }
                "</tr></thead>\n".to_owned()
            }
            TagEnd::TableRow => "</tr>\n".to_owned(),
            TagEnd::TableCell => "</td>".to_owned(),
            _ => String::new(),
        };
        self.html.push_str(&html);
    }

    /// What a forge would make more of than text.
    fn look_at(&mut self, text: &str) {
        let letter = |it: Option<char>| it.is_some_and(char::is_alphanumeric);
        for (at, c) in text.char_indices() {
            let next = text[at + c.len_utf8()..].chars().next();
            let before = text[..at].chars().next_back();
            let more = match c {
                '@' => letter(next) && !letter(before),
                '#' => next.is_some_and(|it| it.is_ascii_digit()) && !letter(before),
                ':' => text[at..].starts_with("://"),
                _ => false,
            };
            if more {
                self.findings.push(format!("more than text: {text}"));
            }
        }
    }

    /// HTML as it stands in the comment, tag by tag.
    fn raw(&mut self, html: &str) {
        let mut rest = html;
        while let Some(at) = rest.find('<') {
            self.html.push_str(&escaped(&rest[..at]));
            rest = &rest[at..];
            if let Some(after) = rest
                .strip_prefix("<!--")
                .and_then(|it| it.split_once("-->"))
            {
                rest = after.1;
                continue;
            }
            let end = rest.find('>').map_or(rest.len(), |it| it + 1);
            let (tag, after) = rest.split_at(end);
            match tag {
                "<details>" => self.open += 1,
                "</details>" => match self.open.checked_sub(1) {
                    Some(open) => self.open = open,
                    None => self
                        .findings
                        .push("details end that did not begin".to_owned()),
                },
                "<summary>" | "</summary>" => {}
                other => {
                    self.findings.push(format!("HTML: {other}"));
                    self.html.push_str(&escaped(other));
                    rest = after;
                    continue;
                }
            }
            self.html.push_str(tag);
            rest = after;
        }
        self.html.push_str(&escaped(rest));
    }
}

fn heading(level: HeadingLevel) -> &'static str {
    match level {
        HeadingLevel::H1 => "h1",
        HeadingLevel::H2 => "h2",
        HeadingLevel::H3 => "h3",
        HeadingLevel::H4 => "h4",
        HeadingLevel::H5 => "h5",
        HeadingLevel::H6 => "h6",
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

// ── a page, and its picture ──────────────────────────────────────────────────────────────────────────────────────────

/// What stands on a page beside the comment.
#[derive(Debug, Default)]
pub struct Around<'a> {
    /// What the page is about.
    pub title: &'a str,
    /// Lines about status and check, each with its colour: `success`, `failure` or `pending`.
    pub colours: Vec<(String, String)>,
}

/// A whole page, with a look of our own that is close to what a forge has.
pub fn page(around: &Around<'_>, comments: &[Shown]) -> String {
    let Around { title, colours } = around;
    let mut body = format!("<h1>{}</h1>\n", escaped(title));
    for Shown { html, .. } in comments {
        let _ = write!(
            body,
            "<div class=row><div class=face></div><div class=box><div class=head><b>muster</b> <span class=bot>bot</span> commented</div>\
             <div class=text>\n{html}</div></div></div>\n"
        );
    }
    if !colours.is_empty() {
        body.push_str("<div class=row><div class=face></div><div class=\"box checks\">\n");
        for (colour, line) in colours {
            let _ = writeln!(
                body,
                "<div class=\"check {}\"><i></i>{}</div>",
                escaped(colour),
                escaped(line)
            );
        }
        body.push_str("</div></div>\n");
    }
    format!(
        "<!doctype html>\n<meta charset=utf-8>\n<title>{}</title>\n<style>{STYLE}</style>\n{body}",
        escaped(title)
    )
}

const STYLE: &str = "
body { font: 14px/1.5 'Liberation Sans', 'DejaVu Sans', sans-serif; color: #1f2328; margin: 24px auto; width: 860px; background: #fff }
h1 { font-size: 22px; font-weight: 400; border-bottom: 1px solid #d1d9e0; padding-bottom: 10px }
.row { display: flex; gap: 14px; margin: 16px 0 }
.face { width: 40px; height: 40px; border-radius: 8px; background: #0969da; flex: none }
.box { border: 1px solid #d1d9e0; border-radius: 6px; flex: 1; min-width: 0 }
.head { background: #f6f8fa; border-bottom: 1px solid #d1d9e0; padding: 8px 16px; border-radius: 6px 6px 0 0; color: #59636e }
.head b { color: #1f2328 }
.bot { border: 1px solid #d1d9e0; border-radius: 2em; padding: 0 6px; font-size: 12px }
.text { padding: 16px }
.text > :first-child { margin-top: 0 }
.text > :last-child { margin-bottom: 0 }
.text h3 { font-size: 1.25em; margin: 24px 0 16px }
.text h4 { font-size: 1em; margin: 24px 0 16px }
.text p, .text ul, .text pre, .text details { margin: 0 0 16px }
.text ul { padding-left: 2em }
.text li > p { margin: 16px 0 0 }
.text li + li { margin-top: .25em }
.text li > ul { margin: 0 }
code { font: 85%/1.45 'DejaVu Sans Mono', monospace; background: #818b981f; border-radius: 6px; padding: .2em .4em; overflow-wrap: anywhere }
pre { background: #f6f8fa; border-radius: 6px; padding: 16px; overflow: auto }
pre code { background: none; padding: 0; overflow-wrap: normal }
table { border-collapse: collapse; margin: 0 0 16px }
td { border: 1px solid #d1d9e0; padding: 6px 13px }
thead td { font-weight: 600; text-align: center }
tr:nth-child(even) { background: #f6f8fa }
summary { cursor: pointer }
.checks { padding: 4px 0 }
.check { padding: 6px 16px }
.check i { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 10px; background: #9a6700 }
.check.success i { background: #1a7f37 }
.check.failure i { background: #d1242f }
";

/// Where the browser is, on a machine that has one.
pub fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join("chromium"))
        .find(|it| it.exists())
}

/// Takes a picture of a page.
///
/// # Errors
/// What the browser said.
pub fn photograph(browser: &Path, page: &Path, picture: &Path) -> Result<(), String> {
    let profile = tempfile::tempdir().map_err(|error| error.to_string())?;
    let out = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=960,1400",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    match picture.exists() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::show;

    #[test]
    fn what_we_write_is_shown_and_nothing_is_found_in_it() {
        let shown = show(
            "<!-- muster x -->\n**3 steps** for `a@b`\n\n<details>\n<summary>Two: 2</summary>\n\n- one\n- `#3`\n\n</details>\n\n```sh\ngit show <x>\n```\n",
        );
        assert!(shown.findings.is_empty(), "{:?}", shown.findings);
        assert_eq!(
            shown.html,
            "\n<p><strong>3 steps</strong> for <code>a@b</code></p>\n<details>\n<summary>Two: 2</summary>\n<ul><li>one</li>\n\
             <li><code>#3</code></li>\n</ul>\n</details>\n<pre class=\"sh\"><code>git show &lt;x&gt;\n</code></pre>\n"
        );
    }

    #[test]
    fn whatever_is_more_than_text_is_found_and_does_not_survive() {
        for bad in [
            "<script>alert(1)</script>",
            "text <img src=x onerror=alert(1)> text",
            "<details open>\nx\n</details>",
            "<details>\nno end",
            "</details>",
            "see #12",
            "ask @team",
            "[a link](https://example.org)",
            "go to https://example.org",
            "<https://example.org>",
            "![a picture](x.png)",
            "| a | b |\n|---|---|\n| 1 | 2 |",
        ] {
            let shown = show(bad);
            assert!(!shown.findings.is_empty(), "{bad}: {}", shown.html);
            let other = shown
                .html
                .replace("<details>", "")
                .replace("</details>", "");
            for tag in ["<script", "<img", "<a ", "<details"] {
                assert!(!other.contains(tag), "{bad}: {other}");
            }
        }
    }
}
