//! Owner responses as people see them on pull requests: the lane before and after, who stands behind an answer, a secret, and an
//! offboarding. Each story ends with a turn that sends nothing.

use muster_core::forge::StatusState;
use muster_core::services::attributions::sha256;
use muster_core::time::{Date, Time};
use muster_core::world::Files;
use muster_tests::story::{noon, roster};
use muster_tests::town::Town;

const PEOPLE: &str = "users:
  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: admin, forge_user: ann-f}
  bea: {authentik_user: b.ea, k8s_user: bea-k, tier: power-user, forge_user: bea-f}
";
const EMO: &str =
    "  emo: {authentik_user: e.mo, k8s_user: emo-k, tier: power-user, forge_user: emo-f}\n";
const ANSWER: &str = "services/responses/edge.yaml";
const REVIEW: &str = "services/reviews/edge.yaml";

fn start() -> Time {
    noon(Date::constant(2026, 11, 22))
}

fn digest() -> String {
    sha256(b"a: 1\n")
}

/// A surface that was asked about.
fn asked() -> Files {
    let mut files = roster(&format!("{PEOPLE}{EMO}"));
    let requests = format!(
        r#"{{"request_drafts": [{{"request_id": "r1", "surface_id": "edge", "label": "l", "expected_host_scope": [], "config_kind": "c",
"service_scope": "s", "control_tier": "t", "repo_source_path": "edge.yml", "repo_sha256": "{}", "source_line_count": 1,
"write_capable_surface": false, "requires_live_evidence": false, "required_owner_fields": []}}]}}"#,
        digest()
    );
    files.insert("services/requests.json".into(), requests.into());
    files.insert("edge.yml".into(), "a: 1\n".into());
    files
}

fn answer(reason: &str) -> String {
    format!(
        "owner_role_or_team: [emo]
decision: keep
decision_reason: {reason}
affected_scope: edge
repo_sha256: {}
valid_until: 2027-06-30
incident: none
maintenance_window: Sundays, 02:00 to 04:00 UTC
restart_window: Sundays, 04:00 to 05:00 UTC
rollback_owner: bea
post_check_plan: Health, route, queue and log.
disable_switch: The flag edge.
config_source_of_truth_ref: ref:wiki/sources
service_dependency_map_ref: ref:wiki/map
port_binding_inventory_ref: ref:wiki/ports
cold_start_sequence_ref: ref:wiki/start
daemon_runner_contention_ref: ticket:OPS-2
",
        digest()
    )
}

fn with(mut files: Files, path: &str, text: &str) -> Files {
    files.insert(path.to_owned(), text.into());
    files
}

fn town(files: Files) -> Town {
    let mut town = Town::new(files, &["devvm"], start());
    town.drift = false;
    town.hosts();
    town.pass(60);
    town.hosts();
    town
}

fn propose(town: &mut Town, number: u64, author: &str, files: Files) -> (String, StatusState) {
    let head = town.propose(number, &format!("by-{author}-{number}"), files);
    let name = Some(author.to_owned());
    town.forge
        .with(|it| it.change(number, |it| it.author = name));
    town.turn();
    let state = town.forge.with(|it| it.statuses[&head].state);
    (town.comment(number), state)
}

fn merge(town: &mut Town, number: u64, author: &str) {
    town.pass(10);
    town.merge(number, &format!("by-{author}-{number}"));
    town.turn();
    town.pass(10);
    town.hosts();
    town.turn();
    town.is_quiet();
}

fn has(comment: &str, part: &str) {
    assert!(comment.contains(part), "{part:?} is not in:\n{comment}");
}

/// W7, LB2, LB9: answered, reviewed, accepted, and reopened by an offboarding, each with the lane before and after.
#[test]
fn w7_an_answer_from_the_question_to_the_offboarding_of_who_gave_it() {
    let mut town = town(asked());
    let answered = with(asked(), ANSWER, &answer("It ends TLS."));

    let (comment, state) = propose(&mut town, 1, "emo-f", answered.clone());
    has(&comment, "### Owner responses");
    has(
        &comment,
        "`edge`: from `waiting_owner_response` to `ready_for_host_service_review`, by the forge account `emo-f` (pull request 1)",
    );
    assert_eq!(state, StatusState::Success);
    town.is_quiet();
    merge(&mut town, 1, "emo-f");
    // The record of the merge goes on telling it.
    let record = town.comment(1);
    has(&record, "### Owner responses");
    has(&record, "to `ready_for_host_service_review`");

    // The bot is another process by now, and knows who stands behind it all the same.
    town.restart();
    let digest = sha256(&answered[ANSWER]);
    let review = format!("reviewer: ann\nreviewer_outcome: accepted\nresponse_sha256: {digest}\n");
    let accepted = with(answered, REVIEW, &review);
    let (comment, _) = propose(&mut town, 2, "emo-f", accepted.clone());
    has(
        &comment,
        "whoever brought the review is not the reviewer whom it names",
    );
    town.pass(10);
    town.forge
        .with(|it| it.change(2, |it| it.state = muster_core::forge::ProposalState::Closed));
    town.turn();
    // The same bytes, brought by ann, are ann's own.
    let (comment, state) = propose(&mut town, 3, "ann-f", accepted.clone());
    has(
        &comment,
        "`edge`: from `ready_for_host_service_review` to `waiting_runtime_gate`, by the forge account `ann-f` (pull request 3)",
    );
    assert_eq!(state, StatusState::Success);
    merge(&mut town, 3, "ann-f");

    // Offboarding emo reopens what was theirs alone, in the comment that tells of the cut.
    let without = with(accepted, "roster.yaml", PEOPLE);
    let (comment, state) = propose(&mut town, 4, "ann-f", without);
    has(
        &comment,
        "`edge`: from `waiting_runtime_gate` to `request_supplement`",
    );
    has(&comment, "emo is an owner leaving, or has left");
    has(&comment, "emo");
    assert_eq!(
        state,
        StatusState::Success,
        "an offboarding can always be merged"
    );
    merge(&mut town, 4, "ann-f");
}

/// W5, LB5, LB8: a secret is quarantined, no byte of it is told, and taking it out does not help.
#[test]
fn w5_a_secret_in_an_answer_is_quarantined_and_never_told() {
    let secret = "kT9vQ2mX7wZ4bN8c";
    let mut town = town(asked());
    let leak = with(asked(), ANSWER, &answer(&format!("password={secret}")));
    let (comment, state) = propose(&mut town, 1, "emo-f", leak);
    has(
        &comment,
        "`edge`: from `waiting_owner_response` to `quarantine_secret_or_raw_payload`",
    );
    has(&comment, "rotate it; deleting the line does not help");
    assert_eq!(state, StatusState::Failure);
    town.is_quiet();

    let clean = with(asked(), ANSWER, &answer("It ends TLS."));
    let head = town.force(1, "by-emo-f-1", clean);
    town.pass(10);
    town.turn();
    let after = town.comment(1);
    has(&after, "quarantine_secret_or_raw_payload");
    assert_eq!(
        town.forge.with(|it| it.statuses[&head].state),
        StatusState::Failure
    );
    town.is_quiet();

    let mut told = comment + &after;
    let store = &mut town.bots[0].outside.store;
    let kept = muster_core::fleet::BotStore::read(store, &|_| true).unwrap();
    for (path, bytes) in kept {
        told += &format!("{path}: {}", String::from_utf8_lossy(&bytes));
    }
    for status in town.forge.with(|it| it.statuses.clone()).values() {
        told += status.summary.as_str();
    }
    for at in 0..=secret.len() - 8 {
        assert!(!told.contains(&secret[at..at + 8]), "{told}");
    }
}

/// LB5, W5: a name of a file that is a secret itself is told, remembered and kept nowhere, not even of a commit that is taken back.
#[test]
fn lb5_a_name_that_is_a_secret_is_told_and_kept_nowhere() {
    let named = "services/responses/password-hunter22.yaml";
    let leak = with(asked(), named, &answer("It ends TLS."));
    let mut town = town(asked());
    let (comment, state) = propose(&mut town, 1, "emo-f", leak.clone());
    has(&comment, "tells a secret, and is not repeated here");
    assert_eq!(state, StatusState::Failure);
    town.is_quiet();

    let _ = town.origin.with(|it| it.commit("by-emo-f-2", leak));
    let clean = with(asked(), ANSWER, &answer("It ends TLS."));
    let (after, state) = propose(&mut town, 2, "emo-f", clean);
    has(&after, "a file below services/");
    has(&after, "rotate it");
    assert_eq!(state, StatusState::Failure);

    let mut told = comment + &after;
    let store = &mut town.bots[0].outside.store;
    let kept = muster_core::fleet::BotStore::read(store, &|_| true).unwrap();
    for (path, bytes) in kept {
        told += &format!("{path}: {}", String::from_utf8_lossy(&bytes));
    }
    for status in town.forge.with(|it| it.statuses.clone()).values() {
        told += status.summary.as_str();
    }
    assert!(!told.contains("hunter22"), "{told}");
}

/// LB8, W5: what one commit of a proposal had and a later one takes out is found although nobody looked in between, of a surface that
/// nobody asked about, too; and what was there before the proposal is not held against it.
#[test]
fn lb8_every_commit_of_a_proposal_is_looked_through() {
    let (first, second) = ("kT9vQ2mX7wZ4bN8c", "Zp4mW8qL2xV6nB1t");
    let mut town = town(asked());
    let leak = with(asked(), ANSWER, &answer(&format!("password={first}")));
    let other = "services/responses/elsewhere.yaml";
    let leak = with(leak, other, &format!("decision: token={second}\n"));
    let _ = town.origin.with(|it| it.commit("by-emo-f-1", leak));
    let clean = with(asked(), ANSWER, &answer("It ends TLS."));
    let (comment, state) = propose(&mut town, 1, "emo-f", clean.clone());
    has(
        &comment,
        "`edge`: from `waiting_owner_response` to `quarantine_secret_or_raw_payload`",
    );
    has(
        &comment,
        "`services/responses/elsewhere.yaml`: something secret or unredacted was in it in a commit of this proposal",
    );
    assert_eq!(state, StatusState::Failure);
    for secret in [first, second] {
        for at in 0..=secret.len() - 8 {
            assert!(!comment.contains(&secret[at..at + 8]), "{comment}");
        }
    }
    town.is_quiet();
    // Merged all the same, it is in the protected branch for good, and no later proposal brings it again.
    merge(&mut town, 1, "emo-f");
    let (comment, state) = propose(
        &mut town,
        2,
        "emo-f",
        with(clean, "hosts/x.yaml", "tiers: {}\n"),
    );
    assert!(!comment.contains("quarantine"), "{comment}");
    assert_ne!(state, StatusState::Pending);
}

/// LB8, W5: so it is with a file of any name below `services/`, and with the reports, and no byte of it is told.
#[test]
fn lb8_a_file_of_any_name_is_looked_through_in_every_commit() {
    let token = "ghp_aB3dE5gH7jK9mN1pQ3sT5vW7xY9zA1bC3dE5";
    for (path, text) in [
        ("services/README.md", format!("Use {token}.\n")),
        ("services/README", format!("The password is {token}\n")),
        (
            "services/responses/edge.yml",
            format!("decision: {token}\n"),
        ),
        (
            "services/notes/old.json",
            format!("{{\"a\": \"{token}\"}}\n"),
        ),
        (
            "services/inventory.json",
            format!("{{\"a\": \"{token}\"}}\n"),
        ),
    ] {
        let mut town = town(asked());
        let leak = with(asked(), path, &text);
        let _ = town.origin.with(|it| it.commit("by-emo-f-1", leak));
        let clean = with(asked(), ANSWER, &answer("It ends TLS."));
        let (comment, state) = propose(&mut town, 1, "emo-f", clean);
        has(
            &comment,
            "something secret or unredacted was in it in a commit of this proposal",
        );
        has(&comment, "rotate it");
        assert_eq!(state, StatusState::Failure, "{path}");
        for at in 0..=token.len() - 8 {
            assert!(!comment.contains(&token[at..at + 8]), "{path}: {comment}");
        }
        town.is_quiet();
    }
}

/// LB9, C7: who approves a proposal as it is stands behind what it brings; what was pushed afterwards they did not see, and a word that
/// was taken back does not count.
#[test]
fn lb9_an_approval_of_this_very_head_stands_for_a_person() {
    let mut town = town(asked());
    let answered = with(asked(), ANSWER, &answer("It ends TLS."));
    let (comment, _) = propose(&mut town, 1, "ann-f", answered);
    has(&comment, "whoever brought the answer is none of its owners");
    let head = town.forge.with(|it| it.proposals[&1].head.clone());
    town.pass(10);
    town.forge.with(|it| it.approve(1, "emo-f", &head));
    town.turn();
    has(
        &town.comment(1),
        "to `ready_for_host_service_review`, by the forge account `emo-f` (review 100 of pull request 1)",
    );
    town.is_quiet();
    let pushed = with(asked(), ANSWER, &answer("It ends TLS, and more."));
    town.pass(10);
    town.propose(1, "by-ann-f-1", pushed);
    town.turn();
    has(
        &town.comment(1),
        "whoever brought the answer is none of its owners",
    );
    let head = town.forge.with(|it| it.proposals[&1].head.clone());
    town.pass(10);
    town.forge.with(|it| it.approve(1, "emo-f", &head));
    town.turn();
    has(&town.comment(1), "(review 101 of pull request 1)");
    // No forge has to say that it was taken back: it is asked again.
    town.forge.with(|it| it.approvals.clear());
    town.pass(61);
    town.turn();
    has(
        &town.comment(1),
        "whoever brought the answer is none of its owners",
    );
    town.is_quiet();
}

/// LB9, LB4: a signed tag stands for the person whose key it is by the file of this machine, and not once that line is gone.
#[test]
fn lb9_a_signed_tag_stands_for_a_person() {
    use muster_core::release::ObjectKind;
    use muster_core::release::answer::{Signers, statement};
    use muster_core::release::root::Role;
    use muster_tests::signer::Signer;

    let mut town = town(asked());
    let answered = with(asked(), ANSWER, &answer("It ends TLS."));
    let files = [(ANSWER.to_owned(), sha256(&answered[ANSWER]))];
    let message = statement(&files.into_iter().collect());
    let emo = Signer::named("emo");
    let protected = town.origin.with(|it| it.head()).unwrap();
    let raw = emo.tag(&protected, "answer/edge", &message, start());
    let forged = {
        let mut raw = raw.clone();
        let at = raw.windows(4).position(|it| it == b"edge").unwrap();
        raw[at] = b'f';
        raw
    };
    let push = |town: &mut Town, raw: &[u8]| {
        let raw = raw.to_vec();
        town.origin
            .with(|it| it.push_tag("answer/edge", ObjectKind::Tag, raw));
        town.pass(10);
        let warnings = town.turn_of(0, &[]).unwrap().warnings;
        format!("{}\n{warnings:?}", town.comment(1))
    };
    let (comment, _) = propose(&mut town, 1, "ann-f", answered.clone());
    has(&comment, "whoever brought the answer is none of its owners");
    // Nobody's key counts yet.
    has(&push(&mut town, &raw), "is none of its owners");
    let key = emo.trusted("emo", Role::Operational).key;
    town.vouching.signers = Signers::parse("signers", &format!("emo {key}\n")).unwrap();
    let comment = push(&mut town, &forged);
    has(&comment, "is none of its owners");
    has(&comment, "answer/edge stands behind nothing: name_mismatch");
    let comment = push(&mut town, &raw);
    let words = format!(
        "to `ready_for_host_service_review`, by the key `{}` of `emo`",
        key.fingerprint()
    );
    has(&comment, &words);
    merge(&mut town, 1, "ann-f");
    // The tag may go; what it stood behind is kept with its key.
    town.origin.with(|it| it.delete_tag("answer/edge"));
    town.restart();
    let review = format!(
        "reviewer: ann\nreviewer_outcome: accepted\nresponse_sha256: {}\n",
        sha256(&answered[ANSWER])
    );
    let accepted = with(answered.clone(), REVIEW, &review);
    let (comment, _) = propose(&mut town, 2, "ann-f", accepted);
    has(
        &comment,
        "to `waiting_runtime_gate`, by the forge account `ann-f`",
    );
    // A key that is nobody's any more stands for nobody.
    town.vouching.signers = Signers::default();
    town.pass(10);
    town.restart();
    town.turn();
    let comment = town.comment(2);
    assert!(!comment.contains("waiting_runtime_gate"), "{comment}");
}

/// LB9: an account that the proposal itself gives to somebody does not speak for them in it, and is told so.
#[test]
fn lb9_nobody_becomes_an_owner_by_the_proposal_that_answers() {
    let mut town = town(asked());
    let taken = asked();
    let roster = String::from_utf8(taken["roster.yaml"].clone()).unwrap();
    let taken = with(taken, "roster.yaml", &roster.replace("emo-f", "mallory"));
    let taken = with(taken, ANSWER, &answer("It ends TLS."));
    let (comment, _) = propose(&mut town, 1, "mallory", taken);
    has(&comment, "to `request_supplement`");
    has(&comment, "changes with this very proposal");
    town.is_quiet();
}

/// LB9: a proposal that is closed takes its word with it, however often the same bytes come back.
#[test]
fn lb9_a_closed_proposal_takes_its_word_with_it() {
    let mut town = town(asked());
    let answered = with(asked(), ANSWER, &answer("It ends TLS."));
    let _ = propose(&mut town, 1, "emo-f", answered.clone());
    town.pass(10);
    town.forge
        .with(|it| it.change(1, |it| it.state = muster_core::forge::ProposalState::Closed));
    town.turn();
    let (comment, _) = propose(&mut town, 2, "ann-f", answered);
    has(&comment, "whoever brought the answer is none of its owners");
    town.is_quiet();
}

/// LB10, LB1: a partial inventory changes no lane, and a name that never was is told where it stands.
#[test]
fn lb10_what_is_wrong_makes_the_proposal_red() {
    let mut town = town(with(asked(), ANSWER, &answer("It ends TLS.")));
    let mut partial = asked();
    partial.insert(
        "services/requests.json".into(),
        b"{\"request_drafts\": []}".to_vec(),
    );
    let (comment, state) = propose(&mut town, 1, "emo-f", partial);
    has(&comment, "more than a fifth is gone; no lane changes");
    assert!(!comment.contains("`edge`: from"), "{comment}");
    assert_eq!(state, StatusState::Failure);
    let wrong = with(
        asked(),
        ANSWER,
        &answer("It ends TLS.").replace("bea", "beaa"),
    );
    let (comment, state) = propose(&mut town, 2, "emo-f", wrong);
    has(&comment, "`services/responses/edge.yaml:10:17`");
    has(&comment, "did you mean bea");
    assert_eq!(state, StatusState::Failure);
    town.is_quiet();
}

/// LB3, A14: one byte of what the surface is configured by, and the answer is stale, in the comment of whoever changes it.
#[test]
fn lb3_a_change_of_the_configuration_is_told_to_who_makes_it() {
    let mut town = town(with(asked(), "edge.yml", "a: 1\n"));
    let answered = with(
        with(asked(), "edge.yml", "a: 1\n"),
        ANSWER,
        &answer("It ends TLS."),
    );
    let _ = propose(&mut town, 1, "emo-f", answered.clone());
    merge(&mut town, 1, "emo-f");
    let changed = with(answered.clone(), "edge.yml", "a: 2\n");
    let (comment, state) = propose(&mut town, 2, "bea-f", changed);
    has(
        &comment,
        "`edge`: from `ready_for_host_service_review` to `request_supplement`",
    );
    has(
        &comment,
        "`stale` at `services/responses/edge.yaml:5:14`: stale: the configuration is not what it was",
    );
    assert_eq!(state, StatusState::Success);
    let mut gone = answered;
    gone.remove("edge.yml");
    let (comment, _) = propose(&mut town, 3, "bea-f", gone);
    has(&comment, "the configuration is not there any more");
    town.is_quiet();
}

/// Where there is nothing below `services/`, a comment has no such section, and the store no such file.
#[test]
fn a_repository_without_services_hears_nothing_of_them() {
    let mut town = town(roster(PEOPLE));
    let (comment, _) = propose(&mut town, 1, "ann-f", roster(&format!("{PEOPLE}{EMO}")));
    assert!(!comment.contains("Owner responses"), "{comment}");
    let store = &mut town.bots[0].outside.store;
    let kept = muster_core::fleet::BotStore::read(store, &|path| path == "services.json").unwrap();
    assert!(kept.is_empty());
    town.is_quiet();
}

/// W5, W7, LB5: without a forge the note on the branch tells the lanes, and no byte of a secret is in a note, an output, or anything
/// that the program keeps; nothing on the host moves for an answer (A13).
#[test]
fn w7_a_note_tells_the_lanes_and_nothing_keeps_the_secret() {
    use muster_tests::site::{Site, needs};
    needs(&["git"]);
    let secret = "kT9vQ2mX7wZ4bN8c";
    let site = Site::new();
    let put = |path: &str, text: &[u8]| {
        let path = site.path(&format!("origin/{path}"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let mut files = asked();
    let roster = String::from_utf8(files.remove("roster.yaml").unwrap()).unwrap();
    for (path, bytes) in &files {
        put(path, bytes);
    }
    put("edge.yml", b"a: 1\n");
    site.commit(&roster, "people, and what is asked");
    let mut told = site.once().ok().said();
    let before = site.host();
    site.git(&["switch", "--quiet", "-c", "answer"]);
    put(ANSWER, answer(&format!("password={secret}")).as_bytes());
    site.commit(&roster, "an answer");
    told += &site.once().ok().said();
    let note = site.git(&["notes", "--ref=muster/host/devvm/plan", "show", "answer"]);
    has(&note, "### Owner responses");
    has(
        &note,
        "`edge`: from `waiting_owner_response` to `quarantine_secret_or_raw_payload`",
    );
    told += &note;
    for args in [["status"], ["pending"], ["history"]] {
        told += &site.muster(&args).said();
    }
    assert_eq!(before, site.host(), "an answer moves nothing on the host");
    for at in 0..=secret.len() - 8 {
        assert!(!told.contains(&secret[at..at + 8]), "{told}");
    }
    // The state directory holds git objects, too: what git keeps of the branch is the origin's, and is not copied.
    let mut dirs = vec![site.path("state")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
                continue;
            }
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            let plain = bytes
                .windows(8)
                .any(|it| secret.as_bytes().windows(8).any(|s| s == it));
            assert!(!plain, "{}", entry.path().display());
        }
    }
    let blob = site.git(&["rev-parse", &format!("answer:{ANSWER}")]);
    let object = format!("{}/{}", &blob[..2], &blob[2..]);
    let copied = site.path(&format!("state/state.git/objects/{object}"));
    assert!(!copied.exists(), "{}", copied.display());
}

/// A site whose protected branch asks about a surface, and holds what an answer needs.
fn site_asked() -> (muster_tests::site::Site, String) {
    use muster_tests::site::Site;
    let site = Site::new();
    let mut files = asked();
    let roster = String::from_utf8(files.remove("roster.yaml").unwrap()).unwrap();
    for (path, bytes) in &files {
        put(&site, path, bytes);
    }
    put(&site, "edge.yml", b"a: 1\n");
    site.commit(&roster, "people, and what is asked");
    (site, roster)
}

fn put(site: &muster_tests::site::Site, path: &str, text: &[u8]) {
    let path = site.path(&format!("origin/{path}"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// W7: `muster plan --branch` tells what the note tells, for people, for programs and as it stands in a comment.
#[test]
fn w7_a_plan_of_a_branch_tells_the_lanes() {
    muster_tests::site::needs(&["git"]);
    let (site, roster) = site_asked();
    let _ = site.once().ok();
    site.git(&["switch", "--quiet", "-c", "answer"]);
    put(&site, ANSWER, answer("It is looked after.").as_bytes());
    site.commit(&roster, "an answer");
    let plan = |format: &str| site.muster(&["plan", "--branch", "answer", "--format", format]);
    let change = "from `waiting_owner_response` to `request_supplement`";
    let markdown = plan("markdown").said();
    has(&markdown, "### Owner responses");
    has(&markdown, change);
    has(
        &plan("human").said(),
        &format!("edge: {}", change.replace('`', "")),
    );
    let json: serde_json::Value = serde_json::from_str(&plan("json").out).unwrap();
    assert_eq!(json["sections"][0]["title"], "Owner responses", "{json:#}");
    assert_eq!(json["sections"][0]["good"], true, "{json:#}");
    let text = json["sections"][0]["items"][0]["text"].as_str().unwrap();
    has(text, change);
    let of_newest = site.muster(&["plan", "--format", "json"]).out;
    assert!(!of_newest.contains("sections"), "{of_newest}");

    // So does one of a commit that is named, in the same words.
    let head = site.git(&["rev-parse", "answer"]).trim().to_owned();
    for named in [["--rev", "answer"], ["--commit", &head]] {
        let plan =
            |format: &str| site.muster(&[&["plan", "--format", format][..], &named[..]].concat());
        let of = |text: &str| {
            let at = text.find("### Owner responses").expect("a section");
            text[at..].to_owned()
        };
        assert_eq!(of(&plan("markdown").said()), of(&markdown), "{named:?}");
        has(
            &plan("human").said(),
            &format!("edge: {}", change.replace('`', "")),
        );
        has(&plan("json").out, "\"Owner responses\"");
    }
    let named = site.muster(&["plan", "--rev", "main"]).said();
    assert!(!named.contains("edge:"), "{named}");

    // What keeps it from being merged is told by the exit code, too.
    put(
        &site,
        ANSWER,
        answer("Please run sudo systemctl restart edge now.").as_bytes(),
    );
    site.commit(&roster, "a request");
    let refused = plan("human");
    assert_eq!(refused.code, Some(1), "{}", refused.said());
    has(&refused.said(), "owner responses: refused");
}

/// W7: a branch whose merge is not valid has the section all the same, as far as it can be read; where the people cannot be read, it says
/// why there are no lanes.
#[test]
fn w7_a_merge_that_is_not_valid_tells_of_owner_responses() {
    muster_tests::site::needs(&["git"]);
    let (site, roster) = site_asked();
    let _ = site.once().ok();
    let change = "from `waiting_owner_response` to `request_supplement`";
    let untold = "the roster that the merge gives cannot be read";
    for (branch, roster, told) in [
        (
            "wrong",
            format!("{roster}  zed: {{tier: nobody}}\n"),
            change,
        ),
        (
            "unread",
            "version https://git-lfs.github.com/spec/v1\n".to_owned(),
            untold,
        ),
    ] {
        site.git(&["switch", "--quiet", "-c", branch, "main"]);
        put(&site, ANSWER, answer("It is looked after.").as_bytes());
        site.commit(&roster, "an answer");
        let _ = site.once().ok();
        let note = site.git(&["notes", "--ref=muster/host/devvm/plan", "show", branch]);
        has(&note, "### Owner responses");
        has(&note, told);
        for format in ["markdown", "human", "json"] {
            let plan = site.muster(&["plan", "--branch", branch, "--format", format]);
            assert_eq!(plan.code, Some(1), "{}", plan.said());
            let told = match format {
                "human" => told.replace('`', ""),
                _ => told.to_owned(),
            };
            // Lines of a terminal are broken.
            let said = plan.said().split_whitespace().collect::<Vec<_>>().join(" ");
            has(&said, &told);
        }
    }
}

/// LB8: without a forge, too, each commit of a branch is looked through, and not its last alone: by the note, by `plan --branch` and by
/// `services check --before`.
#[test]
fn lb8_a_secret_between_commits_is_told_without_a_forge() {
    muster_tests::site::needs(&["git"]);
    let (site, roster) = site_asked();
    let _ = site.once().ok();
    site.git(&["switch", "--quiet", "-c", "answer"]);
    let secret = "kT9vQ2mX7wZ4bN8c";
    put(
        &site,
        ANSWER,
        answer(&format!("password={secret}")).as_bytes(),
    );
    put(
        &site,
        "services/responses/gone.yaml",
        format!("decision_reason: password={secret}\n").as_bytes(),
    );
    site.commit(&roster, "an answer");
    put(&site, ANSWER, answer("It is looked after.").as_bytes());
    std::fs::remove_file(site.path("origin/services/responses/gone.yaml")).unwrap();
    site.commit(&roster, "another answer");
    let mut told = site.once().ok().said();
    let note = site.git(&["notes", "--ref=muster/host/devvm/plan", "show", "answer"]);
    let lane = "to `quarantine_secret_or_raw_payload`";
    has(&note, lane);
    has(&note, "`services/responses/gone.yaml`: something secret");
    told += &note;
    let plan = site.muster(&["plan", "--branch", "answer", "--format", "markdown"]);
    assert_eq!(plan.code, Some(1), "{}", plan.said());
    has(&plan.said(), lane);
    told += &plan.said();
    let origin = site.path("origin").display().to_string();
    let services = |what: &str, more: &[&str]| {
        let args = ["services", what, "--repo", &origin, "--rev", "answer"];
        site.muster(&[&args[..], more].concat())
    };
    let last = services("check", &[]);
    assert_eq!(
        last.code,
        Some(0),
        "the last commit alone is well: {}",
        last.said()
    );
    let since = services("check", &["--before", "main"]);
    assert_eq!(since.code, Some(1), "{}", since.said());
    has(
        &since.said(),
        "services/responses/edge.yaml: error: something secret",
    );
    has(
        &since.said(),
        "services/responses/gone.yaml: error: something secret",
    );
    told += &since.said();
    // And lanes stand beside those before.
    let status = services("status", &["--before", "main"]).said();
    has(
        &status,
        "edge: from waiting_owner_response to quarantine_secret_or_raw_payload",
    );
    let json = services("status", &["--before", "main", "--format", "json"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["surfaces"]["edge"]["before"], "waiting_owner_response");
    for at in 0..=secret.len() - 8 {
        assert!(!told.contains(&secret[at..at + 8]), "{told}");
    }
    // A directory has no commit before it, and that is said.
    let alone = site.muster(&["services", "check", &origin, "--before", "main"]);
    assert_eq!(alone.code, Some(64), "{}", alone.said());
}

/// LB1: whoever takes all of `services/` away is told that nothing asks about those surfaces any more, by a note and by a comment.
#[test]
fn lb1_a_branch_without_services_is_told_of() {
    muster_tests::site::needs(&["git"]);
    let gone = "there are 0 surfaces where there were 1";
    let (site, roster_text) = site_asked();
    let _ = site.once().ok();
    site.git(&["switch", "--quiet", "-c", "bare"]);
    std::fs::remove_dir_all(site.path("origin/services")).unwrap();
    site.commit(&roster_text, "nothing is asked");
    let _ = site.once().ok();
    let note = site.git(&["notes", "--ref=muster/host/devvm/plan", "show", "bare"]);
    has(&note, gone);
    let plan = site.muster(&["plan", "--branch", "bare"]);
    assert_eq!(plan.code, Some(1), "{}", plan.said());
    has(&plan.said(), gone);

    let mut town = town(asked());
    let files = roster(&format!("{PEOPLE}{EMO}"));
    let (comment, state) = propose(&mut town, 1, "ann-f", files);
    has(&comment, gone);
    assert_eq!(state, StatusState::Failure);
}

/// W4: after an offboarding is merged, the names of whoever left are a lane and no error, by the commits that led here.
#[test]
fn w4_whoever_left_is_no_error_of_the_files() {
    muster_tests::site::needs(&["git"]);
    let (site, _) = site_asked();
    put(&site, ANSWER, answer("It is looked after.").as_bytes());
    site.commit(&format!("{PEOPLE}{EMO}"), "an answer");
    site.commit(PEOPLE, "emo leaves");
    let origin = site.path("origin").display().to_string();
    for place in [
        &[origin.as_str()][..],
        &["--repo", &origin, "--rev", "main"],
    ] {
        let ran = site.muster(&[&["services", "check"][..], place].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.said());
        has(
            &ran.said(),
            "owner_role_or_team: emo is an owner leaving, or has left",
        );
    }
    // A name that never was stays one.
    put(
        &site,
        ANSWER,
        answer("It is looked after.")
            .replace("[emo]", "[zed]")
            .as_bytes(),
    );
    site.commit(PEOPLE, "somebody");
    let ran = site.muster(&["services", "check", &origin]);
    assert_eq!(ran.code, Some(1), "{}", ran.said());
    has(&ran.said(), "nobody of the roster has this name");
}
