use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("services.bin");
    // What this service publishes.
    let files = outbox_build::Config::new("../proto").descriptor_set(&descriptors).compile()?;
    // What it serves.
    connectrpc_build::Config::new()
        .descriptor_set(descriptors)
        .files(&files)
        .include_file("services.rs")
        .emit_rerun_directives(false)
        .compile()?;
    Ok(())
}
