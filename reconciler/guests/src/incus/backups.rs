//! Backups of instances: made by the server inside the instance, and brought here at once, since they end with it there.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use http::header::CONTENT_TYPE;
use http::{HeaderName, Method, Request};

use super::Incus;
use super::answers::ServerBackup;
use super::words::{begun, refusal, seconds, wire_error};
use crate::api::{Backup, GuestApi, Place, Restore, Result, Task};
use crate::encode::segment;
use crate::error::Error;
use crate::wire::Body;

/// The largest backup that is taken, in bytes.
const LARGEST: u64 = 4 << 40;

const NAME: HeaderName = HeaderName::from_static("x-incus-name");
const POOL: HeaderName = HeaderName::from_static("x-incus-pool");

impl Incus {
    fn backup_file(&self, place: &Place, label: &str) -> PathBuf {
        // Both are words without a slash; what else could be in them is encoded.
        self.backups
            .join(format!("{}.{}.backup", segment(&place.id), segment(label)))
    }

    pub(super) async fn keep_backup(&self, place: &Place, label: &str) -> Result<Option<Backup>> {
        let what = format!("the backup of {place}");
        let file = self.backup_file(place, label);
        if let Some(kept) = kept(&file).map_err(|it| Error::unreadable(&what, it))? {
            self.forget(place, label).await;
            return Ok(Some(kept));
        }
        let path = self.instance_path(place, &format!("/backups/{}", segment(label)));
        let created = match self.get::<ServerBackup>(&what, &path).await {
            Ok(backup) => seconds(&backup.created_at),
            Err(error) if error.is_gone() => return Ok(None),
            Err(error) => return Err(error),
        };
        let running = self.tasks(place).await?.into_iter().any(|it| {
            it.does == crate::api::Call::Backup && it.progress == crate::api::Progress::Runs
        });
        if running {
            return Ok(None);
        }
        match self.bring(place, label, created, &file).await {
            Ok(()) => {}
            // The server knows of one that it has not: it went down while it made it.
            Err(error) if error.is_gone() => {
                self.forget(place, label).await;
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        self.forget(place, label).await;
        kept(&file).map_err(|it| Error::unreadable(&what, it))
    }

    /// The server's own copy would go with the instance, and takes its room until then. What is left of it harms nobody.
    async fn forget(&self, place: &Place, label: &str) {
        let path = self.instance_path(place, &format!("/backups/{}", segment(label)));
        let what = format!("the server's copy of the backup of {place}");
        let gone = self.change(&what, Method::DELETE, &path, None, None).await;
        if let Ok(Some(task)) = gone {
            drop(self.wait(&task, super::ONE_WAIT).await);
        }
    }

    /// `created` is when the server began with it, by its own clock. The file bears that, as the instance says by the same clock when it was
    /// last started.
    async fn bring(
        &self,
        place: &Place,
        label: &str,
        created: Option<u64>,
        file: &Path,
    ) -> Result<()> {
        let what = format!("the backup of {place}");
        let local =
            |error: io::Error| Error::unreadable(&what, format!("{}: {error}", file.display()));
        fs::create_dir_all(&self.backups).map_err(local)?;
        let half = file.with_extension("half");
        let mut open = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&half)
            .map_err(local)?;
        let path = self.instance_path(place, &format!("/backups/{}/export", segment(label)));
        let request = Request::get(path)
            .body(Body::Bytes(None))
            .map_err(|error| Error::unreadable(&what, error))?;
        let fetched = Box::pin(self.wire.fetch(request, &mut open, LARGEST)).await;
        match fetched.map_err(|error| wire_error(&what, false, error))? {
            Ok(_) => {}
            Err(answer) => return Err(refusal(&what, false, &answer)),
        }
        if let Some(created) = created.filter(|it| *it > 0) {
            let begun = UNIX_EPOCH + Duration::from_secs(created);
            open.set_modified(begun).map_err(local)?;
        }
        // It is there once it is wholly on the disk, under its name.
        open.sync_all().map_err(local)?;
        fs::rename(&half, file).map_err(local)?;
        File::open(&self.backups)
            .and_then(|it| it.sync_all())
            .map_err(local)
    }

    pub(super) fn kept_under(&self, backup: &str) -> Result<Option<Backup>> {
        let path = Path::new(backup);
        if path.parent() != Some(&self.backups) {
            return Ok(None);
        }
        kept(path).map_err(|it| Error::unreadable("a backup", it))
    }

    pub(super) async fn restore_backup(&self, restore: &Restore) -> Result<Option<Task>> {
        let Restore {
            place,
            backup,
            storage,
            pool,
            // Its card gets another address when it is begun under another name.
            unique: _,
            // Whoever wants that removes the other one first.
            replace: _,
            // The call can give none.
            tags: _,
        } = restore;
        let what = format!("a restore as {place}");
        let not_sent = |why: String| Error::NotSent {
            what: what.clone(),
            why,
        };
        let path = Path::new(backup);
        // A name that came from elsewhere opens no other file.
        if path.parent() != Some(&self.backups) {
            return Err(not_sent(format!(
                "{backup} is not in {}, where backups are kept",
                self.backups.display()
            )));
        }
        let file = File::open(path).map_err(|error| not_sent(format!("{backup}: {error}")))?;
        let left = file
            .metadata()
            .map_err(|error| not_sent(format!("{backup}: {error}")))?
            .len();
        let project = pool.as_deref().unwrap_or(if place.project.is_empty() {
            &self.project
        } else {
            &place.project
        });
        let mut request = Request::post(format!("/1.0/instances?project={}", segment(project)))
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(NAME, &place.id);
        if let Some(storage) = storage {
            request = request.header(POOL, storage);
        }
        let request = request
            .body(Body::File { file, left })
            .map_err(|error| not_sent(error.to_string()))?;
        // The server takes it in before it answers: as long as ten MiB a second would take.
        let longer = std::time::Duration::from_secs(left / (10 << 20));
        let answer = Box::pin(self.wire.send(request, longer))
            .await
            .map_err(|error| wire_error(&what, true, error))?;
        if !answer.status.is_success() {
            return Err(refusal(&what, true, &answer));
        }
        begun(&what, &answer)
    }
}

/// A backup that is wholly here.
fn kept(file: &Path) -> io::Result<Option<Backup>> {
    let meta = match fs::metadata(file) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let at = meta.modified()?.duration_since(UNIX_EPOCH);
    Ok(Some(Backup {
        id: file.display().to_string(),
        at: at.map_or(0, |it| it.as_secs()),
        size: meta.len(),
    }))
}
