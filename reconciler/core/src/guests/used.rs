//! Whether somebody used a guest that is set aside: what was done in it since is in no backup, so its end waits (H7, H8).

use sha2::{Digest as _, Sha256};

use super::action::{Action, is_vmid};
use super::backup::Backup;
use super::desired::Run;
use super::facts::{GuestFacts, Underway};
use super::normal;
use super::observed::Config;
use crate::bytes::hex;
use crate::time::Time;

/// What nobody changes on a guest that is set aside, as one word: all that muster reads of its configuration but how it stands there.
/// Behind a dot, its place in time, where the hypervisor has one.
pub fn stance(guest: &str, config: &Config) -> String {
    let Config {
        digest: _,
        generation,
        name: _,
        cores,
        memory,
        description,
        tags,
        onboot: _,
        protection: _,
        privileged,
        volumes,
        unsaved,
        identity: _,
        pending: _,
    } = config;
    let description = normal::description(description);
    // Where guests go by their names, their volumes have other names as well.
    let volumes = is_vmid(guest).then(|| (volumes.to_string(), unsaved));
    let whole =
        format!("{cores:?}\0{memory:?}\0{description:?}\0{tags:?}\0{privileged}\0{volumes:?}");
    let word = |text: &str| hex(&Sha256::digest(text.as_bytes())[..8]);
    match generation {
        Some(generation) => format!("{}.{}", word(&whole), word(generation)),
        None => word(&whole),
    }
}

/// What was changed between two [`stance`]s, in words.
fn changes<'s>(then: &'s str, now: &'s str) -> impl Iterator<Item = &'static str> + use<'s> {
    let parts = |stance: &'s str| match stance.split_once('.') {
        Some((whole, generation)) => (whole, Some(generation)),
        None => (stance, None),
    };
    let ((then, before), (now, after)) = (parts(then), parts(now));
    // Who reads a ledger, or what an earlier version wrote down, knows of no place in time.
    let is_back = before.is_some() && after.is_some() && before != after;
    let signs = [
        (then != now, "its configuration was changed"),
        (is_back, "it was given the data of a snapshot"),
    ];
    signs
        .into_iter()
        .filter_map(|(is_so, sign)| is_so.then_some(sign))
}

/// That a guest was seen to run, and not when it was started.
const RAN: &str = "it ran";

/// How a guest is, beside its configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    /// Whether it runs, where that is known.
    pub run: Option<Run>,
    /// When it was last started, where that is known.
    pub started: Option<Time>,
}

impl Life {
    /// What shows that somebody ran a guest that is set aside, in words that are the same for the same.
    pub fn sign(self, facts: &GuestFacts) -> Option<String> {
        let aside = facts.aside.as_ref()?;
        let backup = facts.last_tried().map_or(aside.since, Backup::begun);
        match self.started.filter(|it| *it > backup) {
            Some(started) => Some(format!("it was started at {started}")),
            None => (self.run == Some(Run::Running)).then(|| RAN.to_owned()),
        }
    }
}

/// What shows that a guest was used since it was set aside, in words.
pub fn signs_of_use(guest: &str, facts: &GuestFacts, config: &Config, life: Life) -> Vec<String> {
    let Some(aside) = &facts.aside else {
        return Vec::new();
    };
    // A purge takes the protection off before it deletes, and may have been cut short behind that.
    let purging = matches!(
        facts.underway.as_deref(),
        Some(Underway {
            action: Action::PurgeGuest { .. },
            ..
        })
    );
    let name = config.name.as_deref().unwrap_or("");
    let now = stance(guest, config);
    let changed = aside.stance.iter().flat_map(|then| changes(then, &now));
    let ran = aside.used.clone().or_else(|| life.sign(facts));
    let signs = [
        (life.run == Some(Run::Running), "it runs".to_owned()),
        (name != aside.called, format!("it is called {name:?}")),
        (
            !config.protection && !purging,
            "it is not protected any more".to_owned(),
        ),
        (config.onboot, "it starts with the hypervisor".to_owned()),
    ];
    let shown = signs
        .into_iter()
        .filter_map(|(is_so, sign)| is_so.then_some(sign))
        .chain(changed.map(str::to_owned));
    // That it runs says that it ran.
    let ran = ran.filter(|it| life.run != Some(Run::Running) || it != RAN);
    ran.into_iter().chain(shown).collect()
}

/// The signs, and what to do about them.
pub fn told(signs: &[String]) -> String {
    format!(
        "it was used since it was set aside ({}), and no backup has what was done; take `destroy: true` out of its row to have it back, and \
         ask for its end again, which backs it up anew",
        signs.join(", ")
    )
}
