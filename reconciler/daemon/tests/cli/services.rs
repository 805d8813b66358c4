//! `muster services`: owner responses at the console.

use super::*;

/// A1, A12, A13, W2: the options of the program before, its exit codes, and what it says where.
#[test]
fn services_report_is_called_as_the_program_before_it() {
    let bench = Bench::new();
    let (inventory, requests) = (
        include_str!("../../../core/tests/golden/services/inventory.json"),
        include_str!("../../../core/tests/golden/services/requests.json"),
    );
    bench.write(
        "docs/security/host-service-config-inventory.snapshot.json",
        inventory,
    );
    bench.write(
        "docs/security/host-service-owner-request-draft.snapshot.json",
        requests,
    );
    let golden = include_str!("../../../core/tests/golden/services/report.json");
    let report = |args: &[&str]| {
        let mut command = command();
        command.args(["services", "report"]).args(args);
        command.current_dir(bench.dir.path()).output().unwrap()
    };
    let at = "2026-06-15T14:51:25+08:00";
    let printed = report(&["--gen", at]);
    assert_eq!(printed.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&printed.stdout) == golden);
    let line = "HOST_SERVICE_OWNER_RESPONSE_ACCEPTANCE_OK candidates=3 write_capable=2 checks=21 lanes=8 accepted=0 runtime_gate=0\n";
    assert_eq!(String::from_utf8_lossy(&printed.stderr), line);
    let written = report(&[
        "--root=docs/..",
        "--generated-at",
        at,
        "--output",
        "made/for/it.json",
    ]);
    assert_eq!((written.status.code(), written.stdout.len()), (Some(0), 0));
    assert!(fs::read_to_string(bench.path("made/for/it.json")).unwrap() == golden);
    // An empty time or output is as good as none.
    let now = report(&["--generated-at", "", "--output", ""]);
    let text = String::from_utf8_lossy(&now.stdout).into_owned();
    let time = text
        .split("\"generated_at\": \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert!(time.len() == 25 && time.ends_with("+08:00"), "{time}");
    bench.write("broken.json", "{\"request_drafts\": [{}]}");
    for (args, said) in [
        (
            &["--owner-request-report", "broken.json"][..],
            "request_drafts[0] has no \"surface_id\"",
        ),
        (
            &["--inventory-report", "none.json"],
            "cannot read ./none.json",
        ),
    ] {
        let failed = report(args);
        assert_eq!((failed.status.code(), failed.stdout.len()), (Some(1), 0));
        assert!(
            String::from_utf8_lossy(&failed.stderr).contains(said),
            "{failed:?}"
        );
    }
    // A value with a space in it is no option, whatever it begins with.
    let spaced = report(&["--generated-at", "-a b"]);
    assert!(String::from_utf8_lossy(&spaced.stdout).contains("\"generated_at\": \"-a b\""));
    for wrong in [&["--o", "x"][..], &["--nothing"], &["x"], &["--root"]] {
        assert_eq!(report(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// A11: what git would say in that directory.
#[test]
fn a11_services_report_tells_the_commit_as_git_does() {
    let bench = Bench::new();
    bench.write("a/i.json", "{}");
    let told = |dir: &str| {
        let root = bench.path(dir);
        let mut command = command();
        command.args(["services", "report", "--inventory-report", "../a/i.json"]);
        command.args([
            "--owner-request-report",
            "../a/i.json",
            "--generated-at",
            "x",
            "--root",
        ]);
        let output = command
            .arg(root)
            .env("GIT_CEILING_DIRECTORIES", bench.dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let commit = text.split("\"git_commit\": \"").nth(1).expect("a commit");
        commit.split('"').next().unwrap().to_owned()
    };
    assert_eq!(told("a"), "unknown", "no repository");
    fs::create_dir(bench.path("origin")).unwrap();
    bench.git(&["init", "--quiet"]);
    assert_eq!(told("origin"), "unknown", "no commit");
    let commit = bench.commit("users: {}\n");
    assert_eq!(told("origin"), commit[..7]);
    bench.git(&["config", "core.abbrev", "12"]);
    assert_eq!(told("origin"), commit[..12]);
    for (value, wanted) in [
        ("100", commit.as_str()),
        ("no", &commit),
        ("010", &commit[..8]),
        ("true", "unknown"),
        ("3", "unknown"),
        ("abc", "unknown"),
    ] {
        bench.git(&["config", "core.abbrev", value]);
        assert_eq!(told("origin"), wanted, "core.abbrev = {value}");
    }
    bench.git(&["config", "core.abbrev", "auto"]);
    assert_eq!(told("origin"), commit[..7]);
    bench.git(&["config", "core.repositoryformatversion", "1"]);
    bench.git(&["config", "extensions.nobody", "true"]);
    assert_eq!(told("origin"), "unknown", "a format that git does not know");
}

/// W6, W7, LB3, LB5: what fails and what only waits, in three formats, and no line of an answer in any.
#[test]
fn services_check_and_status_tell_lanes_and_places() {
    let bench = Bench::new();
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let requests = format!(
        r#"{{"request_drafts": [{{"request_id": "r", "surface_id": "edge", "label": "", "expected_host_scope": "", "config_kind": "", "service_scope": "",
        "control_tier": "", "repo_source_path": "edge.yml", "repo_sha256": "{digest}", "source_line_count": 0, "write_capable_surface": false,
        "requires_live_evidence": false, "required_owner_fields": []}}]}}"#
    );
    bench.write("repo/roster.yaml", ROSTER);
    bench.write("repo/services/requests.json", &requests);
    bench.write("repo/edge.yml", "");
    let run = |what: &str, format: &str| {
        let mut command = command();
        command.args(["services", what, "--format", format]);
        command.arg(bench.path("repo")).output().unwrap()
    };
    says(
        &run("status", "human"),
        exit::OK,
        "edge: waiting_owner_response",
    );
    says(&run("check", "human"), exit::OK, "");

    let answer =
        format!("owner_role_or_team: [zed]\nrepo_sha256: {digest}\ndecision: hunter2 hunter2\n");
    bench.write("repo/services/responses/edge.yaml", &answer);
    let output = run("check", "human");
    says(
        &output,
        exit::OK,
        "services/responses/edge.yaml: warning: decision_reason is missing [decision_reason_present]",
    );
    assert!(
        !said(&output).contains("hunter2"),
        "no line of an answer is shown"
    );

    // One byte of the configuration more.
    bench.write("repo/edge.yml", "a: 1\n");
    says(
        &run("check", "human"),
        exit::FAILED,
        "services/responses/edge.yaml:2:14: error: stale: the configuration is not what it was when it was asked about [stale]",
    );
    let json: serde_json::Value = serde_json::from_slice(&run("check", "json").stdout).unwrap();
    let all = json["diagnostics"].as_array().unwrap();
    assert!(
        all.iter()
            .any(|it| it["rule"] == "stale" && it["line"] == 2),
        "{json:#}"
    );
    says(
        &run("check", "github"),
        exit::FAILED,
        "::error file=services/responses/edge.yaml,line=2,col=14,title=stale::",
    );
    let is_stale = || {
        let json: serde_json::Value =
            serde_json::from_slice(&run("status", "json").stdout).unwrap();
        assert_eq!(json["surfaces"]["edge"]["lane"], "request_supplement");
        assert_eq!(json["surfaces"]["edge"]["stale"], true);
    };
    is_stale();
    // Taken out, or a link to the very same bytes, or a folder.
    let config = bench.path("repo/edge.yml");
    fs::remove_file(&config).unwrap();
    is_stale();
    bench.write("same.yml", "");
    std::os::unix::fs::symlink(bench.path("same.yml"), &config).unwrap();
    is_stale();
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    is_stale();

    bench.write(
        "repo/services/responses/edge.yaml",
        &answer.replace("hunter2 hunter2", "[hunter2hunter2"),
    );
    for what in ["check", "status"] {
        let output = run(what, "human");
        assert_eq!(
            output.status.code(),
            Some(i32::from(exit::FAILED)),
            "{what}"
        );
        assert!(!said(&output).contains("hunter2"), "{}", said(&output));
    }
    let output = command()
        .args(["check"])
        .arg(bench.path("repo"))
        .output()
        .unwrap();
    says(&output, exit::FAILED, "services/responses/edge.yaml:");
    assert!(!said(&output).contains("hunter2"), "{}", said(&output));
}

/// W7, LB5: what is missing is told with where and what to do; a name that is a secret is repeated nowhere; what others read is no
/// business of these commands.
#[test]
fn w7_services_say_what_is_missing_and_repeat_no_name_that_is_a_secret() {
    let bench = Bench::new();
    bench.write("repo/roster.yaml", ROSTER);
    let run = |args: &[&str]| {
        command()
            .args(args)
            .arg(bench.path("repo"))
            .output()
            .unwrap()
    };
    let missing = "services/requests.json: warning: the file is missing in ";
    says(&run(&["services", "status"]), exit::FAILED, missing);
    says(
        &run(&["services", "status"]),
        exit::FAILED,
        "write the owner requests there",
    );
    says(&run(&["services", "check"]), exit::OK, missing);
    bench.write("repo/services/responses/edge.yaml", "decision: keep\n");
    let missing = missing.replace("warning", "error");
    says(&run(&["services", "check"]), exit::FAILED, &missing);

    bench.write("repo/services/requests.json", "{}");
    let plain = said(&run(&["services", "check"]));
    bench.write("repo/guests/lab.yaml", "guests: {}\n");
    assert_eq!(
        said(&run(&["services", "check"])),
        plain,
        "guests are read by others"
    );
    for name in ["password-hunter22", "AKIAIOSFODNN7EXAMPLE", "pw hunter22"] {
        let file = bench.path(&format!("repo/services/responses/{name}.yaml"));
        fs::write(&file, "decision: keep\n").unwrap();
        for args in [
            &["services", "check"][..],
            &["services", "check", "--format", "json"],
            &["services", "check", "--format", "github"],
            &["services", "status"],
            &["services", "status", "--format", "json"],
            &["check"],
        ] {
            let output = run(args);
            assert_eq!(
                output.status.code(),
                Some(i32::from(exit::FAILED)),
                "{args:?}"
            );
            let text = said(&output);
            assert!(
                !text.contains("hunter22") && !text.contains("AKIA"),
                "{args:?}: {text}"
            );
        }
        says(
            &run(&["check"]),
            exit::FAILED,
            "tells a secret, and is not repeated here",
        );
        // Nor where it cannot be read at all.
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
        let output = run(&["services", "check"]);
        says(&output, exit::NO_INPUT, "a symbolic link");
        assert!(!said(&output).contains("hunter22") && !said(&output).contains("AKIA"));
        fs::remove_file(&file).unwrap();
    }
}

/// W9, LB10: a missing inventory is told of, one that is dated ahead fails, and a record of attributions that cannot be used says what is
/// wrong in it, where, and what to do.
#[test]
fn lb10_services_look_at_the_inventory_and_at_the_record_of_attributions() {
    let bench = Bench::new();
    bench.write("repo/roster.yaml", ROSTER);
    bench.write("repo/services/requests.json", r#"{"request_drafts": []}"#);
    let run = |more: &[&str]| {
        let mut command = command();
        command.args(["services", "check"]).args(more);
        command.arg(bench.path("repo")).output().unwrap()
    };
    says(
        &run(&[]),
        exit::OK,
        "services/inventory.json: warning: the file is missing in ",
    );
    let inventory = r#"{"generated_at": "2931-01-01T00:00:00+00:00", "surfaces": []}"#;
    bench.write("repo/services/inventory.json", inventory);
    says(
        &run(&[]),
        exit::FAILED,
        "days from now, and would never grow old",
    );

    fs::remove_file(bench.path("repo/services/inventory.json")).unwrap();
    let record = bench.path("record.json");
    let record = record.to_str().unwrap();
    let good = r#"{"format": 2, "files": {"services/responses/edge.yaml": {"00": [{"by": {"forge": "amara-o"}, "on": "pull/7"}]}}}"#;
    bench.write("record.json", good);
    says(&run(&["--attributions", record]), exit::OK, "");
    for (text, why) in [
        (good.replace("files", "fils"), "unknown field `fils`"),
        (good.replace("forge", "forg"), "unknown variant `forg`"),
        ("format: 2".to_owned(), "at line 1 column 2"),
        ("{}".to_owned(), "missing field `format`"),
    ] {
        bench.write("record.json", &text);
        let output = run(&["--attributions", record]);
        says(&output, exit::FAILED, why);
        says(&output, exit::FAILED, "deploy/README.md");
    }
    bench.write(
        "record.json",
        r#"{"format": 2, "token=kT9vQ2mX7wZ4bN8c": 1}"#,
    );
    let output = run(&["--attributions", record]);
    says(&output, exit::FAILED, "it is no record of attributions");
    assert!(!said(&output).contains("kT9vQ2mX"), "{}", said(&output));
}

/// W8, A13: with no network and no other process to be had, every byte is what it is otherwise.
#[test]
fn w8_services_run_where_nothing_can_be_reached_or_started() {
    let bench = Bench::new();
    bench.commit(ROSTER);
    let inputs = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/golden/services");
    for name in ["inventory.json", "requests.json"] {
        fs::copy(
            format!("{inputs}/{name}"),
            bench.path(&format!("origin/{name}")),
        )
        .unwrap();
    }
    let root = bench.path("origin");
    let root = root.to_str().unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../state-repo-example");
    let report = [
        "services",
        "report",
        "--root",
        root,
        "--inventory-report",
        "inventory.json",
        "--owner-request-report",
        "requests.json",
        "--generated-at",
        "2026-06-15T14:51:25+08:00",
    ];
    for args in [
        &report[..],
        &["services", "status", example],
        &["services", "check", example, "--format", "json"],
    ] {
        let plain = command().args(args).output().unwrap();
        // The first program is muster itself; whatever it would start or reach is refused.
        let refused = Command::new("strace")
            .args(["-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null"])
            .args([
                "-e",
                "inject=%network:error=EPERM",
                "-e",
                "inject=clone,clone3,fork,vfork:error=EPERM",
                "-e",
                "inject=execve:error=EPERM:when=2+",
            ])
            .arg(command().get_program())
            .args(args)
            .output()
            .expect("strace is needed");
        assert!(
            plain.status.success() && !plain.stdout.is_empty(),
            "{plain:?}"
        );
        assert_eq!(
            refused.status.code(),
            plain.status.code(),
            "{}",
            String::from_utf8_lossy(&refused.stderr)
        );
        assert!(refused.stdout == plain.stdout, "{args:?}");
    }
}
