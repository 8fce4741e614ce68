//! What a worker asks of the machine beyond the ordinary, held against what the machine can give, as those around tell
//! it: what cannot be given is a problem at its place, or, where the worker can do without, left out and said.

use std::path::Path;

use crate::collection::{Entry, Placed};
use crate::command::{Argv, Invocation};
use crate::document::{File, Limits, Worker};
use crate::limit::{Bound, IoNice};
use crate::listen::Place;
use crate::measure::{Fraction, Size, Whole};
use crate::node::Path as Way;
use crate::plan::{Limit, Optional, PrivateTmp, TreeBy};
use crate::planning::Folder;
use crate::problem::Complaint;
use crate::reading::Reading;
use crate::text::{Text, Word};
use crate::{Refusal, Wish};

/// Something that is left out of a plan: the way to it, and why.
pub(crate) type Omission = (String, String);

/// Asks for everything that any worker wants, and takes out of the file what is optional and cannot be given.
pub(crate) fn check(file: &mut File, config: &Path, reading: &mut Reading<'_>) -> Vec<Omission> {
    let mut omissions = Vec::new();
    let folder = Folder::of(config);
    let root = Way::Root;
    let all = root.key("workers");
    for Entry { name, value: worker, .. } in &mut file.workers.0 {
        let path = all.key(name);
        let mut asking =
            Asking { reading, path, folder, optional: worker.optional.0.clone(), omissions: &mut omissions };
        asking.account(worker);
        asking.priorities(worker);
        asking.tree(worker);
        asking.temporary(worker);
        asking.ports(worker);
        asking.limits(&mut worker.limits);
    }
    omissions
}

struct Asking<'a, 'r> {
    reading: &'a mut Reading<'r>,
    path: Way<'a>,
    folder: Folder<'a>,
    optional: Vec<Optional>,
    omissions: &'a mut Vec<Omission>,
}

impl Asking<'_, '_> {
    /// Whether a wish is to stay in the plan: it is granted, or it is a problem.
    fn stays(&mut self, optional: Option<Optional>, key: &[&str], at: usize, wish: &Wish<'_>) -> bool {
        let Err(Refusal { message, hint }) = self.reading.surroundings.grant(wish) else { return true };
        let outer = self.path.key(key[0]);
        let path = match key.get(1) {
            Some(inner) => outer.key(inner),
            None => outer,
        };
        if optional.is_some_and(|optional| self.optional.contains(&optional)) {
            self.omissions.push((path.to_string(), message));
            return false;
        }
        let complaint = Complaint { message, hint: hint.or_else(|| may_be_optional(optional)) };
        self.reading.note_at(&path, at, complaint);
        true
    }

    fn account(&mut self, worker: &Worker) {
        let filled = |text: &'_ Option<Placed<Text>>| {
            text.as_ref().filter(|text| !text.value.0.is_empty()).map(|text| (text.value.0.clone(), text.at))
        };
        let (user, group) = (filled(&worker.user), filled(&worker.group));
        let name = |given: &Option<(String, usize)>| given.as_ref().map(|(name, _)| name.clone());
        let (user_name, group_name) = (name(&user), name(&group));
        if let Some((name, at)) = &user {
            let group = group_name.as_deref();
            let mounted_tmp = worker.private_tmp.value.0 == PrivateTmp::Mount;
            let wish = Wish::User { name, group };
            if self.reading.surroundings.grant(&wish).is_ok() {
                self.stays(None, &["user"], *at, &Wish::Control { user: name, group, mounted_tmp });
            } else {
                self.stays(None, &["user"], *at, &wish);
            }
        }
        if let Some((name, at)) = &group {
            let wish = Wish::Group { name, user: user_name.as_deref() };
            self.stays(None, &["group"], *at, &wish);
        }
    }

    fn priorities(&mut self, worker: &mut Worker) {
        let Placed { value: Whole(nice), at } = worker.nice;
        if nice != 0 && !self.stays(Some(Optional::Nice), &["nice"], at, &Wish::Nice(nice as i32)) {
            worker.nice.value = Whole(0);
        }
        if let Some(Placed { value: IoNice(priority), at }) = worker.ionice
            && !self.stays(Some(Optional::IoNice), &["ionice"], at, &Wish::IoPriority(priority))
        {
            worker.ionice = None;
        }
        if let Some(Placed { value: Whole(score), at }) = worker.oom_score_adj {
            let wish = Wish::OomScoreAdj(score as i32);
            if !self.stays(Some(Optional::OomScoreAdj), &["oom_score_adj"], at, &wish) {
                worker.oom_score_adj = None;
            }
        }
        if let Some(Placed { value: cpus, at }) = &worker.cpus
            && !self.stays(Some(Optional::Cpus), &["cpus"], *at, &Wish::Processors(&cpus.0))
        {
            worker.cpus = None;
        }
    }

    fn tree(&mut self, worker: &mut Worker) {
        let Placed { value: Word(tree), at } = worker.tree;
        if tree == TreeBy::Cgroup && !self.stays(Some(Optional::Tree), &["tree"], at, &Wish::TreeByCgroup) {
            worker.tree.value = Word(TreeBy::Auto);
        }
    }

    fn temporary(&mut self, worker: &mut Worker) {
        let Placed { value: Word(tmp), at } = worker.private_tmp;
        if tmp != PrivateTmp::Mount {
            return;
        }
        let wish = Wish::MountedTmp;
        if !self.stays(Some(Optional::PrivateTmp), &["private_tmp"], at, &wish) {
            worker.private_tmp.value = Word(PrivateTmp::Folder);
        } else if self.reading.surroundings.grant(&wish).is_ok() {
            // Only of what there is can be said that it hides something.
            let cwd = self.folder.join(&worker.cwd.0);
            self.stays(None, &["private_tmp"], at, &Wish::Sight { path: &cwd, what: "its working folder" });
            if let Invocation::Argv(Argv(argv)) = &worker.command
                && let Some(program) = argv.first().filter(|program| program.contains('/'))
            {
                let program = self.folder.join(program);
                self.stays(None, &["private_tmp"], at, &Wish::Sight { path: &program, what: "its program" });
            }
        }
    }

    fn ports(&mut self, worker: &Worker) {
        for listed in &worker.listen.0 {
            let (Place::Tcp(address) | Place::Udp(address)) = &listed.place else { continue };
            if let Err(Refusal { message, hint }) = self.reading.surroundings.grant(&Wish::Port(address.port))
            {
                listed.note(&self.path, Complaint { message, hint }, self.reading);
            }
        }
    }

    fn limits(&mut self, limits: &mut Limits) {
        if let Some(Placed { value: Size(bytes), at }) = limits.memory
            && !self.ceiling(Optional::Memory, "memory", at, &Wish::Memory(bytes))
        {
            limits.memory = None;
        }
        if let Some(Placed { value: Whole(count), at }) = limits.pids
            && !self.ceiling(Optional::Pids, "pids", at, &Wish::Pids(count.unsigned_abs()))
        {
            limits.pids = None;
        }
        if let Some(Placed { value: Fraction(cpu), at }) = limits.cpu
            && !self.ceiling(Optional::Cpu, "cpu", at, &Wish::Cpu(cpu))
        {
            limits.cpu = None;
        }
        macro_rules! of_processes {
            ($( $field:ident $optional:ident )+) => { $(
                if let Some(Placed { value: Bound { soft, hard, .. }, at }) = limits.$field {
                    let key = crate::form::key(stringify!($field));
                    let wish = Wish::Limit(Limit { name: key, soft, hard });
                    if !self.ceiling(Optional::$optional, key, at, &wish) {
                        limits.$field = None;
                    }
                }
            )+ };
        }
        of_processes! {
            nofile Nofile
            core Core
            r#as As
            cpu_time CpuTime
            data Data
            fsize Fsize
            locks Locks
            memlock Memlock
            msgqueue Msgqueue
            nice LimitNice
            nproc Nproc
            rss Rss
            rtprio Rtprio
            rttime Rttime
            sigpending Sigpending
            stack Stack
        }
    }

    fn ceiling(&mut self, optional: Optional, key: &str, at: usize, wish: &Wish<'_>) -> bool {
        self.stays(Some(optional), &["limits", key], at, wish)
    }
}

fn may_be_optional(optional: Option<Optional>) -> Option<String> {
    optional.map(|optional| format!("\"optional\": [\"{}\"] does without it where it must", optional.key()))
}
