//! The real sender against the real receiver, and what the tool says when a stream goes wrong.

mod common;

use std::net::TcpStream;

use common::Scratch;

/// Feeds `@log` to a replica and gives what both said.
fn feed(scratch: &Scratch, replica: &str, feeder: &str) -> (common::Said, common::Said) {
    let (replica, address) = scratch.start_replica(replica);
    let fed = scratch.run(&format!("original-feed --dir @log --connect {address} {feeder}"));
    (fed, replica.finish())
}

#[test]
fn every_pair_of_generations_copies_a_log() {
    for (sender, receiver) in [(7, 7), (7, 6), (6, 7), (6, 6)] {
        let scratch = Scratch::new();
        scratch.must("make-log --dir @log --entries 2000 --payload 20..3000 --file-max 256K");
        let replica = format!("--expect-vlsn 2000 --version {receiver}");
        let (fed, held) = feed(&scratch, &replica, &format!("--version {sender}"));
        assert!(fed.ok && held.ok, "{sender} to {receiver}: {}{}", fed.err, held.err);
        assert!(fed.last_line().ends_with("acked=2000"), "{}", fed.out);
        assert_eq!(held.last_line(), "replica holds 2000 entries, last VLSN 2000");
        let equal = scratch.must("compare --master @log --replica @replica");
        assert_eq!(equal, "replica holds 2000 entries, equal");
    }
}

#[test]
fn a_live_environment_can_apply_what_is_made() {
    let scratch = Scratch::new();
    scratch.must("make-log --dir @log --entries 2000 --payload 100..500");
    let (fed, held) = feed(&scratch, "--expect-vlsn 2000 --apply", "");
    assert!(fed.ok && held.ok, "{}{}", fed.err, held.err);
    scratch.must("compare --master @log --replica @replica");
}

#[test]
fn a_6_2_0_replica_resumes() {
    let scratch = Scratch::new();
    scratch.must("make-log --dir @log --entries 1000 --payload 200");
    let (_, held) = feed(&scratch, "--version 6 --expect-vlsn 400", "");
    assert!(held.last_line().contains("last VLSN 4"), "{}{}", held.out, held.err);
    let last: u64 = held.last_line().rsplit(' ').next().unwrap().parse().unwrap();
    let (_, held) = feed(&scratch, "--version 6 --expect-vlsn 1000", &format!("--start-vlsn {}", last + 1));
    assert_eq!(held.last_line(), "replica holds 1000 entries, last VLSN 1000", "{}", held.err);
    scratch.must("compare --master @log --replica @replica");
}

#[test]
fn a_7_11_2_replica_takes_nothing_but_the_beginning() {
    let scratch = Scratch::new();
    scratch.must("make-log --dir @log --entries 100");
    let (_, held) = feed(&scratch, "--expect-vlsn 100", "--start-vlsn 10");
    assert!(!held.ok);
    assert!(held.err.contains("VLSN continuity violation"), "{}", held.err);
}

#[test]
fn a_blocking_replica_deadlocks_with_the_original_sender() {
    let scratch = Scratch::new();
    scratch.must("make-log --dir @log --entries 10000 --payload 3000");
    let replica = "--ack blocking --expect-vlsn 10000 --timeout-seconds 3";
    let (fed, held) = feed(&scratch, replica, "--timeout-seconds 20");
    assert!(!fed.ok && !held.ok, "{}{}", fed.out, held.out);
    assert!(held.err.contains("after --timeout-seconds 3"), "{}", held.err);
}

#[test]
fn acks_can_be_kept_back() {
    let scratch = Scratch::new();
    scratch.must("make-log --dir @log --entries 100");
    let (fed, held) = feed(&scratch, "--ack none --expect-vlsn 100", "");
    assert!(held.ok && fed.last_line().ends_with("acked=0"), "{}{}", fed.out, held.err);
}

#[test]
fn the_original_sender_stops_where_vlsns_are_out_of_order() {
    let scratch = Scratch::new();
    scratch.must("commit --dir @log --threads 4 --commits 80000");
    let (fed, held) = feed(&scratch, "--expect-vlsn 80000", "");
    assert!(!fed.ok && fed.err.contains("needs a network restore"), "{}", fed.err);
    assert!(!held.ok);
}

#[test]
fn a_feeder_that_closes_early_is_named() {
    let scratch = Scratch::new();
    let (replica, address) = scratch.start_replica("--expect-vlsn 5");
    drop(TcpStream::connect(address).unwrap());
    let held = replica.finish();
    assert!(!held.ok);
    assert_eq!(held.err, "nxf-interop: the feeder closed at VLSN 0, before 5\n");
}

#[test]
fn a_feeder_that_never_comes_ends_the_wait() {
    let scratch = Scratch::new();
    let (replica, _) = scratch.start_replica("--timeout-seconds 0");
    assert_eq!(replica.finish().err, "nxf-interop: no feeder connected in time\n");
}

#[test]
fn the_port_file_is_whole_when_it_is_there() {
    let scratch = Scratch::new();
    let (replica, address) = scratch.start_replica("--port-file @port");
    let port = std::fs::read_to_string(scratch.path("port")).unwrap();
    assert_eq!(format!("127.0.0.1:{}", port.trim()), address);
    drop(TcpStream::connect(address).unwrap());
    assert!(replica.finish().ok);
}
