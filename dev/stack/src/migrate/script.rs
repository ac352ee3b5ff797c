//! A file of SQL as its statements.
//!
//! Follows what psql does: a semicolon ends a statement unless it stands in a quotation, a comment, parentheses, or the
//! `BEGIN ATOMIC … END` body of a function.

/// One statement of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Statement<'a> {
    /// Its text, from its first word, without the semicolon.
    pub(super) text: &'a str,
    /// Where the text begins in the file, in bytes.
    start: usize,
}

impl Statement<'_> {
    /// Whether the statement begins or ends a transaction.
    pub(super) fn controls_transaction(&self) -> bool {
        let mut words = self
            .text
            .split(|character: char| !character.is_ascii_alphabetic())
            .map(str::to_ascii_uppercase);
        match words.next().unwrap_or_default().as_str() {
            "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" => true,
            "PREPARE" => words.next().is_some_and(|word| word == "TRANSACTION"),
            _ => false,
        }
    }

    /// The line and column, from 1, of a character of the statement in the file's text.
    pub(super) fn line_and_column(&self, file: &str, offset: usize) -> (usize, usize) {
        let before = file.get(..self.start).unwrap_or_default();
        let until = before.chars().chain(self.text.chars().take(offset));
        until.fold((1, 1), |(line, column), character| {
            if character == '\n' {
                (line + 1, 1)
            } else {
                (line, column + 1)
            }
        })
    }
}

/// Splits a file.
pub(super) fn split(text: &str) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let mut state = State::default();
    let mut position = 0;
    while let Some(rest) = text.get(position..).filter(|rest| !rest.is_empty()) {
        let token = Token::next(rest, text.get(..position).unwrap_or_default());
        let end = position + token.length;
        match token.kind {
            Kind::Blank => {}
            Kind::Semicolon if state.is_open() => {}
            Kind::Semicolon => {
                statements.extend(state.statement(text, position));
                state = State::default();
            }
            Kind::Word | Kind::Other => state.see(token.kind, rest.get(..token.length).unwrap_or_default(), position),
        }
        position = end;
    }
    statements.extend(state.statement(text, text.len()));
    statements
}

/// What is known of the statement that is being read.
#[derive(Debug, Default)]
struct State {
    start: Option<usize>,
    /// Where the last token ended, so that trailing comments are left out.
    end: usize,
    words: Vec<String>,
    parentheses: usize,
    /// How many `BEGIN` and `CASE` of a function's body wait for their `END`.
    blocks: usize,
}

impl State {
    /// Whether a semicolon belongs to the statement.
    fn is_open(&self) -> bool {
        self.parentheses > 0 || self.blocks > 0
    }

    /// Takes a token into the statement.
    fn see(&mut self, kind: Kind, token: &str, position: usize) {
        self.start.get_or_insert(position);
        self.end = position + token.len();
        match token {
            "(" => self.parentheses += 1,
            ")" => self.parentheses = self.parentheses.saturating_sub(1),
            _ => {}
        }
        if kind != Kind::Word {
            return;
        }
        let word = token.to_ascii_uppercase();
        if self.creates_routine() {
            match word.as_str() {
                "BEGIN" => self.blocks += 1,
                "CASE" if self.blocks > 0 => self.blocks += 1,
                "END" => self.blocks = self.blocks.saturating_sub(1),
                _ => {}
            }
        }
        // The first words say what the statement is.
        if self.words.len() < 4 {
            self.words.push(word);
        }
    }

    /// Whether the statement is `CREATE [OR REPLACE] FUNCTION` or `PROCEDURE`.
    fn creates_routine(&self) -> bool {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        matches!(
            words.as_slice(),
            ["CREATE", "FUNCTION" | "PROCEDURE", ..] | ["CREATE", "OR", "REPLACE", "FUNCTION" | "PROCEDURE", ..]
        )
    }

    /// The statement, if it has any word.
    fn statement<'a>(&self, text: &'a str, end: usize) -> Option<Statement<'a>> {
        let start = self.start?;
        Some(Statement {
            text: text.get(start..self.end.min(end))?,
            start,
        })
    }
}

/// What a token is to the splitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Space or a comment.
    Blank,
    /// The end of a statement, perhaps.
    Semicolon,
    /// A keyword or a bare name.
    Word,
    /// A quotation, an operator, a number, a parenthesis.
    Other,
}

/// The next token of a text.
#[derive(Debug)]
struct Token {
    kind: Kind,
    length: usize,
}

impl Token {
    /// Reads the token at the beginning of `rest`, which is not empty; `before` is what was read.
    fn next(rest: &str, before: &str) -> Self {
        let first = rest.chars().next().unwrap_or_default();
        let (kind, length) = match first {
            _ if first.is_whitespace() => (Kind::Blank, first.len_utf8()),
            '-' if rest.starts_with("--") => (Kind::Blank, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (Kind::Blank, block_comment(rest)),
            ';' => (Kind::Semicolon, 1),
            '\'' => (Kind::Other, quotation(rest, '\'', ends_with_escape_prefix(before))),
            '"' => (Kind::Other, quotation(rest, '"', false)),
            '$' if !before.ends_with(is_name_part) => (Kind::Other, dollar_quotation(rest).unwrap_or(1)),
            _ if first.is_alphabetic() || first == '_' => (
                Kind::Word,
                rest.find(|character| !is_name_part(character)).unwrap_or(rest.len()),
            ),
            _ => (Kind::Other, first.len_utf8()),
        };
        Self { kind, length }
    }
}

/// Whether a character can go on a bare name.
fn is_name_part(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

/// Whether the quotation that begins now is `E'…'`, in which a backslash escapes.
fn ends_with_escape_prefix(before: &str) -> bool {
    let mut last = before.chars().rev();
    matches!(last.next(), Some('e' | 'E')) && !last.next().is_some_and(is_name_part)
}

/// The length of `/* … */`, which may be nested.
fn block_comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut depth, mut position) = (0_usize, 0);
    while let Some(pair) = bytes.get(position..position + 2) {
        match pair {
            b"/*" => (depth, position) = (depth + 1, position + 2),
            b"*/" => (depth, position) = (depth - 1, position + 2),
            _ => position += 1,
        }
        if depth == 0 {
            return position;
        }
    }
    rest.len()
}

/// The length of a quotation. A doubled mark goes on: it is two quotations side by side, which changes nothing here.
fn quotation(rest: &str, mark: char, escapes: bool) -> usize {
    let mut escaped = false;
    for (position, character) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if escapes && character == '\\' {
            escaped = true;
        } else if character == mark {
            return position + 1;
        }
    }
    rest.len()
}

/// The length of `$tag$ … $tag$`, if it is one.
fn dollar_quotation(rest: &str) -> Option<usize> {
    let tag_end = rest.get(1..)?.find('$')? + 2;
    let tag = rest.get(..tag_end)?;
    let name = tag.trim_matches('$');
    if name.starts_with(|first: char| first.is_ascii_digit())
        || !name.chars().all(|part| part.is_alphanumeric() || part == '_')
    {
        return None;
    }
    let body = rest.get(tag_end..)?;
    Some(body.find(tag).map_or(rest.len(), |end| tag_end + end + tag.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        split(text).into_iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn a_semicolon_ends_a_statement_only_where_it_should() {
        for (text, expected) in [
            ("SELECT 1; SELECT 2", vec!["SELECT 1", "SELECT 2"]),
            ("SELECT 1;\n-- done; really\n", vec!["SELECT 1"]),
            (";; ;", vec![]),
            (
                "SELECT ';', 'it''s; so', \"a;b\"; SELECT 2",
                vec!["SELECT ';', 'it''s; so', \"a;b\"", "SELECT 2"],
            ),
            (
                r"SELECT E'\';', E'a''b;'; SELECT 2",
                vec![r"SELECT E'\';', E'a''b;'", "SELECT 2"],
            ),
            (r"SELECT 'plain\'; SELECT 2", vec![r"SELECT 'plain\'", "SELECT 2"]),
            ("/* a; /* b; */ c; */ SELECT 1; SELECT 2", vec!["SELECT 1", "SELECT 2"]),
            (
                "DO $$ BEGIN x; END $$; SELECT 2",
                vec!["DO $$ BEGIN x; END $$", "SELECT 2"],
            ),
            ("DO $a$ $$;$b$; $a$; SELECT 2", vec!["DO $a$ $$;$b$; $a$", "SELECT 2"]),
            (
                "SELECT $1; SELECT a$b$c; SELECT 3",
                vec!["SELECT $1", "SELECT a$b$c", "SELECT 3"],
            ),
            (
                "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3",
                vec!["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "SELECT 3"],
            ),
            (
                "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END; SELECT 2",
                vec![
                    "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END",
                    "SELECT 2",
                ],
            ),
            ("SELECT 'never closed; SELECT 2", vec!["SELECT 'never closed; SELECT 2"]),
            ("SELECT 'größe;' -- ü;\n; SELECT 2", vec!["SELECT 'größe;'", "SELECT 2"]),
        ] {
            assert_eq!(texts(text), expected, "{text}");
        }
    }

    #[test]
    fn a_place_is_counted_in_lines_and_characters() {
        let file = "SELECT 'ä';\n\n  SELECT 'ü',\n    wrong;";
        let statement = split(file)[1];

        assert_eq!(statement.line_and_column(file, 0), (3, 3));
        assert_eq!(
            statement.line_and_column(file, "SELECT 'ü',\n    ".chars().count()),
            (4, 5)
        );
    }

    #[test]
    fn transaction_control_is_told_from_what_only_looks_like_it() {
        for (text, expected) in [
            ("begin", true),
            ("Commit work", true),
            ("END", true),
            ("start transaction", true),
            ("PREPARE TRANSACTION 'x'", true),
            ("PREPARE plan AS SELECT 1", false),
            ("SAVEPOINT s", false),
            ("DO $$ BEGIN COMMIT; END $$", false),
            ("CREATE TABLE begin_end (x int)", false),
        ] {
            assert_eq!(split(text)[0].controls_transaction(), expected, "{text}");
        }
    }
}
