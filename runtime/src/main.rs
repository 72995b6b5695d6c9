//! sextant-runtime: creates and runs containers from OCI bundles. Main seals the
//! program, parses, closes what it must not inherit, and calls one command.

#![no_main]

use sextant_runtime::cgroup::Driver;
use sextant_runtime::cli::{self, Cli, Command, Global};
use sextant_runtime::commands::{self, Context};
use sextant_runtime::contract::{EXIT_EXEC_FAILURE, EXIT_FAILURE, ExitCode, OCI_VERSION};
use sextant_runtime::pass::Passed;
use sextant_runtime::report::{Attempt, Outcome, Reporter, refuse};
use sextant_runtime::seal::Mount;
use sextant_runtime::{faults, log, seal, sys};
use std::io::Write;
use std::path::PathBuf;

sextant_runtime::entry!(story);

fn story() -> ExitCode {
    // Ahead of the parser: where the program has to be executed once more, what came before is done twice.
    let sealed = match seal::ensure_for(std::env::args_os()) {
        Ok(sealed) => sealed,
        Err(failure) => {
            log::error(&failure);
            return ExitCode::from(EXIT_FAILURE);
        }
    };
    let cli = match cli::parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::from(EXIT_FAILURE) } else { ExitCode::SUCCESS };
            // A closed stderr leaves nobody to tell.
            drop(error.print().and_then(|()| std::io::stdout().flush()));
            return code;
        }
    };
    let failed = if matches!(cli.command, Some(Command::Exec(_))) { EXIT_EXEC_FAILURE } else { EXIT_FAILURE };
    run(cli, sealed).unwrap_or_else(|failure| {
        log::error(&failure);
        ExitCode::from(failed)
    })
}

fn run(cli: Cli, sealed: Option<Mount>) -> Outcome<ExitCode> {
    let command = match cli.command {
        _ if cli.global.version => {
            return version();
        }
        None => return Err(refuse("run a command", "none was given; see --help")),
        Some(command) => command,
    };
    faults::read_plan()?;
    close_inherited(&cli.global, &command, sealed.as_ref())?;
    let context = context(cli.global, sealed)?;
    match &command {
        Command::Create(args) => commands::create::run(&context, args),
        Command::Start(args) => commands::start::run(&context, &args.id),
        Command::Run(args) => commands::run::run(&context, args),
        Command::Exec(args) => commands::exec::run(&context, args),
        Command::State(args) => commands::state::run(&context, &args.id),
        Command::Kill(args) => commands::kill::run(&context, args),
        Command::Delete(args) => commands::delete::run(&context, args),
        Command::Pause(args) => commands::pause::run(&context, &args.id),
        Command::Resume(args) => commands::resume::run(&context, &args.id),
        Command::Ps(args) => commands::ps::run(&context, args),
        Command::Update(args) => commands::update::run(&context, args),
        Command::Events(args) => commands::events::run(&context, args),
        Command::Checkpoint(args) => commands::checkpoint::run(&context, args),
        Command::Restore(args) => commands::restore::run(&context, args),
        Command::List(args) => commands::list::run(&context, args),
        Command::Spec(args) => commands::spec::run(&context, args),
        Command::Features(args) => commands::features::run(&context, args),
        Command::Explain(args) => commands::explain::run(&context, args),
        Command::Pin(args) => commands::pin::run(&context, args),
        Command::Unpin(args) => commands::pin::unpin(&context, args),
    }
}

/// The lines that callers of runc parse: name and version first, then `commit:`, then `spec:`.
fn version() -> Outcome<ExitCode> {
    let commit =
        option_env!("SEXTANT_COMMIT").map(|commit| format!("commit: {commit}\n")).unwrap_or_default();
    commands::print(&format!(
        "sextant-runtime version {}\n{commit}spec: {OCI_VERSION}\n",
        env!("CARGO_PKG_VERSION")
    ))
}

/// What the caller left open is none of the container's business (rule R4).
fn close_inherited(global: &Global, command: &Command, sealed: Option<&Mount>) -> Outcome<()> {
    let passed = match command {
        Command::Create(args) => Passed::of(args.preserve_fds),
        Command::Run(args) => Passed::of(args.create.preserve_fds),
        Command::Exec(args) => Passed::of(args.preserve_fds),
        _ => Passed::default(),
    };
    let mut keep: Vec<i32> = passed.fds().collect();
    keep.extend(global.report_fd);
    keep.extend(sealed.map(Mount::raw));
    if let Command::Exec(args) = command {
        keep.extend(args.start_fd);
    }
    if let Command::Checkpoint(args) = command {
        keep.extend(args.status_fd);
    }
    sys::file::close_others(&keep).attempt(|| "close inherited descriptors".into())
}

fn context(global: Global, sealed: Option<Mount>) -> Outcome<Context> {
    let place = || global.log.as_deref().map_or_else(|| "stderr".into(), |path| path.display().to_string());
    log::init(
        global.log.as_deref(),
        global.log_format,
        if global.debug { log::Level::Debug } else { log::Level::Warning },
    )
    .attempt(|| format!("open the log {}", place()))?;
    let report = match global.report_fd {
        Some(fd) => Some(sys::file::adopt_fd(fd).attempt(|| format!("use --report-fd {fd}"))?),
        None => None,
    };
    let root = global.root.unwrap_or_else(default_root);
    log::debug(&format!("sextant-runtime {}, state in {}", env!("CARGO_PKG_VERSION"), root.display()));
    let may_lack = global.rootless.into();
    let driver = if global.systemd_cgroup { Driver::Systemd } else { Driver::Cgroupfs };
    let report = Reporter::new(report);
    Ok(Context { root, criu: global.criu, may_lack, driver, report, sealed: sealed.into() })
}

fn default_root() -> PathBuf {
    let user =
        std::env::var_os("XDG_RUNTIME_DIR").filter(|_| !sextant_runtime::namespaces::user::is_root_of_host());
    user.map_or_else(|| PathBuf::from("/run"), PathBuf::from).join("sextant-runtime")
}
