//! `exec`, `attach`, and what `run` and `create` say of stdio.

use super::super::detach::DetachKeys;
use super::super::parse::{self, EnvVar};
use clap::Args;
use std::time::Duration;

/// What the stdio of a process is to be.
#[derive(Clone, Copy, Debug, Args)]
pub struct StdioArgs {
    /// Keep its stdin open, and hand ours on to it
    #[arg(short, long)]
    pub interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
}

/// How we are attached to a process.
#[derive(Clone, Debug, Args)]
pub struct AttachedArgs {
    /// Keys that leave it running and end this command; none: ''
    #[arg(long, value_name = "KEYS", default_value = DetachKeys::DEFAULT)]
    pub detach_keys: DetachKeys,
    /// Hand signals on to a process that has no terminal
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub sig_proxy: bool,
}

/// `attach`.
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// Do not hand our stdin on
    #[arg(long)]
    pub no_stdin: bool,
    /// Begin with so many of the last bytes of output [default: all that are kept, up to 64 KiB]
    #[arg(long, value_name = "BYTES")]
    pub replay: Option<u64>,
    /// Attach to this exec instead of the container's own process
    #[arg(long, value_name = "EXEC")]
    pub exec: Option<String>,
    /// How.
    #[command(flatten)]
    pub attached: AttachedArgs,
    /// Id of the container
    pub id: String,
}

/// `exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// What its stdio is.
    #[command(flatten)]
    pub stdio: StdioArgs,
    /// Leave it running and print its id
    #[arg(short, long, conflicts_with = "interactive")]
    pub detach: bool,
    /// User and group, as numbers [default: those of the container's process]
    #[arg(short, long, value_name = "UID[:GID]")]
    pub user: Option<String>,
    /// One more group, as a number
    #[arg(long, value_name = "GID")]
    pub group_add: Vec<u32>,
    /// Working directory inside [default: that of the container's process]
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Set an environment variable; without a value, the one it has here
    #[arg(short, long = "env", value_name = "KEY[=VALUE]")]
    pub env: Vec<EnvVar>,
    /// Give it one more capability, such as NET_ADMIN
    #[arg(long, value_name = "CAP")]
    pub cap_add: Vec<String>,
    /// Kill it, and all that it has started, after this time
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
    pub timeout: Option<Duration>,
    /// How.
    #[command(flatten)]
    pub attached: AttachedArgs,
    /// Id of the container
    pub id: String,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}
