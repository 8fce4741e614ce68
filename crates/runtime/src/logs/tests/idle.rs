//! What silence costs.

use super::*;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// How many pipes this process may have, up to a thousand.
fn affordable() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    let wanted = hard.min(soft.max(4096));
    // The other tests of this process need some too.
    let granted = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map_or(soft, |()| wanted);
    (usize::try_from(granted).unwrap_or(usize::MAX).saturating_sub(400) / 2).clamp(1, 1000)
}

#[test]
fn a_thousand_silent_streams_wake_nobody_and_hold_no_buffers() {
    let pump = Pump::start(None).expect("a pump");
    let mut writers: Vec<Writer> =
        (0..affordable()).map(|number| Writer::of(&pump, &format!("w{number}"), None)).collect();
    if writers.len() < 1000 {
        eprintln!("only {} streams: the limit of descriptors is low", writers.len());
    }
    // One line shows that all were taken in: orders are obeyed in their order.
    writers.last_mut().expect("at least one").write("hello\n");
    until("the line is there", || pump.tail(None, 1).len() == 1);

    // Looked at for a while, three times: the way to rest after the line may fall into the first.
    let mut woken = [0; 3];
    for woken in &mut woken {
        let before = pump.wakeups();
        std::thread::sleep(Duration::from_millis(200));
        *woken = pump.wakeups() - before;
    }
    assert_eq!(woken[1..], [0, 0]);
    const { assert!(streams::BYTES_OF_SILENT_STREAM <= 48, "a silent stream costs too much") };
    assert_eq!(pump.tail(None, usize::MAX).len(), 1, "and nothing is kept of those that were silent");
}

#[test]
fn many_lines_cost_few_wake_ups() {
    let pump = Pump::start(None).expect("a pump");
    let mut writer = Writer::of(&pump, "chatty", None);
    let before = pump.wakeups();
    for number in 0..200_000 {
        writer.write(if number % 2 == 0 { "a short line\n" } else { "another\n" });
    }
    writer.write("end\n");
    until("all is read", || texts(&pump.tail(Some("chatty"), 1)) == ["end"]);
    let woken = pump.wakeups() - before;
    assert!(woken < 50_000, "{woken} wake-ups for 200,000 writes");
}
