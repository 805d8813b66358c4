//! Random sequences of edits, done here and by the shadow tools themselves: the six files must be equal, byte for byte.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use muster_host::accounts::{
    Databases, File, IdRange, Locked, LoginDefs, NewAccount, PrimaryGroup, SavedLogin, free_ranges,
};
use muster_host::root::{Ownership, RootDir};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

const TODAY: i64 = 20_000;
const NAMES: [&str; 6] = ["ada", "bob", "cyd", "dan", "eve-x", "fay_1"];
const GROUPS: [&str; 6] = ["sudo", "docker", "staff", "team", "crew", "bob"];
const SHELLS: [&str; 3] = ["/bin/zsh", "/bin/bash", "/bin/sh"];
const NOLOGIN: &str = "/usr/sbin/nologin";

const LOGIN_DEFS: &str = "PASS_MAX_DAYS\t99999\nPASS_MIN_DAYS\t0\nPASS_WARN_AGE\t7\nUID_MIN 1000\nUID_MAX 60000\n\
    GID_MIN 1000\nGID_MAX 60000\nUSERGROUPS_ENAB yes\nUMASK 022\n";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
    mia:x:1500:1500:Mia,,,:/home/mia:/bin/bash\n";
const SHADOW: &str = "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nmia:$6$salt$hash:19000:1:90:7:30:21000:\n";
const GROUP: &str =
    "root:x:0:\ndaemon:x:1:\nsudo:x:27:mia\nstaff:x:50:root,mia\ndocker:x:998:\nmia:x:1500:\n";
const GSHADOW: &str =
    "root:*::\ndaemon:*::\nsudo:*::mia\nstaff:!:mia:root,mia\ndocker:!::\nmia:!::\n";
const SUBUID: &str = "mia:165536:65536\nroot:100000:1000\n";

/// A root as an installer leaves it, or as years of editing by hand do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Clean,
    Odd,
    NoShadow,
    NoGshadow,
    NoSubids,
}

fn make(host: Host, root: &Path) {
    let etc = root.join("etc");
    std::fs::create_dir_all(etc.join("default")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(etc.join(name), text).unwrap();
    write("login.defs", LOGIN_DEFS);
    write("default/useradd", "SHELL=/bin/sh\n# INACTIVE=-1\n");
    write("passwd", PASSWD);
    write("group", GROUP);
    for (file, text, absent) in [
        ("shadow", SHADOW, Host::NoShadow),
        ("gshadow", GSHADOW, Host::NoGshadow),
        ("subuid", SUBUID, Host::NoSubids),
        ("subgid", SUBUID, Host::NoSubids),
    ] {
        if host != absent {
            write(file, text);
        }
    }
    match host {
        Host::NoShadow => write("passwd", &PASSWD.replace("mia:x:", "mia:$6$salt$hash:")),
        Host::NoGshadow => write("group", &GROUP.replace("staff:x:", "staff:!:")),
        Host::Odd => {
            let nis = "+@admins::::::\nlate:x:1501:50::/home/late:/bin/sh\n-mallory::::::\n";
            write(
                "passwd",
                &format!("# people\n\n{PASSWD}broken:x:1:1\n{nis}+"),
            );
            write(
                "shadow",
                &format!("{SHADOW}late:!:19000::::::\n+@admins::::::::\n"),
            );
            write(
                "group",
                &format!("{GROUP}broken:x\n\nlate:x:007:,late,,mia,\n+:::\n+staff"),
            );
            write(
                "gshadow",
                &format!("# comment\n{GSHADOW}orphan:!:mia:mia,late\n"),
            );
            write(
                "subuid",
                &format!(
                    "# one\nlate:900000:65536\n# two\n{SUBUID}\nbroken:1\n1500:400000:010\nmia:0x50000:9"
                ),
            );
            write("subgid", "# only a comment, and no newline at the end");
        }
        Host::Clean | Host::NoSubids => {}
    }
}

#[derive(Debug, Clone)]
enum Edit {
    Create {
        name: usize,
        own_gid: bool,
        subids: bool,
        shell: usize,
    },
    CreateGroup(usize),
    SetShell(usize, usize),
    LockPassword(usize),
    UnlockPassword(usize),
    LockLogin(usize),
    RestoreLogin(usize),
    Join(usize, usize),
    Leave(usize, usize),
    Delete(usize),
    Rename(usize, usize),
    Commit,
}

fn edit() -> impl Strategy<Value = Edit> {
    let name = 0..=NAMES.len();
    let group = 0..GROUPS.len();
    prop_oneof![
        4 => (0..NAMES.len(), any::<bool>(), prop::bool::weighted(0.8), 0..SHELLS.len())
            .prop_map(|(name, own_gid, subids, shell)| Edit::Create { name, own_gid, subids, shell }),
        1 => group.clone().prop_map(Edit::CreateGroup),
        1 => (name.clone(), 0..SHELLS.len()).prop_map(|(name, shell)| Edit::SetShell(name, shell)),
        1 => name.clone().prop_map(Edit::LockPassword),
        1 => name.clone().prop_map(Edit::UnlockPassword),
        1 => name.clone().prop_map(Edit::LockLogin),
        1 => name.clone().prop_map(Edit::RestoreLogin),
        3 => (name.clone(), group.clone()).prop_map(|(name, group)| Edit::Join(name, group)),
        1 => (name.clone(), group).prop_map(|(name, group)| Edit::Leave(name, group)),
        2 => name.clone().prop_map(Edit::Delete),
        1 => (name, 0..NAMES.len()).prop_map(|(old, new)| Edit::Rename(old, new)),
        1 => Just(Edit::Commit),
    ]
}

/// The last one stands for the account that was there from the beginning.
fn name_of(at: usize) -> &'static str {
    NAMES.get(at).copied().unwrap_or("mia")
}

struct Tools {
    root: PathBuf,
}

impl Tools {
    fn run(&self, tool: &str, root_flag: &str, arguments: &[&str]) {
        let output = Command::new(program(tool))
            .arg(root_flag)
            .arg(&self.root)
            .args(arguments)
            .env("SOURCE_DATE_EPOCH", (TODAY * 86_400).to_string())
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{tool} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn root(&self, tool: &str, arguments: &[&str]) {
        self.run(tool, "--root", arguments);
    }
}

/// A missing tool is a failure: without the oracle these tests would say nothing.
fn program(tool: &str) -> PathBuf {
    let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .map(|directory| Path::new(directory).join(tool));
    found
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{tool} is missing: apt-get install passwd"))
}

struct Ours<'root> {
    root: &'root RootDir,
    edited: Option<(Locked<'root>, Databases)>,
}

impl<'root> Ours<'root> {
    fn databases(&mut self) -> &mut Databases {
        let root = self.root;
        &mut self
            .edited
            .get_or_insert_with(|| {
                let locked = Locked::take(root, Duration::ZERO).unwrap();
                let databases = locked.read().unwrap();
                (locked, databases)
            })
            .1
    }

    fn commit(&mut self) {
        if let Some((locked, databases)) = self.edited.take() {
            locked.commit(databases).unwrap();
        }
    }
}

/// The tools rewrite a file that they were asked about even when nothing in it changes, and end its last line then. Here
/// it stays as it is, so the end of the last line is not compared.
fn contents(root: &Path) -> BTreeMap<&'static str, Option<String>> {
    File::ALL
        .into_iter()
        .map(|file| {
            let text = std::fs::read_to_string(root.join("etc").join(file.name())).ok();
            let text = text.map(|text| text.strip_suffix('\n').unwrap_or(&text).to_owned());
            (file.name(), text)
        })
        .collect()
}

struct Both<'root> {
    ours: Ours<'root>,
    tools: Tools,
    saved: BTreeMap<&'static str, SavedLogin>,
    next: u32,
    done: usize,
}

impl Both<'_> {
    fn ranges(&mut self) -> (IdRange, IdRange) {
        let databases = self.ours.databases();
        let free = |taken: Vec<IdRange>| {
            free_ranges(100_000, 600_100_000, 65_536, taken)
                .next()
                .unwrap()
        };
        let subuids = databases.subuids().map(|(_, range)| range).collect();
        let subgids = databases.subgids().map(|(_, range)| range).collect();
        (free(subuids), free(subgids))
    }

    /// Ranges freed by a batch are not given out in it, and useradd would: so it is committed first.
    fn create(
        &mut self,
        name: &'static str,
        own_gid: bool,
        subids: bool,
        shell: &'static str,
    ) -> bool {
        self.ours.commit();
        let subids = subids && self.ours.databases().has(File::Subuid);
        let (subuids, subgids) = self.ranges();
        self.next += 2;
        let (uid, gid) = (self.next, if own_gid { self.next + 1 } else { self.next });
        let home = format!("/home/{name}");
        let account = NewAccount {
            name,
            uid,
            gid,
            gecos: "Some One,,,",
            home: &home,
            shell,
            subuids: subids.then_some(subuids),
            subgids: subids.then_some(subgids),
            primary: PrimaryGroup::Own,
        };
        let (defs, _) = LoginDefs::read(self.ours.root).unwrap();
        // Only one leftover is taken over, and the tools do not do that: a group of that very gid.
        if self.ours.databases().group(name).is_some()
            || self
                .ours
                .databases()
                .create(&account, &defs.aging, TODAY)
                .is_err()
        {
            return false;
        }
        let (uid, gid) = (uid.to_string(), gid.to_string());
        let mut arguments = vec![
            "-M",
            "-u",
            &uid,
            "-c",
            "Some One,,,",
            "-d",
            &home,
            "-s",
            shell,
        ];
        if !subids {
            arguments.extend(["-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0"]);
        }
        if own_gid && self.ours.databases().has(File::Gshadow) {
            self.tools.root("groupadd", &["-g", &gid, name]);
            arguments.extend(["-N", "-g", name, name]);
        } else if own_gid {
            // groupadd writes another password field than useradd where there is no gshadow.
            arguments.extend(["-U", name]);
            self.tools.root("useradd", &arguments);
            self.tools.root("groupmod", &["-g", &gid, name]);
            return true;
        } else {
            arguments.extend(["-U", name]);
        }
        self.tools.root("useradd", &arguments);
        true
    }

    fn rename(&mut self, old: &'static str, new: &'static str) -> bool {
        self.ours.commit();
        let databases = self.ours.databases();
        if databases.group(new).is_some() || databases.rename_begin(old, new).is_err() {
            return false;
        }
        let spans = |ranges: Vec<IdRange>| -> Vec<String> {
            ranges
                .iter()
                .map(|range| format!("{}-{}", range.first, range.first + range.count - 1))
                .collect()
        };
        let uids = spans(
            databases
                .subuids()
                .filter(|(owner, _)| *owner == old)
                .map(|(_, range)| range)
                .collect(),
        );
        let gids = spans(
            databases
                .subgids()
                .filter(|(owner, _)| *owner == old)
                .map(|(_, range)| range)
                .collect(),
        );
        let has_group = databases.group(old).is_some();
        self.ours.commit();
        self.ours.databases().rename_finish(old, new).unwrap();

        for (flag, ranges) in [("-V", &uids), ("-W", &gids)] {
            for range in ranges {
                self.tools.root("usermod", &[flag, range, old]);
            }
        }
        self.tools.root("usermod", &["-l", new, old]);
        if has_group {
            self.tools.root("groupmod", &["-n", new, old]);
        }
        for (flag, ranges) in [("-v", &uids), ("-w", &gids)] {
            for range in ranges {
                self.tools.root("usermod", &[flag, range, new]);
            }
        }
        if let Some(saved) = self.saved.remove(old) {
            self.saved.insert(new, saved);
        }
        true
    }

    fn restore(&mut self, name: &'static str) -> bool {
        let Some(saved) = self.saved.remove(name) else {
            return false;
        };
        let text = saved.to_secret_text();
        let saved = SavedLogin::from_secret_text(&text).unwrap();
        let field = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key))
                .unwrap()
                .to_owned()
        };
        if self.ours.databases().restore_login(name, &saved).is_err() {
            return false;
        }
        let (password, expires) = match field("shadow ") {
            none if none.is_empty() => (field("passwd "), None),
            shadow => (shadow[1..].to_owned(), Some(field("expires "))),
        };
        if !password.starts_with('!') {
            self.tools.root("usermod", &["-U", name]);
        }
        self.tools.root("usermod", &["-s", &field("shell "), name]);
        if let Some(expires) = expires {
            self.tools.root(
                "chage",
                &["-E", if expires.is_empty() { "-1" } else { &expires }, name],
            );
        }
        true
    }

    fn apply(&mut self, edit: &Edit) -> bool {
        let has_shadow = self.ours.databases().has(File::Shadow);
        let databases = self.ours.databases();
        match *edit {
            Edit::Create {
                name,
                own_gid,
                subids,
                shell,
            } => return self.create(NAMES[name], own_gid, subids, SHELLS[shell]),
            Edit::Rename(old, new) => return self.rename(name_of(old), NAMES[new]),
            Edit::RestoreLogin(name) => return self.restore(name_of(name)),
            Edit::Commit => self.ours.commit(),
            Edit::CreateGroup(group) => {
                self.next += 2;
                if databases.create_group(GROUPS[group], self.next).is_err() {
                    return false;
                }
                self.tools
                    .root("groupadd", &["-g", &self.next.to_string(), GROUPS[group]]);
            }
            Edit::SetShell(name, shell) => {
                if databases.set_shell(name_of(name), SHELLS[shell]).is_err() {
                    return false;
                }
                self.tools
                    .root("usermod", &["-s", SHELLS[shell], name_of(name)]);
            }
            Edit::LockPassword(name) => {
                if databases.lock_password(name_of(name)).is_err() {
                    return false;
                }
                self.tools.root("usermod", &["-L", name_of(name)]);
            }
            Edit::UnlockPassword(name) => {
                if databases.unlock_password(name_of(name)).is_err() {
                    return false;
                }
                self.tools.root("usermod", &["-U", name_of(name)]);
            }
            Edit::LockLogin(name) => {
                let name = name_of(name);
                let Ok(saved) = databases.lock_login(name, NOLOGIN) else {
                    return false;
                };
                self.saved.entry(name).or_insert(saved);
                self.tools.root("usermod", &["-L", "-s", NOLOGIN, name]);
                if has_shadow {
                    self.tools.root("usermod", &["-e", "1", name]);
                }
            }
            Edit::Join(name, group) => {
                if databases.join_group(name_of(name), GROUPS[group]).is_err() {
                    return false;
                }
                self.tools
                    .root("usermod", &["-a", "-G", GROUPS[group], name_of(name)]);
            }
            Edit::Leave(name, group) => {
                let (name, group) = (name_of(name), GROUPS[group]);
                let member = databases
                    .group(group)
                    .is_some_and(|group| group.members.contains(&name));
                if !member || databases.leave_group(name, group).is_err() {
                    return false;
                }
                self.tools.run("gpasswd", "--root", &["-d", name, group]);
            }
            Edit::Delete(name) => {
                let name = name_of(name);
                let Some(gid) = databases.account(name).map(|account| account.gid) else {
                    return false;
                };
                if databases.delete(name, gid).is_err() {
                    return false;
                }
                self.saved.remove(name);
                self.tools.root("userdel", &[name]);
            }
        }
        true
    }
}

fn check(host: Host, edits: &[Edit]) -> usize {
    let scratch = tempfile::Builder::new()
        .prefix("accounts")
        .tempdir_in(fast_directory())
        .unwrap();
    let (here, there) = (scratch.path().join("ours"), scratch.path().join("theirs"));
    make(host, &here);
    make(host, &there);
    let root = RootDir::open(&here, Ownership::Performed).unwrap();
    let ours = Ours {
        root: &root,
        edited: None,
    };
    let mut both = Both {
        ours,
        tools: Tools {
            root: there.clone(),
        },
        saved: BTreeMap::new(),
        next: 1000,
        done: 0,
    };
    for edit in edits {
        let applied = both.apply(edit);
        both.done += usize::from(applied);
    }
    both.ours.commit();
    let (ours, theirs) = (contents(&here), contents(&there));
    for (file, text) in &ours {
        let (text, tools) = (
            text.as_deref().unwrap_or("(none)"),
            theirs[file].as_deref().unwrap_or("(none)"),
        );
        assert_eq!(text, tools, "{file} differs after {edits:#?}");
    }
    if host == Host::Clean {
        for checker in ["pwck", "grpck"] {
            let mut command = Command::new(program(checker));
            command
                .arg("-r")
                .args((checker == "pwck").then_some("-q"))
                .arg("--root")
                .arg(&here);
            let output = command.stdin(Stdio::null()).output().unwrap();
            assert!(
                output.status.success(),
                "{checker}: {}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
    }
    both.done
}

/// The tools sync a dozen times each; in memory that costs nothing, and these tests are about bytes.
fn fast_directory() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    }
}

#[test]
fn random_edits_leave_what_the_tools_leave() {
    let config = Config {
        cases: 40,
        rng_seed: RngSeed::Fixed(20_261_122),
        failure_persistence: None,
        ..Config::default()
    };
    let host = prop_oneof![
        3 => Just(Host::Clean),
        3 => Just(Host::Odd),
        1 => Just(Host::NoShadow),
        1 => Just(Host::NoGshadow),
        1 => Just(Host::NoSubids),
    ];
    let done = std::cell::Cell::new(0);
    TestRunner::new(config)
        .run(
            &(host, prop::collection::vec(edit(), 1..=12)),
            |(host, edits)| {
                done.set(done.get() + check(host, &edits));
                Ok(())
            },
        )
        .unwrap();
    assert!(
        done.get() > 100,
        "only {} edits were applied at all",
        done.get()
    );
}

#[test]
fn each_edit_leaves_what_the_tools_leave() {
    let all = [
        Edit::Create {
            name: 0,
            own_gid: false,
            subids: true,
            shell: 0,
        },
        Edit::Create {
            name: 1,
            own_gid: true,
            subids: true,
            shell: 1,
        },
        Edit::Create {
            name: 2,
            own_gid: false,
            subids: false,
            shell: 1,
        },
        Edit::CreateGroup(3),
        Edit::Join(0, 0),
        Edit::Join(1, 0),
        Edit::Join(0, 3),
        Edit::Join(6, 1),
        Edit::Leave(6, 2),
        Edit::LockLogin(6),
        Edit::Commit,
        Edit::RestoreLogin(6),
        Edit::UnlockPassword(6),
        Edit::LockPassword(6),
        Edit::Rename(6, 3),
        Edit::Rename(0, 4),
        Edit::Delete(1),
        Edit::Delete(4),
        Edit::Create {
            name: 0,
            own_gid: false,
            subids: true,
            shell: 0,
        },
        Edit::Create {
            name: 5,
            own_gid: false,
            subids: true,
            shell: 0,
        },
        Edit::SetShell(5, 2),
    ];
    for host in [
        Host::Clean,
        Host::Odd,
        Host::NoShadow,
        Host::NoGshadow,
        Host::NoSubids,
    ] {
        assert!(check(host, &all) > 15, "{host:?}");
    }
}
