//! Bare repositories, which are the truth about code: served by git's own HTTP, and told to the stand-in commit by commit.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::network::{inside, path_of};
use super::{Inner, REPOSITORY, people::Person};
use crate::site::wait_until;
use crate::skin::{How, Reply, Request};

/// Repositories, each at `<owner>/<name>.git` below one directory.
#[derive(Debug)]
pub struct Code {
    dir: PathBuf,
    /// Objects that the stand-in has, each with the repository that it has them in.
    taught: Mutex<BTreeSet<(String, String)>>,
}

/// A branch or tag that a push moved.
pub(crate) struct Moved {
    pub(crate) name: String,
    /// `None` where it was made, or is gone.
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

impl Code {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            taught: Mutex::default(),
        }
    }

    /// The directory that all of them are below.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where one of them is.
    pub fn path(&self, repository: &str) -> PathBuf {
        self.dir.join(format!("{repository}.git"))
    }

    /// An empty one.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn create(&self, repository: &str) {
        let path = self.path(repository);
        fs::create_dir_all(&path).expect("a directory");
        self.git(
            repository,
            &["init", "--quiet", "--bare", "--initial-branch=main"],
        );
        // Heads of proposals are the forge's own.
        self.git(repository, &["config", "receive.hideRefs", "refs/pull"]);
        self.git(repository, &["config", "http.receivepack", "true"]);
    }

    /// A copy of one, as a fork is.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn fork(&self, from: &str, to: &str) {
        self.create(to);
        let from = self.path(from).display().to_string();
        self.git(
            to,
            &["fetch", "--quiet", &from, "refs/heads/*:refs/heads/*"],
        );
    }

    /// Serves all of them to be read, by git's own protocol, from an address of another network; `acme/ledger` can be written as
    /// well. It goes on until what is given is killed.
    ///
    /// # Panics
    /// When that does not work.
    pub fn serve(&self, network: Option<&str>, address: &str, port: u16) -> Child {
        let found = Command::new("git").arg("--exec-path").output();
        let found = found.expect("git").stdout;
        // `git daemon` would be the parent of it, and leave it alone when it is killed.
        let program = Path::new(String::from_utf8_lossy(&found).trim()).join("git-daemon");
        let mut daemon = match network {
            Some(network) => {
                let mut enter = Command::new("nsenter");
                enter.arg(format!("--net={}", path_of(network).display()));
                enter.arg(program);
                enter
            }
            None => Command::new(program),
        };
        let child = isolated(&mut daemon)
            .args([
                "--export-all",
                "--reuseaddr",
                "--allow-override=receive-pack",
            ])
            .arg(format!("--listen={address}"))
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", self.dir.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("git");
        let url = format!("git://{address}:{port}/{REPOSITORY}.git");
        let answers = || {
            let mut git = Command::new("git");
            isolated(&mut git).args(["ls-remote", &url]);
            git.stdout(Stdio::null()).stderr(Stdio::null());
            git.status().is_ok_and(|it| it.success())
        };
        wait_until("git answers", || inside(network, answers));
        child
    }

    /// What git says in one of them.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn git(&self, repository: &str, args: &[&str]) -> String {
        let out = self.raw(repository, args);
        String::from_utf8_lossy(&out).trim_end().to_owned()
    }

    #[track_caller]
    fn raw(&self, repository: &str, args: &[&str]) -> Vec<u8> {
        let out = isolated(Command::new("git").arg("-C").arg(self.path(repository)))
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("git");
        let said = || String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "git {args:?}: {}", said());
        out.stdout
    }

    /// What a branch points to.
    ///
    /// # Panics
    /// When there is no such branch.
    #[track_caller]
    pub fn tip(&self, repository: &str, branch: &str) -> String {
        self.git(
            repository,
            &["rev-parse", "--verify", &format!("refs/heads/{branch}")],
        )
    }

    /// Whether it is a commit there.
    pub(crate) fn has(&self, repository: &str, commit: &str) -> bool {
        let mut git = Command::new("git");
        isolated(git.arg("-C").arg(self.path(repository)))
            .args(["cat-file", "-e", &format!("{commit}^{{commit}}")])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|it| it.success())
    }

    /// Every branch and tag.
    pub(crate) fn refs(&self, repository: &str) -> BTreeSet<(String, String)> {
        let format = "--format=%(refname) %(objectname)";
        self.git(
            repository,
            &["for-each-ref", format, "refs/heads", "refs/tags"],
        )
        .lines()
        .filter_map(|it| it.split_once(' '))
        .map(|(name, id)| (name.to_owned(), id.to_owned()))
        .collect()
    }

    /// The merge of two commits, as the forge's button makes it; its date follows from what is merged.
    ///
    /// # Panics
    /// When they do not merge.
    pub(crate) fn merge(&self, base: &str, head: &str, message: &str) -> String {
        let tree = self.git(REPOSITORY, &["merge-tree", "--write-tree", base, head]);
        let date = self.git(REPOSITORY, &["show", "-s", "--format=%ct", head]);
        let date = date.parse::<i64>().expect("a date") + 60;
        let out = isolated(Command::new("git").arg("-C").arg(self.path(REPOSITORY)))
            .args(["commit-tree", &tree, "-p", base, "-p", head, "-m", message])
            .env("GIT_AUTHOR_DATE", format!("@{date} +0000"))
            .env("GIT_COMMITTER_DATE", format!("@{date} +0000"))
            .envs(identity("acme", "acme@example.org"))
            .output()
            .expect("git");
        assert!(out.status.success(), "{out:?}");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }
}

/// git, with nothing of this machine's or this user's settings.
pub(crate) fn isolated(git: &mut Command) -> &mut Command {
    git.env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", "/nonexistent")
        // The repositories may lie in a place that somebody else owns.
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
}

pub(crate) fn identity(name: &str, email: &str) -> [(&'static str, String); 4] {
    [
        ("GIT_AUTHOR_NAME", name.to_owned()),
        ("GIT_AUTHOR_EMAIL", email.to_owned()),
        ("GIT_COMMITTER_NAME", name.to_owned()),
        ("GIT_COMMITTER_EMAIL", email.to_owned()),
    ]
}

impl Inner {
    /// git's own HTTP, by git's own program.
    pub(super) fn git(&self, request: &Request) -> Reply {
        let Some((repository, _)) = request.path[1..].split_once(".git/") else {
            return plain(404, "no such repository");
        };
        let pushes = request.target.contains("git-receive-pack");
        let who = match self.who_pushes(request) {
            Ok(who) => who,
            Err(reply) => return reply,
        };
        if pushes && !who.as_ref().is_some_and(|it| it.pushes_to(repository)) {
            return plain(403, "you may not push here");
        }
        let before = self.code.refs(repository);
        let query = request.target.split_once('?').map_or("", |it| it.1);
        let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
        let mut git = Command::new("git");
        isolated(&mut git)
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", self.code.dir())
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", &request.path)
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", &request.method)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("GIT_PROTOCOL", header("git-protocol"))
            .env("REMOTE_ADDR", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(who) = &who {
            git.env("REMOTE_USER", &who.login);
        }
        let Ok(mut child) = git.spawn() else {
            return plain(500, "git does not start");
        };
        if let Some(mut input) = child.stdin.take() {
            // One that has heard enough closes its ear.
            let _ = input.write_all(&request.body);
        }
        let Ok(out) = child.wait_with_output() else {
            return plain(500, "git does not end");
        };
        let reply = from_cgi(&out.stdout);
        if pushes && let Some(who) = &who {
            let after = self.code.refs(repository);
            self.after_push(who, repository, &moved(&before, &after));
        }
        reply
    }

    /// Whose password came with it, if one came; a private repository is for those alone who have one.
    fn who_pushes(&self, request: &Request) -> Result<Option<Person>, Reply> {
        let given = request
            .headers
            .get("authorization")
            .and_then(|it| it.strip_prefix("Basic "))
            .and_then(|it| BASE64_STANDARD.decode(it).ok())
            .and_then(|it| String::from_utf8(it).ok());
        let Some((_, token)) = given.as_deref().and_then(|it| it.split_once(':')) else {
            let mut reply = plain(401, "who are you?");
            let ask = "Basic realm=\"hub\"".to_owned();
            reply.headers.push(("www-authenticate".into(), ask));
            return Err(reply);
        };
        let person = self.people.iter().find(|it| it.token == token).cloned();
        let app = self.state().installation_tokens.contains(token);
        match (person, app) {
            (Some(person), _) => Ok(Some(person)),
            (None, true) => Ok(None),
            (None, false) => Err(plain(403, "nobody has that password")),
        }
    }

    /// Tells the stand-in everything that leads to a commit. It makes the same objects of it, or this ends.
    ///
    /// # Panics
    /// When it makes others.
    pub(super) fn teach(&self, who: &Person, from: &str, to: &str, tip: &str) {
        let code = &self.code;
        let mut taught = code.taught.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = |taught: &BTreeSet<_>, id: &str| !taught.contains(&(to.into(), id.into()));
        let commits = code.git(from, &["rev-list", "--reverse", "--topo-order", tip]);
        for commit in commits.lines().filter(|it| !it.is_empty()) {
            if !is_new(&taught, commit) {
                continue;
            }
            let raw = code.git(from, &["cat-file", "commit", commit]);
            let (head, message) = raw.split_once("\n\n").expect("a commit with a message");
            let field = |name: &str| -> Vec<&str> {
                let wanted = |it: &&str| it.starts_with(name) && it[name.len()..].starts_with(' ');
                let lines = head.lines().filter(wanted);
                lines.map(|it| &it[name.len() + 1..]).collect()
            };
            let tree = field("tree")[0];
            let mut entries = Vec::new();
            let listing = code.git(from, &["ls-tree", "-r", tree]);
            for line in listing.lines() {
                let (about, path) = line.split_once('\t').expect("a path");
                let words: Vec<&str> = about.split(' ').collect();
                let (mode, kind, id) = (words[0], words[1], words[2]);
                if is_new(&taught, id) {
                    let bytes = code.raw(from, &["cat-file", kind, id]);
                    let sent =
                        json!({"content": BASE64_STANDARD.encode(bytes), "encoding": "base64"});
                    let made =
                        self.person_asks(who, "POST", &format!("/repos/{to}/git/blobs"), &sent);
                    assert_eq!(made["sha"], id, "a blob of {path}");
                    taught.insert((to.into(), id.into()));
                }
                entries.push(json!({"path": path, "mode": mode, "type": kind, "sha": id}));
            }
            let sent = json!({"tree": entries});
            let made = self.person_asks(who, "POST", &format!("/repos/{to}/git/trees"), &sent);
            assert_eq!(made["sha"], tree, "the tree of {commit}");
            let sent = json!({
                "message": message, "tree": tree, "parents": field("parent"),
                "author": signature(field("author")[0]), "committer": signature(field("committer")[0]),
            });
            let made = self.person_asks(who, "POST", &format!("/repos/{to}/git/commits"), &sent);
            assert_eq!(made["sha"], commit, "the commit {raw}");
            taught.insert((to.into(), commit.into()));
        }
    }
}

/// Who made a commit and when, as the API wants it.
fn signature(line: &str) -> serde_json::Value {
    let (name, rest) = line.split_once(" <").expect("a name");
    let (email, when) = rest.split_once("> ").expect("an address");
    let (seconds, zone) = when.split_once(' ').expect("a date");
    assert_eq!(zone, "+0000", "commits of these tests are made in UTC");
    let at = seconds
        .parse()
        .ok()
        .and_then(|it| jiff::Timestamp::from_second(it).ok());
    json!({"name": name, "email": email, "date": at.expect("a date").to_string()})
}

fn moved(before: &BTreeSet<(String, String)>, after: &BTreeSet<(String, String)>) -> Vec<Moved> {
    let find = |all: &BTreeSet<(String, String)>, name: &str| {
        all.iter().find(|it| it.0 == name).map(|it| it.1.clone())
    };
    let names: BTreeSet<&String> = before.iter().chain(after).map(|it| &it.0).collect();
    names
        .into_iter()
        .map(|name| Moved {
            name: name.clone(),
            before: find(before, name),
            after: find(after, name),
        })
        .filter(|it| it.before != it.after)
        .collect()
}

pub(super) fn plain(status: u16, text: &str) -> Reply {
    Reply {
        status,
        headers: vec![("content-type".into(), "text/plain".into())],
        body: text.as_bytes().to_vec(),
        how: How::Whole,
    }
}

/// What a program behind a web server answers.
fn from_cgi(out: &[u8]) -> Reply {
    let Some(end) = out.windows(4).position(|it| it == b"\r\n\r\n") else {
        return plain(500, "git answers nothing");
    };
    let mut reply = plain(200, "");
    reply.headers.clear();
    for line in String::from_utf8_lossy(&out[..end]).lines() {
        match line.split_once(": ") {
            Some(("Status", value)) => {
                let code = value.split(' ').next().and_then(|it| it.parse().ok());
                reply.status = code.unwrap_or(500);
            }
            Some((name, value)) => reply
                .headers
                .push((name.to_ascii_lowercase(), value.to_owned())),
            None => {}
        }
    }
    reply.body = out[end + 4..].to_vec();
    reply
}
