//! Words that mean "not done" have no place in a tracked file.

/// Split here, so that this file does not contain what it looks for.
const UNFINISHED: &[&str] = &[
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
];

/// Where a file says that something is not done.
pub(super) fn check(path: &str, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        for word in UNFINISHED {
            if line.windows(word.len()).any(|part| part == word.as_bytes()) {
                found.push(format!(
                    "{path}:{}: `{word}` – finish it or leave it out",
                    index + 1
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unfinished_word_is_found_with_its_line() {
        for word in UNFINISHED {
            let text = format!("fn a() {{}}\n    {word}\n");
            let found = check("a.rs", text.as_bytes());
            assert_eq!(found.len(), 1);
            assert!(found[0].starts_with("a.rs:2:"), "{found:?}");
        }
    }

    #[test]
    fn this_very_file_and_bytes_that_are_no_text_pass() {
        assert!(check("words.rs", include_bytes!("words.rs")).is_empty());
        assert!(check("a.bin", &[0xff, 0x00, 0x80]).is_empty());
    }
}
