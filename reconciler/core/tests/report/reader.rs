//! A second reader of what we write: CommonMark with every extension that a forge may have.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

pub(crate) fn parse(markdown: &str) -> Vec<Event<'_>> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_MATH
        | Options::ENABLE_GFM
        | Options::ENABLE_HEADING_ATTRIBUTES;
    Parser::new_ext(markdown, options).collect()
}

/// The blocks of a page, without what stands in them; panics at anything that we never write.
pub(crate) fn structure(markdown: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut fenced = false;
    for event in parse(markdown) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => fenced = true,
            Event::End(TagEnd::CodeBlock) => fenced = false,
            _ => {}
        }
        match event {
            Event::Start(Tag::Strong) | Event::End(TagEnd::Strong) => {}
            Event::Start(
                ref tag @ (Tag::Paragraph
                | Tag::Heading { .. }
                | Tag::List(None)
                | Tag::Item
                | Tag::CodeBlock(_)
                | Tag::Table(_)
                | Tag::TableHead
                | Tag::TableRow
                | Tag::TableCell
                | Tag::HtmlBlock),
            ) => blocks.push(format!("{tag:?}")),
            Event::End(tag) => blocks.push(format!("/{tag:?}")),
            Event::Html(html) => {
                let html = html.trim_end();
                let ours = html == "<details>"
                    || html == "</details>"
                    || html
                        .strip_prefix("<summary>")
                        .and_then(|it| it.strip_suffix("</summary>"))
                        .is_some_and(|it| {
                            it.chars().all(|c| {
                                c.is_ascii_alphanumeric() || matches!(c, ' ' | ',' | ':' | '-')
                            })
                        });
                assert!(ours, "html: {html}");
                blocks.push(html.to_owned());
            }
            Event::Text(text) => {
                let inert = fenced
                    || (!text.contains(['@', '#', '<', '`', '$', '[', '|'])
                        && !text.contains("://"));
                assert!(inert, "not inert: {text}\n{markdown}");
            }
            Event::Code(_) | Event::SoftBreak => {}
            other => panic!("{other:?}\n{markdown}"),
        }
    }
    blocks
}

pub(crate) fn all_visible(shown: &str) -> bool {
    shown
        .chars()
        .all(|c| matches!(c, '\n' | ' '..='~' | '…' | '—'))
}

/// The code spans of a page, as a reader sees them.
pub(crate) fn spans(page: &str) -> Vec<String> {
    let code = |event| match event {
        Event::Code(text) => Some(text.into_string()),
        _ => None,
    };
    parse(page).into_iter().filter_map(code).collect()
}

/// The commands of some pages, each in one line, in their order: what somebody would copy out of the fenced blocks.
pub(crate) fn commands(pages: &[String]) -> Vec<String> {
    let mut copied = String::new();
    for page in pages {
        let mut fenced = false;
        for event in parse(page) {
            match event {
                Event::Start(Tag::CodeBlock(_)) => fenced = true,
                Event::End(TagEnd::CodeBlock) => fenced = false,
                Event::Text(text) if fenced => copied.push_str(&text),
                _ => {}
            }
        }
    }
    joined(&copied)
}

/// Command lines with their continuations.
pub(crate) fn joined(lines: &str) -> Vec<String> {
    let whole = lines.replace(" \\\n", "");
    whole
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}
