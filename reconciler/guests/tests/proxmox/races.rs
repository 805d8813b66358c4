//! Two administrators and muster at one guest: between any two requests of ours somebody else does something there, in the web interface
//! (H8, H14, H16). Never two effects, never a foreign change overwritten, and one that was made anew is never ended.

use std::time::Duration;

use http::Method;
use muster_core::journal::StepResult;
use muster_guests::Guests;
use muster_guests::api::{Config, GuestApi as _, Power, Status};
use muster_guests::proxmox::Proxmox;
use serde_json::json;

use crate::proxy::{Meddling, Proxy, ROOT_TOKEN};
use crate::site::{Results, Site};
use crate::world::{Entrance, TEMPLATE, site};
use crate::{container, fakepve};

const HERE: &str = "/nodes/pve1/lxc";

/// The first guest. Each run has one of its own, so that no task of an earlier one is taken for its own.
const FIRST: usize = 1000;

/// What somebody does by hand: `VMID` stands for the guest.
type Calls = Vec<(Method, String, String)>;

fn call(method: Method, below: &str, form: &str) -> (Method, String, String) {
    (method, format!("{HERE}/VMID{below}"), form.to_owned())
}

/// Writes something into the configuration.
fn writes(form: &str) -> Calls {
    vec![call(Method::PUT, "/config", form)]
}

fn starts() -> Calls {
    vec![call(Method::POST, "/status/start", "")]
}

fn stops() -> Calls {
    vec![call(Method::POST, "/status/stop", "")]
}

fn destroys() -> Calls {
    let mut calls = writes("protection=0");
    calls.extend(stops());
    calls.push(call(Method::DELETE, "", ""));
    calls
}

/// Another guest under the number, which starts with the node and may not be deleted.
fn makes_anew() -> Calls {
    let mut calls = destroys();
    calls.push(makes("hostname=anew&cores=7&onboot=1&protection=1"));
    calls
}

fn makes(form: &str) -> (Method, String, String) {
    let template = TEMPLATE.replace(':', "%3A").replace('/', "%2F");
    let form = format!(
        "vmid=VMID&ostemplate={template}&storage=local-lvm&unprivileged=1&{form}&net0=name%3Deth0%2Cbridge%3Dvmbr0"
    );
    (Method::POST, HERE.to_owned(), form)
}

fn migrates() -> Calls {
    vec![call(Method::POST, "/migrate", "target=pve2&restart=1")]
}

/// A node with the guest of a run, and somebody else who may do everything there.
struct Stage {
    proxy: Proxy,
    entrance: Entrance,
    root: Guests<Proxmox>,
    /// The guest of this run.
    id: String,
}

impl Stage {
    fn new() -> Self {
        let mut elsewhere = container(900, "stopped");
        elsewhere["node"] = json!("pve2");
        let proxy = Proxy::start(&fakepve(), &json!([elsewhere]));
        let entrance = Entrance::new(&proxy);
        let root = entrance.client(ROOT_TOKEN, Duration::from_secs(20));
        let root = Guests::new(root, None, None, entrance.settings.clone()).unwrap();
        let mut stage = Self {
            proxy,
            entrance,
            root,
            id: String::new(),
        };
        stage.begins(0);
        stage
    }

    /// The guest of the last run goes, and that of this one comes, which runs.
    fn begins(&mut self, run: usize) {
        let mut goes = destroys();
        let elsewhere = destroys().into_iter().map(|(method, path, form)| {
            let path = path.replace("/pve1/", "/pve2/");
            (method, path, form)
        });
        goes.extend(elsewhere);
        self.by_hand(&goes);
        self.id = (FIRST + run).to_string();
        let mut calls = vec![makes("hostname=ctVMID&cores=2&memory=1024")];
        calls.extend(starts());
        self.by_hand(&calls);
        self.proxy.state().backups.clear();
        let (_, status) = self.guest().expect("the guest of this run");
        assert_eq!(status.power, Power::Running);
    }

    fn by_hand(&self, calls: &Calls) {
        let (_, happened) = self.meddled(&site(), "{}", 0, calls);
        assert!(happened);
    }

    /// A row of the guest.
    fn row(&self, row: &str) -> String {
        match &*self.id {
            "" => "guests: {}\n".to_owned(),
            id => format!("guests: {{{id}: {row}}}\n"),
        }
    }

    /// One cycle, in which these calls come right before the request of that number; whether it got so far.
    fn meddled(&self, site: &Site, row: &str, at: usize, calls: &Calls) -> (Results, bool) {
        let here = |text: &String| text.replace("VMID", &self.id);
        let calls = calls
            .iter()
            .map(|(method, path, form)| (method.clone(), here(path), here(form)));
        self.proxy.arm(None);
        self.proxy.state().meddling = Some(Meddling {
            at,
            calls: calls.collect(),
        });
        let told = site.cycle(&mut self.entrance.open(), &self.row(row));
        let happened = self.proxy.state().meddling.take().is_none();
        (told, happened)
    }

    fn settles(&self, site: &Site, row: &str) -> Results {
        site.settles(&mut self.entrance.open(), &self.row(row))
    }

    /// The guest, if it is there, on whatever node.
    fn guest(&self) -> Option<(Config, Status)> {
        self.root.ask(async |api| {
            let place = api.list().await.unwrap().guests.remove(&self.id)?.place;
            Some((
                api.config(&place).await.unwrap(),
                api.status(&place).await.unwrap(),
            ))
        })
    }

    /// How many changes of ours at the guest took effect: a method, and what follows the number.
    fn at_it(&self, method: &str, below: &str) -> usize {
        let line = format!("{method} {HERE}/{}{below}", self.id);
        self.effects(&line)
    }

    fn effects(&self, text: &str) -> usize {
        self.proxy.effects(text)
    }

    fn all_effects(&self) -> Vec<String> {
        self.proxy.state().effects.clone()
    }
}

/// Runs `race` before each request of a cycle, with a guest of its own each time, until one has no request of that number.
fn at_every_request(mut race: impl FnMut(&Stage, usize) -> bool) {
    let mut stage = Stage::new();
    for at in 0..100 {
        stage.begins(at);
        if !race(&stage, at) {
            assert!(at > 3, "a cycle of {at} requests");
            return;
        }
    }
    panic!("a cycle has no end: {:#?}", stage.proxy.state().requests);
}

const RESIZE: &str = "{cores: 3}";

/// H14: what somebody else writes meanwhile stays, and our own key is written once.
#[test]
fn a_resize_overwrites_nobodys_change() {
    at_every_request(|stage, at| {
        let site = site();
        let calls = writes("description=by%20hand&memory=1500");
        let (told, happened) = stage.meddled(&site, RESIZE, at, &calls);
        let _ = stage.settles(&site, RESIZE);
        let (read, _) = stage.guest().unwrap();
        assert_eq!(read.cores, Some(3), "before request {at}: {told:?}");
        assert_eq!(stage.effects("PUT"), 1, "before request {at}: {told:?}");
        if happened {
            let kept = (read.description.trim_end(), read.memory);
            assert_eq!(kept, ("by hand", Some(1500)), "before request {at}");
        }
        happened
    });
}

/// H14: the same key in two hands: what was written after the plan had looked is not overwritten by that plan.
#[test]
fn a_resize_does_not_overwrite_the_size_that_another_gave() {
    at_every_request(|stage, at| {
        let site = site();
        let (told, happened) = stage.meddled(&site, RESIZE, at, &writes("cores=5"));
        let (read, _) = stage.guest().unwrap();
        if happened && read.cores == Some(3) {
            let saw = told.iter().any(|(words, _)| words.contains("from=5"));
            assert!(saw, "before request {at}: {told:?}");
        }
        // The next plan has seen it, says so, and does what the row says.
        let _ = stage.settles(&site, RESIZE);
        assert_eq!(stage.guest().unwrap().0.cores, Some(3));
        happened
    });
}

/// H5: a resize neither starts nor stops anything, whoever does so meanwhile.
#[test]
fn a_resize_leaves_power_to_whoever_has_it_in_hand() {
    for (calls, left) in [(stops(), Power::Stopped), (migrates(), Power::Running)] {
        at_every_request(|stage, at| {
            let site = site();
            let (told, happened) = stage.meddled(&site, RESIZE, at, &calls);
            let _ = stage.settles(&site, RESIZE);
            let (read, status) = stage.guest().unwrap();
            assert_eq!(read.cores, Some(3), "before request {at}: {told:?}");
            assert_eq!(stage.effects("/status/"), 0, "{:?}", stage.all_effects());
            assert_eq!(stage.effects("PUT"), 1, "before request {at}: {told:?}");
            if happened {
                assert_eq!(status.power, left, "before request {at}");
            }
            happened
        });
    }
}

/// G5, H8: a guest that is gone meanwhile is not made again, and one that was made anew keeps what it was given.
#[test]
fn a_resize_makes_nothing_and_ends_nothing() {
    at_every_request(|stage, at| {
        let site = site();
        let (_, happened) = stage.meddled(&site, RESIZE, at, &destroys());
        let _ = stage.settles(&site, RESIZE);
        assert_eq!(stage.effects("POST"), 0, "{:?}", stage.all_effects());
        assert_eq!(stage.guest().is_none(), happened, "before request {at}");
        happened
    });
    at_every_request(|stage, at| {
        let site = site();
        let (_, happened) = stage.meddled(&site, RESIZE, at, &makes_anew());
        let _ = stage.settles(&site, RESIZE);
        let (read, _) = stage.guest().unwrap();
        assert_eq!(read.cores, Some(3));
        if happened {
            assert_eq!(read.name.as_deref(), Some("anew"), "before request {at}");
            assert!(read.onboot && read.protection);
        }
        assert!(stage.effects("PUT") <= 2, "{:?}", stage.all_effects());
        happened
    });
}

const END: &str = "{destroy: true}";

/// A release for the end of the guest that is there, which was taken up.
fn signed(stage: &Stage) -> Site {
    let mut site = site();
    site.sign_once(&mut stage.entrance.open(), &stage.row(END));
    site
}

/// The cycles that come after, in which nobody signs anything more.
fn goes_on(stage: &Stage, site: &Site, row: &str) {
    for _ in 0..4 {
        site.cycle(&mut stage.entrance.open(), &stage.row(row));
    }
}

fn is_set_aside(read: &Config) -> bool {
    let name = read.name.as_deref().unwrap_or("");
    name.starts_with("aside-") && read.protection && !read.onboot
}

/// H7, H16: whoever starts, stops, writes to or moves the guest meanwhile, its end has each effect once and deletes nothing.
#[test]
fn an_end_has_each_effect_once_whatever_others_do() {
    let hands = [
        ("starts", starts()),
        ("stops", stops()),
        ("writes", writes("description=by%20hand&memory=1500")),
    ];
    for (what, calls) in hands {
        at_every_request(|stage, at| {
            let site = signed(stage);
            let why = format!("somebody {what} before request {at}");
            let (told, happened) = stage.meddled(&site, END, at, &calls);
            goes_on(stage, &site, END);
            let effects = stage.all_effects();
            let (read, status) = stage.guest().unwrap();
            assert!(is_set_aside(&read), "{why}: {told:?} {effects:#?}");
            // One that somebody starts when all is over is theirs; its purge will not touch it while it runs.
            let was_over = told
                .iter()
                .any(|(words, it)| words.starts_with("guest.destroy") && *it == StepResult::Done);
            if !(what == "starts" && happened && was_over) {
                assert_eq!(status.power, Power::Stopped, "{why}: {effects:#?}");
            }
            assert_eq!(stage.at_it("DELETE", ""), 0, "{why}");
            // One that was started again is backed up again.
            let most = if what == "starts" { 2 } else { 1 };
            let backups = stage.effects("vzdump");
            assert!((1..=most).contains(&backups), "{why}: {effects:#?}");
            assert_eq!(stage.at_it("PUT", ""), 1, "{why}");
            let asked = stage.at_it("POST", "/status/shutdown");
            // One that was started again is asked again.
            assert!(asked <= if what == "starts" { 2 } else { 1 }, "{why}");
            if happened && what == "writes" {
                let kept = (read.description.trim_end(), read.memory);
                assert_eq!(kept, ("by hand", Some(1500)), "{why}");
            }
            happened
        });
    }
}

/// H8: one that was made anew under the number is not what was signed, at whatever moment it came: it stays as it is.
#[test]
fn an_end_does_not_touch_a_guest_that_was_made_anew() {
    at_every_request(|stage, at| {
        let site = signed(stage);
        let (told, happened) = stage.meddled(&site, END, at, &makes_anew());
        goes_on(stage, &site, END);
        let why = format!("before request {at}: {told:?} {:#?}", stage.all_effects());
        assert_eq!(stage.at_it("DELETE", ""), 0, "{why}");
        let (read, _) = stage.guest().unwrap();
        if happened {
            assert_eq!(read.name.as_deref(), Some("anew"), "{why}");
            assert!(read.onboot && read.protection, "{why}");
            assert_eq!(read.cores, Some(7), "{why}");
        }
        happened
    });
}

/// H11: one that somebody else deleted, or moved to another node, meanwhile.
#[test]
fn an_end_of_what_is_gone_or_moved_harms_nothing() {
    at_every_request(|stage, at| {
        let site = signed(stage);
        let (_, happened) = stage.meddled(&site, END, at, &destroys());
        goes_on(stage, &site, END);
        assert_eq!(stage.at_it("DELETE", ""), 0);
        assert!(stage.effects("vzdump") <= 1);
        assert_eq!(stage.guest().is_none(), happened, "before request {at}");
        happened
    });
    at_every_request(|stage, at| {
        let site = signed(stage);
        let (told, happened) = stage.meddled(&site, END, at, &migrates());
        goes_on(stage, &site, END);
        let why = format!("before request {at}: {told:?} {:#?}", stage.all_effects());
        assert_eq!(stage.at_it("DELETE", ""), 0, "{why}");
        assert!(stage.guest().is_some(), "{why}");
        assert!(stage.effects("vzdump") <= 2, "{why}");
        happened
    });
}

/// A volume that no backup of the guest holds.
fn adds_a_volume() -> Calls {
    writes("mp0=local-lvm%3Avm-VMID-disk-7%2Cmp%3D%2Fdata%2Csize%3D1G")
}

/// H7, GB8: a volume that came after the release was signed, at whatever moment: a guest with it is neither set aside nor deleted.
#[test]
fn an_end_loses_no_volume_that_came_meanwhile() {
    at_every_request(|stage, at| {
        let site = signed(stage);
        let (told, happened) = stage.meddled(&site, END, at, &adds_a_volume());
        goes_on(stage, &site, END);
        let was_over = told
            .iter()
            .any(|(words, it)| words.starts_with("guest.destroy") && *it == StepResult::Done);
        let why = format!("before request {at}: {told:?} {:#?}", stage.all_effects());
        let (read, _) = stage.guest().unwrap();
        assert_eq!(is_set_aside(&read), was_over, "{why}");
        // What is protected takes no volume any more.
        let came = !read.unsaved.is_empty();
        assert_eq!(came, happened && !was_over, "{why}");
        happened
    });
}

/// H8: no request can be sent for one guest alone there, so one moment is left: right before the request itself.
const UNGUARDED: usize = 1;

/// H8: one that was made anew is not backed up in the place of another, at whatever moment but one it came.
#[test]
fn an_end_backs_up_no_guest_that_was_made_anew() {
    let mut backed_up = 0;
    at_every_request(|stage, at| {
        let site = signed(stage);
        let (_, happened) = stage.meddled(&site, END, at, &makes_anew());
        goes_on(stage, &site, END);
        let state = stage.proxy.state();
        let is_anew = |it: &&crate::proxy::Backup| it.config["hostname"] == "anew";
        backed_up += state.backups.iter().filter(is_anew).count();
        happened
    });
    assert!(backed_up <= UNGUARDED, "{backed_up} times");
}

/// H6, H8: somebody's guest under the number of a trial is not discarded with it.
#[test]
fn a_trial_ends_no_guest_that_came_in_its_place() {
    const TRIAL: &str = "100";
    let at_trial = |below: &str| format!("{HERE}/{TRIAL}{below}");
    let goes = vec![
        (Method::POST, at_trial("/status/stop"), String::new()),
        (Method::DELETE, at_trial(""), String::new()),
    ];
    let mut calls = goes.clone();
    let (method, path, form) = makes("hostname=theirs");
    calls.push((method, path, form.replace("VMID", TRIAL)));
    let mut lost = 0;
    at_every_request(|stage, at| {
        let site = signed(stage);
        let (_, happened) = stage.meddled(&site, END, at, &calls);
        goes_on(stage, &site, END);
        let theirs = stage.root.ask(async |api| {
            let guests = api.list().await.unwrap().guests;
            let name = guests.get(TRIAL).map(|it| it.place.clone());
            match name {
                Some(place) => api.config(&place).await.unwrap().name,
                None => None,
            }
        });
        if happened && theirs.as_deref() != Some("theirs") {
            eprintln!("before request {at}: {:#?}", stage.all_effects());
            lost += 1;
        }
        stage.by_hand(&goes);
        happened
    });
    assert!(lost <= UNGUARDED, "{lost} times");
}

/// H7, H8: a guest that somebody changes in its grace or in the middle of its purge stays; the one moment that is left is right before the
/// DELETE itself.
#[test]
fn a_purge_deletes_nothing_that_somebody_used() {
    at_every_request(|stage, at| {
        let site = site();
        let ended = stage.settles(&site, END);
        assert!(ended.iter().all(|(_, it)| *it == StepResult::Done));
        site.wait_days(15);
        let calls = writes("description=mine");
        let (told, happened) = stage.meddled(&site, END, at, &calls);
        let deleted = format!("DELETE {HERE}/{}", stage.id);
        let requests = stage.proxy.state().requests.clone();
        let deleted = requests.iter().position(|it| *it == deleted);
        if happened && deleted.is_none_or(|it| at < it) {
            goes_on(stage, &site, END);
            let why = format!("before request {at} of {deleted:?}: {told:?}");
            let (read, _) = stage.guest().expect(&why);
            assert_eq!(read.description.trim_end(), "mine", "{why}");
        } else {
            assert!(stage.guest().is_none(), "{told:?}");
        }
        happened
    });
}

const BACK: &str = "{run: stopped}";

/// H7, H8: the way back gives its name to the guest that was set aside, and to no other.
#[test]
fn a_way_back_is_of_the_guest_that_was_set_aside() {
    let hands = [
        ("makes anew", makes_anew()),
        ("writes", writes("description=by%20hand&memory=1500")),
        ("starts", starts()),
    ];
    for (what, calls) in hands {
        at_every_request(|stage, at| {
            let site = site();
            let ended = stage.settles(&site, END);
            assert!(ended.iter().all(|(_, it)| *it == StepResult::Done));
            let (told, happened) = stage.meddled(&site, BACK, at, &calls);
            goes_on(stage, &site, BACK);
            let why = format!(
                "somebody {what} before request {at}: {told:?} {:#?}",
                stage.all_effects()
            );
            let (read, _) = stage.guest().unwrap();
            assert_eq!(stage.effects("DELETE"), 0, "{why}");
            match what {
                "makes anew" if happened => {
                    assert_eq!(read.name.as_deref(), Some("anew"), "{why}");
                    assert!(read.onboot && read.protection, "{why}");
                }
                "writes" if happened => {
                    let kept = (read.description.trim_end(), read.memory);
                    assert_eq!(kept, ("by hand", Some(1500)), "{why}");
                    assert_eq!(
                        read.name.as_deref(),
                        Some(&*format!("ct{}", stage.id)),
                        "{why}"
                    );
                }
                _ => assert_eq!(
                    read.name.as_deref(),
                    Some(&*format!("ct{}", stage.id)),
                    "{why}"
                ),
            }
            assert!(stage.at_it("PUT", "") <= 1, "{why}");
            happened
        });
    }
}

/// What the other one does by hand is what it says; without it, nothing above would be shown.
#[test]
fn the_calls_by_hand_do_what_they_say() {
    let stage = Stage::new();
    let by_hand = |calls: &Calls| {
        stage.by_hand(calls);
        stage.guest()
    };
    let (read, status) = by_hand(&makes_anew()).unwrap();
    assert_eq!(read.name.as_deref(), Some("anew"));
    let shape = (read.cores, read.onboot, read.protection);
    assert_eq!(shape, (Some(7), true, true));
    assert_eq!(status.power, Power::Stopped);
    assert_eq!(by_hand(&starts()).unwrap().1.power, Power::Running);
    let (read, _) = by_hand(&writes("description=by%20hand&memory=1500")).unwrap();
    assert_eq!(read.memory, Some(1500));
    assert!(by_hand(&migrates()).is_some());
    let node = stage.root.ask(async |api| {
        let mut listing = api.list().await.unwrap();
        listing.guests.remove(&stage.id).unwrap().place.node
    });
    assert_eq!(node, "pve2");
}
