//! Generates the wire types from `proto/`, with protox in place of `protoc`.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "proto/sextant/shim/v1/shim.proto",
        "proto/sextant/v1/exec.proto",
        "proto/sextant/v1/sandbox.proto",
        "proto/sextant/v1/sextant.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    if std::env::var_os("CARGO_FEATURE_CLIENT").is_some() {
        // By itself: it is no part of what the daemon serves and its reflection lists.
        let cri = "proto/stress/cri.proto";
        println!("cargo:rerun-if-changed={cri}");
        let dir = out.join("stress");
        std::fs::create_dir_all(&dir)?;
        let client = tonic_prost_build::configure().build_server(false).out_dir(dir);
        client.compile_fds(protox::compile([cri], ["proto"])?)?;
    }
    Ok(())
}
