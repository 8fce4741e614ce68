//! How each of the others is set up: in its own best case, without a shell or a log in between, and with restarts at
//! once and without end where that can be said.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::Trouble;

/// A supervisor that others have written.
#[derive(Debug)]
pub struct Peer {
    /// What it is called.
    pub name: &'static str,
    /// The programs that it needs; the first one leads.
    pub programs: &'static [&'static str],
    /// Writes what it reads, and says how it is started.
    pub prepare: fn(&Place, count: u32) -> Result<Command, Trouble>,
    /// How it is told to end with all its workers.
    pub stop: Stop,
    /// How it is asked for the status of all.
    pub status: Option<fn(&Place, count: u32) -> Command>,
    /// More workers than this it does not take.
    pub most: u32,
    /// How long a worker must have lived for its successor to be started at once.
    pub settles_in: Duration,
    /// How long its folder must have been left alone before it looks at it.
    pub after_writing: Duration,
}

/// How somebody is told to end.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// By this signal.
    By(Signal),
    /// By this command.
    With(fn(&Place, count: u32) -> Command),
}

/// Where one life of a peer takes place.
#[derive(Debug)]
pub struct Place {
    /// A folder of its own.
    pub folder: PathBuf,
    /// The supervised program.
    pub child: PathBuf,
    /// The pipe of births.
    pub births: PathBuf,
}

const LITTLE: Duration = Duration::from_millis(50);
const A_SECOND: Duration = Duration::from_millis(1200);

/// All of them.
pub const PEERS: [Peer; 7] = [
    Peer {
        name: "dinit",
        programs: &["dinit", "dinitctl"],
        prepare: dinit,
        stop: Stop::By(Signal::SIGTERM),
        status: Some(|place, _| place.command("dinitctl", &["-p", &place.text("ctl"), "list"])),
        most: 10_000,
        settles_in: LITTLE,
        after_writing: Duration::ZERO,
    },
    Peer {
        name: "s6",
        programs: &["s6-svscan", "s6-supervise", "s6-svstat"],
        prepare: s6,
        stop: Stop::By(Signal::SIGTERM),
        status: Some(|place, _| {
            // It has no list of all: one command a service.
            place.command("sh", &["-c", "for it in \"$0\"/*; do s6-svstat \"$it\"; done", &place.text("svc")])
        }),
        most: 10_000,
        settles_in: A_SECOND,
        after_writing: Duration::ZERO,
    },
    Peer {
        name: "runit",
        programs: &["runsvdir", "runsv", "sv"],
        prepare: runit,
        stop: Stop::By(Signal::SIGHUP),
        status: Some(|place, count| place.on_all("sv", &["status"], count)),
        most: 1000,
        settles_in: A_SECOND,
        after_writing: Duration::from_millis(2100),
    },
    Peer {
        name: "daemontools",
        programs: &["svscan", "supervise", "svc", "svstat"],
        prepare: daemontools,
        stop: Stop::With(|place, count| place.on_all("svc", &["-dx"], count)),
        status: Some(|place, count| place.on_all("svstat", &[], count)),
        most: 450,
        settles_in: A_SECOND,
        after_writing: Duration::ZERO,
    },
    Peer {
        name: "supervisord",
        programs: &["supervisord", "supervisorctl"],
        prepare: supervisord,
        stop: Stop::By(Signal::SIGTERM),
        status: Some(|place, _| place.command("supervisorctl", &["-c", &place.text("conf"), "status"])),
        most: 10_000,
        settles_in: LITTLE,
        after_writing: Duration::ZERO,
    },
    Peer {
        name: "circus",
        programs: &["circusd", "circusctl"],
        prepare: circus,
        stop: Stop::By(Signal::SIGTERM),
        status: Some(|place, _| {
            place.command("circusctl", &["--endpoint", &format!("ipc://{}", place.text("ep")), "status"])
        }),
        most: 1000,
        settles_in: LITTLE,
        after_writing: Duration::ZERO,
    },
    Peer {
        name: "pm2",
        programs: &["pm2", "node"],
        prepare: pm2,
        stop: Stop::With(|place, _| place.pm2(&["kill"])),
        status: Some(|place, _| place.pm2(&["list"])),
        // It stops one after the other, 110 ms each.
        most: 100,
        settles_in: LITTLE,
        after_writing: Duration::ZERO,
    },
];

impl Peer {
    /// Which of its programs this machine lacks.
    pub fn lacks(&self) -> Option<&'static str> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there =
            |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
        self.programs.iter().copied().find(|program| !is_there(program))
    }
}

impl Place {
    fn text(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.folder);
        command
    }

    fn on_all(&self, program: &str, arguments: &[&str], count: u32) -> Command {
        let mut command = self.command(program, arguments);
        command.args((0..count).map(|id| self.service(id)));
        command
    }

    fn pm2(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("pm2", arguments);
        command.env("HOME", &self.folder).env("PM2_HOME", self.folder.join("pm2"));
        command.env("PM2_DISCRETE_MODE", "true");
        command
    }

    fn service(&self, id: u32) -> PathBuf {
        self.folder.join("svc").join(format!("w{id}"))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Trouble> {
        let path = self.folder.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// A folder a service, with a `run` that is the program itself: the first line of a script names it and its one
    /// argument.
    fn services(&self, count: u32) -> Result<(), Trouble> {
        for id in 0..count {
            let service = self.service(id);
            fs::create_dir_all(&service)?;
            let line = format!("#!{} {},{id}\n", self.child.display(), self.births.display());
            executable(&service.join("run"), &line)?;
        }
        Ok(())
    }
}

fn executable(path: &Path, text: &str) -> Result<(), Trouble> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

fn dinit(place: &Place, count: u32) -> Result<Command, Trouble> {
    fs::create_dir_all(place.folder.join("svc"))?;
    let mut boot = String::from("type = internal\n");
    for id in 0..count {
        let text = format!(
            "type = process\ncommand = {} {} {id}\nrestart = true\nsmooth-recovery = true\nrestart-delay = 0\n\
             restart-limit-count = 0\n",
            place.child.display(),
            place.births.display()
        );
        fs::write(place.service(id), text)?;
        let _ = writeln!(boot, "waits-for: w{id}");
    }
    fs::write(place.folder.join("svc/boot"), boot)?;
    Ok(place.command("dinit", &["-o", "-q", "-d", &place.text("svc"), "-p", &place.text("ctl"), "boot"]))
}

fn s6(place: &Place, count: u32) -> Result<Command, Trouble> {
    place.services(count)?;
    Ok(place.command("s6-svscan", &["-c", &(count + 100).to_string(), &place.text("svc")]))
}

fn runit(place: &Place, count: u32) -> Result<Command, Trouble> {
    place.services(count)?;
    Ok(place.command("runsvdir", &["-P", &place.text("svc")]))
}

fn daemontools(place: &Place, count: u32) -> Result<Command, Trouble> {
    place.services(count)?;
    Ok(place.command("svscan", &[&place.text("svc")]))
}

fn supervisord(place: &Place, count: u32) -> Result<Command, Trouble> {
    let folder = place.folder.display();
    let mut text = format!(
        "[supervisord]\nnodaemon=true\nsilent=true\nlogfile={folder}/log\npidfile={folder}/pid\nchildlogdir={folder}\n\
         minfds={}\n[unix_http_server]\nfile={folder}/s\n[rpcinterface:supervisor]\n\
         supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
         [supervisorctl]\nserverurl=unix://{folder}/s\n",
        (4 * count + 200).max(1024)
    );
    for id in 0..count {
        let _ = writeln!(
            text,
            "[program:w{id}]\ncommand={} {} {id}\nautorestart=true\nstartsecs=0\nstartretries=1000000\n\
             stdout_logfile=NONE\nstderr_logfile=NONE",
            place.child.display(),
            place.births.display()
        );
    }
    place.write("conf", &text)?;
    Ok(place.command("supervisord", &["-n", "-c", &place.text("conf")]))
}

fn circus(place: &Place, count: u32) -> Result<Command, Trouble> {
    let folder = place.folder.display();
    // It looks after the dead every so often; its own default is five seconds.
    let mut text = format!(
        "[circus]\ncheck_delay = 0.1\nendpoint = ipc://{folder}/ep\npubsub_endpoint = ipc://{folder}/ps\n\
         statsd = False\nloglevel = error\nlogoutput = {folder}/log\n"
    );
    for id in 0..count {
        let _ = writeln!(
            text,
            "[watcher:w{id}]\ncmd = {} {} {id}\nnumprocesses = 1\nmax_retry = -1\nwarmup_delay = 0",
            place.child.display(),
            place.births.display()
        );
    }
    let path = place.write("conf.ini", &text)?;
    Ok(place.command("circusd", &[&path.display().to_string()]))
}

fn pm2(place: &Place, count: u32) -> Result<Command, Trouble> {
    let app = |id: u32| {
        serde_json::json!({
            "name": format!("w{id}"), "script": place.child, "args": [place.births, id.to_string()], "interpreter": "none",
            "exec_mode": "fork", "vizion": false, "pmx": false, "autorestart": true, "max_restarts": 1_000_000_000,
            "min_uptime": 0, "restart_delay": 0, "out_file": "/dev/null", "error_file": "/dev/null",
        })
    };
    let apps: Vec<serde_json::Value> = (0..count).map(app).collect();
    place.write("apps.json", &serde_json::json!({ "apps": apps }).to_string())?;
    Ok(place.pm2(&["start", &place.text("apps.json")]))
}
