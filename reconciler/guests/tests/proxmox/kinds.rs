//! Every way in which a guest comes and goes, of both kinds: by template, by clone, out of a backup in the place of another, and discarded
//! (H2, H4, H6, H7).

use std::collections::BTreeSet;
use std::time::Duration;

use muster_guests::Guests;
use muster_guests::api::{Config, GuestApi as _, Kind, Status};
use muster_guests::proxmox::Proxmox;
use serde_json::json;

use crate::proxy::{ALLOCATE, CREATE_TOKEN, Fault, Proxy, ROOT_TOKEN};
use crate::site::{Hung, Site};
use crate::world::{Entrance, done, follow, site};
use crate::{container, fakepve, machine, place};

/// A node with a container and a virtual machine that stand still, and may be cloned.
struct Stage {
    proxy: Proxy,
    entrance: Entrance,
    root: Guests<Proxmox>,
    site: Site,
}

fn stage() -> Stage {
    let guests = json!([container(101, "stopped"), machine(200, "stopped")]);
    let proxy = Proxy::start(&fakepve(), &guests);
    // What may make guests in the pool may copy these two, and no other.
    let grants = vec![
        ("/pool/scratch", ALLOCATE),
        ("/storage/local-lvm", &["Datastore.AllocateSpace"][..]),
        ("/vms/101", &["VM.Clone"][..]),
        ("/vms/200", &["VM.Clone"][..]),
    ];
    proxy.state().tokens.insert(CREATE_TOKEN.to_owned(), grants);
    let mut entrance = Entrance::new(&proxy);
    // As most settings have it: what comes of a backup goes to where its original was.
    entrance.settings.scratch_storage = None;
    let root = entrance.client(ROOT_TOKEN, Duration::from_secs(20));
    let root = Guests::new(root, None, None, entrance.settings.clone()).unwrap();
    let mut site = site();
    site.policy.create.clones = BTreeSet::from(["101".to_owned(), "200".to_owned()]);
    Stage {
        proxy,
        entrance,
        root,
        site,
    }
}

impl Stage {
    fn settles(&self, file: &str) -> Vec<String> {
        let told = self.site.settles(&mut self.entrance.open(), file);
        done(&told).into_iter().map(str::to_owned).collect()
    }

    fn guest(&self, kind: Kind, vmid: u32) -> Option<(Config, Status)> {
        let at = place(kind, vmid);
        self.root.ask(async |api| match api.config(&at).await {
            Err(error) if error.is_gone() => None,
            read => Some((read.unwrap(), api.status(&at).await.unwrap())),
        })
    }

    fn effects(&self, text: &str) -> usize {
        self.proxy.effects(text)
    }
}

/// H2, H4: a copy of either kind is made once, has the size of its row and not that of its original, and its original stays as it was.
#[test]
fn a_copy_is_made_of_either_kind() {
    for (kind, original, route) in [(Kind::Container, 101, "lxc"), (Kind::Machine, 200, "qemu")] {
        let stage = stage();
        let (before, _) = stage.guest(kind, original).unwrap();
        let row = format!(
            "guests: {{300: {{cores: 1, memory: 512MiB, create: {{clone: '{original}', storage: local-lvm}}}}}}\n"
        );
        assert_eq!(stage.settles(&row), ["guest.create"]);
        let (made, _) = stage.guest(kind, 300).unwrap();
        assert_eq!((made.cores, made.memory), (Some(1), Some(512)));
        assert!(made.tags.iter().any(|it| it.starts_with("muster-")));
        assert_ne!(made.mac, before.mac, "an address is of one guest");
        assert_eq!(stage.guest(kind, original).unwrap().0, before);
        let clones = format!("POST /nodes/pve1/{route}/{original}/clone");
        assert_eq!(stage.effects(&clones), 1);
        assert_eq!(
            stage.site.planned(&mut stage.entrance.open(), &row),
            Vec::<String>::new()
        );
    }
}

/// H2, H7: a virtual machine goes the whole way, as a container does.
#[test]
fn a_virtual_machine_goes_the_whole_way() {
    let stage = stage();
    let (before, _) = stage.guest(Kind::Machine, 200).unwrap();
    let running = "guests: {200: {run: running, onboot: true}}\n";
    let end = "guests: {200: {destroy: true}}\n";
    let _ = stage.settles(running);
    stage.proxy.arm(None);
    let verbs = stage.settles(end);
    assert_eq!(verbs.last().unwrap(), "guest.destroy", "{verbs:?}");
    assert_eq!(
        stage.effects("POST /nodes/pve1/qemu/200/status/shutdown"),
        1
    );
    assert_eq!(stage.effects("vzdump"), 1);
    assert_eq!(stage.effects("DELETE /nodes/pve1/qemu/200"), 0);
    let (aside, _) = stage.guest(Kind::Machine, 200).unwrap();
    assert!(aside.protection && !aside.onboot);
    assert_eq!(stage.settles(running), ["guest.restore", "guest.start"]);
    let (back, _) = stage.guest(Kind::Machine, 200).unwrap();
    assert_eq!((&back.name, &back.uuid), (&before.name, &before.uuid));
    assert!(back.onboot && !back.protection);
    let _ = stage.settles(end);
    stage.site.wait_days(15);
    assert_eq!(stage.settles(end), ["guest.purge"]);
    assert!(stage.guest(Kind::Machine, 200).is_none());
    assert_eq!(stage.effects("DELETE /nodes/pve1/qemu/200"), 1);
}

/// A backup of a guest as it is now, made by somebody else; afterwards it has another size.
fn backed_up(stage: &Stage, kind: Kind, vmid: u32) -> String {
    let at = place(kind, vmid);
    stage.root.ask(async |api| {
        follow(api, api.backup(&at, "local", "by hand").await).await;
        let read = api.config(&at).await.unwrap();
        let changes = muster_guests::api::Changes {
            memory: Some(4096),
            ..Default::default()
        };
        follow(api, api.set_config(&at, &changes, &read).await).await;
        follow(api, api.start(&at).await).await;
    });
    stage.proxy.arm(None);
    stage.proxy.state().backups.last().unwrap().volid.clone()
}

/// H4, H7: a backup takes the place of a guest of either kind, by a release, after a backup of what was there.
#[test]
fn a_backup_takes_the_place_of_either_kind() {
    for (kind, vmid, route) in [(Kind::Container, 101, "lxc"), (Kind::Machine, 200, "qemu")] {
        let mut stage = stage();
        let backup = backed_up(&stage, kind, vmid);
        let (before, _) = stage.guest(kind, vmid).unwrap();
        assert_eq!(before.memory, Some(4096));
        let row = format!("guests: {{{vmid}: {{overwrite: {{backup: '{backup}'}}}}}}\n");
        stage.site.unsigned = true;
        let _ = stage.settles(&row);
        let nothing: Vec<String> = stage.proxy.state().effects.clone();
        assert!(nothing.is_empty(), "nobody has signed: {nothing:?}");
        stage.site.unsigned = false;
        let verbs = stage.settles(&row);
        assert_eq!(verbs.last().unwrap(), "guest.overwrite", "{verbs:?}");
        let effects = stage.proxy.state().effects.clone();
        let at = |text: &str| effects.iter().position(|it| it.ends_with(text));
        let shutdown = at(&format!("{vmid}/status/shutdown"));
        let put = at(&format!("POST /nodes/pve1/{route}"));
        assert!(shutdown < at("vzdump") && at("vzdump") < put, "{effects:?}");
        assert_eq!(stage.effects("vzdump"), 1, "what was there is backed up");
        let (after, _) = stage.guest(kind, vmid).unwrap();
        assert_ne!(after.memory, before.memory, "it is as it was backed up");
        assert!(after.tags.iter().any(|it| it.starts_with("muster-")));
        assert_eq!(
            stage.site.planned(&mut stage.entrance.open(), &row),
            Vec::<String>::new()
        );
    }
}

/// H6: what a killed end left of its trial is discarded without a release, when the row asks for no end any more.
#[test]
fn what_a_killed_end_left_of_its_trial_is_discarded() {
    let end = "guests: {101: {destroy: true}}\n";
    // The restored backup is there, and nobody is there any more to hear of it.
    let rehearsed = stage();
    let _ = rehearsed.settles("guests: {101: {run: stopped}}\n");
    let number = (0..4).find_map(|_| {
        rehearsed.proxy.arm(None);
        let _ = rehearsed.site.cycle(&mut rehearsed.entrance.open(), end);
        let requests = rehearsed.proxy.state().requests.clone();
        requests.iter().position(|it| it == "POST /nodes/pve1/lxc")
    });
    let stage = stage();
    let hung = Hung::new();
    stage
        .proxy
        .arm(Some((number.unwrap(), Fault::SilenceAfter)));
    stage.proxy.state().hung = Some(hung.tell.clone());
    let dying = stage.entrance.clone();
    let patient = Duration::from_secs(86_400);
    stage
        .site
        .killed(move || dying.open_with(patient), end, &hung);
    stage.proxy.state().fault = None;
    let trial = stage.site.trials().pop_first().unwrap();
    let trial: u32 = trial.parse().unwrap();
    assert!(stage.guest(Kind::Container, trial).is_some());
    let mut site = stage.site.clone();
    site.unsigned = true;
    let told = site.settles(
        &mut stage.entrance.open(),
        "guests: {101: {run: stopped}}\n",
    );
    assert!(done(&told).contains(&"guest.discard"), "{told:?}");
    assert!(stage.guest(Kind::Container, trial).is_none());
    let (original, _) = stage.guest(Kind::Container, 101).unwrap();
    assert_eq!(original.name.as_deref(), Some("ct101"));
    assert_eq!(stage.effects("DELETE /nodes/pve1/lxc/101"), 0);
}
