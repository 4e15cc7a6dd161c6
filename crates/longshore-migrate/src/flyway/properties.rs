//! Java's properties, as Flyway reads them: a backslash is itself, but at the end of a line.

/// Reads `key=value` lines. `${NAME}` stands for a variable of the environment; one that is not set is empty.
pub(crate) fn read(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut pairs = Vec::new();
    let mut lines = text.split(['\n', '\r']);
    while let Some(line) = lines.next() {
        let mut line = line.trim_start().to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        while line.ends_with('\\') {
            line.pop();
            let Some(next) = lines.find(|next| !next.is_empty()) else { break };
            line.push_str(next.trim_start());
        }
        let (key, value) = line.split_once(['=', ':']).unwrap_or((&line, ""));
        pairs.push((key.trim().to_owned(), expand(value.trim(), env)));
    }
    pairs
}

/// Puts variables in the place of `${NAME}`.
pub(crate) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, name, after)) = rest.split_once("${").and_then(|(before, tail)| {
        let (name, after) = tail.split_once('}')?;
        Some((before, name, after))
    }) {
        expanded.push_str(before);
        expanded.push_str(&env(name).unwrap_or_default());
        rest = after;
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_as_flyway_reads_them() {
        let text = "\u{feff}# c\r\n! c\n a = b \nk:v\nlong=one,\\\n   two\npath=C:\\x\nurl=jdbc:x://h:1/d?a=b\nlone\ne=${E}${F}\nend=x\\";
        let pairs = read(text, &|name| (name == "E").then(|| "1".to_owned()));
        let expected = [
            ("a", "b"),
            ("k", "v"),
            ("long", "one,two"),
            ("path", "C:\\x"),
            ("url", "jdbc:x://h:1/d?a=b"),
            ("lone", ""),
            ("e", "1"),
            ("end", "x"),
        ];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
