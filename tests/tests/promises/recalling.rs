//! A supervisor is killed, and the next one is given another config: what it takes back runs by the former one, and nobody
//! says otherwise.

use std::ffi::OsStr;

use serde_json::{Value, json};
use tests::{Run, Sandbox};

fn lasting(env: &Value) -> Value {
    json!({ "command": ["sleep", "1000"], "env": env })
}

fn with(w: Value) -> Value {
    json!({ "name": "r", "workers": { "w": w, "same": lasting(&json!({})) } })
}

/// What a plan of the run's own config says of a worker: its action and the reason.
fn planned(sandbox: &Sandbox, worker: &str) -> (String, String) {
    let path = sandbox.path().join("r.json");
    let plan = sandbox.supervisor(&["plan", &path.to_string_lossy(), "--json"]).ends_with(0).json();
    let rows = plan["workers"].as_array().expect("rows").clone();
    let row = rows.into_iter().find(|row| row["worker"] == worker).expect("it is there");
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    (text("action"), text("reason"))
}

fn is_older(sandbox: &Sandbox) -> Value {
    sandbox.supervisor(&["why", "w", "--json"]).ends_with(0).json()[0]["older_config"].clone()
}

#[test]
fn who_is_taken_back_by_a_run_of_another_config_is_told_to_be_what_it_is() {
    let sandbox = Sandbox::new();
    let former = with(lasting(&json!({ "COLOUR": "red" })));
    let run = sandbox.run(&former);
    let pids = ["w", "same"].map(|name| run.until_launch(name, 1));
    assert_eq!(is_older(&sandbox), json!(false));
    run.kill_9();

    let next = with(lasting(&json!({ "COLOUR": "blue" })));
    let older = ("restart".to_owned(), "w:0 runs by an older config: env changed: COLOUR".to_owned());
    // Also the one after the next knows.
    for _ in 0..2 {
        let run = sandbox.run(&next);
        assert_eq!(["w", "same"].map(|name| run.until_launch(name, 1)), pids, "{}", run.err());
        assert!(run.err().contains("w: runs by an older config; "), "{}", run.err());
        assert_eq!(run.instance("w", 0).why.as_deref(), Some("runs by an older config"));
        assert_eq!((planned(&sandbox, "w"), is_older(&sandbox)), (older.clone(), json!(true)));
        assert_eq!((planned(&sandbox, "same").0, run.instance("same", 0).why), ("none".to_owned(), None));
        run.kill_9();
    }
    // What it runs by is the present config again.
    let run = sandbox.run(&former);
    assert_eq!((planned(&sandbox, "w").0.as_str(), is_older(&sandbox)), ("none", json!(false)));
    run.kill_9();

    let mut run = sandbox.run(&next);
    let path = sandbox.path().join("r.json");
    sandbox.supervisor(&["apply", &path.to_string_lossy()]).ends_with(0);
    run.until_launch("w", 2);
    assert_eq!((planned(&sandbox, "w").0.as_str(), is_older(&sandbox)), ("none", json!(false)));
    assert_eq!(run.instance("same", 0).pid, Some(pids[1]));
    assert_eq!(run.stop(), 0);
}

#[test]
fn what_a_config_took_from_the_environment_of_the_former_supervisor_counts() {
    let sandbox = Sandbox::new();
    let config = with(lasting(&json!({ "TOLD": "${COLOUR:-none}" })));
    let begin = |colour: &str| Run::start_with(&sandbox, &config, &[("COLOUR", OsStr::new(colour))]);
    let run = begin("red");
    run.until_launch("w", 1);
    run.kill_9();
    let run = begin("red");
    assert_eq!(planned(&sandbox, "w").0, "none");
    run.kill_9();
    let mut run = begin("blue");
    let older = ("restart".to_owned(), "w:0 runs by an older config: env changed: TOLD".to_owned());
    assert_eq!(planned(&sandbox, "w"), older);
    assert_eq!(run.stop(), 0);
}

/// Neither an old program nor a full disk may have left what is to be read here.
#[test]
fn a_folder_in_which_it_does_not_stand_or_only_nonsense_is_no_obstacle() {
    let sandbox = Sandbox::new();
    let config = with(lasting(&json!({})));
    for nonsense in [None, Some("{"), Some("[]"), Some(r#"{"number": 18446744073709551615, "configs": 1}"#)] {
        let run = sandbox.run(&config);
        run.until_launch("w", 1);
        let kept = run.socket().with_file_name("configs");
        run.kill_9();
        std::fs::remove_file(&kept).expect("it is there");
        if let Some(nonsense) = nonsense {
            std::fs::write(kept, nonsense).expect("it can be written");
        }
        let mut run = sandbox.run(&config);
        assert_eq!(planned(&sandbox, "w").0, "none");
        assert_eq!(run.stop(), 0, "{}", run.err());
    }
}
