//! What only shows when the whole file is read: names that mean nothing, and circles.

use std::collections::HashMap;

use crate::choice::{Readying, Sink};
use crate::collection::{Entry, Names, Placed};
use crate::document::{File, Group, Queue, Worker};
use crate::node::Path;
use crate::problem::{Complaint, did_you_mean, listed, quoted};
use crate::reading::Reading;
use crate::text::Name;
use supervision::Milestone;

/// So many names are offered where none is near what was written.
const NAMES_SHOWN: usize = 8;

/// Notes every reference that leads nowhere or in a circle.
pub(crate) fn check(file: &File, reading: &mut Reading<'_>) {
    let queues = Known::of("queue", &file.queues.0);
    let workers = Known::of("worker", &file.workers.0);
    check_dead_letters(&file.queues.0, &queues, reading);
    check_locks(&file.locks, &file.rlocks, reading);
    check_order(&file.workers.0, &workers, reading);
    check_groups(&file.groups.0, &workers, reading);
    let root = Path::Root;
    let all = root.key("workers");
    for Entry { name, value: worker, .. } in &file.workers.0 {
        check_queues(worker, &all.key(name), &queues, reading);
        check_readiness(worker, &all.key(name), reading);
        check_schedule(worker, &all.key(name), reading);
    }
}

/// Notes a recursive lock that has a plain one's name: `lock run NAME` could mean either.
fn check_locks(plain: &Names, recursive: &Names, reading: &mut Reading<'_>) {
    for listed in &recursive.0 {
        if plain.0.iter().any(|other| other.name == listed.name) {
            let path = Path::Root.key("rlocks");
            let path = Path::Index(&path, listed.index);
            let complaint = Complaint::new(format!("{} is in \"locks\" too", quoted(&listed.name)));
            reading.note_at(&path, listed.at, complaint.hint("a lock is either recursive or not"));
        }
    }
}

/// Notes a line of the log that nobody would see.
fn check_readiness(worker: &Worker, path: &Path<'_>, reading: &mut Reading<'_>) {
    let goes_to_log = |sink: &Sink| matches!(sink, Sink::Log);
    if let Placed { value: Readying::Log(_), at } = &worker.ready
        && !goes_to_log(&worker.stdout)
        && !goes_to_log(&worker.stderr)
    {
        let complaint =
            Complaint::new("neither its stdout nor its stderr goes to \"log\", where lines are seen");
        let hint = "set \"stdout\": \"log\" (and \"log\": {\"file\": …} to have it in a file too)";
        reading.note_at(&path.key("ready").key("log"), *at, complaint.hint(hint));
    }
    let sockets = 3..3 + i32::try_from(worker.listen.0.len()).unwrap_or(i32::MAX - 3);
    if let Placed { value: Readying::Fd(number), at } = &worker.ready
        && sockets.contains(number)
    {
        let complaint = Complaint::new(format!("descriptor {number} is one of the sockets of \"listen\""));
        let hint = format!("the first free one is {}", sockets.end);
        reading.note_at(&path.key("ready").key("fd"), *at, complaint.hint(hint));
    }
}

/// Notes a schedule whose first run is never over.
fn check_schedule(worker: &Worker, path: &Path<'_>, reading: &mut Reading<'_>) {
    if let Some(Placed { at, .. }) = &worker.schedule
        && worker.restart.0 == supervision::Restart::Always
    {
        let complaint = Complaint::new("no run would ever be over with \"restart\": \"always\"");
        let hint = "\"on-failure\" starts again what fails, \"never\" leaves that to the next time";
        reading.note_at(&path.key("schedule"), *at, complaint.hint(hint));
    }
}

/// The names of one kind of thing, and the place of each in the file.
struct Known<'f> {
    kind: &'static str,
    places: HashMap<&'f str, usize>,
    names: Vec<&'f str>,
}

impl<'f> Known<'f> {
    fn of<T>(kind: &'static str, entries: &'f [Entry<T>]) -> Known<'f> {
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        Known { kind, places: names.iter().copied().zip(0..).collect(), names }
    }

    /// The place of a name; a note where it is nobody's.
    fn find(&self, name: &str, path: &Path<'_>, at: usize, reading: &mut Reading<'_>) -> Option<usize> {
        let place = self.places.get(name).copied();
        if place.is_none() {
            let complaint = Complaint::new(format!("there is no {} {}", self.kind, quoted(name)));
            reading.note_at(path, at, complaint.maybe_hint(self.suggest(name)));
        }
        place
    }

    fn suggest(&self, name: &str) -> Option<String> {
        did_you_mean(name, self.names.iter().copied()).or_else(|| match self.kind {
            "queue" => Some(format!("add it: \"queues\": {{{}: {{}}}}", quoted(name))),
            _ => {
                let (shown, more) = self.names.split_at(self.names.len().min(NAMES_SHOWN));
                let more = if more.is_empty() { "" } else { ", …" };
                (!shown.is_empty()).then(|| format!("there is {}{more}", listed(shown.iter().copied())))
            }
        })
    }
}

fn check_queues(worker: &Worker, path: &Path<'_>, queues: &Known<'_>, reading: &mut Reading<'_>) {
    let lists = path.key("queues");
    for (key, Names(names)) in [("get", &worker.queues.get), ("put", &worker.queues.put)] {
        let list = lists.key(key);
        for listed in names {
            queues.find(&listed.name, &Path::Index(&list, listed.index), listed.at, reading);
        }
    }
    let streams = [
        ("stdin", worker.stdin.queue()),
        ("stdout", worker.stdout.queue()),
        ("stderr", worker.stderr.queue()),
    ];
    for (key, queue) in streams {
        if let Some(Placed { value: Name(name), at }) = queue {
            queues.find(name, &path.key(key).key("queue"), *at, reading);
        }
    }
}

fn check_dead_letters(entries: &[Entry<Queue>], queues: &Known<'_>, reading: &mut Reading<'_>) {
    let root = Path::Root;
    let all = root.key("queues");
    let mut edges = Vec::with_capacity(entries.len());
    for (place, Entry { name, value: queue, .. }) in entries.iter().enumerate() {
        let path = all.key(name);
        let path = path.key("dead_letter");
        let target = queue.dead_letter.as_ref().and_then(|Placed { value: Name(target), at }| {
            let target = queues.find(target, &path, *at, reading)?;
            if target == place {
                reading.note_at(&path, *at, Complaint::new("a queue cannot take its own dead letters"));
                return None;
            }
            Some((target, *at))
        });
        edges.push(target.into_iter().collect());
    }
    for circle in circles(&edges) {
        let path = all.key(queues.names[circle.nodes[0]]);
        let message = format!("dead letters would go round in a circle: {}", circle.drawn(&queues.names));
        reading.note_at(&path.key("dead_letter"), circle.at, Complaint::new(message));
    }
}

fn check_order(entries: &[Entry<Worker>], workers: &Known<'_>, reading: &mut Reading<'_>) {
    let root = Path::Root;
    let all = root.key("workers");
    let mut edges = Vec::with_capacity(entries.len());
    for (place, Entry { name, value: worker, .. }) in entries.iter().enumerate() {
        let path = all.key(name);
        let path = path.key("after");
        let mut own = Vec::new();
        for Entry { name: other, key_at, value: milestone } in &worker.after.0 {
            // What is no name has been noted already.
            if Name::check(other).is_err() {
                continue;
            }
            match workers.find(other, &path.key(other), *key_at, reading) {
                Some(target) if target == place => {
                    let complaint = Complaint::new("a worker cannot come after itself");
                    reading.note_at(&path.key(other), *key_at, complaint);
                }
                Some(target) => {
                    let ends = matches!(milestone.0, Milestone::Succeeded | Milestone::Ended);
                    if ends && entries[target].value.schedule.is_some() {
                        let complaint = Complaint::new(format!(
                            "{} runs by the clock again and again: it never ends",
                            quoted(other)
                        ));
                        reading.note_at(&path.key(other), *key_at, complaint);
                    }
                    own.push((target, *key_at));
                }
                None => {}
            }
        }
        edges.push(own);
    }
    for circle in circles(&edges) {
        let path = all.key(workers.names[circle.nodes[0]]);
        let path = path.key("after");
        let message =
            format!("workers would wait for one another for ever: {}", circle.drawn(&workers.names));
        reading.note_at(&path.key(workers.names[circle.second()]), circle.at, Complaint::new(message));
    }
}

/// Who is in a group is in no other one, and no group lies in itself.
fn check_groups(entries: &[Entry<Group>], workers: &Known<'_>, reading: &mut Reading<'_>) {
    let root = Path::Root;
    let all = root.key("groups");
    let groups = Known::of("group", entries);
    let mut homes: [HashMap<usize, &str>; 2] = [HashMap::new(), HashMap::new()];
    let mut edges = Vec::with_capacity(entries.len());
    for (place, Entry { name, value: group, .. }) in entries.iter().enumerate() {
        let path = all.key(name);
        let mut own = Vec::new();
        let lists = [("workers", &group.workers, workers), ("groups", &group.groups, &groups)];
        for ((key, Names(names), known), homes) in lists.into_iter().zip(&mut homes) {
            let list = path.key(key);
            for listed in names {
                let path = Path::Index(&list, listed.index);
                let Some(target) = known.find(&listed.name, &path, listed.at, reading) else { continue };
                if let Some(home) = homes.insert(target, name).filter(|home| home != name) {
                    let message = format!("is in the group {} already", quoted(home));
                    reading.note_at(&path, listed.at, Complaint::new(message));
                } else if key == "groups" && target == place {
                    reading.note_at(&path, listed.at, Complaint::new("a group cannot lie in itself"));
                } else if key == "groups" {
                    own.push((target, listed.at));
                }
            }
        }
        edges.push(own);
    }
    for circle in circles(&edges) {
        let path = all.key(groups.names[circle.nodes[0]]);
        let message = format!("groups would lie in one another: {}", circle.drawn(&groups.names));
        reading.note_at(&path.key("groups"), circle.at, Complaint::new(message));
    }
}

/// Nodes that lead to one another, the first of the file first; each once.
struct Circle {
    nodes: Vec<usize>,
    /// Where the step from the first to the second stands.
    at: usize,
}

impl Circle {
    fn second(&self) -> usize {
        self.nodes.get(1).copied().unwrap_or(self.nodes[0])
    }

    fn drawn(&self, names: &[&str]) -> String {
        const LONGEST: usize = 10;
        let mut steps: Vec<&str> = self.nodes.iter().take(LONGEST).map(|node| names[*node]).collect();
        if self.nodes.len() > LONGEST {
            steps.push("…");
        }
        steps.push(names[self.nodes[0]]);
        steps.join(" → ")
    }
}

/// For every way that leads back, the circle it closes. An edge is where it leads and where it stands.
fn circles(edges: &[Vec<(usize, usize)>]) -> Vec<Circle> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Never,
        OnTheWay(usize),
        Done,
    }
    let mut seen = vec![Seen::Never; edges.len()];
    let mut found = Vec::new();
    for start in 0..edges.len() {
        if seen[start] != Seen::Never {
            continue;
        }
        // A path of nodes, each with the number of its edges that are behind us: recursion would be as deep as the
        // file is long.
        let mut way = vec![(start, 0)];
        seen[start] = Seen::OnTheWay(0);
        while let Some((node, next)) = way.last_mut() {
            let Some((target, _)) = edges[*node].get(*next) else {
                seen[*node] = Seen::Done;
                way.pop();
                continue;
            };
            *next += 1;
            match seen[*target] {
                Seen::Done => {}
                Seen::Never => {
                    seen[*target] = Seen::OnTheWay(way.len());
                    way.push((*target, 0));
                }
                Seen::OnTheWay(depth) => found.push(circle_of(&way[depth..], edges)),
            }
        }
    }
    found
}

/// The circle along a way whose last step leads back to its first, begun at its first node in the file.
fn circle_of(way: &[(usize, usize)], edges: &[Vec<(usize, usize)>]) -> Circle {
    let first = (0..way.len()).min_by_key(|place| way[*place].0).unwrap_or(0);
    let (node, taken) = way[first];
    let nodes = way[first..].iter().chain(&way[..first]).map(|(node, _)| *node).collect();
    Circle { nodes, at: edges[node][taken - 1].1 }
}
