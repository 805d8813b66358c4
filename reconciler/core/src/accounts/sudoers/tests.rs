use super::*;

fn read(text: &str) -> Sudoers {
    let lines = lines(text.as_bytes());
    let entries = lines.iter().filter_map(|line| match line {
        Line::Entry(entry) => Some(entry.as_str()),
        Line::Include(_) | Line::IncludeDir(_) => None,
    });
    Sudoers::of(entries, BTreeSet::new())
}

/// What is found of `emo`, uid 1004, in the groups `emo` (1004) and `devs` (990).
fn emo(sudoers: &Sudoers) -> (bool, Option<RuleEffect>) {
    let asked = Asked {
        name: "emo",
        uid: 1004,
        gids: &[990, 1004],
        groups: &["devs", "emo"],
    };
    (sudoers.mentions(&asked), sudoers.grants(&asked))
}

const YES: (bool, Option<RuleEffect>) = (true, Some(RuleEffect::WithPassword));
const FREE: (bool, Option<RuleEffect>) = (true, Some(RuleEffect::WithoutPassword));
const ONLY_MENTIONED: (bool, Option<RuleEffect>) = (true, None);
const NO: (bool, Option<RuleEffect>) = (false, None);

/// As the distributions ship it, shortened where lines only differ in words.
const DEBIAN: &str = "#
# This file MUST be edited with the 'visudo' command as root.
#
Defaults\tenv_reset
Defaults\tmail_badpass
Defaults\tsecure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"
#Defaults:%sudo env_keep += \"http_proxy https_proxy ftp_proxy all_proxy no_proxy\"
Defaults\tuse_pty

# Host alias specification
# User privilege specification
root\tALL=(ALL:ALL) ALL

# Allow members of group sudo to execute any command
%sudo\tALL=(ALL:ALL) ALL

# See sudoers(5) for more information on \"@include\" directives:

@includedir /etc/sudoers.d
";
const RED_HAT: &str = "## Sudoers allows particular users to run various commands as
## the root user, without needing the root password.
# Host_Alias     FILESERVERS = fs1, fs2
# User_Alias ADMINS = jsmith, mikem
# Cmnd_Alias NETWORKING = /sbin/route, /sbin/ifconfig
Defaults   !visiblepw
Defaults    always_set_home
Defaults    match_group_by_gid
Defaults    env_reset
Defaults    env_keep =  \"COLORS DISPLAY HOSTNAME HISTSIZE KDEDIR LS_COLORS\"
Defaults    env_keep += \"MAIL PS1 PS2 QTDIR USERNAME LANG LC_ADDRESS LC_CTYPE\"
Defaults    secure_path = /sbin:/bin:/usr/sbin:/usr/bin
root\tALL=(ALL) \tALL
# %sys ALL = NETWORKING, SOFTWARE, SERVICES, STORAGE, DELEGATING, PROCESSES, LOCATE, DRIVERS
%wheel\tALL=(ALL)\tALL
# %wheel\tALL=(ALL)\tNOPASSWD: ALL
# %users  localhost=/sbin/shutdown -h now
#includedir /etc/sudoers.d
";
const ARCH: &str = "## Defaults specification
Defaults!/usr/bin/visudo env_keep += \"SUDO_EDITOR EDITOR VISUAL\"
Defaults secure_path=\"/usr/local/sbin:/usr/local/bin:/usr/bin\"
root ALL=(ALL:ALL) ALL
# %wheel ALL=(ALL:ALL) ALL
# Defaults targetpw  # Ask for the password of the target user
# ALL ALL=(ALL:ALL) ALL  # WARNING: only use this together with 'Defaults targetpw'
@includedir /etc/sudoers.d
";
const SUSE: &str = "Defaults always_set_home
Defaults secure_path=\"/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin:/usr/local/sbin\"
Defaults env_reset
Defaults !insults
Defaults targetpw   # ask for the password of the target user i.e. root
ALL   ALL=(ALL) ALL   # WARNING! Only use this together with 'Defaults targetpw'!
root ALL=(ALL) ALL
@includedir /etc/sudoers.d
";

#[test]
fn what_distributions_ship_makes_nobody_root_but_who_is_in_their_group() {
    let mentioned = |text: &str| {
        let Mentioned {
            users,
            uids,
            groups,
            gids,
            everybody,
        } = read(text).mentioned;
        assert!(uids.is_empty() && gids.is_empty() && !everybody, "{text}");
        let names = users
            .into_iter()
            .chain(groups.into_iter().map(|it| format!("%{it}")));
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(mentioned(DEBIAN), "root %sudo");
    assert_eq!(mentioned(RED_HAT), "root %wheel");
    assert_eq!(mentioned(ARCH), "root");
    assert_eq!(mentioned(SUSE), "root");
    for text in [DEBIAN, RED_HAT, ARCH] {
        assert_eq!(emo(&read(text)), NO);
    }
    let in_admins = |text: &str, group: &str| {
        read(text).grants(&Asked {
            name: "emo",
            uid: 1004,
            gids: &[27, 1004],
            groups: &[group],
        })
    };
    assert_eq!(in_admins(DEBIAN, "sudo"), Some(RuleEffect::WithPassword));
    assert_eq!(in_admins(RED_HAT, "wheel"), Some(RuleEffect::WithPassword));
    assert_eq!(in_admins(ARCH, "wheel"), None);
    // On openSUSE it is root's password that is asked for.
    let suse = read(SUSE);
    assert!(suse.asks_anothers_password);
    assert_eq!(emo(&suse), (false, Some(RuleEffect::WithPassword)));
}

#[test]
fn where_includes_stand_they_are_found_and_nothing_else_is_one() {
    let all = lines(
        b"#include /etc/a\n@include \"/etc/b c\"\n  @includedir  /etc/d\\ e # x\n#includedir /etc/f\n#includes /etc/g\n\
          # include /etc/h\n#include\nemo ALL=ALL\n@include relative",
    );
    let include = |path: &str| Line::Include(path.to_owned());
    let directory = |path: &str| Line::IncludeDir(path.to_owned());
    assert_eq!(
        all,
        [
            include("/etc/a"),
            include("/etc/b c"),
            directory("/etc/d e"),
            directory("/etc/f"),
            Line::Entry("emo ALL=ALL".to_owned()),
            include("relative"),
        ]
    );
    for (name, read) in [
        ("10-ops", true),
        ("README", true),
        ("ops.conf", false),
        ("ops~", false),
        (".hidden", false),
        ("ops.dpkg-old", false),
    ] {
        assert_eq!(is_read_in_directory(name), read, "{name}");
    }
}

#[test]
fn a_mention_counts_wherever_a_person_can_stand() {
    for (text, found) in [
        ("emo ALL=(ALL:ALL) ALL", YES),
        ("EMO ALL=(ALL) ALL", YES),
        ("emo\tALL = ( ALL : ALL ) NOPASSWD : ALL", FREE),
        ("\"emo\" ALL=(ALL) ALL", YES),
        ("e\\x6do ALL=(ALL) ALL", YES),
        ("e\\mo ALL=(ALL) ALL", YES),
        ("ann, emo ALL=(ALL) ALL", YES),
        ("ann ,\\\n  emo ALL=(ALL) \\\n ALL", YES),
        ("ann,\\\r\n emo ALL=(ALL) ALL\r\n", YES),
        ("#1004 ALL=(ALL) ALL", YES),
        ("%devs ALL=(ALL) ALL", YES),
        ("%Devs ALL=(ALL) ALL", YES),
        ("%emo ALL=(root) ALL", YES),
        ("%#990 ALL=(#0) ALL", YES),
        ("\"%devs\" ALL=(ALL) ALL", YES),
        ("emo ALL=ALL", YES),
        ("emo ALL=NOPASSWD:ALL", FREE),
        ("emo ALL=(ALL) NOPASSWD: SETENV: ALL", FREE),
        ("emo ALL=(ALL) SETENV:NOPASSWD: ALL, /bin/ls", FREE),
        ("emo ALL=(ALL) ALL # as he asked", YES),
        ("User_Alias OPS = ann, emo\nOPS ALL=(ALL) ALL", YES),
        ("OPS ALL=(ALL) ALL\nUser_Alias OPS = %devs : DBA = bob", YES),
        (
            "User_Alias A = bob : OPS = ann, emo\nUser_Alias ALLOPS = A, OPS\nALLOPS ALL=(ALL) ALL",
            YES,
        ),
        ("ALL ALL=(ALL) ALL", YES),
        ("ALL, !ann ALL=(ALL) ALL", YES),
        // A comment that ends in a backslash hides nothing.
        ("# off \\\nemo ALL=(ALL) ALL", YES),
        // Mentioned, and nothing that is surely root.
        ("User_Alias OPS = emo", ONLY_MENTIONED),
        ("Runas_Alias OPS = emo", ONLY_MENTIONED),
        ("ann ALL=(emo) ALL", ONLY_MENTIONED),
        ("ann ALL=(postgres, emo : devs) /bin/ls", ONLY_MENTIONED),
        ("ann ALL=(ALL) /bin/ls, (emo) /bin/cat", ONLY_MENTIONED),
        ("Defaults:emo !requiretty", ONLY_MENTIONED),
        ("Defaults:ann, emo !requiretty", ONLY_MENTIONED),
        ("Defaults>emo lecture", ONLY_MENTIONED),
        ("emo web1=(ALL) ALL", ONLY_MENTIONED),
        ("emo ALL, !web1=(ALL) ALL", ONLY_MENTIONED),
        ("emo ALL=(postgres) ALL", ONLY_MENTIONED),
        ("emo ALL=(:devs) ALL", ONLY_MENTIONED),
        ("emo ALL=(ALL, !root) ALL", ONLY_MENTIONED),
        ("emo ALL=(ALL) NOEXEC: ALL", ONLY_MENTIONED),
        ("emo ALL=(ALL) TIMEOUT=5m ALL", ONLY_MENTIONED),
        ("emo ALL=(ALL) ROLE=x TYPE=y NOPASSWD: ALL", ONLY_MENTIONED),
        ("emo ALL=(ALL) sha256:abc /bin/bash", ONLY_MENTIONED),
        ("emo ALL=(ALL) /bin/bash", ONLY_MENTIONED),
        ("emo ALL=(ALL) ALL, !/bin/su", ONLY_MENTIONED),
        ("ALL, !emo ALL=(ALL) ALL", ONLY_MENTIONED),
        ("!emo ALL=(ALL) ALL", ONLY_MENTIONED),
        ("emo ALL (ALL) ALL", ONLY_MENTIONED),
        ("emo", ONLY_MENTIONED),
        ("emo ALL=", ONLY_MENTIONED),
        ("User_Alias OPS = OPS, emo\nOPS ALL=(ALL) ALL", YES),
        // Nobody of ours.
        ("+emo ALL=(ALL) ALL", NO),
        ("%:emo ALL=(ALL) ALL", NO),
        ("%:#990 ALL=(ALL) ALL", NO),
        ("# emo ALL=(ALL) ALL", NO),
        ("#emo ALL=(ALL) ALL", NO),
        ("ann ALL=(ALL) ALL # emo", NO),
        ("ann emo=(ALL) ALL", NO),
        ("ann ALL=(ALL) /bin/su - emo", NO),
        ("Cmnd_Alias EMO = /bin/emo", NO),
        ("Host_Alias EMO = emo", NO),
        ("Defaults mailto=emo", NO),
        ("emoo, em ALL=(ALL) ALL", NO),
        ("\\%devs ALL=(ALL) ALL", NO),
        ("", NO),
    ] {
        assert_eq!(emo(&read(text)), found, "{text}");
    }
}

#[test]
fn the_last_rule_counts_and_what_is_not_understood_takes_certainty_away() {
    let begin = "emo ALL=(ALL) ALL\n";
    for (then, found) in [
        ("%devs ALL=(ALL) NOPASSWD: ALL", FREE),
        (
            "emo ALL=(root) NOPASSWD: /usr/bin/systemctl restart web",
            YES,
        ),
        ("emo ALL=(postgres) ALL", YES),
        ("ann ALL=(ALL) !ALL", YES),
        ("+ops ALL=(ALL) ALL", ONLY_MENTIONED),
        ("emo ALL=(ALL) !ALL", ONLY_MENTIONED),
        ("%devs ALL=(ALL) !/bin/su", ONLY_MENTIONED),
        ("ALL ALL=(ALL) !/bin/su", ONLY_MENTIONED),
        ("emo web=(ALL) ALL", ONLY_MENTIONED),
        ("+ops ALL=(ALL) !/bin/su", ONLY_MENTIONED),
        ("emo ALL=(ALL) /usr/*", ONLY_MENTIONED),
        ("emo ALL=(ALL) /usr/bin/", ONLY_MENTIONED),
        ("emo ALL=(ALL) ^.*$", ONLY_MENTIONED),
        ("emo ALL=(ALL) SHELLS", ONLY_MENTIONED),
        (
            "Cmnd_Alias SHELLS = /bin/sh, /bin/bash\nemo ALL=(ALL) SHELLS",
            YES,
        ),
        (
            "Cmnd_Alias SHELLS = ALL, !/bin/bash\nemo ALL=(ALL) SHELLS",
            ONLY_MENTIONED,
        ),
        ("emo what is this", ONLY_MENTIONED),
        ("ann what is this", YES),
        ("Defaults noexec", ONLY_MENTIONED),
        ("Defaults !noexec", YES),
        ("Defaults runas_default=ann", ONLY_MENTIONED),
        ("ann ALL=(ALL) ALL : web=(ALL) ALL", YES),
        ("emo web=(ALL) ALL : ALL=(ALL) NOPASSWD: ALL", FREE),
    ] {
        assert_eq!(emo(&read(&format!("{begin}{then}\n"))), found, "{then}");
    }
}

#[test]
fn all_users_count_unless_the_password_of_another_is_asked_for() {
    let rule = "ALL ALL=(ALL) ALL\n";
    for (with, everybody) in [
        ("", true),
        ("Defaults targetpw", false),
        ("Defaults env_reset, rootpw", false),
        ("Defaults !targetpw", true),
        ("Defaults targetpw\nDefaults:emo !targetpw", true),
        ("Defaults targetpw\nDefaults:emo !authenticate", true),
        ("Defaults targetpw\nDefaults exempt_group=devs", true),
        ("Defaults:ann targetpw", true),
        ("Defaults targetpw\nALL ALL=(ALL) NOPASSWD: /bin/ls", true),
        ("Defaults targetpw\nUser_Alias X = ALL", true),
    ] {
        let text = format!("{with}\n{rule}");
        assert_eq!(read(&text).mentioned.everybody, everybody, "{with}");
    }
}

#[test]
fn what_was_read_reads_back_as_it_was() {
    let sudoers = read(
        "User_Alias OPS = ann, !bob, +net, #7, %#8\nOPS, !ALL ALL=(ALL) ALL\nodd\n%x ALL=NOPASSWD: ALL\nALL ALL=!ALL",
    );
    let text = serde_json::to_string(&sudoers).unwrap();
    assert_eq!(serde_json::from_str::<Sudoers>(&text).unwrap(), sudoers);
}

#[test]
fn no_text_is_too_odd() {
    let odd = [
        "\\",
        "\"",
        "emo ALL=(",
        "emo ALL=()",
        "emo ALL=(ALL) :",
        "= = =",
        ", ,",
        "!",
        ":",
        "(((",
        "Defaults",
        "Defaults:",
        "Defaults:emo",
        "Defaults:emo,",
        "User_Alias",
        "User_Alias A",
        "User_Alias A =",
        "User_Alias a = b",
        "emo ALL=ALL :",
        "emo ALL=ALL,",
        "emo,",
        "#",
        "#-",
        "#-1 ALL=ALL",
        "%",
        "%#",
        "%# ALL=ALL",
        "%: ALL=ALL",
        "@include",
        "\\x",
        "\\xz",
        "emo ALL=(ALL) NOPASSWD",
        "emo ALL=(ALL) NOPASSWD:",
        "\u{0}",
        "emo\\\n",
        "User_Alias A = B\nUser_Alias B = A\nA ALL=ALL",
    ];
    for text in odd {
        let _ = emo(&read(text));
        for other in odd {
            let _ = emo(&read(&format!("{text}{other}")));
            let _ = emo(&read(&format!("{text}\n{other}")));
        }
    }
    let _ = lines(b"\xff\xfe emo ALL=ALL");
}
