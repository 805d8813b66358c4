//! A guest that does not heed a shutdown.

use muster_core::journal::StepResult;
use serde_json::json;

use crate::proxy::Proxy;
use crate::world::{Entrance, end_row, site};
use crate::{container, fakepve};

/// H5: what there is to do about it is told with the task's own words, for a shutdown and for an end alike; where the settings say
/// `force_stop` already, nobody is told to say it.
#[test]
fn what_to_do_about_a_guest_that_does_not_shut_down_is_told() {
    let down = "guests: {101: {run: stopped}}\n".to_owned();
    for (row, verb) in [(down, "guest.shutdown "), (end_row(101), "guest.destroy ")] {
        for force_stop in [false, true] {
            let proxy = Proxy::start(&fakepve(), &json!([container(101, "running")]));
            proxy.state().heedless.insert("101".to_owned());
            let mut entrance = Entrance::new(&proxy);
            entrance.settings.force_stop = force_stop;
            let (site, mut world) = (site(), entrance.open());
            let told = site.cycle(&mut world, &row);
            let (_, came) = told.iter().find(|it| it.0.starts_with(verb)).unwrap();
            match came {
                StepResult::Failed(why) | StepResult::Unfinished(why) => {
                    assert!(why.contains("'lxc-stop' failed"), "{why}");
                    assert!(why.contains("101 on pve1 runs"), "{why}");
                    assert_eq!(why.contains("`force_stop = true`"), !force_stop, "{why}");
                }
                other => assert_eq!(
                    (other, force_stop, verb),
                    (&StepResult::Done, true, "guest.destroy ")
                ),
            }
        }
    }
}
