//! What a supervisor costs while it has nothing to do, and what it keeps of what is over.

use std::fs;

use serde_json::json;
use tests::{Run, Sandbox, until};

fn descriptors(run: &Run) -> usize {
    fs::read_dir(format!("/proc/{}/fd", run.pid())).unwrap().count()
}

#[test]
fn commands_that_come_and_go_leave_no_descriptor_behind() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(
        &json!({ "name": "r", "queues": { "q": {} }, "workers": { "w": { "command": ["sleep", "1000"] } } }),
    );
    sandbox.supervisor(&["queue", "put", "q", "x"]).ends_with(0);
    let before = descriptors(&run);
    for _ in 0..30 {
        sandbox.supervisor(&["queue", "put", "q", "x"]).ends_with(0);
        sandbox.supervisor(&["status"]).ends_with(0);
    }
    until("there are as many descriptors as before", || (descriptors(&run) <= before + 2).then_some(()));
    assert_eq!(run.stop(), 0);
}
