//! What goes wrong, and what is left of it: nothing lost, nothing doubled, no secret told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_core::forge::{ForgeError, ForgeReader, ForgeWriter, Marker, Put, Which};
use muster_forge::clock::Clock;
use serde_json::{Value, json};

use crate::model::{ALL, Forge, Kind, What, with, with_each};
use crate::skin::How;

/// Long enough for a whole answer on a busy machine, and not much longer than a test wants to wait for one that never comes.
const SHORT: Duration = Duration::from_secs(2);

type Headers = Vec<(&'static str, String)>;

fn marker() -> Marker {
    "plan".parse().unwrap()
}

#[test]
fn a_comment_whose_answer_is_lost_is_not_written_twice() {
    with_each(|forge, _, _| {
        let (_, mut writer) = forge.connect_for(SHORT);
        for how in [How::Lost, How::Half, How::Hang, How::Drip, How::Endless] {
            forge.fault("POST", "/comments", What::Done(how));
            let error = writer.put_comment(7, None, &marker(), "One.").unwrap_err();
            assert!(
                matches!(error, ForgeError::NoAnswer { .. }),
                "{how:?}: {error:?}"
            );
            assert_eq!(forge.told(), "#7: new comment: <!-- muster plan -->\nOne.");
            assert!(forge.is_silent(), "{how:?}: sent again");
            assert!(matches!(
                writer.put_comment(7, None, &marker(), "One.").unwrap(),
                Put::Unchanged(_)
            ));
            forge.state(|it| it.comments.clear());
        }
    });
}

#[test]
fn half_a_list_is_no_list() {
    with_each(|forge, _, _| {
        let (mut reader, mut writer) = forge.connect_for(SHORT);
        forge.pull(7, json!({}));
        forge.comment(7, crate::model::US, "<!-- muster plan -->\nOne.");
        for how in [How::Lost, How::Half, How::Hang, How::Drip, How::Endless] {
            forge.fault("GET", "/pulls", What::Done(how));
            assert!(
                matches!(
                    reader.proposals(Which::Open),
                    Err(ForgeError::NoAnswer { .. })
                ),
                "{how:?}"
            );
            forge.fault("GET", "/comments", What::Done(how));
            assert!(
                matches!(
                    writer.put_comment(7, None, &marker(), "One."),
                    Err(ForgeError::NoAnswer { .. })
                ),
                "{how:?}"
            );
        }
        for (status, body) in [
            (200, json!("x")),
            (200, json!([{"number": 1}, 5, null])),
            (200, json!({"message": "ok"})),
            (204, Value::Null),
            (302, Value::Null),
        ] {
            forge.fault(
                "GET",
                "/comments",
                What::Answer(
                    status,
                    vec![("location", "https://evil.example/".into())],
                    body.clone(),
                ),
            );
            assert!(
                writer.put_comment(7, None, &marker(), "One.").is_err(),
                "{status} {body}"
            );
        }
        assert!(matches!(
            writer.put_comment(7, None, &marker(), "One."),
            Ok(Put::Unchanged(_))
        ));
    });
}

#[test]
fn a_forge_that_is_not_well_is_asked_again_later_and_never_at_once() {
    with_each(|forge, reader, writer| {
        forge.pull(7, json!({}));
        for status in [500, 502, 503, 504, 408] {
            forge.fault(
                "GET",
                "/pulls",
                What::Answer(status, vec![], json!("<html>")),
            );
            let asked = forge.state(|it| it.requests.len());
            assert!(
                matches!(reader.proposal(7), Err(ForgeError::NoAnswer { .. })),
                "{status}"
            );
            let credentials = forge.state(|it| {
                it.requests[asked..]
                    .iter()
                    .filter(|it| it.path.contains("/pulls"))
                    .count()
            });
            assert_eq!(credentials, 1, "{status}");
            forge.fault("POST", "/comments", What::Answer(status, vec![], json!({})));
            assert!(matches!(
                writer.put_comment(7, None, &marker(), "One."),
                Err(ForgeError::NoAnswer { .. })
            ));
        }
        assert!(matches!(
            writer.put_comment(7, None, &marker(), "One.").unwrap(),
            Put::Created(_)
        ));
        forge.told();
    });
}

#[test]
fn a_forge_that_is_down_for_an_hour_is_found_as_it_was_left() {
    with_each(|forge, reader, writer| {
        let id = writer
            .put_comment(7, None, &marker(), "One.")
            .unwrap()
            .id()
            .unwrap();
        forge.told();
        forge.state(|it| it.down = true);
        for _ in 0..6 {
            assert!(matches!(
                writer.put_comment(7, Some(id), &marker(), "Two."),
                Err(ForgeError::NoAnswer { .. })
            ));
            assert!(matches!(
                reader.proposals(Which::Open),
                Err(ForgeError::NoAnswer { .. })
            ));
            forge.clock.wait(Duration::from_secs(600));
        }
        forge.state(|it| it.down = false);
        // Meanwhile an app's token has ended; another is asked for, and one comment is what there is.
        assert_eq!(
            writer.put_comment(7, Some(id), &marker(), "Two.").unwrap(),
            Put::Updated(id)
        );
        assert_eq!(forge.told(), "comment changed: <!-- muster plan -->\nTwo.");
    });
}

#[test]
fn a_forge_that_wants_to_be_left_alone_is() {
    let now = |forge: &Forge| forge.clock.truth();
    with_each(|forge, reader, writer| {
        forge.pull(7, json!({}));
        reader.proposal(7).unwrap();
        let limits: Vec<(u16, Headers, &str, i64)> = vec![
            (
                403,
                vec![("retry-after", "30".into())],
                "You have exceeded a secondary rate limit",
                30,
            ),
            (429, vec![("retry-after", "0".into())], "", 1),
            (
                403,
                vec![],
                "You have exceeded a secondary rate limit. Please wait.",
                60,
            ),
            (
                403,
                vec![
                    ("x-ratelimit-remaining", "0".into()),
                    ("x-ratelimit-reset", now(forge).plus(900).0.to_string()),
                ],
                "API rate limit exceeded",
                900,
            ),
            (429, vec![("retry-after", "999999999999".into())], "", 7_200),
            (503, vec![("retry-after", "20".into())], "busy", 20),
            (429, vec![("retry-after", "soon".into())], "", 60),
        ];
        for (status, headers, message, seconds) in limits {
            // What counts is how far away the forge says it is, at the moment it says so.
            let headers = headers.into_iter().map(|(name, value)| match name {
                "x-ratelimit-reset" => (name, now(forge).plus(seconds).0.to_string()),
                _ => (name, value),
            });
            let fault = What::Answer(status, headers.collect(), json!({"message": message}));
            forge.fault("POST", "/comments", fault);
            let error = writer.put_comment(7, None, &marker(), "One.").unwrap_err();
            let ForgeError::Pause { until, .. } = error.clone() else {
                panic!("{status}: {error:?}")
            };
            let rest = until.0 - forge.clock.now().0;
            assert!(
                (rest - seconds).abs() <= 1,
                "{status} {message}: {rest} s, not {seconds}"
            );
            // Neither asks anything before.
            let asked = forge.state(|it| it.requests.len());
            assert_eq!(reader.proposal(7).unwrap_err(), error);
            assert_eq!(
                writer.put_comment(7, None, &marker(), "One.").unwrap_err(),
                error
            );
            assert_eq!(forge.state(|it| it.requests.len()), asked);
            forge.clock.wait(Duration::from_secs(seconds as u64 + 1));
            reader.proposal(7).unwrap();
        }
        assert!(matches!(
            writer.put_comment(7, None, &marker(), "One.").unwrap(),
            Put::Created(_)
        ));
        forge.told();
    });
}

#[test]
fn the_last_request_that_is_granted_is_the_last_one_sent() {
    with(Kind::GitHubApp, |forge, reader, _| {
        forge.pull(7, json!({}));
        reader.proposal(7).unwrap();
        let reset = forge.clock.truth().plus(120).0.to_string();
        let headers = vec![
            ("x-ratelimit-remaining", "0".into()),
            ("x-ratelimit-reset", reset),
        ];
        let pull = forge.state(|it| it.pulls[&7].clone());
        forge.fault("GET", "/pulls/7", What::Answer(200, headers, pull));
        reader.proposal(7).unwrap();
        let asked = forge.state(|it| it.requests.len());
        assert!(matches!(reader.proposal(7), Err(ForgeError::Pause { .. })));
        assert_eq!(forge.state(|it| it.requests.len()), asked);
        forge.clock.wait(Duration::from_secs(121));
        reader.proposal(7).unwrap();
    });
}

#[test]
fn a_new_secret_in_its_file_is_taken_up_when_the_old_one_is_refused() {
    with_each(|forge, reader, writer| {
        forge.pull(7, json!({}));
        reader.proposal(7).unwrap();
        forge.new_secret(1);
        assert!(matches!(
            writer.put_comment(7, None, &marker(), "One.").unwrap(),
            Put::Created(_)
        ));
        forge.told();
        reader.proposal(7).unwrap();
    });
}

#[test]
fn a_secret_that_is_refused_for_good_is_said_and_not_tried_over_and_over() {
    with_each(|forge, reader, writer| {
        forge.pull(7, json!({}));
        reader.proposal(7).unwrap();
        let file = std::fs::read(forge.secret.path()).unwrap();
        forge.new_secret(1);
        std::fs::write(forge.secret.path(), file).unwrap();
        let asked = forge.state(|it| it.requests.len());
        let error = writer.put_comment(7, None, &marker(), "One.").unwrap_err();
        assert!(matches!(error, ForgeError::Denied { .. }), "{error:?}");
        let asked = forge.state(|it| it.requests.len()) - asked;
        assert!(asked <= 3, "{asked}");
    });
}

#[test]
fn a_clock_that_is_wrong_does_not_keep_an_app_out() {
    for seconds in [-3_600, -700, -30, 45, 700, 86_400] {
        with(Kind::GitHubApp, |forge, reader, _| {
            forge.pull(7, json!({}));
            forge.clock.go_wrong(seconds);
            assert_eq!(reader.proposal(7).unwrap().number, 7, "{seconds}");
            // And the token is renewed when it ends there, not here.
            for _ in 0..30 {
                forge.clock.wait(Duration::from_secs(300));
                reader.proposal(7).unwrap();
            }
            let tokens = forge.state(|it| {
                it.requests
                    .iter()
                    .filter(|it| it.path.ends_with("/access_tokens"))
                    .count()
            });
            assert!(
                (3..=5).contains(&tokens),
                "{seconds}: {tokens} in two and a half hours"
            );
        });
    }
}

#[test]
fn what_the_forge_refuses_is_said_with_its_reason() {
    with_each(|forge, _, writer| {
        for (status, word) in [
            (422, "Validation"),
            (400, "bad"),
            (409, "conflict"),
            (423, "archived"),
        ] {
            let body = json!({"message": word, "errors": [{"field": "body"}]});
            forge.fault("POST", "/comments", What::Answer(status, vec![], body));
            let error = writer.put_comment(7, None, &marker(), "One.").unwrap_err();
            assert!(matches!(error, ForgeError::Refused { .. }), "{error:?}");
            assert!(error.to_string().contains(word), "{error}");
        }
        forge.fault(
            "POST",
            "/comments",
            What::Answer(
                403,
                vec![],
                json!({"message": "Resource not accessible by integration"}),
            ),
        );
        assert!(matches!(
            writer.put_comment(7, None, &marker(), "One."),
            Err(ForgeError::Denied { .. })
        ));
        let hostile = format!("a\u{202e}b\n{}", "x".repeat(100_000));
        forge.fault(
            "POST",
            "/comments",
            What::Answer(422, vec![], json!({"message": hostile})),
        );
        let said = writer
            .put_comment(7, None, &marker(), "One.")
            .unwrap_err()
            .to_string();
        assert!(
            said.len() < 1_000 && !said.contains(['\n', '\u{202e}']),
            "{said}"
        );
    });
}

/// Gathers all that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_secret_is_in_anything_that_is_said() {
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || sink.clone())
        .finish();
    let mut said = String::new();
    tracing::subscriber::with_default(subscriber, || {
        for kind in ALL {
            let forge = Forge::new(kind);
            let (mut reader, mut writer) = forge.connect();
            forge.pull(7, json!({}));
            said += &format!("{:?}", reader.proposal(7));
            said += &format!("{:?}", writer.put_comment(7, None, &marker(), "One."));
            forge.told();
            // The forge repeats what it was given, whole, in every kind of answer.
            let tokens: Vec<String> = forge.state(|it| it.tokens.keys().cloned().collect());
            for token in &tokens {
                let padding = "p".repeat(295);
                for message in [
                    token.clone(),
                    format!("{padding}{token}"),
                    format!("{token} {token}"),
                ] {
                    for status in [400, 401, 403, 404, 409, 422, 429, 500, 302] {
                        let times = if status == 401 && kind == Kind::GitHubApp {
                            2
                        } else {
                            1
                        };
                        for _ in 0..times {
                            forge.fault(
                                "GET",
                                "/pulls/7",
                                What::Answer(
                                    status,
                                    vec![("location", message.clone())],
                                    json!({"message": message}),
                                ),
                            );
                        }
                        let error = reader.proposal(7).unwrap_err();
                        said += &format!("{error} {error:?} {error:#?}");
                        forge.clock.wait(Duration::from_secs(120));
                    }
                    forge.fault(
                        "GET",
                        "/pulls/7",
                        What::Answer(200, vec![], json!({"number": message})),
                    );
                    let error = reader.proposal(7).unwrap_err();
                    said += &format!("{error} {error:?}");
                    forge.fault(
                        "GET",
                        "/pulls",
                        What::Answer(200, vec![], json!([{"number": message}])),
                    );
                    said += &format!("{:?}", reader.proposals(Which::Open));
                }
            }
            let mut tokens_now: Vec<String> = forge.state(|it| it.tokens.keys().cloned().collect());
            forge.new_secret(1);
            std::fs::write(
                forge.secret.path(),
                std::fs::read(forge.secret.path()).unwrap(),
            )
            .unwrap();
            said += &format!("{:?}", reader.proposal(7));
            forge.state(|it| it.tokens.clear());
            forge.state(|it| it.app_key.clear());
            let error = reader.proposal(7).unwrap_err();
            said += &format!("{error} {error:?}");
            said += &String::from_utf8_lossy(&reader.keep_answers());
            tokens_now.retain(|it| said.contains(it.as_str()));
            assert_eq!(tokens_now, Vec::<String>::new());
            let key = std::fs::read_to_string(forge.secret.path()).unwrap();
            for line in key
                .lines()
                .filter(|it| it.len() > 16 && !it.starts_with('-'))
            {
                assert!(!said.contains(line), "{kind:?}: the key");
            }
            forge.finish();
        }
    });
    said += &String::from_utf8_lossy(&log.0.lock().unwrap());
    assert!(said.contains("The forge answered."), "the log is looked at");
    assert!(
        !said.contains("canary"),
        "{:?}",
        said.find("canary").map(|at| said[at.saturating_sub(80)..]
            .chars()
            .take(160)
            .collect::<String>())
    );
    assert!(!said.contains("eyJ"), "a JWT");
    assert!(!said.contains("BEGIN"));
}
