//! What is told, once.

use muster_core::commit::CommitId;
use muster_core::forge::{
    Annotation, CheckRun, CheckState, Closed, CommentId, ForgeError, ForgeWriter, Issue, Level,
    Marker, Put, Status, StatusLine, StatusState,
};
use serde_json::json;

use crate::model::{Kind, SOMEBODY, US, sha, with, with_each};

fn marker() -> Marker {
    "plan".parse().unwrap()
}

fn head() -> CommitId {
    sha(1).parse().unwrap()
}

#[test]
fn there_is_one_comment_and_it_is_changed_in_place() {
    with_each(|forge, _, writer| {
        let Put::Created(id) = writer.put_comment(7, None, &marker(), "One.").unwrap() else {
            panic!("not created");
        };
        assert_eq!(forge.told(), "#7: new comment: <!-- muster plan -->\nOne.");
        // Nothing changed: nothing is sent, whether its number is remembered or not.
        for known in [Some(id), None, Some(CommentId(1))] {
            let before =
                forge.state(|it| it.requests.iter().filter(|it| it.method != "GET").count());
            assert_eq!(
                writer.put_comment(7, known, &marker(), "One.").unwrap(),
                Put::Unchanged(id)
            );
            assert_eq!(
                forge.state(|it| it.requests.iter().filter(|it| it.method != "GET").count()),
                before
            );
        }
        assert_eq!(
            writer.put_comment(7, Some(id), &marker(), "Two.").unwrap(),
            Put::Updated(id)
        );
        assert_eq!(forge.told(), "comment changed: <!-- muster plan -->\nTwo.");
        assert_eq!(
            writer.put_comment(7, None, &marker(), "Three.").unwrap(),
            Put::Updated(id)
        );
        assert_eq!(
            forge.told(),
            "comment changed: <!-- muster plan -->\nThree."
        );
        // Another page is another comment, and so is another proposal's.
        let second: Marker = "plan/2".parse().unwrap();
        assert!(matches!(
            writer.put_comment(7, None, &second, "More.").unwrap(),
            Put::Created(_)
        ));
        assert_eq!(
            forge.told(),
            "#7: new comment: <!-- muster plan/2 -->\nMore."
        );
        assert!(matches!(
            writer
                .put_comment(8, Some(id), &marker(), "Three.")
                .unwrap(),
            Put::Created(_)
        ));
        assert_eq!(
            forge.told(),
            "#8: new comment: <!-- muster plan -->\nThree."
        );
    });
}

#[test]
fn a_comment_that_a_person_deletes_or_changes_comes_back() {
    with_each(|forge, _, writer| {
        let id = writer
            .put_comment(7, None, &marker(), "One.")
            .unwrap()
            .id()
            .unwrap();
        forge.told();
        forge.state(|it| it.comments.clear());
        let again = writer.put_comment(7, Some(id), &marker(), "One.").unwrap();
        assert!(matches!(again, Put::Created(new) if new != id));
        assert_eq!(forge.told(), "#7: new comment: <!-- muster plan -->\nOne.");
        let id = again.id().unwrap();
        forge.state(|it| {
            it.comments.get_mut(&id.0).unwrap()["body"] = json!("<!-- muster plan -->\r\nTwo!\r\n")
        });
        assert_eq!(
            writer.put_comment(7, Some(id), &marker(), "One.").unwrap(),
            Put::Updated(id)
        );
        forge.told();
        // The forge's own line ends are no change.
        forge.state(|it| {
            it.comments.get_mut(&id.0).unwrap()["body"] = json!("<!-- muster plan -->\r\nOne.\r\n")
        });
        assert_eq!(
            writer.put_comment(7, Some(id), &marker(), "One.").unwrap(),
            Put::Unchanged(id)
        );
    });
}

#[test]
fn a_marker_that_somebody_else_wrote_is_not_ours() {
    with_each(|forge, _, writer| {
        let forged = forge.comment(7, SOMEBODY, "<!-- muster plan -->\nApproved, says the bot.");
        let put = writer
            .put_comment(7, Some(CommentId(forged)), &marker(), "One.")
            .unwrap();
        assert!(matches!(put, Put::Created(_)));
        forge.told();
        // Ours, with a quotation of the marker, or another's number: not the one.
        forge.comment(7, US, "As I said:\n<!-- muster plan -->\nOne.");
        assert_eq!(
            writer.put_comment(7, None, &marker(), "One.").unwrap(),
            Put::Unchanged(put.id().unwrap())
        );
        assert_eq!(
            forge.state(|it| it.comments[&forged]["body"].clone()),
            "<!-- muster plan -->\nApproved, says the bot."
        );
    });
}

#[test]
fn of_several_comments_one_is_kept_in_sight() {
    with_each(|forge, _, writer| {
        let first = forge.comment(7, US, "<!-- muster plan -->\nOne.");
        let second = forge.comment(7, US, "<!-- muster plan -->\nOne again.");
        let put = writer.put_comment(7, None, &marker(), "Two.").unwrap();
        assert_eq!(put, Put::Updated(CommentId(first)));
        assert_eq!(forge.told(), "comment changed: <!-- muster plan -->\nTwo.");
        match forge.kind {
            Kind::Forgejo => assert!(forge.told().contains("Out of date"), "{second}"),
            _ => assert_eq!(forge.told(), format!("IC_{second} put out of sight")),
        }
        // Once.
        assert_eq!(
            writer.put_comment(7, None, &marker(), "Two.").unwrap(),
            Put::Unchanged(CommentId(first))
        );
    });
}

#[test]
fn one_that_is_too_long_is_not_cut_but_refused() {
    with_each(|forge, _, writer| {
        let room = marker().room();
        let error = writer
            .put_comment(7, None, &marker(), &"é".repeat(room + 1))
            .unwrap_err();
        assert_eq!(
            error,
            ForgeError::TooLong {
                length: room + 1,
                limit: room
            }
        );
        assert!(matches!(
            writer.put_comment(7, None, &marker(), &"é".repeat(room)),
            Ok(Put::Created(_))
        ));
        assert!(forge.told().ends_with("éé"));
    });
}

#[test]
fn a_status_is_set_when_it_is_another() {
    with_each(|forge, _, writer| {
        let mut status = Status {
            state: StatusState::Pending,
            context: "muster".into(),
            summary: StatusLine::of("planning for 2 hosts"),
            target: Some("https://ledger.example/report".into()),
        };
        assert_eq!(
            writer.set_status(&head(), &status).unwrap(),
            Put::Created(())
        );
        assert_eq!(forge.told(), "status pending: planning for 2 hosts");
        assert_eq!(
            writer.set_status(&head(), &status).unwrap(),
            Put::Unchanged(())
        );
        status.state = StatusState::Failure;
        status.summary = StatusLine::of(&"x".repeat(300));
        assert_eq!(
            writer.set_status(&head(), &status).unwrap(),
            Put::Updated(())
        );
        assert!(forge.told().starts_with("status failure: xxx"));
        // Somebody else's status of our name is not ours.
        let forged = json!({"context": "muster", "state": "success", "status": "success", "description": "ok", "target_url": null, "creator": {"id": SOMEBODY}});
        forge.state(|it| it.statuses.push((sha(1), forged)));
        status.state = StatusState::Success;
        status.summary = StatusLine::of("ok");
        status.target = None;
        assert_eq!(
            writer.set_status(&head(), &status).unwrap(),
            Put::Updated(())
        );
        assert_eq!(forge.told(), "status success: ok");
    });
}

fn check(state: CheckState, remarks: u32) -> CheckRun {
    CheckRun {
        name: "muster plan".into(),
        state,
        title: format!("{remarks} problems"),
        summary: "See below.".into(),
        annotations: (1..=remarks)
            .map(|line| Annotation {
                path: "roster.yaml".into(),
                line,
                column: Some(3),
                level: Level::Failure,
                message: "no such tier".into(),
            })
            .collect(),
        target: None,
    }
}

#[test]
fn a_check_has_its_remarks_fifty_at_a_time_and_is_concluded_last() {
    with(Kind::GitHubApp, |forge, _, writer| {
        let running = writer
            .put_check(&head(), &check(CheckState::Running, 0))
            .unwrap();
        let id = running.id().unwrap();
        assert_eq!(
            forge.told(),
            format!("check {} in_progress, 0 remarks: 0 problems", id.0)
        );
        let failed = check(CheckState::Failure, 120);
        assert_eq!(
            writer.put_check(&head(), &failed).unwrap(),
            Put::Updated(id)
        );
        for line in [
            "in_progress, 50 remarks",
            "in_progress, 100 remarks",
            "failure, 120 remarks",
        ] {
            assert_eq!(forge.told(), format!("check {} {line}: 120 problems", id.0));
        }
        assert_eq!(
            writer.put_check(&head(), &failed).unwrap(),
            Put::Unchanged(id)
        );
        // Remarks cannot be taken back: a run without them follows, under the same name.
        let put = writer
            .put_check(&head(), &check(CheckState::Success, 0))
            .unwrap();
        let Put::Created(second) = put else {
            panic!("{put:?}")
        };
        assert_eq!(
            forge.told(),
            format!("check {} success, 0 remarks: 0 problems", second.0)
        );
        assert_eq!(
            writer
                .put_check(&head(), &check(CheckState::Success, 0))
                .unwrap(),
            Put::Unchanged(second)
        );
    });
}

#[test]
fn a_check_that_was_interrupted_is_made_anew() {
    with(Kind::GitHubApp, |forge, _, writer| {
        use crate::model::What;
        use crate::skin::How;
        forge.fault("PATCH", "/check-runs/", What::Nothing(How::Lost));
        let failed = check(CheckState::Failure, 60);
        assert!(matches!(
            writer.put_check(&head(), &failed),
            Err(ForgeError::NoAnswer { .. })
        ));
        assert!(forge.told().contains("in_progress, 50 remarks"));
        assert!(matches!(
            writer.put_check(&head(), &failed).unwrap(),
            Put::Created(_)
        ));
        assert!(forge.told().contains("in_progress, 50 remarks"));
        assert!(forge.told().contains("failure, 60 remarks"));
    });
}

#[test]
fn who_is_no_app_has_no_checks() {
    for kind in [Kind::GitHubToken, Kind::Forgejo] {
        with(kind, |_, _, writer| {
            assert_eq!(
                writer
                    .put_check(&head(), &check(CheckState::Success, 0))
                    .unwrap(),
                Put::NotOffered
            );
        });
    }
}

#[test]
fn there_is_one_issue_and_it_is_closed_when_its_reason_is_gone() {
    with_each(|forge, _, writer| {
        let drift: Marker = "drift/host/devvm".parse().unwrap();
        let issue = |text: &str| Issue {
            title: "Drift on devvm".into(),
            text: text.into(),
        };
        assert_eq!(writer.close_issue(None, &drift).unwrap(), Closed::NoneOpen);
        let number = writer
            .put_issue(None, &drift, &issue("One."))
            .unwrap()
            .id()
            .unwrap();
        assert_eq!(forge.told(), "new issue: Drift on devvm");
        for known in [None, Some(number)] {
            assert_eq!(
                writer.put_issue(known, &drift, &issue("One.")).unwrap(),
                Put::Unchanged(number)
            );
        }
        assert_eq!(
            writer.put_issue(None, &drift, &issue("Two.")).unwrap(),
            Put::Updated(number)
        );
        assert_eq!(forge.told(), "issue open, changed: body");
        assert_eq!(
            writer.close_issue(None, &drift).unwrap(),
            Closed::Closed(number)
        );
        assert_eq!(forge.told(), "issue closed, changed: state");
        assert_eq!(
            writer.close_issue(Some(number), &drift).unwrap(),
            Closed::NoneOpen
        );
        // It is back: the same issue is.
        assert_eq!(
            writer.put_issue(None, &drift, &issue("Two.")).unwrap(),
            Put::Updated(number)
        );
        assert_eq!(forge.told(), "issue open, changed: state");
        // What somebody else opened with our line is theirs, and so is a pull request.
        forge.state(|it| {
            let theirs = json!({"number": 5_000, "title": "x", "state": "open", "body": "<!-- muster drift/host/other -->", "user": {"id": SOMEBODY}});
            let pull = json!({"number": 5_001, "title": "x", "state": "open", "body": "<!-- muster drift/host/other -->", "user": {"id": US}, "pull_request": {}});
            it.issues.insert(5_000, theirs);
            it.issues.insert(5_001, pull);
        });
        assert_eq!(
            writer
                .close_issue(None, &"drift/host/other".parse().unwrap())
                .unwrap(),
            Closed::NoneOpen
        );
    });
}
