//! What is run: a root directory, or an OCI bundle, of which variants are made with the command and the
//! limits that a scenario needs.

use super::{Fault, Wish};
use serde_json::{Value, json};
use sextant_runtime::plan::default::isolated_spec;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// What was given on the command line.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Rootfs(PathBuf),
    Bundle(PathBuf),
}

impl Source {
    /// The root directory, as an absolute path.
    ///
    /// # Errors
    /// A sentence: when a config.json cannot be read, or names no root.
    pub(crate) fn rootfs(&self) -> Result<PathBuf, String> {
        let absolute = |path: &Path| std::path::absolute(path).map_err(|e| e.to_string());
        match self {
            Self::Rootfs(rootfs) => absolute(rootfs),
            Self::Bundle(bundle) => {
                let config = read(bundle)?;
                let path = config.pointer("/root/path").and_then(Value::as_str);
                let path = path.ok_or_else(|| format!("{}: /root/path: there is none", bundle.display()))?;
                absolute(&bundle.join(path))
            }
        }
    }
}

fn read(bundle: &Path) -> Result<Value, String> {
    let file = bundle.join("config.json");
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))
}

/// Bundles in a directory of their own, one for each command and limit; they go with it.
#[derive(Debug)]
pub(crate) struct Bundles {
    dir: TempDir,
    base: Value,
    made: Mutex<BTreeMap<String, PathBuf>>,
}

impl Bundles {
    /// Bundles like `source`: of a root directory, with all namespaces but a user namespace, which not every
    /// runtime can give to a root directory of the host's.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn new(source: &Source) -> Result<Self, String> {
        let mut base = match source {
            Source::Bundle(bundle) => read(bundle)?,
            Source::Rootfs(_) => plain()?,
        };
        base["root"]["path"] = json!(source.rootfs()?);
        base["process"]["terminal"] = json!(false);
        if let Some(linux) = base["linux"].as_object_mut() {
            // Containers that run at once are not to be in one cgroup.
            linux.remove("cgroupsPath");
        }
        let dir = tempfile::Builder::new().prefix("sextant-stress-").tempdir();
        let dir = dir.map_err(|e| format!("make a directory for bundles: {e}"))?;
        Ok(Self { dir, base, made: Mutex::default() })
    }

    /// The directory that bundles are in.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The bundle for `wish`, made at the first time.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn of(&self, wish: &Wish) -> Result<PathBuf, Fault> {
        let key = format!("{:?} {} {}", wish.command, wish.memory, wish.pids);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bundle) = made.get(&key) {
            return Ok(bundle.clone());
        }
        let bundle = self.dir.path().join(format!("bundle-{}", made.len()));
        self.write(&bundle, wish).map_err(|e| Fault::new("BUNDLE", format!("write a bundle: {e}")))?;
        made.insert(key, bundle.clone());
        Ok(bundle)
    }

    fn write(&self, bundle: &Path, wish: &Wish) -> std::io::Result<()> {
        let mut config = self.base.clone();
        if !wish.command.is_empty() {
            config["process"]["args"] = json!(wish.command);
        }
        if wish.memory > 0 {
            config["linux"]["resources"]["memory"]["limit"] = json!(wish.memory);
        }
        if wish.pids > 0 {
            config["linux"]["resources"]["pids"]["limit"] = json!(wish.pids);
        }
        std::fs::create_dir(bundle)?;
        std::fs::write(bundle.join("config.json"), serde_json::to_vec(&config)?)
    }
}

/// The default config of our runtime, without a user namespace.
fn plain() -> Result<Value, String> {
    let mut config = serde_json::to_value(isolated_spec(0, 1)).map_err(|e| e.to_string())?;
    if let Some(linux) = config["linux"].as_object_mut() {
        linux.remove("uidMappings");
        linux.remove("gidMappings");
        if let Some(namespaces) = linux.get_mut("namespaces").and_then(Value::as_array_mut) {
            namespaces.retain(|namespace| namespace["type"] != "user");
        }
    }
    config["hostname"] = json!("stress");
    config["process"]["cwd"] = json!("/");
    config["process"]["env"] = json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_made_once_for_each_command_and_limit() {
        let bundles = Bundles::new(&Source::Rootfs("/srv/root".into())).unwrap();
        let wish = |command: &str, memory| Wish { command: vec![command.into()], memory, ..Wish::default() };
        let first = bundles.of(&wish("/bin/true", 0)).unwrap();
        assert_eq!(bundles.of(&wish("/bin/true", 0)).unwrap(), first);
        let limited = bundles.of(&wish("/bin/true", 7)).unwrap();
        assert_ne!(limited, first);
        let config = read(&limited).unwrap();
        assert_eq!(config["linux"]["resources"]["memory"]["limit"], 7);
        assert_eq!(
            (&config["root"]["path"], &config["process"]["args"][0]),
            (&json!("/srv/root"), &json!("/bin/true"))
        );
        let namespaces = config["linux"]["namespaces"].as_array().unwrap();
        assert!(namespaces.len() >= 5 && namespaces.iter().all(|ns| ns["type"] != "user"));
    }

    #[test]
    fn a_bundle_of_the_users_keeps_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let config = json!({"root": {"path": "r"}, "process": {"args": ["a"], "terminal": true},
                            "linux": {"cgroupsPath": "/x", "seccomp": 1}});
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let source = Source::Bundle(dir.path().to_owned());
        let bundle = Bundles::new(&source).unwrap();
        let made = read(&bundle.of(&Wish::default()).unwrap()).unwrap();
        assert_eq!(made["root"]["path"], json!(dir.path().join("r")));
        assert_eq!((&made["process"]["args"][0], &made["process"]["terminal"]), (&json!("a"), &json!(false)));
        assert_eq!(made["linux"], json!({"seccomp": 1}));
    }
}
