//! The whole of it: plans of core, carried out on Proxmox VE, with every connection broken and every process killed once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use muster_core::journal::StepResult;
use muster_guests::api::{Changes, GuestApi as _, Power, Task};
use muster_guests::doctor::{Health, ReleaseToken};
use muster_guests::proxmox::{Proxmox, Token};
use muster_guests::trust::Trust;
use muster_guests::wire::Limits;
use muster_guests::{ActSettings, Guests, Opener};
use serde_json::json;

use crate::proxy::{
    Backup, CREATE_TOKEN, EVERYDAY, Fault, Grants, Managed, Proxy, RELEASE_TOKEN, ROOT_TOKEN, TOKEN,
};
use crate::site::{Hung, Results, Site};
use crate::{container, fakepve, machine};

/// What a world is opened with, so that it can be opened on another thread.
#[derive(Clone)]
pub(crate) struct Entrance {
    url: String,
    certificate: Vec<u8>,
    pub(crate) settings: ActSettings,
    opened: Arc<AtomicUsize>,
}

impl Entrance {
    pub(crate) fn new(proxy: &Proxy) -> Self {
        let settings = ActSettings {
            node: "pve1".to_owned(),
            shutdown: Duration::from_secs(5),
            scratch: Some("scratch".to_owned()),
            scratch_storage: Some("local-lvm".to_owned()),
            rehearsal: Duration::ZERO,
            look: Duration::from_millis(5),
            ..ActSettings::new()
        };
        Self {
            url: proxy.url(),
            certificate: proxy.certificate.clone(),
            settings,
            opened: Arc::default(),
        }
    }

    pub(crate) fn client(&self, token: &str, total: Duration) -> Proxmox {
        let trust = Trust::Authority(self.certificate.clone());
        let limits = Limits {
            total,
            ..Limits::default()
        };
        Proxmox::new(
            &self.url,
            "pve1",
            &trust,
            &Token::parse(token).unwrap(),
            limits,
        )
        .unwrap()
    }

    pub(crate) fn open_with(&self, total: Duration) -> Guests<Proxmox> {
        let opener = |token: &'static str| -> Opener<Proxmox> {
            let this = self.clone();
            Box::new(move || {
                this.opened.fetch_add(1, Ordering::Relaxed);
                Ok(this.client(token, total))
            })
        };
        Guests::new(
            self.client(TOKEN, total),
            Some(opener(CREATE_TOKEN)),
            Some(opener(RELEASE_TOKEN)),
            self.settings.clone(),
        )
        .unwrap()
    }

    pub(crate) fn open(&self) -> Guests<Proxmox> {
        self.open_with(Duration::from_secs(20))
    }
}

pub(crate) const TEMPLATE: &str = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst";

pub(crate) fn site() -> Site {
    Site::new(|policy| {
        policy.create.templates = BTreeSet::from([TEMPLATE.to_owned()]);
        policy.create.storages = BTreeSet::from(["local-lvm".to_owned()]);
        policy.create.networks = BTreeSet::from(["vmbr0".to_owned()]);
        policy.node = Some("pve1".to_owned());
    })
}

pub(crate) fn done(results: &Results) -> Vec<&str> {
    for (words, result) in results {
        assert_eq!(*result, StepResult::Done, "{words}");
    }
    let verbs = results
        .iter()
        .map(|(words, _)| words.split(' ').next().unwrap());
    verbs.collect()
}

fn create_row(vmid: u32) -> String {
    format!(
        "guests: {{{vmid}: {{cores: 1, memory: 256MiB, create: {{template: '{TEMPLATE}', storage: local-lvm, network: vmbr0}}}}}}\n"
    )
}

fn down_row(vmid: u32) -> String {
    format!("guests: {{{vmid}: {{run: stopped}}}}\n")
}

pub(crate) fn end_row(vmid: u32) -> String {
    format!("guests: {{{vmid}: {{destroy: true}}}}\n")
}

/// GB9, H2, H15: a list leaves out in silence what the token may not see. Where somebody is missing it is asked what it may do, and
/// nobody is gone, or made anew, by a list that would not have them.
#[test]
fn what_the_token_may_not_see_is_unread_and_not_gone() {
    const ROWS: &str = "guests: {101: {run: running}, 102: {run: running}}\n";
    let proxy = Proxy::start(
        &fakepve(),
        &json!([container(101, "running"), container(102, "stopped")]),
    );
    let entrance = Entrance::new(&proxy);
    let (site, mut world) = (site(), entrance.open());
    let mut notes = |grants: Grants, file: &str| {
        proxy.state().tokens.insert(TOKEN.to_owned(), grants);
        proxy.arm(None);
        let (plan, _) = site.plan(&mut world, file);
        let asked = proxy.state().requests.clone();
        let asked = asked.iter().filter(|it| it.contains("permissions")).count();
        let notes = plan.notes().iter();
        let notes: Vec<_> = notes.map(|it| (it.kind(), it.to_string())).collect();
        (notes, plan.steps().len(), asked)
    };
    let (told, steps, asked) = notes(vec![("/vms", EVERYDAY)], ROWS);
    assert_eq!((&*told, steps, asked), (&[][..], 1, 0));
    // One of them: the other is kept as ever.
    let (told, steps, asked) = notes(vec![("/vms/102", EVERYDAY)], ROWS);
    assert_eq!((told.len(), steps, asked), (1, 1, 1), "{told:?}");
    assert_eq!(told[0].0, "unknown");
    assert!(told[0].1.contains("VM.Audit on /vms/101"), "{told:?}");
    assert!(
        told[0].1.contains("take the row out if the guest is gone"),
        "{told:?}"
    );
    // None at all.
    let (told, steps, asked) = notes(Vec::new(), ROWS);
    assert_eq!((told.len(), steps, asked), (1, 0, 1), "{told:?}");
    assert_eq!(told[0].0, "unread");
    assert!(told[0].1.contains("VM.Audit"), "{told:?}");
    let everything = site.everything(&mut entrance.open());
    let refused = muster_guests::import::import(&everything, Some("pve1")).unwrap_err();
    assert!(refused.contains("VM.Audit"), "{refused}");
    // Who may see it and does not is told that it is not there; whoever is still to be made costs no request.
    let all = vec![("/vms", EVERYDAY)];
    let (told, _, asked) = notes(all.clone(), "guests: {103: {run: running}}\n");
    assert_eq!((told[0].0, asked), ("missing", 1));
    let (_, steps, asked) = notes(all, &create_row(103));
    assert_eq!((steps, asked), (1, 0));
}

/// H5, G2, G7, GB1, GB6: whatever the row says is so after one cycle, and the next plan has no step.
#[test]
fn a_row_is_carried_out_once() {
    let proxy = Proxy::start(
        &fakepve(),
        &json!([container(101, "stopped"), machine(200, "running")]),
    );
    let entrance = Entrance::new(&proxy);
    let (site, mut world) = (site(), entrance.open());
    let file = "guests:\n  101: {run: running, cores: 3, memory: 1610612737, description: \"web\\n\", tags: [a, b], onboot: true}\n  \
                200: {memory: 4GiB, description: 'db'}\n";
    let results = site.settles(&mut world, file);
    let verbs: BTreeSet<&str> = done(&results).into_iter().collect();
    let all = [
        "guest.cores",
        "guest.description",
        "guest.memory",
        "guest.onboot",
        "guest.start",
        "guest.tags",
    ];
    assert_eq!(verbs, BTreeSet::from(all));
    assert_eq!(site.planned(&mut world, file), Vec::<String>::new());
    // A running machine takes its memory at its next start, which nobody asked for (GB6).
    assert_eq!(
        proxy.effects("/status/stop")
            + proxy.effects("/status/shutdown")
            + proxy.effects("/status/reboot"),
        0
    );
    // Nothing of it needed another credential than the everyday one (H9).
    assert_eq!(entrance.opened.load(Ordering::Relaxed), 0);
    // H15: where only run state is managed, a look is three requests.
    proxy.arm(None);
    site.planned(&mut world, &down_row(200));
    assert_eq!(proxy.requests(), 3);
}

/// H4, H7: made, destroyed undo first, given back, destroyed again, purged.
#[test]
fn a_container_goes_the_whole_way() {
    let proxy = Proxy::start(&fakepve(), &json!([]));
    let entrance = Entrance::new(&proxy);
    let (site, mut world) = (site(), entrance.open());
    assert_eq!(
        done(&site.settles(&mut world, &create_row(300))),
        ["guest.create"]
    );
    let running = create_row(300).replace("cores: 1", "cores: 1, run: running, onboot: true");
    done(&site.settles(&mut world, &running));
    proxy.arm(None);
    let told = site.settles(&mut world, &end_row(300));
    assert_eq!(done(&told), ["guest.destroy"]);
    let order: Vec<String> = proxy.state().effects.clone();
    let at = |text: &str| {
        let found = order.iter().position(|it| it.ends_with(text));
        found.unwrap_or_else(|| panic!("{text} in {order:?}"))
    };
    assert!(at("300/status/shutdown") < at("vzdump"));
    assert!(at("vzdump") < at("POST /nodes/pve1/lxc"));
    assert!(at("lxc/100/status/start") < at("DELETE /nodes/pve1/lxc/100"));
    assert!(at("DELETE /nodes/pve1/lxc/100") < at("PUT /nodes/pve1/lxc/300/config"));
    assert_eq!(
        proxy.effects("DELETE /nodes/pve1/lxc/300"),
        0,
        "nothing of it is deleted yet"
    );
    // The row is back: so is the guest, as it stood.
    let told = site.settles(&mut world, &running);
    assert_eq!(done(&told), ["guest.restore", "guest.start"]);
    done(&site.settles(&mut world, &end_row(300)));
    site.wait_days(15);
    let told = site.settles(&mut world, &end_row(300));
    assert_eq!(done(&told), ["guest.purge"]);
    assert_eq!(proxy.effects("DELETE /nodes/pve1/lxc/300"), 1);
    assert_eq!(
        site.planned(&mut world, &end_row(300)),
        Vec::<String>::new()
    );
    assert!(entrance.opened.load(Ordering::Relaxed) > 0);
}

/// An administrator of the hypervisor.
pub(crate) fn root(entrance: &Entrance) -> Guests<Proxmox> {
    let root = entrance.client(ROOT_TOKEN, Duration::from_secs(20));
    Guests::new(root, None, None, entrance.settings.clone()).unwrap()
}

/// H7: an end that another release asks for is backed up and tried anew, however far a first one came.
#[test]
fn another_release_of_an_end_makes_another_backup() {
    let proxy = Proxy::start(&fakepve(), &json!([container(101, "running")]));
    let entrance = Entrance::new(&proxy);
    let (site, mut world) = (site(), entrance.open());
    // Backed up and tried, and then it is not allowed to be set aside.
    let allowed = proxy.state().tokens[RELEASE_TOKEN].clone();
    let less: &[&str] = &["VM.Audit", "VM.PowerMgmt", "VM.Allocate", "VM.Backup"];
    let tokens = |grants| {
        drop(
            proxy
                .state()
                .tokens
                .insert(RELEASE_TOKEN.to_owned(), grants),
        )
    };
    tokens(vec![("/", less)]);
    for _ in 0..2 {
        site.cycle(&mut world, &end_row(101));
    }
    let first = site.known("101").backups;
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].rehearsed, Some(true));
    assert_eq!(
        proxy.effects("vzdump"),
        1,
        "a second try of one run makes no other"
    );
    // Somebody changes their mind; the guest runs for a week, and is to end after all.
    tokens(allowed);
    site.end_releases();
    done(&site.settles(&mut world, "guests: {101: {run: running}}\n"));
    site.wait_days(7);
    let told = site.settles(&mut world, &end_row(101));
    assert_eq!(done(&told), ["guest.destroy"]);
    assert_eq!(proxy.effects("vzdump"), 2);
    assert_eq!(site.trials().len(), 1, "under the same number, once more");
    assert_eq!(proxy.effects("POST /nodes/pve1/lxc/100/status/start"), 2);
    let last = site.known("101").last_tried().cloned().unwrap();
    assert_ne!(last.backup, first[0].backup);
    assert_ne!(last.run, first[0].run);
}

/// H7: a guest that somebody starts between its backup and the rest of its end is backed up anew, in the same run.
#[test]
fn a_guest_that_ran_again_is_backed_up_again() {
    let proxy = Proxy::start(&fakepve(), &json!([container(101, "running")]));
    let entrance = Entrance::new(&proxy);
    let (site, mut world) = (site(), entrance.open());
    let allowed = proxy.state().tokens[CREATE_TOKEN].clone();
    let tokens = |grants| drop(proxy.state().tokens.insert(CREATE_TOKEN.to_owned(), grants));
    tokens(Vec::new());
    site.cycle(&mut world, &end_row(101));
    assert_eq!(proxy.effects("vzdump"), 1);
    root(&entrance).ask(async |api| {
        let place = api.list().await.unwrap().guests["101"].place.clone();
        follow(api, api.start(&place).await).await;
    });
    tokens(allowed);
    let told = site.settles(&mut world, &end_row(101));
    // What the trial without rights left is taken away first.
    assert_eq!(done(&told), ["guest.discard", "guest.destroy"]);
    assert_eq!(proxy.effects("vzdump"), 2);
    let known = site.known("101");
    assert_eq!(known.again, 1);
    assert_eq!(
        known.last_tried().unwrap().backup,
        proxy.state().backups[1].volid
    );
}

/// H7, H8, GB8: what was set aside is deleted while its backup is as it was tried and while it is the guest that was signed, by what is
/// found when it is carried out: the everyday token may see none of that.
#[test]
fn a_purge_looks_at_backup_and_guest_when_it_acts() {
    let proxy = Proxy::start(&fakepve(), &json!([]));
    let entrance = Entrance::new(&proxy);
    let (site, mut world) = (site(), entrance.open());
    done(&site.settles(&mut world, &create_row(300)));
    done(&site.settles(&mut world, &end_row(300)));
    site.wait_days(15);
    let refused = |told: &Results, why: &str| match &told[..] {
        [(words, StepResult::Failed(text))] if words.starts_with("guest.purge") => {
            assert!(text.contains(why), "{text}");
        }
        told => panic!("{told:?}"),
    };
    let was = proxy.state().backups.clone();
    for (backups, why) in [
        (Vec::new(), "is not there any more"),
        (
            vec![Backup {
                size: 9,
                ..was[0].clone()
            }],
            "has 9 bytes, and had 123456789",
        ),
        (
            vec![Backup {
                ctime: 9,
                ..was[0].clone()
            }],
            "is another one",
        ),
    ] {
        proxy.state().backups = backups;
        refused(&site.cycle(&mut world, &end_row(300)), why);
        // It is told for as long as it waits, and not tried again that day.
        let told = site.planned(&mut world, &end_row(300)).join("\n");
        assert!(told.contains("Spoilt") && told.contains(why), "{told}");
        site.wait_days(1);
    }
    proxy.state().backups = was;
    // Another guest takes the number between the plan and the act: the mark on it is not ours.
    let told = site.cycle_after(&mut world, &end_row(300), |_| {
        root(&entrance).ask(async |api| {
            let place = api.list().await.unwrap().guests["300"].place.clone();
            let read = api.config(&place).await.unwrap();
            let changes = Changes {
                tags: Some(BTreeSet::from(["theirs".to_owned()])),
                ..Changes::default()
            };
            api.set_config(&place, &changes, &read).await.unwrap();
        });
    });
    refused(&told, "another guest has that number now");
    assert_eq!(proxy.effects("DELETE /nodes/pve1/lxc/300"), 0);
}

/// GB7, H3: what is imported is what runs, and the plan after it has no step.
#[test]
fn what_is_imported_needs_no_step() {
    let mut odd = container(102, "stopped");
    odd["config"]["description"] = json!("zwei\nZeilen: \"x\" # y");
    odd["config"]["tags"] = json!("b;a;muster-0011");
    odd["config"]["onboot"] = json!(1);
    let mut elsewhere = container(103, "running");
    elsewhere["node"] = json!("pve2");
    let proxy = Proxy::start(
        &fakepve(),
        &json!([
            container(101, "running"),
            odd,
            elsewhere,
            machine(200, "running")
        ]),
    );
    let entrance = Entrance::new(&proxy);
    let (site, mut world) = (site(), entrance.open());
    let observed = site.everything(&mut world);
    let imported = muster_guests::import::import(&observed, Some("pve1")).unwrap();
    assert_eq!(imported.left_out, ["103: it is on node pve2"]);
    let file = imported.text;
    for part in [
        "\n  101:\n    run: running\n",
        "memory: 1024MiB",
        "\n  200:",
        "# left out: 103: it is on node pve2",
    ] {
        assert!(file.contains(part), "{part} in {file}");
    }
    assert_eq!(
        site.planned(&mut world, &file),
        Vec::<String>::new(),
        "{file}"
    );
    assert!(!file.contains("muster-0011"));
}

/// GB9, H9: what is missing is said call by call, with the line that gives it; what is too much, too.
#[test]
fn the_doctor_names_what_is_missing() {
    let proxy = Proxy::start(
        &fakepve(),
        &json!([container(101, "running"), container(102, "stopped")]),
    );
    let entrance = Entrance::new(&proxy);
    let world = entrance.open();
    let names = BTreeSet::from(["101".to_owned()]);
    let left = world.examine(&names, ReleaseToken::Closed);
    assert!(
        left.iter()
            .any(|it| it.part == "release" && it.health == Health::Note),
        "{left:#?}"
    );
    // H9: only the credential that makes was opened.
    assert_eq!(entrance.opened.swap(0, Ordering::Relaxed), 1);
    let healthy = world.examine(&names, ReleaseToken::Asked);
    assert!(
        healthy.iter().all(|it| it.health == Health::Good),
        "{healthy:#?}"
    );
    proxy.state().tokens.insert(
        TOKEN.to_owned(),
        vec![("/vms", &["VM.Audit", "VM.Config.CPU", "VM.Allocate"])],
    );
    proxy.state().tokens.insert(
        CREATE_TOKEN.to_owned(),
        vec![("/pool/scratch", &["VM.Audit"])],
    );
    let less: &[&str] = &["VM.Audit", "VM.PowerMgmt", "VM.Backup"];
    proxy
        .state()
        .tokens
        .insert(RELEASE_TOKEN.to_owned(), vec![("/vms", less)]);
    let found = world.examine(
        &BTreeSet::from(["101".to_owned(), "999".to_owned()]),
        ReleaseToken::Asked,
    );
    let text: Vec<String> = found
        .iter()
        .map(|it| format!("{} -> {}", it.text, it.cure.as_deref().unwrap_or("")))
        .collect();
    let text = text.join("\n");
    for part in [
        "guest.memory: on container 101 on pve1, muster@pve!everyday lacks VM.Config.Memory -> pveum role add MusterEveryday",
        "pveum acl modify /vms/101 --roles MusterEveryday --tokens 'muster@pve!everyday'",
        "has VM.Allocate on container 101 on pve1, so nothing behind the gate",
        "in pool scratch, muster@pve!create lacks VM.Allocate",
        "guest 999 is named in the file and is not there",
        "whether there is a pool `scratch` cannot be seen: the `create_token` lacks Pool.Audit",
        "guest.purge and guest.overwrite: on container 101 on pve1, muster@pve!release lacks VM.Allocate -> pveum role add MusterRelease",
        "setting it aside, protected and off-boot: on container 101 on pve1, muster@pve!release lacks VM.Config.Options",
        "keeping backups: on storage local, muster@pve!release lacks Datastore.AllocateSpace",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("guest.cores: on"), "{text}");
    // The credential that deletes was asked what it may do, and nothing was done with any.
    assert_eq!(entrance.opened.load(Ordering::Relaxed), 4, "two, twice");
    assert_eq!(proxy.state().effects, Vec::<String>::new());
    proxy.state().no_pools = true;
    proxy.state().tokens.insert(
        CREATE_TOKEN.to_owned(),
        vec![("/pool/scratch", &["Pool.Audit"])],
    );
    let found = world.examine(&names, ReleaseToken::Asked);
    let none = found
        .iter()
        .find(|it| it.text.contains("there is no pool `scratch`"));
    let none = none.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(none.cure.as_deref(), Some("pveum pool add scratch"));
    proxy.state().tokens.remove(TOKEN);
    let found = world.examine(&names, ReleaseToken::Asked);
    assert!(
        found[0].text.contains("the token is not accepted"),
        "{found:#?}"
    );
}

/// GB2: what high availability was asked for is done when the guest shows it.
#[test]
fn high_availability_is_waited_for() {
    let proxy = Proxy::start(&fakepve(), &json!([container(101, "running")]));
    proxy
        .state()
        .managed
        .insert("101".to_owned(), Managed::default());
    let entrance = Entrance::new(&proxy);
    let (site, mut world) = (site(), entrance.open());
    let (plan, _) = site.plan(&mut world, &down_row(101));
    assert_eq!(plan.steps().len(), 1);
    proxy.arm(None);
    let told = site.cycle(&mut world, &down_row(101));
    match &told[..] {
        [] => {}
        told => assert_eq!(done(&told.to_vec()), ["guest.shutdown"]),
    }
}

/// What a kind of run is about: its row, how the guest stands before, and what may take effect how often.
struct Case {
    row: fn(u32) -> String,
    status: Option<&'static str>,
    once: &'static [&'static str],
}

const CREATE: Case = Case {
    row: create_row,
    status: None,
    once: &["POST /nodes/pve1/lxc"],
};

const SHUTDOWN: Case = Case {
    row: down_row,
    status: Some("running"),
    once: &["POST /nodes/pve1/lxc/1000/status/shutdown"],
};

const DESTROY: Case = Case {
    row: end_row,
    status: Some("running"),
    once: &[
        "POST /nodes/pve1/lxc/1000/status/shutdown",
        "POST /nodes/pve1/vzdump",
        "PUT /nodes/pve1/lxc/1000/config",
    ],
};

/// The one guest of a case, and all that is around it.
struct Stage<'a> {
    case: &'a Case,
    proxy: Proxy,
    entrance: Entrance,
    root: Guests<Proxmox>,
}

const VMID: u32 = 1000;

impl<'a> Stage<'a> {
    fn new(case: &'a Case) -> Self {
        let guests = case.status.map(|status| container(VMID, status));
        let proxy = Proxy::start(&fakepve(), &json!(guests.into_iter().collect::<Vec<_>>()));
        let entrance = Entrance::new(&proxy);
        let root = entrance.client(ROOT_TOKEN, Duration::from_secs(20));
        let root = Guests::new(root, None, None, entrance.settings.clone()).unwrap();
        Self {
            case,
            proxy,
            entrance,
            root,
        }
    }

    fn file(&self) -> String {
        (self.case.row)(VMID)
    }

    /// An administrator puts everything back as it was before the last run.
    fn reset(&self) {
        self.proxy.arm(None);
        self.proxy.state().backups.clear();
        let status = self.case.status;
        self.root.ask(async |api| {
            for (id, listed) in api.list().await.unwrap().guests {
                if *id != VMID.to_string() || status.is_none() {
                    if listed.power == Some(Power::Running) {
                        follow(api, api.stop(&listed.place).await).await;
                    }
                    follow(api, api.destroy(&listed.place).await).await;
                    continue;
                }
                let read = api.config(&listed.place).await.unwrap();
                let changes = Changes {
                    name: Some(format!("ct{VMID}")),
                    protection: Some(false),
                    ..Changes::default()
                };
                api.set_config(&listed.place, &changes, &read)
                    .await
                    .unwrap();
                if listed.power != Some(Power::Running) {
                    follow(api, api.start(&listed.place).await).await;
                }
            }
        });
    }

    /// The requests of the cycle that does what the case is about.
    fn requests(&self) -> Vec<String> {
        let (site, mut world) = (site(), self.entrance.open());
        let mut last = Vec::new();
        for _ in 0..6 {
            self.proxy.arm(None);
            if site.cycle(&mut world, &self.file()).is_empty() {
                assert!(last.len() > 5);
                return last;
            }
            last.clone_from(&self.proxy.state().requests);
        }
        panic!("it never comes to rest");
    }

    /// Another process goes on; at the end everything has taken effect once.
    fn goes_on(&self, site: &Site, why: &str) {
        self.proxy.state().fault = None;
        let mut world = self.entrance.open();
        let told = site.settles(&mut world, &self.file());
        let left = site.judged(&mut world, &self.file());
        let effects = self.proxy.state().effects.clone();
        for text in self.case.once {
            let found = effects.iter().filter(|it| it == text).count();
            assert_eq!(
                found, 1,
                "{why}: {text} in {effects:#?}\n{told:#?}\n{left:#?}"
            );
        }
        let left = self.root.ask(async |api| api.list().await.unwrap().guests);
        let left: Vec<&String> = left.keys().collect();
        assert_eq!(
            left,
            [&VMID.to_string()],
            "{why}: what was there for a trial is gone"
        );
    }
}

pub(crate) async fn follow(api: &Proxmox, begun: muster_guests::api::Result<Option<Task>>) {
    if let Some(task) = begun.unwrap() {
        api.wait(&task, Duration::from_secs(20)).await.unwrap();
    }
}

/// Breaks the connection of every request of a cycle in every way, and counts what took effect (H11, GB5).
fn break_everything(case: &Case) {
    let stage = Stage::new(case);
    for (number, line) in stage.requests().iter().enumerate() {
        // What only reads can only be missing; what changes something can be broken in every way.
        let faults: &[Fault] = if line.starts_with("GET") {
            &[Fault::CutAfter]
        } else {
            &Fault::QUICK
        };
        for fault in faults {
            stage.reset();
            let (site, mut world) = (site(), stage.entrance.open());
            stage.proxy.arm(Some((number, *fault)));
            site.cycle(&mut world, &stage.file());
            stage.goes_on(&site, &format!("{fault:?} at request {number}, {line}"));
        }
    }
}

/// Kills the process at every request of a cycle, before and after it took effect; another one goes on (H16, G25).
fn kill_everything(case: &Case) {
    let stage = Stage::new(case);
    for (number, line) in stage.requests().iter().enumerate() {
        let faults: &[Fault] = if line.starts_with("GET") {
            &[Fault::Silence]
        } else {
            &[Fault::Silence, Fault::SilenceAfter]
        };
        for fault in faults {
            stage.reset();
            let (site, hung) = (site(), Hung::new());
            stage.proxy.arm(Some((number, *fault)));
            stage.proxy.state().hung = Some(hung.tell.clone());
            let dying = stage.entrance.clone();
            let patient = Duration::from_secs(86_400);
            site.killed(move || dying.open_with(patient), &stage.file(), &hung);
            stage.goes_on(
                &site,
                &format!("killed with {fault:?} at request {number}, {line}"),
            );
        }
    }
}

#[test]
fn a_creation_takes_effect_once_whatever_breaks() {
    break_everything(&CREATE);
}

#[test]
fn a_shutdown_takes_effect_once_whatever_breaks() {
    break_everything(&SHUTDOWN);
}

#[test]
fn a_destroy_takes_effect_once_whatever_breaks() {
    break_everything(&DESTROY);
}

#[test]
fn a_creation_takes_effect_once_whoever_is_killed() {
    kill_everything(&CREATE);
}

#[test]
fn a_shutdown_takes_effect_once_whoever_is_killed() {
    kill_everything(&SHUTDOWN);
}

#[test]
fn a_destroy_takes_effect_once_whoever_is_killed() {
    kill_everything(&DESTROY);
}
