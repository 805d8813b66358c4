//! Files that an administrator writes a line per key: whose keys count, as `/etc/muster/hosts` and `/etc/muster/signers` have them.
//! What a line says is the affair of who asks; blank lines, comments and the report of everything that is wrong are alike.

use std::fmt;

/// What is wrong with such a file: every line of it that cannot be read, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct KeyListError {
    file: String,
    problems: Vec<(usize, String)>,
}

impl fmt::Display for KeyListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, problems } = self;
        for (index, (line, problem)) in problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{file}:{line}: {problem}")?;
        }
        Ok(())
    }
}

/// Gives `take` the number, from 1, and the three words of each line of `file`: whose key it is, the kind of key, and the key. What
/// is missing is empty, and what follows is a comment.
///
/// # Errors
/// Everything that `take` found wrong, each with file and line.
pub fn read(
    file: &str,
    text: &str,
    mut take: impl FnMut(usize, [&str; 3]) -> Result<(), String>,
) -> Result<(), KeyListError> {
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split([' ', '\t']).filter(|it| !it.is_empty());
        let three = [(); 3].map(|()| words.next().unwrap_or_default());
        if let Err(problem) = take(number, three) {
            problems.push((number, problem));
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(KeyListError {
            file: file.to_owned(),
            problems,
        }),
    }
}
