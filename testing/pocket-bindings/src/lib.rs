#![doc = include_str!("../README.md")]

use std::fmt;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use wasm_bindgen_cli_support::Bindgen;

/// What the glue is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A browser downloads it: no names in the module, and types beside it.
    Product,
    /// Tests run it: a panic shows names.
    Tests,
}

/// Writes the glue of a module, and the module as it works with it, into a directory.
///
/// # Errors
/// What `wasm-bindgen` says, above all that the module has another version of it.
pub fn bind(module: &Path, directory: &Path, purpose: Purpose) -> Result<(), String> {
    let is_product = purpose == Purpose::Product;
    let mut bindgen = Bindgen::new();
    let made = bindgen.input_path(module).web(true).and_then(|bindgen| {
        bindgen
            .typescript(is_product)
            .remove_name_section(is_product)
            .remove_producers_section(is_product)
            // So that `init()` finds the module by itself, and bundlers see where it is.
            .omit_default_module_path(false)
            .generate(directory)
    });
    made.map_err(|error| format!("the glue of {} cannot be made: {error:#}", module.display()))?;
    if is_product {
        let stem = module.file_stem().unwrap_or_default().to_string_lossy();
        let glue = directory.join(format!("{stem}.js"));
        let failed = |error: std::io::Error| format!("cannot shorten {}: {error}", glue.display());
        let text = std::fs::read_to_string(&glue).map_err(failed)?;
        std::fs::write(&glue, without_comments(&text)).map_err(failed)?;
    }
    Ok(())
}

/// Glue without the comments that stand on lines of their own. Who reads them has the types beside it, where they are, too.
fn without_comments(glue: &str) -> String {
    let mut kept = String::with_capacity(glue.len());
    let mut is_comment = false;
    for line in glue.lines() {
        let text = line.trim();
        is_comment |= text.starts_with("/**");
        if !is_comment && !text.starts_with("//") {
            kept.push_str(line);
            kept.push('\n');
        }
        is_comment &= !text.ends_with("*/");
    }
    kept
}

/// How large a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// The name of the file.
    pub name: String,
    /// Its bytes.
    pub raw: usize,
    /// Its bytes once gzip has done its best.
    pub compressed: usize,
}

impl Weight {
    /// Of these bytes.
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let compressed = encoder.write_all(bytes).and_then(|()| encoder.finish());
        Self {
            name: name.to_owned(),
            raw: bytes.len(),
            compressed: compressed.expect("memory takes what is written").len(),
        }
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            raw,
            compressed,
        } = self;
        write!(f, "{name:24} {raw:>9} bytes, {compressed:>7} by gzip -9")
    }
}

/// All files together, or how far they are over the budget.
///
/// # Errors
/// When what is compressed is more than `budget` bytes.
pub fn within(budget: usize, files: &[Weight]) -> Result<Weight, String> {
    let all = Weight {
        name: "together".to_owned(),
        raw: files.iter().map(|file| file.raw).sum(),
        compressed: files.iter().map(|file| file.compressed).sum(),
    };
    if all.compressed > budget {
        return Err(format!(
            "what a browser downloads has {} bytes by gzip -9, {} more than the budget of {budget}; see what grew: \
             build without `Purpose::Product` and sum the sizes of functions by their names",
            all.compressed,
            all.compressed - budget
        ));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glue_keeps_its_code_and_loses_comments_on_lines_of_their_own() {
        let glue = "/**\n * A class.\n */\nexport class A {\n    /** One line. */\n    a() { return '//'; } // kept\n    \
                    // not kept\n    b() { return 3 /* kept */ * 2; }\n}\n";
        assert_eq!(
            without_comments(glue),
            "export class A {\n    a() { return '//'; } // kept\n    b() { return 3 /* kept */ * 2; }\n}\n"
        );
    }

    #[test]
    fn what_is_over_the_budget_is_refused_and_what_meets_it_is_not() {
        let files = [
            Weight::of("glue.js", &b"let it = be;\n".repeat(1_000)),
            Weight::of("module.wasm", &[0; 10_000]),
        ];
        assert!(files.iter().all(|file| file.compressed < file.raw / 50));
        let all = files[0].compressed + files[1].compressed;
        assert_eq!(within(all, &files).map(|all| all.raw), Ok(23_000));
        let refused = within(all - 1, &files).unwrap_err();
        assert!(refused.contains("1 more than the budget"), "{refused}");
    }
}
