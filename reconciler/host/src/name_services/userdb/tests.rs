use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use super::super::{Asked, Known, NameServices, Sources};
use super::*;

/// A root directory with services in it, each on a thread that ends when nobody asks any more.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(SERVICES)).unwrap();
        fs::create_dir_all(dir.path().join("etc/userdb")).unwrap();
        Self { dir }
    }

    /// A service that gives, to each question, the bytes that `answer` makes of it, and hangs up at `None`.
    fn serve(
        &self,
        name: &str,
        answer: impl Fn(&Value) -> Option<Vec<u8>> + Send + 'static,
    ) -> JoinHandle<usize> {
        let listener = UnixListener::bind(self.dir.path().join(SERVICES).join(name)).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut heard, mut questions) = (Vec::new(), 0);
            let mut byte = [0];
            while stream.read(&mut byte).is_ok_and(|count| count > 0) {
                if byte[0] != 0 {
                    heard.push(byte[0]);
                    continue;
                }
                questions += 1;
                let question: Value = serde_json::from_slice(&heard).unwrap();
                heard.clear();
                match answer(&question) {
                    Some(bytes) if stream.write_all(&bytes).is_ok() => {}
                    Some(_) | None => break,
                }
            }
            questions
        })
    }

    fn record(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join("etc/userdb").join(name), text).unwrap();
    }

    fn ask(&self, names: &[&str], ids: &[u32], new: usize) -> Result<Known, String> {
        let asked = Asked {
            names: names.iter().map(|it| (*it).to_owned()).collect(),
            ids: ids.iter().copied().collect(),
            new,
            uids: (1_000, 60_000),
            gids: (1_000, 60_000),
            ..Asked::default()
        };
        let sources = Sources::named("passwd: files systemd\n");
        NameServices::default().ask(sources, self.dir.path(), asked)
    }
}

fn message(value: &Value) -> Option<Vec<u8>> {
    let mut bytes = value.to_string().into_bytes();
    bytes.push(0);
    Some(bytes)
}

fn no_record() -> Option<Vec<u8>> {
    message(&json!({"error": "io.systemd.UserDatabase.NoRecordFound", "parameters": {}}))
}

/// As homed: one account, with a group of its own.
fn homed(question: &Value) -> Option<Vec<u8>> {
    let asked = &question["parameters"];
    assert_eq!(asked["service"], "io.systemd.Home");
    let amy = json!({"userName": "amy", "uid": 60_001, "gid": 60_001, "disposition": "regular"});
    let own = json!({"groupName": "amy", "gid": 60_001});
    let record = match question["method"].as_str().unwrap() {
        "io.systemd.UserDatabase.GetUserRecord"
            if asked["userName"] == "amy" || asked["uid"] == 60_001 =>
        {
            amy
        }
        "io.systemd.UserDatabase.GetGroupRecord"
            if asked["groupName"] == "amy" || asked["gid"] == 60_001 =>
        {
            own
        }
        "io.systemd.UserDatabase.GetUserRecord" | "io.systemd.UserDatabase.GetGroupRecord" => {
            return no_record();
        }
        other => panic!("{other}"),
    };
    message(&json!({"parameters": {"record": record, "incomplete": false}}))
}

#[test]
fn who_is_known_to_a_service_or_in_a_record_is_known() {
    let machine = Machine::new();
    let home = machine.serve("io.systemd.Home", homed);
    machine.record(
        "bea.user",
        r#"{"userName": "bea", "uid": 1001, "gid": 1003}"#,
    );
    machine.record("devs.group", r#"{"groupName": "devs", "gid": 1002}"#);
    machine.record("half.user", "{ no record");
    machine.record("1004.user", "");
    let known = machine
        .ask(&["amy", "bea", "devs", "half", "zoe"], &[60_001, 5_000], 2)
        .unwrap();
    assert_eq!(
        known.names,
        [("amy".to_owned(), 60_001), ("bea".to_owned(), 1_001)].into()
    );
    assert_eq!(Vec::from_iter(known.barred.keys()), ["devs", "half"]);
    assert_eq!(known.uids, [1_001, 1_004, 60_001].into());
    assert_eq!(known.gids, [1_002, 1_003, 60_001].into());
    assert!(home.join().unwrap() > 20);
}

#[test]
fn a_service_that_has_nobody_keeps_nobody_back() {
    let machine = Machine::new();
    let quiet = machine.serve("io.systemd.DynamicUser", |_| no_record());
    // Where nobody listens, and what shows through there is asked itself.
    drop(
        UnixListener::bind(
            machine
                .dir
                .path()
                .join(SERVICES)
                .join("io.systemd.Multiplexer"),
        )
        .unwrap(),
    );
    assert_eq!(machine.ask(&["amy"], &[], 1), Ok(Known::default()));
    assert!(quiet.join().unwrap() > 0);
    assert_eq!(Machine::new().ask(&["amy"], &[], 1), Ok(Known::default()));
}

#[test]
fn who_answers_what_is_no_answer_is_told_of() {
    type Answer = fn(&Value) -> Option<Vec<u8>>;
    let endless: Answer = |_| Some(vec![b'x'; (LONGEST as usize) + (1 << 15)]);
    let silent: Answer = |_| Some(Vec::new());
    for (answer, told) in [
        ((|_| None) as Answer, "it hung up"),
        (|_| Some(b"{\0".to_vec()), "it is no JSON"),
        (
            |_| message(&json!({"parameters": {}})),
            "answers what is no answer",
        ),
        (
            |_| message(&json!({"parameters": {"record": [7]}})),
            "answers what is no answer",
        ),
        (
            |_| message(&json!({"error": "io.systemd.UserDatabase.ServiceNotAvailable\u{1b}[2J"})),
            "an error (io.systemd.UserDatabase.ServiceNotAvailable2J)",
        ),
        (endless, "it is too long"),
        (silent, "does not answer in time"),
    ] {
        let machine = Machine::new();
        let _service = machine.serve("io.systemd.Home", answer);
        let path = machine.dir.path().join(SERVICES).join("io.systemd.Home");
        let soon = Instant::now() + Duration::from_millis(300);
        let mut service = Service::connect(path.clone(), soon).unwrap().unwrap();
        let why = service
            .ask("GetUserRecord", "userName", &json!("amy"))
            .unwrap_err();
        assert!(
            why.contains(told) && why.contains("io.systemd.Home"),
            "{why}"
        );
    }
    // Somebody's socket, and nobody there.
    let machine = Machine::new();
    let path = machine.dir.path().join(SERVICES).join("io.systemd.Home");
    drop(UnixListener::bind(path).unwrap());
    let why = machine.ask(&["amy"], &[], 0).unwrap_err();
    assert!(why.contains("takes no questions"), "{why}");
}
