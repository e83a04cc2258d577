//! Builds all mutants that `cargo mutants` lists into one program, each behind a switch, so that each costs a run of
//! the tests and no build. `../mutants.md` says how to use it.
//!
//! `weave LIST LEFT_OUT TREE`: rewrites the sources in TREE. LIST: `cargo mutants --list --json`. LEFT_OUT: numbers of
//! mutants that do not compile. `blame TREE`: reads the compiler's JSON messages, and prints the numbers of the
//! mutants that they are about. `names LIST`: each one's number and name.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::Read,
    ops::Range,
    path::Path,
};

use serde_json::Value;
use syn::{spanned::Spanned, visit::Visit};

type Bytes = Range<usize>;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["weave", list, left_out, tree] => weave(list, left_out, Path::new(tree)),
        ["blame", tree] => blame(Path::new(tree)),
        ["names", list] => names(list),
        _ => panic!("usage: mutants weave LIST LEFT_OUT TREE | blame TREE < messages | names LIST"),
    }
}

/// One mutant: its number is its place in the list, from 1.
struct Mutant {
    id: usize,
    genre: String,
    span: Bytes,
    replacement: String,
}

/// What stands where several mutants change something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    Expression,
    /// The inside of a function's block.
    Body,
    /// The `=>` of an arm without a guard.
    Arm,
}

struct Site {
    range: Bytes,
    shape: Shape,
    /// (number, what stands there instead)
    others: Vec<(usize, String)>,
}

fn names(list: &str) {
    let list: Vec<Value> = serde_json::from_str(&fs::read_to_string(list).expect("the list")).expect("JSON");
    for (i, m) in list.iter().enumerate() {
        println!("{} {}", i + 1, m["name"].as_str().unwrap_or(""));
    }
}

fn weave(list: &str, left_out: &str, tree: &Path) {
    let left_out: BTreeSet<usize> = fs::read_to_string(left_out)
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|w| w.parse().ok())
        .collect();
    let list: Vec<Value> = serde_json::from_str(&fs::read_to_string(list).expect("the list")).expect("JSON");
    let mut files: BTreeMap<String, Vec<(usize, &Value)>> = BTreeMap::new();
    let mut unplaced = Vec::new();
    for (i, m) in list.iter().enumerate().filter(|(i, _)| !left_out.contains(&(i + 1))) {
        // A function that returns an `impl` has one type only.
        let result = m["function"]["return_type"].as_str().unwrap_or("");
        if m["genre"] == "FnValue" && result.contains("impl ") {
            unplaced.push(i + 1);
            continue;
        }
        files.entry(m["file"].as_str().expect("a file").to_owned()).or_default().push((i + 1, m));
    }
    for (file, mutants) in files {
        let path = tree.join(&file);
        let text = fs::read_to_string(&path).expect("a source");
        let lines = line_starts(&text);
        let mutants = mutants.into_iter().map(|(id, m)| Mutant {
            id,
            genre: m["genre"].as_str().unwrap_or("").to_owned(),
            span: at(&text, &lines, &m["span"]["start"])..at(&text, &lines, &m["span"]["end"]),
            replacement: m["replacement"].as_str().unwrap_or("").to_owned(),
        });
        let mut nodes = Nodes { text: &text, lines: &lines, ..Nodes::default() };
        nodes.visit_file(&syn::parse_file(&text).expect("it parses"));
        let mut sites: BTreeMap<(usize, usize), Site> = BTreeMap::new();
        for m in mutants {
            let Some((range, shape)) = nodes.place(&m) else {
                unplaced.push(m.id);
                continue;
            };
            let mut other = match shape {
                Shape::Body => m.replacement.clone(),
                _ if m.genre == "MatchArm" => "false".to_owned(),
                _ => format!(
                    "{}{}{}",
                    &text[range.start..m.span.start],
                    m.replacement,
                    &text[m.span.end..range.end]
                ),
            };
            if m.genre == "StructField" {
                other = other.replacen(", ,", ",", 1);
            }
            let site = sites.entry((range.start, usize::MAX - range.end)).or_insert(Site {
                range,
                shape,
                others: vec![],
            });
            site.others.push((m.id, other));
        }
        let sites: Vec<Site> = sites.into_values().collect();
        let out = emit(&text, 0..text.len(), &sites, &nodes);
        fs::write(&path, without_const(&out)).expect("written");
    }
    let words: Vec<String> = unplaced.iter().map(ToString::to_string).collect();
    println!("{}", words.join(" "));
}

/// The text of a range, with all switches in it; `sites` are those within, outer before inner.
fn emit(text: &str, range: Bytes, sites: &[Site], nodes: &Nodes) -> String {
    let (mut out, mut at, mut i) = (String::new(), range.start, 0);
    while i < sites.len() {
        let site = &sites[i];
        let inner = sites[i + 1..].iter().take_while(|s| s.range.end <= site.range.end).count();
        out.push_str(&text[at..site.range.start]);
        let original = emit(text, site.range.clone(), &sites[i + 1..=i + inner], nodes);
        out.push_str(&switch(site, &original));
        at = site.range.end;
        i += 1 + inner;
    }
    out.push_str(&text[at..range.end]);
    out
}

fn switch(site: &Site, original: &str) -> String {
    let ids: Vec<String> = site.others.iter().map(|(id, _)| id.to_string()).collect();
    let ids = ids.join(", ");
    match site.shape {
        Shape::Body => {
            let each = site.others.iter().map(|(id, text)| {
                format!(" if crate::switch::is({id}) {{ return /*<{id}*/ {text} /*{id}>*/; }}")
            });
            format!("{} {original}", each.collect::<String>())
        }
        Shape::Arm => format!(" if crate::switch::none(&[{ids}]) {original}"),
        Shape::Expression => {
            let mut out = format!("(if crate::switch::none(&[{ids}]) {{ {original} }}");
            for (i, (id, text)) in site.others.iter().enumerate() {
                let head = if i + 1 < site.others.len() {
                    format!(" else if crate::switch::is({id})")
                } else {
                    " else".into()
                };
                out.push_str(&format!("{head} {{ /*<{id}*/ {text}\n/*{id}>*/ }}"));
            }
            out.push(')');
            out
        }
    }
}

#[derive(Default)]
struct Nodes<'a> {
    text: &'a str,
    lines: &'a [usize],
    /// Expressions, with the operator or what else a mutant replaces.
    expressions: Vec<(Bytes, Bytes)>,
    bodies: Vec<Bytes>,
    guards: Vec<Bytes>,
    /// Whole arm, and where a condition goes: the guard, or the arrow.
    arms: Vec<(Bytes, Bytes)>,
    structs: Vec<Bytes>,
}

impl Nodes<'_> {
    fn range(&self, node: &impl Spanned) -> Bytes {
        let span = node.span();
        let at = |p: proc_macro2::LineColumn| offset(self.text, self.lines, p.line, p.column);
        at(span.start())..at(span.end())
    }

    fn place(&self, m: &Mutant) -> Option<(Bytes, Shape)> {
        let within = |outer: &Bytes| outer.start <= m.span.start && m.span.end <= outer.end;
        match m.genre.as_str() {
            "FnValue" => {
                let body = self.bodies.iter().filter(|b| within(b)).min_by_key(|b| b.len());
                body.map(|b| (b.clone(), Shape::Body))
            }
            "MatchArm" => {
                let arm = self.arms.iter().find(|(arm, _)| arm.start == m.span.start)?;
                let is_guard = &self.text[arm.1.clone()] != "=>";
                Some((arm.1.clone(), if is_guard { Shape::Expression } else { Shape::Arm }))
            }
            "MatchArmGuard" => {
                let guard = self.guards.iter().find(|g| **g == m.span)?;
                Some((guard.clone(), Shape::Expression))
            }
            "StructField" => {
                let it = self.structs.iter().filter(|b| within(b)).min_by_key(|b| b.len());
                it.map(|b| (b.clone(), Shape::Expression))
            }
            _ => {
                let it = self.expressions.iter().find(|(_, op)| *op == m.span)?;
                Some((it.0.clone(), Shape::Expression))
            }
        }
    }
}

impl<'ast> Visit<'ast> for Nodes<'_> {
    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        if !has_let(&node.left) && !has_let(&node.right) {
            let entry = (self.range(node), self.range(&node.op));
            self.expressions.push(entry);
        }
        syn::visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast syn::ExprUnary) {
        let entry = (self.range(node), self.range(&node.op));
        self.expressions.push(entry);
        syn::visit::visit_expr_unary(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'ast syn::ExprStruct) {
        let range = self.range(node);
        self.structs.push(range);
        syn::visit::visit_expr_struct(self, node);
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        let arm = self.range(node);
        let condition = match &node.guard {
            Some((_, guard)) => self.range(&**guard),
            None => self.range(&node.fat_arrow_token),
        };
        if let Some((_, guard)) = &node.guard
            && !has_let(guard)
        {
            let range = self.range(&**guard);
            self.guards.push(range);
        }
        self.arms.push((arm, condition));
        syn::visit::visit_arm(self, node);
    }

    fn visit_block(&mut self, node: &'ast syn::Block) {
        syn::visit::visit_block(self, node);
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        let range = self.range(&node.block);
        self.bodies.push(range.start + 1..range.end - 1);
        syn::visit::visit_impl_item_fn(self, node);
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        let range = self.range(&*node.block);
        self.bodies.push(range.start + 1..range.end - 1);
        syn::visit::visit_item_fn(self, node);
    }
}

/// A switch is no constant.
fn without_const(text: &str) -> String {
    text.replace("const fn ", "fn ").replace("const _: () =", "const _: fn() = ||")
}

/// A chain of conditions with a `let` cannot stand in brackets.
fn has_let(expr: &syn::Expr) -> bool {
    match expr {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(b) => has_let(&b.left) || has_let(&b.right),
        _ => false,
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect()
}

fn at(text: &str, lines: &[usize], place: &Value) -> usize {
    let n = |key: &str| place[key].as_u64().expect("a number") as usize;
    offset(text, lines, n("line"), n("column") - 1)
}

/// Columns count characters.
fn offset(text: &str, lines: &[usize], line: usize, column: usize) -> usize {
    let start = lines[line - 1];
    text[start..].char_indices().nth(column).map_or(text.len(), |(i, _)| start + i)
}

/// The mutants in whose text an error's place lies; other errors are printed to be looked at.
fn blame(tree: &Path) {
    let mut messages = String::new();
    std::io::stdin().read_to_string(&mut messages).expect("messages");
    let mut guilty = BTreeSet::new();
    for line in messages.lines() {
        let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
        let message = &value["message"];
        if message["level"] != "error" {
            continue;
        }
        let mut found = false;
        for span in message["spans"].as_array().into_iter().flatten() {
            let file = tree.join(span["file_name"].as_str().unwrap_or(""));
            let Ok(text) = fs::read_to_string(file) else { continue };
            let at = span["byte_start"].as_u64().unwrap_or(0) as usize;
            if let Some(id) = owner(&text, at) {
                found = true;
                guilty.insert(id);
            }
        }
        let code = message["code"]["code"].as_str().unwrap_or("");
        let rendered = message["rendered"].as_str().unwrap_or("");
        if !found && code == "E0004" {
            // A match that is not exhaustive without an arm.
            for span in message["spans"].as_array().into_iter().flatten().filter(|s| s["is_primary"] == true)
            {
                let text = fs::read_to_string(tree.join(span["file_name"].as_str().unwrap_or("")))
                    .unwrap_or_default();
                let at = span["byte_end"].as_u64().unwrap_or(0) as usize;
                let arms = numbers_after(block(&text[at.min(text.len())..]), "switch::none(&[", "]) =>");
                found |= !arms.is_empty();
                guilty.extend(arms);
            }
        }
        if !found && code == "E0015" {
            // In a constant.
            let ids = numbers_after(rendered, "switch::none(&[", "])");
            found = true;
            guilty.extend(ids);
        }
        if !found {
            eprintln!("{}", message["rendered"].as_str().unwrap_or(""));
        }
    }
    let words: Vec<String> = guilty.iter().map(ToString::to_string).collect();
    println!("{}", words.join(" "));
}

/// The first block of a text.
fn block(text: &str) -> &str {
    let mut depth = 0;
    for (i, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return &text[..i],
            '}' => depth -= 1,
            _ => {}
        }
    }
    text
}

/// The numbers, with commas between, between two texts.
fn numbers_after(text: &str, before: &str, behind: &str) -> Vec<usize> {
    let lists = text.split(before).skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == ',' || c == ' '))?;
        rest[end..].starts_with(behind).then(|| &rest[..end])
    });
    lists.flat_map(|l| l.split(',')).filter_map(|n| n.trim().parse().ok()).collect()
}

/// The innermost `/*<7*/ ... /*7>*/` around a place.
fn owner(text: &str, at: usize) -> Option<usize> {
    let mut from = at.min(text.len());
    loop {
        let open = text[..from].rfind("/*<")?;
        let id: usize = text[open + 3..].split('*').next()?.parse().ok()?;
        let close = text[open..].find(&format!("/*{id}>*/")).map(|i| open + i)?;
        if at < close {
            return Some(id);
        }
        from = open;
    }
}
