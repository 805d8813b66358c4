//! What is read.

use std::time::Duration;

use muster_core::forge::{Cursor, ForgeError, ForgeReader, ProposalState, Visibility, Which};
use muster_forge::clock::Clock;
use serde_json::json;

use crate::model::{Kind, sha, with, with_each};

#[test]
fn proposals_are_listed_and_then_only_those_that_changed() {
    with_each(|forge, reader, _| {
        forge.pull(1, json!({}));
        forge.pull(2, json!({"state": "closed"}));
        forge.pull(3, json!({"draft": true, "head": {"repo": {"id": 6}, "repo_id": 6, "label": "mallory:edit"}}));
        let open = reader.proposals(Which::Open).unwrap();
        let numbers: Vec<u64> = open.proposals.iter().map(|it| it.number).collect();
        assert_eq!(numbers, [3, 1], "the one that changed last first");
        assert!(open.proposals[0].draft && open.proposals[0].fork && !open.proposals[1].fork);
        assert_eq!(open.proposals[1].head.as_str(), sha(1));
        assert_eq!(
            (
                open.proposals[1].head_label.as_str(),
                open.proposals[1].base.as_str()
            ),
            ("acme:edit", "main")
        );

        let quiet = reader.proposals(Which::ChangedSince(&open.cursor)).unwrap();
        let numbers: Vec<u64> = quiet.proposals.iter().map(|it| it.number).collect();
        assert_eq!(
            numbers,
            [2],
            "closed shortly before the listing began, and not seen in it"
        );
        let quiet = reader
            .proposals(Which::ChangedSince(&quiet.cursor))
            .unwrap();
        assert_eq!(quiet.proposals, []);

        forge.clock.wait(Duration::from_secs(600));
        forge.pull(1, json!({"state": "closed", "merged_at": "2026-11-22T16:00:00Z", "merge_commit_sha": sha(77)}));
        forge.pull(4, json!({"head": {"sha": sha(44)}}));
        let changed = reader
            .proposals(Which::ChangedSince(&quiet.cursor))
            .unwrap();
        let numbers: Vec<u64> = changed.proposals.iter().map(|it| it.number).collect();
        assert_eq!(numbers, [4, 1]);
        let commit = Some(sha(77).parse().unwrap());
        assert_eq!(changed.proposals[1].state, ProposalState::Merged { commit });
        // A forge that shows something late.
        let late = forge.clock.truth().plus(-60).to_string();
        forge.pull(5, json!({}));
        forge.pull(5, json!({"updated_at": late}));
        let late = reader
            .proposals(Which::ChangedSince(&changed.cursor))
            .unwrap();
        assert_eq!(late.proposals.len(), 1, "{:?}", late.proposals);
        assert_eq!(late.proposals[0].number, 5);
    });
}

#[test]
fn a_thousand_proposals_cost_as_many_calls_as_changed() {
    with(Kind::GitHubApp, |forge, reader, _| {
        for n in 1..=1_000 {
            forge.pull(n, json!({}));
            forge.clock.wait(Duration::from_secs(10));
        }
        let before = forge.state(|it| it.counted);
        let open = reader.proposals(Which::Open).unwrap();
        assert_eq!(open.proposals.len(), 1_000);
        let pages = forge.state(|it| it.counted) - before;
        assert_eq!(pages, 10 + 2, "ten pages, and the credentials");
        // After a restart, from what was kept.
        let kept = reader.keep_answers();
        let (mut again, _) = forge.connect();
        again.recall_answers(&kept);
        let before = forge.state(|it| it.counted);
        assert_eq!(again.proposals(Which::Open).unwrap().proposals.len(), 1_000);
        assert_eq!(
            forge.state(|it| it.counted) - before,
            2,
            "the credentials; the rest is not modified"
        );
        assert!(!String::from_utf8_lossy(&kept).contains("canary"));
        // Looking again costs nothing, and one that changed costs two pages, as twelve changed in the last two minutes before.
        let first = again.proposals(Which::ChangedSince(&open.cursor)).unwrap();
        let before = forge.state(|it| it.counted);
        let second = again.proposals(Which::ChangedSince(&first.cursor)).unwrap();
        assert_eq!(second.proposals, []);
        assert_eq!(forge.state(|it| it.counted) - before, 0);
        forge.clock.wait(Duration::from_secs(300));
        forge.pull(500, json!({"head": {"sha": sha(5_000)}}));
        let third = again
            .proposals(Which::ChangedSince(&second.cursor))
            .unwrap();
        assert_eq!(third.proposals.len(), 1);
        assert_eq!(forge.state(|it| it.counted) - before, 2);
        // They come ten to a page, and no more pages are asked for than have one that changed.
        forge.clock.wait(Duration::from_secs(300));
        (1..=25).for_each(|n| forge.pull(n, json!({"head": {"sha": sha(6_000 + n)}})));
        let before = forge.state(|it| it.counted);
        let many = again.proposals(Which::ChangedSince(&third.cursor)).unwrap();
        assert_eq!(many.proposals.len(), 25);
        assert_eq!(forge.state(|it| it.counted) - before, 3);
    });
}

#[test]
fn one_that_cannot_be_read_stops_nobody_else() {
    with_each(|forge, reader, _| {
        forge.pull(1, json!({}));
        forge.pull(2, json!({"head": {"sha": "not a commit"}}));
        forge.pull(3, json!({"draft": "perhaps"}));
        forge.pull(
            4,
            json!({"something": {"new": [1, 2, 3]}, "draft": null, "head": {"label": null}}),
        );
        let open = reader.proposals(Which::Open).unwrap();
        let numbers: Vec<u64> = open.proposals.iter().map(|it| it.number).collect();
        assert_eq!(numbers, [4, 1]);
        assert_eq!(open.unread.len(), 2, "{:?}", open.unread);
        assert!(matches!(
            reader.proposal(2),
            Err(ForgeError::Garbled { .. })
        ));
    });
}

#[test]
fn pages_are_read_to_the_end_and_links_to_other_hosts_lead_nowhere() {
    with_each(|forge, reader, _| {
        forge.state(|it| it.page_size = Some(7));
        for n in 1..=40 {
            forge.pull(n, json!({}));
        }
        assert_eq!(reader.proposals(Which::Open).unwrap().proposals.len(), 40);
        let paths = |n: usize| json!({"filename": format!("hosts/{n}.yaml"), "previous_filename": format!("old/{n}.yaml")});
        forge.state(|it| it.files.insert(1, (0..20).map(paths).collect()));
        let changed = reader.changed_paths(1).unwrap();
        assert_eq!(changed.len(), 40);
        assert!(changed.is_sorted() && changed.contains(&"old/19.yaml".to_owned()));
    });
}

/// LB9: of each account what it said last counts, by the words of either forge; remarks say nothing, and what has no account nothing.
#[test]
fn lb9_who_approves_is_who_said_so_last_and_did_not_take_it_back() {
    with_each(|forge, reader, _| {
        let rejects = match forge.kind {
            Kind::Forgejo => "REQUEST_CHANGES",
            Kind::GitHubApp | Kind::GitHubToken => "CHANGES_REQUESTED",
        };
        let review = |id: u64, login: &str, state: &str| json!({"id": id, "user": {"id": 7, "login": login}, "state": state, "commit_id": sha(5), "body": "x"});
        let mut dismissed = review(9, "dan", "APPROVED");
        dismissed["dismissed"] = json!(true);
        let nobody = json!({"id": 10, "user": null, "state": "APPROVED", "commit_id": sha(5)});
        let nowhere =
            json!({"id": 11, "user": {"login": "eve"}, "state": "APPROVED", "commit_id": ""});
        let list = vec![
            review(1, "ann", "APPROVED"),
            review(2, "bob", "APPROVED"),
            review(3, "Bob", rejects),
            review(4, "ann", "COMMENTED"),
            review(5, "cleo", rejects),
            review(6, "cleo", "APPROVED"),
            review(7, "dan", "APPROVED"),
            review(8, "fay", "DISMISSED"),
            review(12, "gus", "PENDING"),
            dismissed,
            nobody,
            nowhere,
        ];
        forge.pull(1, json!({}));
        forge.state(|it| {
            it.page_size = Some(5);
            it.reviews.insert(1, list);
        });
        let approvals = reader.approvals(1).unwrap();
        let told: Vec<(u64, &str)> = approvals.iter().map(|it| (it.review, &*it.by)).collect();
        assert_eq!(told, [(1, "ann"), (6, "cleo")]);
        assert!(approvals.iter().all(|it| it.commit.as_str() == sha(5)));
        assert_eq!(reader.approvals(2).unwrap(), []);
    });
}

#[test]
fn one_proposal_and_the_one_that_a_commit_came_from() {
    with_each(|forge, reader, _| {
        forge.pull(1, json!({}));
        assert_eq!(reader.proposal(1).unwrap().number, 1);
        assert!(matches!(
            reader.proposal(9),
            Err(ForgeError::NotThere { .. })
        ));
        let merged = sha(77);
        forge.pull(1, json!({"state": "closed", "merged": true, "merged_at": "2026-11-22T16:00:00Z", "merge_commit_sha": merged}));
        forge.state(|it| {
            it.merged.insert(merged.clone(), 1);
            // A commit of the branch that was merged is not what it was merged as.
            it.merged.insert(sha(1), 1);
        });
        let found = reader.proposal_merged_as(&merged.parse().unwrap()).unwrap();
        assert_eq!(found.map(|it| it.number), Some(1));
        assert_eq!(
            reader.proposal_merged_as(&sha(1).parse().unwrap()).unwrap(),
            None
        );
        assert_eq!(
            reader.proposal_merged_as(&sha(5).parse().unwrap()).unwrap(),
            None
        );
    });
}

#[test]
fn what_is_not_said_to_be_private_is_public() {
    with_each(|forge, reader, _| {
        assert_eq!(reader.visibility().unwrap(), Visibility::Private);
        forge.state(|it| it.private = false);
        assert_eq!(reader.visibility().unwrap(), Visibility::Public);
    });
}

#[test]
fn an_answer_in_which_nothing_changed_is_what_it_was() {
    with(Kind::GitHubApp, |forge, reader, _| {
        forge.pull(1, json!({}));
        let first = reader.proposal(1).unwrap();
        let before = forge.state(|it| it.counted);
        assert_eq!(reader.proposal(1).unwrap(), first);
        assert_eq!(forge.state(|it| it.counted), before);
        forge.pull(1, json!({"draft": true}));
        assert!(reader.proposal(1).unwrap().draft);
        // A cursor from long ago is no reason to read what never changed since.
        let since = Cursor::at(forge.clock.truth());
        assert_eq!(
            reader
                .proposals(Which::ChangedSince(&since))
                .unwrap()
                .proposals
                .len(),
            1
        );
    });
}

#[test]
fn what_could_not_be_read_is_asked_for_anew() {
    with(Kind::GitHubApp, |forge, reader, _| {
        use crate::model::What;
        forge.pull(1, json!({}));
        reader.visibility().unwrap();
        let marked = vec![("etag", "W/\"1\"".to_owned())];
        forge.fault("GET", "/pulls/1", What::Answer(200, marked, json!("half")));
        assert!(matches!(
            reader.proposal(1),
            Err(ForgeError::Garbled { .. })
        ));
        assert_eq!(reader.proposal(1).unwrap().number, 1);
        let last = forge.state(|it| it.requests.last().cloned()).unwrap();
        assert!(!last.headers.contains_key("if-none-match"), "{last:?}");
    });
}
