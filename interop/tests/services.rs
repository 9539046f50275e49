//! The library's services beside the real ones, and met by the real clients.

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::node::{MASTER, restore};
use common::served::{QUIET, Served};
use common::{Scratch, newest_file};
use noxu_dbi::{DbiEnvConfig, EnvironmentImpl};
use noxu_feeder::wire::service::syncup::Message;
use noxu_feeder::wire::service::{Opening, append_message};
use noxu_feeder_interop::generation::Generation;
use noxu_feeder_interop::reader::log_files;
use noxu_feeder_interop::writer::Writer;
use noxu_rep::net::channel::Channel;
use noxu_rep::net::service_dispatcher::{TcpServiceDispatcher, connect_to_service};
use noxu_rep::stream::syncup_protocol::{SYNCUP_SERVICE_NAME, SyncupService};

const RECORD: u8 = 10;
const COMMIT: u8 = 30;

/// Writes entries by hand through the real writer: VLSN and type.
fn write(dir: &Path, file_max: u64, entries: impl IntoIterator<Item = (u64, u8)>) {
    let writer = Writer::open(dir, Generation::Seven, file_max).unwrap();
    for (at, (vlsn, entry_type)) in entries.into_iter().enumerate() {
        writer
            .append(Some(vlsn), entry_type, format!("entry {at}, VLSN {vlsn} {}", "x".repeat(at % 50)).as_bytes())
            .unwrap();
    }
    writer.close().unwrap();
}

/// All that a service answers to these bytes, until it closes; and whether it has reset the connection then.
fn answers(address: SocketAddr, requests: &[u8]) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut bytes = Vec::new();
    Opening::Name("REP_SYNCUP").append_to(&mut bytes);
    bytes.extend_from_slice(requests);
    stream.write_all(&bytes).unwrap();
    // It may have closed already.
    let _ = stream.shutdown(Shutdown::Write);
    let (mut answers, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return (answers, false),
            Ok(read) => answers.extend_from_slice(&piece[..read]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                return (answers, true);
            }
        }
    }
}

/// Sequences of requests around VLSNs that matter for a log.
fn sequences(vlsns: &[i64]) -> Vec<Vec<u8>> {
    let ask = |vlsn: i64| Message::EntryRequest { vlsn };
    let (start, restore) = (Message::StartStream { vlsn: 1 }, Message::RestoreRequest { vlsn: -1 });
    let mut sequences: Vec<Vec<Message>> = vec![
        vec![],
        vec![start],
        vec![restore],
        vec![ask(0), ask(i64::MAX)],
        vec![ask(-1), ask(i64::MIN), restore],
        vec![ask(i64::MAX), ask(i64::MAX), start],
        vec![ask(i64::MAX), restore, ask(1)],
        vlsns.iter().rev().map(|&vlsn| ask(vlsn)).collect(),
        vlsns.iter().flat_map(|&vlsn| [ask(vlsn), ask(vlsn)]).chain([restore]).collect(),
        vec![Message::EntryNotFound],
        vec![ask(1), Message::RestoreResponse],
    ];
    sequences.extend(vlsns.iter().map(|&vlsn| vec![ask(vlsn), ask(vlsn + 1), ask(vlsn - 1)]));
    let mut bytes: Vec<Vec<u8>> = sequences
        .iter()
        .map(|messages| {
            let mut out = Vec::new();
            messages.iter().for_each(|message| message.append_to(&mut out));
            out
        })
        .collect();
    // A request that is longer, one that is shorter, one of no kind, one without a kind.
    for message in [&[1, 5, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9][..], &[1, 5, 0], &[99, 0, 0, 0, 0, 0, 0, 0, 0], &[]] {
        let mut out = Vec::new();
        append_message(&mut out, message);
        bytes.push(out);
    }
    bytes
}

/// Asks the real service and the library's about the same log; says how many sequences were equal.
fn compare_syncup(dir: &Path, vlsns: &[i64]) -> usize {
    let real = TcpServiceDispatcher::new("127.0.0.1:0".parse().unwrap()).unwrap();
    real.register(SYNCUP_SERVICE_NAME, Arc::new(SyncupService::new(dir.to_path_buf())));
    let real_address = real.start().unwrap();
    let own = Served::over(dir, &[QUIET]);
    let mut equal = 0;
    for sequence in &sequences(vlsns) {
        let ((expected, is_reset), (found, _)) = (answers(real_address, sequence), answers(own.address, sequence));
        if is_reset {
            // The real service leaves what comes behind the end unread, and its system may throw the last answer away.
            assert!(found.starts_with(&expected), "{} to {sequence:?}: {found:?} {expected:?}", dir.display());
            continue;
        }
        assert_eq!(found, expected, "{} to {sequence:?}", dir.display());
        let questions = sequence.chunks(13).take_while(|message| message.starts_with(&[9, 0, 0, 0, 1])).count();
        assert!(expected.len() >= questions * 5, "{questions} questions have {} bytes of answers", expected.len());
        equal += 1;
    }
    real.stop_and_join();
    own.end();
    equal
}

#[test]
fn rep_syncup_answers_byte_for_byte_what_the_real_service_answers() {
    let scratch = Scratch::new();
    let mut equal = 0;

    // Several files, entries without a VLSN between.
    scratch.must("make-log --dir @whole --entries 3000 --payload 20..400 --file-max 128K");
    equal += compare_syncup(&scratch.path("whole"), &[1, 2, 15, 16, 17, 1504, 2991, 2992, 2993, 3000, 3001]);

    // A file in the middle is gone: what stands below is of no use.
    let whole = log_files(&scratch.path("whole")).unwrap();
    fs::remove_file(&whole[whole.len() / 2].path).unwrap();
    equal += compare_syncup(&scratch.path("whole"), &[1, 16, 1000, 1500, 2000, 2500, 3000, 3001]);

    // The first file, too.
    fs::remove_file(&whole[0].path).unwrap();
    equal += compare_syncup(&scratch.path("whole"), &[1, 16, 1000, 1500, 2000, 2500, 3000]);

    // It begins above 1.
    scratch.must("make-log --dir @later --entries 300 --first-vlsn 500");
    equal += compare_syncup(&scratch.path("later"), &[1, 499, 500, 512, 799, 800]);

    // No sync point.
    scratch.must("make-log --dir @plain --entries 100 --commit-every 0");
    equal += compare_syncup(&scratch.path("plain"), &[1, 50, 100, 101]);

    // Nothing at all, and nothing that is replicated.
    fs::create_dir(scratch.path("empty")).unwrap();
    equal += compare_syncup(&scratch.path("empty"), &[1, 2]);
    let untagged = Writer::open(&scratch.path("untagged"), Generation::Seven, 1 << 20).unwrap();
    (0..50).for_each(|_| untagged.append(None, 60, b"a trace").unwrap());
    untagged.close().unwrap();
    equal += compare_syncup(&scratch.path("untagged"), &[1, 2]);

    // VLSNs that are missing within a file.
    let types = |vlsn: u64| if vlsn.is_multiple_of(7) { COMMIT } else { RECORD };
    let gap = (1..=50).chain(60..=100).map(|vlsn| (vlsn, types(vlsn)));
    write(&scratch.path("gap"), 1 << 20, gap);
    equal += compare_syncup(&scratch.path("gap"), &[1, 49, 50, 51, 59, 60, 63, 98, 100, 101]);

    // The uppermost run has no sync point, and what lies below the hole has.
    write(&scratch.path("lone"), 1 << 20, (1..=14).chain(20..=20).map(|vlsn| (vlsn, types(vlsn))));
    equal += compare_syncup(&scratch.path("lone"), &[1, 14, 15, 20, 21]);

    // VLSNs out of order, and some that stand twice, with other content.
    let swapped = (1..=200).map(|vlsn: u64| if vlsn.is_multiple_of(2) { vlsn - 1 } else { vlsn + 1 });
    let twice = swapped.chain([150, 200, 1, 77]).map(|vlsn| (vlsn, types(vlsn)));
    write(&scratch.path("twice"), 2048, twice);
    equal += compare_syncup(&scratch.path("twice"), &[1, 2, 76, 77, 78, 149, 150, 196, 199, 200, 201]);

    // Rolled back, and then rolled back and gone on with another history.
    scratch.must("make-log --dir @back --entries 500 --payload 100 --commit-every 16 --file-max 16K");
    scratch.must("roll-back --dir @back --to-vlsn 480");
    equal += compare_syncup(&scratch.path("back"), &[1, 479, 480, 481, 496, 500, 501]);
    scratch.must("append --dir @back --entries 10 --seed 2 --payload 100 --file-max 16K");
    equal += compare_syncup(&scratch.path("back"), &[1, 479, 480, 481, 490, 491, 496, 500]);

    // A torn end.
    let newest = newest_file(&scratch.path("plain"));
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() - 20]).unwrap();
    equal += compare_syncup(&scratch.path("plain"), &[1, 99, 100, 101]);

    // What a real environment leaves whose threads commit at once.
    scratch.must("commit --dir @threads --threads 4 --commits 4000 --file-max 64K");
    equal += compare_syncup(&scratch.path("threads"), &[1, 2, 1000, 2001, 3999, 4000, 4001]);
    assert!(equal > 200, "{equal} sequences");
}

/// Each file of the copy is the beginning of the log's.
fn assert_copied(log: &Path, copy: &Path) {
    let copied = log_files(copy).unwrap();
    assert!(!copied.is_empty());
    for file in copied {
        let (bytes, of) = (fs::read(&file.path).unwrap(), fs::read(log.join(file.path.file_name().unwrap())).unwrap());
        assert!(of.starts_with(&bytes), "{}", file.path.display());
    }
    assert!(!copy.join("restore_required.marker").exists());
}

fn copy_dir(from: &Path, to: &PathBuf) {
    fs::create_dir(to).unwrap();
    for file in log_files(from).unwrap() {
        fs::copy(&file.path, to.join(file.path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn the_real_client_restores_what_is_sent_and_the_environment_opens_and_reads_equal() {
    let scratch = Scratch::new();
    scratch.must("commit --dir @env --threads 4 --commits 6000 --file-max 64K");
    let whole = scratch.must("list --dir @env") + &scratch.run("list --dir @env").out;
    copy_dir(&scratch.path("env"), &scratch.path("log"));
    // A live end: half an entry, and behind it a file that is being born.
    let newest = newest_file(&scratch.path("log"));
    let bytes = fs::read(&newest).unwrap();
    let begin = bytes.len() - 40;
    fs::OpenOptions::new().append(true).open(&newest).unwrap().write_all(&bytes[begin..]).unwrap();
    let number = log_files(&scratch.path("log")).unwrap().pop().unwrap().number + 1;
    fs::write(scratch.path("log").join(format!("{number:08x}.ndb")), b"NOXUDB").unwrap();

    let served = Served::over(&scratch.path("log"), &[QUIET]);
    let raw = restore(served.address, &scratch.path("raw"));
    raw.execute().unwrap();
    let framed = restore(served.address, &scratch.path("framed"));
    framed.execute_via_dispatcher().unwrap();
    for name in ["raw", "framed"] {
        assert_copied(&scratch.path("log"), &scratch.path(name));
        let listed = |name: &str| {
            scratch.must(&format!("list --dir @{name}")) + &scratch.run(&format!("list --dir @{name}")).out
        };
        assert_eq!(listed(name), whole, "{name}");
        let config = DbiEnvConfig { transactional: true, run_cleaner: false, free_disk: 0, ..DbiEnvConfig::default() };
        let environment = EnvironmentImpl::from_dbi_config(scratch.path(name), &config).unwrap();
        environment.close().unwrap();
        assert_eq!(listed(name), whole, "{name}, opened and closed");
    }
    assert_eq!(served.refused(), 0);
    served.end();
}

#[test]
fn a_restore_is_as_slow_as_it_is_told_and_one_that_is_too_large_for_a_message_is_refused() {
    let scratch = Scratch::new();
    scratch.must("make-log --dir @small --entries 4000 --payload 1K");
    let served = Served::over(&scratch.path("small"), &[QUIET, ("server.restore_bytes_per_s", "4000000")]);
    let began = Instant::now();
    restore(served.address, &scratch.path("slow")).execute().unwrap();
    assert!(began.elapsed() > Duration::from_millis(800), "{:?}", began.elapsed());
    assert_copied(&scratch.path("small"), &scratch.path("slow"));
    served.end();

    scratch.must("make-log --dir @large --entries 70 --payload 1M --commit-every 0");
    let mut served = Served::over(&scratch.path("large"), &[QUIET]);
    restore(served.address, &scratch.path("framed")).execute_via_dispatcher().unwrap_err();
    let error = served.wait_refused();
    assert!(error.starts_with("RESTORE: 8 files make a message of 73"), "{error}");
    restore(served.address, &scratch.path("raw")).execute().unwrap();
    assert_copied(&scratch.path("large"), &scratch.path("raw"));
    served.end();
}

/// Notes the VLSNs that a real receiver hands over.
struct Noting(Vec<u64>);

impl noxu_rep::stream::replica_stream::LogWriter for Noting {
    fn write_entry(&mut self, vlsn: u64, _: u8, _: &[u8]) -> noxu_rep::Result<()> {
        self.0.push(vlsn);
        Ok(())
    }
}

impl noxu_rep_6::stream::replica_stream::LogWriter for Noting {
    fn write_entry(&mut self, vlsn: u64, _: u8, _: &[u8]) -> noxu_rep_6::Result<()> {
        self.0.push(vlsn);
        Ok(())
    }
}

/// What a real 7.11.2 client gets: nothing, if it is to restore.
fn catch_up_7(address: SocketAddr, start: u64) -> Result<Option<Vec<u64>>, String> {
    let mut noting = Noting(Vec::new());
    let served = noxu_rep::stream::peer_feeder::catch_up_from_peer(address, start, &mut noting);
    served.map(|served| served.then_some(noting.0)).map_err(|error| error.to_string())
}

/// The same for 6.2.0, which can begin anywhere.
fn catch_up_6(address: SocketAddr, start: u64) -> Result<Option<Vec<u64>>, String> {
    let mut noting = Noting(Vec::new());
    let served = noxu_rep_6::stream::peer_feeder::catch_up_from_peer(address, start, &mut noting);
    served.map(|served| served.then_some(noting.0)).map_err(|error| error.to_string())
}

#[test]
fn real_clients_of_peer_feeder_get_the_stream_or_are_told_to_restore() {
    let scratch = Scratch::new();
    let all = |first: u64, last: u64| Ok(Some((first..=last).collect::<Vec<u64>>()));
    scratch.must("make-log --dir @log --entries 600 --file-max 32K");
    let mut served = Served::over(&scratch.path("log"), &[QUIET]);
    for start in [0, 1] {
        assert_eq!(served.feed(600, |address| catch_up_7(address, start)), all(1, 600));
    }
    for start in [0, 1, 2, 300, 600] {
        assert_eq!(served.feed(600, |address| catch_up_6(address, start)), all(start.max(1), 600));
    }
    assert!(catch_up_7(served.address, 602).is_err(), "it is closed without an answer");
    let ahead = served.wait_refused();
    assert_eq!(
        ahead,
        "PEER_FEEDER: VLSN 602 was asked for, and the log ends with 600: the replica is ahead of this log"
    );
    served.end();

    scratch.must("make-log --dir @later --entries 100 --first-vlsn 500");
    let mut served = Served::over(&scratch.path("later"), &[QUIET]);
    for start in [0, 1, 499] {
        assert_eq!((catch_up_7(served.address, start), catch_up_6(served.address, start)), (Ok(None), Ok(None)));
    }
    assert_eq!(served.feed(599, |address| catch_up_6(address, 500)), all(500, 599));
    served.end();
}

/// Neither is told to restore: upstream's own master does that to both.
#[test]
fn who_has_all_and_who_asks_an_empty_log_are_served_and_get_what_is_written_then() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("log")).unwrap();
    let mut served = Served::over(&scratch.path("log"), &[QUIET]);
    let address = served.address;
    let empty = [0, 1].map(|start| std::thread::spawn(move || catch_up_7(address, start)));
    for _ in &empty {
        assert_eq!(served.wait_joined(), 1);
    }
    scratch.must("append --dir @log --entries 50");
    for _ in &empty {
        served.end_stream_at(50);
    }
    for client in empty {
        assert_eq!(client.join().unwrap(), Ok(Some((1..=50).collect())));
    }
    let behind_the_last = std::thread::spawn(move || catch_up_6(address, 51));
    assert_eq!(served.wait_joined(), 51);
    scratch.must("append --dir @log --entries 10");
    served.end_stream_at(60);
    assert_eq!(behind_the_last.join().unwrap(), Ok(Some((51..=60).collect())));
    served.end();
}

#[test]
fn a_real_proposer_elects_the_one_that_answers_as_master() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("log")).unwrap();
    let served = Served::with(&scratch.path("log"), &[QUIET], |server| server.answer_elections(MASTER).unwrap());
    let mut group = noxu_rep::RepGroup::new("group".into(), 1);
    for (name, id) in [("node", 1), (MASTER, 2)] {
        group.add_node(noxu_rep::RepNode::new(name.into(), noxu_rep::NodeType::Electable, "127.0.0.1".into(), 1, id));
    }
    for (vlsn, term) in [(0, 1), (1_000_000, 2)] {
        let channel: Arc<dyn Channel> = Arc::new(connect_to_service(served.address, "ELECTION").unwrap());
        let elected = noxu_rep::elections::run_election(1, "node", &group, &[channel], vlsn, 1, term);
        assert_eq!(elected, Some(2), "proposing VLSN {vlsn}");
    }
    assert_eq!(served.refused(), 0);
    served.end();
}
