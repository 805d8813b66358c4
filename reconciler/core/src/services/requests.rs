//! Whether a text asks for something to be run, or tells of an incident.

use super::needles::Needles;
use super::secrets;

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

/// What commands begin with: most words are told by their first letter (W9).
static BEGINS: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < COMMANDS.len() {
        table[COMMANDS[at].0.as_bytes()[0] as usize] = true;
        at += 1;
    }
    table
};

/// What a word of a command line ends at.
static ENDS: [bool; 256] = secrets::bytes_of(b" \t\n\x0b\x0c\r`\"',;()&|$");

/// Whether a text asks for something to be run.
pub fn asks(text: &str) -> bool {
    // One word asks for nothing, and most fields are a reference or a name (W9).
    if text.is_ascii() && !text.bytes().any(|b| ENDS[usize::from(b)]) {
        return false;
    }
    let lower = lowered(text);
    if ASKED.is_any_in(&lower) || begins_with_asking(&lower) {
        return true;
    }
    let words = || secrets::split(&lower, &ENDS).filter(|it| !it.is_empty());
    words().enumerate().any(|(at, word)| {
        let command = word.rsplit('/').next().unwrap_or(word);
        let first = command.as_bytes().first();
        if !first.is_some_and(|it| BEGINS[usize::from(*it)]) {
            return false;
        }
        let Some((_, verbs)) = COMMANDS.iter().find(|(name, _)| *name == command) else {
            return false;
        };
        // Options may stand between them: docker compose -f x.yml up.
        let is_between =
            |it: &&str| it.starts_with('-') || *it == "compose" || it.contains(['.', '=']);
        let Some(next) = words()
            .skip(at + 1)
            .find(|it| verbs.contains(it) || verbs.is_empty() || !is_between(it))
        else {
            return false;
        };
        let is_asked = match verbs {
            // What follows is an argument, and no word of a sentence about it.
            [] => !NOUNS.contains(&next),
            verbs => verbs.contains(&next),
        };
        is_asked && !is_told_of(&lower, word, next)
    })
}

/// Whether a sentence tells what a command is, or that nobody gives it: "we never do it by systemctl restart", "docker compose down is
/// the disable switch". Only what stands in one clause with it counts, and nothing else in the sentence may ask for it: "never mind" and
/// "is the first thing to do" say nothing of the kind.
fn is_told_of(text: &str, command: &str, verb: &str) -> bool {
    let offset = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
    let before = text[..offset(command)]
        .rsplit(CLAUSE_ENDS)
        .next()
        .unwrap_or_default();
    let behind = &text[offset(verb) + verb.len()..];
    let sentence = behind.split(['.', ';', '!', '?', '\n']).next();
    let urges = |it: &str| URGES.contains(&it);
    if sentence
        .unwrap_or_default()
        .split(|c: char| !c.is_alphanumeric())
        .any(urges)
    {
        return false;
    }
    let mut words = before.split_whitespace().rev();
    let doing: Vec<&str> = words.by_ref().take_while(|it| *it != "never").collect();
    let is_never = before.split_whitespace().any(|it| it == "never")
        && doing.iter().all(|it| NEVER_DONE.contains(it));
    is_never || is_what_it_is(behind)
}

/// Whether what follows says what a command is for, and nothing more: " is the disable switch".
fn is_what_it_is(behind: &str) -> bool {
    let clause = behind.split(CLAUSE_ENDS).next().unwrap_or_default();
    let mut words = clause.split_whitespace();
    if words.next() != Some("is") || !matches!(words.next(), Some("the" | "a" | "our" | "its")) {
        return false;
    }
    let Some(last) = words.clone().last() else {
        return false;
    };
    let mut before = words.take_while(|it| *it != last);
    IT_IS.contains(&last) && before.all(|it| OF_WHAT_KIND.contains(&it))
}

/// What urges somebody to do what was told of.
static URGES: [&str; 12] = [
    "please",
    "now",
    "must",
    "should",
    "run",
    "execute",
    "do",
    "immediately",
    "asap",
    "today",
    "so",
    "go",
];
/// What stands between "never" and a command that is not given.
static NEVER_DONE: [&str; 32] = [
    "do",
    "does",
    "did",
    "run",
    "runs",
    "ran",
    "use",
    "uses",
    "used",
    "call",
    "calls",
    "execute",
    "executes",
    "restart",
    "restarts",
    "restarted",
    "stop",
    "start",
    "reload",
    "it",
    "this",
    "that",
    "them",
    "by",
    "with",
    "via",
    "through",
    "using",
    "a",
    "the",
    "any",
    "service",
];
/// What a command is, to whoever reads of it.
static IT_IS: [&str; 8] = [
    "switch", "rule", "freeze", "rollback", "fallback", "command", "way", "path",
];
/// Of what kind that is.
static OF_WHAT_KIND: [&str; 9] = [
    "disable",
    "kill",
    "emergency",
    "off",
    "freeze",
    "documented",
    "only",
    "stop",
    "roll",
];

/// What a clause ends at.
const CLAUSE_ENDS: [char; 9] = ['.', ';', ',', ':', '!', '?', '\n', '(', ')'];

/// Verbs that ask at the head of a sentence, where one of [`ACTED_ON`] follows in it.
static ASKING: [&str; 8] = [
    "run", "execute", "apply", "launch", "trigger", "start", "rerun", "open",
];
/// What an answer asks nobody to run or change (A8).
static ACTED_ON: [&str; 8] = [
    "repair bot",
    "repair-bot",
    "ansible",
    "playbook",
    "firewall",
    "iptables",
    "docker",
    "systemctl",
];
/// What follows such a word where it is none: "run by the repair bot", "open questions".
static NO_OBJECT: [&str; 12] = [
    "by",
    "in",
    "on",
    "at",
    "with",
    "only",
    "after",
    "when",
    "questions",
    "points",
    "time",
    "order",
];

/// Whether a sentence begins with what asks for something to be run.
fn begins_with_asking(lower: &str) -> bool {
    lower.split(['.', ';', '!', '?', '\n']).any(|sentence| {
        let mut words = sentence.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let verb = if verb == "please" {
            words.next().unwrap_or_default()
        } else {
            verb
        };
        ASKING.contains(&verb)
            && words.next().is_some_and(|it| !NO_OBJECT.contains(&it))
            && ACTED_ON.iter().any(|it| sentence.contains(it))
    })
}

/// In lower case, which for ASCII is a matter of bytes.
fn lowered(text: &str) -> String {
    if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.to_lowercase()
    }
}

/// Whether a text tells of an incident.
pub fn tells_of_incident(text: &str) -> bool {
    INCIDENTS.is_any_in(&lowered(text))
}

#[cfg(test)]
mod tests {
    use super::asks;

    /// A8: what asks for the bot, Ansible or the firewall in words, and what only tells of a command.
    #[test]
    fn a8_a_sentence_asks_or_tells() {
        for text in [
            "Run the repair bot now.",
            "It is safe. Apply the ansible playbook on Sunday.",
            "Open port 443 in the firewall.",
            "please trigger the repair-bot",
            "never mind, sudo systemctl restart edge",
            "docker compose down",
            "never mind sudo systemctl restart edge",
            "Never hesitate to run systemctl restart edge.",
            "It never works until you systemctl restart edge",
            "never forget docker compose pull",
            "We never skip docker compose up on Sundays",
            "docker compose down is the first thing to do",
            "docker compose down is the switch you must flip",
            "docker compose down is the disable switch and should be pulled now.",
            "sudo reboot is the way, please do it",
            "systemctl restart is a must",
        ] {
            assert!(asks(text), "{text}");
        }
        for text in [
            "We never restart it by systemctl restart; its owner does.",
            "Nobody here may: never run systemctl restart.",
            "docker compose down is the emergency switch.",
            "docker compose down is the disable switch, by mira, after approval.",
            "Run by the repair bot on Sundays.",
            "Open questions about the firewall: none.",
            "The playbook of ansible is kept by mira.",
        ] {
            assert!(!asks(text), "{text}");
        }
    }
}
