//! What a state repository may say, and what is said about one that may not.

use std::collections::BTreeMap;

use super::*;
use crate::diagnostic::human;

fn files(texts: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    texts
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect()
}

/// Each diagnostic as `file:line:column rule`.
fn places(found: &Diagnostics) -> Vec<String> {
    let place = |diagnostic: &Diagnostic| match diagnostic.at {
        Some(at) => format!("{}:{at} {}", diagnostic.file, diagnostic.rule),
        None => format!("{} {}", diagnostic.file, diagnostic.rule),
    };
    found.iter().map(place).collect()
}

/// As it is read for everybody.
fn read(files: &BTreeMap<String, Vec<u8>>) -> Result<(Documents<'_>, Diagnostics), Diagnostics> {
    crate::rooms::read_whole(files, &[]).map(|(repo, warnings)| (repo.documents, warnings))
}

fn refused(roster: &str) -> Diagnostics {
    read(&files(&[(ROSTER, roster)])).expect_err(roster)
}

const EMO: &str = "users:\n  emo: {authentik_user: emil, k8s_user: emo, tier: admin}\n";

#[test]
fn everything_that_can_be_said_is_read() {
    let text = "\
users:
  zed:
    authentik_user: z.ed
    k8s_user: zed
    tier: admin
    uid: 1004
    adopt: {uid: 1004}
    previously: oldzed
    parked: true
  bob: {authentik_user: Bob@Example.org, k8s_user: \"no\", tier: namespace-owner, namespaces: [n2, n1], claude_auth: false}
  ann:
    authentik_user: ann
    k8s_user: ann
    tier: power-user
    namespaces: []
    expires: 2028-02-29
    expiry_contact: zed@example.org
    code_layout: workspace
    repos:
      - tools
";
    let files = files(&[(ROSTER, text)]);
    let (state, warnings) = read(&files).unwrap();
    assert!(warnings.is_empty());
    let names = |people: Vec<&Person<'_>>| {
        people
            .iter()
            .map(|person| person.os_user.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(state.roster.people.iter().collect()),
        ["zed", "bob", "ann"]
    );
    assert_eq!(
        names(state.roster.sorted().collect()),
        ["ann", "bob", "zed"]
    );
    let zed = state.roster.get("zed").unwrap();
    assert_eq!(
        (zed.uid(), zed.adopt(), zed.previously()),
        (Some(1004), Some(1004), Some("oldzed"))
    );
    assert!(zed.parked() && !zed.claude_auth() && zed.tier == Tier::Admin);
    let bob = state.roster.get("bob").unwrap();
    assert_eq!(&bob.namespaces[..], ["n2", "n1"]);
    assert_eq!(
        (&*bob.k8s_user, bob.claude_auth(), bob.uid()),
        ("no", false, None)
    );
    let ann = state.roster.get("ann").unwrap();
    assert_eq!(ann.expires(), Some(jiff::civil::date(2028, 2, 29)));
    assert_eq!(
        (ann.expiry_contact(), ann.code_layout(), ann.repos().len()),
        (Some("zed@example.org"), CodeLayout::Workspace, 1)
    );
    assert!(state.roster.get("nobody").is_none());
}

/// R3.
#[test]
fn an_empty_roster_can_be_written_in_many_ways() {
    for text in [
        "",
        "# nobody\n",
        "users:\n",
        "users: {}\n",
        "users: ~\n",
        "users: null\n",
        "null\n",
        "{}\n",
        "---\n",
    ] {
        let files = files(&[(ROSTER, text)]);
        assert_eq!(read(&files).unwrap().0.roster.people.len(), 0, "{text}");
    }
}

/// Every way in which a roster can be wrong, with its place and its rule.
#[test]
fn each_fault_of_a_roster_has_its_place_and_its_rule() {
    let row = |fields: &str| {
        format!("users:\n  emo: {{authentik_user: emil, k8s_user: emo, tier: admin{fields}}}\n")
    };
    let owner = |namespaces: &str| {
        row("").replace(
            "admin",
            &format!("namespace-owner, namespaces: {namespaces}"),
        )
    };
    let two = |second: &str| format!("{EMO}  {second}\n");
    let cases = [
        // shapes
        ("users:\n  emo:\n".to_owned(), "2:3 wrong-type"),
        ("users:\n  emo: admin\n".to_owned(), "2:8 wrong-type"),
        ("users: [emo]\n".to_owned(), "1:8 wrong-type"),
        ("users: emo\n".to_owned(), "1:8 wrong-type"),
        ("- users\n".to_owned(), "1:1 wrong-type"),
        (
            "version https://example.org/spec\noid sha256:00\n".to_owned(),
            "1:1 wrong-type",
        ),
        ("user: {}\n".to_owned(), "1:1 unknown-field"),
        ("users: {}\nusers: {}\n".to_owned(), "2:1 duplicate-key"),
        (row(", tiers: x"), "2:59 unknown-field"),
        (row(", tier: admin"), "2:59 duplicate-key"),
        (
            row(", namespaces: foo").replace("admin", "namespace-owner"),
            "2:81 wrong-type",
        ),
        (owner("[[a]]"), "2:82 wrong-type"),
        (owner("[~]"), "2:82 ambiguous-scalar"),
        // keys
        (EMO.replace("  emo", "  12"), "2:3 ambiguous-scalar"),
        (EMO.replace("  emo", "  yes"), "2:3 ambiguous-scalar"),
        (EMO.replace("  emo", "  \"12\""), "2:3 os-user-form"),
        (EMO.replace("  emo", "  Emo"), "2:3 os-user-form"),
        (EMO.replace("  emo", "  ../x"), "2:3 os-user-form"),
        (EMO.replace("  emo", "  \"\""), "2:3 os-user-form"),
        (EMO.replace("  emo", "  аlice"), "2:3 os-user-form"),
        (EMO.replace("  emo", "  root"), "2:3 reserved-name"),
        (EMO.replace("  emo", "  docker"), "2:3 reserved-name"),
        (
            EMO.replace("  emo", "  systemd-network"),
            "2:3 reserved-name",
        ),
        (
            two("emo: {authentik_user: b, k8s_user: b, tier: admin}"),
            "3:3 duplicate-key",
        ),
        (
            two("\"emo\": {authentik_user: b, k8s_user: b, tier: admin}"),
            "3:3 duplicate-key",
        ),
        // identities
        (EMO.replace("emil", "\"\""), "2:25 identity-form"),
        (EMO.replace("emil", "~"), "2:25 ambiguous-scalar"),
        (EMO.replace("emil", "no"), "2:25 ambiguous-scalar"),
        (EMO.replace("emil", "0x10"), "2:25 ambiguous-scalar"),
        (EMO.replace("emil", "1e3"), "2:25 ambiguous-scalar"),
        (EMO.replace("emil", "[a]"), "2:25 wrong-type"),
        (EMO.replace("emil", "\"a b\""), "2:25 identity-form"),
        (
            EMO.replace("k8s_user: emo", "k8s_user: \"system:masters\""),
            "2:41 identity-form",
        ),
        (
            two("bob: {authentik_user: EMIL, k8s_user: b, tier: admin}"),
            "3:25 unique-authentik-user",
        ),
        (
            two("bob: {authentik_user: 'emil', k8s_user: b, tier: admin}"),
            "3:25 unique-authentik-user",
        ),
        (
            two("bob: {authentik_user: b, k8s_user: Emo, tier: admin}"),
            "3:38 unique-k8s-user",
        ),
        // tiers and namespaces
        (EMO.replace("admin", "root"), "2:52 unknown-tier"),
        (EMO.replace("admin", "\"\""), "2:52 unknown-tier"),
        (
            EMO.replace("admin", "namespace-owner"),
            "2:3 namespaces-needed",
        ),
        (owner("[]"), "2:81 namespaces-needed"),
        (owner("~"), "2:3 namespaces-needed"),
        (row(", namespaces: [a]"), "2:71 namespaces-unexpected"),
        (owner("[A]"), "2:82 namespace-form"),
        (owner("[kube-system]"), "2:81 reserved-namespace"),
        (owner("[default]"), "2:81 reserved-namespace"),
        (owner("[a, b, a]"), "2:88 unique-namespace"),
        (
            owner("[a]")
                + "  bob: {authentik_user: b, k8s_user: b, tier: namespace-owner, namespaces: ['a']}\n",
            "3:77 unique-namespace",
        ),
        // R26, R27
        (row(", repos: [tools]"), "2:66 repos-need-workspace"),
        (
            row(", code_layout: workspace, repos: [tools, infra]"),
            "2:90 implicit-repo",
        ),
        (
            row(", code_layout: workspace, repos: [../evil]"),
            "2:91 repo-form",
        ),
        (
            row(", code_layout: workspace, repos: [\"a\\n\"]"),
            "2:91 repo-form",
        ),
        (
            row(", code_layout: workspace, repos: [-flag]"),
            "2:91 repo-form",
        ),
        (
            row(", code_layout: workspace, repos: [a, a]"),
            "2:94 duplicate-entry",
        ),
        (row(", code_layout: many"), "2:72 unknown-word"),
        (row(", parked: yes"), "2:67 wrong-type"),
        (row(", parked: \"true\""), "2:67 wrong-type"),
        (row(", parked: True"), "2:67 wrong-type"),
        (row(", claude_auth: 1"), "2:72 wrong-type"),
        // days and uids
        (row(", expires: 2026-02-29"), "2:68 date"),
        (row(", expires: 2026-2-1"), "2:68 date"),
        (row(", expires: tomorrow"), "2:68 date"),
        (row(", expiry_contact: ann"), "2:75 contact-needs-expiry"),
        (row(", uid: 010"), "2:64 wrong-type"),
        (row(", uid: 0x10"), "2:64 wrong-type"),
        (row(", uid: 1_000"), "2:64 wrong-type"),
        (row(", uid: \"1000\""), "2:64 wrong-type"),
        (row(", uid: -1"), "2:64 wrong-type"),
        (row(", uid: +1000"), "2:64 wrong-type"),
        (row(", uid: 1e3"), "2:64 wrong-type"),
        (row(", uid: 4294967296"), "2:64 wrong-type"),
        (row(", uid: 4294967295"), "2:64 uid-range"),
        (row(", uid: 4294967294"), "2:64 uid-range"),
        (row(", uid: 0"), "2:64 uid-range"),
        (row(", uid: 999"), "2:64 uid-range"),
        (row(", uid: 65534"), "2:64 uid-range"),
        (row(", adopt: {uid: 65535}"), "2:72 uid-range"),
        (row(", adopt: {}"), "2:66 missing-field"),
        (row(", adopt: 1000"), "2:66 wrong-type"),
        (row(", uid: 1000, adopt: {uid: 1001}"), "2:83 uid-agrees"),
        (
            row(", uid: 1000")
                + "  bob: {authentik_user: b, k8s_user: b, tier: admin, adopt: {uid: 1000}}\n",
            "3:67 unique-uid",
        ),
        // renames
        (row(", previously: emo"), "2:71 previously-itself"),
        (row(", previously: Emo"), "2:71 os-user-form"),
        (
            two("bob: {authentik_user: b, k8s_user: b, tier: admin, previously: emo}"),
            "3:66 previously-live",
        ),
        (
            row(", previously: old")
                + "  bob: {authentik_user: b, k8s_user: b, tier: admin, previously: old}\n",
            "3:66 previously-twice",
        ),
    ];
    for (text, expected) in cases {
        let found = refused(&text);
        assert_eq!(
            places(&found),
            [format!("roster.yaml:{expected}")],
            "{}",
            human(&found, &files(&[(ROSTER, &text)]))
        );
    }
}

/// R4–R7: the words are those of the engine that came before.
#[test]
fn known_messages_are_kept() {
    for (text, expected) in [
        (
            "users: {emo: {}}",
            "user 'emo': missing required field 'authentik_user'",
        ),
        (
            "users: {emo: {authentik_user: a}}",
            "user 'emo': missing required field 'k8s_user'",
        ),
        (
            "users: {emo: {authentik_user: a, k8s_user: b}}",
            "user 'emo': missing required field 'tier'",
        ),
        (
            "users: {emo: {authentik_user: a, k8s_user: b, tier: king}}",
            "user 'emo': unknown tier 'king' (valid: ['admin', 'power-user', 'namespace-owner'])",
        ),
        (
            "users: {emo: {authentik_user: a, k8s_user: b, tier: namespace-owner}}",
            "user 'emo': namespace-owner requires namespaces",
        ),
        (
            "users: {emo: {authentik_user: a, k8s_user: b, tier: power-user, namespaces: [a]}}",
            "user 'emo': only namespace-owner may set namespaces",
        ),
    ] {
        assert_eq!(refused(text).iter().next().unwrap().problem, expected);
    }
}

#[test]
fn all_faults_are_shown_at_once() {
    let text = "\
users:
  Root: {authentik_user: a, k8s_user: a, tier: admin}
  bob: {authentik_user: A, tier: admin, colour: red}
  ann: {authentik_user: ann, k8s_user: ann, tier: namespace-owner, namespaces: [x]}
  eve: {authentik_user: eve, k8s_user: eve, tier: namespace-owner, namespaces: [x], parked: on}
extra: 1
";
    assert_eq!(
        places(&refused(text)),
        [
            "roster.yaml:2:3 os-user-form",
            "roster.yaml:3:3 missing-field",
            "roster.yaml:3:25 unique-authentik-user",
            "roster.yaml:3:41 unknown-field",
            "roster.yaml:5:81 unique-namespace",
            "roster.yaml:5:93 wrong-type",
            "roster.yaml:6:1 unknown-field",
        ]
    );
}

#[test]
fn a_typo_gets_a_suggestion() {
    let found = refused("users: {emo: {authentic_user: a, k8s_user: b, tier: admin}}");
    let helps: Vec<&str> = found
        .iter()
        .filter_map(|diagnostic| diagnostic.help.as_deref())
        .collect();
    assert!(helps.contains(&"did you mean authentik_user?"), "{helps:?}");
}

#[test]
fn the_line_of_the_first_is_told() {
    let found = refused(&format!(
        "{EMO}  bob: {{authentik_user: Emil, k8s_user: b, tier: admin}}\n"
    ));
    let problem =
        "user 'bob': authentik_user 'Emil' belongs to user 'emo' already (first on line 2)";
    assert_eq!(found.iter().next().unwrap().problem, problem);
}

#[test]
fn names_that_look_alike_are_a_warning() {
    let text = "\
users:
  lee0: {authentik_user: a, k8s_user: a, tier: admin}
  1x: {authentik_user: b, k8s_user: b, tier: admin}
  leeo: {authentik_user: c, k8s_user: c, tier: admin}
"
    .replace("  1x", "  bob");
    let files = files(&[(ROSTER, &text)]);
    let (state, warnings) = read(&files).unwrap();
    assert_eq!(state.roster.people.len(), 3);
    assert_eq!(places(&warnings), ["roster.yaml:4:3 look-alike"]);
}

#[test]
fn both_readers_find_the_same_faults() {
    // A block scalar makes the fast reader decline.
    let fast = "users:\n  Emo:\n    authentik_user: a\n    namespaces:\n    - B\n    - b\n";
    let slow = format!("{fast}x: |\n  y\n");
    let slow = refused(&slow);
    let slow: Vec<String> = places(&slow)
        .into_iter()
        .filter(|place| !place.contains(":7:"))
        .collect();
    assert_eq!(places(&refused(fast)), slow);
}

#[test]
fn tiers_change_only_what_they_name() {
    let tiers = "tiers:\n  admin: {groups: [docker], shell: /bin/bash}\n  namespace-owner:\n    instance: false\n";
    let files = files(&[(ROSTER, EMO), (TIERS, tiers)]);
    let tiers = read(&files).unwrap().0.tiers;
    assert_eq!(tiers.get(Tier::Admin).groups, ["docker"]);
    assert_eq!(tiers.get(Tier::Admin).shell, "/bin/bash");
    assert!(tiers.get(Tier::Admin).instance && !tiers.get(Tier::NamespaceOwner).instance);
    assert_eq!(
        tiers.get(Tier::PowerUser),
        Tiers::default().get(Tier::PowerUser)
    );
}

/// R15, R16.
#[test]
fn the_built_in_tiers_are_these() {
    let files = files(&[(ROSTER, EMO)]);
    let tiers = read(&files).unwrap().0.tiers;
    assert_eq!(tiers.admin.groups, ["code-shared", "docker", "sudo"]);
    for tier in Tier::ALL {
        assert_eq!(
            (tiers.get(tier).shell.as_str(), tiers.get(tier).instance),
            ("/bin/zsh", true)
        );
        assert!(tier == Tier::Admin || tiers.get(tier).groups.is_empty());
    }
}

#[test]
fn hosts_say_whom_they_admit() {
    let host = "admits: [admin, power-user]\ntiers:\n  admin: {groups: []}\n";
    let files = files(&[
        (ROSTER, EMO),
        ("hosts/devvm.example.org.yaml", host),
        ("hosts/all.yaml", ""),
        ("hosts/none.yaml", "admits: []\n"),
    ]);
    let hosts = read(&files).unwrap().0.hosts;
    let devvm = &hosts["devvm.example.org"];
    assert!(devvm.admits(Tier::Admin) && !devvm.admits(Tier::NamespaceOwner));
    assert_eq!(devvm.tiers[&Tier::Admin].groups.as_deref(), Some(&[][..]));
    assert!(hosts["all"].admits(Tier::NamespaceOwner));
    assert!(!hosts["none"].admits(Tier::Admin));
}

#[test]
fn each_fault_of_tiers_and_hosts_has_its_place_and_its_rule() {
    for (path, text, expected) in [
        (TIERS, "tier: {}\n", "1:1 unknown-field"),
        (TIERS, "tiers: [admin]\n", "1:8 wrong-type"),
        (TIERS, "tiers:\n  root: {}\n", "2:3 unknown-tier"),
        (
            TIERS,
            "tiers:\n  admin: {}\n  admin: {}\n",
            "3:3 duplicate-key",
        ),
        (TIERS, "tiers:\n  admin:\n", "2:3 wrong-type"),
        (
            TIERS,
            "tiers:\n  admin: {groups: docker}\n",
            "2:19 wrong-type",
        ),
        (
            TIERS,
            "tiers:\n  admin: {groups: [docker, docker]}\n",
            "2:28 duplicate-entry",
        ),
        (
            TIERS,
            "tiers:\n  admin: {groups: [\"a:b\"]}\n",
            "2:20 group-form",
        ),
        (
            TIERS,
            "tiers:\n  admin: {groups: [docker, emo]}\n",
            "2:28 own-group",
        ),
        (
            "hosts/a.yaml",
            "tiers:\n  admin: {groups: [emo]}\n",
            "2:20 own-group",
        ),
        (TIERS, "tiers:\n  admin: {shell: zsh}\n", "2:18 shell-form"),
        (
            TIERS,
            "tiers:\n  admin: {shell: /bin/../sh}\n",
            "2:18 shell-form",
        ),
        (
            TIERS,
            "tiers:\n  admin: {shell: \"/bin/sh:\"}\n",
            "2:18 shell-form",
        ),
        (
            TIERS,
            "tiers:\n  admin: {instance: no}\n",
            "2:21 wrong-type",
        ),
        ("hosts/a.yaml", "admits: admin\n", "1:9 wrong-type"),
        ("hosts/a.yaml", "admits:\n", "1:1 wrong-type"),
        (
            "hosts/a.yaml",
            "admits: [admin, admin]\n",
            "1:17 duplicate-entry",
        ),
        ("hosts/a.yaml", "admits: [king]\n", "1:10 unknown-tier"),
        ("hosts/a.yaml", "admit: []\n", "1:1 unknown-field"),
    ] {
        let found = read(&files(&[(ROSTER, EMO), (path, text)])).expect_err(text);
        assert_eq!(places(&found), [format!("{path}:{expected}")], "{text}");
    }
}

#[test]
fn files_that_are_nearly_called_right_do_not_pass_silently() {
    for (path, to) in [
        ("roster.yml", "rename it to roster.yaml"),
        ("Roster.yaml", "rename it to roster.yaml"),
        ("TIERS.YML", "rename it to tiers.yaml"),
        ("hosts/x.yml", "rename it to hosts/x.yaml"),
        ("Hosts/x.yaml", "rename it to hosts/x.yaml"),
        ("hosts/X.yaml", "rename it to hosts/x.yaml"),
        (
            "hosts/a_b.yaml",
            "rename it to hosts/<host>.yaml, where <host> is the lower-case DNS name of the host",
        ),
        (
            "hosts/a/b.yaml",
            "rename it to hosts/<host>.yaml, where <host> is the lower-case DNS name of the host",
        ),
    ] {
        let found = read(&files(&[(ROSTER, EMO), (path, "")])).expect_err(path);
        assert_eq!(places(&found), [format!("{path} file-name")]);
        assert_eq!(found.iter().next().unwrap().help.as_deref(), Some(to));
    }
    let files = files(&[
        (ROSTER, EMO),
        ("rosters.yaml", "x"),
        ("README.md", "x"),
        ("guests/a.yml", "x"),
        ("hosts/README.md", "x"),
    ]);
    assert_eq!(
        places(&read(&files).unwrap().1),
        ["guests/a.yml not-read", "rosters.yaml file-name"]
    );
}

#[test]
fn without_a_roster_nothing_is_read() {
    assert_eq!(
        places(&read(&files(&[(TIERS, "")])).unwrap_err()),
        ["roster.yaml missing-file"]
    );
}

#[test]
fn a_syntax_error_is_the_last_word_on_its_file() {
    let found = refused("users:\n  Emo: {authentik_user: a}\n  bob: [\n");
    let rules: Vec<&str> = found.iter().map(|diagnostic| diagnostic.rule).collect();
    assert_eq!(
        rules,
        [
            "missing-field",
            "missing-field",
            "os-user-form",
            "wrong-type",
            "yaml-syntax"
        ]
    );
}
