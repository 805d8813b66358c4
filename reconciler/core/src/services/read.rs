//! Reads what owners were asked and answered, file by file.

use std::collections::BTreeMap;

use super::names;
use super::records::{self, Place, Records};
use crate::repo::Report;

/// Reads the files below `services/`. In the order of their names what is asked comes before what is answered.
pub(crate) fn read<'a>(files: &'a BTreeMap<String, Vec<u8>>, report: &mut Report) -> Records<'a> {
    let mut read = Records::default();
    for path in files.keys().map(String::as_str) {
        if names::tells_secret(path, |it| read.surfaces.contains_key(it)) {
            report.say(names::shown(path), names::secret_name());
            continue;
        }
        match records::place(path) {
            None => {}
            Some(Place::Inventory) => {
                read.inventory = report.read(files, path, records::read_inventory);
            }
            Some(Place::Requests) => {
                read.surfaces = report
                    .read(files, path, records::read_requests)
                    .unwrap_or_default();
            }
            Some(Place::Response(surface)) => {
                let response = report.read(files, path, records::read_response);
                read.responses.extend(response.map(|it| (surface, it)));
            }
            Some(Place::Review(surface)) => {
                let review = report.read(files, path, records::read_review);
                read.reviews.extend(review.map(|it| (surface, it)));
            }
            Some(Place::Elsewhere) => {
                let _ = report.read(files, path, names::nobody_reads);
            }
        }
    }
    read
}
