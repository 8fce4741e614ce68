//! What `ls` shows.

use control::api::{
    ArrayStatus, BarrierStatus, EventStatus, LockStatus, Participant, SemaphoreStatus, ValueStatus,
};

use crate::output::{Cell, Side, Table};

/// `NAME (pid PID)`, the worker in front where it does not name itself by it.
fn participant(who: &Participant) -> String {
    match (&who.worker, who.instance) {
        (Some(worker), Some(instance)) if !who.name.starts_with(&format!("{worker}:")) => {
            format!("{worker}:{instance} {} (pid {})", who.name, who.pid)
        }
        _ => format!("{} (pid {})", who.name, who.pid),
    }
}

fn participants(all: &[Participant]) -> Cell {
    if all.is_empty() {
        return Cell::from("-");
    }
    Cell::from(all.iter().map(participant).collect::<Vec<_>>().join(", "))
}

pub(super) fn locks(rows: &[LockStatus]) -> Table {
    let mut table = Table::new(&[
        ("LOCK", Side::Left),
        ("RECURSIVE", Side::Left),
        ("HOLDER", Side::Left),
        ("WAITERS", Side::Left),
    ]);
    for row in rows {
        let holder = row.holder.as_ref().map_or_else(|| Cell::from("-"), |who| Cell::from(participant(who)));
        let recursive = Cell::from(if row.recursive { "yes" } else { "no" });
        table.row(vec![Cell::from(&row.lock), recursive, holder, participants(&row.waiters)]);
    }
    table
}

pub(super) fn semaphores(rows: &[SemaphoreStatus]) -> Table {
    let mut table = Table::new(&[
        ("SEMAPHORE", Side::Left),
        ("PERMITS", Side::Right),
        ("FREE", Side::Right),
        ("HOLDERS", Side::Left),
    ]);
    for row in rows {
        table.row(vec![
            Cell::from(&row.semaphore),
            Cell::from(row.permits),
            Cell::from(row.free),
            participants(&row.holders),
        ]);
    }
    table
}

pub(super) fn events(rows: &[EventStatus]) -> Table {
    let mut table = Table::new(&[("EVENT", Side::Left), ("SET", Side::Left)]);
    for row in rows {
        table.row(vec![Cell::from(&row.event), Cell::from(if row.set { "yes" } else { "no" })]);
    }
    table
}

pub(super) fn values(rows: &[ValueStatus], arrays: &[ArrayStatus]) -> Table {
    let mut table = Table::new(&[("VALUE", Side::Left), ("NUMBER", Side::Right)]);
    for row in rows {
        table.row(vec![Cell::from(&row.value), Cell::from(row.number)]);
    }
    for ArrayStatus { array, length } in arrays {
        table.row(vec![Cell::from(array), Cell::from(format!("{length} numbers"))]);
    }
    table
}

pub(super) fn barriers(rows: &[BarrierStatus]) -> Table {
    let mut table = Table::new(&[
        ("BARRIER", Side::Left),
        ("PARTIES", Side::Right),
        ("WAITING", Side::Right),
        ("BROKEN", Side::Left),
    ]);
    for row in rows {
        table.row(vec![
            Cell::from(&row.barrier),
            Cell::from(row.parties),
            Cell::from(row.waiting),
            Cell::from(if row.broken { "yes" } else { "no" }),
        ]);
    }
    table
}
