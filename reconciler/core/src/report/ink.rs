//! Renders the sentences that rooms say.

use std::fmt::Write as _;

use super::escape;
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
    fn value(&mut self, text: &str) {
        escape::value(self.0, text);
    }
    fn number(&mut self, number: u64) {
        let _ = write!(self.0, "{number}");
    }
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
    fn value(&mut self, text: &str) {
        escape::visible(self.0, text);
    }
    fn number(&mut self, number: u64) {
        let _ = write!(self.0, "{number}");
    }
}

/// What `action` does, as a sentence for a terminal.
pub fn sentence(action: &Action) -> String {
    let mut out = String::new();
    rooms::say(action, &mut Plain(&mut out));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts;

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
