//! How a hypervisor is reached, by which credential, and why its certificate is believed (H1).

use std::path::PathBuf;

use muster_forge::secret::SecretFile;
use muster_guests::trust::Fingerprint;
use muster_guests::wire::Address;
use muster_guests::{incus, proxmox};

use super::super::place::{At, Place, Problem};
use super::super::section::Checks;
use super::super::values::{one_of, parsed, path, secret};
use super::WholeGiven;

/// How a hypervisor is reached, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// A node of Proxmox VE.
    Proxmox {
        /// Its address.
        url: String,
        /// The node's name there.
        node: String,
        /// Why its certificate is believed.
        authority: Authority,
        /// The everyday token.
        token: SecretFile,
    },
    /// A project of an Incus elsewhere.
    Incus {
        /// Its address.
        url: String,
        /// The project.
        project: String,
        /// Why its certificate is believed.
        authority: Authority,
        /// The certificate that is shown, and its key.
        certificate: SecretFile,
    },
    /// A project of the Incus on this machine, by its socket: whoever may open that may do everything.
    IncusHere {
        /// The address of the socket, with `unix:` before it.
        url: String,
        /// The project.
        project: String,
    },
}

/// Why a hypervisor's certificate is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// One in this file, in PEM, signed it.
    Signed(PathBuf),
    /// It is this one.
    Pinned(Fingerprint),
}

/// What stands behind a `[[guests]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Make {
    Proxmox,
    Incus,
}

impl Make {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Proxmox => "proxmox",
            Self::Incus => "incus",
        }
    }
}

impl WholeGiven {
    /// How it is reached; every key that this kind of hypervisor has no use for is refused.
    pub(super) fn entrance(&self, place: &Place, checks: &mut Checks<'_>) -> Option<Entrance> {
        let own = &self.own;
        let missing = |key: &str, example: &str, problems: &mut Vec<Problem>| {
            let problem = Problem::new(place.clone(), format!("`{key}` is not set"));
            problems.push(problem.help(format!("such as {key} = {example:?}")));
        };
        let Some(kind) = &own.kind else {
            missing("kind", "proxmox", checks.problems);
            return None;
        };
        let make = one_of(
            kind,
            "kind of hypervisor",
            [Make::Proxmox, Make::Incus],
            Make::word,
            checks.problems,
        )?;
        let Some(url) = &own.url else {
            let example = match make {
                Make::Proxmox => "https://pve1.example.org:8006",
                Make::Incus => "unix:/var/lib/incus/unix.socket",
            };
            missing("url", example, checks.problems);
            return None;
        };
        let port = match make {
            Make::Proxmox => proxmox::PORT,
            Make::Incus => incus::PORT,
        };
        let address = Address::parse(&url.value, port);
        let address = address
            .map_err(|error| {
                let problem = Problem::new(url.place.clone(), error.to_string());
                checks.problems.push(problem);
            })
            .ok()?;
        let url = url.value.clone();
        let project = || match &own.project {
            Some(project) => project.value.clone(),
            None => "default".to_owned(),
        };
        match (make, address) {
            (Make::Proxmox, Address::Unix(_)) => {
                let place = own.url.as_ref().map_or(place, |it| &it.place);
                let problem = Problem::new(place.clone(), "Proxmox VE has no socket for this");
                let help = "such as \"https://pve1.example.org:8006\"";
                checks.problems.push(problem.help(help));
                None
            }
            (Make::Proxmox, Address::Https { .. }) => {
                self.means_nothing(
                    &[("project", &own.project), ("certificate", &own.certificate)],
                    make,
                    checks,
                );
                if own.node.is_none() {
                    missing("node", "pve1", checks.problems);
                }
                if own.token.is_none() {
                    missing("token", "muster-guests-pve1-token", checks.problems);
                }
                let authority = self.authority(place, checks);
                let token = own.token.as_ref();
                let token = token.and_then(|it| secret(it, checks.ambient, checks.problems));
                Some(Entrance::Proxmox {
                    url,
                    node: own.node.as_ref()?.value.clone(),
                    authority: authority?,
                    token: token?,
                })
            }
            (Make::Incus, Address::Https { .. }) => {
                self.means_nothing(
                    &[
                        ("node", &own.node),
                        ("token", &own.token),
                        ("backups", &own.backups),
                    ],
                    make,
                    checks,
                );
                if own.certificate.is_none() {
                    missing(
                        "certificate",
                        "muster-guests-lab-certificate",
                        checks.problems,
                    );
                }
                let authority = self.authority(place, checks);
                let certificate = own.certificate.as_ref();
                let certificate =
                    certificate.and_then(|it| secret(it, checks.ambient, checks.problems));
                Some(Entrance::Incus {
                    url,
                    project: project(),
                    authority: authority?,
                    certificate: certificate?,
                })
            }
            (Make::Incus, Address::Unix(_)) => {
                let of_others = [
                    ("node", &own.node),
                    ("token", &own.token),
                    ("certificate", &own.certificate),
                    ("ca", &own.ca),
                    ("fingerprint", &own.fingerprint),
                    ("backups", &own.backups),
                ];
                self.means_nothing(&of_others, make, checks);
                Some(Entrance::IncusHere {
                    url,
                    project: project(),
                })
            }
        }
    }

    /// Refuses keys that are another kind's.
    fn means_nothing(
        &self,
        keys: &[(&str, &Option<At<String>>)],
        make: Make,
        checks: &mut Checks<'_>,
    ) {
        for (key, given) in keys {
            if let Some(given) = given {
                let what = format!("`{key}` means nothing for this hypervisor");
                let help = match make {
                    Make::Proxmox => "leave it out: Proxmox VE has nodes and tokens",
                    Make::Incus => {
                        "leave it out: Incus has projects, and certificates unless its socket is used"
                    }
                };
                checks
                    .problems
                    .push(Problem::new(given.place.clone(), what).help(help));
            }
        }
    }

    /// Why its certificate is believed: exactly one reason.
    fn authority(&self, place: &Place, checks: &mut Checks<'_>) -> Option<Authority> {
        let problems = &mut *checks.problems;
        match (&self.own.ca, &self.own.fingerprint) {
            (Some(ca), None) => path(ca, problems).map(Authority::Signed),
            (None, Some(fingerprint)) => parsed(fingerprint, problems).map(Authority::Pinned),
            (Some(_), Some(fingerprint)) => {
                let what = "`ca` and `fingerprint` are two reasons to believe one certificate";
                let problem = Problem::new(fingerprint.place.clone(), what);
                problems.push(
                    problem.help("keep one: a fingerprint changes when the certificate is renewed"),
                );
                None
            }
            (None, None) => {
                let what = "it is not said why this hypervisor's certificate is to be believed";
                let help = "set ca to a copy of the authority that signed it, or fingerprint to what `openssl x509 -noout \
                            -fingerprint -sha256` shows of it there";
                problems.push(Problem::new(place.clone(), what).help(help));
                None
            }
        }
    }
}
