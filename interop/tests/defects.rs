//! What the original sender gets wrong, and noxu-feeder gets right.
//!
//! Each test shows one defect twice, over the same log and, where a replica is needed, with the real one: upstream's
//! sender (7.11.2, and 6.2.0 where that differs) really does the wrong thing, and this one does the right one. The
//! versions are pinned, so what the original does does not change.

mod common;

use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::feeder::Feeder;
use common::{Said, Scratch, newest_file};
use noxu_feeder::acks::{Deadline, End, Waited};
use noxu_feeder::error::{EntryFault, Error};
use noxu_feeder::log::Lsn;
use noxu_feeder::log::tail::WaitReason;
use noxu_feeder::options::Options;
use noxu_feeder::transport::{Channel, Received, SocketChannel};
use noxu_feeder_interop::reader::LogReader;
use noxu_feeder_interop::summary::Summary;
use noxu_rep::net::channel::{Channel as _, TcpChannel};
use noxu_rep::stream::feeder::{FeederRunner, LogScanner};

/// The header of an entry that has a VLSN; its item size stands at 10.
const ENTRY_HEADER: usize = 22;
const ITEM_SIZE_AT: usize = 10;
const PAYLOAD: usize = 100;

/// A hundred entries of the same size in four files: 1 to 30, 31 to 60, 61 to 90, and the rest.
const HUNDRED: &str = "--entries 100 --payload 100 --file-max 3800 --commit-every 0 --untagged-every 0";

/// Long enough for a busy machine; no test passes because of it.
const PATIENCE: Duration = Duration::from_secs(120);

// --- the two senders ----------------------------------------------------------------------------------------

/// Feeds `@log` to a new replica with the original; what both said.
fn original(scratch: &Scratch, sender: &str, replica: &str) -> (Said, Said) {
    let (replica, address) = start_new_replica(scratch, replica);
    let fed = scratch.run(&format!("original-feed --dir @log --connect {address} {sender}"));
    (fed, replica.finish())
}

fn start_new_replica(scratch: &Scratch, options: &str) -> (common::Running, String) {
    let dir = scratch.path("replica");
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    scratch.start_replica(options)
}

/// noxu-feeder on `@log`, which judges soon what stands still.
fn ours(scratch: &Scratch, address: &str, start_vlsn: u64) -> Feeder {
    let mut options = Options::default();
    options.set("log.settle_ms", "100").unwrap();
    Feeder::start_with(&scratch.path("log"), address, start_vlsn, &options)
}

/// Feeds `@log` to a new replica with noxu-feeder, from `start` to `last`: each frame once, and the replica holds
/// what the log holds.
fn ours_feeds_all(scratch: &Scratch, start: u64, last: u64, replica: &str) {
    let (replica, address) = start_new_replica(scratch, &format!("--expect-vlsn {last} {replica}"));
    let feeder = ours(scratch, &address, start);
    feeder.wait_acked(last);
    assert_eq!(feeder.stop(), last + 1 - start);
    let held = replica.finish();
    assert!(held.ok, "{}", held.err);
    assert_copy_of("@log", scratch, last + 1 - start);
}

/// Feeds `@log` to a new replica with noxu-feeder, which fails: the error. The replica got `frames` entries, in order.
fn ours_fails(scratch: &Scratch, start: u64, frames: u64) -> Error {
    let (replica, address) = start_new_replica(scratch, "--version 6");
    let feeder = ours(scratch, &address, start);
    let waited = feeder.runner.wait_acked(u64::MAX, Deadline::At(Instant::now() + PATIENCE)).unwrap();
    let Waited::Ended(End::Failed(error)) = waited else {
        panic!("{waited:?}: {:?}", feeder.runner.snapshot());
    };
    feeder.runner.dispose().unwrap();
    let now = feeder.runner.snapshot();
    assert_eq!((now.stream.frames, now.sent_vlsn), (frames, start - 1 + frames));
    let held = replica.finish();
    assert!(held.ok, "{}", held.err);
    let last = if frames == 0 { 0 } else { start - 1 + frames };
    assert_eq!(held.last_line(), format!("replica holds {frames} entries, last VLSN {last}"));
    error
}

/// `@replica` holds these entries, and the log `master` has them, too, and none before or between them.
fn assert_copy_of(master: &str, scratch: &Scratch, entries: u64) {
    let equal = scratch.must(&format!("compare --master {master} --replica @replica --prefix"));
    assert_eq!(equal, format!("replica holds {entries} entries, equal"));
}

/// In what `@replica` differs first from the log `master`.
fn difference(master: &str, scratch: &Scratch) -> String {
    let said = scratch.run(&format!("compare --master {master} --replica @replica"));
    assert!(!said.ok, "{}", said.out);
    said.err.trim_end().strip_prefix("nxf-interop: ").expect("the tool's name").to_owned()
}

/// How many entries the original says it has sent.
fn sent(fed: &Said) -> u64 {
    let count = fed.last_line().split_whitespace().find_map(|word| word.strip_prefix("entries="));
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count: {}{}", fed.out, fed.err))
}

// --- logs and what is done to them --------------------------------------------------------------------------

/// Where the entry of this VLSN begins, in `@log`.
fn place_of(scratch: &Scratch, vlsn: u64) -> Lsn {
    let mut reader = LogReader::open(&scratch.path("log")).unwrap();
    while let Some(entry) = reader.next_entry().unwrap() {
        if entry.vlsn == Some(vlsn) {
            return Lsn::new(entry.file, entry.offset.try_into().unwrap());
        }
    }
    panic!("VLSN {vlsn} is in the log");
}

/// Changes the bytes of the log file that `at` is in.
fn damage(scratch: &Scratch, at: Lsn, change: impl FnOnce(&mut Vec<u8>)) {
    let path = scratch.path("log").join(format!("{:08x}.ndb", at.file()));
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Gives the entry at `at` a size that no entry has.
fn make_implausible(scratch: &Scratch, at: Lsn) {
    let size = at.offset() as usize + ITEM_SIZE_AT;
    damage(scratch, at, |bytes| bytes[size..size + 4].fill(0xff));
}

fn copy_log(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let path = item.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ndb") {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// Looks again and again until `look` finds something.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not in time");
        thread::sleep(Duration::from_millis(1));
    }
}

// --- 1: deadlock --------------------------------------------------------------------------------------------

/// The original reads no ack before it has sent all there is; the replica reads no frame before its ack is taken.
#[test]
fn a_replica_that_acks_each_frame_deadlocks_with_the_original_and_not_with_ours() {
    const ENTRIES: u64 = 8000;
    let scratch = Scratch::new();
    scratch.must(&format!("make-log --dir @log --entries {ENTRIES} --payload 3000"));
    let replica = format!("--ack blocking --expect-vlsn {ENTRIES}");

    let (fed, held) = original(&scratch, "--timeout-seconds 3", &replica);
    assert!(fed.err.contains("acked 0, after --timeout-seconds 3"), "{}", fed.err);
    assert!((1..ENTRIES).contains(&sent(&fed)), "{}", fed.out);
    // It did answer, and nobody read it.
    assert!(!held.ok && !held.err.contains("at VLSN 0:"), "{}", held.err);

    ours_feeds_all(&scratch, 1, ENTRIES, "--ack blocking");
}

// --- 2: VLSNs out of order ----------------------------------------------------------------------------------

/// A real log of eight threads that committed at once; nothing in it is missing.
#[test]
fn vlsns_out_of_order_are_lost_or_called_a_gap_by_the_original_and_put_in_order_by_ours() {
    let scratch = Scratch::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/out-of-order");
    copy_log(&fixture, &scratch.path("log"));
    let log = Summary::of_log(&scratch.path("log")).unwrap();
    assert_eq!((log.first, log.last), (1, log.entries), "each once");
    assert!(log.out_of_order > 0);

    // 6.2.0 passes over what stands behind a higher VLSN, and calls the rest a success.
    let (fed, held) = original(&scratch, "--version 6", &format!("--version 6 --expect-vlsn {}", log.last));
    assert!(fed.ok && held.ok, "{}{}", fed.err, held.err);
    assert_eq!(sent(&fed), log.entries - log.out_of_order);
    assert!(difference("@log", &scratch).ends_with("the replica lacks it"));

    // 7.11.2 says that they are gone, and sends the replica into a restore.
    let (fed, _) = original(&scratch, "--version 7", "");
    assert!(!fed.ok && fed.err.contains("VLSN gap") && fed.err.contains("needs a network restore"), "{}", fed.err);

    ours_feeds_all(&scratch, 1, log.last, "");
}

// --- 3: damage is sent --------------------------------------------------------------------------------------

#[test]
fn a_flipped_byte_is_sent_under_a_fresh_checksum_by_the_original_and_named_by_ours() {
    // In a lower file and in the newest.
    for (damaged, file) in [(57, 1), (95, 3)] {
        let scratch = Scratch::new();
        scratch.must(&format!("make-log --dir @log {HUNDRED}"));
        copy_log(&scratch.path("log"), &scratch.path("intact"));
        let at = place_of(&scratch, damaged);
        assert_eq!(at.file(), file);
        let begin = at.offset() as usize;
        let payload = begin + ENTRY_HEADER;
        let (mut stored, mut computed) = (0, 0);
        damage(&scratch, at, |bytes| {
            bytes[payload + 70] ^= 0x20;
            stored = u32::from_le_bytes(bytes[begin..begin + 4].try_into().unwrap());
            computed = crc32fast::hash(&bytes[begin + 4..payload + PAYLOAD]);
        });

        for version in [6, 7] {
            // The real replica checks each frame's CRC, and finds nothing to complain about.
            let (fed, held) = original(&scratch, &format!("--version {version}"), "--expect-vlsn 100");
            assert!(fed.ok && held.ok, "{version}: {}{}", fed.err, held.err);
            assert_eq!(difference("@intact", &scratch), format!("VLSN {damaged}: the payloads differ"));
        }

        let error = ours_fails(&scratch, 1, damaged - 1);
        let fault = EntryFault::Checksum { stored, computed };
        assert_eq!(error, Error::LogDamaged { at, fault, vlsn: Some(damaged), expected_vlsn: Some(damaged) });
        assert_copy_of("@intact", &scratch, damaged - 1);
        let text = error.to_string();
        let file = format!("{:08x}.ndb", at.file());
        for fact in [file, begin.to_string(), format!("{stored:08x}"), format!("{computed:08x}")] {
            assert!(text.contains(&fact), "{fact} is missing from: {text}");
        }
    }
}

// --- 4: rolled-back entries are sent ------------------------------------------------------------------------

#[test]
fn a_history_rolled_back_is_sent_in_place_of_the_new_one_by_the_original_and_not_by_ours() {
    let scratch = Scratch::new();
    scratch.must("make-log --dir @log --entries 200 --payload 100");
    copy_log(&scratch.path("log"), &scratch.path("before"));
    assert_eq!(scratch.must("roll-back --dir @log --to-vlsn 150"), "rolled back entries=50");
    assert!(scratch.must("append --dir @log --entries 70 --payload 100 --seed 2").ends_with("first=151 last=220"));

    for version in [6, 7] {
        let (fed, held) = original(&scratch, &format!("--version {version}"), "--expect-vlsn 220");
        assert!(fed.ok && held.ok, "{version}: {}{}", fed.err, held.err);
        assert_eq!(sent(&fed), 220);
        assert_eq!(difference("@log", &scratch), "VLSN 151: the payloads differ");
        // All that was rolled back, it has; and from 201 on the new history.
        scratch.must("compare --master @replica --replica @before --prefix");
        assert_eq!(difference("@before", &scratch), "VLSN 201: only the replica has it");
    }

    ours_feeds_all(&scratch, 1, 220, "");
}

// --- 5: a start or a file that is not there -----------------------------------------------------------------

#[test]
fn asked_from_10_on_a_log_that_begins_at_50_the_original_begins_at_50_and_ours_says_so() {
    let scratch = Scratch::new();
    scratch.must("make-log --dir @log --first-vlsn 50 --entries 51");

    for version in [6, 7] {
        let sender = format!("--version {version} --start-vlsn 10");
        let (fed, held) = original(&scratch, &sender, "--version 6 --expect-vlsn 100");
        assert!(fed.ok && held.ok, "{version}: {}{}", fed.err, held.err);
        assert_eq!(held.last_line(), "replica holds 51 entries, last VLSN 100");
        assert_copy_of("@log", &scratch, 51);
    }

    let error = ours_fails(&scratch, 10, 0);
    assert_eq!(error, Error::LogGap { expected: 10, found: 50, at: place_of(&scratch, 50) });
    assert!(error.needs_restore());
}

/// 6.2.0 goes on behind the hole whatever it has sent before. 7.11.2 notices once it has sent an entry, or when asked
/// from VLSN 1; from any other VLSN in the hole on, it begins behind it.
#[test]
fn a_deleted_file_is_passed_over_by_the_original_and_called_gone_by_ours() {
    let scratch = Scratch::new();
    scratch.must(&format!("make-log --dir @log {HUNDRED}"));
    assert_eq!([30, 31, 60, 61].map(|vlsn| place_of(&scratch, vlsn).file()), [0, 1, 1, 2]);
    fs::remove_file(scratch.path("log").join("00000001.ndb")).unwrap();
    let fed_from = |version: u32, start: u64| {
        original(&scratch, &format!("--version {version} --start-vlsn {start}"), "--version 6 --expect-vlsn 100")
    };

    // 1 to 30 and 61 to 100, or asked from 33 only the latter.
    for (version, start, entries) in [(6, 1, 70), (6, 33, 40), (7, 33, 40)] {
        let (fed, held) = fed_from(version, start);
        assert!(fed.ok && held.ok, "{version} from {start}: {}{}", fed.err, held.err);
        assert_eq!(held.last_line(), format!("replica holds {entries} entries, last VLSN 100"));
    }
    let (fed, _) = fed_from(7, 1);
    assert!(!fed.ok && fed.err.contains("VLSNs [31..=60] are gone"), "{}", fed.err);

    for (start, frames) in [(1, 30), (10, 21), (33, 0)] {
        let error = ours_fails(&scratch, start, frames);
        let expected_vlsn = Some(start + frames);
        assert_eq!(error, Error::LogFileGone { file: 1, expected_vlsn, found_vlsn: Some(61) });
    }
}

// --- 6: what cannot be read ---------------------------------------------------------------------------------

#[test]
fn a_torn_end_is_waited_at_without_a_word_by_the_original_and_shown_as_a_stall_by_ours() {
    let scratch = Scratch::new();
    scratch.must(&format!("make-log --dir @log {HUNDRED}"));
    let at = place_of(&scratch, 100);
    damage(&scratch, at, |bytes| bytes.truncate(bytes.len() - 10));

    for version in [6, 7] {
        let (fed, _) = original(&scratch, &format!("--version {version} --idle-looks 200"), "");
        assert_eq!(fed.err, "nxf-interop: sent up to VLSN 99, acked 99, then nothing for --idle-looks 200\n");
    }

    let (replica, address) = start_new_replica(&scratch, "--expect-vlsn 150");
    let feeder = ours(&scratch, &address, 1);
    feeder.wait_acked(99);
    let stalled = until("the stall", || feeder.runner.snapshot().pause.filter(|pause| pause.stalled));
    assert_eq!((stalled.reason, stalled.at), (WaitReason::Torn, at));
    // It is no error: the writer's recovery cuts the torn entry off, and both go on.
    let file_and_rest = HUNDRED.replace("--entries 100", "--entries 51");
    let made = scratch.must(&format!("append --dir @log {file_and_rest}"));
    assert!(made.ends_with("first=100 last=150"), "{made}");
    feeder.wait_acked(150);
    until("the stall's end", || feeder.runner.snapshot().pause.is_none_or(|pause| !pause.stalled).then_some(()));
    assert_eq!(feeder.stop(), 150);
    assert!(replica.finish().ok);
    assert_copy_of("@log", &scratch, 150);
}

#[test]
fn an_implausible_size_in_the_newest_file_is_waited_at_for_ever_by_the_original_and_an_error_of_ours() {
    let scratch = Scratch::new();
    scratch.must(&format!("make-log --dir @log {HUNDRED}"));
    let at = place_of(&scratch, 95);
    assert!(newest_file(&scratch.path("log")).ends_with(format!("{:08x}.ndb", at.file())));
    make_implausible(&scratch, at);

    for version in [6, 7] {
        // Though five whole entries stand behind it.
        let (fed, _) = original(&scratch, &format!("--version {version} --idle-looks 200"), "");
        assert_eq!(fed.err, "nxf-interop: sent up to VLSN 94, acked 94, then nothing for --idle-looks 200\n");
    }

    let error = ours_fails(&scratch, 1, 94);
    let fault = EntryFault::Oversize(u32::MAX);
    assert_eq!(error, Error::LogDamaged { at, fault, vlsn: None, expected_vlsn: Some(95) });
}

#[test]
fn the_rest_of_a_damaged_lower_file_is_skipped_or_called_gone_by_the_original_and_named_by_ours() {
    // The last entry of file 1 torn, and one in its middle of a size that none has.
    for (damaged, is_torn) in [(60, true), (45, false)] {
        let scratch = Scratch::new();
        scratch.must(&format!("make-log --dir @log {HUNDRED}"));
        copy_log(&scratch.path("log"), &scratch.path("intact"));
        let at = place_of(&scratch, damaged);
        assert_eq!((at.file(), place_of(&scratch, 61).file()), (1, 2));
        if is_torn {
            damage(&scratch, at, |bytes| bytes.truncate(bytes.len() - 10));
        } else {
            make_implausible(&scratch, at);
        }

        let (fed, held) = original(&scratch, "--version 6", "--version 6 --expect-vlsn 100");
        assert!(fed.ok && held.ok, "{}{}", fed.err, held.err);
        assert_eq!(sent(&fed), 100 - (61 - damaged), "file 1 from there on is left out");
        assert_eq!(difference("@intact", &scratch), format!("VLSN {damaged}: the replica lacks it"));

        // 7.11.2 stops, but says of a file that is there that it is gone, and not what is wrong with it.
        let (fed, _) = original(&scratch, "--version 7", "");
        let claim = "log file 00000001 needed by the feeder is gone";
        assert!(!fed.ok && fed.err.contains(claim), "{}", fed.err);

        let error = ours_fails(&scratch, 1, damaged - 1);
        // Of header and payload.
        let torn = EntryFault::Torn { needed: 122, present: 112 };
        let fault = if is_torn { torn } else { EntryFault::Oversize(u32::MAX) };
        assert_eq!(error, Error::LogDamaged { at, fault, vlsn: None, expected_vlsn: Some(damaged) });
        assert_copy_of("@intact", &scratch, damaged - 1);
    }
}

// --- 7: a length prefix in two pieces -----------------------------------------------------------------------

/// An ack as it goes over the wire.
fn ack(vlsn: u64) -> Vec<u8> {
    [8_u32.to_le_bytes().as_slice(), &vlsn.to_le_bytes()].concat()
}

/// A replica's socket, and the feeder's that belongs to it.
fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let replica = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (replica, listener.accept().unwrap().0)
}

#[test]
fn a_length_in_two_pieces_makes_the_originals_channel_take_payload_for_lengths_and_not_ours() {
    let short = Duration::from_millis(20);
    let message = ack(1 << 16);

    let (mut replica, feeder) = connected();
    let channel = TcpChannel::new(feeder);
    replica.write_all(&message[..2]).unwrap();
    assert_eq!(channel.receive(short).unwrap(), None);
    replica.write_all(&message[2..]).unwrap();
    replica.shutdown(Shutdown::Write).unwrap();
    // One message of eight bytes was sent. The first two are gone, and of the rest every length is made of others.
    assert_eq!(channel.receive(PATIENCE).unwrap(), Some(vec![]));
    assert_eq!(channel.receive(PATIENCE).unwrap(), Some(vec![0]));
    assert!(channel.receive(PATIENCE).is_err());

    let (mut replica, feeder) = connected();
    let options = Options::default().socket();
    options.prepare(feeder.as_fd()).unwrap();
    let channel = SocketChannel::new(OwnedFd::from(feeder), options);
    let mut into = [0; 64];
    replica.write_all(&message[..2]).unwrap();
    assert_eq!(channel.receive(&mut into, Some(Instant::now() + short)).unwrap(), Received::Again);
    replica.write_all(&message[2..]).unwrap();
    replica.shutdown(Shutdown::Write).unwrap();
    assert_eq!(channel.receive(&mut into, Some(Instant::now() + PATIENCE)).unwrap(), Received::Message(8));
    assert_eq!(into[..8], message[4..]);
    assert_eq!(channel.receive(&mut into, Some(Instant::now() + PATIENCE)).unwrap(), Received::Closed);
}

/// A log with nothing in it, which tells of each look.
struct EmptyLog(Sender<()>);

impl LogScanner for EmptyLog {
    fn next_entry(&mut self, _: u64) -> Option<(u64, u8, Vec<u8>)> {
        // At the end of the test nobody listens any more.
        let _ = self.0.send(());
        None
    }
}

/// Returns when the original, which reads one message between two looks, has tried to since the call.
fn wait_for_a_receive(looks: &Receiver<()>) {
    while looks.try_recv().is_ok() {}
    for _ in 0..2 {
        looks.recv_timeout(PATIENCE).expect("it looks again and again");
    }
}

/// From there on the original is deaf: it waits for the 458 752 bytes that it takes the ack's VLSN to announce, for 30 s
/// each time, and sends nothing meanwhile. Here the replica closes, so that the test need not wait.
#[test]
fn an_ack_whose_length_arrives_in_two_pieces_is_lost_to_the_original_with_all_that_follow_and_not_to_ours() {
    let (second, third) = (ack(7), ack(8));
    let begin = [ack(3).as_slice(), &second[..2]].concat();

    let (mut replica, feeder) = connected();
    let acks = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&acks);
    let (look, looks) = mpsc::channel();
    let run = thread::spawn(move || {
        let sink = Arc::new(move |_: &str, vlsn| sink.lock().unwrap().push(vlsn));
        let channel = Arc::new(TcpChannel::new(feeder));
        FeederRunner::new_with_ack_sink(channel, 1, "replica".into(), sink).run(&mut EmptyLog(look))
    });
    replica.write_all(&begin).unwrap();
    until("the first ack", || (*acks.lock().unwrap() == [3]).then_some(()));
    wait_for_a_receive(&looks);
    replica.write_all(&[&second[2..], &third].concat()).unwrap();
    replica.shutdown(Shutdown::Write).unwrap();
    let ended = run.join().unwrap();
    assert!(ended.unwrap_err().to_string().contains("failed to fill whole buffer"));
    assert_eq!(*acks.lock().unwrap(), [3]);

    let scratch = Scratch::new();
    scratch.must("make-log --dir @log --entries 10");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let feeder = ours(&scratch, &listener.local_addr().unwrap().to_string(), 1);
    let (mut replica, _) = listener.accept().unwrap();
    until("all is sent", || (feeder.runner.snapshot().sent_vlsn == 10).then_some(()));
    replica.write_all(&begin).unwrap();
    // What came in one piece is read in one: now it has the half length, too.
    feeder.wait_acked(3);
    replica.write_all(&second[2..]).unwrap();
    feeder.wait_acked(7);
    replica.write_all(&third).unwrap();
    feeder.wait_acked(8);
    drop(replica);
    feeder.stop();
}
