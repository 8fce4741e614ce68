//! What workers have in common: most differ in their name and their number of instances alone, and share the rest.

use std::sync::Arc;

use crate::Worker;

/// So many of late are looked at for an equal one. A family has few kinds of workers, and those of a kind mostly stand
/// together in the file.
const LOOKED_AT: usize = 8;

/// The specs of late, the last one last.
#[derive(Debug, Default)]
pub(crate) struct Specs {
    late: Vec<Arc<Worker>>,
}

impl Specs {
    /// All of `worker` but its name and its number of instances, which are empty in what comes back.
    pub(crate) fn of(&mut self, worker: Worker) -> Arc<Worker> {
        let spec = Worker { name: String::new(), instances: 0, ..worker };
        if let Some(place) = self.late.iter().rposition(|known| **known == spec) {
            return Arc::clone(&self.late[place]);
        }
        if self.late.len() == LOOKED_AT {
            self.late.remove(0);
        }
        let spec = Arc::new(spec);
        self.late.push(Arc::clone(&spec));
        spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_differ_in_name_and_number_alone_share_the_rest() {
        let mut specs = Specs::default();
        let many = Worker { instances: 7, ..Worker::named("many") };
        let (one, many) = (specs.of(Worker::named("one")), specs.of(many));
        assert!(Arc::ptr_eq(&one, &many));
        let eager = Worker { restart: crate::Restart::Always, ..Worker::named("one") };
        assert!(!Arc::ptr_eq(&one, &specs.of(eager)));
    }

    #[test]
    fn of_many_kinds_only_the_last_are_remembered_and_none_is_mistaken() {
        let mut specs = Specs::default();
        let kind =
            |delay| Worker { start_delay: std::time::Duration::from_secs(delay), ..Worker::named("w") };
        for delay in (0..100).chain(0..100) {
            let spec = specs.of(kind(delay));
            assert_eq!(spec.start_delay.as_secs(), delay);
            assert!(specs.late.len() <= LOOKED_AT);
        }
    }
}
