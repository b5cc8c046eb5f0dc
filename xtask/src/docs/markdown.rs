//! As much of Markdown as the checks need: prose without code, headings, code spans.

/// The lines outside fenced code blocks, each with its number from 1.
pub(super) fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fence: Option<&str> = None;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        let mark = ["```", "~~~"]
            .into_iter()
            .find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => lines.push((index + 1, line)),
            _ => {}
        }
    }
    lines
}

/// The contents of the code spans of a line, and the line without them.
pub(super) fn code_spans(line: &str) -> (Vec<&str>, String) {
    let mut spans = Vec::new();
    let mut rest = String::new();
    let mut left = line;
    while let Some(at) = left.find('`') {
        let ticks = left[at..].chars().take_while(|c| *c == '`').count();
        let (before, opened) = (&left[..at], &left[at + ticks..]);
        let Some(end) = opened.find(&left[at..at + ticks]) else {
            break;
        };
        spans.push(opened[..end].trim());
        rest.push_str(before);
        left = &opened[end + ticks..];
    }
    rest.push_str(left);
    (spans, rest)
}

/// The level and text of a heading line.
pub(super) fn heading(line: &str) -> Option<(usize, &str)> {
    let level = line.chars().take_while(|c| *c == '#').count();
    let text = line[level..].strip_prefix(' ')?;
    (1..=6).contains(&level).then(|| (level, text.trim()))
}

/// The anchors that the headings of a document get when it is rendered.
pub(super) fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, title) in prose(text)
        .into_iter()
        .filter_map(|(_, line)| heading(line))
    {
        let anchor = slug(title);
        let taken = (0..).map(|n| {
            if n == 0 {
                anchor.clone()
            } else {
                format!("{anchor}-{n}")
            }
        });
        let free = taken
            .into_iter()
            .find(|one| !anchors.contains(one))
            .unwrap_or(anchor.clone());
        anchors.push(free);
    }
    anchors
}

/// Lower case, words joined by hyphens, everything but letters, digits, `-` and `_` gone.
fn slug(title: &str) -> String {
    let lower = title.to_lowercase().replace(' ', "-");
    lower
        .chars()
        .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fenced_code_is_no_prose() {
        let text = "a\n```rust\nb\n~~~\n```\nc";
        assert_eq!(prose(text), [(1, "a"), (6, "c")]);
    }

    #[test]
    fn code_spans_are_taken_out_of_a_line() {
        let (spans, rest) = code_spans("see `a` and ``b ` c`` or ` open");
        assert_eq!(spans, ["a", "b ` c"]);
        assert_eq!(rest, "see  and  or ` open");
    }

    #[test]
    fn headings_become_anchors_and_a_second_one_gets_a_number() {
        let text = "# The `pull` message\n## P1, first\ntext\n## P1, first\n";
        assert_eq!(
            anchors(text),
            ["the-pull-message", "p1-first", "p1-first-1"]
        );
    }
}
