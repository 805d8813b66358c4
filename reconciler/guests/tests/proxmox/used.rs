//! A guest that is set aside, and that somebody starts, writes to and stops again: nothing but its tasks shows that (H7).

use http::Method;
use muster_core::journal::StepResult;
use muster_guests::Guests;
use muster_guests::api::{GuestApi as _, Place};
use muster_guests::doctor::{Health, ReleaseToken};
use muster_guests::proxmox::Proxmox;
use serde_json::{Value, json};

use crate::proxy::{EVERYDAY, Meddling, Proxy, TOKEN};
use crate::site::Site;
use crate::world::{Entrance, done, end_row, follow, root, site};
use crate::{container, fakepve, machine};

struct Stage {
    proxy: Proxy,
    entrance: Entrance,
    site: Site,
    world: Guests<Proxmox>,
}

/// A container and a virtual machine, both set aside after they ran.
fn both_aside() -> Stage {
    let proxy = Proxy::start(
        &fakepve(),
        &json!([
            container(101, "stopped"),
            machine(200, "stopped"),
            elsewhere()
        ]),
    );
    let entrance = Entrance::new(&proxy);
    let (site, mut world) = (site(), entrance.open());
    // It was started by muster and by others before its end was asked for: that is in the backup.
    done(&site.settles(
        &mut world,
        "guests: {101: {run: running}, 200: {run: running}}\n",
    ));
    done(&site.settles(&mut world, &end()));
    Stage {
        proxy,
        entrance,
        site,
        world,
    }
}

/// What makes the node a cluster of two.
fn elsewhere() -> Value {
    let mut guest = container(900, "stopped");
    guest["node"] = json!("pve2");
    guest
}

fn end() -> String {
    "guests: {101: {destroy: true}, 200: {destroy: true}}\n".to_owned()
}

fn back() -> &'static str {
    "guests: {101: {run: stopped}, 200: {run: stopped}}\n"
}

/// An administrator starts a guest and stops it again.
fn starts_and_stops(entrance: &Entrance, guest: &str) {
    root(entrance).ask(async |api| {
        let place: Place = api.list().await.unwrap().guests[guest].place.clone();
        follow(api, api.start(&place).await).await;
        follow(api, api.stop(&place).await).await;
    });
}

/// H7, H12: what was done in it since is in no backup, so it stays, whether that is seen while it waits or only when its deletion begins,
/// and also after the node forgot its tasks. An end that is asked for anew backs it up anew, and is carried out.
#[test]
fn a_guest_that_was_started_and_stopped_since_is_backed_up_anew_before_it_goes() {
    for (guest, other) in [("101", "200"), ("200", "101")] {
        let Stage {
            proxy,
            entrance,
            site,
            mut world,
        } = both_aside();
        starts_and_stops(&entrance, guest);
        let told = site.settles(&mut world, &end());
        assert_eq!(
            done(&told),
            ["guest.note"],
            "it is written down while it is to be seen"
        );
        proxy.state().begun.clear();
        site.wait_days(15);
        let planned = site.planned(&mut world, &end());
        let of = |guest: &str| {
            let of = planned
                .iter()
                .filter(|it| it.starts_with(&format!("guest.purge {guest} ")));
            of.cloned().collect::<String>()
        };
        assert!(
            of(guest).contains("Used") && of(guest).contains("it was started at"),
            "{planned:?}"
        );
        assert!(!of(other).contains('['), "{planned:?}");
        done(&site.settles(&mut world, &end()));
        assert_eq!(
            proxy.effects("DELETE /nodes/pve1/lxc/101")
                + proxy.effects("DELETE /nodes/pve1/qemu/200"),
            1
        );
        // The way out: it is had back, and its end backs it up again.
        let backups = proxy.state().backups.len();
        done(&site.settles(&mut world, back()));
        done(&site.settles(&mut world, &end()));
        assert_eq!(proxy.state().backups.len(), backups + 1);
        site.wait_days(15);
        assert_eq!(done(&site.settles(&mut world, &end())), ["guest.purge"]);
    }
}

/// H7: somebody may be quicker than the next plan: when it is carried out, it is looked at again.
#[test]
fn a_start_between_the_plan_and_the_purge_is_seen() {
    let Stage {
        proxy,
        entrance,
        site,
        mut world,
    } = both_aside();
    site.wait_days(15);
    let told = site.cycle_after(&mut world, &end(), |_| starts_and_stops(&entrance, "101"));
    let of = |guest: &str| {
        let words = format!("guest.purge {guest} ");
        let found = told.iter().find(|it| it.0.starts_with(&words));
        found.map(|it| it.1.clone())
    };
    match of("101") {
        Some(StepResult::Failed(why)) => assert!(why.contains("it was started at"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(of("200"), Some(StepResult::Done));
    assert_eq!(proxy.effects("DELETE /nodes/pve1/lxc/101"), 0);
}

/// H7, GB9: where the token is not shown what others do, that is told from the first day on, nothing is deleted, and `doctor` has the line
/// that gives the right.
#[test]
fn a_token_that_is_not_shown_the_tasks_of_others_deletes_nothing() {
    let Stage {
        proxy,
        entrance,
        site,
        mut world,
    } = both_aside();
    let grants = |grants| drop(proxy.state().tokens.insert(TOKEN.to_owned(), grants));
    let without = vec![("/vms", EVERYDAY)];
    grants(without.clone());
    starts_and_stops(&entrance, "101");
    let lacks = "muster@pve!everyday lacks Sys.Audit on /nodes/pve1";
    let (plan, _) = site.plan(&mut world, &end());
    let told: Vec<String> = plan.notes().iter().map(ToString::to_string).collect();
    assert_eq!(
        told.iter().filter(|it| it.contains(lacks)).count(),
        2,
        "{told:?}"
    );
    site.wait_days(15);
    assert_eq!(done(&site.settles(&mut world, &end())), Vec::<&str>::new());
    let planned = site.planned(&mut world, &end()).join("\n");
    assert_eq!(planned.matches("UseUnseen").count(), 2, "{planned}");
    let names = ["101".to_owned()].into();
    let found = world.examine(&names, ReleaseToken::Closed);
    let found = found
        .iter()
        .find(|it| it.text.contains("Sys.Audit"))
        .expect("a finding");
    assert_eq!(found.health, Health::Bad);
    let cure = found.cure.as_deref().unwrap();
    assert!(
        cure.contains("acl modify /nodes/pve1") && cure.contains("Sys.Audit"),
        "{cure}"
    );
    // Once it is given, the one that nobody touched goes.
    let mut with = without;
    with.push(("/nodes", &["Sys.Audit"]));
    grants(with);
    let told = site.settles(&mut world, &end());
    assert_eq!(done(&told), ["guest.note", "guest.purge"]);
    assert_eq!(proxy.effects("DELETE /nodes/pve1/qemu/200"), 1);
}

/// H7: one that somebody starts and stops between its backup and the rest of its end is backed up anew, in the same run.
#[test]
fn a_guest_that_ran_between_its_backup_and_the_rest_is_backed_up_again() {
    let proxy = Proxy::start(&fakepve(), &json!([container(101, "running")]));
    let entrance = Entrance::new(&proxy);
    let (site, mut world) = (site(), entrance.open());
    let create = crate::proxy::CREATE_TOKEN;
    let allowed = proxy.state().tokens[create].clone();
    let tokens = |grants| drop(proxy.state().tokens.insert(create.to_owned(), grants));
    tokens(Vec::new());
    site.cycle(&mut world, &end_row(101));
    assert_eq!(proxy.effects("vzdump"), 1);
    starts_and_stops(&entrance, "101");
    tokens(allowed);
    let told = site.settles(&mut world, &end_row(101));
    assert_eq!(done(&told), ["guest.discard", "guest.destroy"]);
    assert_eq!(proxy.effects("vzdump"), 2);
    let last = site.known("101").last_tried().cloned().unwrap();
    assert_eq!(last.backup, proxy.state().backups[1].volid);
    site.wait_days(15);
    assert_eq!(
        done(&site.settles(&mut world, &end_row(101))),
        ["guest.purge"]
    );
}

/// What an administrator does at the container 101, from one node to the other: each part of a path below its node, and a form.
fn by_hand(stage: &Stage, calls: &[(&str, &str, &str)]) {
    let calls = calls.iter().map(|(node, below, form)| {
        let path = format!("/nodes/{node}/lxc/101/{below}");
        (Method::POST, path, (*form).to_owned())
    });
    stage.proxy.arm(None);
    stage.proxy.state().meddling = Some(Meddling {
        at: 0,
        calls: calls.collect(),
    });
    let listed = root(&stage.entrance).ask(async |api| api.list().await.unwrap());
    assert!(listed.guests.contains_key("101"));
    assert!(stage.proxy.state().meddling.is_none());
}

/// H7: a task stands on the node where it ran. What was started on another node, by way of a migration there and back, is seen all the same;
/// where nothing was started there, the way itself says nothing; and while a node is silent nobody knows.
#[test]
fn a_guest_that_ran_on_another_node_and_is_back_was_used() {
    let there = ("pve1", "migrate", "target=pve2");
    let back = ("pve2", "migrate", "target=pve1");
    let runs = [("pve2", "status/start", ""), ("pve2", "status/stop", "")];
    for is_used in [true, false] {
        let mut stage = both_aside();
        let Stage {
            proxy, site, world, ..
        } = &mut stage;
        let planned = |site: &Site, world: &mut Guests<Proxmox>| {
            let planned = site.planned(world, &end()).into_iter();
            let purges = planned.filter(|it| it.starts_with("guest.purge 101 "));
            purges.collect::<String>()
        };
        proxy.state().silent.insert("pve2".to_owned());
        site.wait_days(15);
        let told = planned(site, world);
        assert!(told.contains("UseUnseen"), "{told}");
        assert!(told.contains("it may have been used there"), "{told}");
        proxy.state().silent.clear();
        let way: Vec<_> = match is_used {
            true => [&[there][..], &runs, &[back]].concat(),
            false => vec![there, back],
        };
        by_hand(&stage, &way);
        let Stage {
            proxy, site, world, ..
        } = &mut stage;
        if is_used {
            let told = planned(site, world);
            assert!(told.contains("it was started at"), "{told}");
            assert_eq!(
                done(&site.settles(world, &end())),
                ["guest.note", "guest.purge"],
                "the other one goes"
            );
        } else {
            assert_eq!(done(&site.settles(world, &end())).len(), 2);
        }
        let gone = proxy.effects("DELETE /nodes/pve1/lxc/101");
        assert_eq!(gone, usize::from(!is_used));
    }
}

/// H9: the state of the cluster takes a right on all there is, which no token of ours has: `doctor` does without, and asks for the right
/// that shows tasks on every node, as a guest may have been on any of them.
#[test]
fn doctor_knows_every_node_without_a_right_on_all_there_is() {
    let Stage { proxy, world, .. } = both_aside();
    proxy.state().tokens.insert(
        TOKEN.to_owned(),
        vec![("/vms", EVERYDAY), ("/nodes/pve1", &["Sys.Audit"])],
    );
    let found = world.examine(&["101".to_owned()].into(), ReleaseToken::Closed);
    let lines: Vec<&str> = found
        .iter()
        .filter(|it| it.text.contains("Sys.Audit"))
        .filter_map(|it| it.cure.as_deref())
        .collect();
    assert_eq!(lines.len(), 1, "{found:?}");
    assert!(lines[0].contains("acl modify /nodes/pve2"), "{lines:?}");
    assert!(
        !found.iter().any(|it| it.text.contains("quorum")),
        "{found:?}"
    );
}

/// H7, GB4: setting a guest aside loses nothing, so another node that is silent keeps nobody from it: only the purge waits for that one.
#[test]
fn a_guest_is_set_aside_while_another_node_is_silent() {
    let proxy = Proxy::start(&fakepve(), &json!([container(101, "running"), elsewhere()]));
    let entrance = Entrance::new(&proxy);
    let (site, mut world) = (site(), entrance.open());
    proxy.state().silent.insert("pve2".to_owned());
    let told = site.settles(&mut world, &end_row(101));
    assert_eq!(done(&told), ["guest.record", "guest.destroy"]);
    site.wait_days(15);
    assert_eq!(
        done(&site.settles(&mut world, &end_row(101))),
        Vec::<&str>::new()
    );
    proxy.state().silent.clear();
    assert_eq!(
        done(&site.settles(&mut world, &end_row(101))),
        ["guest.purge"]
    );
}
