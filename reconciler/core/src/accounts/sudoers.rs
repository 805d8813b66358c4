//! What `sudoers(5)` says: who is mentioned in it, and which of its rules plainly give root.
//!
//! Two readings of one text, for two questions that are never mixed (see [`super::root`]). [`Sudoers::mentions`] errs
//! towards yes: a name counts wherever a person could stand, whatever the rule then allows, denied or not. [`Sudoers::grants`]
//! errs towards no: a rule counts where all of it is understood, and one that is not voids what it might be about.
//!
//! Text in, facts out. Whoever has the files hands over their text with [`lines`], puts what is included in its place,
//! and gives all entries to [`Sudoers::of`].
//!
//! | what stands there | mentioned | gives root for sure |
//! |---|---|---|
//! | a user, `#uid`, `%group`, `%#gid`, in any case of letters (sudo compares so) | yes | by a rule `ALL=(ALL[:ALL]) [NOPASSWD:] ALL` or `(root)` |
//! | a member of a `User_Alias` or `Runas_Alias`, used or not, or of a runas list | yes | as the alias is used |
//! | `ALL` as a user | everybody, unless the target's password is asked for (`Defaults targetpw`, as openSUSE ships) | yes |
//! | a netgroup, a group of another name service (`%:x`) | nobody | no |
//! | a command, a host, a comment | nobody | – |
//! | a line that is not understood | every word of it | no, for whom it mentions |
//! | an include that cannot be read | nobody; it is told in [`Sudoers::unread`] | no |

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One line of a file of sudoers, continued lines joined and comments left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// `@include` or `#include`: the path of a file that stands in this place.
    Include(String),
    /// `@includedir` or `#includedir`: the path of a directory whose files stand in this place.
    IncludeDir(String),
    /// Anything else.
    Entry(String),
}

/// Whether sudo reads a file of this name in a directory that is included: not one with a dot or with `~` at its end.
pub fn is_read_in_directory(name: &str) -> bool {
    !name.contains('.') && !name.ends_with('~')
}

/// Everything that the files of sudoers say, as far as it matters here. Commands and hosts are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sudoers {
    /// Who is mentioned.
    pub mentioned: Mentioned,
    /// The rules that give root, or may take it, in the order of the files: the last one that concerns somebody counts.
    pub rules: Vec<Rule>,
    /// Whether the password that is asked for is another's: `targetpw`, `rootpw` or `runaspw`.
    pub asks_anothers_password: bool,
    /// What could not be read of what is included, and why.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unread: BTreeSet<String>,
}

/// Who is mentioned in sudoers. Names are in lower case, as sudo compares them without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mentioned {
    /// Users, by name.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub users: BTreeSet<String>,
    /// Users, by uid.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub uids: BTreeSet<u32>,
    /// Groups, by name.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// Groups, by gid.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub gids: BTreeSet<u32>,
    /// Whether a rule is for `ALL` users.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub everybody: bool,
}

/// A rule that gives root to somebody, or may take it from somebody who was given it before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Whom it is about.
    pub users: Vec<Item>,
    /// What it does.
    pub effect: RuleEffect,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleEffect {
    /// Gives root to who knows the password that is asked for.
    WithPassword,
    /// Gives root, and asks for no password.
    WithoutPassword,
    /// Denies something, or is not understood: root is not sure any more.
    Void,
}

/// One of those a rule is about; of several that fit, the last one counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Whether it takes out what it fits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub negated: bool,
    /// Whom it fits.
    pub who: Who,
}

/// Whom an entry of a list of users fits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// `ALL`.
    Everybody,
    /// A name, in lower case.
    User(String),
    /// `#uid`.
    Uid(u32),
    /// `%group`, in lower case.
    Group(String),
    /// `%#gid`.
    Gid(u32),
    /// The members of an alias.
    Alias(Vec<Item>),
    /// Netgroups and whatever else cannot be told from the account databases.
    Unknown,
}

/// Somebody who is looked for in sudoers.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The name.
    pub name: &'a str,
    /// The uid.
    pub uid: u32,
    /// The gids of all groups, the primary one too.
    pub gids: &'a [u32],
    /// The names of all groups, the primary one too.
    pub groups: &'a [&'a str],
}

impl Sudoers {
    /// Reads the entries of all files, each included one in its place. Never fails: what is not understood counts as
    /// the table above says.
    pub fn of<'t>(entries: impl Iterator<Item = &'t str>, unread: BTreeSet<String>) -> Self {
        let entries: Vec<Spec> = entries.map(Spec::read).collect();
        let mut book = Book::default();
        entries.iter().for_each(|it| book.take_definitions(it));
        let mut sudoers = Self {
            asks_anothers_password: book.target_password,
            unread,
            ..Self::default()
        };
        entries
            .iter()
            .for_each(|it| book.take_rules(it, &mut sudoers));
        sudoers
    }

    /// Whether somebody is mentioned: by name, uid, or a group.
    pub fn mentions(&self, asked: &Asked<'_>) -> bool {
        let Mentioned {
            users,
            uids,
            groups,
            gids,
            everybody,
        } = &self.mentioned;
        *everybody
            || users.contains(lower(asked.name).as_ref())
            || uids.contains(&asked.uid)
            || asked.gids.iter().any(|it| gids.contains(it))
            || asked
                .groups
                .iter()
                .any(|it| groups.contains(lower(it).as_ref()))
    }

    /// What the rules surely give to somebody: nothing, root with a password, or root without one.
    pub fn grants(&self, asked: &Asked<'_>) -> Option<RuleEffect> {
        let mut given = None;
        for Rule { users, effect } in &self.rules {
            let fits = fits(users, asked);
            given = match (effect, fits) {
                (_, Fit::No) => given,
                (RuleEffect::Void, Fit::Yes | Fit::Perhaps) => None,
                (RuleEffect::WithPassword | RuleEffect::WithoutPassword, Fit::Perhaps) => None,
                (RuleEffect::WithPassword | RuleEffect::WithoutPassword, Fit::Yes) => Some(*effect),
            };
        }
        given
    }
}

/// A name as it is kept here.
fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|it| it.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Whether a list of users fits somebody.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    Perhaps,
}

fn fits(items: &[Item], asked: &Asked<'_>) -> Fit {
    let mut fit = Fit::No;
    for Item { negated, who } in items {
        let is_it = |yes: bool| if yes { Fit::Yes } else { Fit::No };
        let this = match who {
            Who::Everybody => Fit::Yes,
            Who::User(name) => is_it(name.eq_ignore_ascii_case(asked.name)),
            Who::Uid(uid) => is_it(*uid == asked.uid),
            Who::Group(group) => {
                let mut groups = asked.groups.iter();
                is_it(groups.any(|it| it.eq_ignore_ascii_case(group)))
            }
            Who::Gid(gid) => is_it(asked.gids.contains(gid)),
            Who::Alias(items) => fits(items, asked),
            Who::Unknown => Fit::Perhaps,
        };
        fit = match (this, negated) {
            (Fit::No, _) => fit,
            (Fit::Perhaps, false) if fit == Fit::Yes => fit,
            (Fit::Perhaps, true) if fit == Fit::No => fit,
            (Fit::Perhaps, _) => Fit::Perhaps,
            (Fit::Yes, false) => Fit::Yes,
            (Fit::Yes, true) => Fit::No,
        };
    }
    fit
}

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
enum Token {
    /// A word, and whether its first letter has no meaning of its own because it is escaped.
    Word { text: String, literal: bool },
    /// One of `,=:!()>`.
    Mark(char),
}

impl Token {
    fn is(&self, mark: char) -> bool {
        *self == Token::Mark(mark)
    }

    fn word(&self) -> Option<&str> {
        match self {
            Self::Word { text, literal: _ } => Some(text),
            Self::Mark(_) => None,
        }
    }
}

const MARKS: [char; 7] = [',', '=', ':', '!', '(', ')', '>'];

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
enum Spec {
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
enum AliasKind {
    User,
    Runas,
    Host,
    Command,
}

impl Spec {
    fn read(text: &str) -> Self {
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
    fn defaults(rest: &str) -> Self {
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

fn is_alias_name(word: &str) -> bool {
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

fn is_digest(word: &str) -> bool {
    matches!(word, "sha224" | "sha256" | "sha384" | "sha512")
}

/// Tags that leave a shell a shell.
const HARMLESS_TAGS: [&str; 12] = [
    "NOPASSWD",
    "SETENV",
    "NOSETENV",
    "EXEC",
    "LOG_INPUT",
    "NOLOG_INPUT",
    "LOG_OUTPUT",
    "NOLOG_OUTPUT",
    "MAIL",
    "NOMAIL",
    "NOINTERCEPT",
    "FOLLOW",
];

const ALL_TAGS: [&str; 16] = [
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

/// Settings of `Defaults` with which no rule gives root for sure.
const SPOILERS: [&str; 7] = [
    "noexec",
    "runchroot",
    "intercept",
    "ignore_local_sudoers",
    "restricted_env_file",
    "runas_default",
    "role",
];

/// Settings of `Defaults` by which another's password is asked for.
const OTHERS_PASSWORD: [&str; 3] = ["targetpw", "rootpw", "runaspw"];

/// What has to be known of all entries before a rule can be read.
#[derive(Default)]
struct Book {
    users: BTreeMap<String, Vec<Token>>,
    commands: BTreeMap<String, Vec<Token>>,
    /// Another's password is asked for, by some setting, whomever it is for.
    target_password: bool,
    /// It is asked for of everybody, and no setting makes an exception.
    always_target_password: bool,
    exceptions: bool,
    spoiled: bool,
}

impl Book {
    fn take_definitions(&mut self, entry: &Spec) {
        match entry {
            Spec::Alias { kind, of } => {
                let into = match kind {
                    AliasKind::User => &mut self.users,
                    AliasKind::Command => &mut self.commands,
                    AliasKind::Runas | AliasKind::Host => return,
                };
                into.extend(of.iter().cloned());
            }
            Spec::Defaults { scope, set } => self.take_defaults(scope, set),
            Spec::Rule { .. } | Spec::Odd(_) => {}
        }
    }

    fn take_defaults(&mut self, scope: &[Token], set: &[Token]) {
        for (at, token) in set.iter().enumerate() {
            let Some(word) = token.word() else { continue };
            let before = set[..at].iter().rev();
            let negated = before.take_while(|it| it.is('!')).count() % 2 == 1;
            if SPOILERS.contains(&word) && !negated {
                self.spoiled = true;
            }
            if OTHERS_PASSWORD.contains(&word) {
                if negated {
                    self.exceptions = true;
                } else {
                    self.target_password = true;
                    self.always_target_password |= scope.is_empty() && word != "runaspw";
                }
            }
            if word == "authenticate" && negated || word == "exempt_group" {
                self.exceptions = true;
            }
        }
    }

    fn take_rules(&self, entry: &Spec, sudoers: &mut Sudoers) {
        let mentioned = &mut sudoers.mentioned;
        match entry {
            Spec::Defaults { scope, set: _ } => self.mention(scope, mentioned),
            Spec::Alias { kind, of } => match kind {
                AliasKind::User => {
                    for (_, members) in of {
                        self.mention(members, mentioned);
                        mentioned.everybody |= names_all(members);
                    }
                }
                AliasKind::Runas => of
                    .iter()
                    .for_each(|(_, members)| self.mention(members, mentioned)),
                AliasKind::Host | AliasKind::Command => {}
            },
            Spec::Odd(tokens) => {
                self.mention(tokens, mentioned);
                mentioned.everybody |= names_all(&tokens[..tokens.len().min(1)]);
                let users: Vec<Item> = tokens
                    .iter()
                    .filter_map(|it| self.who(it, 0))
                    .filter(|it| *it != Who::Everybody)
                    .map(|who| Item {
                        negated: false,
                        who,
                    })
                    .collect();
                sudoers.rules.push(Rule {
                    users,
                    effect: RuleEffect::Void,
                });
            }
            Spec::Rule { users, privileges } => {
                self.mention(users, mentioned);
                let free = |it: &Token| it.word() == Some("NOPASSWD");
                let asks_target = self.always_target_password
                    && !self.exceptions
                    && !privileges.iter().any(|(_, it)| it.iter().any(free));
                mentioned.everybody |= names_all(users) && !asks_target;
                let items = self.items(users, 0);
                for (hosts, commands) in privileges {
                    for runas in runas_lists(commands) {
                        self.mention(runas, mentioned);
                    }
                    for effect in self.effects(hosts, commands) {
                        sudoers.rules.push(Rule {
                            users: items.clone(),
                            effect,
                        });
                    }
                }
            }
        }
    }

    /// Adds every word; `ALL` is for the caller to judge.
    fn mention(&self, tokens: &[Token], mentioned: &mut Mentioned) {
        for token in tokens {
            match self.who(token, 0) {
                Some(Who::User(name)) => drop(mentioned.users.insert(name)),
                Some(Who::Uid(uid)) => drop(mentioned.uids.insert(uid)),
                Some(Who::Group(group)) => drop(mentioned.groups.insert(group)),
                Some(Who::Gid(gid)) => drop(mentioned.gids.insert(gid)),
                // The members of an alias are mentioned where it is defined.
                Some(Who::Everybody | Who::Alias(_) | Who::Unknown) | None => {}
            }
        }
    }

    fn items(&self, tokens: &[Token], depth: usize) -> Vec<Item> {
        let mut items = Vec::new();
        let mut negated = false;
        for token in tokens {
            if token.is('!') {
                negated = !negated;
            } else if let Some(who) = self.who(token, depth) {
                items.push(Item { negated, who });
                negated = false;
            }
        }
        items
    }

    fn who(&self, token: &Token, depth: usize) -> Option<Who> {
        let Token::Word { text, literal } = token else {
            return None;
        };
        let name = |it: &str| Who::User(it.to_ascii_lowercase());
        if *literal {
            return Some(name(text));
        }
        let number = |it: &str| it.parse::<u32>().ok();
        Some(if text == "ALL" {
            Who::Everybody
        } else if let Some(gid) = text.strip_prefix("%#") {
            number(gid).map_or(Who::Unknown, Who::Gid)
        } else if text.starts_with("%:") || text.starts_with('+') {
            Who::Unknown
        } else if let Some(group) = text.strip_prefix('%') {
            Who::Group(group.to_ascii_lowercase())
        } else if let Some(uid) = text.strip_prefix('#') {
            number(uid).map_or(Who::Unknown, Who::Uid)
        } else if let Some(members) = self.users.get(text) {
            // sudo refuses an alias that holds itself.
            if depth < 16 {
                Who::Alias(self.items(members, depth + 1))
            } else {
                Who::Unknown
            }
        } else {
            name(text)
        })
    }

    /// What a list of commands does for root, one after the other; what neither gives it nor may take it is left out.
    fn effects(&self, hosts: &[Token], commands: &[Token]) -> Vec<RuleEffect> {
        let here =
            hosts.iter().any(|it| it.word() == Some("ALL")) && !hosts.iter().any(|it| it.is('!'));
        let mut as_root = AsRoot::Yes;
        let mut tags: Vec<&str> = Vec::new();
        // Options hold for all that follows in the list, as tags do.
        let mut plain = true;
        let mut effects = Vec::new();
        for command in split_commands(commands) {
            let mut rest = command;
            if let Some((runas, after)) = take_runas(rest) {
                as_root = runs_as_root(runas);
                rest = after;
            }
            loop {
                match rest {
                    // `TIMEOUT=1m` and the like.
                    [
                        Token::Word { .. },
                        Token::Mark('='),
                        Token::Word { .. },
                        after @ ..,
                    ] => {
                        plain = false;
                        rest = after;
                    }
                    [Token::Word { text, .. }, Token::Mark(':'), after @ ..]
                        if ALL_TAGS.contains(&text.as_str()) =>
                    {
                        let undone = opposite(text);
                        tags.retain(|it| *it != undone && it != text);
                        tags.push(text);
                        rest = after;
                    }
                    _ => break,
                }
            }
            let harmless = tags
                .iter()
                .all(|it| HARMLESS_TAGS.contains(it) || *it == "PASSWD");
            let free = tags.contains(&"NOPASSWD");
            let effect = match (self.command(rest), as_root) {
                (Command::All, AsRoot::Yes) if here && plain && harmless && !self.spoiled => {
                    Some(if free {
                        RuleEffect::WithoutPassword
                    } else {
                        RuleEffect::WithPassword
                    })
                }
                (Command::All, AsRoot::No) => None,
                (Command::All, AsRoot::Yes | AsRoot::Perhaps) | (Command::Odd, _) => {
                    Some(RuleEffect::Void)
                }
                (Command::Some, _) => None,
            };
            effects.extend(effect);
        }
        effects
    }

    fn command(&self, tokens: &[Token]) -> Command {
        match tokens {
            [Token::Word { text, .. }, ..] if is_alias_name(text) && text != "ALL" => {
                match self.commands.get(text) {
                    Some(members) if members.iter().all(|it| !it.is('!')) => {
                        let mut words = members.iter().filter_map(Token::word);
                        let plain = |it: &str| !is_alias_name(it) && !is_everything(it);
                        if words.all(plain) {
                            Command::Some
                        } else {
                            Command::Odd
                        }
                    }
                    _ => Command::Odd,
                }
            }
            [Token::Word { text, .. }] if text == "ALL" => Command::All,
            [Token::Word { text, .. }, ..]
                if text != "ALL" && !is_everything(text) && !is_digest(text) =>
            {
                Command::Some
            }
            _ => Command::Odd,
        }
    }
}

/// What a command of a rule covers.
enum Command {
    /// `ALL`.
    All,
    /// Some of them, and none is denied.
    Some,
    /// Denied, or many by a pattern, or not understood.
    Odd,
}

/// Whether a rule lets its commands run as root.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AsRoot {
    Yes,
    No,
    Perhaps,
}

fn is_everything(command: &str) -> bool {
    command.starts_with('^') || command.ends_with('/') || command.contains(['*', '?', '['])
}

fn opposite(tag: &str) -> String {
    match tag.strip_prefix("NO") {
        Some(tag) => tag.to_owned(),
        None => format!("NO{tag}"),
    }
}

fn names_all(tokens: &[Token]) -> bool {
    tokens.iter().enumerate().any(|(at, token)| {
        let before = tokens[..at].iter().rev();
        token.word() == Some("ALL") && before.take_while(|it| it.is('!')).count() % 2 == 0
    })
}

/// At the commas that stand outside runas lists.
fn split_commands(tokens: &[Token]) -> Vec<&[Token]> {
    let mut inside = false;
    let of_list = |token: &Token| {
        match token {
            Token::Mark('(') => inside = true,
            Token::Mark(')') => inside = false,
            Token::Mark(_) | Token::Word { .. } => {}
        }
        !inside && token.is(',')
    };
    tokens.split(of_list).collect()
}

fn take_runas(tokens: &[Token]) -> Option<(&[Token], &[Token])> {
    if !tokens.first()?.is('(') {
        return None;
    }
    let end = tokens.iter().position(|it| it.is(')'))?;
    Some((&tokens[1..end], &tokens[end + 1..]))
}

fn runas_lists(commands: &[Token]) -> Vec<&[Token]> {
    split_commands(commands)
        .into_iter()
        .filter_map(|it| Some(take_runas(it)?.0))
        .collect()
}

/// `ALL`, `ALL:ALL`, `root`, `root:adm`; an empty list of users runs as the person themself.
fn runs_as_root(runas: &[Token]) -> AsRoot {
    let users: Vec<&Token> = runas.iter().take_while(|it| !it.is(':')).collect();
    if users.iter().any(|it| it.is('!')) {
        return AsRoot::Perhaps;
    }
    let mut words = users.iter().filter_map(|it| it.word());
    if words.clone().any(|it| matches!(it, "ALL" | "root" | "#0")) {
        AsRoot::Yes
    } else if words.all(|it| it.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')) {
        AsRoot::No
    } else {
        AsRoot::Perhaps
    }
}

#[cfg(test)]
mod tests;
