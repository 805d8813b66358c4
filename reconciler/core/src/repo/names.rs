//! What names may look like, and which ones are taken.

use std::fmt;

use crate::bytes::ByteSet;

/// The form that a kind of text must have.
pub struct Grammar {
    /// The rule's name.
    pub rule: &'static str,
    /// What such a text is, in a few words.
    pub about: &'static str,
    /// The same as [`Grammar::accepts`], for the published schema.
    pub pattern: &'static str,
    /// Whether a text has this form.
    pub accepts: fn(&str) -> bool,
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule)
    }
}

/// The pinned key of a person: the account's name.
pub static OS_USER: Grammar = Grammar {
    rule: "os-user-form",
    about: "a lower-case account name of at most 31 characters",
    pattern: "^[a-z][a-z0-9_-]{0,30}$",
    accepts: |text| {
        text.len() <= 31
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && OS_USER_BYTES.has_all(text)
    },
};

/// The login at the identity provider, and the key in the cluster.
pub static IDENTITY: Grammar = Grammar {
    rule: "identity-form",
    about: "a login of ASCII letters, digits and . _ @ + -, at most 254 characters, starting with a letter or digit",
    pattern: "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,253}$",
    accepts: |text| {
        text.len() <= 254
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && IDENTITY_BYTES.has_all(text)
    },
};

/// A namespace of the cluster: a label after RFC 1123.
pub static NAMESPACE: Grammar = Grammar {
    rule: "namespace-form",
    about: "lower-case letters, digits and -, at most 63 characters, no - at either end",
    pattern: "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    accepts: is_label,
};

/// A repository that is checked out in a workspace. Such names become paths, so they never start with `.` or `-` (R26).
pub static REPO: Grammar = Grammar {
    rule: "repo-form",
    about: "ASCII letters, digits and . _ -, at most 100 characters, starting with a letter or digit",
    pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
    accepts: |text| {
        text.len() <= 100
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && REPO_BYTES.has_all(text)
    },
};

/// A group of the host.
pub static GROUP: Grammar = Grammar {
    rule: "group-form",
    about: "a lower-case group name of at most 32 characters",
    pattern: "^[a-z_][a-z0-9_-]{0,31}$",
    accepts: |text| {
        text.len() <= 32
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && OS_USER_BYTES.has_all(text)
    },
};

/// A login shell: it becomes a field of passwd and is run.
pub static SHELL: Grammar = Grammar {
    rule: "shell-form",
    about: "an absolute path of ASCII letters, digits and . _ + -, without . or .. as a part",
    pattern: "^(/(?!\\.\\.?(/|$))[A-Za-z0-9._+-]+)+$",
    accepts: |text| {
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && SHELL_BYTES.has_all(part);
        text.len() <= 255
            && text
                .strip_prefix('/')
                .is_some_and(|rest| rest.split('/').all(is_part))
    },
};

/// Whether `text` is a lower-case DNS name, as a host is called.
pub fn is_host_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// A label after RFC 1123, in lower case.
fn is_label(text: &str) -> bool {
    text.len() <= 63
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.is_empty()
        && LABEL_BYTES.has_all(text)
}

static OS_USER_BYTES: ByteSet = ByteSet::of("a-z0-9_-");
static IDENTITY_BYTES: ByteSet = ByteSet::of("A-Za-z0-9._@+-");
static REPO_BYTES: ByteSet = ByteSet::of("A-Za-z0-9._-");
static SHELL_BYTES: ByteSet = ByteSet::of("A-Za-z0-9._+-");
static LABEL_BYTES: ByteSet = ByteSet::of("a-z0-9-");

/// Account and group names that belong to the system: those of Debian's base-passwd, of common daemons, of groups that
/// give power (an account brings a group of its own name), and ours. Sorted.
pub const RESERVED: &[&str] = &[
    "adm",
    "admin",
    "administrator",
    "apache",
    "audio",
    "avahi",
    "backup",
    "bin",
    "bind",
    "cdrom",
    "chrony",
    "code-shared",
    "colord",
    "crontab",
    "cups",
    "daemon",
    "debian-exim",
    "dhcpcd",
    "dialout",
    "dip",
    "disk",
    "dnsmasq",
    "docker",
    "docker-registry",
    "etcd",
    "exim",
    "fax",
    "floppy",
    "ftp",
    "fwupd-refresh",
    "games",
    "gdm",
    "geoclue",
    "git",
    "gnats",
    "grafana",
    "haproxy",
    "incus",
    "incus-admin",
    "input",
    "irc",
    "kmem",
    "kube",
    "kvm",
    "landscape",
    "libvirt",
    "libvirt-qemu",
    "lightdm",
    "list",
    "lp",
    "lpadmin",
    "lxd",
    "mail",
    "man",
    "messagebus",
    "mongodb",
    "munge",
    "muster",
    "mysql",
    "named",
    "netdev",
    "news",
    "nginx",
    "nobody",
    "nogroup",
    "ntp",
    "ntpsec",
    "openldap",
    "operator",
    "plugdev",
    "podman",
    "polkitd",
    "pollinate",
    "postfix",
    "postgres",
    "prometheus",
    "proxy",
    "pulse",
    "redis",
    "render",
    "root",
    "rtkit",
    "saned",
    "sasl",
    "sddm",
    "sgx",
    "shadow",
    "src",
    "sshd",
    "ssl-cert",
    "sssd",
    "staff",
    "statd",
    "sudo",
    "sync",
    "sys",
    "syslog",
    "tape",
    "tcpdump",
    "tomcat",
    "tss",
    "tty",
    "unbound",
    "usbmux",
    "users",
    "utmp",
    "uucp",
    "uuidd",
    "vault",
    "video",
    "voice",
    "wheel",
    "www-data",
];

/// Where those of each first letter begin in [`RESERVED`]: a name is compared with few of them.
static RESERVED_FROM: [usize; 257] = {
    let mut from = [0; 257];
    let mut letter = 0;
    while letter < 256 {
        let mut at = from[letter];
        while at < RESERVED.len() && RESERVED[at].as_bytes()[0] as usize == letter {
            at += 1;
        }
        letter += 1;
        from[letter] = at;
    }
    from
};

/// Whether no person may be called `name`.
pub fn is_reserved(name: &str) -> bool {
    let Some(first) = name.bytes().next().map(usize::from) else {
        return false;
    };
    let alike = RESERVED_FROM[first]..RESERVED_FROM[first + 1];
    first == usize::from(b'_') || name.starts_with("systemd-") || RESERVED[alike].contains(&name)
}

/// Whether no person may own the namespace `name`: it belongs to the cluster itself.
pub fn is_reserved_namespace(name: &str) -> bool {
    name == "default" || name.starts_with("kube-")
}

/// The one of `known` that `word` was probably meant to be.
pub fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.replace('-', "_")), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out, changed or swapped to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_reserved_names_are_sorted() {
        assert!(RESERVED.is_sorted_by(|a, b| a < b));
        for name in RESERVED {
            assert!(is_reserved(name), "{name}");
            for like in [format!("{name}1"), name[1..].to_owned(), format!("a{name}")] {
                let expected = RESERVED.contains(&like.as_str()) || like.starts_with("systemd-");
                assert_eq!(is_reserved(&like), expected, "{like}");
            }
        }
        assert!(
            is_reserved("_apt") && !is_reserved("") && !is_reserved("é") && !is_reserved("zzz")
        );
    }

    #[test]
    fn grammars_refuse_what_would_be_dangerous() {
        for (grammar, bad) in [
            (
                &OS_USER,
                &[
                    "", "Emo", "emo ", "../x", "emo\n", "1a", "-a", "_a", "é", "a.b", "аlice",
                ][..],
            ),
            (
                &IDENTITY,
                &["", "-a", ".a", "a b", "system:masters", "a\n", "é", "a=b"],
            ),
            (&NAMESPACE, &["", "-a", "a-", "A", "a.b", "a_b", "a\n"]),
            (
                &REPO,
                &["", "../evil", "a/b", ".hidden", "-flag", "a\n", "a b"],
            ),
            (&GROUP, &["", "Sudo", "1a", "a b", "a:b", "a,b"]),
            (
                &SHELL,
                &[
                    "",
                    "zsh",
                    "/bin/../sh",
                    "/bin//sh",
                    "/bin/sh ",
                    "/bin/sh:",
                    "/bin/",
                    "/",
                    "/bin/./sh",
                    "/bin/sh\n",
                ],
            ),
        ] {
            for text in bad {
                assert!(!(grammar.accepts)(text), "{grammar:?} {text:?}");
            }
        }
        assert!((OS_USER.accepts)(&"a".repeat(31)) && !(OS_USER.accepts)(&"a".repeat(32)));
        assert!((IDENTITY.accepts)(&"a".repeat(254)) && !(IDENTITY.accepts)(&"a".repeat(255)));
        assert!((NAMESPACE.accepts)(&"a".repeat(63)) && !(NAMESPACE.accepts)(&"a".repeat(64)));
        assert!((SHELL.accepts)("/bin/zsh") && (SHELL.accepts)("/usr/lib/..x/g++"));
    }

    #[test]
    fn hosts_have_dns_names() {
        for good in ["a", "devvm", "h-1.example.org", "1a"] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "a.",
            "-a",
            "A",
            "a_b",
            "a..b",
            "a/b",
            "..",
            &"a".repeat(64),
        ] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }

    #[test]
    fn suggestions_are_close() {
        let known = ["authentik_user", "k8s_user", "tier", "namespaces", "parked"];
        for (word, meant) in [
            ("tiers", Some("tier")),
            ("Tier", Some("tier")),
            ("authentic_user", Some("authentik_user")),
            ("authentik-user", Some("authentik_user")),
            ("namesapces", Some("namespaces")),
            ("quota", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(word, known), meant, "{word}");
        }
    }

    proptest! {
        #[test]
        fn the_published_patterns_say_the_same(
            os_user in "[a-z][a-z0-9_-]{0,30}",
            identity in "[A-Za-z0-9][A-Za-z0-9._@+-]{0,253}",
            namespace in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
            repo in "[A-Za-z0-9][A-Za-z0-9._-]{0,99}",
            group in "[a-z_][a-z0-9_-]{0,31}",
        ) {
            prop_assert!((OS_USER.accepts)(&os_user));
            prop_assert!((IDENTITY.accepts)(&identity));
            prop_assert!((NAMESPACE.accepts)(&namespace));
            prop_assert!((REPO.accepts)(&repo));
            prop_assert!((GROUP.accepts)(&group));
        }
    }
}
