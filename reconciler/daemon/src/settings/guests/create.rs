//! `[guests.create]`: what guests may be made of. All of it is policy, but for what the words of devices stand for.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::guests::file::bytes_of;
use muster_core::guests::normal::mebibytes;
use muster_core::guests::policy::{CreatePolicy, Size};

use super::super::place::{At, Problem};
use super::super::section::section;
use super::super::values::within;

section! {
    /// What a row of guests/<name>.yaml may make a guest of, as the hypervisor calls it. No default for any of these lists: without them,
    /// nothing is made.
    templates: Vec<At<String>>, example ["local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"];
    images: Vec<At<String>>, example ["debian/13"];
    clones: Vec<At<String>>, example ["9000"];
    storages: Vec<At<String>>, example ["local-lvm"];
    networks: Vec<At<String>>, example ["vmbr0"];
    /// Cores and memory that it may have, together. No default: any.
    sizes: Vec<At<String>>, example ["1x512MiB", "2x2GiB"];
    /// Words for devices and mounts, and what each stands for in a guest's configuration; a word may stand there several times. A guest
    /// with one waits for a signed release. No default.
    devices: Vec<At<String>>, example ["gpu dev0=/dev/dri/renderD128"];
    /// How many guests muster makes there at most.
    guests: i64, default 0;
    /// How much memory they have at most, together. No default.
    memory: String, example "16GiB";
}

/// What each device's word stands for: keys of a guest's configuration, and their values.
pub(super) type Devices = BTreeMap<String, BTreeMap<String, String>>;

impl Given {
    /// Checks the lists and bounds.
    pub(super) fn check(&self, problems: &mut Vec<Problem>) -> Option<(CreatePolicy, Devices)> {
        let before = problems.len();
        let guests = within(
            &self.guests,
            0..=100_000,
            "so many guests muster makes there at most",
            problems,
        );
        let memory = match &self.memory {
            Some(memory) => memory_of(memory, problems),
            None => {
                if guests.is_some_and(|it: usize| it > 0) {
                    let what = "how much memory the guests that are made may have is not said";
                    let problem = Problem::new(self.guests.place.clone(), what);
                    problems.push(problem.help("set memory = \"16GiB\", or as much as there is"));
                }
                Some(0)
            }
        };
        let sizes = self.sizes.iter().flat_map(|it| &it.value);
        let sizes = sizes.filter_map(|it| size(it, problems)).collect();
        let mut devices = Devices::new();
        for it in self.devices.iter().flat_map(|it| &it.value) {
            if let Some((word, key, value)) = device(it, problems) {
                devices.entry(word).or_default().insert(key, value);
            }
        }
        let mut listed = |list: &Option<At<Vec<At<String>>>>| -> BTreeSet<String> {
            let all = list.iter().flat_map(|it| &it.value);
            all.filter_map(|it| word(it, problems)).collect()
        };
        let policy = CreatePolicy {
            templates: listed(&self.templates),
            images: listed(&self.images),
            clones: listed(&self.clones),
            storages: listed(&self.storages),
            networks: listed(&self.networks),
            devices: devices.keys().cloned().collect(),
            sizes,
            guests: guests?,
            memory: memory?,
        };
        (problems.len() == before).then_some((policy, devices))
    }
}

/// Something that a row can name: one word.
fn word(text: &At<String>, problems: &mut Vec<Problem>) -> Option<String> {
    let good =
        (1..=255).contains(&text.value.len()) && text.value.bytes().all(|b| b.is_ascii_graphic());
    if !good {
        let what = format!("`{}` is no name of such a thing", text.value.escape_debug());
        let help = "one word of visible ASCII characters, as the hypervisor calls it";
        problems.push(Problem::new(text.place.clone(), what).help(help));
    }
    good.then(|| text.value.clone())
}

/// Memory, in MiB.
fn memory_of(text: &At<String>, problems: &mut Vec<Problem>) -> Option<u64> {
    let bytes = bytes_of(&text.value);
    if bytes.is_none() {
        let what = format!("`{}` is no amount of memory", text.value.escape_debug());
        let help = "a whole number and MiB, GiB or TiB, such as \"16GiB\"";
        problems.push(Problem::new(text.place.clone(), what).help(help));
    }
    bytes.map(mebibytes)
}

fn size(text: &At<String>, problems: &mut Vec<Problem>) -> Option<Size> {
    let read = text.value.split_once('x').and_then(|(cores, memory)| {
        let cores = cores.parse().ok().filter(|it| (1..=8_192).contains(it))?;
        let memory = bytes_of(memory).map(mebibytes)?;
        Some(Size { cores, memory })
    });
    if read.is_none() {
        let what = format!("`{}` is no size of a guest", text.value.escape_debug());
        let help = "cores and memory, such as \"2x4GiB\"";
        problems.push(Problem::new(text.place.clone(), what).help(help));
    }
    read
}

fn device(text: &At<String>, problems: &mut Vec<Problem>) -> Option<(String, String, String)> {
    let plain = |it: &str| {
        (1..=64).contains(&it.len())
            && it
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let read = text.value.split_once(' ').and_then(|(word, rest)| {
        let (key, value) = rest.split_once('=')?;
        let good =
            plain(word) && plain(key) && !value.is_empty() && !value.chars().any(char::is_control);
        good.then(|| (word.to_owned(), key.to_owned(), value.to_owned()))
    });
    if read.is_none() {
        let what = format!("`{}` is no device", text.value.escape_debug());
        let help = "its word, and key and value of a guest's configuration, such as \"gpu dev0=/dev/dri/renderD128\"";
        problems.push(Problem::new(text.place.clone(), what).help(help));
    }
    read
}
