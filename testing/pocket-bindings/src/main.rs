//! `pocket-bindings MODULE DIRECTORY BUDGET`: makes the glue of a module that browsers download, and holds both against a
//! budget in bytes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pocket_bindings::{Purpose, Weight, bind, within};

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    match run(&given) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(given: &[String]) -> Result<(), String> {
    let [module, directory, budget] = given else {
        return Err("use: pocket-bindings MODULE DIRECTORY BUDGET".to_owned());
    };
    let budget = budget
        .parse()
        .map_err(|_| format!("{budget:?} is no number of bytes"))?;
    let (module, directory) = (Path::new(module), Path::new(directory));
    bind(module, directory, Purpose::Product)?;
    let stem = module.file_stem().unwrap_or_default().to_string_lossy();
    // The types of the module's bare exports help nobody.
    let _ = std::fs::remove_file(directory.join(format!("{stem}_bg.wasm.d.ts")));
    let weights = [format!("{stem}.js"), format!("{stem}_bg.wasm")]
        .iter()
        .map(|name| Ok(Weight::of(name, &read(&directory.join(name))?)))
        .collect::<Result<Vec<_>, String>>()?;
    for weight in &weights {
        println!("{weight}");
    }
    let all = within(budget, &weights)?;
    println!("{all}, of {budget}");
    Ok(())
}

fn read(file: &PathBuf) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}
