//! Whatever the input, the structure of a comment is ours and no held step is lost.

use std::collections::BTreeMap;

use muster_core::action::Parking;
use muster_core::facts::Stage;
use muster_core::observed::Reading;
use muster_core::policy::Aggregate;
use muster_core::repo::Tier;
use muster_core::report::{Audience, FORGE_LIMIT, Problem, Proposal, comment, text};
use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::world::{Planned, World, about};

const CORPUS: [&str; 34] = [
    "emo",
    "`",
    "``",
    "```\n# Approved\n```",
    "a`b``c```d",
    "` ` ` `",
    "`` @everyone ``",
    "\\`@emo\\`",
    "@everyone",
    "@emo/team",
    "#1",
    "owner/repo#12 GH-7",
    "https://evil.example/?q=1",
    "www.evil.example",
    "mailto:x@evil.example",
    "deadbeefdeadbeef",
    "![x](https://evil.example/p.png)",
    "[approve](javascript:alert(1))",
    "[x]: https://evil.example",
    "[^1] [ ] [x]",
    "<script>alert(1)</script>",
    "</details><h1>Approved</h1><details>",
    "<!-- hidden",
    "&lt;b&gt; &#64;emo",
    "# heading\n\n- list\n\n> quote\n\n***\n",
    "\r\n---\r\n===",
    "| a | b |\n|---|---|",
    "$x$ ~~y~~ *z* __w__ :smile:",
    "\u{202e}gnp.exe\u{202c}",
    "\u{200b}\u{2060}\u{feff}",
    "\u{1b}[2J\u{7}\0",
    "\u{430}dmin \u{2028} \u{e0041}",
    "1. one",
    " + plus  ",
];

/// A host on which one person's every field is `data`, with benign, privileged, destructive and refused among the rest.
fn world(data: &str) -> Planned {
    let mut world = World::new("devvm");
    world.policy.executor.host = data.to_owned();
    let shell = format!("/opt/{data}");
    world.accounts().shells.insert(shell.clone());
    world.accounts().groups.insert(data.to_owned(), 2_000);
    let cut = format!("z{data}");
    world.kept(&cut, 1_200, Stage::Cut);
    let there = format!("t{data}");
    world.kept(&there, 1_201, Stage::Active);
    world.facts.people.remove(&there);
    world.want(&there, Tier::PowerUser);
    let new = world.want(&format!("n{data}"), Tier::Admin);
    new.shell = shell;
    new.groups.push(data.to_owned());
    new.groups.push(format!("x{data}"));
    new.authentik_user = data.to_owned();
    new.k8s_user = data.to_owned();
    new.expiring = Some((3, data.to_owned()));
    new.parked = Some(Parking::Asked);
    let plain = world.want(&format!("p{data}"), Tier::PowerUser);
    plain.authentik_user = format!("p{data}");
    world.observed.aggregates.insert(
        Aggregate::LoginMap,
        Reading::Known(BTreeMap::from([(format!("q{data}"), format!("q{data}"))])),
    );
    world.observed.environments = Reading::Unknown(data.to_owned());
    world.plan()
}

fn parse(markdown: &str) -> Vec<Event<'_>> {
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
fn structure(markdown: &str) -> Vec<String> {
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
                            it.chars()
                                .all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | ',' | ':'))
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

fn all_visible(shown: &str) -> bool {
    shown
        .chars()
        .all(|c| matches!(c, '\n' | ' '..='~' | '…' | '—'))
}

fn comments(data: &str) -> Vec<String> {
    let planned = world(data);
    let problem = Problem {
        place: format!("{data}:1:1"),
        rule: data.to_owned(),
        text: format!("user {data}: bad"),
        help: Some(data.to_owned()),
    };
    let (problems, paths) = ([problem], [data.to_owned()]);
    let hosts = [planned.host(None)];
    [
        Proposal::Planned {
            hosts: &hosts,
            warnings: &problems,
        },
        Proposal::Invalid(&problems),
        Proposal::Conflict(&paths),
    ]
    .iter()
    .flat_map(|proposal| {
        about(Some(data), Audience::Team, |about| {
            comment(about, proposal, FORGE_LIMIT)
        })
        .pages
    })
    .collect()
}

fn assert_harmless(data: &str) {
    for (page, tame) in comments(data).iter().zip(comments("emo")) {
        assert!(all_visible(page), "{page}");
        assert_eq!(structure(page), structure(&tame), "{page}");
    }
    let planned = world(data);
    let shown = text(&[planned.host(None)]);
    assert!(all_visible(&shown), "{shown}");
    assert_eq!(
        shown.lines().count(),
        text(&[world("emo").host(None)]).lines().count(),
        "{shown}"
    );
}

#[test]
fn hostile_text_changes_nothing_but_the_text() {
    CORPUS.iter().for_each(|data| assert_harmless(data));
}

/// The code spans of a page, as a reader sees them.
fn spans(page: &str) -> Vec<String> {
    let code = |event| match event {
        Event::Code(text) => Some(text.into_string()),
        _ => None,
    };
    parse(page).into_iter().filter_map(code).collect()
}

fn assert_nothing_lost(planned: &[Planned], limit: usize) -> usize {
    let hosts: Vec<_> = planned.iter().map(|it| it.host(None)).collect();
    let proposal = Proposal::Planned {
        hosts: &hosts,
        warnings: &[],
    };
    let comment = about(None, Audience::Team, |about| {
        comment(about, &proposal, limit)
    });
    let first = comment.pages[0].lines().next().unwrap();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for page in &comment.pages {
        assert!(page.len() <= limit, "{} > {limit}", page.len());
        assert!(
            page.lines().next() == Some(first),
            "a page stands for itself"
        );
        assert!(page.contains("\n### "), "a page names its host");
        for span in spans(page) {
            *seen.entry(span).or_default() += 1;
        }
    }
    let whole = comment.pages.concat();
    for (held, host) in planned
        .iter()
        .flat_map(|it| it.verdict.held.iter().map(move |held| (held, it)))
    {
        let words = format!("{} {}", held.step.id, held.step.words());
        assert_eq!(seen.get(&words), Some(&1), "{words}");
        if held.reason == muster_core::gate::Reason::PendingSignature {
            let times = whole.matches(&held.step.id.to_string()).count();
            let follow = host.verdict.held.iter().filter(
                |it| matches!(it.reason, muster_core::gate::Reason::Needs(id) if id == held.step.id),
            );
            assert_eq!(
                times,
                2 + follow.count(),
                "its words, the command, and those that follow it"
            );
        }
    }
    comment.pages.len()
}

/// Hosts with so many held creations, cuts and ordinary newcomers.
fn fleet(hosts: usize, held: usize, cuts: usize, benign: usize) -> Vec<Planned> {
    let host = |i: usize| {
        let mut world = World::bare(&format!("h{i}"));
        world.want("root-of-all", Tier::PowerUser);
        for i in 0..held {
            world.want(&format!("odd{i}"), Tier::PowerUser).shell = "/opt/odd/sh".into();
        }
        for i in 0..cuts {
            world.kept(
                &format!("gone{i}"),
                30_000 + u32::try_from(i).unwrap(),
                Stage::Active,
            );
        }
        for i in 0..benign {
            world.want(&format!("new{i}"), Tier::PowerUser);
        }
        world.plan()
    };
    (0..hosts).map(host).collect()
}

#[test]
fn held_steps_take_as_many_pages_as_they_need() {
    assert_eq!(assert_nothing_lost(&fleet(1, 10, 4, 10), FORGE_LIMIT), 1);
    assert_eq!(assert_nothing_lost(&fleet(1, 10, 4, 3_000), FORGE_LIMIT), 1);
    assert!(assert_nothing_lost(&fleet(2, 300, 300, 300), FORGE_LIMIT) > 1);
}

#[test]
fn words_too_long_for_a_page_go_on_in_the_next_item() {
    let mut world = World::bare("devvm");
    let shell = format!("/opt/{}", "\u{202e}".repeat(9_000));
    world.accounts().shells.insert(shell.clone());
    world.want("emo", Tier::PowerUser).shell = shell;
    let planned = world.plan();
    let hosts = [planned.host(None)];
    let proposal = Proposal::Planned {
        hosts: &hosts,
        warnings: &[],
    };
    let comment = about(None, Audience::Team, |about| comment(about, &proposal, 0));
    assert!(comment.pages.len() > 1);
    assert!(comment.pages.iter().all(|it| it.len() <= 16_384));
    let words = planned.verdict.held[0].step.words();
    let shown: Vec<String> = comment
        .pages
        .iter()
        .flat_map(|it| spans(it))
        .filter(|it| it.contains("%AE"))
        .collect();
    assert_eq!(
        shown.concat(),
        format!("{} {words}", planned.verdict.held[0].step.id)
    );
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(CORPUS.to_vec()).prop_map(str::to_owned),
        "[`\\\\<>\\[\\]()!*_~#@$|&:\n\r -]{1,6}",
        "\\PC{1,4}",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_changes_nothing_but_the_text(data in hostile()) {
        assert_harmless(&data);
    }

    #[test]
    fn any_plan_shows_each_held_step_once(
        hosts in 1_usize..4, held in 0_usize..60, cuts in 0_usize..60, benign in 0_usize..60,
        limit in 16_384_usize..70_000,
    ) {
        assert_nothing_lost(&fleet(hosts, held, cuts, benign), limit);
    }
}
