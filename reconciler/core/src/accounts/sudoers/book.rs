//! From entries to what they say: who is mentioned, and which rules plainly give root.

use std::collections::BTreeMap;

use super::text::{ALL_TAGS, AliasKind, Spec, Token, is_alias_name, is_digest};
use super::{Item, Mentioned, Rule, RuleEffect, Sudoers, Who};

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
pub(super) struct Book {
    users: BTreeMap<String, Vec<Token>>,
    commands: BTreeMap<String, Vec<Token>>,
    /// Another's password is asked for, by some setting, whomever it is for.
    pub(super) target_password: bool,
    /// It is asked for of everybody, and no setting makes an exception.
    always_target_password: bool,
    exceptions: bool,
    spoiled: bool,
}

impl Book {
    pub(super) fn take_definitions(&mut self, entry: &Spec) {
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

    pub(super) fn take_rules(&self, entry: &Spec, sudoers: &mut Sudoers) {
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
