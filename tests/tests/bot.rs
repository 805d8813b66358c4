//! What people see of pull requests: hosts, a forge and bots in memory, and whatever goes wrong between them.
//!
//! Whole comments are in `tests/golden/bot`; `UPDATE=1` rewrites them. Each story ends with a turn that sends nothing.

use std::fs;
use std::path::{Path, PathBuf};

use muster_core::forge::{ForgeError, ProposalState, StatusState};
use muster_core::ledger::told::Told;
use muster_core::release::ObjectKind;
use muster_core::report::FORGE_LIMIT;
use muster_core::time::{Date, Time};
use muster_core::world::Files;
use muster_sim::Timing;
use muster_tests::signer::{self, Signer};
use muster_tests::story::{noon, roster};
use muster_tests::town::{STALE, Town};

const THREE: &str = "users:
  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: admin}
  bea: {authentik_user: b.ea, k8s_user: bea-k, tier: power-user}
  cho: {authentik_user: c.ho, k8s_user: cho-k, tier: namespace-owner, namespaces: [cho]}
";

const EMO: &str = "  emo: {authentik_user: e.mo, k8s_user: emo-k, tier: power-user}\n";

fn start() -> Time {
    noon(Date::constant(2026, 11, 22))
}

fn with_emo() -> Files {
    roster(&format!("{THREE}{EMO}"))
}

fn without_bea() -> Files {
    let lines = THREE.lines().filter(|it| !it.contains("bea"));
    roster(&lines.map(|it| format!("{it}\n")).collect::<String>())
}

/// A town in which everybody is through with what there is.
fn settled(hosts: &[&str]) -> Town {
    let mut town = Town::new(roster(THREE), hosts, start());
    town.drift = false;
    town.hosts();
    town.pass(60);
    town.hosts();
    town
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/bot")
}

fn check(name: &str, text: &str) {
    let path = golden().join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(golden()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, expected,
        "{name} differs; UPDATE=1 accepts what is there now"
    );
}

const GOLDENS: [&str; 13] = [
    "added.md",
    "bad-edit.md",
    "broken.md",
    "closed.md",
    "drift.md",
    "elsewhere.md",
    "left.md",
    "left-public.md",
    "merged.md",
    "merged-behind.md",
    "released.md",
    "stale.md",
    "two-hosts.md",
];

#[test]
fn every_golden_file_belongs_to_a_story() {
    let mut there: Vec<String> = fs::read_dir(golden())
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    let mut claimed = GOLDENS.map(str::to_owned).to_vec();
    claimed.sort();
    assert_eq!(there, claimed);
}

#[test]
fn a_pull_request_from_opening_to_done() {
    let mut town = settled(&["devvm"]);

    let head = town.propose(7, "onboard-emo", with_emo());
    town.turn();
    check("added.md", &town.comment(7));
    let status = |town: &Town, head| town.forge.with(|it| it.statuses[head].clone());
    assert_eq!(status(&town, &head).state, StatusState::Success);
    town.is_quiet();

    let bad = format!("{THREE}  emo: {{authentik_user: e.mo, k8s_user: emo-k, tier: powr-user}}\n");
    let head = town.propose(7, "onboard-emo", roster(&bad));
    town.turn();
    check("bad-edit.md", &town.comment(7));
    assert_eq!(status(&town, &head).state, StatusState::Failure);
    let check_run = town.forge.with(|it| it.checks[&head].clone());
    assert_eq!(
        (
            check_run.annotations[0].path.as_str(),
            check_run.annotations[0].line
        ),
        ("roster.yaml", 5)
    );
    town.is_quiet();

    let head = town.propose(7, "onboard-emo", with_emo());
    town.turn();
    assert_eq!(status(&town, &head).state, StatusState::Success);

    town.merge(7, "onboard-emo");
    town.pass(5);
    town.turn();
    check("merged-behind.md", &town.comment(7));
    town.hosts();
    town.turn();
    check("merged.md", &town.comment(7));
    town.is_quiet();
    let told = town.bots[0].outside.store.with(|it| it.files.clone());
    let told = Told::read(&told).unwrap().unwrap();
    assert!(
        told.proposals[&7].is_settled(),
        "nobody waits for it any more"
    );
}

#[test]
fn hosts_alike_are_told_of_once_and_each_of_its_own_ids() {
    let mut town = settled(&["web1", "web2"]);
    town.propose(3, "onboard-emo", with_emo());
    town.turn();
    check("two-hosts.md", &town.comment(3));
    town.is_quiet();
}

#[test]
fn what_waits_of_a_merge_is_on_its_comment_until_it_is_released_and_done() {
    let mut town = settled(&["devvm"]);
    let root = signer::root(1, &["emo"]);
    town.houses["devvm"].sim.with(|it| it.trust = Some(root));
    town.hosts();

    town.propose(9, "bea-leaves", without_bea());
    town.turn();
    check("left.md", &town.comment(9));
    town.merge(9, "bea-leaves");
    town.pass(30);
    town.hosts();
    let commit = town.origin.with(|it| it.head().unwrap());
    town.turn();
    let comment = town.comment(9);
    assert!(comment.contains("1 destructive step waits"), "{comment}");
    assert!(
        comment.contains("muster release propose --host devvm "),
        "{comment}"
    );
    town.is_quiet();

    let held = town.bots[0]
        .outside
        .store
        .with(|it| Told::read(&it.files).unwrap().unwrap());
    assert!(!held.proposals[&9].is_settled(), "somebody has to sign");

    // Another merge comes between: what waits is told where it came from.
    town.propose(10, "onboard-emo", {
        let text = String::from_utf8(without_bea()["roster.yaml"].clone()).unwrap();
        roster(&format!("{text}{EMO}"))
    });
    town.turn();
    town.merge(10, "onboard-emo");
    town.pass(30);
    town.hosts();
    town.turn();
    assert!(town.comment(9).contains("1 destructive step waits"));

    let house = &town.houses["devvm"];
    let waiting = house.sim.with(|it| it.ledger["held.json"].clone());
    let waiting = muster_core::ledger::held::HeldSteps::read(&waiting).unwrap();
    let archive = waiting
        .held
        .iter()
        .filter(|it| it.words.starts_with("user.archive_delete bea"));
    let steps: Vec<_> = archive.map(|it| it.step.clone()).collect();
    assert_eq!(steps.len(), 1);
    let statement = signer::statement(&steps, &commit, 1, town.now);
    let (name, raw) = Signer::named("emo").release(&statement);
    town.origin
        .with(|it| it.push_tag(&name, ObjectKind::Tag, raw));
    town.pass(30);
    town.hosts();
    town.turn();
    check("released.md", &town.comment(9));
    town.is_quiet();
}

#[test]
fn nothing_observed_is_told_where_anybody_can_read() {
    let mut town = settled(&["devvm"]);
    town.forge.with(|it| it.public = true);
    let head = town.propose(4, "bea-leaves", without_bea());
    town.forge.with(|it| it.change(4, |it| it.fork = true));
    town.turn();
    let comment = town.comment(4);
    check("left-public.md", &comment);
    let house = &town.houses["devvm"];
    let uid = house.sim.facts().known.accounts().people["bea"]
        .uid
        .to_string();
    for observed in [uid.as_str(), "/home/bea", "/bin/"] {
        assert!(!comment.contains(observed), "{observed}");
    }
    assert!(town.forge.with(|it| it.statuses.contains_key(&head)));
    let report = town.bots[0]
        .outside
        .store
        .with(|it| it.files["reports/4.md"].clone());
    let report = String::from_utf8(report).unwrap();
    assert!(report.contains(&uid), "all of it is in the private ledger");
    town.is_quiet();
}

#[test]
fn a_host_that_nobody_hears_of_is_said_and_red_and_no_other_is_held_up() {
    let mut town = settled(&["far", "near"]);
    town.houses.get_mut("far").unwrap().linked = false;
    town.pass(i64::from(STALE) + 1);
    town.hosts();
    let head = town.propose(5, "onboard-emo", with_emo());
    town.turn();
    check("stale.md", &town.comment(5));
    assert_eq!(
        town.forge.with(|it| it.statuses[&head].state),
        StatusState::Failure
    );
    town.is_quiet();

    // It is merged all the same; the record says who has not come, and does not forget them.
    town.merge(5, "onboard-emo");
    town.pass(60);
    town.hosts();
    town.turn();
    let comment = town.comment(5);
    assert!(comment.contains("not heard of lately"), "{comment}");
    town.houses.get_mut("far").unwrap().linked = true;
    town.hosts();
    town.turn();
    let comment = town.comment(5);
    assert!(comment.contains("**Done on all 2 hosts"), "{comment}");
    town.is_quiet();
}

#[test]
fn a_ledger_that_cannot_be_taken_at_its_word_is_said_with_the_reason() {
    let mut town = settled(&["near", "odd"]);
    let odd = town.houses["odd"].policy.executor().clone();
    town.fleet.with(|it| {
        let why = "it is not signed with the key of host/odd".to_owned();
        it.refused.insert(odd, why)
    });
    let head = town.propose(5, "onboard-emo", with_emo());
    town.turn();
    let comment = town.comment(5);
    assert!(
        comment.contains("it is not signed with the key of `host/odd`"),
        "{comment}"
    );
    assert_eq!(
        town.forge.with(|it| it.statuses[&head].state),
        StatusState::Failure
    );
}

#[test]
fn without_any_host_a_required_check_is_not_green() {
    let mut town = settled(&[]);
    let head = town.propose(5, "onboard-emo", with_emo());
    town.turn();
    assert_eq!(
        town.forge.with(|it| it.statuses[&head].state),
        StatusState::Failure
    );
}

#[test]
fn the_comment_follows_whatever_becomes_of_a_pull_request() {
    let mut town = settled(&["devvm"]);
    town.propose(6, "onboard-emo", with_emo());
    town.turn();

    // Retargeted, and back.
    town.pass(10);
    town.forge
        .with(|it| it.change(6, |it| it.base = "stable".into()));
    town.turn();
    check("elsewhere.md", &town.comment(6));
    town.is_quiet();
    town.forge
        .with(|it| it.change(6, |it| it.base = "main".into()));
    town.pass(10);
    town.turn();
    assert!(town.comment(6).contains("**emo**: create account"));

    // A draft is planned like any other, and renaming its branch changes the name.
    town.forge.with(|it| {
        it.change(6, |it| {
            it.draft = true;
            it.head_label = "emo-joins".into();
        })
    });
    town.pass(10);
    town.turn();
    assert!(town.comment(6).contains("`emo-joins`"));

    // Closed, and opened again.
    town.forge
        .with(|it| it.change(6, |it| it.state = ProposalState::Closed));
    town.pass(10);
    town.turn();
    check("closed.md", &town.comment(6));
    town.is_quiet();
    town.forge
        .with(|it| it.change(6, |it| it.state = ProposalState::Open));
    town.pass(10);
    town.turn();
    assert!(town.comment(6).contains("**emo**: create account"));

    // Rewritten.
    let head = town.force(6, "onboard-emo", with_emo());
    town.pass(10);
    town.turn();
    assert!(town.comment(6).contains(head.as_str()));

    // The base moves: what the comment says is about the newer one.
    town.origin.with(|it| it.commit("main", roster(THREE)));
    let base = town.origin.with(|it| it.head().unwrap());
    town.pass(10);
    town.hosts();
    town.turn();
    assert!(town.comment(6).contains(base.as_str()));
    town.is_quiet();

    // Somebody deletes the comment: it is put once more, and says the same.
    let before = town.comment(6);
    town.pass(10);
    town.forge.with(|forge| {
        forge.comments.clear();
        forge.change(6, |_| {});
    });
    town.pass(10);
    let summary = town.turn_of(0, &[]).unwrap();
    assert_eq!(
        summary.warnings,
        ["#6: somebody else changed what is told there; it is put back"]
    );
    assert_eq!(town.comment(6), before);
    town.is_quiet();
}

#[test]
fn a_pull_request_that_nobody_was_told_of_gets_no_farewell() {
    let mut town = settled(&["devvm"]);
    let head = town.propose(6, "onboard-emo", with_emo());
    town.forge
        .with(|it| it.change(6, |it| it.base = "stable".into()));
    town.turn();
    town.forge
        .with(|it| it.change(6, |it| it.state = ProposalState::Closed));
    town.pass(10);
    town.turn();
    assert_eq!(town.forge.with(|it| it.comments.len()), 0);
    assert!(!town.forge.with(|it| it.statuses.contains_key(&head)));
}

#[test]
fn drift_opens_one_issue_and_closes_it() {
    let mut town = settled(&["devvm"]);
    town.drift = true;
    town.turn();
    // What everybody waits for since the hosts were set up was proposed by nobody.
    check(
        "drift.md",
        &town.forge.with(|it| {
            let (issue, open) = it.issues.values().next().unwrap();
            assert!(open);
            format!("# {}\n\n{}", issue.title, issue.text)
        }),
    );
    assert_eq!(town.forge.with(|it| it.issues.len()), 1);
    town.is_quiet();

    // A merge that waits for a release is no drift.
    let before = town.forge.with(|it| it.issues.clone());
    town.propose(9, "bea-leaves", without_bea());
    town.turn();
    town.merge(9, "bea-leaves");
    town.pass(30);
    town.hosts();
    town.turn();
    assert_eq!(town.forge.with(|it| it.issues.clone()), before);

    // What waits is asked for no more.
    let calm = String::from_utf8(without_bea()["roster.yaml"].clone())
        .unwrap()
        .replace("tier: admin", "tier: power-user");
    town.origin.with(|it| it.commit("main", roster(&calm)));
    town.pass(30);
    town.hosts();
    town.pass(30);
    town.hosts();
    town.turn();
    assert!(
        town.forge.with(|it| it.issues.values().all(|it| !it.1)),
        "it is closed"
    );
    town.is_quiet();
}

#[test]
fn a_merge_that_the_forge_lists_late_is_no_drift() {
    let mut town = settled(&["devvm"]);
    town.drift = true;
    town.turn();
    let issues = town.forge.with(|it| it.issues.clone());
    town.propose(9, "bea-leaves", without_bea());
    town.turn();
    town.merge(9, "bea-leaves");
    // Changed long ago by the forge's clock: no listing of what changed shows it.
    town.forge.with(|forge| {
        let long_ago = forge.now.plus(-86_400);
        forge.proposals.get_mut(&9).unwrap().updated = long_ago;
    });
    town.pass(30);
    town.hosts();
    town.turn();
    assert!(town.comment(9).contains("1 destructive step waits"));
    assert_eq!(town.forge.with(|it| it.issues.clone()), issues);
}

#[test]
fn whoever_restarts_tells_nothing_twice_and_catches_up_with_the_rest() {
    let mut town = settled(&["devvm"]);
    town.propose(7, "onboard-emo", with_emo());
    town.turn();
    let changes = town.forge.with(|it| it.changes);
    town.restart();
    town.turn();
    assert_eq!(town.forge.with(|it| it.changes), changes);

    // Merged and opened while nobody looked.
    town.merge(7, "onboard-emo");
    town.pass(3_600);
    town.propose(8, "bea-leaves", {
        let text = String::from_utf8(with_emo()["roster.yaml"].clone()).unwrap();
        let lines = text.lines().filter(|it| !it.contains("bea"));
        roster(&lines.map(|it| format!("{it}\n")).collect::<String>())
    });
    town.hosts();
    town.restart();
    town.turn();
    assert!(
        town.comment(7).contains("**Done on the one host"),
        "{}",
        town.comment(7)
    );
    assert!(town.comment(8).contains("**bea**: cut off"));
    town.is_quiet();

    // A comment that somebody deletes while nobody looks is put again; one that is there is left alone, however old it is by then.
    let before = town.comment(8);
    town.forge
        .with(|it| it.comments.retain(|_, it| it.proposal != 8));
    town.forge.with(|it| it.change(8, |_| {}));
    town.restart();
    town.turn();
    assert_eq!(town.comment(8), before);
    let changes = town.forge.with(|it| it.changes);
    town.pass(600);
    town.hosts();
    town.forge.with(|it| it.change(8, |_| {}));
    town.restart();
    town.turn();
    assert_eq!(town.forge.with(|it| it.changes), changes);
    town.is_quiet();
}

#[test]
fn wherever_the_power_goes_out_nothing_is_lost_and_nothing_doubled() {
    let story = |blow: Option<(usize, Timing)>| {
        let mut town = settled(&["devvm"]);
        town.drift = true;
        town.forge.with(|it| it.fuse.blow = blow);
        let acts: [fn(&mut Town); 3] = [
            |town| drop(town.propose(7, "onboard-emo", with_emo())),
            |town| drop(town.merge(7, "onboard-emo")),
            |town| drop(town.propose(8, "bea-leaves", without_bea())),
        ];
        for act in acts {
            act(&mut town);
            town.pass(60);
            town.hosts();
            // Who is cut off in the middle dies; another one goes on.
            let summary = town.turn_of(0, &[]).unwrap();
            if !summary.warnings.is_empty() {
                town.restart();
                let _ = town.turn_of(0, &[]).unwrap();
            }
        }
        town
    };
    let whole = story(None);
    let (effects, comments, statuses, checks, issues) = whole.forge.with(|it| {
        (
            it.fuse.effects,
            it.comments.clone(),
            it.statuses.clone(),
            it.checks.clone(),
            it.issues.clone(),
        )
    });
    assert!(effects >= 8, "{effects} changes");
    let texts = |it: &std::collections::BTreeMap<u64, muster_sim::SimComment>| {
        let mut texts: Vec<_> = it
            .values()
            .map(|it| (it.proposal, it.body.clone()))
            .collect();
        texts.sort();
        texts
    };
    for at in 0..effects {
        for timing in [Timing::Before, Timing::After] {
            let mut town = story(Some((at, timing)));
            town.is_quiet();
            town.forge.with(|it| {
                let when = format!("the power went out {timing:?} change {at}");
                assert_eq!(texts(&it.comments), texts(&comments), "{when}");
                assert_eq!(it.statuses, statuses, "{when}");
                assert_eq!(it.checks, checks, "{when}");
                let open = |it: &std::collections::BTreeMap<u64, (_, bool)>| {
                    it.values().filter(|it| it.1).count()
                };
                assert_eq!(open(&it.issues), open(&issues), "{when}");
            });
        }
    }
}

#[test]
fn of_two_bots_one_acts_and_the_other_goes_on_when_it_dies() {
    let mut town = settled(&["devvm"]);
    town.hire("two");
    town.propose(7, "onboard-emo", with_emo());
    town.turn();
    let other = town.turn_of(1, &[]).unwrap();
    assert_eq!(other.other.as_ref().map(|it| it.0.as_str()), Some("one"));
    let changes = town.forge.with(|it| it.changes);

    // The first one dies in the middle of the next change: the comment is posted, and nothing after it.
    town.propose(7, "onboard-emo", roster(&format!("{THREE}{EMO}# more\n")));
    town.forge
        .with(|it| it.fuse.blow = Some((it.fuse.effects, Timing::After)));
    let died = town.turn_of(0, &[]).unwrap();
    assert!(!died.warnings.is_empty());
    town.pass(31);
    let second = town.turn_of(1, &[]).unwrap();
    assert_eq!((second.other, second.warnings), (None, vec![]));
    assert_eq!(town.forge.with(|it| it.ours(7).len()), 1);
    let sent = town.forge.with(|it| it.changes) - changes;
    assert_eq!(sent, 3, "a comment, a status, a check; none of them twice");

    // The first one comes back, and what it would write is refused.
    let back = town.turn_of(0, &[]).unwrap();
    assert_eq!(back.other.map(|it| it.0).as_deref(), Some("two"));
}

#[test]
fn a_forge_that_does_not_answer_is_told_of_everything_later() {
    let mut town = settled(&["devvm"]);
    town.turn();
    town.propose(7, "onboard-emo", with_emo());
    for error in [
        ForgeError::NoAnswer {
            what: "GET /pulls".into(),
            why: "500".into(),
        },
        ForgeError::Denied {
            what: "GET /pulls".into(),
            why: "401".into(),
        },
        ForgeError::Pause {
            until: town.now.plus(3_600),
            why: "the secondary rate limit".into(),
        },
    ] {
        town.forge.with(|it| it.down = Some(error));
        assert!(town.turn_of(0, &[]).is_err());
    }
    town.pass(3_600);
    town.hosts();
    town.forge.with(|it| it.down = None);
    town.turn();
    assert!(town.comment(7).contains("**emo**: create account"));
    town.is_quiet();
}

#[test]
fn where_the_repository_or_the_ledgers_do_not_answer_nothing_is_guessed() {
    let mut town = settled(&["devvm"]);
    town.propose(7, "onboard-emo", with_emo());
    town.origin.answers(false);
    assert!(town.turn_of(0, &[]).is_err());
    town.origin.answers(true);
    town.fleet.with(|it| it.down = true);
    assert!(town.turn_of(0, &[]).is_err());
    town.fleet.with(|it| it.down = false);
    assert_eq!(town.forge.with(|it| it.changes), 0);
    // What was told cannot be read: it is not told once more.
    town.turn();
    town.restart();
    town.bots[0]
        .outside
        .store
        .with(|it| it.files.insert("bot.json".into(), b"{".to_vec()));
    let changes = town.forge.with(|it| it.changes);
    assert!(town.turn_of(0, &[]).is_err());
    assert_eq!(town.forge.with(|it| it.changes), changes);
}

#[test]
fn one_that_cannot_be_fetched_says_so_and_stops_nobody_else() {
    let mut town = settled(&["devvm"]);
    town.propose(7, "onboard-emo", with_emo());
    town.propose(8, "bea-leaves", without_bea());
    let gone = "f".repeat(40).parse().unwrap();
    town.forge.with(|it| it.change(7, |it| it.head = gone));
    let summary = town.turn_of(0, &[]).unwrap();
    assert_eq!(summary.warnings, ["#7 could not be fetched: it is gone"]);
    check("broken.md", &town.comment(7));
    assert!(town.comment(8).contains("**bea**: cut off"));
    // It is fetched at last.
    town.propose(7, "onboard-emo", with_emo());
    town.pass(10);
    town.turn();
    assert!(town.comment(7).contains("**emo**: create account"));
    town.is_quiet();
}

#[test]
fn a_plan_too_long_for_a_comment_is_whole_in_the_ledger() {
    let mut town = settled(&["devvm"]);
    let many: String = (0..500)
        .map(|i| format!("  u{i}: {{authentik_user: u.{i}, k8s_user: u{i}-k, tier: admin}}\n"))
        .collect();
    town.propose(7, "everybody", roster(&format!("{THREE}{many}")));
    town.turn();
    let pages: Vec<String> = town
        .forge
        .with(|it| it.ours(7).into_iter().map(str::to_owned).collect());
    assert!(pages.len() > 1, "held steps alone are more than one page");
    assert!(pages.iter().all(|it| it.chars().count() <= FORGE_LIMIT));
    let link = "git show refs/muster/bot/state:reports/7.md";
    assert!(pages.iter().any(|it| it.contains(link)));
    let files = town.bots[0].outside.store.with(|it| it.files.clone());
    let report = String::from_utf8(files["reports/7.md"].clone()).unwrap();
    for i in [0, 250, 499] {
        assert!(report.contains(&format!("**u{i}**: create account")));
        let held = format!("group.join u{i} gid=27 group=sudo");
        assert!(pages.iter().any(|it| it.contains(&held)), "{held}");
    }
    town.is_quiet();

    // It gets short: the pages that there were say that they are needed no more.
    town.propose(7, "everybody", with_emo());
    town.pass(10);
    town.turn();
    town.forge.with(|it| {
        let pages = it.ours(7);
        assert!(pages[0].contains("**emo**: create account"));
        assert!(
            pages[1..]
                .iter()
                .all(|it| it.ends_with("All of it stands in the comments above."))
        );
    });
    town.is_quiet();
}

#[test]
fn a_thousand_open_pull_requests_cost_no_more_questions_than_one() {
    let questions = |count: u64| {
        let mut town = settled(&["devvm"]);
        for number in 1..=count {
            town.propose(number, &format!("branch-{number}"), with_emo());
        }
        town.turn();
        town.pass(600);
        town.hosts();
        town.turn();
        let before = town.forge.with(|it| it.questions);
        town.turn();
        town.forge.with(|it| it.questions) - before
    };
    assert_eq!(questions(200), questions(1));
}

#[test]
fn what_somebody_waits_for_comes_first() {
    let mut town = settled(&["devvm"]);
    for number in 1..=5 {
        town.propose(number, &format!("branch-{number}"), with_emo());
    }
    let pause = town.forge.with(|it| it.fuse.effects);
    town.forge
        .with(|it| it.fuse.blow = Some((pause + 3, Timing::Before)));
    let _ = town.turn_of(0, &[4]).unwrap();
    let commented: Vec<u64> = town
        .forge
        .with(|it| it.comments.values().map(|it| it.proposal).collect());
    assert_eq!(commented, [4]);
}

#[test]
fn the_commits_of_a_merge_queue_get_their_status() {
    let mut town = settled(&["devvm"]);
    let head = town.propose(6, "onboard-emo", with_emo());
    town.turn();
    let shown = town.forge.with(|it| it.statuses[&head].clone());

    // The queue makes a commit of its own, and waits.
    let base = town.origin.with(|it| it.head().unwrap());
    let branch = format!("gh-readonly-queue/main/pr-6-{base}");
    let queued = town.origin.with(|it| it.commit(&branch, with_emo()));
    let status = |town: &Town| town.forge.with(|it| it.statuses.get(&queued).cloned());
    town.pass(1);
    town.turn();
    assert_eq!(status(&town), Some(shown));
    assert!(town.forge.with(|it| it.checks.contains_key(&queued)));
    assert!(
        town.comment(6).contains(head.as_str()),
        "the comment is about its head"
    );
    town.is_quiet();

    // One that breaks the roster does not pass, another branch's queue is none of ours, and nor is what is only named like one.
    let bad = town.origin.with(|it| {
        it.commit(
            &format!("gh-readonly-queue/main/pr-7-{base}"),
            roster("users:\n  emo: {tier: none}\n"),
        )
    });
    let others = [
        "gh-readonly-queue/stable/pr-6-1",
        "gh-readonly-queue/main/mine",
        "gh-readonly-queue/main/pr-6",
    ];
    let others = others.map(|branch| town.origin.with(|it| it.commit(branch, with_emo())));
    town.pass(1);
    town.turn();
    let state = town.forge.with(|it| it.statuses[&bad].state);
    assert_eq!(state, StatusState::Failure);
    for other in others {
        assert!(town.forge.with(|it| !it.statuses.contains_key(&other)));
    }

    // Somebody sets another status in place of ours: it is put back. Nothing is told twice after a restart.
    town.forge.with(|it| it.statuses.remove(&queued));
    town.pass(60);
    town.turn();
    assert!(status(&town).is_some());
    town.restart();
    town.is_quiet();

    // Merged, the branch is gone.
    town.merge(6, &branch);
    town.pass(1);
    town.turn();
    town.is_quiet();
}
