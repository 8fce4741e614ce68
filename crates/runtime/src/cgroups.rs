//! The cgroups of a run: made when the first worker needs one, told from all others by a name, and noted in the run's
//! folder, so that whoever outlives this process (the guard, the next run of the same name) finds them.
//!
//! A launch has a cgroup where its worker has a ceiling on memory, processes or processor time, or asks for one to be
//! kept together by: it costs a start about 150 us, and nothing gets out of it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use process::{Cgroup, Cgroups as Offered, Former, Home, Kept, Pid, Plot, Resource, leaf_of};
use supervision::{InstanceId, Launch, LaunchFailure, Policy, Process};

use crate::roster::Roster;
use crate::setup::Terms;
use crate::talk;

/// The file in a run's folder with the folders of its cgroups, a line each.
const NOTED: &str = "cgroups";

/// The cgroups of a run.
#[derive(Debug)]
pub struct Cgroups {
    name: String,
    /// The run's folder.
    folder: PathBuf,
    home: Option<Home>,
    /// What a former run left, as long as something lives in it.
    former: Option<Former>,
}

impl Cgroups {
    /// Those of the run in `folder`. Makes none.
    pub fn of(folder: &Path) -> Cgroups {
        let name = name_of(folder);
        let former = Some(former(folder, &name)).filter(|former| !former.folders().is_empty());
        Cgroups { name, folder: folder.to_owned(), home: None, former }
    }

    /// What tells the cgroups of this run from all others, if there are any.
    pub fn name(&self) -> Option<&str> {
        (self.home.is_some() || self.former.is_some()).then_some(&self.name)
    }

    /// The cgroup of a process that outlived a former run's supervisor.
    pub fn of_survivor(&self, pid: Pid) -> Option<Cgroup> {
        self.former.as_ref()?.cgroup_of(pid, &self.name)
    }

    /// Kills what a former run left in cgroups, but for those that survivors are in.
    pub fn clear_former(&mut self, survivors: &[Pid]) {
        let Some(former) = &self.former else { return };
        let stay: Vec<_> = survivors.iter().filter_map(|pid| leaf_of(*pid, &self.name)).collect();
        let killed = former.clear(|kept, leaf| stay.iter().any(|(k, l)| k == kept && l == leaf));
        if killed > 0 {
            let whom = crate::words::processes(killed);
            talk::say(format_args!("killed {whom} that a former run left behind in cgroups"));
        }
        if stay.is_empty() {
            self.former = None;
            let _ = std::fs::remove_file(self.folder.join(NOTED));
        }
    }

    /// The place of a launch, if its worker's terms need one.
    ///
    /// # Errors
    ///
    /// When this machine can no longer give what the terms ask for.
    pub fn plot(&mut self, terms: &Terms, policy: Policy, leaf: &str) -> Result<Option<Plot>, LaunchFailure> {
        if !terms.cgroup && terms.ceilings.resources().next().is_none() {
            return Ok(None);
        }
        let failed = |why: &dyn std::fmt::Display| LaunchFailure(format!("cgroup: {why}"));
        if self.home.is_none() {
            self.home = Some(self.make_home().map_err(|why| failed(&why))?);
        }
        let Some(home) = &self.home else { return Ok(None) };
        let kept = if policy == Policy::Daemon { Kept::Daemon } else { Kept::Kept };
        home.plot(kept, leaf, terms.ceilings, terms.cgroup).map(Some).map_err(|why| failed(&why))
    }

    /// A home with all that this machine offers: which of it the next worker needs is not known.
    fn make_home(&self) -> Result<Home, String> {
        let offer = Offered::look();
        let resources: Vec<Resource> =
            Resource::ALL.into_iter().filter(|resource| offer.controller(*resource).is_ok()).collect();
        let trees = offer.unified().is_ok();
        let home = Home::plan(&offer, &self.name, trees, &resources).map_err(|error| error.to_string())?;
        // Noted first: should this process be killed in between, nobody would look for them.
        let former = self.former.iter().flat_map(Former::folders).map(PathBuf::as_path);
        let mut noted: Vec<&Path> = home.folders().chain(former).collect();
        noted.sort_unstable();
        noted.dedup();
        let lines: Vec<u8> =
            noted.iter().flat_map(|folder| [folder.as_os_str().as_bytes(), b"\n"].concat()).collect();
        std::fs::write(self.folder.join(NOTED), lines).map_err(|error| error.to_string())?;
        home.make(&offer).map_err(|error| error.to_string())?;
        Ok(home)
    }

    /// Removes the folders: nothing lives in them any more.
    pub fn remove(&mut self) {
        if let Some(home) = self.home.take() {
            home.remove();
        }
        if let Some(former) = self.former.take() {
            former.clear(|_, _| false);
        }
        // Mostly there is none.
        let _ = std::fs::remove_file(self.folder.join(NOTED));
    }
}

/// The launch whose cgroup a process is in, of the run whose cgroups have this name.
pub fn launch_in(pid: Pid, name: &str, roster: &Roster) -> Option<Process> {
    let (_, leaf) = leaf_of(pid, name)?;
    let (worker, numbers) = leaf.rsplit_once(':')?;
    let (index, launch) = numbers.split_once('.')?;
    let instance = InstanceId { worker: roster.worker(worker)?, index: index.parse().ok()? };
    Some(Process { instance, launch: Launch(launch.parse().ok()?) })
}

/// The supervisor of the run in `folder` is dead: kills all of its daemons that are in cgroups.
pub fn kill_daemons(folder: &Path) {
    former(folder, &name_of(folder)).clear(|kept, _| kept != Kept::Daemon.name());
}

fn former(folder: &Path, name: &str) -> Former {
    let noted = std::fs::read_to_string(folder.join(NOTED)).unwrap_or_default();
    Former::of(noted.lines().map(PathBuf::from), name)
}

/// `supervisor-NAME-HASH`: the run's name for people, and what no other run on this machine has.
fn name_of(folder: &Path) -> String {
    // FNV-1a (Fowler, Noll, Vo): the same on every machine and in every version.
    let hash = folder.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    format!("supervisor-{name}-{hash:016x}")
}
