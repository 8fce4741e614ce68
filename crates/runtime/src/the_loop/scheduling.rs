//! The workers that run by the calendar: entered, looked for when their time comes or the clock is set, and shown.

use std::io;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use supervision::{Event, Instance, Phase, WorkerId};

use super::{Loop, Watched};
use crate::calendar::{self, Calendar, Due, Minutes};
use crate::clock::WallAlarm;
use crate::talk;

/// When which worker is due. Without one it costs nothing.
#[derive(Debug)]
pub struct Schedules {
    calendar: Calendar,
    /// As it was when the run began.
    zone: TimeZone,
    alarm: Option<WallAlarm>,
}

impl Default for Schedules {
    fn default() -> Schedules {
        Schedules { calendar: Calendar::default(), zone: TimeZone::system(), alarm: None }
    }
}

impl Loop {
    /// The setup is another one: whoever runs by the calendar does so as it says, but for those who were removed.
    pub(crate) fn follow_calendar(&mut self, removed: &[WorkerId]) {
        for place in 0..self.setup.workers.len() {
            let id = WorkerId(place as u32);
            let minutes = self.setup.workers[place].kept.cron.as_deref().copied();
            self.set_schedule(id, minutes.filter(|_| !removed.contains(&id)));
        }
    }

    /// Has a worker run by the calendar from now on, or not any more.
    fn set_schedule(&mut self, worker: WorkerId, minutes: Option<Minutes>) {
        let Schedules { calendar, zone, .. } = &mut self.schedules;
        calendar.set(worker, minutes, Timestamp::now(), zone);
        self.wind_calendar();
    }

    /// The time of somebody has come, or the clock was set.
    pub(super) fn look_at_calendar(&mut self) {
        let Schedules { calendar, zone, alarm } = &mut self.schedules;
        if let Some(alarm) = alarm {
            alarm.rang();
        }
        for Due { worker, times, on_time } in calendar.look(Timestamp::now(), zone) {
            self.news.push_back(Event::Due { worker, times, on_time });
        }
        // When they are due next may be shown.
        self.changed = true;
        self.wind_calendar();
    }

    fn wind_calendar(&mut self) {
        let next = self.schedules.calendar.next();
        if let Err(error) = self.try_to_wind(next) {
            talk::say(format_args!("cannot wait for the time of a schedule: {error}"));
        }
    }

    fn try_to_wind(&mut self, next: Option<Timestamp>) -> io::Result<()> {
        if self.schedules.alarm.is_none() && next.is_some() {
            let alarm = WallAlarm::new()?;
            self.watch(&alarm, Watched::Calendar)?;
            self.schedules.alarm = Some(alarm);
        }
        match &mut self.schedules.alarm {
            Some(alarm) => alarm.set(next),
            None => Ok(()),
        }
    }

    /// When the next run of an instance is due, if it is between two.
    pub(crate) fn next_run(&self, instance: &Instance) -> Option<Timestamp> {
        instance.between_runs?;
        match instance.next_launch_in {
            Some(rest) => Timestamp::now().checked_add(rest).ok(),
            None => self.schedules.calendar.next_of(instance.id.worker),
        }
    }

    /// Why an instance stands where it stands; and when its next run is due, or what a stop waits for.
    pub(crate) fn full_reason(&self, instance: &Instance) -> String {
        let why = self.reason_by_itself(instance);
        match self.is_outdated(instance.id) {
            true if why.is_empty() => "runs by an older config".to_owned(),
            true => format!("{why}; runs by an older config"),
            false => why,
        }
    }

    fn reason_by_itself(&self, instance: &Instance) -> String {
        if instance.phase == Phase::Stopping
            && let Some(left) = self.left_of(instance.id)
        {
            return format!("{}; waits for {left}", instance.why);
        }
        match self.next_run(instance) {
            Some(next) => {
                format!("{}; next at {}", instance.why, calendar::shown(next, &self.schedules.zone))
            }
            None => instance.why.clone(),
        }
    }
}
