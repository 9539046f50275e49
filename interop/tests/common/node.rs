//! A real 7.11.2 node, and the real client that restores one.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use noxu_dbi::EnvironmentImpl;
use noxu_feeder_interop::environment::open_environment;
use noxu_rep::{NetworkRestore, NetworkRestoreConfig, NodeType, RepConfig, RepNode, ReplicatedEnvironment};

/// The name by which nodes know their master.
pub(crate) const MASTER: &str = "the-feeder";

/// A node, with an environment of its own.
pub(crate) struct Node {
    pub(crate) environment: Arc<EnvironmentImpl>,
    pub(crate) replication: Arc<ReplicatedEnvironment>,
}

impl Node {
    /// One that knows its master's address, and does nothing yet.
    pub(crate) fn open(dir: &Path, name: &str, master: SocketAddr) -> Node {
        std::fs::create_dir_all(dir).unwrap();
        let environment = open_environment(dir, 1 << 20).unwrap();
        let config = RepConfig::builder("group", name, "127.0.0.1").node_port(0).insecure_no_auth(true).build();
        let replication = Arc::new(ReplicatedEnvironment::new(config).unwrap());
        replication.init_self_weak();
        replication.with_environment(Arc::clone(&environment));
        let (host, port) = (master.ip().to_string(), master.port());
        replication.add_peer(RepNode::new(MASTER.to_owned(), NodeType::Electable, host, port, 99)).unwrap();
        Node { environment, replication }
    }

    /// Has it dial its master.
    pub(crate) fn join(&self) {
        self.replication.become_replica(MASTER).unwrap();
    }

    pub(crate) fn close(self) {
        self.replication.close().unwrap();
        self.environment.close().unwrap();
    }
}

/// The real client of RESTORE, which is to fetch all files into a new directory.
pub(crate) fn restore(from: SocketAddr, into: &Path) -> NetworkRestore {
    std::fs::create_dir(into).unwrap();
    let config = NetworkRestoreConfig {
        source_node: MASTER.to_owned(),
        source_host: from.ip().to_string(),
        source_port: from.port(),
        retain_log_files: false,
    };
    NetworkRestore::new(config).with_local_dir(into)
}
