//! A run's claim to its name that does not lie in its folder: whoever removes the folder does not remove the claim.
//!
//! It is a Unix socket in the abstract namespace, bound for as long as the supervisor lives, however it dies:
//!
//! ```text
//! @supervisor/UID/0123456789abcdef/NAME        the number stands for the place of the folder, and the whole name
//! ```
//!
//! The place is not the path, which two containers that share a network may both have: it is the root of the file system, or of
//! what is mounted of it, that the folder of all runs lies in, and the way from there. It is the same when the folder is made again.
//!
//! What a claim does not cover: a run in another network namespace, and one that sees the same folder through another
//! mount. There the lock in the folder is all there is. Anybody in the network namespace may bind any such name; so only
//! a holder of the same user counts, as the kernel tells it, and another one keeps nobody out.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt::PeerCredentials,
};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use crate::locate::own_uid;
use crate::names::is_name;

/// So much of a name is shown in the address; all of it is in the number.
const SHOWN_BYTES: usize = 64;

/// Between binding and listening its holder does not tell who it is. So often, and after such a time, it is asked again.
const ATTEMPTS: u32 = 50;
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(1);

/// The claim, held until this is dropped or the process dies.
#[derive(Debug)]
pub(crate) struct Claim(#[expect(dead_code, reason = "it is only there to be open")] UnixListener);

/// What became of an attempt to claim a name.
#[derive(Debug)]
pub(crate) enum Claiming {
    /// It is claimed.
    Made(Claim),
    /// A supervisor of this user has it; its pid, where it can be seen from here.
    Taken(Option<i32>),
    /// It cannot be had, and nobody of this user has it.
    Impossible,
}

impl Claim {
    /// Claims the run `name` below `root`, the folder of all runs.
    pub(crate) fn make(root: &Path, name: &str) -> Claiming {
        let Ok(address) = address(root, name) else { return Claiming::Impossible };
        let Ok(bound) = SocketAddr::from_abstract_name(&address) else { return Claiming::Impossible };
        for _ in 0..ATTEMPTS {
            match UnixListener::bind_addr(&bound) {
                Ok(listener) => return Claiming::Made(Claim(listener)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(_) => return Claiming::Impossible,
            }
            match holder_at(&address) {
                Holder::Ours(pid) => return Claiming::Taken(pid),
                Holder::Unknown => return Claiming::Impossible,
                Holder::Mute => thread::sleep(ASK_AGAIN_AFTER),
            }
        }
        Claiming::Impossible
    }
}

/// The supervisor that holds the claim to the run `name` below `root`, whether its folder is there or not.
pub(crate) fn holder(root: &Path, name: &str) -> Option<i32> {
    match holder_at(&address(root, name).ok()?) {
        Holder::Ours(pid) => pid,
        Holder::Mute | Holder::Unknown => None,
    }
}

/// The runs below `root` whose names are claimed, and their supervisors.
pub(crate) fn holders(root: &Path) -> Vec<(String, i32)> {
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let prefix = format!("@supervisor/{}/", own_uid());
    let named = sockets.lines().filter_map(|line| {
        let name = line.split_whitespace().last()?.strip_prefix(&prefix)?.split_once('/')?.1;
        is_name(name).then(|| name.to_owned())
    });
    let mut found: Vec<_> = named.filter_map(|name| Some((name.clone(), holder(root, &name)?))).collect();
    found.sort();
    found.dedup();
    found
}

enum Holder {
    /// A process of this user.
    Ours(Option<i32>),
    /// Nobody listens: there is none, or none any more, or none yet.
    Mute,
    /// Somebody else, or somebody who cannot be asked.
    Unknown,
}

fn holder_at(address: &[u8]) -> Holder {
    let asked = || -> nix::Result<_> {
        // Who has filled the queue of those who want to connect is not to be waited for.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let ours = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(ours.as_raw_fd(), &UnixAddr::new_abstract(address)?)?;
        getsockopt(&ours, PeerCredentials)
    };
    match asked() {
        Ok(peer) if peer.uid() == own_uid() => Holder::Ours(Some(peer.pid()).filter(|pid| *pid > 0)),
        Err(nix::Error::ECONNREFUSED) => Holder::Mute,
        Ok(_) | Err(_) => Holder::Unknown,
    }
}

/// The address of the claim to a name below `root`, which need not be there.
fn address(root: &Path, name: &str) -> io::Result<Vec<u8>> {
    let Place { device, inode, way } = Place::of(root)?;
    let mut number = Fnv::default();
    for part in
        [&device.to_le_bytes(), &inode.to_le_bytes(), way.as_os_str().as_bytes(), b"\0", name.as_bytes()]
    {
        number.write(part);
    }
    let shown = &name[..name.len().min(SHOWN_BYTES)];
    Ok(format!("supervisor/{}/{:016x}/{shown}", own_uid(), number.0).into_bytes())
}

/// Where a folder is, whoever removes it and makes it again.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    device: u64,
    /// The root of what is mounted.
    inode: u64,
    /// The way from there.
    way: PathBuf,
}

impl Place {
    fn of(folder: &Path) -> io::Result<Place> {
        let folder = std::path::absolute(folder)?;
        let found = folder.ancestors().find_map(|there| Some((there, there.canonicalize().ok()?)));
        let (there, real) = found.ok_or(io::ErrorKind::NotFound)?;
        let missing = folder.strip_prefix(there).unwrap_or(Path::new(""));
        let mounted = real.ancestors().find(|folder| is_mounted(folder)).unwrap_or(Path::new("/"));
        let facts = fs::metadata(mounted)?;
        let way = real.strip_prefix(mounted).unwrap_or(&real);
        // Component by component: what is joined with nothing would end in a slash.
        let way = way.components().chain(missing.components()).collect();
        Ok(Place { device: facts.dev(), inode: facts.ino(), way })
    }
}

fn is_mounted(folder: &Path) -> bool {
    let facts = statx(CWD, folder, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    facts.is_ok_and(|facts| facts.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// FNV-1a: a number that every build of this program makes of the same bytes.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_found_whether_the_folder_is_there_or_not_and_is_over_when_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("a/b");
        let Claiming::Made(claim) = Claim::make(&root, "demo") else { panic!("nobody has it") };
        fs::create_dir_all(&root).expect("it can be made");
        let own = i32::try_from(std::process::id()).expect("pids are small");
        assert!(matches!(Claim::make(&root, "demo"), Claiming::Taken(Some(pid)) if pid == own));
        assert_eq!(holder(&root, "demo"), Some(own));
        assert_eq!(holders(&root), [("demo".to_owned(), own)]);
        assert!(matches!(Claim::make(&root, "other"), Claiming::Made(_)));
        assert_eq!(holders(folder.path()), []);
        drop(claim);
        assert_eq!(holder(&root, "demo"), None);
    }

    #[test]
    fn a_place_is_the_same_by_every_path_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let real = folder.path().join("real");
        fs::create_dir(&real).expect("it can be made");
        std::os::unix::fs::symlink(&real, folder.path().join("link")).expect("it can be made");
        let place = |path: &str| Place::of(&folder.path().join(path)).expect("it is there");
        assert_eq!(place("link/runs"), place("real/runs"));
        assert_ne!(place("real/runs"), place("runs"));
        fs::create_dir(real.join("runs")).expect("it can be made");
        assert_eq!(place("link/runs"), place("real/runs"));
    }

    #[test]
    fn a_name_that_does_not_fit_into_an_address_is_told_apart_all_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = ["a", "b"].map(|end| "n".repeat(199) + end);
        let Claiming::Made(_first) = Claim::make(folder.path(), &names[0]) else { panic!("nobody has it") };
        assert!(matches!(Claim::make(folder.path(), &names[1]), Claiming::Made(_)));
        assert!(matches!(Claim::make(folder.path(), &names[0]), Claiming::Taken(_)));
    }
}
