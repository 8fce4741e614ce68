//! The word of a block that says what the block is and whose.
//!
//! ```text
//!   state:4 | owner:12 | ticket:48
//!
//!   Free ─ alloc ─► Writing(p) ─ fill ─► Ready(p, t), private until slot t names the block
//!                                             └─ published ─► claimed: Leased(c, t) ─ ack ─► Free
//!   Leased ─ given back or owner dead ─► Requeue(r, t) ─► Ready in the redelivery or the dead ring
//!   Leased ─ given back for later ─► Delayed(due) ─ due ─► Requeue(r, t)
//!   Free ─ memory given back ─► Punching(j) ─► Free
//! ```
//!
//! Every arrow is one compare-and-swap (or a store by the only owner), so a word read is always a whole truth.

/// Which ring a message waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Which {
    /// Messages never delivered yet, in the order they were put.
    First = 0,
    /// Messages given back.
    Again = 1,
    /// Messages given back too often.
    Dead = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) u64);

pub(crate) const TICKET: u64 = (1 << 48) - 1;
const FREE: u64 = 0;
const WRITING: u64 = 1;
const READY: u64 = 2; // 2, 3, 4: one for each ring
const LEASED: u64 = 5;
const REQUEUE: u64 = 6;
const DELAYED: u64 = 7;
const PUNCHING: u64 = 8;

/// A tag taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Writing,
    Ready(Which),
    Leased,
    Requeue,
    Delayed,
    Punching,
    Impossible,
}

impl Tag {
    pub(crate) const FREE: Self = Self(FREE);

    #[inline(always)]
    const fn of(state: u64, owner: u32, ticket: u64) -> Self {
        Self(state << 60 | (owner as u64 & 0xfff) << 48 | ticket & TICKET)
    }

    #[inline(always)]
    pub(crate) const fn writing(owner: u32) -> Self {
        Self::of(WRITING, owner, 0)
    }

    #[inline(always)]
    pub(crate) const fn ready(which: Which, owner: u32, ticket: u64) -> Self {
        Self::of(READY + which as u64, owner, ticket)
    }

    #[inline(always)]
    pub(crate) const fn leased(owner: u32, ticket: u64) -> Self {
        Self::of(LEASED, owner, ticket)
    }

    pub(crate) const fn requeue(owner: u32, ticket: u64) -> Self {
        Self::of(REQUEUE, owner, ticket)
    }

    /// Names no owner: what is put off belongs to everybody.
    pub(crate) const fn delayed(due_ms: u64) -> Self {
        Self::of(DELAYED, 0, due_ms)
    }

    pub(crate) const fn punching(owner: u32) -> Self {
        Self::of(PUNCHING, owner, 0)
    }

    pub(crate) fn state(self) -> State {
        match self.0 >> 60 {
            FREE => State::Free,
            WRITING => State::Writing,
            2 => State::Ready(Which::First),
            3 => State::Ready(Which::Again),
            4 => State::Ready(Which::Dead),
            LEASED => State::Leased,
            REQUEUE => State::Requeue,
            DELAYED => State::Delayed,
            PUNCHING => State::Punching,
            _ => State::Impossible,
        }
    }

    pub(crate) const fn owner(self) -> u32 {
        (self.0 >> 48) as u32 & 0xfff
    }

    /// The ticket, or when a delayed one is due, in milliseconds.
    #[inline(always)]
    pub(crate) const fn ticket(self) -> u64 {
        self.0 & TICKET
    }

    /// Whether it stands ready in that ring under that ticket, whoever put it there.
    #[inline(always)]
    pub(crate) const fn is_ready(self, which: Which, ticket: u64) -> bool {
        self.0 & !(0xfff << 48) == (READY + which as u64) << 60 | ticket & TICKET
    }

    /// Whether it still holds a message that somebody may get or get again, apart from what never left the
    /// first ring.
    pub(crate) fn is_in_flight(self) -> bool {
        matches!(self.state(), State::Leased | State::Requeue | State::Delayed | State::Ready(Which::Again))
    }
}
