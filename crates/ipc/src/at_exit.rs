//! All queues that this process has open. One that exits by itself has finished what it got, also where its handles are
//! never dropped.

use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use crate::core::Core;

static HANDLES: Mutex<Vec<Weak<Core>>> = Mutex::new(Vec::new());

pub(crate) fn remember(core: &Arc<Core>) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| crate::futex::at_exit(finish_all));
    if let Ok(mut handles) = HANDLES.lock() {
        handles.retain(|handle| handle.strong_count() > 0);
        handles.push(Arc::downgrade(core));
    }
}

pub(crate) fn for_each(work: impl Fn(&Core)) {
    let handles: Vec<_> =
        HANDLES.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
    // Without the lock: the last owner of one may be this.
    handles.iter().for_each(|core| work(core));
}

pub(crate) extern "C" fn finish_all() {
    // Another thread may have been stopped with the lock held; then what it got is delivered again.
    if let Ok(handles) = HANDLES.try_lock() {
        handles.iter().filter_map(Weak::upgrade).for_each(|core| core.finish());
    }
}
