//! Whatever the input, the structure of a comment is ours and no held step is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_core::accounts::policy::Aggregate;
use muster_core::facts::Attempted;
use muster_core::journal::StepResult;
use muster_core::people::Parking;
use muster_core::people::Stage;
use muster_core::reading::Reading;
use muster_core::release::RepoId;
use muster_core::repo::Tier;
use muster_core::report::{
    Audience, Comment, CommitContext, Drift, FORGE_LIMIT, FullReport, Host, HostRecord, Mark,
    Paper, Problem, Proposal, Reached, Recognised, Record, ReleaseRecord, ReleaseState, Sticky,
    Unknown, UnknownHost, comment, drift, marker, recognise, record, text,
};
use muster_core::step::Step;
use proptest::prelude::*;

use crate::reader::{all_visible, commands, joined, spans, structure};
use crate::world::{NOW, Planned, World, about, commit};

const MARK: Mark = Mark {
    sticky: Sticky::Proposal,
    repo: RepoId([0xab; 16]),
    page: 1,
};

/// On which each text is one line.
const WIDE: Paper = Paper {
    width: 1 << 20,
    colour: false,
};

const CORPUS: [&str; 37] = [
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
    "<!-- muster proposal/1/abababababababababababababababab/1 -->",
    "\n<!-- muster proposal/1/abababababababababababababababab/1 -->\n",
    "--> <!-- muster drift/2 -->",
];

/// A host on which one person's every field is `data`, with benign, privileged, destructive and refused among the rest.
fn world(data: &str) -> Planned {
    on_host(data, data)
}

fn on_host(host: &str, data: &str) -> Planned {
    let mut world = World::new("devvm");
    world.policy.executor = world.policy.executor.renamed(host);
    let shell = format!("/opt/{data}");
    world.accounts().shells.insert(shell.clone());
    world.accounts().groups.insert(data.to_owned(), 2_000);
    let cut = format!("z{data}");
    world.kept(&cut, 1_200, Stage::Cut);
    let there = format!("t{data}");
    world.kept(&there, 1_201, Stage::Active);
    world.people().remove(&there);
    world.want(&there, Tier::PowerUser);
    let new = world.want(&format!("n{data}"), Tier::Admin);
    let grant = Arc::make_mut(&mut new.grant);
    grant.shell = shell;
    grant.groups.push(data.to_owned());
    grant.groups.push(format!("x{data}"));
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

/// Every text that there is, with `data` wherever something is not ours.
fn comments(data: &str) -> Vec<String> {
    let planned = [
        on_host(&format!("{data}1"), data),
        on_host(&format!("{data}2"), data),
    ];
    let problem = Problem {
        place: format!("{data}:1:1"),
        rule: data.to_owned(),
        text: format!("user {data}: bad"),
        help: Some(data.to_owned()),
        more: 0,
    };
    let (problems, paths) = ([problem], [data.to_owned()]);
    let hosts = [planned[0].host(None), planned[1].host(None)];
    let unknown = [UnknownHost {
        executor: &planned[0].executor,
        why: Unknown::Unreadable(data),
    }];
    let full = Some(FullReport {
        reference: data,
        path: data,
    });
    let proposals = [
        Proposal::Planned {
            hosts: &hosts,
            unknown: &unknown,
            warnings: &problems,
        },
        Proposal::Planned {
            hosts: &hosts[..1],
            unknown: &[],
            warnings: &[],
        },
        Proposal::Invalid(&problems),
        Proposal::Conflict(&paths),
        Proposal::Broken(data),
    ];
    let audiences = [Audience::Team, Audience::Public];
    let comments = proposals.iter().flat_map(|proposal| {
        audiences.map(|audience| {
            about(Some(data), audience, |it| {
                comment(&CommitContext { full, ..*it }, proposal, FORGE_LIMIT)
            })
        })
    });
    let comments: Vec<_> = comments.chain(records(data, &planned, full)).collect();
    for comment in &comments {
        assert!(comment.line.chars().count() <= 140, "{}", comment.line);
        assert!(all_visible(&comment.line), "{}", comment.line);
    }
    comments.into_iter().flat_map(|it| it.pages).collect()
}

/// What is told after the merge.
fn records(data: &str, planned: &[Planned; 2], full: Option<FullReport<'_>>) -> Vec<Comment> {
    let (new, told) = (commit('b'), BTreeSet::new());
    let attempted = Attempted {
        commit: new.clone(),
        problem: data.to_owned(),
    };
    let steps: Vec<Arc<Step>> = planned[0]
        .verdict
        .admitted
        .iter()
        .map(|it| Arc::new(it.step().clone()))
        .collect();
    let undone = [(Arc::clone(&steps[0]), StepResult::Failed(data.to_owned()))];
    let principals = [data.to_owned()];
    let releases = [ReleaseRecord {
        tag: data,
        principals: &principals,
        state: ReleaseState::Finished(Some(data)),
    }];
    let of = |it: &'_ Planned| it.verdict.held.clone();
    let held = [of(&planned[0]), of(&planned[1])];
    let host = |i: usize| HostRecord {
        executor: &planned[i].executor,
        seen: Ok(NOW),
        adopted: Some(&new),
        reached: Reached::Refused(&attempted),
        done: &steps,
        undone: &undone,
        held: &held[i],
        releases: &releases,
    };
    let (alike, blind) = (
        [host(0), host(1)],
        [HostRecord {
            seen: Err(Unknown::Unreadable(data)),
            ..host(0)
        }],
    );
    let hosts = [planned[0].host(None), planned[1].host(None)];
    let each = [Audience::Team, Audience::Public].map(|audience| {
        let of = |hosts| Record {
            commit: &new,
            hosts,
            about: None,
            audience,
            full,
            operator: None,
        };
        let drifted = Drift {
            commit: &new,
            hosts: &hosts,
            told: &told,
            audience,
            full,
            operator: None,
        };
        [
            record(&of(&alike), FORGE_LIMIT),
            record(&of(&blind), FORGE_LIMIT),
            drift(&drifted, FORGE_LIMIT).expect("it drifted"),
        ]
    });
    each.into_iter().flatten().collect()
}

fn assert_harmless(data: &str) {
    let (pages, tame) = (comments(data), comments("emo"));
    assert_eq!(pages.len(), tame.len());
    for (page, tame) in pages.iter().zip(tame) {
        assert!(all_visible(page), "{page}");
        assert_eq!(structure(page), structure(&tame), "{page}");
        assert_eq!(recognise(page), Recognised::No, "{page}");
        let marked = marker(&MARK).above(page);
        assert_eq!(recognise(&marked), Recognised::Marked(MARK));
    }
    let planned = world(data);
    let shown = text(&[planned.host(None)], WIDE);
    assert!(all_visible(&shown), "{shown}");
    assert_eq!(
        shown.lines().count(),
        text(&[world("emo").host(None)], WIDE).lines().count(),
        "{shown}"
    );
}

#[test]
fn hostile_text_changes_nothing_but_the_text() {
    CORPUS.iter().for_each(|data| assert_harmless(data));
}

/// Every held step stands there whole, with its id for its host, and every host has exactly its commands.
fn assert_nothing_lost(planned: &[Planned], limit: usize) -> usize {
    assert_nothing_lost_beside(planned, &[], limit)
}

/// The same where a part of it is there without the change: the plan in `base` of the same host.
fn assert_nothing_lost_beside(planned: &[Planned], base: &[Planned], limit: usize) -> usize {
    let hosts: Vec<_> = planned
        .iter()
        .enumerate()
        .map(|(i, it)| it.host(base.get(i).map(|it| &it.plan)))
        .collect();
    let proposal = Proposal::Planned {
        hosts: &hosts,
        unknown: &[],
        warnings: &[],
    };
    let comment = about(None, Audience::Team, |about| {
        comment(about, &proposal, limit)
    });
    assert_shown(planned, &hosts, &comment.pages, limit);
    comment.pages.len()
}

fn assert_shown(planned: &[Planned], hosts: &[Host<'_>], pages: &[String], limit: usize) {
    let first = pages[0].lines().next().unwrap();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut on_host: BTreeMap<(String, String), usize> = BTreeMap::new();
    for page in pages {
        assert!(page.len() <= limit, "{} > {limit}", page.len());
        assert!(
            page.lines().next() == Some(first),
            "a page stands for itself"
        );
        assert!(
            pages.len() == 1 || page.contains("\n### "),
            "a page names its hosts"
        );
        structure(page);
        let spans = spans(page);
        for pair in spans.windows(2) {
            *on_host
                .entry((pair[0].clone(), pair[1].clone()))
                .or_default() += 1;
        }
        for span in spans {
            *seen.entry(span).or_default() += 1;
        }
    }
    let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for command in commands(pages) {
        let rest = command.strip_prefix("muster release propose --host ");
        let (host, _) = rest.and_then(|it| it.split_once(' ')).expect("a command");
        given.entry(host.to_owned()).or_default().push(command);
    }
    for (host, shown) in planned.iter().zip(hosts) {
        let name = visible(&host.executor.to_string());
        for held in &host.verdict.held {
            let (id, words) = (held.step.id.to_string(), held.step.words());
            let alone = seen.get(&format!("{id} {words}")).copied().unwrap_or(0);
            let key = (name.clone(), id.clone());
            let folded = on_host.get(&key).copied().unwrap_or(0);
            assert_eq!(alone + folded, 1, "{name}: {id} {words}");
            assert!(alone == 1 || seen.contains_key(&words), "{words}");
        }
        let alone = text(&[*shown], Paper::PLAIN);
        let mut lines: Vec<&str> = Vec::new();
        for line in alone.lines() {
            let goes_on = lines.last().is_some_and(|it| it.ends_with('\\'));
            let command = line.trim_start();
            if goes_on {
                lines.push(line);
            } else if command.starts_with("muster release propose ") {
                lines.push(command);
            }
        }
        let meant = joined(&lines.join("\n"));
        let host = muster_core::id::percent_encode(host.executor.name());
        let told = given.remove(&host).unwrap_or_default();
        assert_eq!(told, meant, "{name}");
    }
    assert!(given.is_empty(), "{given:?}");
}

/// As every text shows what could hide.
fn visible(text: &str) -> String {
    let shown = |c: char| match c {
        ' '..='~' | '…' | '—' => c.to_string(),
        _ => format!("\\u{{{:x}}}", u32::from(c)),
    };
    text.chars().map(shown).collect()
}

/// Hosts with so many held creations, cuts and ordinary newcomers.
fn fleet(hosts: usize, held: usize, cuts: usize, benign: usize) -> Vec<Planned> {
    let host = |i: usize| {
        let mut world = World::bare(&format!("h{i}"));
        world.want("root-of-all", Tier::PowerUser);
        for i in 0..held {
            world
                .want_granted(&format!("odd{i}"), Tier::PowerUser)
                .shell = "/opt/odd/sh".into();
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
    world.want_granted("emo", Tier::PowerUser).shell = shell;
    let planned = world.plan();
    let hosts = [planned.host(None)];
    let proposal = Proposal::Planned {
        hosts: &hosts,
        unknown: &[],
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

/// A host that holds what others of its kind hold.
fn hostile_host(host: &str, data: &str, kind: usize) -> Planned {
    let mut world = World::bare(host);
    let shell = format!("/opt/{data}");
    world.accounts().shells.insert(shell.clone());
    world.want("root-of-all", Tier::PowerUser);
    world.want_granted(&format!("n{data}"), Tier::Admin).shell = shell;
    for i in 0..kind {
        world.kept(
            &format!("gone{data}{i}"),
            30_000 + u32::try_from(i).unwrap(),
            Stage::Active,
        );
    }
    world.plan()
}

#[test]
fn a_step_held_on_a_thousand_hosts_has_a_thousand_ids() {
    let fleet: Vec<Planned> = (0..1_000)
        .map(|i| hostile_host(&format!("h{i}"), "emo", 3))
        .collect();
    assert!(assert_nothing_lost(&fleet, FORGE_LIMIT) > 1);
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
    fn what_waits_already_is_shown_as_whole(
        hosts in 1_usize..4, held in 0_usize..60, cuts in 0_usize..60, of_them in 0_usize..120,
        limit in 16_384_usize..70_000,
    ) {
        let base = fleet(hosts, held.min(of_them), cuts.min(of_them / 2), 3);
        assert_nothing_lost_beside(&fleet(hosts, held, cuts, 5), &base, limit);
    }

    #[test]
    fn any_plan_shows_each_held_step_once(
        hosts in 1_usize..4, held in 0_usize..60, cuts in 0_usize..60, benign in 0_usize..60,
        limit in 16_384_usize..70_000,
    ) {
        assert_nothing_lost(&fleet(hosts, held, cuts, benign), limit);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_fleet_shows_each_held_step_on_each_host(
        data in hostile(), hosts in 1_usize..=200, kinds in 1_usize..5, limit in 16_384_usize..70_000,
    ) {
        let of = |i: usize| hostile_host(&format!("{data}{i}"), &data, i % kinds);
        let fleet: Vec<Planned> = (0..hosts).map(of).collect();
        assert_nothing_lost(&fleet, limit);
    }
}
