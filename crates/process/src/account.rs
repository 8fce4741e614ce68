//! Users and groups by name or number, looked up before anything is spawned: the databases may be anywhere (files, LDAP)
//! and asking them is nothing that a child could do between clone and exec.

use std::ffi::{CString, OsString};
use std::fmt;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};

use crate::capability::{Capability, is_capable};
use crate::spawn::Credentials;

/// Whom a program runs as, and what it is told of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What the kernel is told; `None` where it is told so already: this process's own user and groups.
    pub credentials: Option<Credentials>,
    /// `HOME`, `USER`, `LOGNAME` and `SHELL`; empty where only a group was asked for.
    pub variables: Vec<(&'static str, OsString)>,
}

/// Why there is no such account for a program of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountError {
    /// The database has no user of this name.
    NoUser(String),
    /// The database has no group of this name.
    NoGroup(String),
    /// The user is a number that the database does not know, so nothing tells its group.
    GroupUnknown(u32),
    /// This process is not permitted to become another user.
    UserRefused(String),
    /// This process is not permitted to take on another group.
    GroupRefused(String),
    /// The database could not be asked.
    Unreadable(Errno),
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser(name) => write!(f, "there is no user {name:?} on this machine"),
            Self::NoGroup(name) => write!(f, "there is no group {name:?} on this machine"),
            Self::GroupUnknown(uid) => write!(f, "the user {uid} is not known here, so neither is its group"),
            Self::UserRefused(name) => write!(f, "only root may run it as another user, {name:?}"),
            Self::GroupRefused(name) => write!(f, "only root may run it as another group, {name:?}"),
            Self::Unreadable(errno) => write!(f, "the user database cannot be read: {}", errno.desc()),
        }
    }
}

impl std::error::Error for AccountError {}

impl Account {
    /// The account of a user and a group, each a name or a number, at least one of them given: the group is the user's
    /// own where none is, and the supplementary groups are all that the database says the user is in.
    ///
    /// Without the right to change them (`CAP_SETUID`, `CAP_SETGID`) only this process's own user and group are to be
    /// had, with its own supplementary groups.
    ///
    /// # Errors
    ///
    /// See [`AccountError`].
    ///
    /// ```
    /// use process::{Account, AccountError};
    ///
    /// let nobody = Account::find(Some("no such user"), None);
    /// assert_eq!(nobody, Err(AccountError::NoUser("no such user".to_owned())));
    /// ```
    pub fn find(user: Option<&str>, group: Option<&str>) -> Result<Self, AccountError> {
        let gid = group.map(gid_of).transpose()?;
        let Some(name) = user else {
            let gid = gid.unwrap_or_else(getegid);
            let credentials = (gid != getegid()).then(|| Credentials {
                uid: geteuid().as_raw(),
                gid: gid.as_raw(),
                groups: None,
            });
            if credentials.is_some() && !is_capable(Capability::SetGid) {
                return Err(AccountError::GroupRefused(group.unwrap_or_default().to_owned()));
            }
            return Ok(Self { credentials, variables: Vec::new() });
        };
        let (uid, entry) = uid_of(name)?;
        // Before anything of its group: that could be mended, and would be in vain.
        if uid != geteuid() && !is_capable(Capability::SetUid) {
            return Err(AccountError::UserRefused(name.to_owned()));
        }
        let gid = match (gid, &entry) {
            (Some(gid), _) => gid,
            (None, Some(entry)) => entry.gid,
            (None, None) => return Err(AccountError::GroupUnknown(uid.as_raw())),
        };
        Ok(Self {
            credentials: credentials(name, uid, group, gid, entry.as_ref())?,
            variables: variables(uid, entry),
        })
    }
}

/// What is to be changed for this user and group, if that is permitted.
fn credentials(
    name: &str,
    uid: Uid,
    group: Option<&str>,
    gid: Gid,
    entry: Option<&User>,
) -> Result<Option<Credentials>, AccountError> {
    if !is_capable(Capability::SetGid) {
        // The user's own group may differ from that of this process (newgrp); then that is what it keeps.
        return match group {
            Some(group) if gid != getegid() => Err(AccountError::GroupRefused(group.to_owned())),
            _ if uid == geteuid() => Ok(None),
            _ => Err(AccountError::GroupRefused(gid.to_string())),
        };
    }
    let groups = match entry {
        Some(entry) => {
            let name =
                CString::new(entry.name.as_str()).map_err(|_| AccountError::NoUser(name.to_owned()))?;
            getgrouplist(&name, gid)
                .map_err(AccountError::Unreadable)?
                .iter()
                .map(|gid| gid.as_raw())
                .collect()
        }
        None => vec![gid.as_raw()],
    };
    Ok(Some(Credentials { uid: uid.as_raw(), gid: gid.as_raw(), groups: Some(groups) }))
}

/// What login programs tell: a user who is only a number is told that, and has no home.
fn variables(uid: Uid, entry: Option<User>) -> Vec<(&'static str, OsString)> {
    let (name, home, shell) = match entry {
        Some(User { name, dir, shell, .. }) => {
            (OsString::from(name), dir.into_os_string(), shell.into_os_string())
        }
        None => (uid.to_string().into(), "/".into(), OsString::new()),
    };
    let shell = if shell.is_empty() { OsString::from_vec(b"/bin/sh".to_vec()) } else { shell };
    vec![("HOME", home), ("USER", name.clone()), ("LOGNAME", name), ("SHELL", shell)]
}

/// A name first: a user may be called by a number.
fn uid_of(text: &str) -> Result<(Uid, Option<User>), AccountError> {
    if let Some(user) = User::from_name(text).map_err(AccountError::Unreadable)? {
        return Ok((user.uid, Some(user)));
    }
    // The highest number means "leave it as it is" to the kernel.
    let number = text.parse::<u32>().ok().filter(|number| *number != u32::MAX);
    let uid = Uid::from_raw(number.ok_or_else(|| AccountError::NoUser(text.to_owned()))?);
    Ok((uid, User::from_uid(uid).map_err(AccountError::Unreadable)?))
}

fn gid_of(text: &str) -> Result<Gid, AccountError> {
    if let Some(group) = Group::from_name(text).map_err(AccountError::Unreadable)? {
        return Ok(group.gid);
    }
    let number = text.parse::<u32>().ok().filter(|number| *number != u32::MAX);
    number.map(Gid::from_raw).ok_or_else(|| AccountError::NoGroup(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_and_by_number_alike() {
        let root = Account::find(Some("root"), None);
        assert_eq!(root, Account::find(Some("0"), None));
        if geteuid().is_root() {
            let told = root.unwrap();
            assert_eq!(told.variables[0].0, "HOME");
            assert_eq!(told.variables[1], ("USER", "root".into()));
        }
    }

    #[test]
    fn the_number_that_means_nobody_at_all_is_no_user_and_no_group() {
        let most = u32::MAX.to_string();
        assert_eq!(Account::find(Some(&most), None), Err(AccountError::NoUser(most.clone())));
        assert_eq!(Account::find(None, Some(&most)), Err(AccountError::NoGroup(most)));
    }

    #[test]
    fn a_number_without_an_entry_needs_a_group() {
        let found = Account::find(Some("4000001"), None);
        assert_eq!(found, Err(AccountError::GroupUnknown(4_000_001)));
        let with_group = Account::find(Some("4000001"), Some("4000001"));
        if is_capable(Capability::SetUid) {
            let account = with_group.unwrap();
            let groups = Some(vec![4_000_001]);
            assert_eq!(account.credentials, Some(Credentials { uid: 4_000_001, gid: 4_000_001, groups }));
            assert_eq!(account.variables[0], ("HOME", "/".into()));
        } else {
            assert_eq!(with_group, Err(AccountError::UserRefused("4000001".to_owned())));
        }
    }
}
