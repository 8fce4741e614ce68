//! What a run was told to be, written down in its folder: should the supervisor be killed, the next run takes back what was
//! launched by that, and knows what of it is not as its own config says.
//!
//! It is written when the run begins and whenever another config is applied, before anything is done for that.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::{Value, json};
use supervision::{InstanceId, Launch, Process};

use crate::source::{Weight, WorkerChange, WorkerChanges};
use crate::talk;
use crate::the_loop::Loop;

/// The file.
const NAME: &str = "configs";

/// What a run of before was told to be.
#[derive(Debug, Default)]
pub struct Recalled {
    /// The number that its last config has now.
    last: u64,
    /// Launches that ran by an older one, and the number of that.
    outdated: BTreeMap<(InstanceId, Launch), u64>,
    /// What differs in workers from each of its configs to the one that runs now.
    changes: BTreeMap<u64, WorkerChanges>,
}

impl Loop {
    /// Writes down what the run is told to be, and what still runs by something older.
    pub(crate) fn keep_configs(&self) {
        let Some(kept) = self.configs.source.as_ref().and_then(|source| source.keep()) else { return };
        let outdated: Vec<Value> = self
            .configs
            .outdated
            .iter()
            .map(|(id, (launch, number))| json!([self.roster.name(id.worker), id.index, launch.0, number]))
            .collect();
        let all = json!({ "number": self.configs.generation, "outdated": outdated, "configs": kept });
        if let Err(error) = write(self.folder.path(), &all) {
            talk::say(format_args!(
                "a later run will not know by which config this one's workers were launched: {}",
                crate::words::reason(&error)
            ));
        }
    }

    /// Takes up what a former run was told to be, before anything of it is taken back.
    pub(crate) fn recall_configs(&mut self) {
        let Some(all) = read(self.folder.path()) else { return };
        let (Some(source), Some(last)) =
            (&self.configs.source, all.get("number").and_then(Value::as_u64).filter(|last| *last < u64::MAX))
        else {
            return;
        };
        let outdated = all.get("outdated").and_then(Value::as_array).into_iter().flatten();
        let outdated = outdated.filter_map(|entry| {
            let number = |place: usize| entry.get(place).and_then(Value::as_u64);
            let worker = self.roster.worker(entry.get(0)?.as_str()?)?;
            let id = InstanceId { worker, index: number(1)?.try_into().ok()? };
            Some(((id, Launch(number(2)?)), number(3)?))
        });
        let changes = all.get("configs").map(|kept| source.recall(kept, last)).unwrap_or_default();
        self.configs.recalled = Recalled { last, outdated: outdated.collect(), changes };
        // Its numbers stay its own.
        self.configs.generation = last + 1;
    }

    /// Notes whether who was just taken back was launched by a config after which it is to be launched anew.
    pub(crate) fn note_if_outdated(&mut self, process: Process) {
        let Recalled { last, outdated, changes } = &self.configs.recalled;
        let Process { instance, launch } = process;
        let number = *outdated.get(&(instance, launch)).unwrap_or(last);
        let name = self.roster.name(instance.worker);
        let of_worker = changes.get(&number).into_iter().flatten().find(|(worker, _)| worker == name);
        let restarts = |change: &WorkerChange| match change {
            WorkerChange::Changed(changes) => changes.iter().any(|(weight, _)| *weight == Weight::Restart),
            // It was none of the config's then.
            WorkerChange::Added | WorkerChange::Removed => false,
        };
        if of_worker.is_some_and(|(_, change)| restarts(change)) {
            let show = self.roster.show(instance);
            talk::say(format_args!(
                "{show}: runs by an older config; `supervisor apply` of the present one starts it anew"
            ));
            self.configs.outdated.insert(instance, (launch, number));
        }
    }
}

/// In one step: a later run finds all of it or what was there before.
fn write(folder: &Path, all: &Value) -> io::Result<()> {
    let new = folder.join(format!("{NAME}.new"));
    // What the config took from the environment is nobody else's affair.
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    let written = open.map(BufWriter::new).and_then(|mut file| {
        serde_json::to_writer(&mut file, all)?;
        file.flush()
    });
    let outcome = written.and_then(|()| fs::rename(&new, folder.join(NAME)));
    if outcome.is_err() {
        // Half of it helps nobody, and the folder is to be empty in the end.
        let _ = fs::remove_file(new);
    }
    outcome
}

fn read(folder: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(folder.join(NAME)).ok()?).ok()
}

/// The run is over.
pub fn clear(folder: &Path) {
    // There is none where no config was read.
    let _ = fs::remove_file(folder.join(NAME));
}
