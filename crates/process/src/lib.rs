//! Linux processes said as values: spawn, reap, signal, tree, identity.
