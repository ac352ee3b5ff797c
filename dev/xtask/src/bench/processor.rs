//! Processor time, which says what something costs however busy the machine is otherwise. From Linux's proc(5); elsewhere unknown.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// What Linux counts in, whatever its own clock: `USER_HZ`.
const TICK: Duration = Duration::from_millis(10);

/// Whether the time of a process's children that have ended counts as its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    Counted,
    Ignored,
}

/// User and system time: the 14th and 15th field, counted after the name, which may contain anything; the children's are the next two.
pub(crate) fn ticks(path: impl AsRef<Path>, ended: Ended) -> Option<u64> {
    let stat = std::fs::read_to_string(path).ok()?;
    let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let number = if ended == Ended::Counted { 4 } else { 2 };
    fields.take(number).map(|field| field.parse::<u64>().ok()).sum()
}

/// The time of a server and of all that it has started, by its process.
pub(crate) fn server_ticks(pid: i32) -> Option<u64> {
    // One that ends meanwhile is counted twice or not at all: then it is counted again.
    (0..1_000).find_map(|_| {
        let children = children(pid)?;
        let of_children: Option<u64> = children.iter().map(|stat| ticks(stat, Ended::Ignored)).sum();
        let of_server = ticks(format!("/proc/{pid}/stat"), Ended::Counted)?;
        (self::children(pid)? == children).then_some(of_server + of_children?)
    })
}

/// What proc(5) says of the processes that `pid` has started and that have not ended.
fn children(pid: i32) -> Option<Vec<PathBuf>> {
    let processes = std::fs::read_dir("/proc").ok()?;
    let stats = processes.filter_map(|process| Some(process.ok()?.path().join("stat")));
    Some(stats.filter(|stat| parent(stat) == Some(pid)).collect())
}

/// The time for each of `number`.
pub(crate) fn each(ticks: u64, number: usize) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark fit a double")]
    let each = TICK.as_secs_f64() * ticks as f64 / number.max(1) as f64;
    Duration::from_secs_f64(each)
}

/// The second field after the name.
fn parent(stat: &Path) -> Option<i32> {
    let stat = std::fs::read_to_string(stat).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
