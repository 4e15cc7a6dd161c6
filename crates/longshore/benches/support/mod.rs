//! What the benchmarks share: test data, measuring, printing.

#![allow(dead_code, reason = "no benchmark uses all of it")]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tpchgen::csv::LineItemCsv;
use tpchgen::generators::{LineItem, LineItemGenerator};

const RUNS: usize = 3;

/// CPU time of a process so far.
pub(crate) fn cpu_of(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in parentheses, may hold blanks.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Resident memory of a process, in MiB.
pub(crate) fn resident_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// What a process took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak_mib: u64,
}

/// Runs a process and asks the kernel what it took.
#[expect(unsafe_code, reason = "wait4 is the only call that tells the CPU time of one child")]
pub(crate) fn measure(command: &mut Command) -> Measured {
    let started = Instant::now();
    #[expect(clippy::zombie_processes, reason = "wait4 below waits for it")]
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    // What the kernel reports at its end is never less than what this process has.
    let peak = std::thread::spawn({
        let path = format!("/proc/{}/status", child.id());
        move || watch_peak(&path)
    });
    let mut status = 0;
    // SAFETY: both pointers are to live values of the right types, and the child is ours.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        assert_eq!(libc::wait4(child.id() as i32, &mut status, 0, &mut usage), child.id() as i32);
        usage
    };
    let wall = started.elapsed();
    let status = ExitStatus::from_raw(status);
    assert!(status.success(), "{command:?}: {status}");
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    Measured { wall, cpu: time(usage.ru_utime) + time(usage.ru_stime), peak_mib: peak.join().unwrap() }
}

/// The peak memory of a process, in MiB, as last seen before its end.
fn watch_peak(status: &str) -> u64 {
    let mut peak = 0;
    while let Ok(text) = fs::read_to_string(status) {
        let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmHWM:")) else { break };
        peak = line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024;
        std::thread::sleep(Duration::from_millis(2));
    }
    peak
}

pub(crate) fn repeat(mut run: impl FnMut() -> (Measured, String)) -> (Measured, String) {
    let (runs, mut results): (Vec<_>, Vec<_>) = (0..RUNS).map(|_| run()).unzip();
    (median(runs), results.swap_remove(0))
}

pub(crate) fn median(mut runs: Vec<Measured>) -> Measured {
    runs.sort_by_key(|run| run.wall);
    runs[runs.len() / 2]
}

pub(crate) fn print_row(name: &str, measured: &Measured, baseline: Option<&Measured>) {
    let ratio = |ours: Duration, theirs: fn(&Measured) -> Duration| {
        baseline
            .map_or_else(String::new, |baseline| format!("{:.2}", ours.as_secs_f64() / theirs(baseline).as_secs_f64()))
    };
    println!(
        "{name:<34} {:>9.3} {:>9.3} {:>9} {:>8} {:>8}",
        measured.wall.as_secs_f64(),
        measured.cpu.as_secs_f64(),
        measured.peak_mib,
        ratio(measured.wall, |m| m.wall),
        ratio(measured.cpu, |m| m.cpu),
    );
}

pub(crate) fn longshore() -> &'static str {
    env!("CARGO_BIN_EXE_longshore")
}

/// Where test data is kept from run to run.
pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("longshore-bench")
}

/// Test data, written once, by a process of its own: a child's peak memory counts from ours.
pub(crate) fn data(name: &str) -> PathBuf {
    let path = cache().join(name);
    if !path.exists() {
        fs::create_dir_all(cache()).unwrap();
        let partial = cache().join(format!("{name}.partial"));
        let status = Command::new(std::env::current_exe().unwrap()).arg("write").arg(name).arg(&partial).status();
        assert!(status.unwrap().success(), "{name}");
        fs::rename(partial, &path).unwrap();
    }
    path
}

pub(crate) fn write(name: &str, path: &Path) {
    let out = || BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    match name {
        "lineitem.csv" => write_lineitem(&mut out(), LineItemGenerator::new(1.0, 1, 1).iter()),
        "lineitem-100mb.csv" => write_lineitem(&mut out(), LineItemGenerator::new(0.13, 1, 1).iter()),
        "lineitem-10gb.csv" => {
            let rows = fs::read(data("lineitem-100mb.csv")).unwrap();
            let header = rows.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let mut out = out();
            out.write_all(&rows[..header]).unwrap();
            (0..100).for_each(|_| out.write_all(&rows[header..]).unwrap());
        }
        "orders-base.csv" => write_orders(&mut out(), 0..1_500_000, 0),
        // Half of the rows are in the table, spread over it; half are new.
        "orders-change.csv" => write_orders(&mut out(), (0..250_000).map(|n| n * 6).chain(1_500_000..1_750_000), 1),
        // The same in an order that has nothing to do with the keys, as changes come.
        "orders-shuffled.csv" => {
            let ids = |n: u64| if n < 250_000 { n * 6 } else { 1_250_000 + n };
            write_orders(&mut out(), (0..500_000).map(|n| ids(n * 7_919 % 500_000)), 1);
        }
        "files" => {
            fs::create_dir_all(path).unwrap();
            let mut rows = LineItemGenerator::new(0.4, 1, 1).iter();
            for file in 0..5_000 {
                let mut out = BufWriter::new(File::create(path.join(format!("{file:05}.csv"))).unwrap());
                write_lineitem(&mut out, rows.by_ref().take(400));
            }
        }
        _ => panic!("there is no test data `{name}`"),
    }
}

fn write_lineitem<'a>(out: &mut impl Write, rows: impl Iterator<Item = LineItem<'a>>) {
    writeln!(out, "{}", LineItemCsv::header()).unwrap();
    rows.for_each(|row| writeln!(out, "{}", LineItemCsv::new(row)).unwrap());
    out.flush().unwrap();
}

fn write_orders(out: &mut impl Write, ids: impl Iterator<Item = u64>, salt: u64) {
    writeln!(out, "id,customer,state,total,day").unwrap();
    for id in ids {
        let (state, total) = (["new", "paid", "sent"][(id % 3) as usize], id.wrapping_mul(7) + salt);
        let (month, day) = (1 + id % 12, 1 + id % 28);
        writeln!(out, "{id},{},{state},{}.{:02},2026-{month:02}-{day:02}", id % 5_000, total % 10_000, id % 100)
            .unwrap();
    }
    out.flush().unwrap();
}

/// Files under a folder.
pub(crate) fn walk(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}
