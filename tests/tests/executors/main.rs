//! The accounts of a host and the guests of a hypervisor, kept by two executors of one state repository. Each scenario ends
//! with a cycle that changes nothing.

mod crashes;
mod ends;
mod loops;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster::cycle::{CycleSummary, Inventory};
use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::fleet;
use muster_core::forge::StatusState;
use muster_core::gate::Reason;
use muster_core::guests::desired::Run;
use muster_core::guests::observed::Guest;
use muster_core::journal::{Entry, StepResult};
use muster_core::ledger;
use muster_core::release::statement::Statement;
use muster_core::release::{Code, ObjectKind};
use muster_core::rooms::Policy;
use muster_core::step::Step;
use muster_core::time::{Date, Time};
use muster_core::world::Files;
use muster_sim::{Fuse, Repository, Sim, SimHost, SimHypervisor, Timing};
use muster_tests::oracle;
use muster_tests::signer::{self, Signer};
use muster_tests::story::noon;
use muster_tests::town::{STALE, Town, of_hypervisor};

use crashes::blow_at;

const DEVVM: &str = "devvm";
const PVE1: &str = "guests/pve1";

const ANN: &str = "users:\n  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: power-user}\n";
const ANN_ADMIN: &str = "users:\n  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: admin}\n";
const EMO: &str = "  emo: {authentik_user: e.mo, k8s_user: emo-k, tier: power-user}\n";

const CALM: &str = "guests:\n  104: {run: running}\n  web: {run: stopped, onboot: false}\n";
/// One is to have another size, and one is to end.
const MIXED: &str = "guests:\n  104: {run: running, cores: 2, memory: 1GiB}\n  old: {destroy: true}\n  web: {run: stopped}\n";
/// One is to end, and the others are as they are.
const ENDS: &str =
    "guests:\n  104: {run: running}\n  old: {destroy: true}\n  web: {run: stopped}\n";
const MOVED: &str =
    "guests:\n  104: {run: stopped}\n  old: {destroy: true}\n  web: {run: running}\n";

/// What waits for a release where that guest is to end.
const OLD_ENDS: &str = "guest.destroy old aside=aside-xxxxxxxx-old volumes=local-lvm:vm-old-disk-0@local-lvm:8589934592";

fn start() -> Time {
    noon(Date::constant(2026, 11, 22))
}

fn files(roster: &str, guests: &str) -> Files {
    [("roster.yaml", roster), ("guests/pve1.yaml", guests)]
        .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
        .into()
}

fn furnish(hypervisor: &mut SimHypervisor) {
    hypervisor.add_guest("104", true, "m-104");
    hypervisor.add_guest("old", true, "m-old");
    hypervisor.add_guest("stranger", true, "m-stranger");
    hypervisor.add_guest("web", false, "m-web");
}

/// A town in which both are through with what there is, and trust opal and olga.
fn settled() -> Town {
    let mut town = Town::new(files(ANN, CALM), &[DEVVM, PVE1], start());
    town.drift = false;
    town.houses[PVE1].sim.with(|it| furnish(&mut it.hypervisor));
    for house in town.houses.values() {
        let root = signer::root(1, &["opal", "olga"]);
        house.sim.with(|it| it.trust = Some(root));
    }
    town.hosts();
    town.pass(60);
    town.hosts();
    is_still(&mut town);
    town
}

/// One more cycle of each changes nothing, neither in the world nor in what is known of it.
fn is_still(town: &mut Town) {
    let now = town.now;
    for (name, house) in &mut town.houses {
        let look = |sim: &Sim| {
            sim.with(|it| {
                (
                    it.host.clone(),
                    it.hypervisor.clone(),
                    it.journal.clone(),
                    it.told.clone(),
                )
            })
        };
        let before = look(&house.sim);
        let again = house
            .sim
            .cycle_telling(&mut house.memory, &house.policy, now, Inventory::Current)
            .expect("a cycle");
        assert!(again.is_quiet(), "{name}: {again:?}");
        assert!(look(&house.sim) == before, "{name} changed something");
        house
            .sim
            .with(|it| oracle::released(it, &house.policy))
            .unwrap_or_else(|why| panic!("{name}: {why}"));
    }
}

/// What waits for a signature, and its words.
fn waiting(town: &Town, name: &str) -> Vec<Arc<Step>> {
    let house = &town.houses[name];
    let summary = house
        .sim
        .fork()
        .cycle(&house.policy, town.now)
        .expect("a cycle");
    pending(&summary)
}

fn pending(summary: &CycleSummary) -> Vec<Arc<Step>> {
    summary
        .held
        .iter()
        .filter(|it| it.reason == Reason::PendingSignature)
        .map(|it| Arc::clone(&it.step))
        .collect()
}

/// The words of steps; in those of a guest's end, without the digits that say which guest it is.
fn words(steps: &[Arc<Step>]) -> Vec<String> {
    let hidden = |words: String| match words.split_once("aside=aside-") {
        Some((before, after)) => format!("{before}aside=aside-xxxxxxxx{}", &after[8..]),
        None => words,
    };
    steps.iter().map(|it| hidden(it.words())).collect()
}

/// Opal and olga sign, and push what they signed.
fn sign(town: &Town, statement: &Statement) {
    for name in ["opal", "olga"] {
        let (tag, raw) = Signer::named(name).release(statement);
        town.origin
            .with(|it| it.push_tag(&tag, ObjectKind::Tag, raw));
    }
}

/// Why releases were refused there, in order.
fn refusals(town: &Town, name: &str) -> Vec<Code> {
    let facts = town.houses[name].sim.facts();
    facts.refused.iter().map(|it| it.code).collect()
}

fn has_guest(town: &Town, guest: &str) -> bool {
    town.houses[PVE1]
        .sim
        .with(|it| it.hypervisor.guests.contains_key(guest))
}

fn can_sudo(town: &Town, user: &str) -> bool {
    town.houses[DEVVM]
        .sim
        .with(|it| it.host.groups["sudo"].1.contains(user))
}

/// A town in which ann is to administer and a guest is to end, so that one step waits on each.
fn both_wait() -> Town {
    let mut town = settled();
    town.origin.with(|it| {
        it.commit(
            "main",
            files(ANN_ADMIN, &format!("{CALM}  old: {{destroy: true}}\n")),
        )
    });
    town.pass(60);
    town.hosts();
    assert_eq!(
        words(&waiting(&town, DEVVM)),
        [
            "group.join ann gid=998 group=docker",
            "group.join ann gid=27 group=sudo",
            "admins.add ann key=ann"
        ]
    );
    assert_eq!(words(&waiting(&town, PVE1)), [OLD_ENDS]);
    town
}

fn statement(town: &Town, on: &[&str], nonce: u8) -> Statement {
    let commit = town.origin.with(|it| it.head()).expect("main");
    let steps: Vec<(String, Vec<Arc<Step>>)> = on
        .iter()
        .map(|name| (Executor::from_pin(name).to_string(), waiting(town, name)))
        .collect();
    let blocks: Vec<(&str, &[Arc<Step>])> = steps
        .iter()
        .map(|(executor, steps)| (executor.as_str(), steps.as_slice()))
        .collect();
    signer::statement_on(&blocks, &commit, nonce, town.now)
}

#[test]
fn one_release_for_two_executors_runs_once_on_each() {
    let mut town = both_wait();
    let release = statement(&town, &[DEVVM, PVE1], 1);
    assert!(
        release.render().contains("on guests/pve1"),
        "{}",
        release.render()
    );
    assert!(
        release.render().contains("on host/devvm"),
        "{}",
        release.render()
    );
    sign(&town, &release);
    town.pass(30);
    town.hosts();
    assert!(can_sudo(&town, "ann") && !has_guest(&town, "old"));
    assert!(has_guest(&town, "stranger"), "nobody asked for its end");
    for name in [DEVVM, PVE1] {
        let facts = town.houses[name].sim.facts();
        let claim = &facts.claims[&release.nonce];
        assert!(claim.finished, "{name}: {claim:?}");
        let own: Vec<_> = release.blocks[&Executor::from_pin(name).to_string()]
            .iter()
            .map(|it| it.id)
            .collect();
        assert_eq!(
            claim.steps.keys().copied().collect::<Vec<_>>(),
            own,
            "{name}"
        );
        assert_eq!(refusals(&town, name), []);
    }
    is_still(&mut town);

    // Something else is asked for, and somebody signs it with the nonce that was used.
    town.houses[DEVVM].sim.with(|it| {
        let members = &mut it.host.groups.get_mut("sudo").expect("a group").1;
        members.clear();
    });
    let ends = format!("{CALM}  old: {{destroy: true}}\n  bak: {{destroy: true}}\n");
    town.origin
        .with(|it| it.commit("main", files(ANN_ADMIN, &ends)));
    town.houses[PVE1]
        .sim
        .with(|it| it.hypervisor.add_guest("bak", true, "m-bak"));
    town.pass(30);
    town.hosts();
    assert_eq!(waiting(&town, DEVVM).len() + waiting(&town, PVE1).len(), 2);
    sign(&town, &statement(&town, &[DEVVM, PVE1], 1));
    town.pass(30);
    town.hosts();
    for name in [DEVVM, PVE1] {
        assert_eq!(refusals(&town, name), [Code::Replay], "{name}");
        assert_eq!(waiting(&town, name).len(), 1, "{name}");
    }
    assert!(!can_sudo(&town, "ann") && has_guest(&town, "bak"));
    is_still(&mut town);
}

#[test]
fn a_release_of_one_leaves_the_other_held_and_its_nonce_free() {
    for (one, other) in [(DEVVM, PVE1), (PVE1, DEVVM)] {
        let mut town = both_wait();
        sign(&town, &statement(&town, &[one], 1));
        town.pass(30);
        town.hosts();
        assert_eq!(waiting(&town, one), []);
        assert_ne!(waiting(&town, other), [], "{other}");
        assert_eq!(town.houses[other].sim.facts().claims.len(), 0);
        is_still(&mut town);

        sign(&town, &statement(&town, &[other], 1));
        town.pass(30);
        town.hosts();
        assert_eq!(waiting(&town, other), []);
        for name in [one, other] {
            assert_eq!(town.houses[name].sim.facts().claims.len(), 1, "{name}");
        }
        assert!(can_sudo(&town, "ann") && !has_guest(&town, "old"));
        is_still(&mut town);
    }
}

#[test]
fn each_ledger_is_kept_under_its_own_ref_and_is_nobody_elses() {
    let mut town = both_wait();
    let (host, guests) = (Executor::from_pin(DEVVM), Executor::from_pin(PVE1));
    assert_eq!(host.ledger_ref(), "refs/muster/host/devvm");
    assert_eq!(guests.ledger_ref(), "refs/muster/guests/pve1");
    let kept = |name: &str| town.houses[name].sim.with(|it| it.ledger.clone());
    let (of_host, of_guests) = (kept(DEVVM), kept(PVE1));
    for (executor, own, foreign) in [
        (&host, &of_host, &of_guests),
        (&guests, &of_guests, &of_host),
    ] {
        assert_eq!(ledger::facts(own).expect("its own").0.executor, *executor);
        let told = fleet::ExecutorReport::read(executor, own).expect("its own");
        assert_eq!(told.policy.executor(), executor);
        assert!(
            fleet::ExecutorReport::read(executor, foreign).is_err(),
            "{executor}"
        );
        // Neither a pin alone nor an inventory alone makes it the other's.
        for file in ["state.json", "inventory.json", "policy.json", "held.json"] {
            let mut mixed = own.clone();
            mixed.insert(file.to_owned(), foreign[file].clone());
            assert!(
                fleet::ExecutorReport::read(executor, &mixed).is_err(),
                "{executor} with {file}"
            );
        }
    }
    assert!(!of_guests.keys().any(|it| it.starts_with("people/")));
    is_still(&mut town);
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/executors")
}

fn check(name: &str, text: &str) {
    let path = golden().join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(golden()).expect("a directory");
        fs::write(&path, text).expect("a file");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, expected,
        "{name} differs; UPDATE=1 accepts what is there now"
    );
}

fn status(town: &Town, head: &CommitId) -> StatusState {
    town.forge.with(|it| it.statuses[head].state)
}

/// H17: one pull request adds a person, resizes a guest and asks for the end of another: one comment, one status, and one tag
/// releases what waits on both.
#[test]
fn a_proposal_about_people_and_guests_is_one_comment_and_one_status() {
    let mut town = settled();
    let head = town.propose(7, "move", files(&format!("{ANN_ADMIN}{EMO}"), MIXED));
    town.turn();
    let comment = town.comment(7);
    check("proposed.md", &comment);
    let destroy = waiting_of_proposal(&town);
    assert_eq!(words(&destroy), [OLD_ENDS]);
    for says in [
        "### `guests/pve1`",
        "### `host/devvm`",
        "volumes=local-lvm:vm-old-disk-0@local-lvm:8589934592",
        "(`8GiB` on `local-lvm`)",
        &format!(
            "muster release propose --host guests/pve1 {}",
            destroy[0].id
        ),
        "muster release propose --host devvm ",
    ] {
        assert!(comment.contains(says), "{says} is not in {comment}");
    }
    assert_eq!(status(&town, &head), StatusState::Success);
    assert_eq!(town.forge.with(|it| it.statuses.len()), 1);
    town.is_quiet();

    town.merge(7, "move");
    town.pass(30);
    town.turn();
    town.hosts();
    town.turn();
    check("merged.md", &town.comment(7));
    town.is_quiet();

    sign(&town, &statement(&town, &[DEVVM, PVE1], 1));
    town.pass(30);
    town.hosts();
    town.turn();
    check("released.md", &town.comment(7));
    town.is_quiet();
    is_still(&mut town);
}

/// What would wait on the hypervisor if the proposal were merged.
fn waiting_of_proposal(town: &Town) -> Vec<Arc<Step>> {
    let house = &town.houses[PVE1];
    let sim = house.sim.fork();
    sim.with(|it| {
        it.repository = town.origin.with(|origin| origin.clone());
        it.repository.land("move");
    });
    pending(&sim.cycle(&house.policy, town.now).expect("a cycle"))
}

#[test]
fn with_many_people_and_guests_the_comment_counts_both() {
    let mut town = settled();
    let people: String = (0..20)
        .map(|i| format!("  u{i}: {{authentik_user: u.{i}, k8s_user: u{i}-k, tier: power-user}}\n"))
        .collect();
    let guests: Vec<String> = (1000..4500).map(|it| it.to_string()).collect();
    town.houses[PVE1].sim.with(|it| {
        for name in &guests {
            it.hypervisor.add_guest(name, false, &format!("m-{name}"));
        }
    });
    town.hosts();
    let rows: String = guests
        .iter()
        .map(|it| format!("  {it}: {{run: running}}\n"))
        .collect();
    town.propose(
        7,
        "many",
        files(&format!("{ANN}{people}"), &format!("{CALM}{rows}")),
    );
    town.turn();
    let comment = town.comment(7);
    let line = comment.lines().find(|it| it.contains("create 20 accounts"));
    let line = line.unwrap_or_else(|| panic!("{comment}"));
    assert!(line.contains("start 3500 guests"), "{line}");
    assert!(
        line.ends_with(" steps for 20 people and 3500 guests)"),
        "{line}"
    );
    assert!(
        comment.contains("### 2 executors, nothing held"),
        "{comment}"
    );
    town.is_quiet();
}

/// What each adopted, and what it looked at in vain.
fn adopted(town: &Town, name: &str) -> (CommitId, Option<CommitId>) {
    let facts = town.houses[name].sim.facts();
    (facts.adopted, facts.attempted.map(|it| it.commit))
}

#[test]
fn an_error_stops_those_whose_file_it_is_in_and_nobody_else() {
    const BAD_GUESTS: &str = "guests:\n  104: {run: maybe}\n";
    const BAD_HOST: &str = "admits: [king]\n";
    let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
    for (path, text, stopped) in [
        ("guests/pve1.yaml", BAD_GUESTS, Some(PVE1)),
        ("guests/pve1.yml", CALM, Some(PVE1)),
        ("Guests/PVE1.yaml", CALM, Some(PVE1)),
        ("guests/pve2.yaml", BAD_GUESTS, None),
        ("guests/pve2.yml", CALM, None),
        ("hosts/devvm.yaml", BAD_HOST, Some(DEVVM)),
        ("hosts/other.yaml", BAD_HOST, None),
    ] {
        let mut town = settled();
        let before = town.origin.with(|it| it.head()).expect("main");
        // Something else for each to do, which only those who adopt it do.
        let mut changed = files(&format!("{ANN}{EMO}"), &CALM.replace("running", "stopped"));
        changed.extend([file(path, text)]);
        let head = town.propose(8, "bad", changed);
        town.turn();
        let expected = match path {
            "guests/pve2.yaml" | "guests/pve2.yml" => StatusState::Success,
            _ => StatusState::Failure,
        };
        assert_eq!(
            status(&town, &head),
            expected,
            "{path}: {}",
            town.comment(8)
        );
        assert!(
            town.comment(8).contains(path) || expected == StatusState::Success,
            "{path}"
        );
        town.is_quiet();

        let commit = town.merge(8, "bad");
        town.pass(30);
        town.hosts();
        for name in [DEVVM, PVE1] {
            let expected = match stopped == Some(name) {
                true => (before.clone(), Some(commit.clone())),
                false => (commit.clone(), None),
            };
            assert_eq!(adopted(&town, name), expected, "{path}: {name}");
        }
        let emo = town.houses[DEVVM]
            .sim
            .with(|it| it.host.accounts.contains_key("emo"));
        assert_eq!(emo, stopped != Some(DEVVM), "{path}");
        let runs = town.houses[PVE1]
            .sim
            .with(|it| it.hypervisor.guests["104"].run == Some(Run::Running));
        assert_eq!(runs, stopped == Some(PVE1), "{path}");
        // The bot says in its log that the protected branch is not right.
        let turn = |town: &mut Town| town.turn_of(0, &[]).expect("a turn").warnings.len();
        let warns = usize::from(expected == StatusState::Failure);
        assert_eq!(turn(&mut town), warns, "{path}");
        let comment = town.comment(8);
        assert_eq!(
            comment.contains("refused it"),
            stopped.is_some(),
            "{path}: {comment}"
        );
        let changes = town.forge.with(|it| it.changes);
        assert_eq!(turn(&mut town), warns, "{path}");
        assert_eq!(
            town.forge.with(|it| it.changes),
            changes,
            "{path}: a second turn"
        );
        is_still(&mut town);
    }
}

#[test]
fn a_hypervisor_that_cannot_be_read_or_heard_of_makes_the_proposal_red_under_its_name() {
    let mut town = settled();
    town.houses[PVE1]
        .sim
        .with(|it| it.hypervisor.silent = Some("the token was refused".to_owned()));
    town.pass(30);
    town.hosts();
    let head = town.propose(9, "onboard-emo", files(&format!("{ANN}{EMO}"), MOVED));
    town.turn();
    check("unread.md", &town.comment(9));
    assert_eq!(status(&town, &head), StatusState::Failure);
    town.is_quiet();
    is_still(&mut town);
    town.houses.get_mut(PVE1).expect("a house").linked = false;
    town.pass(i64::from(STALE) + 1);
    town.hosts();
    town.turn();
    check("stale.md", &town.comment(9));
    town.is_quiet();
    is_still(&mut town);
}

const GOLDENS: [&str; 5] = [
    "merged.md",
    "proposed.md",
    "released.md",
    "stale.md",
    "unread.md",
];

#[test]
fn every_golden_file_belongs_to_a_story() {
    let mut there: Vec<String> = fs::read_dir(golden())
        .expect("a directory")
        .map(|it| {
            it.expect("a file")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .collect();
    there.sort();
    assert_eq!(there, GOLDENS);
}

/// The policy of the hypervisor alone.
fn of_pve1() -> Policy {
    of_hypervisor(Executor::from_pin(PVE1))
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn whatever_happens_to_both_each_does_what_it_may_and_comes_to_rest() {
    let mut ended = 0;
    for seed in 1..=10 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut town = settled();
        for nonce in 1..=6 {
            let roster = [ANN, ANN_ADMIN, "users: {}\n"][dice.throw(3) as usize];
            let emo = ["", EMO][dice.throw(2) as usize];
            let roster = if roster.starts_with("users: {}") {
                roster.to_owned()
            } else {
                format!("{roster}{emo}")
            };
            let guests = [
                CALM,
                MOVED,
                "guests: {}\n",
                "guests: {web: {destroy: true}}\n",
                "guests: 7\n",
            ][dice.throw(5) as usize];
            town.origin
                .with(|it| it.commit("main", files(&roster, guests)));
            let name = [DEVVM, PVE1][dice.throw(2) as usize];
            match dice.throw(6) {
                0 => town.houses[PVE1].sim.with(|it| {
                    it.hypervisor.silent = Some("it is away".to_owned());
                }),
                1 => town.houses[PVE1].sim.with(|it| {
                    for guest in it.hypervisor.guests.values_mut() {
                        guest.run = match guest.run {
                            Some(Run::Running) => Some(Run::Stopped),
                            other => other.map(|_| Run::Running),
                        };
                    }
                }),
                2 => interrupt(&mut town, name, dice.throw(12) as usize),
                3 => sign_waiting(&mut town, &[name], nonce),
                _ => sign_waiting(&mut town, &[DEVVM, PVE1], nonce),
            }
            town.pass(3_600);
            town.hosts();
            town.houses[PVE1].sim.with(|it| it.hypervisor.silent = None);
            for _ in 0..3 {
                town.pass(3_600);
                town.hosts();
            }
            is_still(&mut town);
        }
        ended += town.houses[PVE1].sim.with(|it| {
            let ends = |it: &&String| it.starts_with("back up ");
            it.hypervisor.did.iter().filter(ends).count()
        });
        assert!(has_guest(&town, "stranger"), "nobody asked for its end");
    }
    assert!(ended > 3, "hardly anything was released: {ended}");
}

/// Both see what was committed, and those two sign what waits there.
fn sign_waiting(town: &mut Town, on: &[&str], nonce: u8) {
    town.hosts();
    sign(town, &statement(town, on, nonce));
}

/// The power goes out in a cycle of one of them, which starts anew.
fn interrupt(town: &mut Town, name: &str, at: usize) {
    let repository = town.origin.with(|it| it.clone());
    let now = town.now;
    let house = town.houses.get_mut(name).expect("a house");
    house.sim.with(|it| it.repository = repository);
    blow_at(&house.sim, at, Timing::After);
    let _ = house.sim.cycle(&house.policy, now);
    house.sim.with(|it| it.fuse = Fuse::default());
    house.memory = house.sim.boot();
}
