//! What a supervising process arranges for itself before it starts others.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::Pid;

use crate::limit::{Limit, LimitName};

static ORIGINAL_NOFILE: OnceLock<Limit> = OnceLock::new();

/// Makes this process the one that adopts every orphan among its descendants, so that none escapes by forking twice.
///
/// Adopted orphans are children of the main thread: see [`reap_orphan`](crate::reap_orphan).
///
/// # Errors
///
/// Those of the kernel, of which none is known since Linux 3.4.
pub fn become_subreaper() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Whether this process adopts its orphaned descendants.
pub fn is_subreaper() -> bool {
    prctl::get_child_subreaper().unwrap_or(false)
}

/// Raises this process's soft limit of open descriptors to the hard one and returns what it is now.
///
/// Every program started by [`Spawn`](crate::Spawn) gets the original limit back: a high one makes old programs, which
/// close or scan every possible descriptor, slow. Calling it again changes nothing.
///
/// # Errors
///
/// Those of `getrlimit` and `setrlimit`.
pub fn raise_nofile_limit() -> io::Result<u64> {
    let mut now = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the kernel fills one rlimit, and only a success is read.
    let mut now = unsafe {
        Errno::result(libc::getrlimit(libc::RLIMIT_NOFILE, now.as_mut_ptr()))?;
        now.assume_init()
    };
    ORIGINAL_NOFILE.get_or_init(|| Limit { name: LimitName::Nofile, soft: now.rlim_cur, hard: now.rlim_max });
    now.rlim_cur = now.rlim_max;
    // SAFETY: one rlimit of ours is read.
    Errno::result(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const now) })?;
    Ok(now.rlim_cur)
}

/// The limit this process was started with, once [`raise_nofile_limit`] has raised it.
pub fn original_nofile_limit() -> Option<Limit> {
    ORIGINAL_NOFILE.get().copied()
}

/// Asks the kernel to send this process `signal` when its parent ends, and says whether `parent` still is its parent.
///
/// After `Ok(false)` the parent is already gone and no signal will come for its death. The kernel means the thread that
/// started this process: one that ends before its process ends counts as the parent's end.
///
/// # Errors
///
/// `EINVAL` for what is no signal.
pub fn die_with_parent(parent: Pid, signal: i32) -> io::Result<bool> {
    // SAFETY: integers only.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) })?;
    Ok(Pid::parent() == parent)
}

/// Has `run` called, on the thread that ends it, when this process ends by itself: by returning from `main` or by
/// `exit`. What was asked for last is called first. The child of a fork calls it too when it ends so.
///
/// # Errors
///
/// `ENOMEM` when the C library has no place for it.
pub fn at_exit(run: extern "C" fn()) -> io::Result<()> {
    // SAFETY: a function of this program, which stays where it is for as long as the process lives.
    if unsafe { libc::atexit(run) } == 0 { Ok(()) } else { Err(Errno::ENOMEM.into()) }
}

/// Makes what `command` starts end with `signal` when this process ends, however that happens. Its children are not
/// reached; a program that the file system gives other rights (setuid) is let off by the kernel.
///
/// To be spawned by the main thread, or by another that outlives what it started: the kernel means the thread.
pub fn let_die_with_us(command: &mut Command, signal: i32) {
    let parent = Pid::this();
    let before_exec = move || match die_with_parent(parent, signal)? {
        true => Ok(()),
        // We are gone already; nobody would tell it.
        false => Err(io::Error::from(Errno::ESRCH)),
    };
    // SAFETY: between fork and exec it makes two system calls, and neither allocates nor takes a lock: an error is made
    // of a number.
    unsafe { command.pre_exec(before_exec) };
}

/// Ignores `SIGPIPE`, so that writing to a reader that has gone is an error and not the end of this process.
///
/// # Errors
///
/// None is known.
pub fn ignore_broken_pipes() -> io::Result<()> {
    // SAFETY: ignoring runs no handler.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }?;
    Ok(())
}

/// Ignores `SIGXFSZ`, so that writing to a file that has reached the limit of its size (`ulimit -f`) is an error and not
/// the end of this process.
///
/// # Errors
///
/// None is known.
pub fn ignore_full_files() -> io::Result<()> {
    // SAFETY: ignoring runs no handler.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }?;
    Ok(())
}

/// Makes all threads of this process take memory from one heap. By default the C library gives each a heap of its own,
/// which keeps what it was ever needed for: good where many threads allocate all the time, dear where few do so rarely.
/// To be called before there are other threads.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: integers only; the setting counts for heaps that are still to be made.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives back to the kernel what this process needed for something that is over: heap memory that is free but not at
/// the heap's end, which the C library keeps otherwise, and the parts of the program that were used for it. What is
/// needed again of those comes back out of the file. It takes a few milliseconds: to be called after something large,
/// not in between.
pub fn give_memory_back() {
    drop_unwritten();
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches nothing but the allocator's own free memory, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of the program's own pages, as far as they are as in its file.
fn drop_unwritten() {
    let (Ok(maps), Ok(program)) = (fs::read_to_string("/proc/self/smaps"), fs::read_link("/proc/self/exe"))
    else {
        return;
    };
    for (start, length) in as_in_the_file(&maps, &program.to_string_lossy()) {
        // SAFETY: the kernel has just said that this range shows the program's file, that nobody can write to it and
        // that no page of it was ever copied for having been written to. So each is as in the file, and whoever needs
        // one next gets it from there again. A failure changes nothing.
        unsafe {
            libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED);
        }
    }
}

/// The starts and lengths of the parts of `program` in which no byte differs from the file, nor can come to differ, as
/// `/proc/PID/smaps` tells them.
fn as_in_the_file(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut current = None;
    for line in maps.lines() {
        if let Some((key, value)) = line.split_once(':')
            && !key.contains(' ')
        {
            match (key, value.trim()) {
                // Pages of its own, in memory or swapped out: what relocation has written to before it was sealed.
                ("Anonymous" | "Swap", size) if size != "0 kB" => current = None,
                // The last line of each part.
                ("VmFlags", _) => found.extend(current.take()),
                _ => {}
            }
        } else {
            current = readable_part(line, program);
        }
    }
    found
}

/// The start and length of a part of `program` that cannot be written to, from the line that begins it.
fn readable_part(line: &str, program: &str) -> Option<(usize, usize)> {
    // Place, rights, offset, device, inode, and the path as it is, spaces and all.
    let mut fields = line.splitn(6, ' ');
    let (place, rights) = (fields.next()?, fields.next()?);
    let path = fields.nth(3)?.trim_start();
    let (start, end) = place.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    (matches!(rights, "r-xp" | "r--p") && path == program).then_some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(rights: &str, path: &str, anonymous: &str) -> String {
        format!(
            "1000-3000 {rights} 00001000 fe:00 4711                       {path}\nSize:   8 kB\n\
             Anonymous:   {anonymous} kB\nSwap:    0 kB\nVmFlags: rd ex mr\n"
        )
    }

    #[test]
    fn only_what_is_of_the_program_and_was_never_written_is_given_back() {
        let program = "/bin/a b: c";
        for rights in ["r-xp", "r--p"] {
            assert_eq!(as_in_the_file(&part(rights, program, "0"), program), [(0x1000, 0x2000)]);
        }
        for (rights, path, anonymous) in [
            ("rw-p", program, "0"),
            ("r-xs", program, "0"),
            ("r-xp", "/lib/libc.so", "0"),
            ("r--p", "", "0"),
            ("r--p", program, "4"),
        ] {
            assert_eq!(
                as_in_the_file(&part(rights, path, anonymous), program),
                [],
                "{rights} {path} {anonymous}"
            );
        }
        let two = part("r--p", program, "4") + &part("r-xp", program, "0");
        assert_eq!(as_in_the_file(&two, program).len(), 1);
    }

    #[test]
    fn what_runs_goes_on_after_its_code_was_given_back() {
        let numbers: Vec<u64> = (0..100_000).collect();
        for _ in 0..10 {
            give_memory_back();
            assert_eq!(numbers.iter().sum::<u64>(), 4_999_950_000);
        }
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let program = fs::read_link("/proc/self/exe").unwrap();
        let here = give_memory_back as fn() as usize;
        let found = as_in_the_file(&maps, &program.to_string_lossy());
        assert!(found.iter().any(|(start, length)| (*start..start + length).contains(&here)), "{found:x?}");
    }
}
