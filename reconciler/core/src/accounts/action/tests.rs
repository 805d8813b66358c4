//! Ids, words and forms of every action about an account.

use super::*;
use crate::executor::Executor;
use crate::id::{self, Spell as _};
use sha2::{Digest as _, Sha256};

fn devvm() -> Executor {
    Executor::Host("devvm".into())
}

#[test]
fn an_id_changes_with_every_field_and_never_otherwise() {
    let action = Action::JoinGroup {
        user: "emo".into(),
        group: "docker".into(),
        gid: 999,
    };
    let account = Incarnation::Account {
        uid: 1004,
        entry: StepId::from_bytes([7; 16]),
    };
    let id = StepId::of(&devvm(), &action, &account);
    assert_eq!(id, StepId::of(&devvm(), &action.clone(), &account.clone()));
    let other_host = Executor::Host("devvm2".into());
    let other_user = Action::JoinGroup {
        user: "ema".into(),
        group: "docker".into(),
        gid: 999,
    };
    let other_group = Action::JoinGroup {
        user: "emo".into(),
        group: "dockers".into(),
        gid: 999,
    };
    let other_account = Incarnation::Account {
        uid: 1004,
        entry: StepId::from_bytes([8; 16]),
    };
    for other in [
        StepId::of(&other_host, &action, &account),
        StepId::of(&devvm(), &other_user, &account),
        StepId::of(&devvm(), &other_group, &account),
        StepId::of(&devvm(), &action, &other_account),
    ] {
        assert_ne!(id, other);
    }
    assert_eq!(id.to_string().parse(), Ok(id));
}

/// The id as the design says it: every field with its length before it, parameters sorted by name.
fn by_the_book(action: &Action, incarnation: &Incarnation) -> StepId {
    let parameters = id::parameters(action);
    let mut fields = vec![
        devvm().to_string(),
        action.word().to_owned(),
        action.user().to_owned(),
        parameters.len().to_string(),
    ];
    for (name, value) in parameters {
        fields.extend([name.to_owned(), value]);
    }
    fields.push(incarnation.to_string());
    let mut hash = Sha256::new();
    hash.update(b"muster-step/1\0");
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    StepId::from_bytes(hash.finalize()[..16].try_into().unwrap())
}

fn home_id() -> HomeId {
    HomeId {
        inode: u64::MAX,
        born: -1,
        filesystem: "uuid:7".into(),
    }
}

/// Every action, some in several shapes.
pub(crate) fn actions() -> Vec<Action> {
    let text = |it: &str| it.to_owned();
    let range = Some(IdRange {
        first: 100_000,
        count: 65_536,
    });
    let from = |from| Action::RestoreHome {
        user: text("emo"),
        home: text("/home/emo"),
        from,
        of: StepId::from_bytes([9; 16]),
    };
    let restored = |root_equivalent, range| Action::RestoreAccount {
        user: text("emo"),
        uid: 0,
        gid: u32::MAX,
        home: text("/home/emo"),
        shell: text("/bin/sh"),
        subuid: range,
        subgid: range,
        root_equivalent,
    };
    let entry = |from: Option<&str>, to: Option<&str>| Action::Entry {
        user: text("emo"),
        file: Aggregate::Dispatch,
        key: text("emo@example.com"),
        from: from.map(text),
        to: to.map(text),
    };
    let created = |range| Action::CreateAccount {
        user: text("emo"),
        uid: 1_004,
        gid: 10,
        home: text("/home/emo"),
        shell: text("/bin/zsh"),
        subuid: range,
        subgid: range,
        authentik_user: text("emo@example.com"),
        k8s_user: text("émo"),
    };
    let left = |because| Action::LeaveGroup {
        user: text("emo"),
        group: text("docker"),
        because,
    };
    vec![
        created(None),
        created(range),
        Action::AdoptAccount {
            user: text("emo"),
            uid: 1,
            gid: 2,
            home: text("/"),
            authentik_user: text("a"),
            k8s_user: text("k"),
        },
        Action::RenameAccount {
            from: text("emil"),
            user: text("emo"),
            uid: 7,
        },
        Action::ChangeUid {
            user: text("emo"),
            from: 9,
            to: 10,
        },
        Action::ChangeIdentity {
            user: text("emo"),
            identity: Identity::K8sUser,
            from: text("a"),
            to: text("b"),
        },
        Action::SetShell {
            user: text("emo"),
            from: text("/bin/sh"),
            to: text("/bin/zsh"),
        },
        Action::JoinGroup {
            user: text("emo"),
            group: text("docker"),
            gid: 999,
        },
        left(Leave::Cut),
        left(Leave::NotAsked),
        Action::AssignPorts {
            user: text("emo"),
            ports: [(text("t3"), 3_773), (text("playwright"), 33_773)].into(),
        },
        Action::Park {
            user: text("emo"),
            because: Parking::Expired,
        },
        Action::Unpark { user: text("emo") },
        Action::Disable {
            user: text("emo"),
            because: Parking::Asked,
            root_equivalent: true,
        },
        Action::Enable {
            user: text("emo"),
            root_equivalent: true,
        },
        Action::GiveNotice { user: text("emo") },
        Action::RestorePassword {
            user: text("emo"),
            root_equivalent: false,
        },
        Action::Cut {
            user: text("emo"),
            root_equivalent: true,
        },
        Action::LockLogin {
            user: text("emo"),
            cut: 3,
        },
        Action::CreateHome {
            user: text("emo"),
            home: text("/home/emo"),
        },
        Action::WriteEnvironment {
            user: text("emo"),
            digest: text("00ff"),
        },
        Action::Unit {
            user: text("emo"),
            unit: text("t3-serve@emo.service"),
            change: UnitChange::Start,
        },
        entry(None, Some("x")),
        entry(Some("x"), Some("")),
        entry(Some("x"), Some("y")),
        Action::ArchiveDelete {
            more: Default::default(),
            user: text("emo"),
            uid: 5,
            home: text("/home/emo"),
            home_id: None,
            gid: 5,
            subuid: None,
            subgid: None,
        },
        Action::RecordArchive {
            user: text("emo"),
            sha256: text("aa"),
            bytes: u64::MAX,
        },
        restored(true, range),
        restored(false, None),
        from(HomeSource::Archive { sha256: text("aa") }),
        from(HomeSource::Quarantine { home_id: home_id() }),
        Action::PurgeHome {
            user: text("emo"),
            uid: 5,
            home: text("/home/emo"),
            home_id: home_id(),
            sha256: text("aa"),
        },
        Action::ClearRemains {
            user: text("emo"),
            gid: 5,
            beside: None,
        },
        Action::ClearRemains {
            user: text("emo"),
            gid: 5,
            beside: Some(text("emil")),
        },
        Action::Return {
            user: text("emo"),
            root_equivalent: false,
        },
        Action::UnlockLogin {
            user: text("emo"),
            cut: 3,
        },
        Action::Trace {
            user: text("emo"),
            trace: Trace::AuthorizedKeys,
            direction: Direction::SetAside,
            cut: 3,
        },
        Action::Trace {
            user: text("emo"),
            trace: Trace::Crontab,
            direction: Direction::Restore,
            cut: 3,
        },
        Action::EndSessions { user: text("emo") },
        Action::LockPassword { user: text("emo") },
        Action::RestoreHome {
            user: text("emo"),
            home: text("/home/emo"),
            from: HomeSource::Quarantine { home_id: home_id() },
            of: StepId::from_bytes([9; 16]),
        },
    ]
}

/// Every incarnation, with its spelling.
pub(crate) fn incarnations() -> Vec<(Incarnation, &'static str)> {
    let entry = StepId::from_bytes([0xa5; 16]);
    vec![
        (Incarnation::New { generation: 10 }, "new generation=10"),
        (Incarnation::Found { uid: 0 }, "found uid=0"),
        (
            Incarnation::Account { uid: 1_004, entry },
            "account uid=1004 entry=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
        ),
        (
            Incarnation::Home {
                uid: 1,
                entry,
                home: None,
            },
            "home uid=1 entry=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5 absent",
        ),
        (
            Incarnation::Home {
                uid: 1,
                entry,
                home: Some(Box::new(home_id())),
            },
            "home uid=1 entry=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5 inode=18446744073709551615 born=-1 filesystem=uuid:7",
        ),
    ]
}

#[test]
fn an_id_is_the_hash_of_the_fields_in_their_order() {
    let actions = actions();
    for (incarnation, spelled) in &incarnations() {
        assert_eq!(incarnation.to_string(), *spelled);
        for action in &actions {
            let id = StepId::of(&devvm(), action, incarnation);
            assert_eq!(id, by_the_book(action, incarnation), "{action:?}");
        }
    }
}

#[test]
fn the_words_of_a_step_are_one_line_of_plain_ascii() {
    let action = Action::Entry {
        user: "emo".into(),
        file: crate::accounts::policy::Aggregate::Dispatch,
        key: "emo@x".into(),
        from: None,
        to: Some("{\"os_user\":\"emo\",\"port\":3773}".into()),
    };
    assert_eq!(
        id::words(&action),
        "dispatch.add emo key=emo@x to=%7B%22os_user%22:%22emo%22%2C%22port%22:3773%7D"
    );
}
