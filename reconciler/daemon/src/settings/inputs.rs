//! Second stage: the files laid over one another. A later file replaces a value whole; port families add up by name.

use super::fragment::{FleetFragment, ForgeFragment, Fragment, HttpFragment};

/// What all files together say.
#[derive(Debug, Default)]
pub(super) struct Inputs(pub(super) Fragment);

impl Inputs {
    pub(super) fn overlaid_with(self, later: Fragment) -> Self {
        let Self(earlier) = self;
        let Fragment {
            url,
            branch,
            poll,
            drift,
            dir,
            name,
            root,
            shells,
            privileged_groups,
            protected,
            shared_primary_groups,
            nologin,
            service_group,
            declared_benign,
            units,
            environment,
            login_map,
            dispatch,
            admins,
            k8s_users,
            ports,
            removals,
            share,
            min_admins,
            retry_after,
            archives,
            grace_days,
            home_roots,
            recipients,
            age,
            notes,
            fleet,
            forge,
            http,
            level,
            log_format,
        } = later;
        Self(Fragment {
            url: url.or(earlier.url),
            branch: branch.or(earlier.branch),
            poll: poll.or(earlier.poll),
            drift: drift.or(earlier.drift),
            dir: dir.or(earlier.dir),
            name: name.or(earlier.name),
            root: root.or(earlier.root),
            shells: shells.or(earlier.shells),
            privileged_groups: privileged_groups.or(earlier.privileged_groups),
            protected: protected.or(earlier.protected),
            shared_primary_groups: shared_primary_groups.or(earlier.shared_primary_groups),
            nologin: nologin.or(earlier.nologin),
            service_group: service_group.or(earlier.service_group),
            declared_benign: declared_benign.or(earlier.declared_benign),
            units: units.or(earlier.units),
            environment: environment.or(earlier.environment),
            login_map: login_map.or(earlier.login_map),
            dispatch: dispatch.or(earlier.dispatch),
            admins: admins.or(earlier.admins),
            k8s_users: k8s_users.or(earlier.k8s_users),
            ports: earlier.ports.into_iter().chain(ports).collect(),
            removals: removals.or(earlier.removals),
            share: share.or(earlier.share),
            min_admins: min_admins.or(earlier.min_admins),
            retry_after: retry_after.or(earlier.retry_after),
            archives: archives.or(earlier.archives),
            grace_days: grace_days.or(earlier.grace_days),
            home_roots: home_roots.or(earlier.home_roots),
            recipients: recipients.or(earlier.recipients),
            age: age.or(earlier.age),
            notes: notes.or(earlier.notes),
            fleet: earlier.fleet.overlaid_with(fleet),
            forge: earlier.forge.overlaid_with(forge),
            http: earlier.http.overlaid_with(http),
            level: level.or(earlier.level),
            log_format: log_format.or(earlier.log_format),
        })
    }
}

impl FleetFragment {
    fn overlaid_with(self, later: Self) -> Self {
        let Self {
            roles,
            ledger,
            hosts,
            stale,
            name,
        } = later;
        Self {
            roles: roles.or(self.roles),
            ledger: ledger.or(self.ledger),
            hosts: hosts.or(self.hosts),
            stale: stale.or(self.stale),
            name: name.or(self.name),
        }
    }
}

impl ForgeFragment {
    fn overlaid_with(self, later: Self) -> Self {
        let Self {
            kind,
            url,
            repository,
            app,
            installation,
            app_key,
            token,
            drift_issue,
            status,
        } = later;
        Self {
            kind: kind.or(self.kind),
            url: url.or(self.url),
            repository: repository.or(self.repository),
            app: app.or(self.app),
            installation: installation.or(self.installation),
            app_key: app_key.or(self.app_key),
            token: token.or(self.token),
            drift_issue: drift_issue.or(self.drift_issue),
            status: status.or(self.status),
        }
    }
}

impl HttpFragment {
    fn overlaid_with(self, later: Self) -> Self {
        let Self {
            listen,
            certificate,
            key,
            webhook_secret,
        } = later;
        Self {
            listen: listen.or(self.listen),
            certificate: certificate.or(self.certificate),
            key: key.or(self.key),
            webhook_secret: webhook_secret.or(self.webhook_secret),
        }
    }
}
