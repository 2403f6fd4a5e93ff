//! Which of this process's threads had a core for how long: what a rate is bound by. Linux tells it in
//! `/proc/self/task/*/schedstat`, in nanoseconds; elsewhere nothing is known, and that is said.

use std::collections::BTreeMap;
use std::time::Duration;

/// A thread with a smaller part of a core than this is not named.
const WORTH_NAMING: f64 = 0.02;
/// Above this part of all cores the processor is what bounds.
const BUSY: f64 = 0.8;

/// Time on a core by the thread's name, and time spent ready but without a core.
#[derive(Debug, Default, Clone)]
pub(super) struct Load {
    on_core: BTreeMap<String, u64>,
    waited: u64,
}

impl Load {
    /// Since the threads began.
    pub(super) fn now() -> Self {
        Self::of("self")
    }

    /// Of the process with this number.
    pub(super) fn of(process: &str) -> Self {
        let mut load = Self::default();
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else { return load };
        for task in tasks.flatten() {
            let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let (name, stat) = (read("comm"), read("schedstat"));
            let mut numbers = stat.split_whitespace().map_while(|word| word.parse::<u64>().ok());
            let (Some(ran), Some(waited)) = (numbers.next(), numbers.next()) else { continue };
            *load.on_core.entry(name.trim().to_owned()).or_default() += ran;
            load.waited += waited;
        }
        load
    }

    /// What has been added since `self`.
    pub(super) fn until_now(&self) -> Self {
        self.until(Self::now())
    }

    /// What has been added from `self` to `now`.
    pub(super) fn until(&self, mut now: Self) -> Self {
        for (name, ran) in &mut now.on_core {
            *ran = ran.saturating_sub(self.on_core.get(name).copied().unwrap_or(0));
        }
        now.waited = now.waited.saturating_sub(self.waited);
        now
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (name, ran) in &other.on_core {
            *self.on_core.entry(name.clone()).or_default() += ran;
        }
        self.waited += other.waited;
    }

    /// How many cores were in use during something that took so long; `None` where the system does not tell.
    pub(super) fn cores(&self, took: Duration) -> Option<f64> {
        let ran: u64 = self.on_core.values().sum();
        (!self.on_core.is_empty()).then(|| ran as f64 / took.as_nanos().max(1) as f64)
    }

    /// Says what bounds something that took so long.
    pub(super) fn bound(&self, took: Duration) -> String {
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let part = |nanos: u64| nanos as f64 / took.as_nanos().max(1) as f64;
        let total = part(self.on_core.values().sum());
        if self.on_core.is_empty() {
            return "unknown: this system does not tell how busy its threads are".into();
        }
        let mut threads: Vec<_> = self.on_core.iter().map(|(name, ran)| (part(*ran), name)).collect();
        threads.sort_by(|a, b| b.0.total_cmp(&a.0));
        let named: Vec<_> = threads
            .iter()
            .filter(|(part, _)| *part >= WORTH_NAMING)
            .map(|(part, name)| format!("{name} {part:.2}"))
            .collect();
        let what = if total >= BUSY * cores {
            "the processor"
        } else if total + part(self.waited).min(cores) >= BUSY * cores {
            "the processor, which other processes use too"
        } else {
            "waiting: for the disk, or for each other"
        };
        format!("{what}: {total:.2} of {cores} cores busy ({})", named.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(on_core: &[(&str, u64)], waited: u64) -> Load {
        let on_core = on_core.iter().map(|(name, ms)| ((*name).to_owned(), ms * 1_000_000)).collect();
        Load { on_core, waited: waited * 1_000_000 }
    }

    #[test]
    fn what_bounds_is_told_from_the_threads_times() {
        let second = Duration::from_secs(1);
        let cores = std::thread::available_parallelism().unwrap().get() as u64;
        let cases = [
            (load(&[("busy", 1_000 * cores)], 0), "the processor: "),
            (load(&[("busy", 100)], 1_000 * cores), "the processor, which other processes use too: "),
            (load(&[("busy", 100), ("idle", 1)], 0), "waiting: for the disk"),
            (Load::default(), "unknown: "),
        ];
        for (load, expected) in cases {
            let got = load.bound(second);
            assert!(got.starts_with(expected), "{expected}: {got}");
            assert!(!got.contains("idle"), "{got}");
        }
    }
}
