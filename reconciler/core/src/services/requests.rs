//! Whether a text asks for something to be run, or tells of an incident.

use super::needles::Needles;

/// A command, and the words behind it that make it one. With no such words the command alone is a request.
static COMMANDS: [(&str, &[&str]); 20] = [
    (
        "systemctl",
        &[
            "start",
            "stop",
            "restart",
            "reload",
            "enable",
            "disable",
            "kill",
            "daemon-reload",
        ],
    ),
    (
        "docker",
        &[
            "run", "exec", "restart", "stop", "start", "kill", "rm", "pull", "up", "down", "build",
            "push",
        ],
    ),
    (
        "docker-compose",
        &["up", "down", "restart", "pull", "stop", "start", "rm"],
    ),
    ("compose", &["up", "down", "restart", "pull"]),
    ("podman", &["run", "exec", "restart", "stop", "rm", "pull"]),
    (
        "kubectl",
        &["apply", "delete", "exec", "scale", "rollout", "patch"],
    ),
    ("ssh", &[]),
    ("scp", &[]),
    ("sudo", &[]),
    ("ansible-playbook", &[]),
    ("ansible", &["apply", "-m", "all", "run"]),
    (
        "repair-bot",
        &["run", "execute", "start", "apply", "repair"],
    ),
    ("iptables", &["-a", "-d", "-i", "-f"]),
    ("ufw", &["allow", "deny", "enable", "disable"]),
    ("nft", &["add", "delete", "flush"]),
    ("reboot", &[]),
    ("shutdown", &["-h", "-r", "now"]),
    ("rm", &["-rf", "-r", "-f"]),
    ("tee", &["/etc"]),
    ("crontab", &["-e", "-r"]),
];

/// What follows a command where a sentence only speaks of it.
static NOUNS: [&str; 34] = [
    "access",
    "action",
    "actions",
    "and",
    "after",
    "before",
    "config",
    "configuration",
    "for",
    "group",
    "is",
    "key",
    "keys",
    "log",
    "logs",
    "on",
    "or",
    "order",
    "permission",
    "permissions",
    "plan",
    "policy",
    "port",
    "rights",
    "rule",
    "rules",
    "sequence",
    "session",
    "sessions",
    "test",
    "users",
    "was",
    "window",
    "write",
];

/// What asks in words.
static ASKED: Needles<9> = Needles::of([
    "please run",
    "please execute",
    "please restart",
    "please apply",
    "please deploy",
    "go ahead and",
    "you may now",
    "open the runtime gate",
    "請執行",
]);

/// What tells of an incident in words.
static INCIDENTS: Needles<9> = Needles::of([
    "outage",
    "silent restart",
    "silently restarted",
    "port conflict",
    "port incident",
    "cold start of",
    "crashed",
    "went down",
    "靜默",
]);

/// Whether a text asks for something to be run.
pub fn asks(text: &str) -> bool {
    let lower = text.to_lowercase();
    if ASKED.is_any_in(&lower) {
        return true;
    }
    let is_end = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '`' | '"' | '\'' | ',' | ';' | '(' | ')' | '&' | '|' | '$'
            )
    };
    let words: Vec<&str> = lower.split(is_end).filter(|it| !it.is_empty()).collect();
    words.iter().enumerate().any(|(at, word)| {
        let command = word.rsplit('/').next().unwrap_or(word);
        let Some((_, verbs)) = COMMANDS.iter().find(|(name, _)| is_it(name, command)) else {
            return false;
        };
        // Options may stand between them: docker compose -f x.yml up.
        let is_between =
            |it: &&&str| it.starts_with('-') || **it == "compose" || it.contains(['.', '=']);
        let rest = &words[at + 1..];
        let Some(next) = rest
            .iter()
            .find(|it| verbs.contains(*it) || verbs.is_empty() || !is_between(it))
        else {
            return false;
        };
        match verbs {
            // What follows is an argument, and no word of a sentence about it.
            [] => !NOUNS.contains(next),
            verbs => verbs.contains(next),
        }
    })
}

/// Whether a word is that command; most words begin with another letter than most commands.
fn is_it(name: &str, word: &str) -> bool {
    name.as_bytes().first() == word.as_bytes().first() && name == word
}

/// Whether a text tells of an incident.
pub fn tells_of_incident(text: &str) -> bool {
    INCIDENTS.is_any_in(&text.to_lowercase())
}
