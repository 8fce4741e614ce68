//! All rows of the table, in its order.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bench::figures::{Figure, Target, median, paired};
use worker::ipc::Queue;
use worker::ipc::sync::{Family, SyncOptions};

use super::hall::{flow, take_and_die};
use super::lines::{Kind, mq, ours};
use super::python::Class;
use super::rounds::{Peer, Rounds, Shape};
use super::work::Load;
use crate::Trouble;
use crate::raw::{Shared, copies_ns};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    rounds: usize,
    length: Duration,
    budget: Duration,
    spins: u64,
    sleeps: u64,
}

impl Extent {
    /// What a closing note quotes.
    pub const FULL: Extent = Extent {
        rounds: 11,
        length: Duration::from_millis(300),
        budget: Duration::from_secs(1800),
        spins: 100_000,
        sleeps: 300,
    };
    /// What fits in a few minutes on a small machine.
    pub const QUICK: Extent = Extent {
        rounds: 7,
        length: Duration::from_millis(60),
        budget: Duration::from_secs(200),
        spins: 20_000,
        sleeps: 100,
    };

    /// The same with another number of rounds.
    pub fn with_rounds(self, rounds: usize) -> Extent {
        Extent { rounds, ..self }
    }
}

const ONE_ONE: Shape = Shape(1, 1);
const FOUR_FOUR: Shape = Shape(4, 4);
const SHAPES: [Shape; 5] = [ONE_ONE, Shape(2, 2), FOUR_FOUR, Shape(1, 4), Shape(4, 1)];
const SIZES: [(usize, &str); 5] =
    [(8, "8 B"), (64, "64 B"), (1024, "1 KiB"), (65_536, "64 KiB"), (1 << 20, "1 MiB")];

/// Long enough for both sides to have fallen asleep.
const PAUSE: Duration = Duration::from_millis(1);

/// The rows, and whether any of ours could not be measured.
#[derive(Default)]
pub struct Table {
    pub figures: Vec<Figure>,
    pub has_gaps: bool,
}

impl Table {
    /// Adds what was measured; says what was not, and goes on.
    fn add(&mut self, figures: Result<impl IntoIterator<Item = Figure>, Trouble>) {
        match figures {
            Ok(figures) => self.figures.extend(figures),
            Err(trouble) => {
                eprintln!("bench: this could not be measured: {trouble}");
                self.has_gaps = true;
            }
        }
    }
}

/// Measures everything. What is being done is said on standard error.
///
/// With words in `only`, only the rows that have one of them, in their name or their peer's.
pub fn measure(extent: Extent, only: Vec<String>) -> Table {
    let mut rounds = Rounds::new(extent.rounds, extent.length, extent.budget, only);
    let mut table = Table::default();
    goals(&mut table, &mut rounds, extent);
    peers(&mut table, &mut rounds);
    grid(&mut table, &mut rounds);
    table
}

/// The rows that something is asked of.
fn goals(table: &mut Table, rounds: &mut Rounds, extent: Extent) {
    use Kind::{Channel, Crossbeam, Ours, OursBatched, OursLeased, Ring};
    let python = Peer::Python(Class::Multiprocessing);
    for (figure, ours, shape, peer, least) in [
        ("64 B, 1P1C", Ours, ONE_ONE, Peer::Line(Crossbeam), 0.5),
        ("64 B, 4P4C", Ours, FOUR_FOUR, Peer::Line(Ring), 2.0),
        ("64 B, 1P1C", Ours, ONE_ONE, python, 75.0),
        ("64 B, 1P1C", Ours, ONE_ONE, Peer::Line(Channel), 15.0),
        ("64 B, 1P1C, batches of 64", OursBatched, ONE_ONE, Peer::Line(Ours), 2.0),
        ("64 B, 1P1C, lease and ack", OursLeased, ONE_ONE, Peer::Line(Ours), 0.7),
    ] {
        table.add(rounds.flow(figure, (ours, shape, 64), peer, Target::AtLeast(least)));
    }
    table.add(copies(rounds, extent));
    let spinning = (extent.spins, None);
    table.add(rounds.trips("ping-pong, spinning", spinning, Crossbeam, Target::Ratio(1.3)));
    let sleeping = (extent.sleeps, Some(PAUSE));
    table.add(rounds.trips("ping-pong, sleeping", sleeping, Kind::Futex, Target::Ratio(1.1)));
    table.add(alone(rounds));
    table.add(reclaim(rounds));
}

/// Others on the same work.
fn peers(table: &mut Table, rounds: &mut Rounds) {
    let mut flow = |figure: String, shape, bytes, peer| {
        table.add(rounds.flow(&figure, (Kind::Ours, shape, bytes), peer, Target::Report));
    };
    for (bytes, size) in SIZES {
        for kind in [Kind::Ring, Kind::Socket, Kind::Channel, Kind::Mq] {
            // The one is above, with its target; the other takes no longer ones.
            if (kind, bytes) != (Kind::Channel, 64) && (kind != Kind::Mq || bytes <= mq::LARGEST) {
                flow(format!("{size}, {ONE_ONE}"), ONE_ONE, bytes, Peer::Line(kind));
            }
        }
    }
    flow("64 B, 4P1C".into(), Shape(4, 1), 64, Peer::Line(Kind::Channel));
    flow("64 B, 1P1C".into(), ONE_ONE, 64, Peer::Python(Class::FasterFifo));
    for peer in [
        Peer::Line(Kind::Socket),
        Peer::Line(Kind::Mq),
        Peer::Python(Class::Multiprocessing),
        Peer::Python(Class::FasterFifo),
    ] {
        flow("64 B, 4P4C".into(), FOUR_FOUR, 64, peer);
    }
    for kind in [Kind::Spin, Kind::Ring, Kind::Socket, Kind::Mq, Kind::Channel] {
        table.add(rounds.trips("ping-pong, no pause", (2_000, None), kind, Target::Report));
    }
}

/// Every shape with every size, beside threads of one process.
fn grid(table: &mut Table, rounds: &mut Rounds) {
    for shape in SHAPES {
        for (bytes, size) in SIZES {
            // Measured above, with its target.
            if (shape, bytes) != (ONE_ONE, 64) {
                let (figure, crossbeam) = (format!("{size}, {shape}"), Peer::Line(Kind::Crossbeam));
                let row = rounds.flow(&figure, (Kind::Ours, shape, bytes), crossbeam, Target::Report);
                table.add(row);
            }
        }
    }
}

/// Large messages, whose copies are all that there is to them: one in and one out, by one thread through memory as large.
fn copies(rounds: &Rounds, extent: Extent) -> Result<Option<Figure>, Trouble> {
    const BYTES: usize = 1 << 20;
    let figure = "1 MiB, 1P1C, by bytes";
    if !rounds.begins(figure, "two memcpys") {
        return Ok(None);
    }
    let blocks = super::lines::capacity(BYTES);
    let (_fd, shared) = Shared::create(BYTES * blocks)?;
    assert!(shared.bytes() >= BYTES * blocks);
    let gigabytes = |messages_a_second: f64| messages_a_second * BYTES as f64 / 1e9;
    // A copy takes some 50 to 100 microseconds.
    let each = extent.length.as_micros() as u64 / 60;
    let (mut ours, mut limit) = (Vec::new(), Vec::new());
    for _ in 0..rounds.count() {
        let load = Load { bytes: BYTES, each, producers: 1, consumers: 1, batch: 1 };
        ours.push(gigabytes(flow(Kind::Ours, load)?));
        limit.push(gigabytes(1e9 / copies_ns(&shared, BYTES, blocks, each as usize)));
    }
    let beside = ("two memcpys", median(&limit));
    let ratio = paired(&ours, &limit);
    Ok(Some(Figure::beside(figure, median(&ours), beside, "GB/s", ratio, Target::AtLeast(0.6))))
}

/// What a put and a get, and a lock and its release, cost where nobody else is there.
fn alone(rounds: &Rounds) -> Result<Vec<Figure>, Trouble> {
    const TURNS: u32 = 200_000;
    if !rounds.begins("uncontended, one process", "nothing") {
        return Ok(Vec::new());
    }
    let queue = Queue::create_anonymous("alone", &ours::options(64)).map_err(Trouble::new)?;
    let options = SyncOptions { locks: vec!["alone".into()], supervised: true, ..Default::default() };
    let family = Family::create_anonymous("alone", &options).map_err(Trouble::new)?;
    let lock = family.lock("alone").map_err(Trouble::new)?;
    let each = |mut work: Box<dyn FnMut() -> Result<(), Trouble> + '_>| -> Result<f64, Trouble> {
        let begun = Instant::now();
        (0..TURNS).try_for_each(|_| work())?;
        Ok(begun.elapsed().as_nanos() as f64 / f64::from(TURNS))
    };
    let (mut messages, mut locks) = (Vec::new(), Vec::new());
    for _ in 0..rounds.count() {
        messages.push(each(Box::new(|| {
            queue.put(black_box(&[7; 64])).map_err(Trouble::new)?;
            black_box(queue.get().map_err(Trouble::new)?);
            Ok(())
        }))?);
        locks.push(each(Box::new(|| {
            drop(black_box(lock.acquire().map_err(Trouble::new)?));
            Ok(())
        }))?);
    }
    Ok(vec![
        Figure::alone("64 B, put then get, one process", median(&messages), "ns", Target::Value(50.0)),
        Figure::alone("lock then unlock, one process", median(&locks), "ns", Target::Value(10.0)),
    ])
}

/// How long it takes to look after a dead participant with 50 leases, once its end is known.
fn reclaim(rounds: &Rounds) -> Result<Option<Figure>, Trouble> {
    const LEASES: usize = 50;
    let figure = "reclaim of a dead participant, 50 leases";
    if !rounds.begins(figure, "nothing") {
        return Ok(None);
    }
    let mut times = Vec::new();
    for _ in 0..rounds.count() {
        let queue = Queue::create_anonymous("reclaim", &ours::options(64)).map_err(Trouble::new)?;
        (0..LEASES).try_for_each(|_| queue.put(&[7; 64])).map_err(Trouble::new)?;
        let pid = take_and_die(&queue, LEASES)?;
        let begun = Instant::now();
        let done = queue.reclaim(pid).map_err(Trouble::new)?;
        times.push(begun.elapsed().as_nanos() as f64 / 1e3);
        if done.redelivered as usize != LEASES {
            return Err(Trouble::new(format!("{} messages of {LEASES} came back", done.redelivered)));
        }
    }
    Ok(Some(Figure::alone(figure, median(&times), "us", Target::Value(50.0))))
}
