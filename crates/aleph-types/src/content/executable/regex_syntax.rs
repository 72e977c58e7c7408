//! Whether a text is a regular expression of Python's dialect, which is what the network's schema asks
//! of `address_regex` (`spec: messages.md §18`). Nothing is matched here: compute nodes do that.
//!
//! Patterns have at most 256 characters, so recursion over groups is bounded.

use std::collections::HashMap;

/// Largest count of a repetition in Python.
const MOST_REPEATS: u64 = u32::MAX as u64 - 1;
const MOST_GROUPS: usize = 100;

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RegexError {
    #[error("a bracket is not closed")]
    Unterminated,
    #[error("a closing bracket has no opening one")]
    UnbalancedParenthesis,
    #[error("nothing to repeat")]
    NothingToRepeat,
    #[error("multiple repeat")]
    MultipleRepeat,
    #[error("bad repetition count")]
    BadCount,
    #[error("bad escape")]
    BadEscape,
    #[error("bad character range")]
    BadRange,
    #[error("bad or unknown group name or number")]
    BadGroup,
    #[error("unknown extension")]
    UnknownExtension,
    #[error("flags that don't fit or are not at the start")]
    BadFlags,
    #[error("look-behind requires a fixed-width pattern")]
    VariableLookBehind,
    #[error("a conditional has more than two branches")]
    ConditionalBranches,
}

/// Least and most characters that a part matches.
#[derive(Debug, Clone, Copy)]
struct Width {
    least: u64,
    most: u64,
}

impl Width {
    const NONE: Width = Width { least: 0, most: 0 };
    const ONE: Width = Width { least: 1, most: 1 };

    fn then(self, next: Width) -> Width {
        Width { least: self.least.saturating_add(next.least), most: self.most.saturating_add(next.most) }
    }

    fn or(self, other: Width) -> Width {
        Width { least: self.least.min(other.least), most: self.most.max(other.most) }
    }

    fn repeated(self, least: u64, most: u64) -> Width {
        Width { least: self.least.saturating_mul(least), most: self.most.saturating_mul(most) }
    }
}

/// What a part is, as far as a repetition after it cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Nothing,
    Position,
    Repeat,
    Item,
}

struct Parser<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    at_start: bool,
    verbose: bool,
    /// Width of each closed group, in order of opening; `None` while open.
    groups: Vec<Option<Width>>,
    names: HashMap<String, usize>,
}

/// Checks the syntax of `pattern`.
pub(super) fn check(pattern: &str) -> Result<(), RegexError> {
    let mut parser = Parser {
        rest: pattern.chars().peekable(),
        at_start: true,
        verbose: false,
        groups: Vec::new(),
        names: HashMap::new(),
    };
    parser.alternatives()?;
    match parser.rest.next() {
        None => Ok(()),
        Some(_) => Err(RegexError::UnbalancedParenthesis),
    }
}

impl Parser<'_> {
    fn eat(&mut self, expected: char) -> bool {
        self.rest.next_if_eq(&expected).is_some()
    }

    fn alternatives(&mut self) -> Result<Width, RegexError> {
        let mut width = self.sequence()?;
        while self.eat('|') {
            width = width.or(self.sequence()?);
        }
        Ok(width)
    }

    fn sequence(&mut self) -> Result<Width, RegexError> {
        let mut total = Width::NONE;
        let mut last = (Part::Nothing, Width::NONE);
        while let Some(&next) = self.rest.peek() {
            if matches!(next, '|' | ')') {
                break;
            }
            self.rest.next();
            if self.verbose && (next.is_ascii_whitespace() || next == '#') {
                if next == '#' {
                    while self.rest.next_if(|&character| character != '\n').is_some() {}
                }
                continue;
            }
            if let Some((least, most)) = self.repetition(next)? {
                match last.0 {
                    Part::Nothing | Part::Position => return Err(RegexError::NothingToRepeat),
                    Part::Repeat => return Err(RegexError::MultipleRepeat),
                    Part::Item => {}
                }
                // Lazy or possessive.
                let _ = self.eat('?') || self.eat('+');
                last = (Part::Repeat, last.1.repeated(least, most));
                total = total.then(last.1);
                continue;
            }
            // The width of an item is added when it is known not to be repeated.
            if last.0 != Part::Repeat {
                total = total.then(last.1);
            }
            last = self.item(next)?;
            self.at_start = false;
        }
        Ok(if last.0 == Part::Repeat { total } else { total.then(last.1) })
    }

    /// The bounds of a repetition that starts with `first`; `None` if it is none.
    fn repetition(&mut self, first: char) -> Result<Option<(u64, u64)>, RegexError> {
        match first {
            '*' => Ok(Some((0, u64::MAX))),
            '+' => Ok(Some((1, u64::MAX))),
            '?' => Ok(Some((0, 1))),
            '{' => self.braces(),
            _ => Ok(None),
        }
    }

    /// `{m}`, `{m,}`, `{,n}`, `{m,n}`; anything else is a literal brace.
    fn braces(&mut self) -> Result<Option<(u64, u64)>, RegexError> {
        let mut ahead = self.rest.clone();
        let number = |ahead: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut digits = String::new();
            while let Some(digit) = ahead.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            digits
        };
        let least = number(&mut ahead);
        let comma = ahead.next_if_eq(&',').is_some();
        let most = if comma { number(&mut ahead) } else { least.clone() };
        if ahead.next() != Some('}') || (least.is_empty() && !comma) {
            return Ok(None);
        }
        self.rest = ahead;
        let parse = |digits: &str, absent: u64| match digits.is_empty() {
            true => Ok(absent),
            false => {
                digits.parse().ok().filter(|&count: &u64| count <= MOST_REPEATS).ok_or(RegexError::BadCount)
            }
        };
        let (least, most) = (parse(&least, 0)?, parse(&most, u64::MAX)?);
        if least > most { Err(RegexError::BadCount) } else { Ok(Some((least, most))) }
    }

    fn item(&mut self, first: char) -> Result<(Part, Width), RegexError> {
        match first {
            '^' | '$' => Ok((Part::Position, Width::NONE)),
            '\\' => self.escape(),
            '[' => {
                self.class()?;
                Ok((Part::Item, Width::ONE))
            }
            '(' => self.group(),
            _ => Ok((Part::Item, Width::ONE)),
        }
    }

    fn hex(&mut self, digits: u32) -> Result<char, RegexError> {
        let mut code = 0u32;
        for _ in 0..digits {
            let digit = self.rest.next().and_then(|c| c.to_digit(16)).ok_or(RegexError::BadEscape)?;
            code =
                code.checked_mul(16).and_then(|code| code.checked_add(digit)).ok_or(RegexError::BadEscape)?;
        }
        // Surrogates are characters in Python; which one does not matter here.
        match code {
            0xd800..=0xdfff => Ok('\u{fffd}'),
            _ => char::from_u32(code).ok_or(RegexError::BadEscape),
        }
    }

    /// The escapes that mean the same in and outside of classes.
    fn literal_escape(&mut self, letter: char) -> Result<char, RegexError> {
        match letter {
            'a' => Ok('\u{7}'),
            'f' => Ok('\u{c}'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\u{b}'),
            'x' => self.hex(2),
            'u' => self.hex(4),
            'U' => self.hex(8),
            'N' => {
                let mut name = String::new();
                if !self.eat('{') {
                    return Err(RegexError::BadEscape);
                }
                loop {
                    match self.rest.next() {
                        Some('}') if !name.is_empty() => return Ok('\u{fffd}'),
                        Some(character @ ('A'..='Z' | 'a'..='z' | '0'..='9' | ' ' | '-')) => {
                            name.push(character)
                        }
                        _ => return Err(RegexError::BadEscape),
                    }
                }
            }
            _ if letter.is_ascii_alphabetic() => Err(RegexError::BadEscape),
            _ => Ok(letter),
        }
    }

    /// Up to `most` further octal digits after `first`.
    fn octal(&mut self, first: char, most: usize) -> Result<char, RegexError> {
        let mut code = first.to_digit(8).ok_or(RegexError::BadEscape)?;
        for _ in 0..most {
            match self.rest.peek().and_then(|c| c.to_digit(8)) {
                Some(digit) => {
                    self.rest.next();
                    code = code * 8 + digit;
                }
                None => break,
            }
        }
        if code > 0o377 {
            Err(RegexError::BadEscape)
        } else {
            char::from_u32(code).ok_or(RegexError::BadEscape)
        }
    }

    fn escape(&mut self) -> Result<(Part, Width), RegexError> {
        match self.rest.next().ok_or(RegexError::BadEscape)? {
            'A' | 'b' | 'B' | 'Z' => Ok((Part::Position, Width::NONE)),
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => Ok((Part::Item, Width::ONE)),
            '0' => self.octal('0', 2).map(|_| (Part::Item, Width::ONE)),
            first @ '1'..='9' => {
                let mut ahead = self.rest.clone();
                let second = ahead.next().filter(char::is_ascii_digit);
                let third = ahead.next().filter(char::is_ascii_digit);
                if let (Some(second), Some(third)) = (second, third)
                    && [first, second, third].iter().all(|c| c.is_digit(8))
                {
                    return self.octal(first, 2).map(|_| (Part::Item, Width::ONE));
                }
                let mut number = first.to_digit(10).ok_or(RegexError::BadGroup)? as usize;
                if let Some(second) = second.and_then(|c| c.to_digit(10)) {
                    self.rest.next();
                    number = number * 10 + second as usize;
                }
                self.back_reference(number)
            }
            letter => self.literal_escape(letter).map(|_| (Part::Item, Width::ONE)),
        }
    }

    fn back_reference(&self, number: usize) -> Result<(Part, Width), RegexError> {
        // An open group can't refer to itself.
        let width = number
            .checked_sub(1)
            .and_then(|index| self.groups.get(index))
            .copied()
            .flatten()
            .ok_or(RegexError::BadGroup)?;
        Ok((Part::Item, width))
    }

    fn class(&mut self) -> Result<(), RegexError> {
        let _negated = self.eat('^');
        let mut first = true;
        loop {
            let next = self.rest.next().ok_or(RegexError::Unterminated)?;
            if next == ']' && !first {
                return Ok(());
            }
            first = false;
            let low = self.class_member(next)?;
            let mut ahead = self.rest.clone();
            if ahead.next() != Some('-') || ahead.peek() == Some(&']') {
                continue;
            }
            self.rest = ahead;
            let next = self.rest.next().ok_or(RegexError::Unterminated)?;
            let high = self.class_member(next)?;
            match (low, high) {
                (Some(low), Some(high)) if low <= high => {}
                _ => return Err(RegexError::BadRange),
            }
        }
    }

    /// One character, or `None` for a category.
    fn class_member(&mut self, first: char) -> Result<Option<char>, RegexError> {
        if first != '\\' {
            return Ok(Some(first));
        }
        match self.rest.next().ok_or(RegexError::Unterminated)? {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => Ok(None),
            'b' => Ok(Some('\u{8}')),
            digit @ '0'..='7' => self.octal(digit, 2).map(Some),
            '8' | '9' => Err(RegexError::BadEscape),
            letter => self.literal_escape(letter).map(Some),
        }
    }

    fn name(&mut self, end: char) -> Result<String, RegexError> {
        let mut name = String::new();
        loop {
            match self.rest.next().ok_or(RegexError::Unterminated)? {
                character if character == end => break,
                character => name.push(character),
            }
        }
        if name.is_empty() { Err(RegexError::BadGroup) } else { Ok(name) }
    }

    fn close(&mut self) -> Result<(), RegexError> {
        if self.eat(')') { Ok(()) } else { Err(RegexError::Unterminated) }
    }

    /// What is inside a group, up to its end; flags set inside end with it.
    fn inside(&mut self) -> Result<Width, RegexError> {
        let verbose = self.verbose;
        self.at_start = false;
        let width = self.alternatives()?;
        self.close()?;
        self.verbose = verbose;
        Ok(width)
    }

    fn capture(&mut self, name: Option<String>) -> Result<(Part, Width), RegexError> {
        let index = self.groups.len();
        if index >= MOST_GROUPS {
            return Err(RegexError::BadGroup);
        }
        self.groups.push(None);
        if let Some(name) = name
            && (!is_identifier(&name) || self.names.insert(name, index).is_some())
        {
            return Err(RegexError::BadGroup);
        }
        let width = self.inside()?;
        self.groups[index] = Some(width);
        Ok((Part::Item, width))
    }

    fn group(&mut self) -> Result<(Part, Width), RegexError> {
        if !self.eat('?') {
            return self.capture(None);
        }
        match self.rest.next().ok_or(RegexError::Unterminated)? {
            'P' => match self.rest.next().ok_or(RegexError::Unterminated)? {
                '<' => {
                    let name = self.name('>')?;
                    self.capture(Some(name))
                }
                '=' => {
                    let name = self.name(')')?;
                    let index = *self.names.get(&name).ok_or(RegexError::BadGroup)?;
                    self.back_reference(index + 1)
                }
                _ => Err(RegexError::UnknownExtension),
            },
            ':' | '>' => self.inside().map(|width| (Part::Item, width)),
            '#' => {
                while self.rest.next_if(|&character| character != ')').is_some() {}
                self.close()?;
                Ok((Part::Nothing, Width::NONE))
            }
            '=' | '!' => self.inside().map(|_| (Part::Item, Width::NONE)),
            '<' => match self.rest.next().ok_or(RegexError::Unterminated)? {
                '=' | '!' => {
                    let width = self.inside()?;
                    if width.least != width.most {
                        return Err(RegexError::VariableLookBehind);
                    }
                    Ok((Part::Item, Width::NONE))
                }
                _ => Err(RegexError::UnknownExtension),
            },
            '(' => self.conditional(),
            flag => self.flags(flag),
        }
    }

    fn conditional(&mut self) -> Result<(Part, Width), RegexError> {
        let name = self.name(')')?;
        let known = match name.parse::<usize>() {
            Ok(number) => (1..=MOST_GROUPS).contains(&number),
            Err(_) => self.names.contains_key(&name),
        };
        if !known {
            return Err(RegexError::BadGroup);
        }
        self.at_start = false;
        let yes = self.sequence()?;
        let no = if self.eat('|') { self.sequence()? } else { Width::NONE };
        if self.rest.peek() == Some(&'|') {
            return Err(RegexError::ConditionalBranches);
        }
        self.close()?;
        Ok((Part::Item, yes.or(no)))
    }

    /// `(?flags)`, only at the start of the pattern, or `(?flags-flags:...)`.
    fn flags(&mut self, first: char) -> Result<(Part, Width), RegexError> {
        let mut on = String::new();
        let mut off: Option<String> = None;
        let mut next = first;
        loop {
            match next {
                'i' | 'm' | 's' | 'x' | 'a' | 'u' => match &mut off {
                    None => on.push(next),
                    Some(off) if matches!(next, 'i' | 'm' | 's' | 'x') => off.push(next),
                    Some(_) => return Err(RegexError::BadFlags),
                },
                '-' if off.is_none() => off = Some(String::new()),
                ')' | ':' => break,
                _ => return Err(RegexError::UnknownExtension),
            }
            next = self.rest.next().ok_or(RegexError::Unterminated)?;
        }
        let conflict = on.contains('a') && on.contains('u');
        let undone =
            off.as_ref().is_some_and(|off| off.is_empty() || off.chars().any(|flag| on.contains(flag)));
        if conflict || undone {
            return Err(RegexError::BadFlags);
        }
        if next == ')' {
            if off.is_some() || !self.at_start {
                return Err(RegexError::BadFlags);
            }
            self.verbose |= on.contains('x');
            return Ok((Part::Nothing, Width::NONE));
        }
        let before = self.verbose;
        self.verbose = (before || on.contains('x')) && !off.is_some_and(|off| off.contains('x'));
        let width = self.inside();
        self.verbose = before;
        width.map(|width| (Part::Item, width))
    }
}

fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first == '_' || first.is_alphabetic())
        && characters.all(|character| character == '_' || character.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_compiles() {
        for pattern in [
            "",
            "https://.*\\.example\\.org/?",
            "^(a|b)+?$",
            "a{2,3}{",
            "a{,3}",
            "{x}",
            "[]a-z\\d-]",
            "[^]]",
            "(?P<n>a)(?P=n)\\1",
            "(?:a)*+",
            "(?i)a",
            "(?i-s:a)",
            "(?<=ab)c",
            "(?<!a|b)c",
            "(a)?(?(1)b|c)",
            "(?#note)a",
            "\\x41\\u0041\\.",
            "\\07\\101",
            "(?=a)*",
            "a||b",
            "(?x) a # note",
            "(?>a)",
            "é+",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn what_python_refuses() {
        for pattern in [
            "(",
            ")",
            "a)",
            "[",
            "[a",
            "*",
            "a**",
            "a*{2}",
            "^*",
            "a{3,2}",
            "\\q",
            "\\",
            "[z-a]",
            "[\\d-z]",
            "(?P<1>a)",
            "(?P<n>a)(?P<n>b)",
            "(?P=n)",
            "\\1",
            "(\\1)",
            "(?<=a*)b",
            "(?y)",
            "a(?i)",
            "(?i-i:a)",
            "(?<n>a)",
            "(a)(?(1)b|c|d)",
            "(?P>a)",
            "\\x4",
            "\\400",
            "a{99999999999}",
            "(?:",
            "(|*)",
            "(?au:a)",
        ] {
            assert!(check(pattern).is_err(), "{pattern}");
        }
    }
}
