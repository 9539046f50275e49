//! Writes what cargo builds for into the folder NOXU_FEEDER_PROBE, as a file named after the target that holds the
//! machine's own target and the folder of the target's standard library, a line each.

use std::path::Path;
use std::process::Command;

fn main() {
    // Never there, so that this runs each time.
    println!("cargo:rerun-if-changed=never");
    let [out, target, host, rustc] =
        ["NOXU_FEEDER_PROBE", "TARGET", "HOST", "RUSTC"].map(|name| std::env::var(name).expect(name));
    let libdir = Command::new(rustc).args(["--print", "target-libdir", "--target", &target]).output().expect("rustc");
    let libdir = String::from_utf8(libdir.stdout).expect("a path in UTF-8");
    std::fs::write(Path::new(&out).join(target), format!("{host}\n{libdir}")).expect("an answer");
}
