//! Whether somebody used a guest that is set aside: what was done in it since is in no backup, so its end waits (H7, H8).

use sha2::{Digest as _, Sha256};

use super::action::{Action, is_vmid};
use super::desired::Run;
use super::facts::{GuestFacts, Underway};
use super::normal;
use super::observed::Config;
use crate::bytes::hex;

/// What nobody changes on a guest that is set aside, as one word: all that muster reads of its configuration but how it stands there.
pub fn stance(guest: &str, config: &Config) -> String {
    let Config {
        digest: _,
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
    hex(&Sha256::digest(whole.as_bytes())[..8])
}

/// What shows that a guest was used since it was set aside, in words; `run` is whether it runs, where that is known.
pub fn signs_of_use(
    guest: &str,
    facts: &GuestFacts,
    config: &Config,
    run: Option<Run>,
) -> Vec<String> {
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
    let changed = |it: &String| *it != stance(guest, config);
    [
        (run == Some(Run::Running), "it runs".to_owned()),
        (name != aside.called, format!("it is called {name:?}")),
        (
            !config.protection && !purging,
            "it is not protected any more".to_owned(),
        ),
        (config.onboot, "it starts with the hypervisor".to_owned()),
        (
            aside.stance.as_ref().is_some_and(changed),
            "its configuration was changed".to_owned(),
        ),
    ]
    .into_iter()
    .filter_map(|(is_so, sign)| is_so.then_some(sign))
    .collect()
}

/// The signs, and what to do about them.
pub fn told(signs: &[String]) -> String {
    format!(
        "it was used since it was set aside ({}), and no backup has what was done; take `destroy: true` out of its row to have it back, and \
         ask for its end again, which backs it up anew",
        signs.join(", ")
    )
}
