//! All figures of supervision, measured in turns: ours, then the yardstick, and again.

use std::thread;
use std::time::{Duration, Instant};

use bench::Stamp;
use bench::figures::{Figure, Target, median, p99, paired};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Output, Scene, Stage, Stopped};
use crate::{Trouble, core_cost, facts, messages, peers};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    rounds: usize,
    kills: usize,
    idle: Duration,
    asks: usize,
    messages: u64,
    peers: peers::Extent,
}

impl Extent {
    /// What a closing note quotes.
    pub const FULL: Extent = Extent {
        rounds: 5,
        kills: 50,
        idle: Duration::from_secs(20),
        asks: 20,
        messages: 2_000_000,
        peers: peers::Extent { count: 1000, rounds: 3, kills: 30 },
    };
    /// What fits in a few minutes on a small machine.
    pub const QUICK: Extent = Extent {
        rounds: 3,
        kills: 50,
        idle: Duration::from_secs(5),
        asks: 10,
        messages: 500_000,
        peers: peers::Extent { count: 100, rounds: 2, kills: 8 },
    };
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Crowds of workers: start, memory, idleness, status, stop
    Crowds,
    /// From a death to the successor's `main`
    Restarts,
    /// What an event costs the deciding core
    Core,
    /// Messages between two workers
    Messages,
    /// Supervisors that others have written, where they are installed
    Peers,
}

/// How long a pause between two deaths is: the restart that came before is over then, and so is its aftermath.
const BETWEEN_DEATHS: Duration = Duration::from_millis(5);

/// What was seen of one crowd of ours, round after round.
#[derive(Default)]
struct Seen {
    start_ms: Vec<f64>,
    bare_start_ms: Vec<f64>,
    stop: Vec<Stopped>,
    bare_stop: Vec<Stopped>,
    pss_kib: Vec<f64>,
    status_ms: Vec<f64>,
    switches: Option<u64>,
}

/// Measures everything. What is being done is said on standard error.
pub fn measure(extent: Extent, only: &[Part]) -> Result<Vec<Figure>, Trouble> {
    let most = 1000.min(facts::workers_at_most());
    if most < 1000 {
        eprintln!(
            "bench: this user may have {most} workers, not 1000: the limits of processes or descriptors"
        );
    }
    let mut stage = Stage::new()?;
    all(&mut stage, most, extent, only)
        .map_err(|trouble| Trouble::new(format!("{trouble}\n{}", stage.said())))
}

fn all(stage: &mut Stage, most: u32, extent: Extent, only: &[Part]) -> Result<Vec<Figure>, Trouble> {
    let wanted = |part: Part| only.is_empty() || only.contains(&part);
    let mut figures = Vec::new();
    if wanted(Part::Crowds) {
        figures.extend(crowd_figures(stage, most, extent)?);
    }
    if wanted(Part::Restarts) {
        for output in [Output::Null, Output::Log] {
            figures.extend(restart_figures(stage, output, extent)?);
        }
    }
    if wanted(Part::Core) {
        figures.extend(core_figures(extent));
    }
    if wanted(Part::Messages) {
        figures.push(message_figure(stage, extent)?);
    }
    if wanted(Part::Peers) {
        figures.extend(peers::figures(stage, extent.peers));
    }
    Ok(figures)
}

fn crowd_figures(stage: &mut Stage, most: u32, extent: Extent) -> Result<Vec<Figure>, Trouble> {
    let few = 100.min(most);
    let mut figures = Vec::new();
    let mut memory = Vec::new();
    for output in [Output::Null, Output::Log] {
        let mut sizes = Vec::new();
        for count in [1, few, most] {
            let seen = crowd(stage, count, output, extent)?;
            figures.push(start_figure(&seen, count, output));
            sizes.push((count, median(&seen.pss_kib)));
            if count == most {
                figures.extend(stop_figures(&seen, count, output));
            }
            let status_most = if count == most { 10.0 } else { 3.0 };
            if output == Output::Null && count > 1 {
                let name = format!("status, {count} workers");
                figures.push(Figure::alone(name, median(&seen.status_ms), "ms", Target::Value(status_most)));
            }
            if let Some(switches) = seen.switches {
                let name = format!("idle {} s, {count} workers, {}", extent.idle.as_secs(), words(output));
                figures.push(Figure::alone(name, switches as f64, "switches", Target::Value(0.0)));
            }
        }
        memory.extend(memory_figures(&sizes, output));
    }
    figures.extend(memory);
    Ok(figures)
}

fn words(output: Output) -> &'static str {
    match output {
        Output::Null => "output null",
        Output::Log => "output logged",
    }
}

fn crowd(stage: &mut Stage, count: u32, output: Output, extent: Extent) -> Result<Seen, Trouble> {
    let mut seen = Seen::default();
    for round in 1..=extent.rounds {
        eprintln!("bench: {count} workers, {}, round {round} of {}", words(output), extent.rounds);
        let mut ours = stage.ours(count, output)?;
        seen.start_ms.push(ours.born(count)?);
        quiet(&ours)?;
        seen.pss_kib.push(facts::pss_kib(ours.pid())?);
        if round == 1 && count >= 1000.min(facts::workers_at_most()) {
            seen.switches = Some(switches_in(&ours, extent.idle)?);
        }
        for _ in 0..if count > 1 { extent.asks } else { 0 } {
            seen.status_ms.push(ours.status_ms()?);
        }
        quiet(&ours)?;
        seen.stop.push(ours.stop()?);

        let mut bare = stage.bare("bare-crowd", &[&count.to_string()])?;
        seen.bare_start_ms.push(bare.born(count)?);
        quiet(&bare)?;
        seen.bare_stop.push(bare.stop()?);
    }
    Ok(seen)
}

/// Waits until a program has nothing to do any more: so long that nothing it left to a moment later is missed.
fn quiet(scene: &Scene) -> Result<(), Trouble> {
    let limit = Instant::now() + Duration::from_secs(10);
    let mut before = facts::switches(scene.pid())?;
    loop {
        thread::sleep(Duration::from_millis(100));
        let now = facts::switches(scene.pid())?;
        if now == before || Instant::now() > limit {
            return Ok(());
        }
        before = now;
    }
}

fn switches_in(scene: &Scene, time: Duration) -> Result<u64, Trouble> {
    let before = facts::switches(scene.pid())?;
    thread::sleep(time);
    Ok(facts::switches(scene.pid())?.saturating_sub(before))
}

fn start_figure(seen: &Seen, count: u32, output: Output) -> Figure {
    let name = format!("start of {count} to all running, {}", words(output));
    let target = if count >= 1000 { Target::Ratio(1.15) } else { Target::Report };
    let ratio = paired(&seen.start_ms, &seen.bare_start_ms);
    let peer = ("posix_spawn loop", median(&seen.bare_start_ms));
    Figure::beside(name, median(&seen.start_ms), peer, "ms", ratio, target)
}

fn stop_figures(seen: &Seen, count: u32, output: Output) -> [Figure; 2] {
    let figure = |name: &str, target: Target, of: fn(&Stopped) -> f64| {
        let ours: Vec<f64> = seen.stop.iter().map(of).collect();
        let bare: Vec<f64> = seen.bare_stop.iter().map(of).collect();
        let name = format!("stop of {count}, {name}, {}", words(output));
        Figure::beside(
            name,
            median(&ours),
            ("kill and reap loop", median(&bare)),
            "ms",
            paired(&ours, &bare),
            target,
        )
    };
    let target = if count >= 1000 { Target::Ratio(1.2) } else { Target::Report };
    [
        figure("workers gone", target, |stopped| stopped.workers_ms),
        figure("supervisor gone too", Target::Report, |stopped| stopped.all_ms),
    ]
}

fn memory_figures(sizes: &[(u32, f64)], output: Output) -> Vec<Figure> {
    let mut figures: Vec<Figure> = sizes
        .iter()
        .map(|&(count, kib)| {
            let target = if count >= 1000 { Target::Value(4096.0) } else { Target::Report };
            Figure::alone(format!("memory (PSS), {count} workers, {}", words(output)), kib, "KiB", target)
        })
        .collect();
    if let [.., (few, least), (many, most)] = sizes
        && few < many
    {
        let each = (most - least) / f64::from(many - few);
        let name = format!("memory (PSS) a further worker, {}", words(output));
        figures.push(Figure::alone(name, each, "KiB", Target::Value(1.5)));
    }
    figures
}

/// Kills one worker after another, ours and the bare one's in turns, and waits for the successor's `main`.
fn restart_figures(stage: &mut Stage, output: Output, extent: Extent) -> Result<[Figure; 2], Trouble> {
    let kills = extent.kills * extent.rounds;
    eprintln!("bench: {kills} restarts, {}", words(output));
    let mut scenes = [stage.ours(1, output)?, stage.bare("bare-restarter", &[])?];
    let mut pids = [0; 2];
    for (scene, pid) in scenes.iter_mut().zip(&mut pids) {
        *pid = scene.next_birth()?.pid;
        quiet(scene)?;
    }
    let mut times = [Vec::with_capacity(kills), Vec::with_capacity(kills)];
    for _ in 0..kills {
        for ((scene, pid), times) in scenes.iter_mut().zip(&mut pids).zip(&mut times) {
            thread::sleep(BETWEEN_DEATHS);
            let death = Stamp::now();
            kill(Pid::from_raw(*pid), Signal::SIGKILL)?;
            let birth = scene.next_birth()?;
            times.push(birth.at.ms_since(death));
            *pid = birth.pid;
        }
    }
    let [ours, bare] = times;
    for scene in scenes {
        scene.stop()?;
    }
    let figure = |name: &str, of: fn(&[f64]) -> f64, most: f64| {
        let (value, peer) = (of(&ours), of(&bare));
        let name = format!("death to successor's main, {name} of {kills}, {}", words(output));
        Figure::beside(name, value, ("pidfd, posix_spawn", peer), "ms", value / peer, Target::Ratio(most))
    };
    Ok([figure("median", median, 1.1), figure("p99", p99, 1.5)])
}

fn core_figures(extent: Extent) -> Vec<Figure> {
    const SIZES: [u32; 4] = [10, 100, 1000, 10_000];
    eprintln!("bench: the core's decisions");
    let mut times: [Vec<f64>; 4] = Default::default();
    for _ in 0..extent.rounds {
        for (size, times) in SIZES.into_iter().zip(&mut times) {
            times.push(core_cost::event_ns(size));
        }
    }
    let few = &times[0];
    let figure = |(size, times): (u32, &Vec<f64>)| {
        let name = format!("core, event to actions, {size} workers");
        let target = if size == 10_000 { Target::Ratio(2.0) } else { Target::Report };
        Figure::beside(
            name,
            median(times),
            ("with 10 workers", median(few)),
            "ns",
            paired(times, few),
            target,
        )
    };
    SIZES.into_iter().zip(&times).map(figure).collect()
}

fn message_figure(stage: &mut Stage, extent: Extent) -> Result<Figure, Trouble> {
    let (mut queue, mut pipe) = (Vec::new(), Vec::new());
    for round in 1..=extent.rounds {
        eprintln!(
            "bench: {} messages between two workers, round {round} of {}",
            extent.messages, extent.rounds
        );
        queue.push(messages::through_a_queue(stage, extent.messages)?);
        pipe.push(messages::through_a_pipe(stage, extent.messages)?);
    }
    let name = "64-byte messages between two workers, queue of the config";
    let ratio = paired(&queue, &pipe);
    Ok(Figure::beside(
        name,
        median(&queue),
        ("pipe, write and read", median(&pipe)),
        "1/s",
        ratio,
        Target::Report,
    ))
}
