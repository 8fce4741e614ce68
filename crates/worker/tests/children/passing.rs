//! Queues, locks and the like as arguments.

use worker::{Exit, Process};

use crate::kit::{KILLED, PATIENCE, family, get, output, queue, role};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    messages_go_to_a_child_and_come_back,
    every_kind_of_thing_can_be_passed_under_a_name_of_its_own,
    a_lock_whose_holder_was_killed_is_handed_on_and_says_so,
    a_message_in_the_hands_of_a_killed_child_is_delivered_to_another,
    what_was_passed_goes_on_to_grandchildren_and_outlives_the_one_between,
    a_shell_in_between_passes_it_on,
    nothing_passed_leaks_into_programs_that_a_child_starts_otherwise,
    a_socket_is_passed_and_both_ends_talk,
    a_number_of_an_array_is_not_passed_for_itself,
];

fn messages_go_to_a_child_and_come_back() {
    let (there, back) = (queue("there"), queue("back"));
    let child = role(&["echo"]).name("echo").queue("there", &there).queue("back", &back);
    let child = child.start().expect("it starts");
    for number in 0..100 {
        there.put(&number.to_string()).expect("it is open");
        assert_eq!(get(&back), format!("echo: {number}"));
    }
    there.close();
    assert_eq!(child.join(PATIENCE), Ok(Exit::Code(0)));
}

fn every_kind_of_thing_can_be_passed_under_a_name_of_its_own() {
    let (said, family) = (queue("said"), family());
    let child = role(&["all-kinds"])
        .queue("said", &said)
        .family("house", &family)
        .lock("lock", &family.lock("ledger").unwrap())
        .rlock("again", &family.rlock("again").unwrap())
        .semaphore("gpu", &family.semaphore("gpu").unwrap())
        .event("go", &family.event("go").unwrap())
        .barrier("start", &family.barrier("start").unwrap())
        .condition("news", &family.condition("news").unwrap())
        .value("sum", &family.value("total").unwrap())
        .array("counts", &family.array("counts").unwrap());
    let child = child.start().expect("it starts");
    family.barrier("start").unwrap().wait().expect("both come");
    assert_eq!(family.value("total").unwrap().get(), 1);
    assert_eq!(family.array("counts").unwrap().get(3), Some(7));
    assert_eq!(get(&said), "this process was given no lock \"nothere\"; it has lock");
    assert_eq!(child.join(PATIENCE), Ok(Exit::Code(0)));
}

fn a_lock_whose_holder_was_killed_is_handed_on_and_says_so() {
    let (said, family) = (queue("said"), family());
    let lock = family.lock("ledger").unwrap();
    let child = role(&["hold-the-lock"]).name("holder").lock("lock", &lock).queue("said", &said);
    let child = child.start().expect("it starts");
    assert_eq!(get(&said), "held");
    assert!(lock.try_acquire().is_err());
    child.kill().expect("ours");
    let guard = lock.acquire_timeout(PATIENCE).expect("it is handed on");
    let holder = guard.recovered().expect("it says so");
    assert_eq!((holder.pid, holder.name.as_deref()), (child.pid(), Some("holder")));
    assert_eq!(child.join(PATIENCE), Ok(KILLED));
}

fn a_message_in_the_hands_of_a_killed_child_is_delivered_to_another() {
    let (there, back) = (queue("there"), queue("back"));
    let holder = role(&["get-and-hold"]).queue("there", &there).queue("said", &back);
    let holder = holder.start().expect("it starts");
    there.put(&"once".to_owned()).expect("it is open");
    assert_eq!(get(&back), "once");
    holder.kill().expect("ours");
    assert_eq!(holder.join(PATIENCE), Ok(KILLED));
    let other = role(&["echo"]).name("other").queue("there", &there).queue("back", &back);
    let other = other.start().expect("it starts");
    assert_eq!(get(&back), "other: once");
    there.close();
    assert_eq!(other.join(PATIENCE), Ok(Exit::Code(0)));
}

fn what_was_passed_goes_on_to_grandchildren_and_outlives_the_one_between() {
    let (said, family) = (queue("said"), family());
    let go = family.event("go").unwrap();
    let child = role(&["pass-on"]).queue("said", &said).event("go", &go).start().expect("it starts");
    go.set().expect("it is well");
    assert_eq!(get(&said), "done");
    assert_eq!(child.join(PATIENCE), Ok(Exit::Code(0)));
}

fn a_shell_in_between_passes_it_on() {
    let (there, back) = (queue("there"), queue("back"));
    let me = std::env::current_exe().expect("this program");
    // Not executed in the shell's place: the one who opens the queues is a grandchild.
    let line = format!("'{}' --role echo; exit $?", me.display());
    let child = Process::new(["/bin/sh", "-c", &line]).queue("there", &there).queue("back", &back);
    let child = child.start().expect("it starts");
    there.put(&"hello".to_owned()).expect("it is open");
    // It is no child of this one's, and does not take itself for one.
    assert_eq!(get(&back), "MainProcess: hello");
    there.close();
    assert_eq!(child.join(PATIENCE), Ok(Exit::Code(0)));
}

fn nothing_passed_leaks_into_programs_that_a_child_starts_otherwise() {
    let (said, family) = (queue("said"), family());
    let process = role(&["descriptors"]).queue("said", &said).family("house", &family);
    // The fourth is that of ls itself.
    assert_eq!(output(process), ("0\n1\n2\n3\n".into(), Exit::Code(0)));
}

fn a_socket_is_passed_and_both_ends_talk() {
    use std::io::{Read, Write};
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let child = role(&["answer"]).descriptor("line", &theirs).start().expect("it starts");
    drop(theirs);
    ours.write_all(b"ping").expect("somebody is there");
    let mut answer = String::new();
    // Until the last copy of the other end is closed: nobody else may have one.
    ours.read_to_string(&mut answer).expect("text");
    assert_eq!(answer, "pong");
    assert_eq!(child.join(PATIENCE), Ok(Exit::Code(0)));
}

fn a_number_of_an_array_is_not_passed_for_itself() {
    let family = family();
    let one = family.array("counts").unwrap().at(2).unwrap();
    let error = Process::new("true").value("third", &one).start().expect_err("it has no name");
    assert!(error.to_string().contains("part of an array"), "{error}");
}
