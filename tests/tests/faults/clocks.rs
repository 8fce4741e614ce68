//! The clock is set, or is a strange one.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::{Run, Said, Sandbox, kill_9, until};

use crate::{in_own, lasting, offers, run_of};

/// Files that may read the wall clock: they stamp what people read, or ask when the calendar says that a worker runs.
const STAMP: [&str; 9] = [
    "crates/runtime/src/clock.rs",
    "crates/runtime/src/the_loop/scheduling.rs",
    "crates/runtime/src/history.rs",
    "crates/runtime/src/journal/mod.rs",
    "crates/runtime/src/logs/file.rs",
    "crates/runtime/src/logs/line.rs",
    "crates/runtime/src/logs/delivery.rs",
    "crates/runtime/src/logs/stamp.rs",
    "crates/runtime/src/telling.rs",
];

/// Calls this for every source file below a folder.
fn sources(folder: &Path, look: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, look);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            look(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

/// A C library whose wall clock is shifted by what the file in `CLOCK_OFFSET` says: seconds.
const SHIFTED: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <stdio.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
static long offset(void) {
    char text[32] = {0};
    const char *path = getenv("CLOCK_OFFSET");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return 0;
    long length = read(fd, text, sizeof text - 1);
    close(fd);
    return length > 0 ? atol(text) : 0;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int answer = syscall(SYS_clock_gettime, clock, now);
    if (answer == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += offset();
    return answer;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    int answer = clock_gettime(CLOCK_REALTIME, &exact);
    if (answer == 0) { now->tv_sec = exact.tv_sec; now->tv_usec = exact.tv_nsec / 1000; }
    return answer;
}
time_t time(time_t *to) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
    if (to) *to = exact.tv_sec;
    return exact.tv_sec;
}
int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old) {
    struct itimerspec shifted = *new;
    if ((flags & TFD_TIMER_ABSTIME) && shifted.it_value.tv_sec > 0) shifted.it_value.tv_sec -= offset();
    return syscall(SYS_timerfd_settime, fd, flags, &shifted, old);
}
"#;

const TEN_YEARS: i64 = 10 * 365 * 24 * 60 * 60;

#[test]
fn supervisord_458_a_clock_that_is_set_back_and_forth_changes_nothing_but_what_is_stamped() {
    if !offers("cc", &["--version"], "no C compiler here (cc)") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("clock.c", SHIFTED);
    let library = sandbox.path().join("libclock.so");
    let compile = format!("exec cc -shared -fPIC -O1 -o {} clock.c", library.display());
    Said::of(sandbox.shell().arg(compile)).ends_with(0);
    let offset = sandbox.write("offset", "0\n");

    let mut victim = lasting();
    victim["backoff"] = json!({ "initial": "200ms", "max": "200ms", "jitter": 0 });
    let config = run_of(&json!({
        "victim": victim,
        "teller": { "command": "while :; do echo told; sleep 0.05; done" },
        "deaf": { "command": "trap '' TERM; echo up > up; while :; do sleep 0.02; done", "stop": { "grace": "300ms" } },
        "periodic": { "command": "echo x >> ran", "schedule": { "every": "100ms" } },
        "hourly": { "command": "echo x >> struck", "schedule": { "cron": "0 * * * *" } },
        "well": { "command": ["sleep", "1000"],
                  "health": { "command": ["sh", "-c", "echo x >> probed"], "every": "50ms", "timeout": "60s" } } }));
    let preload = [("LD_PRELOAD", library.as_os_str()), ("CLOCK_OFFSET", offset.as_os_str())];
    let mut run = Run::start_with(&sandbox, &config, &preload);
    let year = || {
        let said = sandbox.supervisor(&["logs", "teller", "-n", "1", "--json"]).ends_with(0).out;
        let line: Value = serde_json::from_str(said.lines().next()?).expect("a line of JSON");
        line["time"].as_str()?.get(..4)?.parse::<i64>().ok()
    };
    let now = until("it has told something", year);
    let well = run.until_launch("well", 1);
    let mut launch = 1;
    for (shift, years) in [(-TEN_YEARS, -10), (TEN_YEARS, 10), (0, 0), (-TEN_YEARS, -10)] {
        kill_9(run.until_launch("victim", launch));
        launch += 1;
        // While its rest runs.
        sandbox.write("offset", format!("{shift}\n"));
        run.until_launch("victim", launch);
        until("what it tells is stamped so", || {
            // Ten years have leap days, and somewhere it is New Year's Eve.
            year().filter(|year| (year - now - years).abs() <= 1)
        });
        for (what, file) in [("runs", "ran"), ("probes", "probed")] {
            let before = sandbox.lines(file);
            until(&format!("{what} go on"), || (sandbox.lines(file) >= before + 5).then_some(()));
        }
        sandbox.until_written("up");
        let asked = std::time::Instant::now();
        sandbox.supervisor(&["stop", "deaf"]).ends_with(0);
        assert!(asked.elapsed().as_millis() >= 300, "it had its grace");
        fs::remove_file(sandbox.path().join("up")).unwrap();
        sandbox.supervisor(&["start", "deaf"]).ends_with(0);
        sandbox.supervisor(&["wait", "well", "--timeout", "50ms"]).ends_with(7);
        let row = run.instance("well", 0);
        assert_eq!((row.pid, row.restarts), (Some(well), 0), "nobody takes it for silent");
        let uptime = row.uptime_s.expect("it is up");
        assert!((0.0..3600.0).contains(&uptime), "{uptime}");
    }
    assert!(sandbox.lines("struck") <= 8, "hours that were skipped are not made up for one by one");
    let told = sandbox.supervisor(&["events", "--json"]).ends_with(0).out;
    let numbers = told.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["seq"].as_u64());
    assert!(numbers.zip(1..).all(|(seq, place)| seq == Some(place)), "{told}");
    assert_eq!(run.stop(), 0, "{}", run.err());
}

/// The wall clock of a machine that others live on cannot be set for a test, and a namespace has none of its own. So this
/// looks at who reads it: nobody who decides, waits, or measures.
#[test]
fn supervisord_458_nothing_is_decided_by_a_clock_that_can_be_set() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().canonicalize().unwrap();
    let mut readers = Vec::new();
    for room in ["supervision", "config", "process", "ipc", "control", "worker", "runtime"] {
        sources(&root.join("crates").join(room).join("src"), &mut |path, text| {
            // What stands behind a test is not looked at.
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let wall = [
                "SystemTime::now",
                "CLOCK_REALTIME",
                "ClockId::CLOCK_REALTIME",
                "UNIX_EPOCH.elapsed",
                "Zoned::now",
                "Timestamp::now",
            ];
            if wall.iter().any(|clock| text.contains(clock)) {
                readers.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
            }
        });
    }
    let others: Vec<&String> = readers.iter().filter(|reader| !STAMP.contains(&reader.as_str())).collect();
    assert!(others.is_empty(), "{others:?} read the wall clock");
    assert!(!readers.is_empty(), "nobody stamps anything any more: the test looks in the wrong place");
}

#[test]
fn a_machine_that_has_just_started_is_a_machine_like_any_other() {
    let Some(own) = in_own("--time --fork", "no time namespaces here (unshare)") else { return };
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    // A second after the clocks began to run; and more than a century later.
    for offset in [format!("-{}", seconds as u64 - 1), "4000000000".to_owned()] {
        let sandbox = Sandbox::new();
        let script = "echo start >> starts; [ $(wc -l < starts) -ge 3 ]";
        let worker = json!({ "command": script, "backoff": { "initial": "20ms", "jitter": 0 } });
        let deaf = json!({ "command": "trap '' TERM; echo up > up; while :; do sleep 0.02; done", "policy": "terminate",
                           "stop": { "grace": "200ms" } });
        sandbox.write("r.json", run_of(&json!({ "w": worker, "deaf": deaf })).to_string());
        let mut command = sandbox.shell();
        command.arg(format!("exec {own} --monotonic={offset} --boottime={offset} supervisor run r.json"));
        let said = Said::of(&mut command).ends_with(0);
        assert_eq!(sandbox.lines("starts"), 3, "{offset}: {}", said.err);
    }
}
