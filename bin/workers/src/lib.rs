//! What the worker programs share.
