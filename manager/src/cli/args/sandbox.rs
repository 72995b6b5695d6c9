//! `sandbox` and its verbs, and the arguments of `ns`.

use super::{IdsArgs, RmArgs};
use crate::cli::parse::{Label, LabelSelector, Shares, shares};
use clap::{Args, Subcommand};

/// `sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SandboxCommand,
}

/// The verbs of `sandbox`.
#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// Make a sandbox and print its id
    Create(SandboxCreateArgs),
    /// List sandboxes
    Ls(SandboxLsArgs),
    /// Print all that is known of sandboxes as a JSON array
    Inspect(IdsArgs),
    /// Remove sandboxes; with --force, their containers as well
    Rm(RmArgs),
}

/// `sandbox create`.
#[derive(Debug, Args)]
pub struct SandboxCreateArgs {
    /// Id of the sandbox; one is made up when there is none
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Attach a label
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<Label>,
    /// Host name inside [default: its id]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// What its containers share: some of network, ipc, uts, user, pid, with commas between
    #[arg(long, value_name = "LIST", value_parser = shares, default_value = "network,ipc,uts,user")]
    pub share: Shares,
}

/// `sandbox ls`.
#[derive(Debug, Args)]
pub struct SandboxLsArgs {
    /// Only those with a label; without a value, with any. Can be given more than once
    #[arg(short = 'F', long = "filter", value_name = "label=KEY[=VALUE]")]
    pub filters: Vec<LabelSelector>,
    /// Print ids only
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

/// `ns`.
#[derive(Debug, Args)]
pub struct NsArgs {
    /// Id of a container or a sandbox; without one, all of them
    pub id: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print a graph of all for Graphviz: `sextant ns --dot | dot -Tpng`
    #[arg(long, conflicts_with_all = ["id", "json", "svg"])]
    pub dot: bool,
    /// Print a picture of all as SVG
    #[arg(long, conflicts_with_all = ["id", "json"])]
    pub svg: bool,
}
