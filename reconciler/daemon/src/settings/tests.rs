use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use muster_forge::github;
use muster_forge::secret::SecretFile;

use super::fragment::{FleetFragment, ForgeFragment, HttpFragment};
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

/// Loads a copy in a directory of our own, with the modes that settings must have.
fn load_copy(text: &str) -> Result<Settings, SettingsError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("muster.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut loaded = load(&path, &ambient());
    if let Err(SettingsError { problems }) = &mut loaded {
        for problem in problems {
            problem.place.file = problem
                .place
                .file
                .replace(&format!("{}/", dir.path().display()), "")
                .into();
        }
    }
    loaded
}

/// The settings that the package installs, the same with every key in force, and with those too that exclude another one.
fn shipped() -> (String, String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/muster.toml");
    let text = fs::read_to_string(path).unwrap();
    let key = |line: &&str| {
        let word = line.strip_prefix("# ").and_then(|it| it.split_once(" = "));
        word.is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
    };
    let in_force = text
        .lines()
        .map(|line| if key(&line) { &line[2..] } else { line })
        .collect::<Vec<_>>()
        .join("\n");
    let everything = in_force.replace("\n# or ", "\n");
    (text, in_force, everything)
}

#[test]
fn the_settings_of_the_package_show_every_key_with_its_default() {
    let (text, in_force, everything) = shipped();
    let without_place = |text: &str| Settings {
        trust: PathBuf::new(),
        ..load_copy(text).unwrap()
    };
    assert_eq!(without_place(&text), without_place(""));

    let mut problems = Vec::new();
    let fragment = Fragment::read(&"muster.toml".into(), &everything, &mut problems);
    assert_eq!(problems, []);
    // Taken apart without a rest, so that a new key has to be shown.
    #[rustfmt::skip]
    let Fragment {
        url, branch, poll, drift, dir, name, root, shells, privileged_groups, protected, shared_primary_groups, nologin, service_group,
        declared_benign, units, environment, login_map, dispatch, admins, k8s_users, ports, removals, share, min_admins, retry_after,
        archives, grace_days, home_roots, recipients, age, notes, level, log_format,
        fleet: FleetFragment { roles, ledger, hosts, stale, name: replica },
        forge: ForgeFragment { kind, url: api, repository, app, installation, app_key, token, drift_issue, status },
        http: HttpFragment { listen, certificate, key, webhook_secret },
    } = fragment;
    let texts = [
        url,
        branch,
        poll,
        drift,
        dir,
        name,
        root,
        nologin,
        service_group,
        environment,
        login_map,
        dispatch,
        admins,
        k8s_users,
        retry_after,
        archives,
        age,
        level,
        log_format,
        ledger,
        hosts,
        stale,
        replica,
        kind,
        api,
        repository,
        app_key,
        token,
        status,
        listen,
        certificate,
        key,
        webhook_secret,
    ];
    let lists = [
        shells,
        privileged_groups,
        protected,
        shared_primary_groups,
        declared_benign,
        units,
        home_roots,
        recipients,
        roles,
    ];
    let numbers = [removals, share, min_admins, grace_days, app, installation];
    assert!(texts.iter().all(Option::is_some), "{texts:?}");
    assert!(lists.iter().all(Option::is_some), "{lists:?}");
    assert!(numbers.iter().all(Option::is_some), "{numbers:?}");
    assert!(notes.is_some() && drift_issue.is_some());
    assert_eq!(ports.len(), 2);

    let (shown, default) = (
        load_copy(&in_force).unwrap(),
        load_copy("[instance]\nunits = [\"t3-serve@.service\"]\n").unwrap(),
    );
    assert!(shown.url.is_some());
    let compared = |it: &Settings| {
        let (branch, dir, root) = (it.branch.clone(), it.dir.clone(), it.root.clone());
        let limits = (it.poll, it.drift, it.policy.limits, it.notes, it.level);
        let shells = (it.policy.shells.clone(), it.policy.nologin.clone());
        let archives = (
            it.archives.clone(),
            it.home_roots.clone(),
            it.policy.grace_days,
        );
        let fleet = (it.roles.clone(), it.hosts.clone(), it.stale);
        (
            branch,
            dir,
            root,
            limits,
            shells,
            archives,
            it.policy.families.clone(),
            fleet,
        )
    };
    assert_eq!(compared(&shown), compared(&default));
    let plain =
        load_copy("[forge]\nkind = \"github\"\nrepository = \"team/state\"\ntoken = \"t\"\n");
    let (shown, plain) = (shown.forge.unwrap(), plain.unwrap().forge.unwrap());
    assert_eq!((&shown.context, shown.drift), (&plain.context, plain.drift));
    let base = |it: &ForgePlace| match it {
        ForgePlace::GitHub(it) => it.base.clone(),
        ForgePlace::Forgejo(it) => it.base.clone(),
    };
    assert_eq!(base(&shown.place), base(&plain.place));
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let settings = load_copy("").unwrap();
    assert_eq!(settings.roles, BTreeSet::from([Role::Agent, Role::Bot]));
    assert_eq!(settings.replica, "Devvm.example.org-5eed");
    assert_eq!(settings.stale, Duration::from_secs(900));
    assert_eq!((settings.forge, settings.http), (None, None));
    assert_eq!(settings.policy.executor.host, "devvm");
    assert_eq!(settings.branch, "refs/heads/main");
    assert_eq!(settings.poll, Duration::from_secs(30));
    assert_eq!(settings.drift, Duration::from_secs(300));
    assert_eq!(settings.dir, Path::new("/var/lib/muster"));
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
        if std::env::var_os("UPDATE").is_some() {
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
        settings.url,
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
    let environment = settings.environment.unwrap();
    assert_eq!(
        environment.fill("emo"),
        Path::new("/etc/muster/instances/t3-emo.env")
    );
    assert_eq!(environment.dir(), Path::new("/etc/muster/instances"));
    assert_eq!(environment.affixes(), ("t3-", ".env"));
    assert_eq!(settings.policy.aggregates.len(), 3);
    assert_eq!(settings.notes, Notes::Omit);
    assert_eq!(settings.level, Level::Debug);
    assert_eq!(settings.log_format, Some(LogFormat::Json));
    assert_eq!(settings.policy.limits.min_admins, 0);
    assert_eq!(settings.roles, BTreeSet::from([Role::Agent]));
    assert_eq!(settings.stale, Duration::from_secs(3_600));
    assert_eq!(settings.hosts, Path::new("/etc/muster/fleet"));
    assert_eq!(settings.replica, "bot-1");
    assert!(matches!(settings.ledger, Some(Origin::Remote { .. })));
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
fn the_bot_of_the_package_begins_with_settings_that_load() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/bot.toml");
    let settings = load_copy(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(settings.roles, BTreeSet::from([Role::Bot]));
    assert!(settings.url.is_some() && settings.ledger.is_some());
    // The credentials are those that the unit loads.
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/muster-bot.service");
    let unit = fs::read_to_string(unit).unwrap();
    let ForgePlace::GitHub(github::Settings {
        identity: github::Identity::App { key, .. },
        ..
    }) = settings.forge.unwrap().place
    else {
        panic!("it shows an app");
    };
    let secret = settings.http.unwrap().webhook_secret.unwrap();
    for file in [key, secret] {
        let name = file.path().file_name().unwrap().to_str().unwrap();
        assert!(
            unit.contains(&format!("\nLoadCredential={name}\n")),
            "{name}"
        );
    }
    assert!(unit.contains("StateDirectory=muster-bot\n"));
    assert_eq!(settings.dir, Path::new("/var/lib/muster-bot"));
}

#[test]
fn the_app_asks_for_what_it_needs_and_the_readme_for_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let manifest = fs::read_to_string(root.join("deploy/github-app.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let link = readme.split("settings/apps/new?").nth(1).unwrap();
    let mut asked: Vec<&str> = link.split('`').next().unwrap().split('&').collect();
    let mut wanted: Vec<String> = ["name=muster-ORG", "url=https://HOST", "public=false"]
        .into_iter()
        .chain([
            "webhook_active=true",
            "webhook_url=https://HOST/webhook/github",
        ])
        .map(str::to_owned)
        .collect();
    for (what, access) in manifest["default_permissions"].as_object().unwrap() {
        wanted.push(format!("{what}={}", access.as_str().unwrap()));
    }
    for event in manifest["default_events"].as_array().unwrap() {
        wanted.push(format!("events[]={}", event.as_str().unwrap()));
    }
    asked.sort();
    wanted.sort();
    assert_eq!(asked, wanted);
    // It reads content, and can write none.
    assert_eq!(manifest["default_permissions"]["contents"], "read");
    assert_eq!(manifest["public"], false);
}

#[test]
fn an_app_is_known_by_its_number_and_key() {
    let text = "[forge]\nkind = \"github\"\nrepository = \"team/state\"\napp = 7\napp_key = \"/etc/muster/key.pem\"\n";
    let forge = load_copy(text).unwrap().forge.unwrap();
    let ForgePlace::GitHub(github::Settings { base, identity, .. }) = forge.place else {
        panic!("{forge:?}");
    };
    assert_eq!(base.to_string(), "https://api.github.com");
    let key = SecretFile::at("/etc/muster/key.pem");
    let installation = None;
    assert_eq!(
        identity,
        github::Identity::App {
            app: 7,
            installation,
            key,
        }
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
    assert_eq!(settings.replica, "_-5eed");
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
    assert_eq!(settings.policy.executor.host, "three");
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
