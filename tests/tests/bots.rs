//! A bot as a process: what it says when another one leads, what wakes it, and how it ends when not all could be told.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster::bot_store::GitStore;
use muster_core::fleet::{BotStore as _, Lead};
use muster_core::time::Time;
use muster_git::Origin;
use muster_tests::site::{ANN_AND_BOB, Daemon, Ran, Site, hermetic, needs, program, wait_until};
use ring::hmac;

const SECRET: &str = "it is a secret to everybody";

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Time(i64::try_from(since.as_secs()).unwrap())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A bot of a state repository with one proposal, on a forge that listens at a port.
struct Place {
    site: Site,
    http: u16,
    head: String,
}

impl Place {
    fn new(forge: u16) -> Self {
        needs(&["git"]);
        let site = Site::bare("");
        let there = site.path("team/ledger.git");
        let http = free_port();
        site.git(&["init", "--quiet", "--bare", &there.display().to_string()]);
        site.git(&["checkout", "--quiet", "-b", "bob"]);
        let head = site.commit(ANN_AND_BOB, "ann and bob");
        site.git(&["update-ref", "refs/pull/1/head", &head]);
        site.git(&["checkout", "--quiet", "main"]);
        for (name, text) in [("token", "tok_abcdefgh"), ("secret", SECRET)] {
            fs::write(site.path(name), text).unwrap();
            fs::set_permissions(site.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::create_dir_all(site.path("etc")).unwrap();
        fs::write(site.path("etc/hosts"), "").unwrap();
        let path = |name: &str| site.path(name).display().to_string();
        let settings = format!(
            "[state]\nurl = \"{}\"\ndir = \"{}\"\n\
             [fleet]\nroles = [\"bot\"]\nledger = \"{}\"\nhosts = \"{}\"\nname = \"bot-2\"\n\
             [forge]\nkind = \"github\"\nurl = \"http://127.0.0.1:{forge}\"\nrepository = \"team/state\"\ntoken = \"{}\"\n\
             [http]\nlisten = \"127.0.0.1:{http}\"\nwebhook_secret = \"{}\"\n",
            path("origin"),
            path("bot"),
            there.display(),
            path("etc/hosts"),
            path("token"),
            path("secret"),
        );
        fs::write(site.path("bot.toml"), settings).unwrap();
        Self { site, http, head }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut muster = hermetic(program());
        muster.arg("--config").arg(self.site.path("bot.toml"));
        muster.args(args);
        muster
    }

    fn once(&self) -> Ran {
        Ran::from(self.command(&["run", "--once"]).output().expect("muster"))
    }
}

#[test]
fn a_bot_that_does_not_lead_says_that_it_stands_by() {
    let place = Place::new(free_port());
    let there = Origin::parse(&place.site.path("team/ledger.git").display().to_string()).unwrap();
    let mut first = GitStore::open(&place.site.path("first"), Some(there), "bot-1", 600).unwrap();
    assert!(matches!(first.lead(now()).unwrap(), Lead::Ours { .. }));
    let ran = place.once();
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    assert!(
        ran.said().contains("stands by: bot-1 tells"),
        "{}",
        ran.said()
    );

    // The service manager shows it, and the log says it once.
    let socket = place.site.path("notify");
    let heard = UnixDatagram::bind(&socket).unwrap();
    heard
        .set_read_timeout(Some(Duration::from_secs(120)))
        .unwrap();
    let mut command = place.command(&["run"]);
    command.env("NOTIFY_SOCKET", &socket);
    let mut bot = Daemon::start(command, &place.site.path("bot.log"));
    let mut said = [0; 4_096];
    loop {
        let length = heard.recv(&mut said).expect("a word of the bot");
        let said = String::from_utf8_lossy(&said[..length]);
        if said.contains("STATUS=stands by: bot-1 tells, until ") {
            break;
        }
    }
    wait_until("the log says it", || {
        bot.log().contains("This bot stands by: bot-1")
    });
    assert_eq!(bot.stop(), Some(0), "{}", bot.log());
}

#[test]
fn a_push_to_the_ledger_repository_wakes_the_bot() {
    // A forge that does not answer is enough: it looks, and says why it looks.
    let place = Place::new(free_port());
    let mut bot = Daemon::start(place.command(&["-vv", "run"]), &place.site.path("bot.log"));
    // It listens before it looks for the first time; a delivery before that is no reason to look twice.
    wait_until("the first look is over", || {
        assert!(bot.is_running(), "the bot has ended: {}", bot.log());
        bot.log().contains("The bot told nothing")
    });
    let deliver = |repository: &str| {
        let body = format!(
            "{{\"ref\": \"refs/heads/muster/host/web1\", \"repository\": {{\"full_name\": \"{repository}\"}}}}"
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = hmac::sign(&key, body.as_bytes());
        let hex: String = tag.as_ref().iter().map(|it| format!("{it:02x}")).collect();
        let mut stream = TcpStream::connect(("127.0.0.1", place.http)).unwrap();
        write!(
            stream,
            "POST /webhook/github HTTP/1.1\r\nHost: muster\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\n\
             X-Hub-Signature-256: sha256={hex}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    };
    let pokes = |bot: &Daemon| bot.log().matches("why=Poked").count();
    deliver("team/other");
    wait_until("another repository is none of ours", || {
        bot.log().contains("why=AnotherRepository")
    });
    assert_eq!(pokes(&bot), 0, "{}", bot.log());
    deliver("team/ledger");
    wait_until("it looks because of that", || pokes(&bot) == 1);
    assert_eq!(bot.stop(), Some(0), "{}", bot.log());
}

/// A forge on which nobody may write; with one proposal, where it has a head.
fn forge_that_takes_nothing(head: Option<String>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(&stream, head.as_deref());
        }
    });
    port
}

fn answer(stream: &TcpStream, head: Option<&str>) -> std::io::Result<()> {
    let mut input = BufReader::new(stream);
    let (mut first, mut length, mut line) = (String::new(), 0, String::new());
    input.read_line(&mut first)?;
    loop {
        line.clear();
        input.read_line(&mut line)?;
        let header = line.trim().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if header.is_empty() {
            break;
        }
    }
    input.read_exact(&mut vec![0; length])?;
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let path = target.split('?').next().unwrap_or("");
    let (status, body) = match (method, path) {
        ("GET", "/user") => (200, "{\"id\": 7, \"login\": \"muster\", \"type\": \"User\"}".to_owned()),
        ("GET", "/repos/team/state") => (200, "{\"id\": 5, \"private\": true}".to_owned()),
        ("GET", "/repos/team/state/pulls") => (
            200,
            head.map_or("[]".to_owned(), |head| format!(
                "[{{\"number\": 1, \"state\": \"open\", \"draft\": false, \"merged_at\": null, \
                 \"updated_at\": \"2026-11-28T10:00:00Z\", \"head\": {{\"sha\": \"{head}\", \"ref\": \"bob\", \
                 \"label\": \"team:bob\", \"repo\": {{\"id\": 5}}}}, \"base\": {{\"ref\": \"main\", \"repo\": {{\"id\": 5}}}}}}]"
            )),
        ),
        ("GET", _) => (200, "[]".to_owned()),
        _ => (403, "{\"message\": \"Resource not accessible by personal access token\"}".to_owned()),
    };
    let mut output = stream;
    write!(
        output,
        "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_bot_that_could_not_tell_all_ends_with_one() {
    let place = Place::new(1);
    let mut before = "127.0.0.1:1\"".to_owned();
    for (proposal, code, words) in [
        (Some(place.head.clone()), 1, "1 open pull requests"),
        // With nothing to tell, all is well.
        (None, 0, "0 open pull requests"),
    ] {
        let there = format!("127.0.0.1:{}\"", forge_that_takes_nothing(proposal));
        let settings = fs::read_to_string(place.site.path("bot.toml")).unwrap();
        fs::write(
            place.site.path("bot.toml"),
            settings.replacen(&before, &there, 1),
        )
        .unwrap();
        before = there;
        let ran = place.once();
        assert_eq!(ran.code, Some(code), "{}", ran.said());
        assert!(ran.said().contains(words), "{}", ran.said());
        // What it remembers of the proposal would have it told of as closed.
        let _ = fs::remove_dir_all(place.site.path("bot"));
        let _ = fs::remove_dir_all(place.site.path("team/ledger.git/refs/muster"));
    }
}
