use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use muster_forge::secret::SecretFile;
use muster_forge::{forgejo, github};
use ring::hmac;
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::daemon::{Cycle, CycleStatus, Health, Pulsing, Why};
use crate::settings::{DriftIssue, ForgePlace};

const SECRET: &str = "correct horse battery staple";

/// A server on this machine, and what it tells.
struct Stage {
    dir: TempDir,
    address: SocketAddr,
    hints: Hints,
    bot: Knock,
    agent: Knock,
    pulse: Pulse,
}

fn write(dir: &Path, name: &str, text: &str) -> SecretFile {
    let path = dir.join(name);
    // Another file under the name, as those make it who renew one.
    let new = dir.join("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&new, &path).unwrap();
    SecretFile::at(path)
}

fn github() -> ForgeSettings {
    ForgeSettings {
        place: ForgePlace::GitHub(github::Settings {
            base: "https://api.github.com".parse().unwrap(),
            repository: "team/state".parse().unwrap(),
            identity: github::Identity::Token(SecretFile::at("/nowhere")),
            limits: Default::default(),
        }),
        context: "muster".into(),
        drift: DriftIssue::Open,
    }
}

fn forgejo() -> ForgeSettings {
    ForgeSettings {
        place: ForgePlace::Forgejo(forgejo::Settings {
            base: "https://code.example/api/v1".parse().unwrap(),
            repository: "team/state".parse().unwrap(),
            token: SecretFile::at("/nowhere"),
            limits: Default::default(),
        }),
        ..github()
    }
}

/// Serves with other limits and settings where `change` makes some.
fn stage_with(
    forge: Option<&ForgeSettings>,
    change: impl FnOnce(&Path, &mut HttpSettings, &mut serve::Limits),
) -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let mut http = HttpSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        webhook_secret: Some(write(dir.path(), "secret", SECRET)),
    };
    let mut limits = serve::Limits::default();
    change(dir.path(), &mut http, &mut limits);
    let (hints, bot, agent, pulse) = Default::default();
    let stage = Stage {
        dir,
        address: http.listen,
        hints,
        bot,
        agent,
        pulse,
    };
    let doors = Doors {
        bot: Some((stage.bot.clone(), stage.hints.clone())),
        agent: Some((stage.agent.clone(), "refs/heads/main".into())),
        ledger: Repository::at_end_of("ssh://git@ledger/team/ledger.git"),
    };
    let pulses = vec![stage.pulse.clone()];
    let server = Server::prepare_within(limits, &http, forge, doors, pulses).unwrap();
    let address = server.listener.local_addr().unwrap();
    tokio::spawn(server.run());
    Stage { address, ..stage }
}

fn stage() -> Stage {
    stage_with(Some(&github()), |_, _, _| {})
}

impl Stage {
    /// Sends `bytes`, and gives everything that comes back until the end.
    async fn say(&self, bytes: &[u8]) -> String {
        let stream = TcpStream::connect(self.address).await.unwrap();
        converse(stream, bytes).await
    }

    async fn status(&self, bytes: &[u8]) -> u16 {
        status(&self.say(bytes).await)
    }

    async fn get(&self, path: &str) -> u16 {
        let request = format!("GET {path} HTTP/1.1\r\nHost: muster\r\n\r\n");
        self.status(request.as_bytes()).await
    }
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    // Who is refused early is not read to the end.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> u16 {
    let line = answer.lines().next().unwrap_or_default();
    let status = line.split(' ').nth(1).unwrap_or("0");
    status.parse().unwrap()
}

fn hex(secret: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    muster_core::bytes::hex(tag.as_ref())
}

fn post(path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: muster\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    format!("{request}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A delivery as GitHub makes it.
fn delivery(event: &str, id: &str, body: &str) -> Vec<u8> {
    signed(SECRET, event, id, body)
}

fn signed(secret: &str, event: &str, id: &str, body: &str) -> Vec<u8> {
    let signature = format!("sha256={}", hex(secret, body));
    post(
        "/webhook/github",
        &[
            ("Content-Type", "application/json"),
            ("X-GitHub-Event", event),
            ("X-GitHub-Delivery", id),
            ("X-Hub-Signature-256", &signature),
        ],
        body,
    )
}

fn proposal(number: u64) -> String {
    format!("{{\"number\": {number}, \"repository\": {{\"full_name\": \"team/state\"}}}}")
}

fn push(name: &str) -> String {
    format!("{{\"ref\": \"{name}\", \"repository\": {{\"full_name\": \"team/state\"}}}}")
}

/// Whether somebody has knocked since; what is asked of a door that nobody else listens at.
async fn was_knocked(knock: &Knock) -> bool {
    tokio::select! {
        biased;
        () = knock.heard() => true,
        () = std::future::ready(()) => false,
    }
}

#[tokio::test]
async fn a_signed_delivery_is_a_hint_and_a_knock_and_nothing_more() {
    let stage = stage();
    let answer = stage
        .say(&delivery("pull_request", "1", &proposal(7)))
        .await;
    assert_eq!(
        answer,
        "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(stage.hints.take(), [Poke::Proposal(7)]);
    assert!(was_knocked(&stage.bot).await);
    // A proposal is no reason for a host to fetch.
    assert!(!was_knocked(&stage.agent).await);

    // A host that pushed its ledger has something to tell, to the bot alone.
    let told = push("refs/heads/muster/host/web1").replace("team/state", "team/ledger");
    assert_eq!(stage.status(&delivery("push", "2", &told)).await, 204);
    assert_eq!(stage.hints.take(), [Poke::Anywhere]);
    assert!(was_knocked(&stage.bot).await);
    assert!(!was_knocked(&stage.agent).await);

    for (name, agent) in [
        ("refs/heads/main", true),
        ("refs/tags/release/20261126T000000Z-0-0", true),
        ("refs/heads/emo/new-roster", false),
        ("refs/notes/x", false),
    ] {
        let delivery = delivery("push", name, &push(name));
        assert_eq!(stage.status(&delivery).await, 204);
        assert_eq!(stage.hints.take(), [Poke::Ref(name.into())]);
        assert!(was_knocked(&stage.bot).await);
        assert_eq!(was_knocked(&stage.agent).await, agent, "{name}");
    }
    // From the forge, and no reason to look.
    for (event, body) in [("ping", "{}"), ("star", "{}"), ("push", "[")] {
        assert_eq!(stage.status(&delivery(event, event, body)).await, 204);
    }
    assert_eq!(stage.hints.take(), []);
    assert!(!was_knocked(&stage.bot).await);
}

#[tokio::test]
async fn whoever_does_not_know_the_secret_is_refused_and_not_told_why() {
    let stage = stage();
    let body = proposal(7);
    let good = format!("sha256={}", hex(SECRET, &body));
    let json = ("Content-Type", "application/json");
    let event = ("X-GitHub-Event", "pull_request");
    let bad = "0".repeat(64);
    let with = |more: &[(&str, &str)]| {
        let headers: Vec<_> = [json, event]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        post("/webhook/github", &headers, &body)
    };
    let reserialised = body.replace(": ", ":");
    let requests = [
        with(&[]),
        with(&[(
            "X-Hub-Signature",
            "sha1=0123456789012345678901234567890123456789",
        )]),
        with(&[("X-Hub-Signature-256", &format!("sha256={bad}"))]),
        with(&[("X-Hub-Signature-256", &good.to_uppercase())]),
        with(&[
            ("X-Hub-Signature-256", &good),
            ("X-Hub-Signature-256", &good),
        ]),
        // Another forge's spelling of the same.
        with(&[("X-Gitea-Signature", &good[7..])]),
        signed("another secret", "pull_request", "1", &body),
        signed("", "pull_request", "1", &body),
        // The same JSON, and not the same bytes.
        post(
            "/webhook/github",
            &[json, event, ("X-Hub-Signature-256", &good)],
            &reserialised,
        ),
        post(
            "/webhook/github",
            &[event, ("X-Hub-Signature-256", &good)],
            &body,
        ),
    ];
    for request in requests {
        let answer = stage.say(&request).await;
        let shown = String::from_utf8_lossy(&request).into_owned();
        assert_eq!(
            answer, "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            "{shown}"
        );
    }
    assert_eq!(stage.hints.take(), []);
    assert!(!was_knocked(&stage.bot).await && !was_knocked(&stage.agent).await);
    assert_eq!(
        stage.status(&delivery("pull_request", "1", &body)).await,
        204
    );
}

#[tokio::test]
async fn forgejo_signs_in_its_own_way_and_at_its_own_path() {
    let stage = stage_with(Some(&forgejo()), |_, _, _| {});
    let body = proposal(7);
    let tag = hex(SECRET, &body);
    let headers = [
        ("Content-Type", "application/json"),
        ("X-Forgejo-Event", "pull_request"),
        ("X-Forgejo-Delivery", "1"),
        ("X-Forgejo-Signature", tag.as_str()),
        ("X-Gitea-Signature", tag.as_str()),
    ];
    assert_eq!(
        stage
            .status(&post("/webhook/forgejo", &headers, &body))
            .await,
        204
    );
    assert_eq!(stage.hints.take(), [Poke::Proposal(7)]);
    // Where only one forge is named, the other's path is not there.
    assert_eq!(
        stage
            .status(&post("/webhook/github", &headers, &body))
            .await,
        404
    );
}

#[tokio::test]
async fn a_body_is_taken_up_to_a_mebibyte_and_no_further() {
    let stage = stage();
    let padded = |length: usize| {
        let body = proposal(7);
        let space = " ".repeat(length - body.len());
        body + &space
    };
    let largest = delivery("pull_request", "1", &padded(LARGEST));
    assert_eq!(stage.status(&largest).await, 204);
    assert_eq!(stage.hints.take(), [Poke::Proposal(7)]);

    // Announced, it is refused before it comes; the rest of the request is never sent.
    let larger = delivery("pull_request", "2", &padded(LARGEST + 1));
    let head = larger.len() - LARGEST - 1;
    assert_eq!(stage.status(&larger[..head]).await, 403);

    // Not announced, it is refused when it has become too large.
    let body = padded(LARGEST + 1);
    let signature = format!("sha256={}", hex(SECRET, &body));
    let request = format!(
        "POST /webhook/github HTTP/1.1\r\nHost: muster\r\nContent-Type: application/json\r\n\
         X-GitHub-Event: pull_request\r\nX-Hub-Signature-256: {signature}\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    // The answer may be lost with what nobody read.
    let answer = stage.say(request.as_bytes()).await;
    assert!(answer.is_empty() || status(&answer) == 403, "{answer}");
    assert_eq!(stage.hints.take(), []);
}

#[tokio::test]
async fn who_never_comes_to_an_end_is_left() {
    let short = Duration::from_millis(50);
    let stage = stage_with(Some(&github()), |_, _, limits| {
        limits.headers = short;
        limits.body = short;
    });
    let whole = delivery("pull_request", "1", &proposal(7));
    let body = whole.len() - proposal(7).len();
    assert_eq!(
        stage.status(&whole[..whole.len() - 1]).await,
        403,
        "without its last byte"
    );
    assert_eq!(stage.status(&whole[..body]).await, 403, "without its body");
    for cut in [0, 4, body - 2] {
        let answer = stage.say(&whole[..cut]).await;
        assert!(
            answer.is_empty() || status(&answer) == 408,
            "{cut}: {answer}"
        );
    }
    assert_eq!(stage.hints.take(), []);
    assert_eq!(stage.status(&whole).await, 204);

    // However it is divided up, a connection ends.
    let stage = stage_with(Some(&github()), |_, _, limits| limits.whole = short);
    assert_eq!(stage.say(&whole[..body]).await, "");
}

#[tokio::test]
async fn who_holds_on_to_connections_loses_the_oldest() {
    let stage = stage_with(Some(&github()), |_, _, limits| limits.connections = 2);
    let mut first = TcpStream::connect(stage.address).await.unwrap();
    let _second = TcpStream::connect(stage.address).await.unwrap();
    first
        .write_all(b"POST /webhook/github HTTP/1.1\r\n")
        .await
        .unwrap();
    let delivery = delivery("pull_request", "1", &proposal(7));
    assert_eq!(stage.status(&delivery).await, 204);
    assert!(matches!(first.read(&mut [0]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn ten_thousand_replays_are_one_hint_and_one_knock() {
    let stage = stage();
    let once = delivery("push", "1", &push("refs/heads/main"));
    // The name of a delivery is not signed: another one makes it no other delivery.
    let renamed = delivery("push", "2", &push("refs/heads/main"));
    assert_eq!(stage.status(&once).await, 204);
    assert_eq!(stage.hints.take().len(), 1);
    assert!(was_knocked(&stage.bot).await && was_knocked(&stage.agent).await);
    for _ in 0..5_000 {
        assert_eq!(stage.status(&once).await, 204);
        assert_eq!(stage.status(&renamed).await, 204);
    }
    assert_eq!(stage.hints.take(), []);
    assert!(!was_knocked(&stage.bot).await && !was_knocked(&stage.agent).await);
}

#[tokio::test]
async fn a_flood_of_different_deliveries_is_a_few_hints_and_one_knock() {
    let stage = stage();
    for number in 1..=1_000 {
        let delivery = delivery("pull_request", &number.to_string(), &proposal(number));
        assert_eq!(stage.status(&delivery).await, 204);
    }
    let hints = stage.hints.take();
    assert!(hints.len() <= 256 && hints.contains(&Poke::Anywhere));
    assert!(was_knocked(&stage.bot).await);
    assert!(!was_knocked(&stage.bot).await && !was_knocked(&stage.agent).await);
}

#[tokio::test]
async fn there_is_nothing_else_and_nothing_tells_who_answers() {
    let stage = stage();
    for (request, status) in [
        ("GET / HTTP/1.1", 404),
        ("GET /metrics HTTP/1.1", 404),
        ("GET /webhook/ HTTP/1.1", 404),
        ("GET /healthz/ HTTP/1.1", 404),
        ("GET /../healthz HTTP/1.1", 404),
        ("GET //healthz HTTP/1.1", 404),
        ("GET /webhook/github HTTP/1.1", 405),
        ("DELETE /webhook/github HTTP/1.1", 405),
        ("POST /healthz HTTP/1.1", 405),
        ("OPTIONS /readyz HTTP/1.1", 405),
        ("GET /healthz HTTP/1.1", 200),
        ("GET /readyz HTTP/1.1", 503),
        ("HEAD /healthz HTTP/1.0", 200),
    ] {
        let answer = stage
            .say(format!("{request}\r\nHost: muster\r\n\r\n").as_bytes())
            .await;
        assert_eq!(super::tests::status(&answer), status, "{request}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "", "{request}");
        for header in head.lines().skip(1) {
            let known = ["connection: ", "content-length: 0", "allow: "];
            assert!(
                known.iter().any(|it| header.starts_with(it)),
                "{request}: {header}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_no_http_harms_nobody() {
    let stage = stage();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(10_000));
    for garbage in [
        &b"\0\xff\xfe\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"POST /webhook/github HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /webhook/github HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /webhook/github HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzzzz\r\n",
        b"POST /webhook/github HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ] {
        let mut stream = TcpStream::connect(stage.address).await.unwrap();
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.is_empty() || super::tests::status(&answer) >= 400, "{answer}");
        assert!(answer.is_empty() || answer.ends_with("\r\n\r\n"), "{answer}");
    }
    assert_eq!(stage.hints.take(), []);
    assert_eq!(stage.get("/healthz").await, 200);
}

struct Goes(Vec<Health>);

impl Cycle for Goes {
    fn has_moved(&mut self) -> bool {
        false
    }
    fn run(&mut self, _: Why, _: &dyn Fn() -> bool) -> CycleStatus {
        CycleStatus {
            health: self.0.remove(0),
            line: String::new(),
            due_in: None,
        }
    }
    fn watch_paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

#[tokio::test]
async fn it_is_ready_after_a_good_cycle_and_until_a_bad_one() {
    // Without a forge there is nothing to hear, and no secret is needed.
    let stage = stage_with(None, |_, http, _| http.webhook_secret = None);
    assert_eq!(stage.status(&delivery("push", "1", "{}")).await, 404);
    assert_eq!(stage.get("/readyz").await, 503);
    let mut cycle = Pulsing {
        cycle: Box::new(Goes(vec![Health::Failed, Health::Well, Health::Failed])),
        pulse: stage.pulse.clone(),
    };
    for status in [503, 200, 503] {
        let _ = cycle.run(Why::Drift, &|| false);
        assert_eq!(stage.get("/readyz").await, status);
        assert_eq!(stage.get("/healthz").await, 200);
    }
}

#[tokio::test]
async fn a_secret_that_is_changed_counts_at_once_and_a_broken_one_never() {
    let stage = stage();
    let try_with = async |secret, id| {
        let delivery = signed(secret, "pull_request", id, &proposal(7));
        stage.status(&delivery).await
    };
    assert_eq!(try_with(SECRET, "1").await, 204);
    write(stage.dir.path(), "secret", "another secret\n");
    assert_eq!(try_with(SECRET, "2").await, 403);
    assert_eq!(try_with("another secret", "3").await, 204);
    write(stage.dir.path(), "secret", "\n");
    assert_eq!(try_with("", "4").await, 403);
    assert_eq!(try_with("another secret", "5").await, 204);
    fs::remove_file(stage.dir.path().join("secret")).unwrap();
    assert_eq!(try_with("another secret", "6").await, 204);
}

/// A certificate for 127.0.0.1 that nobody signed but itself.
fn certificate(dir: &Path) -> CertificateDer<'static> {
    let config = dir.join("openssl.cnf");
    fs::write(&config, "[req]\ndistinguished_name = dn\n[dn]\n").unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-config"])
        .arg(&config)
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=muster"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(dir.join("key.pem"))
        .arg("-out")
        .arg(dir.join("certificate.pem"))
        .output()
        .expect("openssl is installed");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    fs::set_permissions(dir.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    CertificateDer::from_pem_file(dir.join("certificate.pem")).unwrap()
}

/// Asks over TLS, and trusts `root` alone.
async fn ask_over_tls(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    request: &[u8],
) -> io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::from(address.ip());
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    Ok(converse(stream, request).await)
}

#[tokio::test]
async fn over_tls_it_shows_its_certificate_and_a_renewed_one_without_a_restart() {
    let mut root = None;
    let short = Duration::from_millis(50);
    let stage = stage_with(Some(&github()), |dir, http, limits| {
        root = Some(certificate(dir));
        http.tls = Some(TlsFiles {
            certificate: dir.join("certificate.pem"),
            key: SecretFile::at(dir.join("key.pem")),
        });
        limits.handshake = short;
    });
    let root = root.unwrap();
    let request = delivery("pull_request", "1", &proposal(7));
    let answer = ask_over_tls(stage.address, &root, &request).await.unwrap();
    assert_eq!(status(&answer), 204);
    assert_eq!(stage.hints.take(), [Poke::Proposal(7)]);
    // Who does not speak TLS is not answered, and who says nothing is not waited for.
    assert_eq!(status(&stage.say(&request).await), 0);
    assert_eq!(stage.say(b"").await, "");

    let renewed = certificate(stage.dir.path());
    let healthz = b"GET /healthz HTTP/1.1\r\nHost: muster\r\n\r\n";
    let answer = ask_over_tls(stage.address, &renewed, healthz)
        .await
        .unwrap();
    assert_eq!(status(&answer), 200);
    assert!(ask_over_tls(stage.address, &root, healthz).await.is_err());

    // Half a renewal, such as a certificate without its key, changes nothing.
    write(stage.dir.path(), "key.pem", "");
    let answer = ask_over_tls(stage.address, &renewed, healthz)
        .await
        .unwrap();
    assert_eq!(status(&answer), 200);
}

#[test]
fn what_cannot_be_served_is_said_before_anything_is() {
    let dir = tempfile::tempdir().unwrap();
    let http = HttpSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        webhook_secret: Some(write(dir.path(), "secret", SECRET)),
    };
    let prepare = |http: &HttpSettings| {
        let server = Server::prepare(http, Some(&github()), Doors::default(), Vec::new());
        server
            .map(drop)
            .map_err(|error| crate::cycle::chain(&error))
    };
    prepare(&http).unwrap();
    let says = |http: HttpSettings, words: &str| {
        let said = prepare(&http).unwrap_err();
        assert!(said.contains(words), "{said}");
        assert!(!said.contains(SECRET), "{said}");
    };
    let with_secret = |secret| HttpSettings {
        webhook_secret: secret,
        ..http.clone()
    };
    says(with_secret(None), "[http] webhook_secret");
    says(
        with_secret(Some(SecretFile::at("/nowhere/x"))),
        "cannot be read",
    );
    says(
        with_secret(Some(write(dir.path(), "empty", "\n"))),
        "it is empty",
    );
    let with_tls = |key| HttpSettings {
        tls: Some(TlsFiles {
            certificate: dir.path().join("certificate.pem"),
            key,
        }),
        ..http.clone()
    };
    let secret = || write(dir.path(), "secret", SECRET);
    says(with_tls(secret()), "the certificate in");
    certificate(dir.path());
    says(with_tls(secret()), "no private key");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = HttpSettings {
        listen: listener.local_addr().unwrap(),
        ..http.clone()
    };
    says(taken, "nobody can be heard at 127.0.0.1");
}
