//! Rust source as tokens, as far as our checkers need it.
//!
//! Comments and the insides of strings are no code: a checker that searched the text would find
//! `unsafe` in this sentence. The tokenizer knows comments (nested ones too), every string form,
//! and characters from lifetimes; all else is an identifier or a single character.

/// One token that means something to a checker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Token<'a> {
    /// An identifier, keyword or number.
    Word(&'a str),
    /// A string or character, in any form: its text is not code.
    Literal,
    /// Any other character.
    Sign(u8),
}

/// A token and the line it begins on, from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Placed<'a> {
    pub(crate) token: Token<'a>,
    pub(crate) line: usize,
}

/// The tokens of `text`. Text that is not Rust gives some tokens, and no panic.
pub(crate) fn tokens(text: &str) -> Vec<Placed<'_>> {
    let mut tokens = Vec::new();
    let mut offset = 0;
    let mut line = 1;
    while offset < text.len() {
        let (len, token) = next(text, offset);
        tokens.extend(token.map(|token| Placed { token, line }));
        let end = (offset + len).min(text.len());
        line += text.as_bytes()[offset..end].iter().filter(|&&byte| byte == b'\n').count();
        offset = end;
    }
    tokens
}

/// The names of the test functions in `text`, each with its line: every `fn` under an attribute
/// that is `test` or ends in `::test`, which includes those in `proptest!`.
pub(crate) fn tests(text: &str) -> Vec<(&str, usize)> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut is_test = false;
    let mut index = 0;
    while index < tokens.len() {
        match tokens[index].token {
            Token::Sign(b'#') => {
                let len = attribute_len(&tokens[index..]);
                is_test |= is_test_attribute(&tokens[index..index + len]);
                index += len;
                continue;
            }
            Token::Word("fn") => {
                if let Some(Placed { token: Token::Word(name), line }) = tokens.get(index + 1) {
                    found.extend(is_test.then_some((*name, *line)));
                }
                is_test = false;
            }
            Token::Word("pub" | "async" | "const" | "extern") => {}
            _ => is_test = false,
        }
        index += 1;
    }
    found
}

/// The count of tokens of the attribute that begins here, `#` and brackets included.
fn attribute_len(tokens: &[Placed<'_>]) -> usize {
    let mut depth = 0;
    for (index, placed) in tokens.iter().enumerate().skip(1) {
        match placed.token {
            Token::Sign(b'[') => depth += 1,
            Token::Sign(b']') => depth -= 1,
            Token::Sign(b'!') if index == 1 => {}
            _ if depth == 0 => return index,
            _ => {}
        }
        if depth == 0 && index > 1 {
            return index + 1;
        }
    }
    tokens.len()
}

fn is_test_attribute(attribute: &[Placed<'_>]) -> bool {
    let inside: Vec<_> = attribute.iter().skip(2).map(|placed| placed.token).collect();
    let ends_the_path = [Token::Sign(b']'), Token::Sign(b'(')];
    inside.windows(2).enumerate().any(|(index, pair)| {
        pair[0] == Token::Word("test")
            && ends_the_path.contains(&pair[1])
            && (index == 0 || inside[index - 1] == Token::Sign(b':'))
    })
}

/// The length of what begins at `offset`, and its token if it is one.
fn next(text: &str, offset: usize) -> (usize, Option<Token<'_>>) {
    let rest = &text.as_bytes()[offset..];
    match rest[0] {
        byte if byte.is_ascii_whitespace() => (1, None),
        b'/' if rest.starts_with(b"//") => (line_len(rest), None),
        b'/' if rest.starts_with(b"/*") => (block_comment_len(rest), None),
        b'"' => (string_len(rest, 0), Some(Token::Literal)),
        b'\'' => quote(rest),
        byte if is_word(byte) => word(text, offset),
        byte => (1, Some(Token::Sign(byte))),
    }
}

/// A word, or the literal whose prefix it is: `b"..."`, `r#"..."#`, `c"..."`, `b'x'`.
fn word(text: &str, offset: usize) -> (usize, Option<Token<'_>>) {
    let rest = &text.as_bytes()[offset..];
    let len = rest.iter().take_while(|&&byte| is_word(byte)).count();
    let name = &text[offset..offset + len];
    let after = &rest[len..];
    let is_raw = matches!(name, "r" | "br" | "cr");
    if is_raw && let Some(raw_len) = raw_string_len(after) {
        return (len + raw_len, Some(Token::Literal));
    }
    if matches!(name, "b" | "c") && after.first() == Some(&b'"') {
        return (string_len(rest, len), Some(Token::Literal));
    }
    if name == "b" && after.first() == Some(&b'\'') {
        return (len + quote(after).0, Some(Token::Literal));
    }
    if name == "r" && after.first() == Some(&b'#') && after.get(1).is_some_and(|&b| is_word(b)) {
        // A raw identifier: a name, whatever keyword it looks like.
        let name_len = after[1..].iter().take_while(|&&byte| is_word(byte)).count();
        return (len + 1 + name_len, Some(Token::Literal));
    }
    (len, Some(Token::Word(name)))
}

/// Bytes of UTF-8 beyond ASCII count as letters, so that words end on character boundaries.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn line_len(rest: &[u8]) -> usize {
    rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
}

fn block_comment_len(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut offset = 0;
    while offset < rest.len() {
        if rest[offset..].starts_with(b"/*") {
            depth += 1;
            offset += 2;
        } else if rest[offset..].starts_with(b"*/") {
            depth -= 1;
            offset += 2;
            if depth == 0 {
                return offset;
            }
        } else {
            offset += 1;
        }
    }
    rest.len()
}

/// The length of a string with escapes whose opening quote stands at `quote_offset`.
fn string_len(rest: &[u8], quote_offset: usize) -> usize {
    let mut offset = quote_offset + 1;
    while offset < rest.len() {
        match rest[offset] {
            b'\\' => offset += 2,
            b'"' => return offset + 1,
            _ => offset += 1,
        }
    }
    rest.len()
}

/// The length of `#*"..."#*`, if `after` is one.
fn raw_string_len(after: &[u8]) -> Option<usize> {
    let hash_count = after.iter().take_while(|&&byte| byte == b'#').count();
    if after.get(hash_count) != Some(&b'"') {
        return None;
    }
    let closing = [b"\"".as_slice(), &b"#".repeat(hash_count)].concat();
    let inside = &after[hash_count + 1..];
    let end = inside.windows(closing.len()).position(|window| window == closing);
    Some(end.map_or(after.len(), |end| hash_count + 1 + end + closing.len()))
}

/// A character in quotes, or the quote of a lifetime.
fn quote(rest: &[u8]) -> (usize, Option<Token<'static>>) {
    if rest.get(1) == Some(&b'\\') {
        let end = rest.iter().skip(3).position(|&byte| byte == b'\'');
        return (end.map_or(rest.len(), |end| end + 4), Some(Token::Literal));
    }
    // One character of up to four bytes, then the closing quote; else it is a lifetime.
    let close = rest.iter().take(6).skip(2).position(|&byte| byte == b'\'').map(|end| end + 2);
    match close {
        Some(end) if end == 2 || rest[1] >= 0x80 => (end + 1, Some(Token::Literal)),
        _ => (1, Some(Token::Sign(b'\''))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        tokens(text)
            .iter()
            .filter_map(|placed| match placed.token {
                Token::Word(word) => Some(word),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn comments_and_strings_hold_no_words() {
        for text in [
            "// unsafe",
            "/// unsafe\n//! unsafe",
            "/* unsafe /* unsafe */ unsafe */",
            r#""unsafe \" unsafe""#,
            r#"b"unsafe""#,
            r#"c"unsafe""#,
            r##"r"unsafe""##,
            r###"r##"unsafe " unsafe "# unsafe"##"###,
            r###"br#"unsafe " unsafe"#"###,
            "r#unsafe",
            "'\\'' '\"' '\\u{1f600}' b'\"' b'\\''",
        ] {
            assert_eq!(words(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn what_follows_a_comment_or_literal_is_code_again() {
        for text in [
            "/* a /* b */ c */ unsafe",
            "// a\nunsafe",
            r#""\\" unsafe"#,
            r##"r#"a"# unsafe"##,
            r"'\'' unsafe",
            "'\"' unsafe",
            "b'\"' unsafe",
            "'é' unsafe",
        ] {
            assert_eq!(words(text), ["unsafe"], "{text}");
        }
    }

    #[test]
    fn a_lifetime_opens_no_character() {
        assert_eq!(words("fn f<'a>(x: &'a str) { unsafe {} }").last(), Some(&"unsafe"));
        assert_eq!(words("impl<'a, 'b> X<'b> {}"), ["impl", "a", "b", "X", "b"]);
    }

    #[test]
    fn lines_are_counted_through_comments_and_strings() {
        let text = "/*\n\n*/ \"a\nb\" word";
        let last = *tokens(text).last().unwrap();
        assert_eq!(last, Placed { token: Token::Word("word"), line: 4 });
    }

    #[test]
    fn every_truncation_of_this_file_is_read_without_a_panic() {
        let text = include_str!("source.rs");
        for end in (0..=text.len()).filter(|&end| text.is_char_boundary(end)).step_by(7) {
            let _ = (tokens(&text[..end]), tests(&text[..end]));
        }
    }

    #[test]
    fn a_test_is_a_function_under_a_test_attribute() {
        let text = "
            fn a01_helper() {}
            #[test] fn a02_plain() {}
            #[test]
            #[should_panic = \"x\"]
            /// Words between.
            fn a03_more_attributes() {}
            #[cfg(test)] mod tests { fn a04_helper() {} }
            proptest! { #![proptest_config(C)] #[test] fn a05_property(x in 0..3) {} }
            #[monoio::test(timer = true)] async fn a06_asynchronous() {}
            #[cfg(not(test))] fn a07_never() {}
            #[cfg(test)] fn a08_helper_too() {}
        ";
        let names: Vec<_> = tests(text).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a02_plain", "a03_more_attributes", "a05_property", "a06_asynchronous"]);
    }
}
