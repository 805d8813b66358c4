#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use muster_forge::secret::Secret;
use muster_forge::webhook::{Deliveries, Heard, Heed, Key, Poke, Repositories, Sender, hear};
use ring::hmac;

// The first byte says who sends it and what it says it is; the rest is the body.
fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else {
        return;
    };
    let key = Key::new(&Secret::new(b"secret".to_vec())).unwrap();
    let repositories = Repositories {
        state: "acme/state".parse().unwrap(),
        ledger: Some("acme/ledger".parse().unwrap()),
    };
    let (sender, event, signature, before) = match choice & 1 {
        0 => (
            Sender::GitHub,
            "x-github-event",
            "x-hub-signature-256",
            "sha256=",
        ),
        _ => (
            Sender::Forgejo,
            "x-forgejo-event",
            "x-forgejo-signature",
            "",
        ),
    };
    let events = [
        "pull_request",
        "push",
        "issue_comment",
        "check_run",
        "create",
        "repository",
        "ping",
        "star",
    ];
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), body);
    let hex: String = tag.as_ref().iter().map(|it| format!("{it:02x}")).collect();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        (event, events[usize::from(choice >> 1) % events.len()]),
        (signature, &format!("{before}{hex}")),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    match hear(sender, &key, &repositories, &headers, body) {
        Heard::Poke(poke, delivery) => {
            if let Poke::Ref(name) = poke {
                assert!(name.starts_with("refs/") && name.bytes().all(|it| it.is_ascii_graphic()));
            }
            let mut deliveries = Deliveries::default();
            assert_eq!(deliveries.heed(delivery.clone()), Heed::First);
            assert_eq!(deliveries.heed(delivery), Heed::Again);
        }
        Heard::Ignored(_) => {}
        Heard::Refused(why) => panic!("signed, and refused: {why:?}"),
    }
    // One bit less right, and nothing is looked at.
    let mut changed = body.to_vec();
    if let Some(byte) = changed.get_mut(usize::from(*choice) % body.len().max(1)) {
        *byte ^= 1;
        let heard = hear(sender, &key, &repositories, &headers, &changed);
        assert!(matches!(heard, Heard::Refused(_)));
    }
});
