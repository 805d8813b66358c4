use super::*;

fn rules(text: &str) -> Vec<&'static str> {
    scan(text).into_iter().map(|it| it.rule).collect()
}

#[test]
fn ordinary_sentences_hold_no_secret() {
    for text in [
        "The proxy may be restarted on Sundays; the secret is rotated by its owner.",
        "post_check_plan: service health, route, queue, log; go back when two probes fail within five minutes",
        "token: rotated by the owner of the registry",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, ticket:OPS-1234, uuid:123e4567-e89b-12d3-a456-426614174000",
        "deploy/edge-proxy/docker-compose.production.override.yml",
        "config_source_of_truth_ref: ref:wiki/edge-proxy/sources",
        "https://wiki.example.org/operations/edge-proxy/cold-start-sequence",
        "password: <in the vault>",
    ] {
        assert_eq!(rules(text), [""; 0], "{text}");
    }
}

#[test]
fn a_split_or_encoded_secret_is_found() {
    for text in [
        "AKIAIOSF\n  ODNN7EXAMPLE",
        "\"AKIAIOSF\" + \"ODNN7EXAMPLE\"",
        "QUtJQUlPU0ZPRE5ON0VYQU1QTEU=",
        "cGFzc3dvcmQ9aHVudGVyMjEyMw==",
    ] {
        assert!(!rules(text).is_empty(), "{text}");
    }
}

#[test]
fn what_is_too_long_is_a_payload() {
    assert_eq!(rules(&"a ".repeat(LARGEST)), ["too-long"]);
}
