//! Writes what each target begins with into a folder: `write-seeds FOLDER` makes `FOLDER/TARGET/SEED`.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| std::io::Error::other("usage: write-seeds FOLDER"))?;
    for target in pocket_fuzz::TARGETS {
        let folder = folder.join(target.name);
        std::fs::create_dir_all(&folder)?;
        let seeds = pocket_fuzz::seeds::of(target.name);
        let regressions = pocket_fuzz::seeds::regressions(target.name);
        for (name, bytes) in seeds.into_iter().chain(regressions) {
            std::fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}
