//! A CRI endpoint, such as containerd's. A container has a pod of its own, in the network of the host, so
//! that nothing depends on CNI plugins.

use super::{Doing, Ended, Facts, Fault, Target, Verb, Wish};
use sextant_proto::stress_cri::runtime_service_client::RuntimeServiceClient;
use sextant_proto::stress_cri::{
    ContainerConfig, ContainerFilter, ContainerMetadata, ContainerState, ContainerStatusRequest,
    CreateContainerRequest, ExecSyncRequest, ImageSpec, LinuxContainerConfig, LinuxContainerSecurityContext,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, ListContainerStatsRequest, ListContainersRequest,
    ListPodSandboxRequest, NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxFilter,
    PodSandboxMetadata, RemoveContainerRequest, RemovePodSandboxRequest, RunPodSandboxRequest,
    StartContainerRequest, StopContainerRequest, StopPodSandboxRequest, VersionRequest,
};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

const LABEL: &str = "sextant.stress";
/// CRI has no call that waits for a container's end: its state is asked for, ever less often.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_millis(50);
/// Largest answer: a list of ten thousand containers fits in it.
const MAX_ANSWER: usize = 64 << 20;

/// What the endpoint calls something of ours.
#[derive(Clone, Debug, Default)]
struct Known {
    pod: String,
    container: String,
    /// The pod is somebody else's, with several containers.
    shared: bool,
    stages: Vec<(String, Duration)>,
}

/// The endpoint.
#[derive(Debug)]
pub(crate) struct Cri {
    client: RuntimeServiceClient<Channel>,
    address: String,
    image: String,
    run: String,
    known: Mutex<HashMap<String, Known>>,
}

impl Cri {
    /// Connects to `address`, a `unix:` one.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn connect(address: &str, image: &str, run: &str) -> Result<Self, String> {
        let path = address.strip_prefix("unix:").unwrap_or(address);
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') {
            return Err(format!("--cri {address}: it is unix:///PATH"));
        }
        let failed = |e: tonic::transport::Error| format!("--cri {address}: {}", innermost(&e));
        let endpoint = Endpoint::from_shared(format!("unix:{path}")).map_err(failed)?;
        let channel = endpoint.connect().await.map_err(failed)?;
        let client = RuntimeServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        let known = Mutex::default();
        Ok(Self { client, address: path.into(), image: image.into(), run: run.into(), known })
    }

    fn labels(&self) -> HashMap<String, String> {
        HashMap::from([(LABEL.to_owned(), self.run.clone())])
    }

    fn known(&self, id: &str) -> Result<Known, Fault> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        known.ok_or_else(|| Fault::new("NOT_FOUND", format!("there is no {id}")))
    }

    fn remember(&self, id: &str, known: Known) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), known);
    }

    fn forget(&self, id: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn pod_config(&self, name: &str) -> PodSandboxConfig {
        let metadata = PodSandboxMetadata {
            name: name.to_owned(),
            uid: name.to_owned(),
            namespace: "stress".into(),
            attempt: 0,
        };
        let security = LinuxSandboxSecurityContext { namespace_options: Some(namespaces()) };
        PodSandboxConfig {
            metadata: Some(metadata),
            labels: self.labels(),
            linux: Some(LinuxPodSandboxConfig { security_context: Some(security) }),
        }
    }

    async fn run_pod(&self, name: &str) -> Result<String, Fault> {
        let config = Some(self.pod_config(name));
        let request = RunPodSandboxRequest { config, ..Default::default() };
        Ok(self.client.clone().run_pod_sandbox(request).await.map_err(fault)?.into_inner().pod_sandbox_id)
    }

    async fn remove_pod(&self, pod_sandbox_id: &str) -> Result<(), Fault> {
        let mut client = self.client.clone();
        let request = StopPodSandboxRequest { pod_sandbox_id: pod_sandbox_id.to_owned() };
        client.stop_pod_sandbox(request).await.map_err(fault)?;
        let request = RemovePodSandboxRequest { pod_sandbox_id: pod_sandbox_id.to_owned() };
        client.remove_pod_sandbox(request).await.map(drop).map_err(fault)
    }

    /// `pod` is that which it joins; else it gets one of its own.
    async fn make(&self, wish: &Wish) -> Result<(), Fault> {
        let begun = Instant::now();
        let (pod, config, shared) = match &wish.sandbox {
            Some(sandbox) => (self.known(sandbox)?.pod, self.pod_config(sandbox), true),
            None => (self.run_pod(&wish.id).await?, self.pod_config(&wish.id), false),
        };
        let (run_pod, begun) = (begun.elapsed(), Instant::now());
        // Known before its container is, so that it is removed when that fails.
        let mut known = Known { pod: pod.clone(), shared, ..Known::default() };
        self.remember(&wish.id, known.clone());
        let security = LinuxContainerSecurityContext { namespace_options: Some(namespaces()) };
        let container = ContainerConfig {
            metadata: Some(ContainerMetadata { name: wish.id.clone(), attempt: 0 }),
            image: Some(ImageSpec { image: self.image.clone() }),
            command: wish.command.clone(),
            labels: self.labels(),
            linux: Some(LinuxContainerConfig { security_context: Some(security) }),
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.clone(),
            config: Some(container),
            sandbox_config: Some(config),
        };
        let made = match self.client.clone().create_container(request).await {
            Ok(made) => made.into_inner(),
            Err(status) => {
                if !shared {
                    drop(self.remove_pod(&pod).await);
                }
                self.forget(&wish.id);
                return Err(fault(status));
            }
        };
        known.container = made.container_id;
        known.stages = vec![("create/CreateContainer".into(), begun.elapsed())];
        if !shared {
            known.stages.push(("create/RunPodSandbox".into(), run_pod));
        }
        self.remember(&wish.id, known);
        Ok(())
    }

    async fn stop(&self, container_id: &str) -> Result<(), Fault> {
        let request = StopContainerRequest { container_id: container_id.to_owned(), timeout: 0 };
        self.client.clone().stop_container(request).await.map(drop).map_err(fault)
    }
}

/// What is at the bottom of an error: tonic's own words say only that something failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

fn namespaces() -> NamespaceOption {
    NamespaceOption {
        network: NamespaceMode::Node.into(),
        pid: NamespaceMode::Container.into(),
        ipc: NamespaceMode::Pod.into(),
    }
}

fn fault(status: Status) -> Fault {
    Fault::new(format!("{:?}", status.code()), status.message())
}

impl Target for Cri {
    fn facts(&self) -> Doing<'_, Facts> {
        Box::pin(async {
            let told =
                self.client.clone().version(VersionRequest::default()).await.map_err(fault)?.into_inner();
            // Who listens is asked of the kernel.
            let socket = tokio::net::UnixStream::connect(&self.address).await;
            let manager = socket.ok().and_then(|socket| socket.peer_cred().ok()).and_then(|peer| peer.pid());
            Ok(Facts {
                kind: "cri",
                version: format!("{} {}", told.runtime_name, told.runtime_version),
                address: format!("unix:{}", self.address),
                manager,
                fault_plan: None,
                directories: Vec::new(),
                remarks: vec![
                    "each container in a pod of its own, in the network of the host".into(),
                    "the end of a container is asked for again and again: CRI has no call that waits".into(),
                ],
            })
        })
    }

    fn lacks(&self, verb: Verb) -> Option<String> {
        match verb {
            Verb::Life | Verb::Exec | Verb::List | Verb::Stats | Verb::Sandbox => None,
            Verb::Logs => Some("CRI has no call that reads a log".into()),
            Verb::Attach => Some("CRI attaches through a second server, which is not spoken to".into()),
            Verb::Limits => Some("CRI has no limit of processes".into()),
        }
    }

    fn create<'a>(&'a self, wish: &'a Wish) -> Doing<'a, ()> {
        Box::pin(self.make(wish))
    }

    fn start<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        Box::pin(async {
            let request = StartContainerRequest { container_id: self.known(id)?.container };
            self.client.clone().start_container(request).await.map(drop).map_err(fault)
        })
    }

    fn wait<'a>(&'a self, id: &'a str) -> Doing<'a, Ended> {
        Box::pin(async {
            let container_id = self.known(id)?.container;
            let mut pause = FIRST_LOOK;
            loop {
                let request = ContainerStatusRequest { container_id: container_id.clone() };
                let answer = self.client.clone().container_status(request).await.map_err(fault)?.into_inner();
                let status = answer.status.unwrap_or_default();
                match status.state() {
                    ContainerState::ContainerExited => return Ok(Ended::Code(status.exit_code)),
                    ContainerState::ContainerUnknown => return Ok(Ended::Unknown),
                    ContainerState::ContainerCreated | ContainerState::ContainerRunning => {}
                }
                sleep(pause).await;
                pause = (pause * 2).min(LAST_LOOK);
            }
        })
    }

    fn kill<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        Box::pin(async { self.stop(&self.known(id)?.container).await })
    }

    fn delete<'a>(&'a self, id: &'a str, force: bool) -> Doing<'a, ()> {
        Box::pin(async move {
            let known = self.known(id)?;
            if force {
                self.stop(&known.container).await?;
            }
            let request = RemoveContainerRequest { container_id: known.container };
            self.client.clone().remove_container(request).await.map_err(fault)?;
            if !known.shared {
                self.remove_pod(&known.pod).await?;
            }
            self.forget(id);
            Ok(())
        })
    }

    fn ours(&self) -> Doing<'_, Vec<String>> {
        Box::pin(async {
            let mut client = self.client.clone();
            let filter = Some(ContainerFilter { label_selector: self.labels() });
            let containers = client.list_containers(ListContainersRequest { filter }).await.map_err(fault)?;
            let filter = Some(PodSandboxFilter { label_selector: self.labels() });
            let pods = client.list_pod_sandbox(ListPodSandboxRequest { filter }).await.map_err(fault)?;
            let containers = containers.into_inner().containers.into_iter().map(|container| container.id);
            Ok(containers.chain(pods.into_inner().items.into_iter().map(|pod| pod.id)).collect())
        })
    }

    fn exec<'a>(&'a self, id: &'a str, command: &'a [String]) -> Doing<'a, Ended> {
        Box::pin(async {
            let container_id = self.known(id)?.container;
            let request = ExecSyncRequest { container_id, cmd: command.to_vec(), timeout: 0 };
            let answer = self.client.clone().exec_sync(request).await.map_err(fault)?;
            Ok(Ended::Code(answer.into_inner().exit_code))
        })
    }

    fn list(&self) -> Doing<'_, usize> {
        Box::pin(async {
            let answer = self.client.clone().list_containers(ListContainersRequest::default()).await;
            Ok(answer.map_err(fault)?.into_inner().containers.len())
        })
    }

    fn stats(&self) -> Doing<'_, usize> {
        Box::pin(async {
            let answer = self.client.clone().list_container_stats(ListContainerStatsRequest {}).await;
            Ok(answer.map_err(fault)?.into_inner().stats.len())
        })
    }

    fn make_sandbox<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        Box::pin(async {
            let pod = self.run_pod(id).await?;
            self.remember(id, Known { pod, ..Known::default() });
            Ok(())
        })
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        Box::pin(async {
            let pod = self.known(id)?.pod;
            self.remove_pod(&pod).await?;
            // Its containers have gone with it.
            let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, known| known.pod != pod);
            Ok(())
        })
    }

    fn stages<'a>(&'a self, id: &'a str) -> Doing<'a, Vec<(String, Duration)>> {
        Box::pin(async { Ok(self.known(id)?.stages) })
    }

    fn marks(&self) -> Vec<String> {
        let all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = all.values().flat_map(|known| [known.pod.clone(), known.container.clone()]);
        ids.filter(|id| !id.is_empty()).collect()
    }

    fn clean(&self) -> Doing<'_, usize> {
        Box::pin(async {
            let mut client = self.client.clone();
            let filter = Some(PodSandboxFilter { label_selector: self.labels() });
            let pods = client.list_pod_sandbox(ListPodSandboxRequest { filter }).await.map_err(fault)?;
            let pods = pods.into_inner().items;
            for pod in &pods {
                self.remove_pod(&pod.id).await?;
            }
            self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
            Ok(pods.len())
        })
    }
}
