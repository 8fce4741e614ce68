//! What the tests share: a supervisor of their own in a folder of its own, and waiting for conditions.
