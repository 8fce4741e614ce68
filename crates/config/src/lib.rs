//! Turns the text of config.json into a checked plan, or into all its problems.
