//! Fetching from an origin into the mirror, local or remote.

use crate::fetch_error::FetchError;
use crate::heads::{Heads, Proposals};
use crate::mirror::{LastFetch, Mirror};
use crate::origin::Origin;
use crate::reader::far_fetch;
use crate::{local, remote};

impl Mirror {
    /// Reads the branches of `origin` and gets what is needed to read the protected one (a full reference name) and,
    /// with [`Proposals::Include`], to merge the others.
    ///
    /// When nothing moved in a local origin this costs a few `stat`s.
    pub fn fetch(
        &mut self,
        origin: &Origin,
        protected: &str,
        proposals: Proposals,
    ) -> Result<Heads, FetchError> {
        match origin {
            Origin::Local(path) => {
                if let Some(last) = &self.last_fetch
                    && (last.path.as_path(), last.protected.as_str(), last.proposals)
                        == (path, protected, proposals)
                    && last.signature.still_holds()
                {
                    return Ok(last.heads.clone());
                }
                self.last_fetch = None;
                let (signature, heads) = match self.far {
                    Some(_) => {
                        let (heads, signature) = far_fetch(self, protected, proposals)?;
                        let Some(signature) = signature else {
                            return Ok(heads);
                        };
                        (signature, heads)
                    }
                    None => local::fetch(self, path, protected, proposals)?,
                };
                let (path, protected) = (path.clone(), protected.to_owned());
                self.last_fetch = Some(LastFetch {
                    path,
                    protected,
                    proposals,
                    signature,
                    heads: heads.clone(),
                });
                Ok(heads)
            }
            Origin::Remote(url) => {
                self.last_fetch = None;
                self.view = None;
                if self.far.is_some() {
                    return far_fetch(self, protected, proposals).map(|(heads, _)| heads);
                }
                remote::fetch(self, url, protected, proposals)
            }
        }
    }
}
