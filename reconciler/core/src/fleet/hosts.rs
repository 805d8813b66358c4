//! Whose word counts as that of which host: `/etc/muster/hosts` of a bot, one key a line.
//!
//! ```text
//! # who                 its key, as `muster status` prints it there
//! host/devvm            ssh-ed25519 AAAAC3Nza…  made 2026-11-26
//! ```
//!
//! A host may have several keys, so that one can follow another; a key belongs to one host.

use std::collections::BTreeMap;

use crate::diagnostic::visible;
use crate::executor::Executor;
use crate::host_key::PublicKey;
use crate::key_list::{self, KeyListError};

/// The keys of each host, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    keys: BTreeMap<Executor, Vec<PublicKey>>,
}

impl Hosts {
    /// Reads the text of `file`.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with file and line.
    pub fn parse(file: &str, text: &str) -> Result<Self, KeyListError> {
        let mut hosts = Self::default();
        let mut owners: BTreeMap<PublicKey, (Executor, usize)> = BTreeMap::new();
        key_list::read(file, text, |number, words| {
            let (executor, key) = entry(words)?;
            if let Some((other, at)) = owners.get(&key) {
                return Err(format!(
                    "this key stands for {other} in line {at} already; every host has its own"
                ));
            }
            owners.insert(key.clone(), (executor.clone(), number));
            hosts.keys.entry(executor).or_default().push(key);
            Ok(())
        })?;
        Ok(hosts)
    }

    /// The keys of one host; none when it is not known.
    pub fn keys_of(&self, executor: &Executor) -> &[PublicKey] {
        self.keys.get(executor).map_or(&[], Vec::as_slice)
    }

    /// Every host there is.
    pub fn executors(&self) -> impl Iterator<Item = &Executor> {
        self.keys.keys()
    }
}

fn entry([name, kind, blob]: [&str; 3]) -> Result<(Executor, PublicKey), String> {
    let executor = name
        .parse::<Executor>()
        .map_err(|_| format!("`{}` is no host: write host/<name>", visible(name)))?;
    if kind.is_empty() || blob.is_empty() {
        return Err(format!(
            "{executor} has no key here: write `{executor} ssh-ed25519 AAAA…`, as `muster status` prints it there"
        ));
    }
    let key = PublicKey::parse(&format!("{kind} {blob}")).map_err(|error| error.to_string())?;
    Ok((executor, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_key::HostKey;

    fn key(seed: u8) -> PublicKey {
        HostKey::from_seed(&[seed; 32]).public()
    }

    #[test]
    fn each_line_gives_a_host_a_key() {
        let text = format!(
            "# ours\n\nhost/a {}\n\thost/b.example.org   {} made today\nhost/a {}",
            key(1),
            key(2),
            key(3)
        );
        let hosts = Hosts::parse("hosts", &text).unwrap();
        assert_eq!(hosts.keys_of(&"host/a".parse().unwrap()), [key(1), key(3)]);
        assert_eq!(hosts.keys_of(&"host/c".parse().unwrap()), []);
        let all: Vec<_> = hosts.executors().map(ToString::to_string).collect();
        assert_eq!(all, ["host/a", "host/b.example.org"]);
        assert_eq!(Hosts::parse("hosts", "").unwrap(), Hosts::default());
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_line() {
        let text = format!(
            "host/a {0}\nhost/B {1}\nhost/c\nhost/d ssh-ed25519\nhost/e ssh-rsa AAAA\nhost/f ssh-ed25519 AAAA\nhost/g {0}\nvm/h {1}\nhost/i {1}x\n",
            key(1),
            key(2)
        );
        let error = Hosts::parse("/etc/muster/hosts", &text)
            .unwrap_err()
            .to_string();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 8, "{error}");
        for (line, (number, says)) in lines.iter().zip([
            (2, "`host/B` is no host"),
            (3, "host/c has no key"),
            (4, "host/d has no key"),
            (5, "ssh-rsa"),
            (6, "it is no SSH public key"),
            (7, "stands for host/a in line 1"),
            (8, "`vm/h` is no host"),
            (9, "damaged"),
        ]) {
            assert!(
                line.starts_with(&format!("/etc/muster/hosts:{number}: ")) && line.contains(says),
                "{line}"
            );
        }
    }
}
