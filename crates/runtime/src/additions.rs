//! What was added to a run while it went on, kept in the run's folder: a file a worker and a file a queue, so that the
//! next run of the same name knows them should this supervisor be killed. A run that ends well takes them with it.
//!
//! A file is written whole and put in its place before the addition has any effect; what was not put there was not added.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use control::api::{NewQueue, NewWorker};
use serde::{Deserialize, Serialize};

/// The folder in the run's own.
const FOLDER: &str = "added";

/// One addition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Addition {
    /// A worker; it has a name.
    Worker(NewWorker),
    /// A queue.
    Queue(NewQueue),
}

impl Addition {
    fn key(&self) -> String {
        match self {
            Addition::Worker(worker) => worker_key(worker.name.as_deref().unwrap_or_default()),
            Addition::Queue(queue) => queue_key(&queue.name),
        }
    }
}

fn worker_key(name: &str) -> String {
    format!("worker {name}")
}

fn queue_key(name: &str) -> String {
    format!("queue {name}")
}

/// Everything that was added and is still there.
#[derive(Debug)]
pub struct Additions {
    folder: PathBuf,
    files: HashMap<String, PathBuf>,
    number: u64,
}

impl Additions {
    /// Those of the run with this folder: none yet. What a former run left there is removed.
    pub fn none(run: &Path) -> Additions {
        let folder = run.join(FOLDER);
        // Mostly there is none; what cannot be removed is overwritten, or in nobody's way.
        let _ = fs::remove_dir_all(&folder);
        Additions { folder, files: HashMap::new(), number: 0 }
    }

    /// What a former run that was killed had added, in that order. What cannot be read is left out.
    pub fn of_former(run: &Path) -> Vec<Addition> {
        let Ok(entries) = fs::read_dir(run.join(FOLDER)) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let read = |path: &PathBuf| serde_json::from_slice(&fs::read(path).ok()?).ok();
        paths.iter().filter_map(read).collect()
    }

    /// Keeps one more.
    ///
    /// # Errors
    /// The folder cannot be written into.
    pub fn keep(&mut self, addition: &Addition) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        self.number += 1;
        let path = self.folder.join(format!("{:012}.json", self.number));
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(addition)?)?;
        fs::rename(&new, &path)?;
        if let Some(former) = self.files.insert(addition.key(), path) {
            // The later one counts; and with no file of its own left, nothing is wrong.
            let _ = fs::remove_file(former);
        }
        Ok(())
    }

    /// A worker has ended for good.
    pub fn forget_worker(&mut self, name: &str) {
        self.forget(&worker_key(name));
    }

    /// A queue is no more.
    pub fn forget_queue(&mut self, name: &str) {
        self.forget(&queue_key(name));
    }

    fn forget(&mut self, key: &str) {
        if let Some(path) = self.files.remove(key) {
            let _ = fs::remove_file(path);
        }
    }

    /// Whether a queue was added, and not there from the beginning.
    pub fn has_queue(&self, name: &str) -> bool {
        self.files.contains_key(&queue_key(name))
    }

    /// The run has ended.
    pub fn clear(self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::api::{Policy, Restart};

    fn worker(name: &str, instances: u32) -> Addition {
        Addition::Worker(NewWorker {
            name: Some(name.to_owned()),
            command: vec!["true".into()],
            cwd: "/".to_owned(),
            env: Default::default(),
            policy: Policy::Wait,
            restart: Restart::Never,
            instances,
            after: Default::default(),
            queue_in: None,
            queue_out: Some("q".to_owned()),
        })
    }

    fn queue(name: &str) -> Addition {
        Addition::Queue(NewQueue {
            name: name.to_owned(),
            capacity: Some(5),
            max_bytes: None,
            max_message: None,
            max_deliveries: None,
            dead_letter: None,
            durable: false,
            fsync: None,
            fsync_interval_ms: None,
        })
    }

    #[test]
    fn a_later_run_finds_what_is_still_there_in_its_order() {
        let run = tempfile::tempdir().expect("a folder");
        let mut additions = Additions::none(run.path());
        let all = [queue("q"), worker("a", 1), worker("b", 1), worker("q", 1)];
        for addition in &all {
            additions.keep(addition).expect("kept");
        }
        assert_eq!(Additions::of_former(run.path()), all);
        additions.forget_worker("a");
        additions.forget_worker("nobody");
        additions.keep(&worker("b", 2)).expect("kept");
        assert_eq!(Additions::of_former(run.path()), [queue("q"), worker("q", 1), worker("b", 2)]);
        assert!(additions.has_queue("q") && !additions.has_queue("a"));
        // Half a file is none.
        fs::write(run.path().join("added/000000000099.json"), "{\"worker\":").expect("written");
        fs::write(run.path().join("added/000000000100.new"), "").expect("written");
        assert_eq!(Additions::of_former(run.path()).len(), 3);
        additions.clear();
        assert!(fs::read_dir(run.path()).expect("it is there").next().is_none());
    }
}
