//! A world of processes that exist only as numbers: it carries out orders, late and unwillingly, and tells news, late,
//! doubled and out of order.

mod deeds;

use std::collections::BTreeMap;
use std::time::Duration;

use supervision::{
    Action, Conclusion, Ending, Event, Family, InstanceId, LaunchFailure, Moment, Process, Purpose, Remark,
    Supervisor,
};

use crate::checks::Checks;
use crate::random::Random;

/// How unkind the world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// News is quick, in order, and told once; ticks are in time.
    Kind,
    /// News is late, doubled, reordered and at times untrue; ticks are late.
    Unkind,
}

/// How processes behave.
pub enum Nature {
    /// In any way.
    Any,
    /// The launches of an instance end in these ways, one after the other; who is not named lives until told.
    Scripted(BTreeMap<InstanceId, Vec<Ending>>),
}

/// A process: what is true of it, whatever was told.
pub struct Body {
    /// Whether the leader lives.
    pub leader: bool,
    /// Whether anything of its tree lives.
    pub tree: bool,
    /// Whether that was adopted: it is not in the way of the next launch.
    pub adopted: bool,
    /// Whether what it held has not been given back.
    pub holds: bool,
    conduct: Conduct,
    born: Moment,
}

#[derive(Clone)]
struct Conduct {
    ready_after: Option<Duration>,
    lives: Option<(Duration, Ending)>,
    /// How it takes being asked: after how long it ends, and how. `None`: it does not care.
    obeys: Option<(Duration, Ending)>,
    leaves_behind: bool,
    /// After how long those whom it leaves behind end by themselves; and once they are asked to. `None`: never.
    left_lives: Option<Duration>,
    left_obeys: Option<Duration>,
    /// How often it gives a sign of life, and until how old.
    beats: Option<(Duration, Duration)>,
    /// From which age to which a probe finds it ill.
    ill: Option<(Duration, Duration)>,
    /// What else it says, and at which age.
    says: Option<(Duration, Word)>,
}

/// What a process may say of itself.
#[derive(Clone, Copy)]
enum Word {
    Ails,
    Departs,
    Complains,
    NeverReady,
    Beats(Duration),
}

/// A line of the story, put into words only when it is told.
#[derive(Clone, PartialEq)]
pub enum Line {
    Told(Event),
    Ordered(Action),
    Dies(Process),
    Nonsense,
}

enum Happening {
    News(Event),
    Dies(Process, Ending),
    Empties(Process),
    LeftoversEnd(Process),
    GivesBack(Process),
    Beats(Process),
    Says(Process, Word),
    Answers(Process, Purpose),
    Deed,
}

pub struct World {
    pub core: Supervisor,
    pub now: Moment,
    pub bodies: BTreeMap<Process, Body>,
    /// Who takes part.
    pub cast: Vec<String>,
    /// What happened, and when.
    pub story: Vec<(Moment, Line)>,
    pub actions: u64,
    pub conclusion: Option<Conclusion>,
    pub checks: Checks,
    random: Random,
    mood: Mood,
    nature: Nature,
    agenda: BTreeMap<(Moment, u64), Happening>,
    planned: u64,
    told: Vec<Event>,
}

/// The longest that news, clearing and giving back take, in milliseconds, and how late a tick is.
pub const LATEST_NEWS: u64 = 400;

/// The longest that a process asks for to stop, in milliseconds.
pub const LONGEST_EXTENSION: u64 = 2000;

impl World {
    pub fn new(seed: u64, mood: Mood, family: Family, nature: Nature) -> World {
        let mut cast =
            vec![format!("{mood:?}, {:?}, family intensity {:?}", family.strategy, family.intensity)];
        cast.extend(family.groups.iter().map(|group| format!("{group:?}")));
        for (id, worker) in family.workers.iter().enumerate() {
            cast.push(format!("worker {id}: {worker:?}"));
        }
        World {
            checks: Checks::new(&family),
            core: Supervisor::new(family),
            now: Moment::START,
            bodies: BTreeMap::new(),
            cast,
            story: Vec::new(),
            actions: 0,
            conclusion: None,
            random: Random::new(seed),
            mood,
            nature,
            agenda: BTreeMap::new(),
            planned: 0,
            told: Vec::new(),
        }
    }

    /// Lives until the run is concluded, in a world in which people do things at any moment.
    pub fn live_and_be_hurt(&mut self) {
        self.take_back();
        if self.random.percent(97) {
            self.tell(Event::Begin);
        }
        for _ in 0..self.random.below(20) {
            let at = self.random.millis(0, 20_000);
            self.plan(at, Happening::Deed);
        }
        // Nobody's patience is endless.
        let patience = self.random.millis(100, 60_000);
        self.plan(patience, Happening::News(Event::Shutdown));
        self.live();
        self.after_the_end();
    }

    /// Lives until the run is concluded, and nobody asks for anything.
    pub fn live_quietly(&mut self) {
        self.tell(Event::Begin);
        self.live();
        self.after_the_end();
    }

    fn live(&mut self) {
        for _ in 0..20_000 {
            if self.conclusion.is_some() {
                return;
            }
            let next = self.agenda.first_key_value().map(|(&(at, _), _)| at);
            let deadline = self.core.next_deadline();
            match (next, deadline) {
                (None, None) => {
                    self.checks.nothing_hangs();
                    self.tell(Event::Shutdown);
                }
                (next, Some(deadline)) if next.is_none_or(|next| deadline < next) => {
                    let late = if self.mood == Mood::Unkind && self.random.percent(20) { 50 } else { 0 };
                    self.now = self.now.max(deadline + self.random.millis(0, late));
                    self.tell(Event::Tick);
                }
                _ => {
                    if let Some(((at, _), happening)) = self.agenda.pop_first() {
                        self.now = self.now.max(at);
                        self.happen(happening);
                    }
                }
            }
        }
        panic!("the run goes on for ever");
    }

    /// Whatever is said when all is over has no effect.
    fn after_the_end(&mut self) {
        for event in [Event::Begin, Event::Tick, Event::Shutdown, Event::ShutdownNow] {
            self.tell(event);
        }
        for _ in 0..5 {
            let event = if self.told.is_empty() { Event::Tick } else { self.random.pick(&self.told) };
            self.tell(event);
            let request = self.any_request();
            self.tell(Event::Asked(request));
        }
    }

    fn note(&mut self, line: Line) {
        self.story.push((self.now, line));
    }

    /// Tells how it came to this: the cast, and the last of what happened.
    pub fn tell_story(&self) {
        for line in &self.cast {
            eprintln!("{line}");
        }
        let lines = crate::number("SIMULATION_LINES", 200) as usize;
        for (at, line) in &self.story[self.story.len().saturating_sub(lines)..] {
            let words = match line {
                Line::Told(event) => format!("told {event:?}"),
                Line::Ordered(action) => format!("  -> {action:?}"),
                Line::Dies(process) => format!("{process:?} dies"),
                Line::Nonsense => "nonsense:".into(),
            };
            eprintln!("{:>9.3} {}", at.as_nanos() as f64 / 1e6, short(&words));
        }
    }

    fn plan(&mut self, after: Duration, happening: Happening) {
        self.planned += 1;
        self.agenda.insert((self.now + after, self.planned), happening);
    }

    /// Hands in an event that is true, so that it may be repeated.
    fn tell(&mut self, event: Event) {
        if is_news(&event) {
            self.told.push(event.clone());
        }
        self.hand_in(event);
    }

    /// Hands in an event and carries out what comes of it.
    fn hand_in(&mut self, event: Event) {
        self.note(Line::Told(event.clone()));
        self.checks.before(&self.core, self.now, &event);
        self.core.handle(self.now, event);
        let mut actions = Vec::new();
        while let Some(action) = self.core.poll_action() {
            self.note(Line::Ordered(action.clone()));
            actions.push(action);
        }
        self.checks.settled(&self.core, self.now, &actions);
        for action in actions {
            self.actions += 1;
            self.checks.action(&self.core, self.now, &self.bodies, &action);
            self.carry_out(action);
        }
    }

    /// Tells news later; in an unkind world out of order, and perhaps twice.
    fn report(&mut self, event: Event) {
        let copies = if self.mood == Mood::Unkind && self.random.percent(10) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = self.delay();
            self.plan(delay, Happening::News(event.clone()));
        }
    }

    fn delay(&mut self) -> Duration {
        match self.mood {
            // So little that news stays in order: everything else takes a whole millisecond at least.
            Mood::Kind => Duration::from_micros(1),
            Mood::Unkind if self.random.percent(10) => self.random.millis(0, LATEST_NEWS),
            Mood::Unkind => self.random.millis(0, 20),
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::News(event) => {
                self.tell(event);
                if self.mood == Mood::Unkind && self.random.percent(8) {
                    self.tell_nonsense();
                }
            }
            Happening::Dies(process, ending) => self.die(process, ending),
            Happening::Empties(process) => {
                if let Some(body) = self.bodies.get_mut(&process) {
                    body.tree = false;
                    self.report(Event::Emptied(process));
                }
            }
            Happening::LeftoversEnd(process) => self.end_leftovers(process),
            Happening::GivesBack(process) => {
                if let Some(body) = self.bodies.get_mut(&process) {
                    body.holds = false;
                    self.report(Event::Reclaimed(process));
                }
            }
            Happening::Beats(process) => self.beat(process),
            Happening::Says(process, word) => self.say(process, word),
            Happening::Answers(process, purpose) => self.answer(process, purpose),
            Happening::Deed => self.deed(),
        }
    }

    fn die(&mut self, process: Process, ending: Ending) {
        if let Some(body) = self.bodies.get_mut(&process)
            && body.leader
        {
            body.leader = false;
            body.tree &= body.conduct.leaves_behind;
            self.note(Line::Dies(process));
            self.report(Event::Ended(process, ending));
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Launch(process) => {
                let conduct = self.conduct(process);
                if matches!(self.nature, Nature::Any) && self.random.percent(8) {
                    let failure = LaunchFailure("exec ./nothere: no such file".into());
                    let born = self.now;
                    let body =
                        Body { leader: false, tree: false, adopted: false, holds: false, conduct, born };
                    self.bodies.insert(process, body);
                    return self.report(Event::LaunchFailed(process, failure));
                }
                self.come_alive(process, conduct);
                self.report(Event::Launched(process));
            }
            Action::Ask(process) => {
                let obeys = self.bodies.get(&process).and_then(|body| body.conduct.obeys);
                if let Some((after, ending)) = obeys {
                    if matches!(self.nature, Nature::Any) && self.random.percent(20) {
                        let more = self.random.millis(0, LONGEST_EXTENSION);
                        self.report(Event::NeedsTime(process, more));
                    }
                    self.plan(after, Happening::Dies(process, ending));
                }
            }
            Action::Abort(process) => {
                if self.random.percent(80) {
                    let after = self.random.millis(0, 50);
                    self.plan(after, Happening::Dies(process, Ending::Signal(6)));
                }
            }
            Action::Probe(process, purpose, within) => {
                let longest = within.min(Duration::from_millis(LATEST_NEWS)).as_millis() as u64;
                let after = match self.mood {
                    Mood::Kind => Duration::from_micros(1).min(within),
                    Mood::Unkind => self.random.millis(0, longest),
                };
                self.plan(after, Happening::Answers(process, purpose));
            }
            Action::Kill(process) => {
                let others = self.bodies.get(&process).is_some_and(|body| !body.leader && body.tree);
                if others {
                    self.report(Event::Remarked(process, Remark::LeftBehind(2)));
                }
                self.die(process, Ending::Signal(9));
                let after = self.random.millis(1, LATEST_NEWS);
                self.plan(after, Happening::Empties(process));
            }
            Action::Await(process) => {
                let Some(body) = self.bodies.get(&process) else { return };
                // They were asked when their leader was.
                let after = if body.tree { body.conduct.left_obeys } else { Some(Duration::ZERO) };
                if let Some(after) = after {
                    self.plan(after + Duration::from_millis(1), Happening::Empties(process));
                }
            }
            Action::Adopt(process) => self.adopt(process),
            Action::AskLeftovers(process) => {
                if let Some(after) = self.bodies.get(&process).and_then(|body| body.conduct.left_obeys) {
                    self.plan(after, Happening::LeftoversEnd(process));
                }
            }
            Action::KillLeftovers(process) => {
                let after = self.random.millis(1, LATEST_NEWS);
                self.plan(after, Happening::LeftoversEnd(process));
            }
            Action::Reclaim(process) => {
                let after = self.random.millis(1, LATEST_NEWS);
                self.plan(after, Happening::GivesBack(process));
            }
            Action::Conclude(conclusion) => self.conclusion = Some(conclusion),
            Action::Changed(_)
            | Action::Retired(_)
            | Action::Unretired(_)
            | Action::Removed(_)
            | Action::Rolled(..)
            | Action::GaveUp(..) => {}
        }
    }

    fn beat(&mut self, process: Process) {
        let now = self.now;
        let Some(body) = self.bodies.get(&process).filter(|body| body.leader) else { return };
        let (Some((every, until)), age) = (body.conduct.beats, now.since(body.born)) else { return };
        if age <= until {
            self.report(Event::Alive(process));
            self.plan(every, Happening::Beats(process));
        }
    }

    fn say(&mut self, process: Process, word: Word) {
        if self.bodies.get(&process).is_some_and(|body| body.leader) {
            self.report(match word {
                Word::Ails => Event::Ails(process),
                Word::Departs => Event::Departs(process),
                Word::Complains => Event::Complains(process, "no disk".into()),
                Word::NeverReady => Event::NeverReady(process, "closed".into()),
                Word::Beats(every) => Event::Beats(process, every),
            });
        }
    }

    /// What a probe finds.
    fn answer(&mut self, process: Process, purpose: Purpose) {
        let now = self.now;
        // Of one that has ended, its ending tells.
        let Some(body) = self.bodies.get(&process).filter(|body| body.leader) else { return };
        let age = now.since(body.born);
        let well = match purpose {
            Purpose::Readiness => body.conduct.ready_after.is_some_and(|after| age >= after),
            Purpose::Health => body.conduct.ill.is_none_or(|(from, to)| age < from || age > to),
        };
        // Who is ill at some time is well for a moment, or ill for one.
        let wavers = purpose == Purpose::Health && body.conduct.ill.is_some();
        let well = well != (wavers && self.mood == Mood::Unkind && self.random.percent(20));
        let answer = if well { Ok(()) } else { Err("connection refused".into()) };
        self.report(Event::Probed(process, purpose, answer));
    }

    fn come_alive(&mut self, process: Process, conduct: Conduct) {
        if let Some(after) = conduct.ready_after {
            self.plan(after, Happening::News(Event::Ready(process)));
        }
        if let Some((after, ending)) = conduct.lives {
            self.plan(after, Happening::Dies(process, ending));
        }
        if let Some((every, _)) = conduct.beats {
            self.plan(every, Happening::Beats(process));
        }
        if let Some((after, word)) = conduct.says {
            self.plan(after, Happening::Says(process, word));
        }
        let body = Body { leader: true, tree: true, adopted: false, holds: true, conduct, born: self.now };
        self.bodies.insert(process, body);
    }

    fn conduct(&mut self, process: Process) -> Conduct {
        let random = &mut self.random;
        if let Nature::Scripted(scripts) = &self.nature {
            let nth = process.launch.0 as usize - 1;
            let ending = scripts.get(&process.instance).and_then(|script| script.get(nth).copied());
            return Conduct {
                ready_after: Some(Duration::from_millis(5)),
                lives: ending.map(|ending| (random.millis(10, 2000), ending)),
                obeys: Some((random.millis(1, 20), Ending::Signal(15))),
                leaves_behind: random.percent(50),
                left_lives: None,
                left_obeys: Some(random.millis(1, 20)),
                beats: Some((Duration::from_millis(700), Duration::MAX)),
                ill: None,
                says: None,
            };
        }
        let endings = [0, 0, 0, 1, 3, 255].map(Ending::Code);
        let endings: Vec<Ending> = endings.into_iter().chain([Ending::Signal(11), Ending::Unknown]).collect();
        Conduct {
            ready_after: random.percent(80).then(|| random.millis(1, 200)),
            lives: random.percent(60).then(|| {
                let longest = random.pick(&[20, 500, 15_000]);
                (random.millis(0, longest), random.pick(&endings))
            }),
            obeys: random.percent(70).then(|| {
                let longest = random.pick(&[1, 100, 6000]);
                (
                    random.millis(0, longest),
                    random.pick(&[Ending::Signal(15), Ending::Code(0), Ending::Code(1)]),
                )
            }),
            leaves_behind: random.percent(50),
            left_lives: random.percent(30).then(|| random.millis(0, 5000)),
            left_obeys: random.percent(60).then(|| {
                let longest = random.pick(&[1, 100, 6000]);
                random.millis(0, longest)
            }),
            beats: random.percent(80).then(|| {
                let until = random.pick(&[500, 3000, 100_000]);
                (random.millis(50, 600), random.millis(0, until))
            }),
            ill: random.percent(40).then(|| {
                let from = random.millis(0, 4000);
                (from, from + random.millis(0, 3000))
            }),
            says: random.percent(15).then(|| {
                let every = random.millis(0, 2000);
                let words =
                    [Word::Ails, Word::Departs, Word::Complains, Word::NeverReady, Word::Beats(every)];
                (random.millis(0, 3000), random.pick(&words))
            }),
        }
    }
}

/// `w0:1#3` for a process.
fn short(words: &str) -> String {
    let words = words.replace("Process { instance: ", "").replace("InstanceId { worker: WorkerId(", "w");
    words
        .replace("), index: ", ":")
        .replace(" }, launch: Launch(", "#")
        .replace(") }", "")
        .replace(" })", ")")
}

fn is_news(event: &Event) -> bool {
    matches!(
        event,
        Event::Launched(_)
            | Event::LaunchFailed(..)
            | Event::Ready(_)
            | Event::Probed(..)
            | Event::Alive(_)
            | Event::Departs(_)
            | Event::NeedsTime(..)
            | Event::Ended(..)
            | Event::Emptied(_)
            | Event::Adopted(..)
            | Event::Remarked(..)
            | Event::Reclaimed(_)
    )
}
