//! From the text of a file to entries: lines, words, aliases and rules as they are written.

use super::Line;

/// Takes the text of one file apart into its lines. Bytes that are not UTF-8 are replaced.
pub fn lines(text: &[u8]) -> Vec<Line> {
    let text = String::from_utf8_lossy(text);
    let mut rest = text.as_ref();
    let mut lines = Vec::new();
    while !rest.is_empty() {
        if let Some((line, after)) = include(rest) {
            lines.push(line);
            rest = after;
            continue;
        }
        let (entry, after) = logical_line(rest);
        if !entry.trim().is_empty() {
            lines.push(Line::Entry(entry));
        }
        rest = after;
    }
    lines
}

/// The directive at the beginning of `text`, if one is there, and what follows its line.
fn include(text: &str) -> Option<(Line, &str)> {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let directive = line.trim_start_matches([' ', '\t']);
    let directive = directive
        .strip_prefix(['#', '@'])?
        .strip_prefix("include")?;
    let (make, path): (fn(String) -> Line, &str) = match directive.strip_prefix("dir") {
        Some(path) => (Line::IncludeDir, path),
        None => (Line::Include, directive),
    };
    let path = path.strip_prefix([' ', '\t'])?.trim();
    let mut named = String::new();
    let mut chars = path.chars();
    let quoted = path.starts_with('"');
    if quoted {
        chars.next();
    }
    while let Some(c) = chars.next() {
        match c {
            '\\' => named.extend(chars.next()),
            '"' if quoted => break,
            ' ' | '\t' if !quoted => break,
            c => named.push(c),
        }
    }
    (!named.is_empty()).then(|| (make(named), after))
}

/// One line with those that continue it, without its comment, and what follows.
fn logical_line(text: &str) -> (String, &str) {
    let mut entry = String::new();
    let mut chars = text.char_indices().peekable();
    let mut quoted = false;
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                // Continued; what stands on either side are two words.
                Some((_, '\n')) => entry.push(' '),
                Some((_, '\r')) if chars.next_if(|(_, c)| *c == '\n').is_some() => entry.push(' '),
                Some((_, other)) => entry.extend([c, other]),
                None => entry.push(c),
            },
            '"' => {
                quoted = !quoted;
                entry.push(c);
            }
            '\n' => return (entry, &text[at + 1..]),
            // A uid, not a comment.
            '#' if !quoted && !is_number(&text[at + 1..]) => {
                // To the end of this very line: no backslash continues a comment.
                let end = text[at..].find('\n').map_or(text.len(), |it| at + it + 1);
                return (entry, &text[end..]);
            }
            c => entry.push(c),
        }
    }
    (entry, "")
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit())
}

/// A part of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A word, and whether its first letter has no meaning of its own because it is escaped.
    Word { text: String, literal: bool },
    /// One of `,=:!()>`.
    Mark(char),
}

impl Token {
    pub(super) fn is(&self, mark: char) -> bool {
        *self == Token::Mark(mark)
    }

    pub(super) fn word(&self) -> Option<&str> {
        match self {
            Self::Word { text, literal: _ } => Some(text),
            Self::Mark(_) => None,
        }
    }
}

pub(super) const MARKS: [char; 7] = [',', '=', ':', '!', '(', ')', '>'];

fn tokens(entry: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = entry.chars().peekable();
    while let Some(&c) = chars.peek() {
        if c.is_ascii_whitespace() {
            chars.next();
            continue;
        }
        if MARKS.contains(&c) {
            tokens.push(Token::Mark(c));
            chars.next();
            continue;
        }
        let literal = c == '\\';
        let mut text = String::new();
        while let Some(&c) = chars.peek() {
            // `%:name` is one word.
            let belongs = c == ':' && text == "%";
            if c.is_ascii_whitespace() || MARKS.contains(&c) && !belongs {
                break;
            }
            chars.next();
            match c {
                '\\' => text.extend(escaped(&mut chars)),
                '"' => {
                    while let Some(c) = chars.next() {
                        match c {
                            '"' => break,
                            '\\' => text.extend(escaped(&mut chars)),
                            c => text.push(c),
                        }
                    }
                }
                c => text.push(c),
            }
        }
        tokens.push(Token::Word { text, literal });
    }
    tokens
}

/// What a backslash stands before: `\x2c`, or the letter itself.
fn escaped(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    let c = chars.next()?;
    if c != 'x' {
        return Some(c);
    }
    let mut ahead = chars.clone();
    let (Some(high), Some(low)) = (
        ahead.next().and_then(|it| it.to_digit(16)),
        ahead.next().and_then(|it| it.to_digit(16)),
    ) else {
        return Some(c);
    };
    *chars = ahead;
    char::from_u32(high * 16 + low)
}

/// An entry of sudoers, its parts told apart.
pub(super) enum Spec {
    /// `Defaults`: for whom, and what is set.
    Defaults { scope: Vec<Token>, set: Vec<Token> },
    /// `User_Alias` and its kin: which kind, then a name and its members each.
    Alias {
        kind: AliasKind,
        of: Vec<(String, Vec<Token>)>,
    },
    /// Users and what they may.
    Rule {
        users: Vec<Token>,
        privileges: Vec<(Vec<Token>, Vec<Token>)>,
    },
    /// Anything else.
    Odd(Vec<Token>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AliasKind {
    User,
    Runas,
    Host,
    Command,
}

impl Spec {
    pub(super) fn read(text: &str) -> Self {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("Defaults")
            && rest.is_empty_or_starts_with(&[' ', '\t', ':', '@', '>', '!', '"'])
        {
            return Self::defaults(rest);
        }
        let tokens = tokens(text);
        let kind = match tokens.first().and_then(Token::word) {
            Some("User_Alias") => Some(AliasKind::User),
            Some("Runas_Alias") => Some(AliasKind::Runas),
            Some("Host_Alias") => Some(AliasKind::Host),
            Some("Cmnd_Alias" | "Cmd_Alias") => Some(AliasKind::Command),
            _ => None,
        };
        let read = match kind {
            Some(kind) => aliases(&tokens[1..]).map(|of| Self::Alias { kind, of }),
            None => rule(&tokens),
        };
        read.unwrap_or(Self::Odd(tokens))
    }

    /// `Defaults:emo,ann !lecture, targetpw`: the scope ends where two words follow each other without a comma.
    pub(super) fn defaults(rest: &str) -> Self {
        let scoped = rest.starts_with([':', '@', '>', '!']) && !rest.starts_with("! ");
        let of_hosts_or_commands = rest.starts_with(['@', '!']);
        let mut tokens = tokens(rest);
        if !scoped {
            return Self::Defaults {
                scope: Vec::new(),
                set: tokens,
            };
        }
        let mut end = 1;
        while end < tokens.len() && (tokens[end].is(',') || tokens[end - 1].word().is_none()) {
            end += 1;
        }
        let set = tokens.split_off(end.min(tokens.len()));
        let scope = if of_hosts_or_commands {
            vec![Token::Mark('@')]
        } else {
            tokens
        };
        Self::Defaults { scope, set }
    }
}

trait StartsWith {
    fn is_empty_or_starts_with(&self, any: &[char]) -> bool;
}

impl StartsWith for str {
    fn is_empty_or_starts_with(&self, any: &[char]) -> bool {
        self.is_empty() || self.starts_with(any)
    }
}

/// `NAME = a, b : OTHER = c`.
fn aliases(tokens: &[Token]) -> Option<Vec<(String, Vec<Token>)>> {
    let mut found = Vec::new();
    // A colon can be part of a command or of a host, so a further alias begins where `: NAME =` stands.
    let mut begins: Vec<usize> = vec![0];
    for at in 0..tokens.len().saturating_sub(2) {
        let name = tokens[at + 1].word();
        if tokens[at].is(':') && name.is_some_and(is_alias_name) && tokens[at + 2].is('=') {
            begins.push(at + 1);
        }
    }
    for (index, begin) in begins.iter().enumerate() {
        let end = begins.get(index + 1).map_or(tokens.len(), |it| it - 1);
        let [name, equals, members @ ..] = tokens.get(*begin..end)? else {
            return None;
        };
        let name = name.word().filter(|it| is_alias_name(it))?;
        if !equals.is('=') || members.is_empty() {
            return None;
        }
        found.push((name.to_owned(), members.to_vec()));
    }
    Some(found)
}

pub(super) fn is_alias_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && word
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// `users hosts = commands : hosts = commands`.
fn rule(tokens: &[Token]) -> Option<Spec> {
    // The list of users ends at the first word that neither a comma nor `!` joins to the one before.
    let mut end = 0;
    loop {
        while tokens.get(end)?.is('!') {
            end += 1;
        }
        tokens[end].word()?;
        end += 1;
        if !tokens.get(end)?.is(',') {
            break;
        }
        end += 1;
    }
    let (users, mut rest) = tokens.split_at(end);
    let mut privileges = Vec::new();
    loop {
        let equals = rest.iter().position(|it| it.is('='))?;
        let (hosts, commands) = (&rest[..equals], &rest[equals + 1..]);
        if hosts.is_empty() || commands.is_empty() {
            return None;
        }
        let end = end_of_commands(commands);
        privileges.push((hosts.to_vec(), commands[..end].to_vec()));
        match commands.get(end + 1..) {
            Some(more) if !more.is_empty() => rest = more,
            Some(_) => return None,
            None => break,
        }
    }
    Some(Spec::Rule {
        users: users.to_vec(),
        privileges,
    })
}

/// Where the colon stands that begins another list of hosts: not one of a tag or of a runas list.
fn end_of_commands(commands: &[Token]) -> usize {
    let mut inside = false;
    for (at, token) in commands.iter().enumerate() {
        match token {
            Token::Mark('(') => inside = true,
            Token::Mark(')') => inside = false,
            Token::Mark(':') if !inside => {
                let before = at.checked_sub(1).and_then(|it| commands[it].word());
                let is_tag = before.is_some_and(|it| ALL_TAGS.contains(&it) || is_digest(it));
                if !is_tag {
                    return at;
                }
            }
            Token::Mark(_) | Token::Word { .. } => {}
        }
    }
    commands.len()
}

pub(super) fn is_digest(word: &str) -> bool {
    matches!(word, "sha224" | "sha256" | "sha384" | "sha512")
}

pub(super) const ALL_TAGS: [&str; 16] = [
    "NOPASSWD",
    "PASSWD",
    "SETENV",
    "NOSETENV",
    "EXEC",
    "NOEXEC",
    "LOG_INPUT",
    "NOLOG_INPUT",
    "LOG_OUTPUT",
    "NOLOG_OUTPUT",
    "MAIL",
    "NOMAIL",
    "INTERCEPT",
    "NOINTERCEPT",
    "FOLLOW",
    "NOFOLLOW",
];
