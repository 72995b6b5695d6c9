//! Making a sandbox: name, ids, intent, namespaces, init; and undoing it when a
//! step fails. The runtime makes the namespaces (`pin`), with the id maps and the
//! host name that its config says, as it makes those of containers.

use super::record::{Intent, Record};
use super::{Entry, Phase, dir, pause, remove};
use crate::engine::create::make_dir;
use crate::engine::error::Error;
use crate::engine::operations::Fingerprint;
use crate::engine::pins::{Holder, mount_shm};
use crate::engine::{Context, blocking};
use crate::faults::{self, Point};
use crate::model::NewSandbox;
use serde_json::{Value, json};
use sextant_runtime::contract::OCI_VERSION;
use sextant_runtime::plan::NamespaceKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// Makes the sandbox `id`; its name. `asked` is for whoever repeats the request with its key.
///
/// # Errors
/// As `Engine::create_sandbox`.
pub(super) async fn create(
    context: Arc<Context>,
    id: String,
    new: NewSandbox,
    asked: Option<Fingerprint>,
) -> Result<String, Error> {
    let sandbox = begin(&context, &id, new, asked)?;
    let made = tokio::spawn(async move {
        let _changing = sandbox.changing.lock().await;
        match make(&context, &sandbox).await {
            Ok(()) => {
                sandbox.lock().phase = Phase::Kept;
                tracing::info!(sandbox = sandbox.id, "created");
                Ok(())
            }
            Err(error) => {
                tracing::info!(sandbox = sandbox.id, error = error.chain(), "not created");
                sandbox.lock().phase = Phase::Deleting(None);
                if let Err(why) = remove::everything(&context, &sandbox).await {
                    tracing::error!(
                        sandbox = sandbox.id,
                        error = why.chain(),
                        "a failed creation cannot be undone"
                    );
                    sandbox.lock().phase = Phase::Deleting(Some(why.chain()));
                }
                Err(error)
            }
        }
    });
    made.await.map_err(|_| Error::Stopping)?.map(|()| id)
}

/// Takes the name and the ids.
fn begin(
    context: &Arc<Context>,
    id: &str,
    new: NewSandbox,
    asked: Option<Fingerprint>,
) -> Result<Arc<Entry>, Error> {
    context.directory.reserve_sandbox(id)?;
    let lease = match new.shared.user.then(|| context.ranges.lease()).transpose() {
        Ok(lease) => lease,
        Err(error) => {
            context.directory.release_sandbox(id);
            return Err(error);
        }
    };
    let hostname = match new.shared.uts {
        true if new.hostname.is_empty() => id.to_owned(),
        true => new.hostname,
        false => String::new(),
    };
    let record = Record {
        id: id.into(),
        intent: Intent::Create,
        labels: new.labels,
        hostname,
        shared: new.shared,
        created_at: SystemTime::now(),
        ids: lease.as_ref().map(|lease| lease.range()),
        key: new.key,
        asked,
    };
    let sandbox = Entry::new(record, Phase::Creating, lease.into_iter().collect());
    context.sandboxes.insert(&sandbox);
    Ok(sandbox)
}

/// Every step behind the taken name.
async fn make(context: &Arc<Context>, sandbox: &Arc<Entry>) -> Result<(), Error> {
    let record = sandbox.record();
    let place = {
        let (context, record) = (Arc::clone(context), record.clone());
        blocking(move || prepare(&context, &record)).await?
    };
    let attempted = || format!("make sandbox {:?}", record.id);
    faults::pass(Point::SandboxMake).await.map_err(|e| Error::io(attempted())(e))?;
    if record.shared.kinds().any(|kind| kind != NamespaceKind::Pid) {
        context.runtime.pin(&record.id, &dir(context, &record.id), &place).await?;
    }
    if record.shared.ipc {
        let (place, owner) = (place.clone(), record.ids.map_or(0, |ids| ids.host_id));
        blocking(move || mount_shm(&place, owner)).await?;
    }
    if record.shared.pid {
        pause::start(context, &record, &place).await?;
    }
    let (dir, record) = (dir(context, &record.id), Record { intent: Intent::Keep, ..record });
    sandbox.lock().record = record.clone();
    blocking(move || record.write(&dir)).await
}

/// The record, then the rest that is on disk; the directory of the pins.
fn prepare(context: &Context, record: &Record) -> Result<PathBuf, Error> {
    let dir = dir(context, &record.id);
    make_dir(&dir)?;
    record.write(&dir)?;
    let config = dir.join("config.json");
    std::fs::write(&config, config_of(record).to_string())
        .map_err(Error::io(format!("write {}", config.display())))?;
    context.pins.prepare(Holder::Sandbox, &record.id)
}

/// What the runtime is to pin.
fn config_of(record: &Record) -> Value {
    let kinds = record.shared.kinds().filter(|kind| *kind != NamespaceKind::Pid);
    let namespaces: Vec<Value> = kinds.map(|kind| json!({ "type": kind.name() })).collect();
    let mut config = json!({ "ociVersion": OCI_VERSION, "linux": { "namespaces": namespaces } });
    if !record.hostname.is_empty() {
        config["hostname"] = record.hostname.clone().into();
    }
    if let Some(ids) = record.ids {
        let map = json!([{ "containerID": 0, "hostID": ids.host_id, "size": ids.size }]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IdRange;
    use crate::placement::Shared;
    use std::collections::BTreeMap;

    #[test]
    fn a_config_names_what_is_shared_but_the_pid_namespace() {
        let mut record = Record {
            id: "a".into(),
            intent: Intent::Create,
            labels: BTreeMap::new(),
            hostname: "h".into(),
            shared: Shared { pid: true, ipc: false, ..Shared::default() },
            created_at: SystemTime::UNIX_EPOCH,
            ids: Some(IdRange { host_id: 70, size: 10 }),
            key: None,
            asked: None,
        };
        let config = config_of(&record);
        let types = json!([{ "type": "user" }, { "type": "network" }, { "type": "uts" }]);
        assert_eq!((&config["linux"]["namespaces"], &config["hostname"]), (&types, &json!("h")));
        assert_eq!(config["linux"]["gidMappings"][0]["hostID"], 70);
        (record.ids, record.hostname) = (None, String::new());
        let config = config_of(&record);
        assert!(config.get("hostname").is_none() && config["linux"].get("uidMappings").is_none());
    }
}
