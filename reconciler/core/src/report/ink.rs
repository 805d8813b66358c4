//! Renders the sentences that rooms say.

use super::escape;
use crate::id::digits;
use crate::ink::Ink;
use crate::rooms::{self, Action};

/// Markdown.
pub(super) struct Markdown<'a>(pub(super) &'a mut String);

impl Ink for Markdown<'_> {
    fn own(&mut self, text: &str) {
        self.0.push_str(text);
    }
    fn name(&mut self, text: &str) {
        escape::name(self.0, text);
    }
    fn other(&mut self, text: &str) {
        escape::name(self.0, text);
    }
    fn value(&mut self, text: &str) {
        escape::value(self.0, text);
    }
    fn number(&mut self, number: u64) {
        push_number(self.0, number);
    }
}

fn push_number(out: &mut String, number: u64) {
    out.push_str(digits(number, &mut [0; 20]));
}

/// A line of a terminal.
pub(super) struct Plain<'a>(pub(super) &'a mut String);

impl Ink for Plain<'_> {
    fn own(&mut self, text: &str) {
        self.0.push_str(text);
    }
    fn name(&mut self, text: &str) {
        escape::visible(self.0, text);
    }
    fn other(&mut self, text: &str) {
        escape::visible(self.0, text);
    }
    fn value(&mut self, text: &str) {
        escape::visible(self.0, text);
    }
    fn number(&mut self, number: u64) {
        push_number(self.0, number);
    }
}

/// Writes sentences below a heading that names whom they are about: the name is left out.
struct Below<'a, I> {
    ink: &'a mut I,
    /// A space is due before whatever comes next, unless that begins with one, or ends what came before.
    space: bool,
}

impl<I: Ink> Below<'_, I> {
    fn space(&mut self) {
        if std::mem::take(&mut self.space) {
            self.ink.own(" ");
        }
    }
}

impl<I: Ink> Ink for Below<'_, I> {
    fn own(&mut self, text: &str) {
        if matches!(text.as_bytes(), [b' ' | b':' | b',', ..]) {
            self.space = false;
        } else if !text.is_empty() {
            self.space();
        }
        match text.strip_suffix(' ') {
            Some(before) => {
                self.ink.own(before);
                self.space = true;
            }
            None => self.ink.own(text),
        }
    }
    fn name(&mut self, _: &str) {}
    fn of(&mut self, _: &str) {}
    fn other(&mut self, text: &str) {
        self.space();
        self.ink.other(text);
    }
    fn value(&mut self, text: &str) {
        self.space();
        self.ink.value(text);
    }
    fn number(&mut self, number: u64) {
        self.space();
        self.ink.number(number);
    }
}

/// What `action` does, without whom it is about.
pub(super) fn say_below(action: &Action, ink: &mut impl Ink) {
    rooms::say(action, &mut Below { ink, space: false });
}

/// What `action` does, as a sentence for a terminal.
pub fn sentence(action: &Action) -> String {
    let mut out = String::new();
    rooms::say(action, &mut Plain(&mut out));
    out
}

/// The same below a line that names whom it is about.
pub fn sentence_below(action: &Action) -> String {
    let mut out = String::new();
    say_below(action, &mut Plain(&mut out));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts;
    use crate::accounts::action::Action as OfAccount;
    use crate::people::Parking;

    #[test]
    fn below_a_name_a_sentence_does_without_it() {
        let (user, text) = ("emo".to_owned(), |text: &str| text.to_owned());
        for (action, expected) in [
            (
                OfAccount::JoinGroup {
                    user: user.clone(),
                    group: text("code"),
                    gid: 7,
                },
                "add to group `code` (gid 7)",
            ),
            (
                OfAccount::Park {
                    user: user.clone(),
                    because: Parking::Asked,
                },
                "park: the instance stands still, all else stays, and signing in still works",
            ),
            (
                OfAccount::RenameAccount {
                    from: text("moe"),
                    user: user.clone(),
                    uid: 1004,
                },
                "rename account **moe** to **emo** (uid 1004)",
            ),
            (
                OfAccount::LockPassword { user: user.clone() },
                "lock the password",
            ),
            (
                OfAccount::CreateHome {
                    user,
                    home: text("/home/emo"),
                },
                "make the home, `/home/emo`",
            ),
        ] {
            let mut said = String::new();
            say_below(&action.into(), &mut Markdown(&mut said));
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn a_sentence_reads_the_same_in_markdown_and_on_a_terminal() {
        let action = Action::Account(accounts::action::Action::CreateAccount {
            user: "emo".into(),
            uid: 1004,
            gid: 1004,
            home: "/home/emo".into(),
            shell: "/bin/zsh".into(),
            subuid: None,
            subgid: None,
            authentik_user: "emo".into(),
            k8s_user: "emo".into(),
        });
        let mut markdown = String::new();
        rooms::say(&action, &mut Markdown(&mut markdown));
        assert_eq!(markdown, "create account **emo** (uid 1004, `/bin/zsh`)");
        assert_eq!(sentence(&action), "create account emo (uid 1004, /bin/zsh)");
    }
}
