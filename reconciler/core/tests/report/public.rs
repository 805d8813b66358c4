//! What anybody reads holds nothing that was observed.

use muster_core::accounts::policy::Aggregate;
use muster_core::people::Stage;
use muster_core::reading::Reading;
use muster_core::repo::Tier;
use muster_core::report::{
    Audience, Comment, Drift, FORGE_LIMIT, Proposal, ReadAt, Unknown, UnknownHost, comment, drift,
};

use crate::fleet::FULL;
use crate::golden::{check, onboarding};
use crate::reader::{all_visible, structure};
use crate::world::{NOW, Planned, World, about, commit};

fn public(planned: &[&Planned], base: Option<&Planned>) -> Comment {
    let base = base.map(|it| &it.plan);
    let hosts: Vec<_> = planned.iter().map(|it| it.host(base)).collect();
    let gone = muster_core::executor::Executor::Host("gone".into());
    let unknown = [UnknownHost {
        executor: &gone,
        why: Unknown::Unreadable("canary-why"),
    }];
    let proposal = Proposal::Planned {
        hosts: &hosts,
        unknown: &unknown,
        warnings: &[],
    };
    about(None, Audience::Public, |it| {
        let full = Some(FULL);
        comment(
            &muster_core::report::CommitContext { full, ..*it },
            &proposal,
            FORGE_LIMIT,
        )
    })
}

#[test]
fn the_public_gets_verbs_people_hosts_and_numbers() {
    let (planned, base) = onboarding();
    check(
        "public.md",
        &public(&[&planned], Some(&base)).pages.concat(),
    );
}

/// Everything that can be observed says `canary`, or a number that stands nowhere else.
fn canaries() -> Planned {
    let mut world = World::new("devvm");
    world.policy.protected.insert("safe".into());
    let shell = "/opt/canary/shell".to_owned();
    world.accounts().shells.insert(shell.clone());
    world.accounts().groups.insert("docker".into(), 77_031);
    world.accounts().groups.insert("sudo".into(), 77_032);
    for (i, user) in ["ann", "bob", "cid", "dan"].into_iter().enumerate() {
        world.kept(user, 77_001 + u32::try_from(i).unwrap(), Stage::Active);
        let account = world.accounts().by_name.get_mut(user).unwrap();
        account.home = format!("/canary/{user}");
        account.shell = shell.clone();
        account.groups.insert("canarygroup".into());
        world.people().get_mut(user).unwrap().home = format!("/canary/{user}");
    }
    world.want_granted("ann", Tier::PowerUser).shell = "/bin/canary-wanted".into();
    world.want("bob", Tier::Admin);
    world.kept("there", 77_009, Stage::Active);
    world.people().remove("there");
    world.want("there", Tier::PowerUser).uid = Some(77_009);
    world.want("safe", Tier::Admin);
    world.want("new", Tier::Admin).authentik_user = "canary@example.org".into();
    world.observed.environments = Reading::Unknown("canary-environment".into());
    let entries = [("canarykey".to_owned(), "canaryvalue".to_owned())];
    for file in [Aggregate::LoginMap, Aggregate::Dispatch] {
        let entries = entries.clone().into();
        world
            .observed
            .aggregates
            .insert(file, Reading::Known(entries));
    }
    world.plan()
}

fn assert_silent(planned: &Planned, pages: &[String]) {
    let shown = pages.concat();
    structure(&shown);
    assert!(all_visible(&shown));
    for secret in ["canary", "770", "docker", "/", "25 %", "active accounts"] {
        let shown = shown
            .replace("host/", "")
            .replace("refs/muster/reports:proposals/", "");
        assert!(!shown.contains(secret), "{secret}\n{shown}");
    }
    assert!(!planned.verdict.held.is_empty());
    for held in &planned.verdict.held {
        let id = held.step.id.to_string();
        assert!(!shown.contains(&id), "an id is made of what was observed");
        let (verb, user) = (held.step.action.verb().row().word, held.step.resource());
        let line = format!("- `{verb}` of **{user}** on `host/devvm`");
        assert!(shown.contains(&line), "{line}\n{shown}");
    }
    assert!(shown.contains("the full report is in the private ledger"));
}

#[test]
fn nothing_observed_reaches_the_public() {
    let planned = canaries();
    assert_silent(&planned, &public(&[&planned], None).pages);
    let of = Drift {
        commit: &commit('b'),
        hosts: &[planned.host(None)],
        told: &Default::default(),
        audience: Audience::Public,
        full: Some(FULL),
        operator: None,
    };
    assert_silent(&planned, &drift(&of, FORGE_LIMIT).unwrap().pages);
}

#[test]
fn what_the_public_reads_does_not_change_with_what_was_observed() {
    let planned = canaries();
    let mut other = World::new("devvm");
    other.want("emo", Tier::Admin);
    let one = public(&[&planned], None);
    assert_ne!(one.content, public(&[&other.plan()], None).content);
    let mut host = planned.host(None);
    host.read = ReadAt::At(NOW);
    let proposal = |hosts| Proposal::Planned {
        hosts,
        unknown: &[],
        warnings: &[],
    };
    let told = |hosts| {
        about(None, Audience::Public, |it| {
            comment(it, &proposal(hosts), FORGE_LIMIT)
        })
    };
    assert_eq!(told(&[host]), told(&[planned.host(None)]));
}
