use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_forge::github;
use muster_forge::secret::SecretFile;
use muster_git::Origin;

use super::*;

fn ambient() -> Ambient {
    Ambient {
        hostname: "Devvm.example.org".into(),
        account: Some("root".into()),
        credentials: Some("/run/credentials/muster.service".into()),
        process: "5eed".into(),
    }
}

fn samples(kind: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/settings")
        .join(kind);
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// Whether golden files are written instead of compared.
pub(super) fn update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// Loads a copy in a directory of our own, with the modes that settings must have.
pub(super) fn load_copy(text: &str) -> Result<Settings, SettingsError> {
    load_both(text, "")
}

/// The same with a second file that is laid over the first.
pub(super) fn load_both(text: &str, later: &str) -> Result<Settings, SettingsError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("muster.toml");
    let more = dir.path().join("muster.toml.d");
    fs::create_dir(&more).unwrap();
    fs::set_permissions(&more, fs::Permissions::from_mode(0o755)).unwrap();
    for (path, text) in [(&path, text), (&more.join("later.toml"), later)] {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let mut loaded = load(&path, &ambient());
    match &mut loaded {
        Ok(settings) => settings.trust = PathBuf::new(),
        Err(SettingsError { problems }) => {
            for problem in problems {
                let file = &mut problem.place.file;
                *file = file
                    .replace(&format!("{}/", dir.path().display()), "")
                    .into();
            }
        }
    }
    loaded
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let settings = load_copy("").unwrap();
    assert_eq!(settings.fleet.roles, [Role::Agent, Role::Bot].into());
    assert_eq!(settings.fleet.replica, "Devvm.example.org-5eed");
    assert_eq!(settings.fleet.stale, Duration::from_secs(900));
    assert_eq!((settings.forge, settings.http), (None, None));
    assert_eq!(settings.policy.executor.name(), "devvm");
    assert_eq!(settings.state.branch, "refs/heads/main");
    assert_eq!(settings.state.poll, Duration::from_secs(30));
    assert_eq!(settings.state.drift, Duration::from_secs(300));
    assert_eq!(settings.state.dir, Path::new("/var/lib/muster"));
    assert_eq!(settings.policy.families, []);
    assert!(settings.policy.protected.contains("root"));
    let mut policy = Policy::for_host("devvm");
    policy.protected.insert("root".into());
    assert_eq!(settings.policy, policy);
}

#[test]
fn valid_samples_load_and_invalid_ones_say_everything_that_is_wrong() {
    for path in samples("valid") {
        let text = fs::read_to_string(&path).unwrap();
        load_copy(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let mut expected: Vec<PathBuf> = Vec::new();
    for path in samples("invalid")
        .into_iter()
        .filter(|it| it.extension().is_some_and(|it| it == "toml"))
    {
        let said = load_copy(&fs::read_to_string(&path).unwrap())
            .unwrap_err()
            .to_string()
            + "\n";
        let golden = path.with_extension("txt");
        if update() {
            fs::write(&golden, &said).unwrap();
        }
        assert_eq!(
            said,
            fs::read_to_string(&golden).unwrap_or_default(),
            "{}",
            path.display()
        );
        expected.extend([path, golden]);
    }
    assert_eq!(
        samples("invalid"),
        expected,
        "a golden file without its input"
    );
}

#[test]
fn a_full_file_reaches_every_field() {
    let text = fs::read_to_string(
        samples("valid")
            .into_iter()
            .find(|it| it.ends_with("full.toml"))
            .unwrap(),
    )
    .unwrap();
    let settings = load_copy(&text).unwrap();
    assert_eq!(
        settings.state.url,
        Some(Origin::Local("/srv/git/state.git".into()))
    );
    assert_eq!(
        settings.policy.units,
        ["t3-serve@.service", "playwright-mcp@.service"]
    );
    let names: Vec<&str> = settings
        .policy
        .families
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(names, ["zeta", "alpha"], "in the order of their ports");
    let environment = settings.instance.environment.unwrap();
    assert_eq!(
        environment.fill("emo"),
        Path::new("/etc/muster/instances/t3-emo.env")
    );
    assert_eq!(environment.dir(), Path::new("/etc/muster/instances"));
    assert_eq!(environment.affixes(), ("t3-", ".env"));
    assert_eq!(settings.policy.aggregates.len(), 3);
    assert_eq!(settings.report.notes, Notes::Omit);
    assert_eq!(settings.log.level, Level::Debug);
    assert_eq!(settings.log.format, Some(LogFormat::Json));
    assert_eq!(settings.policy.limits.min_admins, 0);
    assert_eq!(settings.fleet.roles, [Role::Agent].into());
    assert_eq!(settings.fleet.stale, Duration::from_secs(3_600));
    assert_eq!(settings.fleet.hosts, Path::new("/etc/muster/fleet"));
    assert_eq!(settings.fleet.replica, "bot-1");
    assert!(matches!(settings.fleet.ledger, Some(Origin::Remote { .. })));
    let forge = settings.forge.unwrap();
    assert_eq!(
        (forge.context.as_str(), forge.drift),
        ("roster/plan", DriftIssue::Omit)
    );
    let secret = |name: &str| SecretFile::at(format!("/run/credentials/muster.service/{name}"));
    let ForgePlace::Forgejo(forge) = forge.place else {
        panic!("{forge:?}");
    };
    assert_eq!(forge.base.to_string(), "https://code.example/api/v1");
    assert_eq!(forge.repository.to_string(), "team/state");
    assert_eq!(forge.token, secret("forge-token"));
    let http = settings.http.unwrap();
    assert_eq!(http.listen, "[::]:8472".parse().unwrap());
    assert_eq!(
        http.tls,
        Some(TlsFiles {
            certificate: "/etc/muster/tls/certificate.pem".into(),
            key: SecretFile::at("/etc/muster/tls/key.pem"),
        })
    );
    assert_eq!(http.webhook_secret, Some(secret("webhook-secret")));
    assert!(
        settings.policy.is_privileged_group("deploy")
            && settings.policy.is_privileged_group("docker")
    );
}

#[test]
fn a_bot_needs_no_name_of_a_host_and_a_person_at_the_console_no_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bot.toml");
    let nameless = Ambient {
        hostname: "_".into(),
        account: None,
        credentials: None,
        process: "5eed".into(),
    };
    fs::write(&path, "[fleet]\nroles = [\"bot\"]\n[forge]\nkind = \"github\"\nrepository = \"a/b\"\ntoken = \"t\"\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let settings = load(&path, &nameless).unwrap();
    assert_eq!(settings.fleet.replica, "_-5eed");
    let forge = settings.forge.unwrap();
    let ForgePlace::GitHub(github::Settings {
        identity: github::Identity::Token(token),
        ..
    }) = forge.place
    else {
        panic!("{forge:?}");
    };
    let error = token.read().unwrap_err().to_string();
    assert!(error.contains("`t` was not handed over"), "{error}");
}

#[test]
fn later_files_are_laid_over_earlier_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("muster.toml");
    fs::write(&path, "[host]\nname = \"one\"\n[instance]\nunits = [\"a@.service\"]\n[ports]\nt3 = [2000, 2100]\n").unwrap();
    let more = dir.path().join("muster.toml.d");
    fs::create_dir(&more).unwrap();
    fs::write(more.join("20-b.toml"), "[host]\nname = \"three\"\n").unwrap();
    fs::write(
        more.join("10-a.toml"),
        "[host]\nname = \"two\"\n[ports]\nweb = [2200, 2300]\n",
    )
    .unwrap();
    fs::write(more.join("README"), "not settings").unwrap();
    for file in [&path, &more.join("20-b.toml"), &more.join("10-a.toml")] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let settings = load(&path, &ambient()).unwrap();
    assert_eq!(settings.policy.executor.name(), "three");
    assert_eq!(settings.policy.families.len(), 2);
    assert_eq!(settings.policy.units, ["a@.service"]);
}

#[test]
fn a_file_that_others_could_have_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("muster.toml");
    let says = |words: &str| {
        let error = load(&path, &ambient()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    says("is not there");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
    says("can be written by others than its owner (mode 0664)");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    load(&path, &ambient()).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    says("can be written by others than its owner (mode 0777)");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("elsewhere.toml", &path).unwrap();
    says("is a symbolic link");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    says("is no regular file");
}

#[test]
fn a_machine_without_a_usable_name_must_be_given_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("muster.toml");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let nameless = Ambient {
        hostname: "_".into(),
        account: None,
        credentials: None,
        process: "5eed".into(),
    };
    let error = load(&path, &nameless).unwrap_err().to_string();
    assert!(error.contains("[host] name"), "{error}");
}

/// H1: all that a section of a hypervisor says comes to what plans and acts go by.
#[test]
fn a_hypervisor_is_what_its_section_says() {
    let all = samples("valid");
    let path = all.iter().find(|it| it.ends_with("guests.toml")).unwrap();
    let text = fs::read_to_string(path).unwrap();
    let settings = load_copy(&text).unwrap();
    assert!(!settings.keeps_host);
    let [lab, pve] = settings.guests.as_slice() else {
        panic!("{:#?}", settings.guests);
    };
    assert_eq!(lab.policy.executor.to_string(), "guests/lab");
    assert_eq!(
        lab.entrance,
        Entrance::IncusHere {
            url: "unix:/var/lib/incus/unix.socket".into(),
            project: "default".into(),
        }
    );
    // Over a socket all is one right: what may be done there stands in `scratch` alone.
    assert_eq!(lab.create_token, Credential::None);
    assert_eq!(lab.release_token, Credential::Socket);
    let credential = |name: &str| SecretFile::at(format!("/run/credentials/muster.service/{name}"));
    assert_eq!(
        pve.entrance,
        Entrance::Proxmox {
            url: "https://pve1.example.org".into(),
            node: "pve1".into(),
            authority: Authority::Signed("/etc/muster/pve1-ca.pem".into()),
            token: credential("pve1"),
        }
    );
    assert_eq!(pve.create_token, Credential::Own(credential("pve1-create")));
    assert_eq!(
        pve.release_token,
        Credential::Own(SecretFile::at("/etc/muster/release"))
    );
    assert_eq!((pve.parallel, pve.timeout.as_secs()), (8, 90));
    let policy = &pve.policy;
    assert_eq!(
        policy.protected,
        ["100".to_owned(), "web1".to_owned()].into()
    );
    assert_eq!(policy.own.as_deref(), Some("104"));
    assert_eq!((policy.limits.removals, policy.limits.share), (5, 10));
    assert!(policy.create_token && policy.release_token && policy.force_stop);
    assert!(!policy.rehearse_start);
    assert_eq!(policy.grace_days, 30);
    assert_eq!(policy.create.memory, 16 << 10);
    assert_eq!(policy.create.devices, ["gpu".to_owned()].into());
    assert_eq!(pve.devices["gpu"].len(), 2);
    let size = policy.create.sizes[1];
    assert_eq!((size.cores, size.memory), (2, 2_048));
    // None of it is the host's.
    assert_eq!(settings.policy.limits.removals, 3);
    assert_eq!(settings.policy_of(&policy.executor).limits().removals, 5);
}

/// A file laid over another one adds to the hypervisor of that name, and other names are others.
#[test]
fn later_files_say_more_of_the_same_hypervisor() {
    let first =
        "[[guests]]\nname = \"lab\"\nkind = \"incus\"\nurl = \"unix:/run/x\"\nparallel = 2\n";
    let later = "[[guests]]\nname = \"lab\"\nparallel = 6\n[[guests]]\nname = \"air\"\nkind = \"incus\"\nurl = \"unix:/run/y\"\n";
    let settings = load_both(first, later).unwrap();
    let all = settings
        .guests
        .iter()
        .map(|it| (it.name().to_owned(), it.parallel));
    assert_eq!(
        all.collect::<Vec<_>>(),
        [("air".to_owned(), 4), ("lab".to_owned(), 6)]
    );
}
