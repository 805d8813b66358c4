//! How an act is told: a heading, sentences, commands as a person would type them, and what they gave.

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::DemoError;
use super::stage::Stage;
use crate::commands::{CommandError, Output};
use crate::exit;

/// How wide the text is, in columns.
const WIDTH: usize = 100;

/// Which lines of an output are shown; of the others, how many they were.
pub(super) type Keep<'a> = &'a dyn Fn(&str) -> bool;

/// One performance.
pub(super) struct Play<'o> {
    pub(super) stage: Stage,
    out: &'o mut Output,
    interrupted: Arc<AtomicBool>,
    bold: bool,
    act: (usize, &'static str),
    /// A command without output was the last thing told.
    open: bool,
}

impl<'o> Play<'o> {
    pub(super) fn new(stage: Stage, out: &'o mut Output, interrupted: Arc<AtomicBool>) -> Self {
        Self {
            stage,
            out,
            interrupted,
            bold: std::io::stdout().is_terminal(),
            act: (0, "the stage"),
            open: false,
        }
    }

    /// Begins the next act.
    pub(super) fn act(&mut self, title: &'static str) -> Result<(), CommandError> {
        self.close()?;
        self.act = (self.act.0 + 1, title);
        let (on, off) = if self.bold {
            ("\x1b[1m", "\x1b[0m")
        } else {
            ("", "")
        };
        // What was shown before ends with an empty line.
        let heading = format!("{on}{}. {title}{off}\n", self.act.0);
        self.out.line(heading)?;
        self.out.finish()
    }

    /// Says something to the reader, in lines that fit.
    pub(super) fn say(&mut self, text: &str) -> Result<(), CommandError> {
        self.close()?;
        self.out.line(folded(text, "", ""))?;
        self.out.line("")?;
        self.out.finish()
    }

    fn close(&mut self) -> Result<(), CommandError> {
        if std::mem::replace(&mut self.open, false) {
            self.out.line("")?;
        }
        Ok(())
    }

    /// Fails the act unless `it` holds.
    pub(super) fn expect(&self, it: bool, what: &str) -> Result<(), CommandError> {
        if it {
            Ok(())
        } else {
            Err(self.unexpected(what))
        }
    }

    fn unexpected(&self, what: &str) -> CommandError {
        let (act, title) = self.act;
        let what = what.to_owned();
        DemoError::Unexpected { act, title, what }.into()
    }

    /// `git` in the checkout, shown as it is typed.
    pub(super) fn git(&mut self, args: &[&str]) -> Result<String, CommandError> {
        self.git_showing(args, &|_| false)
    }

    /// The same, with the lines of its output that are worth it.
    pub(super) fn git_showing(
        &mut self,
        args: &[&str],
        keep: Keep<'_>,
    ) -> Result<String, CommandError> {
        self.typed("git", args)?;
        let output = self.git_silently(args)?;
        if output.lines().any(keep) {
            self.show(&output, keep)?;
        }
        Ok(output)
    }

    /// The same, of which the reader learns nothing.
    pub(super) fn git_silently(&mut self, args: &[&str]) -> Result<String, CommandError> {
        let mut all = vec!["-C", "checkout"];
        all.extend(args);
        self.run(OsStr::new("git"), &all, exit::OK)
    }

    /// `git` beside the checkout, of which the reader learns nothing.
    pub(super) fn git_outside(&mut self, args: &[&str]) -> Result<String, CommandError> {
        self.run(OsStr::new("git"), args, exit::OK)
    }

    /// `muster` with this host's settings, and the lines of its output that are worth it. It must end with `code`.
    pub(super) fn muster(
        &mut self,
        args: &[&str],
        code: u8,
        keep: Keep<'_>,
    ) -> Result<String, CommandError> {
        self.typed("muster", args)?;
        let mut all = vec!["--config", "muster.toml"];
        all.extend(args);
        let exe = self.stage.exe.clone();
        let output = self.run(exe.as_os_str(), &all, code)?;
        self.show(&output, keep)?;
        Ok(output)
    }

    /// The same, of which the reader learns nothing.
    pub(super) fn muster_silently(
        &mut self,
        args: &[&str],
        code: u8,
    ) -> Result<String, CommandError> {
        let mut all = vec!["--config", "muster.toml"];
        all.extend(args);
        let exe = self.stage.exe.clone();
        self.run(exe.as_os_str(), &all, code)
    }

    /// `muster` with other settings, of which the reader learns nothing.
    pub(super) fn muster_outside(&mut self, args: &[&str]) -> Result<String, CommandError> {
        let exe = self.stage.exe.clone();
        self.run(exe.as_os_str(), args, exit::OK)
    }

    /// `muster` with the settings of the hypervisor's executor, shown as it is typed.
    pub(super) fn muster_for_guests(
        &mut self,
        args: &[&str],
        keep: Keep<'_>,
    ) -> Result<String, CommandError> {
        let all = [&["--config", "guests.toml"], args].concat();
        self.typed("muster", &all)?;
        let exe = self.stage.exe.clone();
        let output = self.run(exe.as_os_str(), &all, exit::OK)?;
        self.show(&output, keep)?;
        Ok(output)
    }

    /// `muster` in the checkout, where an operator signs.
    pub(super) fn muster_in_checkout(
        &mut self,
        args: &[&str],
        keep: Keep<'_>,
    ) -> Result<String, CommandError> {
        self.typed("muster", args)?;
        let mut all = vec!["--config", "../muster.toml"];
        all.extend(args);
        let exe = self.stage.exe.clone();
        let ended = self.stage.run_in("checkout", exe.as_os_str(), &all);
        let output = self.ended(exe.as_os_str(), &all, exit::OK, ended)?;
        self.show(&output, keep)?;
        Ok(output)
    }

    /// Another program, beside the checkout.
    pub(super) fn outside(&mut self, program: &str, args: &[&str]) -> Result<String, CommandError> {
        self.typed(program, args)?;
        self.run(OsStr::new(program), args, exit::OK)
    }

    fn typed(&mut self, program: &str, args: &[&str]) -> Result<(), CommandError> {
        let words: Vec<String> = args.iter().map(|word| quoted(word)).collect();
        let line = format!("{program} {}", words.join(" "));
        self.open = true;
        self.out.line(folded(&line, "  $ ", "      "))
    }

    fn run(&mut self, program: &OsStr, args: &[&str], code: u8) -> Result<String, CommandError> {
        let ended = self.stage.run_in(".", program, args);
        self.ended(program, args, code, ended)
    }

    /// What a program gave that must end with `code`.
    fn ended(
        &mut self,
        program: &OsStr,
        args: &[&str],
        code: u8,
        ended: Result<std::process::Output, DemoError>,
    ) -> Result<String, CommandError> {
        // A signal to the whole group ends the child as well; its failure says nothing then.
        if self.interrupted.load(Ordering::SeqCst) {
            return Err(DemoError::Interrupted.into());
        }
        let ended = ended?;
        let output = String::from_utf8_lossy(&ended.stdout).into_owned();
        if ended.status.code() == Some(i32::from(code)) {
            return Ok(output);
        }
        Err(self.unexpected(&format!(
            "`{} {}` should end with {code}, and ended with {}:\n{output}{}",
            program.to_string_lossy(),
            args.join(" "),
            ended.status,
            String::from_utf8_lossy(&ended.stderr).trim_end()
        )))
    }

    /// Shows the lines of `text` that `keep` names; `…` stands behind one that others followed.
    pub(super) fn show(&mut self, text: &str, keep: Keep<'_>) -> Result<(), CommandError> {
        self.open = false;
        let mut lines = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .peekable();
        while let Some(line) = lines.next() {
            if !keep(line) {
                continue;
            }
            let more = if lines.peek().is_some_and(|it| !keep(it)) {
                " …"
            } else {
                ""
            };
            self.out
                .line(folded(&format!("{line}{more}"), "    ", "        "))?;
        }
        self.out.line("")
    }

    /// Shows the lines of files that have `needle` in them; each must have one.
    pub(super) fn excerpts(&mut self, needle: &str, names: &[&str]) -> Result<(), CommandError> {
        self.close()?;
        for name in names {
            let text = self.text(name)?;
            let found: Vec<&str> = text.lines().filter(|line| line.contains(needle)).collect();
            self.expect(
                !found.is_empty(),
                &format!("{name} should have a line with {needle}"),
            )?;
            for line in found {
                let line = format!("{name}: {}", line.trim());
                self.out.line(folded(&line, "    ", "        "))?;
            }
        }
        self.out.line("")
    }

    /// The text of a file, which must be there.
    pub(super) fn text(&self, name: &str) -> Result<String, CommandError> {
        let text = self.stage.read(name)?;
        text.ok_or_else(|| self.unexpected(&format!("{name} should be there")))
    }

    /// The lines of a file that begin with `start`, which are as many as it should have.
    pub(super) fn line_of(&self, name: &str, start: &str) -> Result<String, CommandError> {
        let text = self.text(name)?;
        let line = text.lines().find(|line| line.starts_with(start));
        line.map(str::to_owned)
            .ok_or_else(|| self.unexpected(&format!("{name} should have a line {start}…")))
    }

    /// The step id of the held step whose words begin with `words`.
    pub(super) fn held(&self, output: &str, words: &str) -> Result<String, CommandError> {
        let id = output.lines().find_map(|line| {
            let (id, rest) = line.trim_start().split_once(' ')?;
            let is_id = id.len() == 32 && id.bytes().all(|it| it.is_ascii_hexdigit());
            (is_id && rest.starts_with(words)).then(|| id.to_owned())
        });
        id.ok_or_else(|| self.unexpected(&format!("the step `{words}` should be held")))
    }

    /// Changes the roster in the checkout; `old` must be there exactly once.
    pub(super) fn edit(&mut self, old: &str, new: &str) -> Result<(), CommandError> {
        let text = self.text("checkout/roster.yaml")?;
        self.expect(
            text.matches(old).count() == 1,
            &format!("the roster should have {old:?} once"),
        )?;
        let changed = text.replacen(old, new, 1);
        Ok(self.stage.put("checkout/roster.yaml", &changed)?)
    }

    /// Shows what was changed in the roster.
    pub(super) fn diff(&mut self) -> Result<(), CommandError> {
        let args = ["diff", "-U0", "roster.yaml"];
        self.typed("git", &args)?;
        let text = self.git_silently(&args)?;
        let changed = |line: &&str| {
            line.starts_with(['+', '-']) && !line.starts_with("+++") && !line.starts_with("---")
        };
        let lines: Vec<&str> = text.lines().filter(changed).collect();
        self.expect(!lines.is_empty(), "git should see a change of the roster")?;
        self.show(&lines.join("\n"), &|_| true)
    }

    /// Shows the change of the roster, and commits and pushes it without a word.
    pub(super) fn push(&mut self, message: &str, branch: &str) -> Result<(), CommandError> {
        self.diff()?;
        self.commit(message)?;
        self.git_silently(&["push", "--quiet", "origin", branch])?;
        Ok(())
    }

    /// Commits what was changed, without a word.
    pub(super) fn commit(&mut self, message: &str) -> Result<(), CommandError> {
        self.git_silently(&["commit", "--quiet", "-am", message])?;
        Ok(())
    }

    /// How a person goes on with what was left.
    pub(super) fn say_how_to_go_on(&mut self) -> Result<(), CommandError> {
        let (at, exe) = (
            quoted(&self.stage.path.to_string_lossy()),
            quoted(&self.stage.exe.to_string_lossy()),
        );
        self.out.line(format_args!(
            "\nEverything is left in {at}. To go on:\n\n\
             \x20 cd {at}\n\
             \x20 {exe} --config muster.toml status\n\
             \x20 {exe} --config muster.toml run       # the daemon; ends with ^C\n\n\
             Beside it, in another terminal, edit checkout/roster.yaml, and then:\n\n\
             \x20 git -C checkout commit -am \"What is new\"\n\
             \x20 git -C checkout push origin main\n\
             \x20 {exe} --config muster.toml plan\n\n\
             When you have seen enough: rm -r {at}"
        ))
    }
}

/// `text` in lines that fit, the first behind `first` and the others behind `next`. A word that is too long stays whole.
fn folded(text: &str, first: &str, next: &str) -> String {
    let mut folded = first.to_owned();
    let mut column = first.chars().count();
    // Whether the line has a word yet; before one, it does not end.
    let mut begun = false;
    for (at, word) in text.split(' ').enumerate() {
        let width = word.chars().count();
        if begun && width > 0 && column + 1 + width > WIDTH {
            folded.truncate(folded.trim_end_matches(' ').len());
            folded.push('\n');
            folded.push_str(next);
            column = next.chars().count();
        } else if at > 0 {
            folded.push(' ');
            column += 1;
        }
        folded.push_str(word);
        column += width;
        begun |= width > 0;
    }
    folded
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_./:=@+~".contains(it);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_no_word_is_lost() {
        let text = "one two three ".repeat(40);
        let lines = folded(&text, "  $ ", "      ");
        assert!(
            lines.lines().all(|line| line.chars().count() <= WIDTH),
            "{lines}"
        );
        assert!(lines.split_whitespace().skip(1).eq(text.split_whitespace()));
        assert_eq!(folded("  short", "    ", ""), "      short");
    }

    #[test]
    fn a_shell_takes_words_as_they_are() {
        assert_eq!(quoted("--once"), "--once");
        assert_eq!(quoted("HEAD^"), "'HEAD^'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
