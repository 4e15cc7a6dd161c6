//! When the bucket is looked at: `[schedule]`, and `schedule` of a pipeline.

use std::time::Duration;

use super::reader::Section;
use crate::scheduler::{Schedule, When};

/// The shortest interval: a look at a bucket takes longer than less.
const SHORTEST: Duration = Duration::from_millis(100);

/// Reads a section. The outer `None` is a fault; the inner one says that nothing is set.
pub(super) fn read(section: Section<'_>) -> Option<Option<Schedule>> {
    let (every, cron) = (section.duration("every"), section.text("cron"));
    let timezone = section.text("timezone");
    let jitter = section.duration("jitter");
    let is_wrong = (section.get("every").is_some() && every.is_none())
        || (section.get("cron").is_some() && cron.is_none())
        || (section.get("jitter").is_some() && jitter.is_none());
    if every.is_some() && cron.is_some() {
        section.fault_of("cron", "`every` is set too", Some("set one of them".to_owned()));
    }
    if timezone.is_some() && cron.is_none() {
        section.fault_of("timezone", "has a meaning only with `cron`", Some("remove it".to_owned()));
    }
    let schedule = match (every, cron) {
        (Some(every), _) if every < SHORTEST => {
            section.fault_of("every", "must be at least 100 ms", None);
            None
        }
        (Some(every), _) => Some(Schedule::every(every)),
        (None, Some(pattern)) => match Schedule::cron(&pattern, timezone.as_deref().unwrap_or("UTC")) {
            Ok(schedule) => Some(schedule),
            Err(why) => {
                section.fault_of(
                    "cron",
                    why,
                    Some("such as `\"*/30 * * * *\"`, with `timezone = \"Europe/Berlin\"`".to_owned()),
                );
                None
            }
        },
        (None, None) => {
            if jitter.is_some() {
                section.fault_of("jitter", "has a meaning only with `every` or `cron`", None);
            }
            section.finish();
            return if is_wrong { None } else { Some(None) };
        }
    };
    let schedule = schedule.map(|schedule| Schedule { jitter: jitter.unwrap_or_default(), ..schedule });
    if let (Some(Schedule { when: When::Every(every), .. }), Some(jitter)) = (&schedule, jitter)
        && jitter > *every
    {
        section.fault_of("jitter", "is longer than `every`", None);
    }
    section.finish();
    schedule.map(Some)
}
