//! How many programs a second: the spawner with one and two threads beside a plain loop of `posix_spawn`.
//!
//!     cargo run --release -p process --example spawn_rate -- [SPAWNS] [OPEN_DESCRIPTORS] [MIB]
//!
//! Every program is `/bin/true`, waited for until its end. The three take turns, five rounds, and the median counts.
//! The other two numbers make this process large first: descriptors it has open, memory it has written to.

#![allow(unsafe_code)]

use std::env;
use std::fs::File;
use std::os::fd::AsFd;
use std::ptr;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use process::{Errno, Spawn, Spawned, Spawner, raise_nofile_limit, wait_leader};

const PROGRAM: &std::ffi::CStr = c"/bin/true";
const IN_FLIGHT: usize = 8;
const ROUNDS: usize = 5;

fn main() -> std::io::Result<()> {
    let mut numbers = env::args().skip(1).map(|word| word.parse::<usize>().expect("a number"));
    let spawns = numbers.next().unwrap_or(2000);
    raise_nofile_limit()?;
    let descriptors: Vec<File> =
        (0..numbers.next().unwrap_or(0)).map(|_| File::open("/dev/null")).collect::<Result<_, _>>()?;
    let memory = vec![1u8; numbers.next().unwrap_or(0) << 20];

    let one = Spawner::start(1)?;
    let two = Spawner::start(2)?;
    let mut rates: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        rates[0].push(rate(spawns, || posix_spawn_loop(spawns)));
        rates[1].push(rate(spawns, || with_spawner(&one, spawns).expect("epoll works")));
        rates[2].push(rate(spawns, || with_spawner(&two, spawns).expect("epoll works")));
    }
    println!(
        "{spawns} × /bin/true from a process with {} more descriptors and {} MiB",
        descriptors.len(),
        memory.len() >> 20
    );
    let medians = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[ROUNDS / 2]
    });
    for (name, rate) in
        ["posix_spawn, one thread", "spawner, 1 thread", "spawner, 2 threads"].iter().zip(medians)
    {
        println!("{name:24} {rate:7.0} /s   {:.2} ×", rate / medians[0]);
    }
    Ok(())
}

fn rate(spawns: usize, run: impl FnOnce()) -> f64 {
    let started = Instant::now();
    run();
    spawns as f64 / started.elapsed().as_secs_f64()
}

fn posix_spawn_loop(spawns: usize) {
    let argv = [PROGRAM.as_ptr().cast_mut(), ptr::null_mut()];
    let envp = [ptr::null_mut()];
    for _ in 0..spawns {
        let mut pid = 0;
        let mut status = 0;
        // SAFETY: arrays of C strings that end with null pointers; no attributes or file actions are given.
        let answer = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                PROGRAM.as_ptr(),
                ptr::null(),
                ptr::null(),
                argv.as_ptr(),
                envp.as_ptr(),
            )
        };
        assert_eq!(answer, 0);
        // SAFETY: our own child, and an integer of ours for its status.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    }
}

/// The shape of a supervisor: one epoll over the spawner and every child.
fn with_spawner(spawner: &Spawner, spawns: usize) -> nix::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let results = u64::MAX;
    epoll.add(spawner, EpollEvent::new(EpollFlags::EPOLLIN, results))?;
    let mut children: Vec<Option<Spawned>> = (0..spawns).map(|_| None).collect();
    let (mut submitted, mut ended) = (0, 0);
    let mut events = [EpollEvent::empty(); 64];
    while ended < spawns {
        while submitted < spawns && submitted - ended < IN_FLIGHT {
            spawner
                .submit(submitted as u64, Spawn::new(vec![PROGRAM.to_owned()], Vec::new(), c"/".to_owned()));
            submitted += 1;
        }
        // A child's death also interrupts this thread, since the spawners leave SIGCHLD to it.
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            count => count?,
        };
        for event in &events[..count] {
            if event.data() == results {
                while let Some((ticket, child)) = spawner.poll() {
                    let child = child.expect("it starts");
                    epoll.add(&child.pidfd, EpollEvent::new(EpollFlags::EPOLLIN, ticket))?;
                    children[ticket as usize] = Some(child);
                }
            } else if let Some(child) = children[event.data() as usize].take() {
                let exit = wait_leader(child.pidfd.as_fd()).expect("our child").expect("it has ended");
                assert!(exit.success());
                ended += 1;
            }
        }
    }
    epoll.delete(spawner)
}
