//! The server, met by real nodes: they join, read what it feeds them, rejoin, elect it, negotiate and restore.

#![expect(clippy::print_stdout, reason = "for people; without --nocapture nobody sees it")]

mod common;

use std::cell::Cell;
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::Scratch;
use common::history::{self, append_all, assert_holds, commit_from};
use common::node::{MASTER, Node, restore};
use common::served::{QUIET, Served};
use noxu_feeder::acks::End;
use noxu_feeder::server::Server;
use noxu_feeder::server::connection::Peer;
use noxu_feeder::server::events::Kind;
use noxu_feeder::server::refusal::Refusal;
use noxu_feeder_interop::environment::open_environment;
use noxu_feeder_interop::reader::log_files;
use noxu_feeder_interop::summary::Summary;
use noxu_rep::NodeState;
use noxu_rep::net::service_dispatcher::connect_to_service;
use noxu_rep::stream::{
    Matchpoint, RemoteFeederView, SYNCUP_SERVICE_NAME, SyncupLogView, SyncupView, VlsnEntry, find_matchpoint,
};
use noxu_util::NULL_VLSN;
use noxu_util::vlsn::Vlsn;

/// The size of files, so that a log has some.
const FILE_MAX: u64 = 1 << 20;

/// All are as far as the log, and so is what their keys hold.
fn assert_all_hold(nodes: &[Node], last: u64) {
    for node in nodes {
        assert_eq!(node.replication.get_vlsn_range().last(), last);
        assert!(assert_holds(&node.environment, last) > 0);
    }
}

/// The log grows while they are fed: some of it comes to them when they have all that there was.
fn feeds_real_nodes(count: usize, entries: u64) {
    let scratch = Scratch::new();
    let dir = scratch.path("log");
    let writer = history::begin(&dir, FILE_MAX);
    let at_first = commit_from(entries);
    append_all(&writer, 1..=at_first);
    let mut served = Served::over(&dir, &[]);
    let open = |at: usize| Node::open(&scratch.path(&format!("node-{at}")), &format!("node-{at}"), served.address);
    let nodes: Vec<Node> = (0..count).map(open).collect();
    nodes.iter().for_each(Node::join);
    served.wait_acked(count, at_first);
    assert_all_hold(&nodes, at_first);
    let mut last = at_first;
    for _ in 0..10 {
        let next = commit_from(last + 100);
        append_all(&writer, last + 1..=next);
        last = next;
    }
    served.wait_acked(count, last);
    assert_all_hold(&nodes, last);
    assert_eq!(served.refused(), 0);
    served.end();
    nodes.into_iter().for_each(Node::close);
    for at in 0..count {
        let path = scratch.path(&format!("node-{at}"));
        let environment = open_environment(&path, FILE_MAX).unwrap();
        assert_holds(&environment, last);
        environment.close().unwrap();
    }
}

#[test]
fn a_real_node_joins_and_every_key_reads_back_now_and_after_it_was_opened_again() {
    feeds_real_nodes(1, 30_000);
}

#[test]
fn three_real_nodes_are_fed_at_once() {
    feeds_real_nodes(3, 10_000);
}

/// A node that joins again asks for all from the beginning, and logs it a second time.
#[test]
fn a_real_node_joins_again_and_another_takes_its_place_by_name() {
    let scratch = Scratch::new();
    let dir = scratch.path("log");
    let writer = history::begin(&dir, FILE_MAX);
    let last = commit_from(3000);
    append_all(&writer, 1..=last);
    let mut served = Served::with(&dir, &[], |server| {
        // It is known by the address of its machine, whatever the port.
        let identify =
            |peer: &Peer, _| Ok(peer.address.and_then(|address| CString::new(address.ip().to_string()).ok()));
        server.set_functions("test", |functions| functions.identify = Some(Box::new(identify))).unwrap();
    });
    let node = Node::open(&scratch.path("node"), "node", served.address);
    for round in 1..=3 {
        // While its last stream is coming to an end, a node takes no notice of this.
        let has_joined = |server: &Server| server.figures().joined() == round;
        served.try_until("joining", || node.join(), has_joined);
        served.wait_acked(1, last);
        let [stream] = &served.streams()[..] else { panic!("one is fed") };
        assert_eq!(stream.name(), c"127.0.0.1");
        assert_eq!(served.wait_joined(), 1, "it begins at the beginning");
        assert_eq!(stream.link().unwrap().snapshot().stream.frames, last);
        assert_holds(&node.environment, last);
        assert_eq!(Summary::of_log(&scratch.path("node")).unwrap().entries, round * last);
        if round < 3 {
            served.end_stream(stream);
        }
    }
    let successor = Node::open(&scratch.path("successor"), "node", served.address);
    successor.join();
    let why = served.wait_for("the end of the first", |event| match &event.kind {
        Kind::Ended(End::Stopped, why) if *why != Some(Refusal::ByHost) => why.clone(),
        _ => None,
    });
    assert_eq!(why, Refusal::Replaced);
    served.wait_acked(1, last);
    assert_holds(&successor.environment, last);
    served.end();
    node.close();
    successor.close();
}

#[test]
fn a_6_2_0_replica_that_listens_is_dialled_again_and_resumes_in_the_middle() {
    const ENTRIES: u64 = 3000;
    let scratch = Scratch::new();
    scratch.must(&format!("make-log --dir @log --entries {ENTRIES} --payload 100..2000 --file-max 256K"));
    let served = Served::over(&scratch.path("log"), &[("server.redial_min_ms", "10")]);
    let (replica, address) = scratch.start_replica("--version 6 --expect-vlsn 1000");
    let (host, port) = address.rsplit_once(':').unwrap();
    served.server.dial(host, port.parse().unwrap(), c"six", 1).unwrap();
    let first = replica.finish();
    assert!(first.ok, "{}", first.err);
    let held: u64 = first.last_line().rsplit(' ').next().unwrap().parse().unwrap();
    let (replica, _) = scratch.start_replica(&format!("--version 6 --expect-vlsn {ENTRIES} --listen {address}"));
    let all = replica.finish();
    assert!(all.ok, "{}", all.err);
    assert_eq!(all.last_line(), format!("replica holds {ENTRIES} entries, last VLSN {ENTRIES}"), "{held} at first");
    assert_eq!(
        scratch.must("compare --master @log --replica @replica"),
        format!("replica holds {ENTRIES} entries, equal")
    );
    served.end();
}

#[test]
fn real_nodes_that_hold_elections_elect_the_server_and_are_fed() {
    let scratch = Scratch::new();
    let dir = scratch.path("log");
    let writer = history::begin(&dir, FILE_MAX);
    let last = commit_from(3000);
    append_all(&writer, 1..=last);
    let mut served = Served::with(&dir, &[], |server| server.answer_elections(MASTER).unwrap());
    let nodes = ["a", "b"].map(|name| Node::open(&scratch.path(name), name, served.address));
    nodes.iter().for_each(|node| node.replication.start_election_driver());
    served.wait_acked(2, last);
    for node in &nodes {
        assert_eq!(node.replication.get_state(), NodeState::Replica);
        assert_eq!(node.replication.get_master_name().as_deref(), Some(MASTER));
    }
    assert_all_hold(&nodes, last);
    append_all(&writer, last + 1..=last + 15);
    served.wait_acked(2, last + 15);
    assert_all_hold(&nodes, last + 15);
    served.end();
    nodes.into_iter().for_each(Node::close);
}

/// The log of the other side, as the real client sees it; and how often that is asked.
struct Asking<'a> {
    remote: RemoteFeederView<'a>,
    questions: Cell<u64>,
}

impl SyncupView for Asking<'_> {
    fn last_sync(&self) -> Vlsn {
        self.remote.last_sync()
    }

    fn last_txn_end(&self) -> Vlsn {
        self.remote.last_txn_end()
    }

    fn first_vlsn(&self) -> Vlsn {
        self.remote.first_vlsn()
    }

    fn entry(&self, vlsn: Vlsn) -> Option<VlsnEntry> {
        self.questions.set(self.questions.get() + 1);
        self.remote.entry(vlsn)
    }
}

/// A real node asks for each of its sync points, and waits for the answer before it asks on.
#[test]
fn a_real_node_with_another_history_asks_8_007_questions() {
    const QUESTIONS: u64 = 8007;
    let scratch = Scratch::new();
    let entries = QUESTIONS * 4;
    scratch.must(&format!("make-log --dir @log --entries {entries} --commit-every 1000 --file-max 1M"));
    scratch.must(&format!("make-log --dir @other --entries {entries} --commit-every 4 --seed 2"));
    let served = Served::over(&scratch.path("log"), &[QUIET]);
    let view = SyncupLogView::scan(&scratch.path("other")).unwrap();
    let channel = connect_to_service(served.address, SYNCUP_SERVICE_NAME).unwrap();
    let asking = Asking { remote: RemoteFeederView::new(&channel), questions: Cell::new(0) };
    let began = Instant::now();
    let matchpoint = find_matchpoint(&view, &asking);
    let took = began.elapsed();
    println!("{QUESTIONS} questions took {took:?}");
    assert!(matches!(matchpoint, Matchpoint::None));
    assert!(!asking.remote.transport_failed());
    assert_eq!(asking.questions.get(), QUESTIONS);
    asking.remote.send_restore_request(NULL_VLSN).unwrap();
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(served.refused(), 0);
    served.end();
}

/// The log grows while its files are fetched, and goes on in new ones.
#[test]
fn real_clients_restore_while_the_log_is_written_and_what_they_have_reads_right() {
    const PER_PAUSE: u64 = 20;
    let scratch = Scratch::new();
    let dir = scratch.path("log");
    let writer = history::begin(&dir, 64 << 10);
    let at_first = commit_from(30_000);
    append_all(&writer, 1..=at_first);
    // So slow that much is written meanwhile.
    let mut served = Served::over(&dir, &[("server.restore_bytes_per_s", "16000000")]);
    let (written, is_over) = (AtomicU64::new(at_first), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = at_first;
            while !is_over.load(Ordering::Relaxed) {
                append_all(&writer, last + 1..=last + PER_PAUSE);
                last += PER_PAUSE;
                written.store(last, Ordering::Release);
                // No writer is as fast as it can be all the time, and disks are no larger than they are.
                thread::sleep(Duration::from_millis(1));
            }
        });
        // Whatever happens here, the writer ends.
        let _ends = OnDrop(|| is_over.store(true, Ordering::Relaxed));
        for name in ["raw", "framed"] {
            let into = scratch.path(name);
            let before = written.load(Ordering::Acquire);
            let client = restore(served.address, &into);
            let restored = if name == "raw" { client.execute() } else { client.execute_via_dispatcher() };
            restored.unwrap();
            served.wait_for("all files", |event| matches!(event.kind, Kind::Restored(1..)).then_some(()));
            let (files, has) = (log_files(&into).unwrap().len(), Summary::of_log(&into).unwrap());
            assert!(log_files(&dir).unwrap().len() > files, "the log goes on in other files");
            assert!(written.load(Ordering::Acquire) > has.last, "and with other entries");
            assert!(has.last >= before, "{name} has {has:?}, and {before} were written when it began");
            assert_eq!((has.first, has.entries), (1, has.last), "{name} has each once");
            let environment = open_environment(&into, FILE_MAX).unwrap();
            let keys = assert_holds(&environment, has.last);
            println!("{name}: {files} files up to VLSN {} with {keys} keys", has.last);
            environment.close().unwrap();
        }
    });
    assert_eq!(served.refused(), 0);
    served.end();
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// How long single entries took to come back acknowledged by a real node, the shortest time first.
fn ack_times(set: &[(&str, &str)], entries: u64) -> Vec<Duration> {
    let scratch = Scratch::new();
    let dir = scratch.path("log");
    let writer = history::begin(&dir, FILE_MAX);
    let at_first = 150;
    append_all(&writer, 1..=at_first);
    let mut served = Served::over(&dir, set);
    let node = Node::open(&scratch.path("node"), "node", served.address);
    node.join();
    served.wait_acked(1, at_first);
    let mut took: Vec<Duration> = (at_first + 1..=at_first + entries)
        .map(|vlsn| {
            let before = Instant::now();
            append_all(&writer, [vlsn]);
            served.wait_acked(1, vlsn);
            before.elapsed()
        })
        .collect();
    took.sort_unstable();
    served.end();
    node.close();
    let [median, most] = [took.len() / 2, took.len() * 9 / 10].map(|at| took[at]);
    println!("the ack of a single entry took p50 {median:?}, p90 {most:?} {set:?}");
    took
}

/// A real node writes each ack in two pieces, and its system holds the second one back until the first is confirmed: for
/// 40 ms, if nobody hastens that.
#[test]
fn the_ack_of_a_real_node_for_a_single_entry_comes_within_milliseconds() {
    let limit = Duration::from_millis(5);
    // The machine may be busy for a while.
    let comes_in_time = (0..5).any(|_| ack_times(&[], 150)[75] < limit);
    assert!(comes_in_time);
    let unhastened = ack_times(&[("channel.quick_acks", "never")], 21);
    assert!(unhastened[10] > limit, "real nodes have changed: {unhastened:?}");
}
