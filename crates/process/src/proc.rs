//! Processes as `/proc` shows them.
//!
//! Nothing here trusts what it reads: a process chooses its own name, command line and environment.

use std::fs::{self, File};
use std::io::{self, Read};

use crate::as_its_user;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// More of a command line than anybody reads.
const CMDLINE_BYTES: u64 = 32 * 1024;
/// More of an environment than the kernel lets a program start with by default.
const ENVIRON_BYTES: u64 = 4 * 1024 * 1024;

/// One line of `/proc/PID/stat`, as far as it is of use here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its process id.
    pub pid: Pid,
    /// The name of its main thread, at most 15 bytes, chosen by the program; any character may be in it.
    pub comm: String,
    /// `R` running, `S` sleeping, `D` in an uninterruptible sleep, `T` stopped, `t` traced, `Z` zombie, `X` dead, `I` idle.
    pub state: char,
    /// Its parent; 0 when that is outside of this pid namespace.
    pub ppid: Pid,
    /// Its process group.
    pub pgrp: Pid,
    /// Its session.
    pub session: Pid,
    /// The kernel's `PF_` flags.
    pub flags: u32,
    /// When it started, in clock ticks (100 a second) since the machine did.
    pub start_time: u64,
    /// What it has had of the processors, in clock ticks; of its children's time nothing.
    pub cpu_time: u64,
    /// How many threads it has.
    pub threads: u32,
    /// How much of it is in memory, in bytes; what it shares with others counts in full.
    pub resident: u64,
}

/// Clock ticks a second in what `/proc` tells, on every machine that Linux runs on.
pub const TICKS_A_SECOND: u64 = 100;

/// How long the machine has been up, in clock ticks: the time that [`Stat::start_time`] is of. What it slept counts.
pub fn ticks_since_boot() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_or(0, |now| now.tv_sec() * 100 + now.tv_nsec() / 10_000_000);
    u64::try_from(now).unwrap_or(0)
}

fn page_bytes() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096)
}

impl Stat {
    /// Reads the facts of one process; `None` when it does not exist. A zombie exists.
    ///
    /// # Errors
    ///
    /// Those of reading a file; `InvalidData` for a line that is not as proc(5) promises.
    pub fn of(pid: Pid) -> io::Result<Option<Self>> {
        Self::read_into(pid, &mut Vec::new())
    }

    /// [`Stat::of`] with a buffer to use again.
    pub(crate) fn read_into(pid: Pid, buffer: &mut Vec<u8>) -> io::Result<Option<Self>> {
        buffer.clear();
        match File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read_to_end(buffer)) {
            Ok(_) => Self::parse(buffer).map(Some).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is not as expected"))
            }),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Understands one line of `/proc/PID/stat`.
    ///
    /// The name is between the first `(` and the last `)`, since it may hold both, spaces and newlines.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|byte| *byte == b'(')?;
        let close = line.iter().rposition(|byte| *byte == b')')?;
        let pid = std::str::from_utf8(line.get(..open)?).ok()?.trim().parse().ok()?;
        let comm = String::from_utf8_lossy(line.get(open + 1..close)?).into_owned();
        // Fields are counted from 1 in proc(5); the state is the third.
        let fields: Vec<&str> =
            std::str::from_utf8(line.get(close + 1..)?).ok()?.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let id = |number| field(number)?.parse().ok().map(Pid::from_raw);
        Some(Self {
            pid: Pid::from_raw(pid),
            comm,
            state: field(3)?.chars().next()?,
            ppid: id(4)?,
            pgrp: id(5)?,
            session: id(6)?,
            flags: field(9)?.parse().ok()?,
            start_time: field(22)?.parse().ok()?,
            cpu_time: field(14)?.parse::<u64>().ok()?.saturating_add(field(15)?.parse().ok()?),
            threads: field(20)?.parse().ok()?,
            resident: field(24)?.parse::<u64>().ok()?.saturating_mul(page_bytes()),
        })
    }

    /// How a process has ended whose parent has not taken its exit yet, as `wait` tells it. `None` when it is no zombie, and
    /// when this process may not know.
    pub(crate) fn exit_status(pid: Pid) -> Option<i32> {
        let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
        if !Self::parse(&line)?.is_zombie() {
            return None;
        }
        let status = line.rsplit(|byte| byte.is_ascii_whitespace()).find(|field| !field.is_empty())?;
        let status = std::str::from_utf8(status).ok()?.parse().ok()?;
        // The last of the fields (the 52nd), since Linux 3.5. Who may not know reads 0; nobody but who may can open this one.
        (status != 0 || File::open(format!("/proc/{pid}/io")).is_ok_and(|mut io| io.read(&mut [0]).is_ok()))
            .then_some(status)
    }

    /// Whether it has ended and only waits for its parent to take its exit.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// Whether it is a thread of the kernel's, which has no program and can not be signalled.
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & libc::PF_KTHREAD as u32 != 0
    }
}

/// What a process says its command is, for people to read: arguments joined by spaces, at most 32 KiB of them, control
/// characters replaced. `[name]` when it says nothing, as zombies and kernel threads do; `[?]` when it is gone.
pub fn cmdline(pid: Pid) -> String {
    let bytes = read_up_to(&format!("/proc/{pid}/cmdline"), CMDLINE_BYTES).unwrap_or_default();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if end == 0 {
        let stat = Stat::of(pid).ok().flatten();
        return format!("[{}]", stat.map_or_else(|| "?".into(), |stat| printable(&stat.comm)));
    }
    let spaced: Vec<u8> = bytes[..end].iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
    printable(&String::from_utf8_lossy(&spaced))
}

/// The function of the kernel that a process sleeps in, for people who ask why it does not go on; `None` when it does not
/// sleep, is gone, or this user may not know.
pub fn blocked_in(pid: Pid) -> Option<String> {
    let bytes = read_up_to(&format!("/proc/{pid}/wchan"), 256).ok()?;
    let name = printable(String::from_utf8_lossy(&bytes).trim());
    Some(name).filter(|name| !name.is_empty() && name != "0")
}

/// The children of a process, of all its threads, as the kernel lists them. One that comes or goes meanwhile may be left out, and
/// others with it.
///
/// # Errors
///
/// Those of reading files: `NotFound` also where the kernel keeps no list (`CONFIG_PROC_CHILDREN`).
pub fn children_of(pid: Pid) -> io::Result<Vec<Pid>> {
    let mut all = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let list = fs::read_to_string(thread?.path().join("children"))?;
        all.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw));
    }
    Ok(all)
}

/// One variable of the environment a process was started with; `None` when it has none such, is gone, is a zombie, or
/// may not be looked into by this user.
pub fn environ_var(pid: Pid, name: &str) -> Option<Vec<u8>> {
    environ(pid).into_iter().find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.to_vec())
    })
}

/// Whether a process has left the memory of its former program and is not in the next one yet, so that its environment
/// tells nothing: it is to be looked at again, and mostly tells within microseconds. `false` for one that has an empty
/// environment, and for one that this user may not look into.
pub fn is_being_executed(pid: Pid) -> bool {
    // What may not be opened may not be known. Opening waits for the worst of an exec; what the kernel notes last is
    // where the environment ends, and until then that is 0.
    let tells_nothing = || read_up_to(&format!("/proc/{pid}/environ"), 1).is_ok_and(|bytes| bytes.is_empty());
    let Ok(line) = fs::read(format!("/proc/{pid}/stat")) else { return false };
    let lives = |line| Stat::parse(line).is_some_and(|stat| !stat.is_zombie() && !stat.is_kernel_thread());
    environment_end(&line) == Some(0) && lives(&line) && tells_nothing()
}

/// The 51st field of `/proc/PID/stat`.
fn environment_end(line: &[u8]) -> Option<u64> {
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(line.get(close + 1..)?).ok()?.split_ascii_whitespace();
    fields.nth(51 - 3)?.parse().ok()
}

/// The entries of the environment a process was started with; none when they can not be read.
pub(crate) fn environ(pid: Pid) -> Vec<Vec<u8>> {
    let bytes =
        as_its_user::read_up_to(pid, &format!("/proc/{pid}/environ"), ENVIRON_BYTES).unwrap_or_default();
    bytes.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).map(<[u8]>::to_vec).collect()
}

/// Whether reading failed because the process is no more: before the file was opened, or after.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

fn read_up_to(path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(comm: &str) -> Vec<u8> {
        format!("71 ({comm}) S 3 70 69 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 8675309 12 13 14\n").into_bytes()
    }

    #[test]
    fn a_name_may_hold_parentheses_spaces_and_newlines() {
        for comm in ["sh", "a b", ") R 1 2 (", "((", "))", "", "x\n) Z 9 9 9", "\u{fffd}"] {
            let stat = Stat::parse(&line(comm)).unwrap();
            assert_eq!(stat.comm, comm);
            assert_eq!((stat.pid.as_raw(), stat.state, stat.ppid.as_raw()), (71, 'S', 3));
            assert_eq!((stat.pgrp.as_raw(), stat.session.as_raw(), stat.start_time), (70, 69, 8_675_309));
            assert_eq!((stat.cpu_time, stat.threads, stat.resident), (5 + 6, 1, 13 * page_bytes()));
            assert!(!stat.is_kernel_thread() && !stat.is_zombie());
        }
    }

    #[test]
    fn a_line_that_breaks_off_is_refused() {
        let whole = line("sh");
        // The resident pages, the last field of use, end 4 bytes before the line does.
        for length in 0..whole.len() - 6 {
            assert_eq!(Stat::parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(Stat::parse(b")("), None);
        assert_eq!(Stat::parse(b"x (sh) S 1 2 3"), None);
    }

    #[test]
    fn this_process_is_seen_as_it_is() {
        let stat = Stat::of(Pid::this()).unwrap().unwrap();
        assert_eq!((stat.pid, stat.ppid, stat.pgrp), (Pid::this(), Pid::parent(), nix::unistd::getpgrp()));
        assert!(cmdline(Pid::this()).contains("process"));
        assert!(stat.threads >= 1 && stat.resident > 0 && stat.start_time <= ticks_since_boot());
    }

    #[test]
    fn nobody_has_no_facts() {
        let nobody = Pid::from_raw(i32::MAX);
        assert_eq!(Stat::of(nobody).unwrap(), None);
        assert_eq!(cmdline(nobody), "[?]");
        assert_eq!(environ_var(nobody, "PATH"), None);
        assert_eq!(blocked_in(nobody), None);
    }
}
