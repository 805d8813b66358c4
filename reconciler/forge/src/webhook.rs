//! Webhooks: a forge's message that something happened. It triggers the next poll early, and has no other effect.
//!
//! [`hear`] is a function of the headers and the bytes. A delivery without a valid signature is not parsed; a valid one
//! gives a [`Poke`], a hint where to look first. What it says about heads, people or files is not used (threats G12 to G15).

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use ring::hmac;
use serde::Deserialize;

use crate::dialect::Repository;
use crate::secret::Secret;

/// The largest delivery that is looked at, in bytes. A server should not read further than this either.
pub const LARGEST: usize = 1 << 20;

/// How many deliveries are remembered.
const REMEMBERED: usize = 1_024;

/// Which forge a delivery claims to be from; by where it was delivered, never by what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// GitHub, at its own path.
    GitHub,
    /// Forgejo or Gitea, at theirs.
    Forgejo,
}

/// What a delivery is checked with.
#[derive(Clone)]
pub struct WebhookKey(hmac::Key);

/// The secret is empty, so anybody could sign a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the webhook's secret is empty: write a long random one into its file, and the same into the forge's settings"
)]
pub struct EmptySecret;

impl WebhookKey {
    /// The key that both sides know.
    ///
    /// # Errors
    /// When it is empty: such a webhook must not be served at all.
    pub fn new(secret: &Secret) -> Result<Self, EmptySecret> {
        if secret.is_empty() {
            return Err(EmptySecret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose())))
    }
}

impl std::fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// What came of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a delivery that was heard is a reason to look"]
pub enum Heard {
    /// Look, and look here first.
    Poke(Poke, Delivery),
    /// It is from the forge, and no reason to look.
    Ignored(Ignored),
    /// It is not from the forge, or not in a form that we take. Answer no more than that.
    Refused(Refused),
}

/// Where to look first. A hint: it is not checked against anything, and looking finds what there is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Poke {
    /// At this proposal.
    Proposal(u64),
    /// At this ref, such as `refs/heads/main` or `refs/tags/release/…`.
    Ref(String),
    /// Anywhere.
    Anywhere,
}

/// Why there is nothing to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// The forge tries whether we are there.
    Ping,
    /// Nothing that a plan depends on.
    NotOurs,
    /// It is about another repository.
    AnotherRepository,
    /// It is signed, and not what the forge describes.
    Unreadable,
}

/// Why a delivery is not listened to. For the log and the counters: the answer does not tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// It is too large.
    TooLarge,
    /// It carries no signature that counts; SHA-1 does not.
    Unsigned,
    /// A signature is not ours, or not written as one.
    BadSignature,
    /// It is neither JSON nor a form with JSON in it: the forge's settings should say `application/json`.
    NotJson,
}

/// One delivery, by its signature and by the id in its headers. Only the signature cannot be forged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivery {
    tag: [u8; 32],
    id: Option<String>,
}

/// The last deliveries, so that a repeated one triggers nothing.
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    order: VecDeque<Delivery>,
    tags: BTreeSet<[u8; 32]>,
    ids: BTreeSet<String>,
}

/// Whether a delivery was heard before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heed {
    /// It is new.
    First,
    /// It is a repetition.
    Again,
}

impl Deliveries {
    /// Remembers a delivery; the oldest of many are forgotten.
    pub fn heed(&mut self, delivery: Delivery) -> Heed {
        let id_known = delivery.id.as_ref().is_some_and(|it| self.ids.contains(it));
        if id_known || self.tags.contains(&delivery.tag) {
            return Heed::Again;
        }
        self.tags.insert(delivery.tag);
        self.ids.extend(delivery.id.clone());
        self.order.push_back(delivery);
        if self.order.len() > REMEMBERED
            && let Some(Delivery { tag, id }) = self.order.pop_front()
        {
            self.tags.remove(&tag);
            if let Some(id) = id {
                self.ids.remove(&id);
            }
        }
        Heed::First
    }
}

/// Whose deliveries are reasons to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repositories {
    /// Where people propose.
    pub state: Repository,
    /// Where hosts push what they tell, if that is on a forge: of it, a push is a reason to look, and nothing else is.
    pub ledger: Option<Repository>,
}

/// Listens to a delivery. The signature is checked over the bytes as they came, before any of them is looked at.
pub fn hear(
    from: Sender,
    key: &WebhookKey,
    repositories: &Repositories,
    headers: &HeaderMap,
    body: &[u8],
) -> Heard {
    if body.len() > LARGEST {
        return Heard::Refused(Refused::TooLarge);
    }
    let tag = match signed(from, key, headers, body) {
        Ok(tag) => tag,
        Err(refused) => return Heard::Refused(refused),
    };
    let body = match media(headers) {
        Some(Media::Json) => Cow::Borrowed(body),
        // What GitHub's page for a new webhook is set to.
        Some(Media::Form) => match of_form(body) {
            Some(payload) => Cow::Owned(payload),
            None => return Heard::Ignored(Ignored::Unreadable),
        },
        None => return Heard::Refused(Refused::NotJson),
    };
    let names: &[&str] = match from {
        Sender::GitHub => &["x-github-event"],
        Sender::Forgejo => &["x-forgejo-event", "x-gitea-event"],
    };
    let event = first(headers, names).unwrap_or_default();
    if event == "ping" {
        return Heard::Ignored(Ignored::Ping);
    }
    let Ok(payload) = serde_json::from_slice::<Payload>(&body) else {
        return Heard::Ignored(Ignored::Unreadable);
    };
    let named = payload
        .repository
        .as_ref()
        .and_then(|it| it.full_name.as_deref());
    let Repositories { state, ledger } = repositories;
    let is = |it: &Repository| named.is_some_and(|named| it.is(named));
    let poke = if is(state) {
        poke(event, &payload)
    } else if ledger.as_ref().is_some_and(is) {
        poke_of_ledger(event, &payload)
    } else {
        return Heard::Ignored(Ignored::AnotherRepository);
    };
    let Some(poke) = poke else {
        return Heard::Ignored(Ignored::NotOurs);
    };
    let names: &[&str] = match from {
        Sender::GitHub => &["x-github-delivery"],
        Sender::Forgejo => &["x-forgejo-delivery", "x-gitea-delivery"],
    };
    let id = first(headers, names)
        .filter(|it| !it.is_empty() && it.len() <= 128)
        .map(str::to_owned);
    Heard::Poke(poke, Delivery { tag, id })
}

/// The signatures that count, and what stands before their hex. Forgejo and Gitea write their own without, and GitHub's as GitHub does.
fn schemes(from: Sender) -> &'static [(&'static str, &'static str)] {
    match from {
        Sender::GitHub => &[("x-hub-signature-256", "sha256=")],
        Sender::Forgejo => &[
            ("x-forgejo-signature", ""),
            ("x-gitea-signature", ""),
            ("x-hub-signature-256", "sha256="),
        ],
    }
}

/// Checks every signature there is, and wants at least one: a bad one is not made good by another.
fn signed(
    from: Sender,
    key: &WebhookKey,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<[u8; 32], Refused> {
    let mut good = None;
    for (name, before) in schemes(from) {
        let mut values = headers.get_all(*name).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err(Refused::BadSignature);
        }
        let tag = value
            .to_str()
            .ok()
            .and_then(|it| it.strip_prefix(before))
            .and_then(tag_of)
            .ok_or(Refused::BadSignature)?;
        // In constant time.
        hmac::verify(&key.0, body, &tag).map_err(|_| Refused::BadSignature)?;
        good = Some(tag);
    }
    good.ok_or(Refused::Unsigned)
}

/// Exactly 64 lower-case hex digits.
fn tag_of(hex: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut tag = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (at, pair) in hex.as_bytes().chunks_exact(2).enumerate() {
        tag[at] = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(tag)
}

/// How a delivery is written down.
enum Media {
    Json,
    Form,
}

fn media(headers: &HeaderMap) -> Option<Media> {
    let media = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok())?;
    let is = |name: &str| {
        let before = media.split(';').next().unwrap_or_default();
        before.trim().eq_ignore_ascii_case(name)
    };
    if is("application/json") {
        Some(Media::Json)
    } else if is("application/x-www-form-urlencoded") {
        Some(Media::Form)
    } else {
        None
    }
}

/// The one field `payload` of a form, decoded; never longer than the form.
fn of_form(body: &[u8]) -> Option<Vec<u8>> {
    let value = body.strip_prefix(b"payload=")?;
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|it| u8::try_from(it).ok())
    };
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'&' => return None,
            b'+' => b' ',
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            plain => plain,
        });
    }
    Some(decoded)
}

fn first<'h>(headers: &'h HeaderMap, names: &[&str]) -> Option<&'h str> {
    let value = names.iter().find_map(|name| headers.get(*name))?;
    value.to_str().ok()
}

#[derive(Deserialize)]
struct Payload {
    action: Option<String>,
    number: Option<u64>,
    r#ref: Option<String>,
    ref_type: Option<String>,
    pull_request: Option<Numbered>,
    issue: Option<CommentedOn>,
    repository: Option<Named>,
}

#[derive(Deserialize)]
struct Numbered {
    number: Option<u64>,
}

#[derive(Deserialize)]
struct CommentedOn {
    number: Option<u64>,
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Named {
    full_name: Option<String>,
}

/// Where an event says to look. Both dialects have the same names of events; those of actions differ, and do not matter.
fn poke(event: &str, payload: &Payload) -> Option<Poke> {
    let proposal = payload
        .pull_request
        .as_ref()
        .and_then(|it| it.number)
        .or(payload.number)
        .filter(|it| *it > 0);
    match event {
        "pull_request" | "pull_request_sync" => {
            Some(proposal.map_or(Poke::Anywhere, Poke::Proposal))
        }
        // Somebody approved, or took it back; Forgejo has an event for each.
        "pull_request_review" | "pull_request_approved" | "pull_request_rejected" => {
            proposal.map(Poke::Proposal)
        }
        "push" => Some(match &payload.r#ref {
            Some(name) if is_ref(name) => Poke::Ref(name.clone()),
            _ => Poke::Anywhere,
        }),
        // Only of a branch or tag that comes or goes without a push of its own.
        "create" | "delete" => payload.ref_type.as_ref().map(|_| Poke::Anywhere),
        // Somebody took one of our comments away, or wrote another text into it: it is put back. What anybody writes is not read.
        "issue_comment" if matches!(payload.action.as_deref(), Some("deleted" | "edited")) => {
            let issue = payload.issue.as_ref()?;
            issue.pull_request.as_ref()?;
            issue.number.map(Poke::Proposal)
        }
        // Somebody else set a status: if it stands in the place of ours, ours is set again.
        "status" => Some(Poke::Anywhere),
        // A merge queue waits for the status of a commit that it made.
        "merge_group" => Some(Poke::Anywhere),
        // Somebody pressed the button beside a check.
        "check_run" | "check_suite" => {
            (payload.action.as_deref() == Some("rerequested")).then_some(Poke::Anywhere)
        }
        // Renamed, made public or private.
        "repository" | "public" => Some(Poke::Anywhere),
        _ => None,
    }
}

/// A host that pushed its ledger has something to tell (F39). What a bot keeps there itself is no news to it.
fn poke_of_ledger(event: &str, payload: &Payload) -> Option<Poke> {
    let is_a_bots = |name: &String| name.starts_with(OF_BOTS);
    let moved = event == "push" && !payload.r#ref.as_ref().is_some_and(is_a_bots);
    moved.then_some(Poke::Anywhere)
}

/// Where bots keep what they told, and who of them leads.
const OF_BOTS: &str = "refs/muster/bot/";

fn is_ref(name: &str) -> bool {
    name.starts_with("refs/") && name.len() <= 1_024 && name.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    fn key() -> WebhookKey {
        WebhookKey::new(&Secret::new(b"canary".to_vec())).unwrap()
    }

    fn repositories() -> Repositories {
        Repositories {
            state: "acme/state".parse().unwrap(),
            ledger: Some("acme/ledger".parse().unwrap()),
        }
    }

    fn hex(body: &[u8]) -> String {
        let tag = hmac::sign(&key().0, body);
        muster_core::bytes::hex(tag.as_ref())
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn github(event: &str, body: &[u8]) -> Heard {
        let headers = headers(&[
            ("content-type", "application/json"),
            ("x-github-event", event),
            ("x-github-delivery", "d-1"),
            ("x-hub-signature-256", &format!("sha256={}", hex(body))),
        ]);
        hear(Sender::GitHub, &key(), &repositories(), &headers, body)
    }

    fn body(mut payload: serde_json::Value) -> Vec<u8> {
        payload["repository"] = json!({"full_name": "Acme/State"});
        payload.to_string().into_bytes()
    }

    #[test]
    fn a_webhook_without_a_secret_does_not_start() {
        assert_eq!(
            WebhookKey::new(&Secret::new(b"\n".to_vec())).unwrap_err(),
            EmptySecret
        );
        assert_eq!(format!("{:?}", key()), "[secret]");
    }

    #[test]
    fn a_form_is_taken_as_github_writes_it_by_default() {
        let form = |body: &[u8]| {
            let headers = headers(&[
                ("content-type", "application/x-www-form-urlencoded"),
                ("x-github-event", "pull_request"),
                ("x-github-delivery", "d-1"),
                ("x-hub-signature-256", &format!("sha256={}", hex(body))),
            ]);
            hear(Sender::GitHub, &key(), &repositories(), &headers, body)
        };
        let json = body(json!({"number": 7, "title": "a+b & c%20d"}));
        let mut written = b"payload=".to_vec();
        for byte in json {
            match byte {
                b' ' => written.push(b'+'),
                it if it.is_ascii_alphanumeric() => written.push(it),
                it => written.extend(format!("%{it:02X}").bytes()),
            }
        }
        assert!(matches!(form(&written), Heard::Poke(Poke::Proposal(7), _)));
        for bad in [
            "payload=%7",
            "payload=%zz",
            "payload={}&payload={}",
            "other={}",
            "",
        ] {
            let heard = form(bad.as_bytes());
            assert_eq!(heard, Heard::Ignored(Ignored::Unreadable), "{bad}");
        }
    }

    #[test]
    fn a_signed_delivery_pokes_and_says_where_to_look() {
        for (event, payload, poke) in [
            (
                "pull_request",
                json!({"action": "synchronize", "number": 7}),
                Some(Poke::Proposal(7)),
            ),
            (
                "pull_request",
                json!({"action": "x", "pull_request": {"number": 8}}),
                Some(Poke::Proposal(8)),
            ),
            ("pull_request", json!({}), Some(Poke::Anywhere)),
            (
                "pull_request_review",
                json!({"action": "submitted", "pull_request": {"number": 8}}),
                Some(Poke::Proposal(8)),
            ),
            (
                "push",
                json!({"ref": "refs/heads/main"}),
                Some(Poke::Ref("refs/heads/main".into())),
            ),
            (
                "push",
                json!({"ref": "--upload-pack=x"}),
                Some(Poke::Anywhere),
            ),
            (
                "issue_comment",
                json!({"action": "deleted", "issue": {"number": 3, "pull_request": {}}}),
                Some(Poke::Proposal(3)),
            ),
            (
                "issue_comment",
                json!({"action": "deleted", "issue": {"number": 3}}),
                None,
            ),
            (
                "issue_comment",
                json!({"action": "created", "issue": {"number": 3, "pull_request": {}}}),
                None,
            ),
            (
                "check_run",
                json!({"action": "rerequested"}),
                Some(Poke::Anywhere),
            ),
            (
                "merge_group",
                json!({"action": "checks_requested", "merge_group": {"head_sha": "x"}}),
                Some(Poke::Anywhere),
            ),
            ("check_run", json!({"action": "completed"}), None),
            ("star", json!({}), None),
            ("", json!({}), None),
        ] {
            match (github(event, &body(payload.clone())), poke) {
                (Heard::Poke(heard, _), Some(poke)) => assert_eq!(heard, poke, "{event} {payload}"),
                (Heard::Ignored(Ignored::NotOurs), None) => {}
                (heard, poke) => panic!("{event} {payload}: {heard:?}, not {poke:?}"),
            }
        }
        assert_eq!(github("ping", b"{}"), Heard::Ignored(Ignored::Ping));
        let other = json!({"number": 7, "repository": {"full_name": "acme/other"}}).to_string();
        assert_eq!(
            github("pull_request", other.as_bytes()),
            Heard::Ignored(Ignored::AnotherRepository)
        );
        for unreadable in [
            &b"["[..],
            b"",
            b"\xff",
            b"{\"number\": \"seven\"}",
            b"payload=%7B%7D",
        ] {
            assert_eq!(
                github("push", unreadable),
                Heard::Ignored(Ignored::Unreadable)
            );
        }
        let deep = "[".repeat(100_000);
        assert_eq!(
            github("push", deep.as_bytes()),
            Heard::Ignored(Ignored::Unreadable)
        );
    }

    #[test]
    fn a_push_of_a_host_to_the_ledger_repository_is_a_reason_to_look_and_nothing_else_there_is() {
        let heard = |event: &str, name: &str| {
            let payload =
                json!({"ref": name, "number": 7, "repository": {"full_name": "Acme/Ledger"}});
            github(event, payload.to_string().as_bytes())
        };
        for name in ["refs/heads/muster/host/web1", "refs/muster/host/web1"] {
            let heard = heard("push", name);
            assert!(
                matches!(heard, Heard::Poke(Poke::Anywhere, _)),
                "{name}: {heard:?}"
            );
        }
        // A bot that heard of its own pushes would never come to rest.
        for (event, name) in [
            ("push", "refs/muster/bot/lease"),
            ("pull_request", "refs/heads/main"),
            ("repository", "refs/heads/main"),
        ] {
            assert_eq!(
                heard(event, name),
                Heard::Ignored(Ignored::NotOurs),
                "{event} {name}"
            );
        }
    }

    #[test]
    fn whoever_does_not_know_the_secret_is_not_listened_to() {
        let body = body(json!({"number": 7}));
        let good = hex(&body);
        let json_type = ("content-type", "application/json");
        let event = ("x-github-event", "pull_request");
        let sha1 = (
            "x-hub-signature",
            "sha1=2346ad27d7568ba9896f1b7da6b5991251debdf2",
        );
        let refused = |signatures: &[(&str, &str)], body: &[u8]| {
            let all: Vec<_> = [json_type, event]
                .iter()
                .chain(signatures)
                .copied()
                .collect();
            match hear(
                Sender::GitHub,
                &key(),
                &repositories(),
                &headers(&all),
                body,
            ) {
                Heard::Refused(why) => why,
                other => panic!("{signatures:?}: {other:?}"),
            }
        };
        let name = "x-hub-signature-256";
        assert_eq!(refused(&[], &body), Refused::Unsigned);
        assert_eq!(refused(&[sha1], &body), Refused::Unsigned);
        assert_eq!(
            refused(&[("x-gitea-signature", &good)], &body),
            Refused::Unsigned
        );
        let signed = format!("sha256={good}");
        for bad in [
            "",
            "sha256=",
            &good,
            &format!("sha1={good}"),
            &format!("sha256={}", good.to_uppercase()),
            &format!("sha256={good}00"),
            &format!("sha256={}", &good[..62]),
            &format!("sha256={}", "0".repeat(64)),
            &format!("{signed},{signed}"),
        ] {
            assert_eq!(
                refused(&[(name, bad)], &body),
                Refused::BadSignature,
                "{bad}"
            );
        }
        assert_eq!(
            refused(&[(name, &signed), (name, &signed)], &body),
            Refused::BadSignature
        );
        // One bit, one byte more, one less, or the same JSON written otherwise.
        let mut changed = body.clone();
        changed[0] ^= 1;
        assert_eq!(refused(&[(name, &signed)], &changed), Refused::BadSignature);
        assert_eq!(
            refused(&[(name, &signed)], &body[1..]),
            Refused::BadSignature
        );
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        assert_eq!(refused(&[(name, &signed)], &pretty), Refused::BadSignature);
        assert_eq!(
            refused(&[(name, &signed)], &vec![b' '; LARGEST + 1]),
            Refused::TooLarge
        );
        let form = headers(&[
            ("content-type", "application/x-www-form-urlencoded"),
            event,
            (name, &signed),
        ]);
        // A form is taken, and this is none; any other type is refused.
        assert_eq!(
            hear(Sender::GitHub, &key(), &repositories(), &form, &body),
            Heard::Ignored(Ignored::Unreadable)
        );
        let text = headers(&[("content-type", "text/plain"), event, (name, &signed)]);
        assert_eq!(
            hear(Sender::GitHub, &key(), &repositories(), &text, &body),
            Heard::Refused(Refused::NotJson)
        );
    }

    #[test]
    fn forgejo_signs_with_bare_hex_and_every_signature_must_be_good() {
        let body = body(json!({"action": "synchronized", "number": 7}));
        let good = hex(&body);
        let signed = format!("sha256={good}");
        let bad = "0".repeat(64);
        let hear_it = |signatures: &[(&str, &str)]| {
            let fixed = [
                ("content-type", "application/json"),
                ("x-forgejo-event", "pull_request"),
                ("x-gitea-event", "pull_request"),
                ("x-gitea-delivery", "f6266f16"),
            ];
            let all: Vec<_> = fixed.iter().chain(signatures).copied().collect();
            hear(
                Sender::Forgejo,
                &key(),
                &repositories(),
                &headers(&all),
                &body,
            )
        };
        let forgejo = ("x-forgejo-signature", good.as_str());
        let gitea = ("x-gitea-signature", good.as_str());
        let hub = ("x-hub-signature-256", signed.as_str());
        for signatures in [&[forgejo][..], &[gitea], &[hub], &[forgejo, gitea, hub]] {
            assert!(
                matches!(hear_it(signatures), Heard::Poke(Poke::Proposal(7), _)),
                "{signatures:?}"
            );
        }
        for signatures in [
            &[("x-gitea-signature", signed.as_str())][..],
            &[("x-gitea-signature", bad.as_str()), forgejo],
            &[forgejo, ("x-hub-signature-256", good.as_str())],
            &[forgejo, ("x-gitea-signature", "")],
        ] {
            assert_eq!(
                hear_it(signatures),
                Heard::Refused(Refused::BadSignature),
                "{signatures:?}"
            );
        }
    }

    #[test]
    fn ten_thousand_repetitions_are_one_delivery() {
        let mut deliveries = Deliveries::default();
        let body = body(json!({"number": 7}));
        let mut first = 0;
        for n in 0..10_000 {
            let Heard::Poke(_, mut delivery) = github("pull_request", &body) else {
                panic!("not heard");
            };
            // The id is not signed: whoever repeats a delivery can give it another.
            delivery.id = Some(format!("d-{n}"));
            first += usize::from(deliveries.heed(delivery) == Heed::First);
        }
        assert_eq!(first, 1);
        for n in 0..5_000_u32 {
            let mut tag = [0; 32];
            tag[..4].copy_from_slice(&n.to_be_bytes());
            let id = Some(format!("e-{n}"));
            assert_eq!(deliveries.heed(Delivery { tag, id }), Heed::First);
        }
        assert_eq!(deliveries.order.len(), REMEMBERED);
        assert_eq!(
            (deliveries.tags.len(), deliveries.ids.len()),
            (REMEMBERED, REMEMBERED)
        );
    }
}
