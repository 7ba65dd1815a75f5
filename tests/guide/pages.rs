//! The guide taken apart: what is typed and what the screen then shows, the files it names, and all between.

/// A part of the guide.
#[derive(Debug)]
pub(crate) enum Page {
    /// Text, the lines that begin and end blocks among it.
    Text(String),
    /// A block that begins with three backquotes, `toml` and a name: a file that is there from here on.
    File {
        /// Where, in the folder that the commands are typed in.
        name: String,
        /// What it holds.
        content: String,
    },
    /// A command, and what the screen shows.
    Step(Step),
}

/// A command of a `console` block.
#[derive(Debug)]
pub(crate) struct Step {
    /// Where it stands in the guide.
    pub(crate) line: usize,
    /// Everything behind `$ `, further lines too where one ends with a backslash.
    pub(crate) command: String,
    /// Up to the next command, or to the end of the block.
    pub(crate) screen: String,
}

impl Step {
    /// Whether it may be run again without changing anything.
    pub(crate) fn only_reads(&self) -> bool {
        const READERS: [&str; 8] = ["ps", "nodes", "why", "logs", "inspect", "events", "top", "help"];
        let words: Vec<&str> = self.command.split_whitespace().collect();
        let reads =
            words.first() == Some(&"podling") && words.get(1).is_some_and(|word| READERS.contains(word));
        reads || words.contains(&"--dry-run")
    }
}

/// Takes a document apart.
pub(crate) fn read(document: &str) -> Vec<Page> {
    let mut pages = Vec::new();
    let mut lines = (1..).zip(document.lines()).peekable();
    let mut is_console = false;
    while let Some((number, line)) = lines.next() {
        if is_console && line.starts_with("$ ") {
            let mut command = line["$ ".len()..].to_owned();
            while command.ends_with('\\') {
                let (_, more) = lines.next().expect("a line that goes on");
                command = format!("{command}\n{more}");
            }
            let mut screen = String::new();
            while let Some((_, shown)) = lines.next_if(|(_, next)| !next.starts_with("$ ") && *next != "```")
            {
                screen += &format!("{shown}\n");
            }
            pages.push(Page::Step(Step { line: number, command, screen }));
            continue;
        }
        if let Some(opened) = line.strip_prefix("```") {
            assert!(!is_console || opened.is_empty(), "line {number}: a block in a block");
            is_console = opened == "console";
        }
        pages.push(Page::Text(format!("{line}\n")));
        if let Some(name) = line.strip_prefix("```toml ") {
            let mut content = String::new();
            while let Some((_, within)) = lines.next_if(|(_, next)| *next != "```") {
                content += &format!("{within}\n");
            }
            pages.push(Page::Text(content.clone()));
            pages.push(Page::File { name: name.to_owned(), content });
        }
    }
    pages
}

#[test]
fn commands_files_and_text_are_told_apart() {
    let document =
        "a\n```console\n$ podling ps\nID\n\n$ podling stop a \\\n  b\n```\n```toml f.toml\nx = 1\n```\nb\n";
    let pages = read(document);
    let shown: Vec<String> = pages.iter().map(|page| format!("{page:?}")).collect();
    let expected = [
        r#"Text("a\n")"#,
        r#"Text("```console\n")"#,
        r#"Step(Step { line: 3, command: "podling ps", screen: "ID\n\n" })"#,
        r#"Step(Step { line: 6, command: "podling stop a \\\n  b", screen: "" })"#,
        r#"Text("```\n")"#,
        r#"Text("```toml f.toml\n")"#,
        r#"Text("x = 1\n")"#,
        r#"File { name: "f.toml", content: "x = 1\n" }"#,
        r#"Text("```\n")"#,
        r#"Text("b\n")"#,
    ];
    assert_eq!(shown, expected);
    let reads: Vec<bool> = pages
        .iter()
        .filter_map(|page| if let Page::Step(step) = page { Some(step.only_reads()) } else { None })
        .collect();
    assert_eq!(reads, [true, false]);
}
