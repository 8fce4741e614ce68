//! Where a program may lie: what `execvp` would try, worked out before the child exists.

use std::ffi::{CStr, CString};

use crate::variables::Variables;

/// Searched when the program's environment has no `PATH`.
const DEFAULT: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// The paths to execute in turn: the program itself if it has a `/`, else one for each entry of `PATH`, of which an
/// empty one is the program's own folder.
pub(super) fn candidates(program: &CStr, env: &Variables) -> Vec<CString> {
    let name = program.to_bytes();
    if name.is_empty() || name.contains(&b'/') {
        return vec![program.to_owned()];
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix(b"PATH=")).unwrap_or(DEFAULT);
    path.split(|byte| *byte == b':')
        .map(|folder| {
            let folder = if folder.is_empty() { b"." } else { folder };
            // Both parts came out of C strings, so that no NUL is in the way.
            CString::new([folder, b"/", name].concat()).unwrap_or_default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(program: &CStr, env: &[&CStr]) -> Vec<String> {
        let env: Vec<CString> = env.iter().map(|&entry| entry.to_owned()).collect();
        candidates(program, &env.into()).into_iter().map(|path| path.into_string().unwrap()).collect()
    }

    #[test]
    fn a_program_with_a_slash_is_not_looked_for() {
        assert_eq!(paths(c"./here", &[c"PATH=/bin"]), ["./here"]);
        assert_eq!(paths(c"/bin/sh", &[]), ["/bin/sh"]);
    }

    #[test]
    fn every_folder_of_path_is_tried_in_order_and_an_empty_one_is_the_own_folder() {
        assert_eq!(paths(c"sh", &[c"A=PATH=/x", c"PATH=/a::/b/"]), ["/a/sh", "./sh", "/b//sh"]);
    }

    #[test]
    fn without_path_the_usual_folders_are_searched() {
        assert_eq!(paths(c"sh", &[]), ["/usr/local/bin/sh", "/usr/bin/sh", "/bin/sh"]);
    }

    #[test]
    fn an_empty_name_is_left_for_the_kernel_to_refuse() {
        assert_eq!(paths(c"", &[c"PATH=/bin"]), [""]);
    }
}
