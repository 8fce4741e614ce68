//! What this machine can give to workers that ask for more than the ordinary: asked of it for a config's sake.

use config::{Limit, Listen, Refusal, Wish, WorkerPlan};
use process::{Account, AccountError, Ceilings, IoPriority, LimitName, Offer, Processors, Refused};
use runtime::{Address, Listed, PrivateTmp, Terms};

/// Whether a wish is granted here.
///
/// # Errors
/// Says why not.
pub fn grant(offer: &Offer, wish: &Wish<'_>) -> Result<(), Refusal> {
    let refusal = |Refused { why, hint }: Refused| Refusal { message: why, hint: hint.map(str::to_owned) };
    match *wish {
        Wish::User { name, group } => match (Account::find(Some(name), group), group) {
            // That is the group's to tell; there may be more to tell of the user all the same.
            (Err(AccountError::NoGroup(_) | AccountError::GroupRefused(_)), Some(_)) => {
                match Account::find(Some(name), None) {
                    Err(AccountError::GroupUnknown(_) | AccountError::GroupRefused(_)) | Ok(_) => Ok(()),
                    Err(error) => Err(of_account(error)),
                }
            }
            (found, _) => found.map(drop).map_err(of_account),
        },
        Wish::Control { user, group, mounted_tmp } => {
            // Whom there is not has been told of.
            let Ok(Account { credentials: Some(credentials), .. }) = Account::find(Some(user), group) else {
                return Ok(());
            };
            let tmp = if mounted_tmp { PrivateTmp::Mount } else { PrivateTmp::None };
            runtime::is_door_possible(credentials.uid, tmp).map_err(|why| Refusal {
                message: format!("a worker of user {user:?} cannot be given a way to its supervisor: {why}"),
                hint: Some("where a container takes rights away, give this one back".to_owned())
                    .filter(|_| why.contains("CAP_")),
            })
        }
        Wish::Group { name, user } => match Account::find(user, Some(name)) {
            Err(error @ (AccountError::NoGroup(_) | AccountError::GroupRefused(_))) => Err(of_account(error)),
            // That is the user's to tell.
            Err(_) if user.is_some() => Ok(()),
            found => found.map(drop).map_err(of_account),
        },
        Wish::Port(port) => offer.port(port).map_err(refusal),
        Wish::Nice(nice) => offer.nice(nice).map_err(refusal),
        Wish::IoPriority(priority) => offer.io_priority(io_priority(priority)).map_err(refusal),
        Wish::OomScoreAdj(score) => offer.oom_score_adj(score).map_err(refusal),
        Wish::Processors(numbers) => {
            offer.processors(&Processors::of(numbers.iter().copied())).map_err(refusal)
        }
        Wish::Limit(wanted) => limit(wanted).map_or(Ok(()), |limit| offer.limit(limit).map_err(refusal)),
        Wish::Memory(bytes) => {
            offer.ceilings(&Ceilings { memory: Some(bytes), ..Ceilings::default() }).map_err(refusal)
        }
        Wish::Pids(count) => {
            offer.ceilings(&Ceilings { pids: Some(count), ..Ceilings::default() }).map_err(refusal)
        }
        Wish::Cpu(cpu) => {
            offer.ceilings(&Ceilings { cpu: Some(cpu), ..Ceilings::default() }).map_err(refusal)
        }
        Wish::TreeByCgroup => offer.trees().map_err(refusal),
        Wish::MountedTmp => offer.mounts().map_err(refusal),
        Wish::Sight { path, what } => match runtime::hidden_by_mounted_tmp(path) {
            None => Ok(()),
            Some(place) => Err(Refusal {
                message: format!(
                    "{what}, {:?}, lies below {}, which \"mount\" hides from it",
                    path.display().to_string(),
                    place.display()
                ),
                hint: Some(
                    "have it elsewhere (\"cwd\": \"/\"), or leave /tmp as it is: \"private_tmp\": \"folder\""
                        .to_owned(),
                ),
            }),
        },
    }
}

fn of_account(error: AccountError) -> Refusal {
    let hint = match error {
        AccountError::NoUser(_) => Some("`getent passwd` lists the users"),
        AccountError::NoGroup(_) => Some("`getent group` lists the groups"),
        AccountError::GroupUnknown(_) => Some("set \"group\" too"),
        AccountError::UserRefused(_) | AccountError::GroupRefused(_) => Some("run the supervisor as root"),
        AccountError::Unreadable(_) => None,
    };
    Refusal { message: error.to_string(), hint: hint.map(str::to_owned) }
}

/// The terms that a plan's worker asks for; `None`: none but the ordinary.
///
/// # Errors
/// When its user or group is not there any more.
pub fn terms(plan: &WorkerPlan) -> Result<Option<Box<Terms>>, AccountError> {
    let account = match (&plan.user, &plan.group) {
        (None, None) => None,
        (user, group) => Some(Account::find(user.as_deref(), group.as_deref())?),
    };
    let limits = &plan.limits;
    let mut terms = Terms {
        account,
        limits: limits.of_processes.iter().copied().filter_map(limit).collect(),
        ceilings: Ceilings { memory: limits.memory, pids: limits.pids.map(u64::from), cpu: limits.cpu },
        cgroup: plan.tree == config::TreeBy::Cgroup,
        io_priority: plan.io_priority.map(io_priority),
        oom_score_adj: plan.oom_score_adj,
        processors: plan.cpus.as_ref().map(|numbers| Processors::of(numbers.iter().copied())),
        no_new_privileges: plan.no_new_privs,
        private_tmp: match plan.private_tmp {
            config::PrivateTmp::None => PrivateTmp::None,
            config::PrivateTmp::Folder => PrivateTmp::Folder,
            config::PrivateTmp::Mount => PrivateTmp::Mount,
        },
        listen: plan.listen.iter().cloned().map(address).collect(),
        listed: None,
    };
    let lists_any = !plan.gets.is_empty() || !plan.puts.is_empty();
    // It matters only there; others may use all queues, and are alike whatever they list.
    if lists_any && terms.account.as_ref().is_some_and(|account| account.credentials.is_some()) {
        terms.listed = Some(Listed { gets: plan.gets.clone(), puts: plan.puts.clone() });
    }
    Ok((terms != Terms::default()).then(|| Box::new(terms)))
}

fn address(listen: Listen) -> Address {
    match listen {
        Listen::Tcp { host, port } => Address::Tcp { host, port },
        Listen::Udp { host, port } => Address::Udp { host, port },
        Listen::Unix(path) => Address::Unix(path),
    }
}

fn io_priority(priority: config::IoPriority) -> IoPriority {
    match priority {
        config::IoPriority::Realtime(level) => IoPriority::Realtime(level),
        config::IoPriority::BestEffort(level) => IoPriority::BestEffort(level),
        config::IoPriority::Idle => IoPriority::Idle,
    }
}

/// Both rooms name limits as the kernel does; a test holds them to that.
fn limit(Limit { name, soft, hard }: Limit) -> Option<process::Limit> {
    LimitName::named(name).map(|name| process::Limit { name, soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_that_the_config_knows_is_one_of_the_kernels() {
        let of_processes = config::Optional::ALL.iter().filter_map(|optional| {
            optional.key().strip_prefix("limits.").filter(|name| !["memory", "pids", "cpu"].contains(name))
        });
        let names: Vec<&str> = of_processes.collect();
        assert_eq!(names.len(), LimitName::ALL.len());
        for name in names {
            assert!(LimitName::named(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_user_and_a_group_are_each_blamed_for_themselves() {
        let offer = Offer::default();
        let is_root = || process::is_capable(process::Capability::SetUid);
        let grant = |wish: Wish<'_>| grant(&offer, &wish).map_err(|refusal| refusal.message);
        let told = Err("there is no user \"nobody here\" on this machine".to_owned());
        assert_eq!(grant(Wish::User { name: "nobody here", group: None }), told);
        assert_eq!(grant(Wish::User { name: "nobody here", group: Some("no such group") }), told);
        assert_eq!(grant(Wish::User { name: "4000001", group: Some("no such group") }).is_ok(), is_root());
        let told = Err("there is no group \"no such group\" on this machine".to_owned());
        assert_eq!(grant(Wish::Group { name: "no such group", user: Some("nobody here") }), told);
        assert_eq!(grant(Wish::Group { name: "no such group", user: None }), told);
    }
}
