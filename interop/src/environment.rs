//! A live 7.11.2 environment, with the one database that records belong to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use noxu_dbi::{CursorImpl, DatabaseConfig, DbiEnvConfig, EnvironmentImpl, GetMode, OperationStatus};

use crate::{Error, Result};

/// Its name.
const DATABASE: &str = "replicated";

/// A live environment that leaves its log to others: no cleaner, no checkpoints but the closing one.
pub fn open_environment(dir: &Path, file_max: u64) -> Result<Arc<EnvironmentImpl>> {
    let config = DbiEnvConfig {
        transactional: true,
        log_file_max_bytes: file_max,
        run_cleaner: false,
        run_checkpointer: false,
        free_disk: 0,
        ..DbiEnvConfig::default()
    };
    let environment = EnvironmentImpl::from_dbi_config(dir, &config).map_err(|e| Error::at(dir, e))?;
    // The first database of an environment has the id that made records carry.
    environment.open_database(DATABASE, &database_config()).map_err(|e| Error::at(dir, e))?;
    Ok(Arc::new(environment))
}

/// What the keys of its database hold.
pub fn records(environment: &EnvironmentImpl) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let database = environment.open_database(DATABASE, &database_config()).map_err(Error::new)?;
    let log = environment.get_log_manager().ok_or_else(|| Error::new("the environment has no log"))?;
    let mut cursor = CursorImpl::with_log_manager(database, 0, log);
    let mut records = BTreeMap::new();
    let mut status = cursor.get_first().map_err(Error::new)?;
    while status == OperationStatus::Success {
        let (key, data) = cursor.get_current().map_err(Error::new)?;
        records.insert(key, data.to_vec());
        status = cursor.retrieve_next(GetMode::Next).map_err(Error::new)?;
    }
    cursor.close().map_err(Error::new)?;
    Ok(records)
}

fn database_config() -> DatabaseConfig {
    let mut config = DatabaseConfig::new();
    config.set_allow_create(true).set_transactional(true);
    config
}
